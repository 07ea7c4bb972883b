// SPDX-License-Identifier: Apache-2.0
#include "model/provenance.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace telehelm::model {
namespace {

constexpr std::int64_t kPositions = 1 << 20, kPerLayer = 64;

bool isFinite(std::span<const float> values) {
    return std::ranges::all_of(values, [](float value) { return std::isfinite(value); });
}

/// "layers.3.…" → 3; "embedding" → −1; all else comes after the layers.
std::int64_t layerOf(const std::string& tensor, std::int64_t layers) {
    constexpr std::string_view kPrefix = "layers.";
    std::int64_t layer = layers;
    if (tensor.starts_with(kPrefix)) {
        std::from_chars(tensor.data() + kPrefix.size(), tensor.data() + tensor.size(), layer);
    }
    return tensor == "embedding" ? -1 : layer;
}

/// In the order of computation, the same whichever stage looks: what one hands on is the last of its layer.
std::int64_t placeInLayer(const std::string& tensor) {
    constexpr std::array<std::string_view, 9> kOrder = {".attention.norm", ".attention.qkv", ".attention", ".attention.out", ".ffn.norm",
                                                        ".ffn.gate_up",    ".ffn.down",      "norm",       "loss"};
    const auto found = std::ranges::find_if(kOrder, [&](std::string_view name) { return tensor.ends_with(name); });
    return found - kOrder.begin();
}

bool weightIsBad(Model& model, const std::string& name) {
    const auto& layout = model.layout();
    const auto found = std::ranges::find(layout, name, &ParameterInfo::name);
    return found != layout.end() &&
           !isFinite(model.parameters().subspan(static_cast<std::size_t>(found->offset), static_cast<std::size_t>(found->size)));
}

} // namespace

std::optional<NonFinite> firstNonFinite(Model& model, std::int64_t layers) {
    const std::vector<TensorView> tensors = model.lastForward();
    for (std::size_t i = 0; i < tensors.size(); ++i) {
        const TensorView& tensor = tensors[i];
        if (!isFinite(tensor.values)) {
            const std::int64_t layer = layerOf(tensor.name, layers);
            const std::int64_t isReceived = i == 0 && tensor.name != "embedding" ? 1 : 0; // who made it has it before who got it
            return NonFinite{tensor.name, layer, false, (layer + 1) * kPerLayer + 2 * placeInLayer(tensor.name) + isReceived,
                             weightIsBad(model, tensor.name)};
        }
    }
    const std::vector<ParameterInfo>& layout = model.layout();
    for (std::size_t i = layout.size(); i-- > 0;) {
        const auto values = model.gradients().subspan(static_cast<std::size_t>(layout[i].offset), static_cast<std::size_t>(layout[i].size));
        if (!isFinite(values)) {
            const std::int64_t layer = layerOf(layout[i].name, layers);
            return NonFinite{layout[i].name, layer, true, kPositions - 1 - ((layer + 1) * kPerLayer + static_cast<std::int64_t>(i % kPerLayer)),
                             weightIsBad(model, layout[i].name)};
        }
    }
    return std::nullopt;
}

} // namespace telehelm::model
