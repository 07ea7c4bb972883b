// SPDX-License-Identifier: Apache-2.0
#include "model/provenance.h"

#include <algorithm>
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

bool weightIsBad(Model& model, const std::string& name) {
    const auto& layout = model.layout();
    const auto found = std::ranges::find(layout, name, &ParameterInfo::name);
    return found != layout.end() &&
           !isFinite(model.parameters().subspan(static_cast<std::size_t>(found->offset), static_cast<std::size_t>(found->size)));
}

} // namespace

std::optional<NonFinite> firstNonFinite(Model& model, std::int64_t layers) {
    std::int64_t index = 0, layerBefore = -2;
    for (const TensorView& tensor : model.lastForward()) {
        const std::int64_t layer = layerOf(tensor.name, layers);
        index = layer == layerBefore ? index + 1 : 0;
        layerBefore = layer;
        if (!isFinite(tensor.values)) {
            return NonFinite{tensor.name, layer, false, (layer + 1) * kPerLayer + std::min(index, kPerLayer - 1),
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
