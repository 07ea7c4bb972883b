// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <vector>

#include "model/model.h"
#include "telehelm/ipc/result.h"
#include "train/manifest.h"
#include "train/step_engine.h"

namespace telehelm::train {

/// Prefixes of a weight's moments in a manifest; the weight itself has none.
inline constexpr const char* kFirstMoment = "adam.m/";
inline constexpr const char* kSecondMoment = "adam.v/";

/// Fills a rank's shard from a checkpoint that any number of data ranks wrote. Refused when a weight is missing or has another
/// shape (the config's [model] differs), or when a stretch's checksum is wrong.
[[nodiscard]] Result<void> loadShard(const std::filesystem::path& path, const Manifest& manifest,
                                     const std::vector<model::ParameterInfo>& layout, const Shard& shard);

} // namespace telehelm::train
