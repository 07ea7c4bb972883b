// SPDX-License-Identifier: Apache-2.0
// The plan's account of bytes, held and sent. Pure arithmetic; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "parallel/plan.h"

namespace telehelm::parallel {

/// The config's word, already checked.
[[nodiscard]] Recompute recomputeMode(std::string_view name);

/// Activations of a stage: for each chunk its layers × the micro-batches of it in flight.
[[nodiscard]] std::int64_t keptBytes(const config::RunConfig& config, std::span<const LayerRange> parts,
                                     std::span<const std::int64_t> inFlight, Recompute mode);
/// What one micro-batch needs while it is worked on, and the messages on their way.
[[nodiscard]] std::int64_t workBytes(const config::RunConfig& config, std::span<const LayerRange> parts, std::int64_t posted,
                                     Recompute mode);
[[nodiscard]] Traffic stageTraffic(const config::RunConfig& config, std::span<const LayerRange> parts, std::int64_t parameters,
                                   std::int64_t replicated, Recompute mode);

} // namespace telehelm::parallel
