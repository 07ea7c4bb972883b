// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "model/cuda_engine.h"

namespace telehelm::model {

namespace cuda = kernels::cuda;

/// All ranks' rows: `own` itself unless they are split.
const CudaEngine::Bf16* CudaEngine::gather(const Bf16* own, Bf16* all, std::int64_t N) {
    if (m_rowParts == 1)
        return own;
    m_tensor->allGather(own, all, static_cast<std::size_t>(ownRows(N) * m_C), comm::DeviceType::Bf16, m_stream);
    return all;
}

/// The ranks' sums of `all` (N, C), own rows into `own`; where rows are not split `own` is `all`.
void CudaEngine::sumRows(Bf16* all, Bf16* own, std::int64_t N) {
    if (m_rowParts > 1)
        m_tensor->reduceScatter(all, own, static_cast<std::size_t>(ownRows(N) * m_C), comm::DeviceType::Bf16, m_stream);
    else if (m_tensor != nullptr)
        m_tensor->allReduce(all, static_cast<std::size_t>(N * m_C), comm::DeviceType::Bf16, comm::Reduce::Sum, m_stream);
}

void CudaEngine::forwardPiece(const Part& part, int piece, std::int64_t sequences) {
    const std::int64_t N = sequences * m_T;
    if (piece == 0) {
        Bf16* const out = part.layers.front().input;
        Bf16* const all = m_rowParts == 1 ? out : m_all;
        cuda::embeddingForward(all, weight(m_embedding), m_inputs, m_ownTokens, N, m_C, m_inputMult, m_stream);
        sumRows(all, out, N);
        return;
    }
    forwardLayer(part, static_cast<std::size_t>(piece - 1), sequences, true);
}

void CudaEngine::forwardLayer(const Part& part, std::size_t layer, std::int64_t sequences, bool toTheEnd) {
    const LayerActivations& a = part.layers[layer];
    const LayerOffsets& at = m_offsets[part.firstLayer + layer];
    const std::int64_t N = sequences * m_T, M = ownRows(N);
    cuda::rmsNormForward(a.normed1, a.r1, a.input, weight(at.attentionNorm), M, m_C, m_epsilon, m_stream);
    m_gemm.forward(a.qkv, gather(a.normed1, m_all, N), weight(at.qkv), nullptr, {N, m_C, 3 * m_ownC}, 1, m_stream);
    cuda::ropeForward(a.qkv, m_cos, m_sin, {N, 0, m_T, m_ownH, m_C / m_H}, m_stream);
    m_attention->forward(a.attention, a.lse, a.qkv, attentionBatch(sequences), m_attentionScale, m_attentionScratch, m_stream);
    if (m_rowParts > 1) { // the residual meets the norm
        m_gemm.forward(m_all, a.attention, weight(at.out), nullptr, {N, m_ownC, m_C}, 1, m_stream);
        sumRows(m_all, a.middle, N);
        cuda::addRmsNormForward(a.normed2, a.r2, a.middle, a.input, a.middle, weight(at.ffnNorm), M, m_C, m_epsilon, m_stream);
    } else {
        project(a.middle, a.input, a.attention, at.out, N, m_ownC);
        cuda::rmsNormForward(a.normed2, a.r2, a.middle, weight(at.ffnNorm), M, m_C, m_epsilon, m_stream);
    }
    m_gemm.forward(a.gateUp, gather(a.normed2, m_all, N), weight(at.gateUp), nullptr, {N, m_C, 2 * m_ownF}, 1, m_stream);
    cuda::swigluForward(a.act, a.gateUp, N, m_ownF, m_stream);
    if (toTheEnd)
        project(layer + 1 < part.layers.size() ? part.layers[layer + 1].input : part.output, a.middle, a.act, at.down, N, m_ownF);
}

/// out = residual + x Wᵀ, where W's inputs are split over the tensor ranks. With one rank the product adds the residual itself.
void CudaEngine::project(Bf16* out, const Bf16* residual, const Bf16* x, std::int64_t matrix, std::int64_t N,
                         std::int64_t inputs) {
    if (m_rowParts > 1) {
        m_gemm.forward(m_all, x, weight(matrix), nullptr, {N, inputs, m_C}, 1, m_stream);
        sumRows(m_all, out, N);
        cuda::add(out, out, residual, ownRows(N) * m_C, m_stream);
        return;
    }
    const bool adds = m_parallel.tensorRank == 0; // the sum over the ranks counts the residual once
    m_gemm.forward(out, x, weight(matrix), adds ? residual : nullptr, {N, inputs, m_C}, 1, m_stream);
    sumRows(out, out, N);
}

/// The last norm; all rows of it.
const CudaEngine::Bf16* CudaEngine::normForHead(const Part& part, std::int64_t N) {
    cuda::rmsNormForward(m_normed, m_r, part.output, weight(m_norm), ownRows(N), m_C, m_epsilon, m_stream);
    return gather(m_normed, m_all, N);
}

void CudaEngine::evaluateHead(const Part& part, std::int64_t N) {
    const Bf16* normed = normForHead(part, N);
    for (std::int64_t from = 0; from < N; from += m_headRows) {
        const std::int64_t count = std::min(m_headRows, N - from);
        const cuda::Logits logits{m_logits, count, m_ownV, m_ownV};
        m_gemm.forward(m_logits, normed + from * m_C, weight(m_head), nullptr, {count, m_C, m_ownV}, m_outputMult, m_stream);
        if (m_tensor == nullptr)
            cuda::crossEntropyForward(m_nats + from, logits, m_targets + from, m_stream);
        else
            splitLoss(logits, from);
    }
}

/// The loss of rows whose logits are split over the tensor ranks; leaves the largest logits and the sums of all ranks in
/// m_rowFacts.
void CudaEngine::splitLoss(const cuda::Logits& logits, std::int64_t from) {
    float *largest = m_rowFacts, *sums = m_rowFacts + m_headRows, *target = sums + logits.N; // the last two lie together
    const auto count = static_cast<std::size_t>(logits.N);
    cuda::vocabMax(largest, logits, m_stream);
    m_tensor->allReduce(largest, count, comm::DeviceType::Float, comm::Reduce::Max, m_stream);
    cuda::vocabSums(sums, target, logits, largest, m_targets + from, m_ownTokens.first, m_stream);
    m_tensor->allReduce(sums, 2 * count, comm::DeviceType::Float, comm::Reduce::Sum, m_stream);
    cuda::vocabNats(m_nats + from, sums, target, logits.N, m_stream);
}

} // namespace telehelm::model
