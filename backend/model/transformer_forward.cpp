// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "model/transformer_meet.h"

namespace telehelm::model {

using kernels::Output;

template <typename Ops> void Transformer<Ops>::forward(const Worker& worker, const Batch& batch, const Part& part) {
    if (part.begins) {
        need(worker, m_embedding, m_embedding + m_ownV * m_C);
        embed(worker, batch, part.layers[0].input);
    }
    for (std::size_t layer = 0; layer < part.layers.size(); ++layer) {
        need(worker, layerBegin(part.firstLayer + layer), layerEnd(part.firstLayer + layer));
        forwardLayer(worker, batch, part, layer, true);
    }
    worker.barrier();
}

template <typename Ops>
void Transformer<Ops>::forwardLayer(const Worker& worker, const Batch& batch, const Part& part, std::size_t layer, bool toTheEnd) {
    const bool alone = ownsSequences(worker, batch);
    forwardToAttention(worker, batch, part, layer);
    if (!alone)
        worker.barrier();
    attend(worker, batch, part.layers[layer]);
    if (!alone)
        worker.barrier();
    forwardFromAttention(worker, batch, part, layer, toTheEnd);
}

/// Each tensor rank brings the rows of its own tokens, nothing for the others'.
template <typename Ops> void Transformer<Ops>::embed(const Worker& worker, const Batch& batch, Real* out) {
    const Range rows = rowsOf(worker, batch);
    if (m_tensor == nullptr) {
        Ops::embeddingForward(out + rows.from * m_C, weight(m_embedding), batch.inputs + rows.from, rows.size(), m_C, m_inputMult);
        return;
    }
    Real* all = m_rowParts == 1 ? out : m_all;
    for (std::int64_t row = rows.from; row < rows.to; ++row) {
        const std::int32_t token = batch.inputs[row] - static_cast<std::int32_t>(m_firstToken);
        if (token >= 0 && token < m_ownV)
            Ops::embeddingForward(all + row * m_C, weight(m_embedding), &token, 1, m_C, m_inputMult);
        else
            std::fill_n(all + row * m_C, m_C, Real(0));
    }
    sumRows(worker, batch, all, out);
}

template <typename Ops>
void Transformer<Ops>::forwardToAttention(const Worker& worker, const Batch& batch, const Part& part, std::size_t layer) {
    const LayerActivations& a = part.layers[layer];
    const LayerOffsets& at = m_offsets[part.firstLayer + layer];
    const Range own = ownRowsOf(worker, batch), rows = rowsOf(worker, batch);
    Ops::rmsNormForward(a.normed1 + own.from * m_C, a.r1 + own.from, a.input + own.from * m_C, weight(at.attentionNorm), own.size(),
                        m_C, m_epsilon);
    const Real* normed = gather(worker, batch, a.normed1, m_all) + rows.from * m_C;
    Real* qkv = a.qkv + rows.from * 3 * m_ownC;
    Ops::linearForward(qkv, normed, weight(at.qkv), {rows.size(), m_C, 3 * m_ownC}, 1, Output::Overwrite);
    Ops::ropeForward(qkv, m_cos, m_sin, {rows.size(), rows.from, m_T, m_ownH, m_C / m_H});
}

template <typename Ops> void Transformer<Ops>::attend(const Worker& worker, const Batch& batch, const LayerActivations& a) {
    const Range pairs = worker.share(batch.sequences * m_ownH, ownsSequences(worker, batch) ? m_ownH : 1);
    for (std::int64_t pair = pairs.from; pair < pairs.to; ++pair) {
        const std::int64_t row = pair / m_ownH * m_T, column = pair % m_ownH * (m_C / m_H);
        const Real* q = a.qkv + row * 3 * m_ownC + column;
        Ops::attentionForward(a.attention + row * m_ownC + column, a.lse + pair * m_T, q, q + m_ownC, q + 2 * m_ownC,
                              attentionShape(), m_attentionScale, scratch(worker));
    }
}

/// out = residual + x Wᵀ, where W's inputs are split over the tensor ranks.
template <typename Ops>
void Transformer<Ops>::project(const Worker& worker, const Batch& batch, Real* out, const Real* residual, const Real* x,
                               std::int64_t weight, std::int64_t inputs) {
    const Range rows = rowsOf(worker, batch);
    const std::int64_t first = rows.from * m_C, count = rows.size() * m_C;
    const Real *from = x + rows.from * inputs, *matrix = m_parameters + weight;
    if (m_rowParts > 1) {
        Ops::linearForward(m_all + first, from, matrix, {rows.size(), inputs, m_C}, 1, Output::Overwrite);
        sumRows(worker, batch, m_all, out);
        const Range own = ownRowsOf(worker, batch);
        Ops::addTo(out + own.from * m_C, residual + own.from * m_C, own.size() * m_C);
        return;
    }
    if (m_parallel.tensorRank == 0) // the sum over the ranks counts the residual once
        std::copy_n(residual + first, count, out + first);
    else
        std::fill_n(out + first, count, Real(0));
    Ops::linearForward(out + first, from, matrix, {rows.size(), inputs, m_C}, 1, Output::Add);
    sumRows(worker, batch, out, out);
}

template <typename Ops>
void Transformer<Ops>::forwardFromAttention(const Worker& worker, const Batch& batch, const Part& part, std::size_t layer,
                                            bool toTheEnd) {
    const LayerActivations& a = part.layers[layer];
    const LayerOffsets& at = m_offsets[part.firstLayer + layer];
    const Range own = ownRowsOf(worker, batch), rows = rowsOf(worker, batch);
    Real *gateUp = a.gateUp + rows.from * 2 * m_ownF, *act = a.act + rows.from * m_ownF;
    project(worker, batch, a.middle, a.input, a.attention, at.out, m_ownC);
    Ops::rmsNormForward(a.normed2 + own.from * m_C, a.r2 + own.from, a.middle + own.from * m_C, weight(at.ffnNorm), own.size(), m_C,
                        m_epsilon);
    const Real* normed = gather(worker, batch, a.normed2, m_all) + rows.from * m_C;
    Ops::linearForward(gateUp, normed, weight(at.gateUp), {rows.size(), m_C, 2 * m_ownF}, 1, Output::Overwrite);
    Ops::swigluForward(act, gateUp, rows.size(), m_ownF);
    if (toTheEnd)
        project(worker, batch, layer + 1 < part.layers.size() ? part.layers[layer + 1].input : part.output, a.middle, a.act, at.down,
                m_ownF);
}

/// The last norm; all rows of it.
template <typename Ops>
auto Transformer<Ops>::normForHead(const Worker& worker, const Batch& batch, const Part& part) -> const Real* {
    need(worker, m_norm, m_head + m_ownV * m_C);
    const Range own = ownRowsOf(worker, batch);
    Ops::rmsNormForward(m_normed + own.from * m_C, m_r + own.from, part.output + own.from * m_C, weight(m_norm), own.size(), m_C,
                        m_epsilon);
    const Real* normed = gather(worker, batch, m_normed, m_all);
    worker.barrier();
    return normed;
}

template <typename Ops>
void Transformer<Ops>::evaluateHead(const Worker& worker, const Batch& batch, const Part& part, Real* nats) {
    const std::int64_t N = batch.sequences * m_T;
    const Real* normed = normForHead(worker, batch, part);
    for (std::int64_t from = 0; from < N; from += m_headRows) {
        const std::int64_t count = std::min(m_headRows, N - from);
        const Range rows = worker.share(count, kRowGrain);
        Real* logits = m_logits + rows.from * m_ownV; // each member's own rows: no barrier
        const std::int64_t first = from + rows.from;
        Ops::linearForward(logits, normed + first * m_C, weight(m_head), {rows.size(), m_C, m_ownV}, m_outputMult,
                           Output::Overwrite);
        if (m_tensor == nullptr)
            Ops::crossEntropyForward(nats + first, logits, batch.targets + first, rows.size(), m_V);
        else
            splitLoss(worker, rows, from, count, batch, nats);
    }
}

/// The loss of rows from + [rows) whose logits are split over the tensor ranks. Leaves exp(logit − largest) in m_logits and
/// their sums over all ranks in the second part of m_rowSums.
template <typename Ops>
void Transformer<Ops>::splitLoss(const Worker& worker, Range rows, std::int64_t from, std::int64_t count, const Batch& batch,
                                 Real* nats) {
    Real *largest = m_rowSums, *sums = m_rowSums + m_headRows, *target = sums + count; // the last two lie together
    Real* logits = m_logits + rows.from * m_ownV;
    Ops::vocabMax(largest + rows.from, logits, rows.size(), m_ownV);
    meet(worker, [&] { m_tensor->allReduce(std::span<Real>(largest, static_cast<std::size_t>(count)), comm::Reduce::Max); });
    Ops::vocabExp(sums + rows.from, target + rows.from, logits, largest + rows.from, batch.targets + from + rows.from, m_firstToken,
                  rows.size(), m_ownV);
    sum(worker, sums, 2 * count);
    for (std::int64_t row = rows.from; row < rows.to; ++row)
        nats[from + row] = std::log(sums[row]) - target[row];
}

template class Transformer<CpuOps>;
template class Transformer<ReferenceOps<float>>;
template class Transformer<ReferenceOps<double>>;

} // namespace telehelm::model
