// SPDX-License-Identifier: Apache-2.0
// The plan's account of bytes, held and sent. Pure arithmetic; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "parallel/plan.h"

namespace telehelm::parallel {

/// Activations of a stage: for each chunk its layers × the micro-batches of it in flight.
[[nodiscard]] std::int64_t keptBytes(const config::RunConfig& config, std::span<const LayerRange> parts,
                                     std::span<const std::int64_t> inFlight, Recompute mode);
/// What one micro-batch needs while it is worked on by one thread, or by a device with its libraries' workspace.
[[nodiscard]] std::int64_t workBytes(const config::RunConfig& config, std::span<const LayerRange> parts, Recompute mode);
/// Elements of a data rank's shard.
[[nodiscard]] std::int64_t shardElements(const config::RunConfig& config, std::int64_t parameters);
/// What each thread needs of it; nothing on a device.
[[nodiscard]] std::int64_t threadBytes(const config::RunConfig& config, std::span<const LayerRange> parts);
/// Of a rank that holds so many parameters, `replicated` of them on all tensor ranks, and sends gradients out of so many buffers.
[[nodiscard]] std::int64_t messageBytes(const config::RunConfig& config, std::int64_t parameters, std::int64_t replicated,
                                        std::int64_t gradientBuffers);
[[nodiscard]] Traffic stageTraffic(const config::RunConfig& config, std::span<const LayerRange> parts, std::int64_t parameters,
                                   std::int64_t replicated, Recompute mode);

} // namespace telehelm::parallel
