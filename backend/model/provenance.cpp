// SPDX-License-Identifier: Apache-2.0
#include "model/provenance.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "model/device_state.h"

namespace telehelm::model {
namespace {

/// Of a tensor's places the later ones are for who got it from another rank, and for whose weight is sound: where ranks add up,
/// all have the same at once, and the one with the bad weight is to blame.
constexpr std::int64_t kPositions = 1 << 20, kPerLayer = 64, kPerTensor = 4;
constexpr std::int64_t kIsReceived = 2, kIsSound = 1;

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
std::int64_t placeOf(const std::string& tensor, std::int64_t layer) {
    constexpr std::array<std::string_view, 10> kOrder = {".attention.norm", ".attention.qkv", ".attention", ".attention.out", ".ffn.norm",
                                                         ".ffn.gate_up",    ".ffn.down",      "norm",       "head",           "loss"};
    static_assert(kPerTensor * (kOrder.size() + 1) <= kPerLayer);
    const auto found = std::ranges::find_if(kOrder, [&](std::string_view name) { return tensor.ends_with(name); });
    return (layer + 1) * kPerLayer + kPerTensor * (found - kOrder.begin());
}

bool weightIsBad(Model& model, const std::string& name) {
    const auto& layout = model.layout();
    const auto found = std::ranges::find(layout, name, &ParameterInfo::name);
    if (found == layout.end()) {
        return false;
    }
    if (DeviceState* device = model.device()) {
        std::vector<float> values(static_cast<std::size_t>(found->size));
        device->download(DeviceState::Buffer::Parameters, found->offset, values);
        return !isFinite(values);
    }
    return !isFinite(model.parameters().subspan(static_cast<std::size_t>(found->offset), static_cast<std::size_t>(found->size)));
}

bool gradientIsFinite(Model& model, const ParameterInfo& weight) {
    if (DeviceState* device = model.device()) { // squares of fp32 don't overflow in double
        return std::isfinite(device->gradientSquares(weight.offset, weight.offset + weight.size));
    }
    return isFinite(model.gradients().subspan(static_cast<std::size_t>(weight.offset), static_cast<std::size_t>(weight.size)));
}

std::optional<NonFinite> firstInForward(Model& model, std::int64_t layers) {
    const std::vector<TensorView> tensors = model.lastForward();
    for (std::size_t i = 0; i < tensors.size(); ++i) {
        const std::string& made = tensors[i].name; // the loss stands for the logits, which are not kept
        const bool isElsewhere = made == "embedding" && weightIsBad(model, made); // its tokens' rows may be another rank's
        if (isFinite(tensors[i].values) && !isElsewhere) {
            continue;
        }
        const std::string name = made == "loss" && weightIsBad(model, "head") ? "head" : made;
        const bool isBad = weightIsBad(model, name);
        const std::int64_t layer = layerOf(made, layers);
        const bool isReceived = i == 0 && made != "embedding"; // who made it has it before who got it
        return NonFinite{name, layer, false, placeOf(made, layer) + (isReceived ? kIsReceived : 0) + (isBad ? 0 : kIsSound), isBad};
    }
    return std::nullopt;
}

std::optional<NonFinite> firstInBackward(Model& model, std::int64_t layers) {
    const std::vector<ParameterInfo>& layout = model.layout();
    std::optional<NonFinite> first;
    for (const ParameterInfo& weight : layout) { // chunk by chunk, which is not the model's order
        if (gradientIsFinite(model, weight)) {
            continue;
        }
        const bool isBad = weightIsBad(model, weight.name);
        const std::int64_t layer = layerOf(weight.name, layers);
        const std::int64_t position = kPositions - kPerTensor - placeOf(weight.name, layer) + (isBad ? 0 : kIsSound);
        if (!first || position < first->position) {
            first = NonFinite{weight.name, layer, true, position, isBad};
        }
    }
    return first;
}

} // namespace

std::optional<NonFinite> firstNonFinite(Model& model, std::int64_t layers) {
    std::optional<NonFinite> first = firstInForward(model, layers);
    return first ? first : firstInBackward(model, layers);
}

} // namespace telehelm::model
