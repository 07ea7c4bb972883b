// SPDX-License-Identifier: Apache-2.0
#include "model/transformer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>

#include "model/parameter_layout.h"

namespace telehelm::model {

using kernels::LinearShape;
using kernels::Output;

namespace {

/// Logits held at once: 8 MiB in fp32 stay in the last-level cache between softmax and both gradients.
constexpr std::int64_t kLogitsAtOnce = 2 << 20;
constexpr std::int64_t kRowGrain = 16; // rows of a team member start at multiples of it, for full register tiles

} // namespace

template <typename Ops>
Transformer<Ops>::Transformer(const config::ModelConfig& shape, std::int64_t microBatch, int threads)
    : m_shape(shape), m_B(microBatch), m_T(shape.contextLength), m_C(shape.hiddenSize), m_H(shape.attentionHeads),
      m_F(shape.ffnHiddenSize), m_V(shape.vocabSize), m_threads(threads > 0 ? threads : kernels::availableThreads()),
      m_epsilon(static_cast<Real>(shape.normEpsilon)), m_inputMult(static_cast<Real>(shape.inputMult)),
      m_outputMult(static_cast<Real>(shape.outputMult)) {
    checkShape(shape);
    if (microBatch < 1)
        throw std::invalid_argument("model: a micro-batch must hold at least 1 sequence");
    kernels::useSingleThreadedBlas();
    m_attentionScale = static_cast<Real>(1.0 / std::sqrt(static_cast<double>(m_C / m_H)));
    findWeights();
    planActivations();
    kernels::reference::ropeTable(m_cos, m_sin, m_T, m_C / m_H, shape.ropeTheta);
}

template <typename Ops> void Transformer<Ops>::findWeights() {
    m_layout = parameterLayout(m_shape);
    m_parameterCount = static_cast<std::size_t>(paddedSize(m_layout));
    m_weightArena.reserve(m_parameters, paddedSize(m_layout));
    m_weightArena.reserve(m_gradients, paddedSize(m_layout));
    m_weightArena.allocate();
    std::size_t next = 0; // in the order of parameterLayout
    const auto offset = [&] { return m_layout[next++].offset; };
    m_embedding = offset();
    for (std::int64_t layer = 0; layer < m_shape.layers; ++layer) {
        LayerOffsets at{};
        for (std::int64_t* field : {&at.attentionNorm, &at.qkv, &at.out, &at.ffnNorm, &at.gateUp, &at.down})
            *field = offset();
        m_offsets.push_back(at);
    }
    m_norm = offset();
    m_head = offset();
}

template <typename Ops> void Transformer<Ops>::planActivations() {
    const std::int64_t N = m_B * m_T, rows = N * m_C, half = m_T * (m_C / m_H) / 2;
    const auto plan = [this](Real*& pointer, std::int64_t size) { m_activationArena.reserve(pointer, size); };
    m_layers.resize(m_offsets.size());
    for (LayerActivations& layer : m_layers) {
        for (Real** field : {&layer.input, &layer.normed1, &layer.attention, &layer.middle, &layer.normed2})
            plan(*field, rows);
        for (Real** field : {&layer.r1, &layer.r2})
            plan(*field, N);
        plan(layer.qkv, 3 * rows);
        plan(layer.lse, N * m_H);
        plan(layer.gateUp, N * 2 * m_F);
        plan(layer.act, N * m_F);
    }
    m_headRows = std::clamp<std::int64_t>(kLogitsAtOnce / m_V, 64, std::max<std::int64_t>(N, 64));
    m_scratchSize = Ops::attentionScratch(attentionShape());
    for (Real** field : {&m_output, &m_normed, &m_dX, &m_dMiddle, &m_dNormed, &m_dAttention})
        plan(*field, rows);
    for (Real** field : {&m_r, &m_nats})
        plan(*field, N);
    for (Real** field : {&m_cos, &m_sin})
        plan(*field, half);
    plan(m_logits, m_headRows * m_V);
    plan(m_dQkv, 3 * rows);
    plan(m_dAct, N * m_F);
    plan(m_normSums, m_threads * static_cast<std::int64_t>(2 * m_layers.size() + 1) * m_C);
    plan(m_scratch, m_threads * m_scratchSize);
    m_activationArena.allocate();
}

template <typename Ops> void Transformer<Ops>::initialise(std::uint64_t seed) {
    for (const ParameterInfo& info : m_layout)
        initialiseWeight(parameters().subspan(static_cast<std::size_t>(info.offset), static_cast<std::size_t>(info.size)), info,
                         m_shape, seed);
}

template <typename Ops>
auto Transformer<Ops>::checked(std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets, Real gradScale) const
    -> Batch {
    const auto size = static_cast<std::int64_t>(inputs.size());
    if (size < m_T || size % m_T != 0 || size > m_B * m_T || targets.size() != inputs.size())
        throw std::out_of_range("model: a micro-batch must be 1 to " + std::to_string(m_B) + " whole sequences of " +
                                std::to_string(m_T) + " tokens and as many targets; got " + std::to_string(size) + " and " +
                                std::to_string(targets.size()));
    for (const auto tokens : {inputs, targets})
        for (const std::int32_t token : tokens)
            if (token < 0 || token >= m_V)
                throw std::out_of_range("model: token " + std::to_string(token) + " is outside the vocabulary of " +
                                        std::to_string(m_V));
    return {inputs.data(), targets.data(), size / m_T, gradScale};
}

/// True when members can take whole sequences and stay balanced; then attention needs no barriers around it.
template <typename Ops> bool Transformer<Ops>::ownsSequences(const Worker& worker, const Batch& batch) const {
    return batch.sequences % worker.count == 0;
}

template <typename Ops> kernels::Range Transformer<Ops>::rowsOf(const Worker& worker, const Batch& batch) const {
    return worker.share(batch.sequences * m_T, ownsSequences(worker, batch) ? m_T : kRowGrain);
}

template <typename Ops>
double Transformer<Ops>::trainMicroBatch(std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets,
                                         Real gradScale) {
    const Batch batch = checked(inputs, targets, gradScale);
    kernels::runTeam(m_threads, [&](const Worker& worker) {
        forward(worker, batch);
        trainHead(worker, batch);
        if (worker.index == 0 && m_onBackward)
            m_onBackward();
        backward(worker, batch);
    });
    return std::accumulate(m_nats, m_nats + inputs.size(), 0.0);
}

template <typename Ops>
void Transformer<Ops>::evaluate(std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets,
                                std::span<Real> nats) {
    const Batch batch = checked(inputs, targets, 0);
    if (nats.size() != inputs.size())
        throw std::out_of_range("model: evaluate needs one place for each token's loss");
    kernels::runTeam(m_threads, [&](const Worker& worker) {
        forward(worker, batch);
        evaluateHead(worker, batch, nats.data());
    });
}

template <typename Ops> void Transformer<Ops>::forward(const Worker& worker, const Batch& batch) {
    const Range rows = rowsOf(worker, batch);
    const bool alone = ownsSequences(worker, batch);
    Ops::embeddingForward(m_layers[0].input + rows.from * m_C, weight(m_embedding), batch.inputs + rows.from, rows.size(), m_C,
                          m_inputMult);
    for (std::size_t layer = 0; layer < m_layers.size(); ++layer) {
        forwardToAttention(layer, rows);
        if (!alone)
            worker.barrier();
        attend(worker, batch, layer);
        if (!alone)
            worker.barrier();
        forwardFromAttention(layer, rows);
    }
    Ops::rmsNormForward(m_normed + rows.from * m_C, m_r + rows.from, m_output + rows.from * m_C, weight(m_norm), rows.size(), m_C,
                        m_epsilon);
    worker.barrier();
}

template <typename Ops> void Transformer<Ops>::forwardToAttention(std::size_t layer, Range rows) {
    const LayerActivations& a = m_layers[layer];
    const LayerOffsets& at = m_offsets[layer];
    const std::int64_t N = rows.size(), first = rows.from * m_C;
    Real* qkv = a.qkv + 3 * first;
    Ops::rmsNormForward(a.normed1 + first, a.r1 + rows.from, a.input + first, weight(at.attentionNorm), N, m_C, m_epsilon);
    Ops::linearForward(qkv, a.normed1 + first, weight(at.qkv), {N, m_C, 3 * m_C}, 1, Output::Overwrite);
    Ops::ropeForward(qkv, m_cos, m_sin, {N, rows.from, m_T, m_H, m_C / m_H});
}

template <typename Ops> void Transformer<Ops>::attend(const Worker& worker, const Batch& batch, std::size_t layer) {
    const LayerActivations& a = m_layers[layer];
    const Range pairs = worker.share(batch.sequences * m_H, ownsSequences(worker, batch) ? m_H : 1);
    for (std::int64_t pair = pairs.from; pair < pairs.to; ++pair) {
        const std::int64_t row = pair / m_H * m_T, column = pair % m_H * (m_C / m_H);
        const Real* q = a.qkv + row * 3 * m_C + column;
        Ops::attentionForward(a.attention + row * m_C + column, a.lse + pair * m_T, q, q + m_C, q + 2 * m_C, attentionShape(),
                              m_attentionScale, scratch(worker));
    }
}

template <typename Ops> void Transformer<Ops>::forwardFromAttention(std::size_t layer, Range rows) {
    const LayerActivations& a = m_layers[layer];
    const LayerOffsets& at = m_offsets[layer];
    const std::int64_t N = rows.size(), first = rows.from * m_C;
    Real *middle = a.middle + first, *gateUp = a.gateUp + rows.from * 2 * m_F, *act = a.act + rows.from * m_F;
    Real* output = (layer + 1 < m_layers.size() ? m_layers[layer + 1].input : m_output) + first;
    std::copy_n(a.input + first, N * m_C, middle);
    Ops::linearForward(middle, a.attention + first, weight(at.out), {N, m_C, m_C}, 1, Output::Add);
    Ops::rmsNormForward(a.normed2 + first, a.r2 + rows.from, middle, weight(at.ffnNorm), N, m_C, m_epsilon);
    Ops::linearForward(gateUp, a.normed2 + first, weight(at.gateUp), {N, m_C, 2 * m_F}, 1, Output::Overwrite);
    Ops::swigluForward(act, gateUp, N, m_F);
    std::copy_n(middle, N * m_C, output);
    Ops::linearForward(output, act, weight(at.down), {N, m_F, m_C}, 1, Output::Add);
}

template <typename Ops> void Transformer<Ops>::evaluateHead(const Worker& worker, const Batch& batch, Real* nats) {
    const std::int64_t N = batch.sequences * m_T;
    for (std::int64_t from = 0; from < N; from += m_headRows) {
        const Range rows = worker.share(std::min(m_headRows, N - from), kRowGrain);
        Real* logits = m_logits + rows.from * m_V; // each member's own rows: no barrier
        const std::int64_t first = from + rows.from;
        Ops::linearForward(logits, m_normed + first * m_C, weight(m_head), {rows.size(), m_C, m_V}, m_outputMult,
                           Output::Overwrite);
        Ops::crossEntropyForward(nats + first, logits, batch.targets + first, rows.size(), m_V);
    }
}

/// Loss, gradient of the head and of its input, a stretch of rows at a time.
template <typename Ops> void Transformer<Ops>::trainHead(const Worker& worker, const Batch& batch) {
    const std::int64_t N = batch.sequences * m_T;
    for (std::int64_t from = 0; from < N; from += m_headRows) {
        const std::int64_t count = std::min(m_headRows, N - from);
        const Range rows = worker.share(count, kRowGrain);
        const std::int64_t first = from + rows.from;
        const LinearShape shape{rows.size(), m_C, m_V};
        Real* logits = m_logits + rows.from * m_V;
        Ops::linearForward(logits, m_normed + first * m_C, weight(m_head), shape, m_outputMult, Output::Overwrite);
        Ops::crossEntropyForwardBackward(m_nats + first, logits, batch.targets + first, rows.size(), m_V, batch.gradScale);
        Ops::linearBackwardInput(m_dNormed + first * m_C, logits, weight(m_head), shape, m_outputMult, Output::Overwrite);
        worker.barrier();
        addWeightGradient(worker, m_head, m_logits, m_normed + from * m_C, count, m_C, m_V, m_outputMult);
        worker.barrier();
    }
}

template <typename Ops> void Transformer<Ops>::backward(const Worker& worker, const Batch& batch) {
    const Range rows = rowsOf(worker, batch);
    const std::int64_t first = rows.from * m_C, count = rows.size() * m_C;
    std::fill_n(normSum(worker.index, 0), (2 * m_layers.size() + 1) * static_cast<std::size_t>(m_C), Real(0));
    std::fill_n(m_dX + first, count, Real(0));
    Ops::rmsNormBackward(m_dX + first, normSum(worker.index, 2 * m_layers.size()), m_dX + first, m_dNormed + first,
                         m_output + first, weight(m_norm), m_r + rows.from, rows.size(), m_C);
    for (std::size_t layer = m_layers.size(); layer-- > 0;) {
        backwardFfn(worker, layer, rows);
        worker.barrier();
        const LayerActivations& a = m_layers[layer];
        const std::int64_t N = batch.sequences * m_T;
        addWeightGradient(worker, m_offsets[layer].down, m_dX, a.act, N, m_F, m_C);
        addWeightGradient(worker, m_offsets[layer].gateUp, a.gateUp, a.normed2, N, m_C, 2 * m_F);
        addWeightGradient(worker, m_offsets[layer].out, m_dMiddle, a.attention, N, m_C, m_C);
        backwardAttend(worker, batch, layer);
        worker.barrier();
        backwardToInput(worker, layer, rows);
        worker.barrier();
        addWeightGradient(worker, m_offsets[layer].qkv, m_dQkv, a.normed1, N, m_C, 3 * m_C);
    }
    const Range columns = worker.share(m_C, kRowGrain);
    Ops::embeddingBackward(m_gradients + m_embedding, m_dX, batch.inputs, batch.sequences * m_T, m_C, m_inputMult, columns.from,
                           columns.to);
    addNormGradients(worker);
}

/// From the layer's output gradient (m_dX) to those of the residual between and of the attention's output; own rows only.
template <typename Ops> void Transformer<Ops>::backwardFfn(const Worker& worker, std::size_t layer, Range rows) {
    const LayerActivations& a = m_layers[layer];
    const LayerOffsets& at = m_offsets[layer];
    const std::int64_t N = rows.size(), first = rows.from * m_C;
    Real *gateUp = a.gateUp + rows.from * 2 * m_F, *dAct = m_dAct + rows.from * m_F;
    Ops::linearBackwardInput(dAct, m_dX + first, weight(at.down), {N, m_F, m_C}, 1, Output::Overwrite);
    Ops::swigluBackward(gateUp, dAct, gateUp, N, m_F);
    Ops::linearBackwardInput(m_dNormed + first, gateUp, weight(at.gateUp), {N, m_C, 2 * m_F}, 1, Output::Overwrite);
    Ops::rmsNormBackward(m_dMiddle + first, normSum(worker.index, 2 * layer + 1), m_dX + first, m_dNormed + first,
                         a.middle + first, weight(at.ffnNorm), a.r2 + rows.from, N, m_C);
    Ops::linearBackwardInput(m_dAttention + first, m_dMiddle + first, weight(at.out), {N, m_C, m_C}, 1, Output::Overwrite);
}

template <typename Ops> void Transformer<Ops>::backwardAttend(const Worker& worker, const Batch& batch, std::size_t layer) {
    const LayerActivations& a = m_layers[layer];
    const Range pairs = worker.share(batch.sequences * m_H, ownsSequences(worker, batch) ? m_H : 1);
    for (std::int64_t pair = pairs.from; pair < pairs.to; ++pair) {
        const std::int64_t row = pair / m_H * m_T, column = pair % m_H * (m_C / m_H);
        const std::int64_t at = row * 3 * m_C + column, out = row * m_C + column;
        const Real* q = a.qkv + at;
        Real* dQ = m_dQkv + at;
        Ops::attentionBackward(dQ, dQ + m_C, dQ + 2 * m_C, m_dAttention + out, q, q + m_C, q + 2 * m_C, a.attention + out,
                               a.lse + pair * m_T, attentionShape(), m_attentionScale, scratch(worker));
    }
}

/// From m_dQkv and m_dMiddle to the gradient of the layer's input (m_dX); own rows only.
template <typename Ops> void Transformer<Ops>::backwardToInput(const Worker& worker, std::size_t layer, Range rows) {
    const LayerActivations& a = m_layers[layer];
    const LayerOffsets& at = m_offsets[layer];
    const std::int64_t N = rows.size(), first = rows.from * m_C;
    Real* dQkv = m_dQkv + 3 * first;
    Ops::ropeBackward(dQkv, m_cos, m_sin, {N, rows.from, m_T, m_H, m_C / m_H});
    Ops::linearBackwardInput(m_dNormed + first, dQkv, weight(at.qkv), {N, m_C, 3 * m_C}, 1, Output::Overwrite);
    Ops::rmsNormBackward(m_dX + first, normSum(worker.index, 2 * layer), m_dMiddle + first, m_dNormed + first, a.input + first,
                         weight(at.attentionNorm), a.r1 + rows.from, N, m_C);
}

/// All rows of the batch, this member's outputs.
template <typename Ops>
void Transformer<Ops>::addWeightGradient(const Worker& worker, std::int64_t weight, const Real* dY, const Real* x, std::int64_t N,
                                         std::int64_t I, std::int64_t O, Real alpha) {
    const Range outputs = worker.share(O, kRowGrain);
    if (outputs.size() > 0)
        Ops::linearBackwardWeight(m_gradients + weight, dY, x, {N, I, O}, alpha, outputs.from, outputs.to);
}

/// After the last barrier: sums the members' norm gradients in their order, this member's columns.
template <typename Ops> void Transformer<Ops>::addNormGradients(const Worker& worker) {
    const Range columns = worker.share(m_C, kRowGrain);
    const auto addUp = [&](std::size_t index, std::int64_t offset) {
        for (int member = 0; member < worker.count; ++member)
            Ops::addTo(m_gradients + offset + columns.from, normSum(member, index) + columns.from, columns.size());
    };
    for (std::size_t layer = 0; layer < m_layers.size(); ++layer) {
        addUp(2 * layer, m_offsets[layer].attentionNorm);
        addUp(2 * layer + 1, m_offsets[layer].ffnNorm);
    }
    addUp(2 * m_layers.size(), m_norm);
}

template class Transformer<CpuOps>;
template class Transformer<ReferenceOps<float>>;
template class Transformer<ReferenceOps<double>>;

} // namespace telehelm::model
