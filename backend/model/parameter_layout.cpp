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
    void add(std::string name, std::vector<std::int64_t> shape, bool matrixLike = false) {
        const std::int64_t size = std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
        m_layout.push_back({std::move(name), std::move(shape), m_end, size, matrixLike});
        m_end += size;
    }
    [[nodiscard]] std::vector<ParameterInfo> take() { return std::move(m_layout); }

private:
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

std::vector<ParameterInfo> parameterLayout(const config::ModelConfig& shape) {
    const std::int64_t C = shape.hiddenSize, F = shape.ffnHiddenSize, V = shape.vocabSize;
    LayoutBuilder builder;
    builder.add("embedding", {V, C});
    for (std::int64_t layer = 0; layer < shape.layers; ++layer) {
        const std::string prefix = "layers." + std::to_string(layer) + ".";
        builder.add(prefix + "attention.norm", {C});
        builder.add(prefix + "attention.qkv", {3 * C, C}, true);
        builder.add(prefix + "attention.out", {C, C}, true);
        builder.add(prefix + "ffn.norm", {C});
        builder.add(prefix + "ffn.gate_up", {2 * F, C}, true);
        builder.add(prefix + "ffn.down", {C, F}, true);
    }
    builder.add("norm", {C});
    builder.add("head", {V, C});
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
        weight[index] = static_cast<Real>(deviation * truncatedNormal(seed, key, index));
}

template void initialiseWeight(std::span<float>, const ParameterInfo&, const config::ModelConfig&, std::uint64_t);
template void initialiseWeight(std::span<double>, const ParameterInfo&, const config::ModelConfig&, std::uint64_t);

} // namespace telehelm::model
