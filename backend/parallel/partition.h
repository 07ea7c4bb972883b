// SPDX-License-Identifier: Apache-2.0
// Which layers lie on which pipeline stage and chunk. Pure arithmetic; any thread.
#pragma once

#include <cstdint>
#include <vector>

#include "config/run_config.h"
#include "telehelm/ipc/result.h"

namespace telehelm::parallel {

/// Part v = chunk × stages + stage of the model: layers [first, first + count), the embedding before the first part's, last
/// norm and head behind the last part's.
struct LayerRange {
    std::int64_t first = 0, count = 0;
    bool hasEmbedding = false, hasHead = false;
    bool operator==(const LayerRange&) const = default;
};

/// Forward FLOPs per token, attention counted causal: a layer, the head, the embedding (a look-up: none).
struct PartCosts {
    double layer = 0, head = 0, embedding = 0;
    [[nodiscard]] double of(const LayerRange& part) const;
};
[[nodiscard]] PartCosts partCosts(const config::ModelConfig& model);

/// All parts, in the model's order (index v). [parallel] layers as given; otherwise the counts that make the costliest part
/// cheapest. Every part has a layer. Refused with the sum or number that does not fit.
[[nodiscard]] Result<std::vector<LayerRange>> partitionLayers(const config::ModelConfig& model,
                                                              const config::ParallelConfig& parallel);

} // namespace telehelm::parallel
