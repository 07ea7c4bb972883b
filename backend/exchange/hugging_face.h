// SPDX-License-Identifier: Apache-2.0
// Checkpoints to Hugging Face folders and back, tensor by tensor: never more than a few MiB of weights in memory. One process.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "config/run_config.h"
#include "telehelm/ipc/result.h"
#include "telehelm/ipc/types.h"
#include "train/manifest.h"

namespace telehelm::exchange {

struct Transfer {
    std::filesystem::path folder; // what was written
    std::int64_t tensors = 0, elements = 0;
    bool exact = true; // false: the multipliers are no powers of two, so embedding and head were rounded once
};

/// config.json and model.safetensors (several and an index beyond `mostFileBytes`). Refused when the folder has a model already
/// or when the checkpoint is not of this [model].
[[nodiscard]] Result<Transfer> exportHuggingFace(const std::filesystem::path& checkpoint, const train::Manifest& manifest,
                                                 const config::ModelConfig& model, const std::filesystem::path& folder,
                                                 std::int64_t mostFileBytes = std::int64_t{5} << 30);

/// A checkpoint at step 0 with moments of 0, in the run's checkpoint folder. Refused when this attempt has checkpoints there.
[[nodiscard]] Result<Transfer> importHuggingFace(const std::filesystem::path& folder, const config::RunConfig& config,
                                                 const std::string& configXxh3, const ipc::AttemptKey& key,
                                                 const std::filesystem::path& checkpoints);

} // namespace telehelm::exchange
