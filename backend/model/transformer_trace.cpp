// SPDX-License-Identifier: Apache-2.0
// What a transformer still holds of its last micro-batch, named after the weight that made it. In a file of its own: nothing of
// this runs unless a step went wrong.
#include "model/transformer.h"

namespace telehelm::model {

template <typename Ops>
std::vector<BasicTensorView<typename Transformer<Ops>::Real>> Transformer<Ops>::lastForward() const {
    std::vector<BasicTensorView<Real>> tensors;
    const std::int64_t N = m_B * m_T;
    const auto add = [&](std::string name, const Real* values, std::int64_t perRow) {
        tensors.push_back({std::move(name), {values, static_cast<std::size_t>(N * perRow)}});
    };
    for (std::size_t i = 0; i < m_layers.size(); ++i) {
        const LayerActivations& layer = m_layers[i];
        const std::string prefix = "layers." + std::to_string(i) + ".";
        add(i == 0 ? "embedding" : "layers." + std::to_string(i - 1) + ".ffn.down", layer.input, m_C);
        add(prefix + "attention.norm", layer.normed1, m_C);
        add(prefix + "attention.qkv", layer.qkv, 3 * m_C);
        add(prefix + "attention", layer.attention, m_C);
        add(prefix + "attention.out", layer.middle, m_C);
        add(prefix + "ffn.norm", layer.normed2, m_C);
        add(prefix + "ffn.gate_up", layer.act, m_F); // after SwiGLU: gate and up themselves have become their gradients
    }
    add("layers." + std::to_string(m_layers.size() - 1) + ".ffn.down", m_output, m_C);
    add("norm", m_normed, m_C);
    add("loss", m_nats, 1);
    return tensors;
}

template std::vector<BasicTensorView<float>> Transformer<CpuOps>::lastForward() const;

} // namespace telehelm::model
