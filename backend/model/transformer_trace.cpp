// SPDX-License-Identifier: Apache-2.0
// What a transformer still holds of its last micro-batch, named after the weight that made it. In a file of its own: nothing of
// this runs unless a step went wrong.
#include "model/transformer.h"

namespace telehelm::model {

template <typename Ops>
std::vector<BasicTensorView<typename Transformer<Ops>::Real>> Transformer<Ops>::lastForward() const {
    std::vector<BasicTensorView<Real>> tensors;
    if (m_last == nullptr)
        return tensors;
    const std::int64_t N = m_B * m_T, M = N / m_rowParts;
    const auto add = [&](std::string name, const Real* values, std::int64_t size) {
        tensors.push_back({std::move(name), {values, static_cast<std::size_t>(size)}});
    };
    const auto chunk = static_cast<std::size_t>(m_last->chunk);
    const std::int64_t first = m_parallel.chunks[chunk].first;
    const auto prefixOf = [](std::int64_t layer) { return "layers." + std::to_string(layer) + "."; };
    for (std::size_t i = 0; i < m_last->layers.size(); ++i) {
        const LayerActivations& layer = m_last->layers[i];
        const std::int64_t number = first + static_cast<std::int64_t>(i);
        const std::string prefix = prefixOf(number);
        add(number == 0 ? "embedding" : prefixOf(number - 1) + "ffn.down", layer.input, M * m_C);
        if (m_recompute == Recompute::Full)
            continue; // the layers share the rest
        const bool isKept = m_recompute == Recompute::None;
        if (isKept)
            add(prefix + "attention.norm", layer.normed1, M * m_C);
        add(prefix + "attention.qkv", layer.qkv, N * 3 * m_ownC);
        add(prefix + "attention", layer.attention, N * m_ownC);
        add(prefix + "attention.out", layer.middle, M * m_C);
        if (isKept) {
            add(prefix + "ffn.norm", layer.normed2, M * m_C);
            add(prefix + "ffn.gate_up", layer.act, N * m_ownF); // after SwiGLU: gate and up themselves have become their gradients
        }
    }
    add(prefixOf(first + static_cast<std::int64_t>(m_last->layers.size()) - 1) + "ffn.down", m_last->output, M * m_C);
    if (m_last->ends && m_lastHadHead) {
        add("norm", m_normed, M * m_C);
        add("loss", m_nats, N);
    }
    return tensors;
}

template std::vector<BasicTensorView<float>> Transformer<CpuOps>::lastForward() const;

} // namespace telehelm::model
