// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "model/transformer_meet.h"

namespace telehelm::model {

using kernels::LinearShape;
using kernels::Output;

/// Loss, gradient of the head and of its input, a stretch of rows at a time.
template <typename Ops> void Transformer<Ops>::trainHead(const Worker& worker, const Batch& batch, const Part& part) {
    const std::int64_t N = batch.sequences * m_T;
    const Real* normed = normForHead(worker, batch, part);
    Real* dNormed = m_rowParts == 1 ? m_dNormed : m_allNormed;
    for (std::int64_t from = 0; from < N; from += m_headRows) {
        const std::int64_t count = std::min(m_headRows, N - from);
        const Range rows = worker.share(count, kRowGrain);
        const std::int64_t first = from + rows.from;
        const LinearShape shape{rows.size(), m_C, m_ownV};
        Real* logits = m_logits + rows.from * m_ownV;
        Ops::linearForward(logits, normed + first * m_C, weight(m_head), shape, m_outputMult, Output::Overwrite);
        if (m_tensor == nullptr) {
            Ops::crossEntropyForwardBackward(m_nats + first, logits, batch.targets + first, rows.size(), m_V, batch.gradScale);
        } else {
            splitLoss(worker, rows, from, count, batch, m_nats);
            Ops::vocabGradient(logits, m_rowSums + m_headRows + rows.from, batch.targets + first, m_firstToken, rows.size(), m_ownV,
                               batch.gradScale);
        }
        Ops::linearBackwardInput(dNormed + first * m_C, logits, weight(m_head), shape, m_outputMult, Output::Overwrite);
        worker.barrier();
        addWeightGradient(worker, m_head, m_logits, normed + from * m_C, count, m_C, m_ownV, m_outputMult);
        worker.barrier();
    }
    sumRows(worker, batch, dNormed, m_dNormed);
}

template <typename Ops> void Transformer<Ops>::backward(const Worker& worker, const Batch& batch, const Part& part) {
    const Range own = ownRowsOf(worker, batch);
    const std::int64_t first = own.from * m_C, count = own.size() * m_C;
    const std::size_t layers = part.layers.size(), last = 2 * m_offsets.size();
    std::fill_n(normSum(worker.index, 2 * part.firstLayer), 2 * layers * static_cast<std::size_t>(m_C), Real(0));
    if (part.ends) {
        std::fill_n(normSum(worker.index, last), m_C, Real(0));
        std::fill_n(m_dX + first, count, Real(0));
        Ops::rmsNormBackward(m_dX + first, normSum(worker.index, last), m_dX + first, m_dNormed + first, part.output + first,
                             weight(m_norm), m_r + own.from, own.size(), m_C);
    }
    for (std::size_t layer = layers; layer-- > 0;) {
        recompute(worker, batch, part, layer);
        backwardLayer(worker, batch, part, layer);
    }
    if (part.begins)
        embedBackward(worker, batch);
    tellRest(worker, part);
}

/// What the layers share holds another layer's values.
template <typename Ops>
void Transformer<Ops>::recompute(const Worker& worker, const Batch& batch, const Part& part, std::size_t layer) {
    if (m_recompute == Recompute::None)
        return;
    worker.barrier(); // all have read those
    if (m_recompute == Recompute::Full) {
        forwardLayer(worker, batch, part, layer, false);
        return;
    }
    const LayerActivations& a = part.layers[layer];
    const LayerOffsets& at = m_offsets[part.firstLayer + layer];
    const Range own = ownRowsOf(worker, batch), rows = rowsOf(worker, batch);
    const std::int64_t first = own.from * m_C;
    Ops::rmsNormForward(a.normed1 + first, a.r1 + own.from, a.input + first, weight(at.attentionNorm), own.size(), m_C, m_epsilon);
    Ops::rmsNormForward(a.normed2 + first, a.r2 + own.from, a.middle + first, weight(at.ffnNorm), own.size(), m_C, m_epsilon);
    Ops::swigluForward(a.act + rows.from * m_ownF, a.gateUp + rows.from * 2 * m_ownF, rows.size(), m_ownF);
}

template <typename Ops>
void Transformer<Ops>::backwardLayer(const Worker& worker, const Batch& batch, const Part& part, std::size_t layer) {
    const LayerActivations& a = part.layers[layer];
    const std::size_t own = part.firstLayer + layer;
    const LayerOffsets& at = m_offsets[own];
    const std::int64_t N = batch.sequences * m_T;
    const Real* dY = gather(worker, batch, m_dX, m_allX);
    const Real* dMiddle = backwardFfn(worker, batch, part, layer, dY);
    worker.barrier();
    tellAbove(worker, part, layer);
    const Real* normed2 = gather(worker, batch, a.normed2, m_all);
    addWeightGradient(worker, at.down, dY, a.act, N, m_ownF, m_C);
    addWeightGradient(worker, at.gateUp, a.gateUp, normed2, N, m_C, 2 * m_ownF);
    addWeightGradient(worker, at.out, dMiddle, a.attention, N, m_ownC, m_C);
    backwardAttend(worker, batch, a);
    worker.barrier();
    backwardToInput(worker, batch, part, layer);
    worker.barrier();
    const Real* normed1 = gather(worker, batch, a.normed1, m_all);
    addWeightGradient(worker, at.qkv, m_dQkv, normed1, N, m_C, 3 * m_ownC);
    addNormGradient(worker, 2 * own, at.attentionNorm);
    addNormGradient(worker, 2 * own + 1, at.ffnNorm);
    if (part.ends && layer + 1 == part.layers.size())
        addNormGradient(worker, 2 * m_offsets.size(), m_norm);
}

/// All members have ended what came before this layer in the backward when they have met once in it.
template <typename Ops> void Transformer<Ops>::tellAbove(const Worker& worker, const Part& part, std::size_t layer) {
    const std::size_t above = layer + 1, count = part.layers.size();
    if (above < count)
        tellDone(worker, layerBegin(part.firstLayer + above),
                 part.ends && above + 1 == count ? m_head : layerEnd(part.firstLayer + above)); // the last norm ends with its layer
    else if (part.ends)
        tellDone(worker, m_head, m_head + m_ownV * m_C);
}

/// The chunk's first layer, and the embedding before it.
template <typename Ops> void Transformer<Ops>::tellRest(const Worker& worker, const Part& part) {
    if (!m_turns.done)
        return;
    worker.barrier();
    tellDone(worker, part.begins ? m_embedding : layerBegin(part.firstLayer),
             part.ends && part.layers.size() == 1 ? m_head : layerEnd(part.firstLayer));
}

/// From the layer's output gradient to those of the residual between (returned, all rows) and of the attention's output.
template <typename Ops>
auto Transformer<Ops>::backwardFfn(const Worker& worker, const Batch& batch, const Part& part, std::size_t layer, const Real* dY)
    -> const Real* {
    const LayerActivations& a = part.layers[layer];
    const LayerOffsets& at = m_offsets[part.firstLayer + layer];
    const Range own = ownRowsOf(worker, batch), rows = rowsOf(worker, batch);
    const std::int64_t N = rows.size(), all = rows.from * m_C, first = own.from * m_C;
    Real *gateUp = a.gateUp + rows.from * 2 * m_ownF, *dAct = m_dAct + rows.from * m_ownF;
    Real* dNormed = m_rowParts == 1 ? m_dNormed : m_allNormed;
    Ops::linearBackwardInput(dAct, dY + all, weight(at.down), {N, m_ownF, m_C}, 1, Output::Overwrite);
    Ops::swigluBackward(gateUp, dAct, gateUp, N, m_ownF);
    Ops::linearBackwardInput(dNormed + all, gateUp, weight(at.gateUp), {N, m_C, 2 * m_ownF}, 1, Output::Overwrite);
    sumRows(worker, batch, dNormed, m_dNormed);
    Ops::rmsNormBackward(m_dMiddle + first, normSum(worker.index, 2 * (part.firstLayer + layer) + 1), m_dX + first, m_dNormed + first,
                         a.middle + first, weight(at.ffnNorm), a.r2 + own.from, own.size(), m_C);
    const Real* dMiddle = gather(worker, batch, m_dMiddle, m_allMiddle);
    Ops::linearBackwardInput(m_dAttention + rows.from * m_ownC, dMiddle + all, weight(at.out), {N, m_ownC, m_C}, 1,
                             Output::Overwrite);
    return dMiddle;
}

template <typename Ops>
void Transformer<Ops>::backwardAttend(const Worker& worker, const Batch& batch, const LayerActivations& a) {
    const Range pairs = worker.share(batch.sequences * m_ownH, ownsSequences(worker, batch) ? m_ownH : 1);
    for (std::int64_t pair = pairs.from; pair < pairs.to; ++pair) {
        const std::int64_t row = pair / m_ownH * m_T, column = pair % m_ownH * (m_C / m_H);
        const std::int64_t at = row * 3 * m_ownC + column, out = row * m_ownC + column;
        const Real* q = a.qkv + at;
        Real* dQ = m_dQkv + at;
        Ops::attentionBackward(dQ, dQ + m_ownC, dQ + 2 * m_ownC, m_dAttention + out, q, q + m_ownC, q + 2 * m_ownC,
                               a.attention + out, a.lse + pair * m_T, attentionShape(), m_attentionScale, scratch(worker));
    }
}

/// From m_dQkv and m_dMiddle to the gradient of the layer's input (m_dX).
template <typename Ops>
void Transformer<Ops>::backwardToInput(const Worker& worker, const Batch& batch, const Part& part, std::size_t layer) {
    const LayerActivations& a = part.layers[layer];
    const LayerOffsets& at = m_offsets[part.firstLayer + layer];
    const Range own = ownRowsOf(worker, batch), rows = rowsOf(worker, batch);
    const std::int64_t N = rows.size(), first = own.from * m_C;
    Real *dQkv = m_dQkv + rows.from * 3 * m_ownC, *dNormed = m_rowParts == 1 ? m_dNormed : m_allNormed;
    Ops::ropeBackward(dQkv, m_cos, m_sin, {N, rows.from, m_T, m_ownH, m_C / m_H});
    Ops::linearBackwardInput(dNormed + rows.from * m_C, dQkv, weight(at.qkv), {N, m_C, 3 * m_ownC}, 1, Output::Overwrite);
    sumRows(worker, batch, dNormed, m_dNormed);
    Ops::rmsNormBackward(m_dX + first, normSum(worker.index, 2 * (part.firstLayer + layer)), m_dMiddle + first, m_dNormed + first,
                         a.input + first, weight(at.attentionNorm), a.r1 + own.from, own.size(), m_C);
}

/// This member's columns; each tensor rank the rows of its own tokens.
template <typename Ops> void Transformer<Ops>::embedBackward(const Worker& worker, const Batch& batch) {
    const Range columns = worker.share(m_C, kRowGrain);
    const std::int64_t N = batch.sequences * m_T;
    const Real* dX = gather(worker, batch, m_dX, m_allX);
    if (m_tensor == nullptr) {
        Ops::embeddingBackward(m_gradients + m_embedding, dX, batch.inputs, N, m_C, m_inputMult, columns.from, columns.to);
        return;
    }
    for (std::int64_t row = 0; row < N; ++row) {
        const std::int32_t token = batch.inputs[row] - static_cast<std::int32_t>(m_firstToken);
        if (token >= 0 && token < m_ownV)
            Ops::embeddingBackward(m_gradients + m_embedding, dX + row * m_C, &token, 1, m_C, m_inputMult, columns.from, columns.to);
    }
}

/// All rows of the batch, this member's outputs.
template <typename Ops>
void Transformer<Ops>::addWeightGradient(const Worker& worker, std::int64_t weight, const Real* dY, const Real* x, std::int64_t N,
                                         std::int64_t I, std::int64_t O, Real alpha) {
    const Range outputs = worker.share(O, kRowGrain);
    if (outputs.size() > 0)
        Ops::linearBackwardWeight(m_gradients + weight, dY, x, {N, I, O}, alpha, outputs.from, outputs.to);
}

/// After a barrier: sums the members' gradients of a norm in their order, this member's columns.
template <typename Ops> void Transformer<Ops>::addNormGradient(const Worker& worker, std::size_t index, std::int64_t weight) {
    const Range columns = worker.share(m_C, kRowGrain);
    for (int member = 0; member < worker.count; ++member)
        Ops::addTo(m_gradients + weight + columns.from, normSum(member, index) + columns.from, columns.size());
}

template class Transformer<CpuOps>;
template class Transformer<ReferenceOps<float>>;
template class Transformer<ReferenceOps<double>>;

} // namespace telehelm::model
