// SPDX-License-Identifier: Apache-2.0
#include "model/parameter_layout.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>
#include <numeric>
#include <stdexcept>

namespace telehelm::model {

namespace {

class LayoutBuilder {
public:
    explicit LayoutBuilder(const ParallelShape& parallel) : m_parallel(parallel) {}
    void addNorm(std::string name, std::int64_t size) { add({.name = std::move(name), .shape = {size}, .globalShape = {size}}); }
    /// `dim` of `shape` is cut over the tensor ranks.
    void addSplit(std::string name, const std::vector<std::int64_t>& shape, int dim, int blocks, bool matrixLike) {
        ParameterInfo info{.name = std::move(name), .shape = shape, .matrixLike = matrixLike, .globalShape = shape};
        info.splitDim = dim;
        info.blocks = blocks;
        info.parts = m_parallel.tensor;
        info.part = m_parallel.tensorRank;
        info.shape[static_cast<std::size_t>(dim)] /= m_parallel.tensor;
        add(std::move(info));
    }
    [[nodiscard]] std::vector<ParameterInfo> take() { return std::move(m_layout); }

private:
    void add(ParameterInfo info) {
        info.size = std::accumulate(info.shape.begin(), info.shape.end(), std::int64_t{1}, std::multiplies<>());
        info.offset = m_end;
        m_end += info.size;
        m_layout.push_back(std::move(info));
    }
    const ParallelShape& m_parallel;
    std::vector<ParameterInfo> m_layout;
    std::int64_t m_end = 0;
};

/// A bijective mix of 64 bits in which every input bit moves every output bit (the finaliser of SplitMix64).
std::uint64_t mix(std::uint64_t x) {
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
    return x ^ (x >> 31);
}

/// In (0, 1): the logarithm below needs it.
double unit(std::uint64_t bits) {
    return (static_cast<double>(bits >> 11) + 0.5) * 0x1.0p-53;
}

void require(bool holds, const char* text) {
    if (!holds)
        throw std::invalid_argument(text);
}

} // namespace

std::int64_t ParameterInfo::globalIndex(std::int64_t index) const {
    if (parts == 1)
        return index;
    std::int64_t length = shape[static_cast<std::size_t>(splitDim)] / blocks; // of a run of elements that lie together
    for (auto dim = static_cast<std::size_t>(splitDim) + 1; dim < shape.size(); ++dim)
        length *= shape[dim];
    return (index / length * parts + part) * length + index % length;
}

std::vector<std::int64_t> balancedLayers(const config::ModelConfig& shape, int parts) {
    const double C = static_cast<double>(shape.hiddenSize), T = static_cast<double>(shape.contextLength);
    const double layer = 4 * C * C + 3 * C * static_cast<double>(shape.ffnHiddenSize) + C * T; // causal attention: half of 2 C T
    std::vector<std::int64_t> layers(static_cast<std::size_t>(parts), 1);
    std::vector<double> costs(layers.size(), layer);
    costs.back() += C * static_cast<double>(shape.vocabSize);
    for (std::int64_t left = shape.layers - parts; left > 0; --left) {
        const auto cheapest = static_cast<std::size_t>(std::ranges::min_element(costs) - costs.begin());
        ++layers[cheapest];
        costs[cheapest] += layer;
    }
    return layers;
}

ParallelShape parallelShape(const config::RunConfig& config, int tensorRank, int stage) {
    const config::ParallelConfig& mesh = config.parallel;
    const int parts = mesh.pipeline * mesh.chunks;
    const std::vector<std::int64_t> layers = mesh.layers.empty() ? balancedLayers(config.model, parts) : mesh.layers;
    ParallelShape shape{.tensor = mesh.tensor, .tensorRank = tensorRank, .pipeline = mesh.pipeline, .stage = stage};
    std::int64_t first = 0;
    for (int part = 0; part < parts; first += layers[static_cast<std::size_t>(part++)]) {
        if (part % mesh.pipeline == stage)
            shape.chunks.push_back({first, layers[static_cast<std::size_t>(part)]});
    }
    shape.hasEmbedding = stage == 0;
    shape.hasHead = stage == mesh.pipeline - 1;
    shape.sequence = mesh.sequence && mesh.tensor > 1;
    return shape;
}

std::vector<ParameterInfo> parameterLayout(const config::ModelConfig& shape, const ParallelShape& parallel) {
    const std::int64_t C = shape.hiddenSize, F = shape.ffnHiddenSize, V = shape.vocabSize;
    LayoutBuilder builder(parallel);
    const std::vector<LayerRange> all = {{0, shape.layers}};
    if (parallel.hasEmbedding)
        builder.addSplit("embedding", {V, C}, 0, 1, false);
    for (const LayerRange& chunk : parallel.chunks.empty() ? all : parallel.chunks) {
        for (std::int64_t layer = chunk.first; layer < chunk.first + chunk.count; ++layer) {
            const std::string prefix = "layers." + std::to_string(layer) + ".";
            builder.addNorm(prefix + "attention.norm", C);
            builder.addSplit(prefix + "attention.qkv", {3 * C, C}, 0, 3, true);
            builder.addSplit(prefix + "attention.out", {C, C}, 1, 1, true);
            builder.addNorm(prefix + "ffn.norm", C);
            builder.addSplit(prefix + "ffn.gate_up", {2 * F, C}, 0, 2, true);
            builder.addSplit(prefix + "ffn.down", {C, F}, 1, 1, true);
        }
    }
    if (parallel.hasHead) {
        builder.addNorm("norm", C);
        builder.addSplit("head", {V, C}, 0, 1, false);
    }
    return builder.take();
}

void checkShape(const config::ModelConfig& shape) {
    require(shape.layers > 0 && shape.hiddenSize > 0 && shape.attentionHeads > 0 && shape.ffnHiddenSize > 0 &&
                shape.vocabSize > 0 && shape.contextLength > 0,
            "model: layers, hidden_size, attention_heads, ffn_hidden_size, vocab_size and context_length must be at least 1");
    require(shape.hiddenSize % shape.attentionHeads == 0, "model: attention_heads must divide hidden_size");
    require(shape.hiddenSize / shape.attentionHeads % 2 == 0,
            "model: hidden_size / attention_heads must be even (RoPE turns pairs of elements)");
}

std::int64_t paddedSize(const std::vector<ParameterInfo>& layout) {
    const std::int64_t end = layout.back().offset + layout.back().size;
    return (end + 63) / 64 * 64;
}

std::uint64_t hashName(std::string_view name) {
    std::uint64_t hash = 0xCBF29CE484222325U; // FNV-1a
    for (const char letter : name)
        hash = (hash ^ static_cast<unsigned char>(letter)) * 0x100000001B3U;
    return hash;
}

double truncatedNormal(std::uint64_t seed, std::uint64_t nameKey, std::uint64_t index) {
    const std::uint64_t stream = mix(mix(seed + 0x9E3779B97F4A7C15U) ^ nameKey);
    for (std::uint64_t draw = 0;; ++draw) {
        const std::uint64_t counter = mix(stream + index * 0x9E3779B97F4A7C15U) + draw;
        const double radius = std::sqrt(-2.0 * std::log(unit(mix(counter * 2 + 1)))); // Box–Muller
        const double value = radius * std::cos(2.0 * std::numbers::pi * unit(mix(mix(counter * 2 + 2) ^ stream)));
        if (std::abs(value) <= 2.0)
            return value;
    }
}

template <typename Real>
void initialiseWeight(std::span<Real> weight, const ParameterInfo& info, const config::ModelConfig& shape, std::uint64_t seed) {
    if (info.shape.size() == 1) { // a norm
        std::fill(weight.begin(), weight.end(), Real(1));
        return;
    }
    const double deviation = info.matrixLike ? shape.matrixStandardDeviation : shape.standardDeviation;
    const std::uint64_t key = hashName(info.name);
    for (std::size_t index = 0; index < weight.size(); ++index)
        weight[index] = static_cast<Real>(deviation * truncatedNormal(seed, key, static_cast<std::uint64_t>(info.globalIndex(static_cast<std::int64_t>(index)))));
}

template void initialiseWeight(std::span<float>, const ParameterInfo&, const config::ModelConfig&, std::uint64_t);
template void initialiseWeight(std::span<double>, const ParameterInfo&, const config::ModelConfig&, std::uint64_t);

} // namespace telehelm::model
