// SPDX-License-Identifier: Apache-2.0
#include "parallel/partition.h"

#include <algorithm>
#include <numeric>

namespace telehelm::parallel {
namespace {

using Counts = std::vector<std::int64_t>;

tl::unexpected<Error> refuse(std::string text) {
    return fail(ErrorCode::InvalidArgument, std::move(text), "[parallel] layers");
}

/// Layer by layer to the part that is cheapest so far, the first of equals. All layers cost alike, so no exchange of layers
/// can lower the costliest part afterwards.
Counts balancedCounts(std::int64_t layers, std::size_t parts, const PartCosts& costs) {
    Counts counts(parts, 1);
    std::vector<double> spent(parts, costs.layer);
    spent.front() += costs.embedding;
    spent.back() += costs.head;
    for (std::int64_t given = static_cast<std::int64_t>(parts); given < layers; ++given) {
        const auto cheapest = static_cast<std::size_t>(std::ranges::min_element(spent) - spent.begin());
        ++counts[cheapest];
        spent[cheapest] += costs.layer;
    }
    return counts;
}

Result<Counts> givenCounts(std::int64_t layers, std::size_t parts, const Counts& given) {
    if (given.size() != parts) {
        return refuse("names " + std::to_string(given.size()) + " parts; pipeline × chunks makes " + std::to_string(parts));
    }
    for (const std::int64_t count : given) {
        if (count < 1) {
            return refuse("a part with " + std::to_string(count) + " layers; each needs at least 1");
        }
    }
    if (const std::int64_t sum = std::accumulate(given.begin(), given.end(), std::int64_t{0}); sum != layers) {
        return refuse("adds up to " + std::to_string(sum) + ", not to [model] layers (" + std::to_string(layers) + ")");
    }
    return given;
}

} // namespace

double PartCosts::of(const LayerRange& part) const {
    return layer * static_cast<double>(part.count) + (part.hasEmbedding ? embedding : 0.0) + (part.hasHead ? head : 0.0);
}

PartCosts partCosts(const config::ModelConfig& model) {
    const auto C = static_cast<double>(model.hiddenSize), F = static_cast<double>(model.ffnHiddenSize);
    const auto V = static_cast<double>(model.vocabSize), T = static_cast<double>(model.contextLength);
    // A weight costs a product and a sum; QKᵀ and PV go over T / 2 keys on average.
    return {.layer = 2 * (4 * C * C + 3 * C * F) + 2 * T * C, .head = 2 * V * C, .embedding = 0};
}

Result<std::vector<LayerRange>> partitionLayers(const config::ModelConfig& model, const config::ParallelConfig& parallel) {
    if (parallel.pipeline < 1 || parallel.chunks < 1) {
        return refuse("pipeline and chunks must each be at least 1");
    }
    const auto parts = static_cast<std::size_t>(parallel.pipeline) * static_cast<std::size_t>(parallel.chunks);
    if (model.layers < static_cast<std::int64_t>(parts)) {
        return refuse("pipeline (" + std::to_string(parallel.pipeline) + ") × chunks (" + std::to_string(parallel.chunks) +
                      ") makes more parts than [model] layers (" + std::to_string(model.layers) + "); each needs a layer");
    }
    const Result<Counts> counts = parallel.layers.empty() ? Result<Counts>(balancedCounts(model.layers, parts, partCosts(model)))
                                                          : givenCounts(model.layers, parts, parallel.layers);
    if (!counts) {
        return tl::unexpected(counts.error());
    }
    std::vector<LayerRange> ranges(parts);
    std::int64_t first = 0;
    for (std::size_t part = 0; part < parts; ++part) {
        ranges[part] = {.first = first, .count = (*counts)[part], .hasEmbedding = part == 0, .hasHead = part + 1 == parts};
        first += ranges[part].count;
    }
    return ranges;
}

} // namespace telehelm::parallel
