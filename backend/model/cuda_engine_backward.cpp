// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "model/cuda_engine.h"

namespace telehelm::model {

namespace cuda = kernels::cuda;

/// Loss, its sum, the gradient of the head and of its input, a stretch of rows at a time: logits are written by their product and
/// become their gradient in place.
void CudaEngine::trainHead(const Part& part, std::int64_t N, float gradScale) {
    const Bf16* normed = normForHead(part, N);
    Bf16* const dNormed = m_rowParts == 1 ? m_dNormed : m_allNormed;
    for (std::int64_t from = 0; from < N; from += m_headRows) {
        const std::int64_t count = std::min(m_headRows, N - from);
        const kernels::LinearShape shape{count, m_C, m_ownV};
        const cuda::Logits logits{m_logits, count, m_ownV, m_ownV};
        m_gemm.forward(m_logits, normed + from * m_C, weight(m_head), nullptr, shape, m_outputMult, m_stream);
        if (m_tensor == nullptr) {
            cuda::crossEntropyForwardBackward(m_nats + from, logits, m_targets + from, gradScale, m_stream);
        } else {
            splitLoss(logits, from);
            cuda::vocabGradient(logits, m_rowFacts, m_rowFacts + m_headRows, m_targets + from, m_ownTokens.first, gradScale,
                                m_stream);
        }
        m_gemm.backwardInput(dNormed + from * m_C, m_logits, weight(m_head), shape, m_outputMult, m_stream);
        m_gemm.backwardWeight(gradient(m_head), m_logits, normed + from * m_C, shape, m_outputMult, m_stream);
    }
    sumRows(dNormed, m_dNormed, N);
    cuda::sum(m_sum, m_nats, N, m_sumScratch, m_stream);
}

/// The head's own gradient came with the loss.
void CudaEngine::backwardPiece(const Part& part, int piece, std::int64_t sequences) {
    const std::int64_t N = sequences * m_T;
    const auto layer = static_cast<std::size_t>(piece - 1);
    if (piece == 0) {
        cuda::embeddingBackward(gradient(m_embedding), gather(m_dX, m_allX, N), m_inputs, m_ownTokens, N, m_C, m_inputMult,
                                m_stream);
    } else if (layer == part.layers.size()) {
        normBackward(m_dX, m_norm, nullptr, part.output, m_r, N);
    } else {
        recompute(part, layer, sequences);
        backwardLayer(part, layer, sequences);
    }
}

/// What the layers share holds another layer's values.
void CudaEngine::recompute(const Part& part, std::size_t layer, std::int64_t sequences) {
    const std::int64_t N = sequences * m_T, M = ownRows(N);
    const LayerActivations& a = part.layers[layer];
    const LayerOffsets& at = m_offsets[part.firstLayer + layer];
    if (m_recompute == Recompute::Full) {
        forwardLayer(part, layer, sequences, false);
    } else if (m_recompute == Recompute::Selective) {
        cuda::rmsNormForward(a.normed1, a.r1, a.input, weight(at.attentionNorm), M, m_C, m_epsilon, m_stream);
        cuda::rmsNormForward(a.normed2, a.r2, a.middle, weight(at.ffnNorm), M, m_C, m_epsilon, m_stream);
        cuda::swigluForward(a.act, a.gateUp, N, m_ownF, m_stream);
    }
}

void CudaEngine::backwardLayer(const Part& part, std::size_t layer, std::int64_t sequences) {
    const LayerActivations& a = part.layers[layer];
    const LayerOffsets& at = m_offsets[part.firstLayer + layer];
    const std::int64_t N = sequences * m_T;
    const Bf16* dMiddle = backwardFfn(a, at, N);
    m_gemm.backwardInput(m_dAttention, dMiddle, weight(at.out), {N, m_ownC, m_C}, 1, m_stream);
    addWeightGradient(at.out, dMiddle, a.attention, N, m_ownC, m_C);
    backwardAttention(a, at, sequences);
}

/// From the layer's output gradient to that of the residual between (returned, all rows).
const CudaEngine::Bf16* CudaEngine::backwardFfn(const LayerActivations& a, const LayerOffsets& at, std::int64_t N) {
    const Bf16* dY = gather(m_dX, m_allX, N);
    Bf16* const dNormed = m_rowParts == 1 ? m_dNormed : m_allNormed;
    m_gemm.backwardInput(m_dAct, dY, weight(at.down), {N, m_ownF, m_C}, 1, m_stream);
    addWeightGradient(at.down, dY, a.act, N, m_ownF, m_C);
    cuda::swigluBackward(a.gateUp, m_dAct, a.gateUp, N, m_ownF, m_stream);
    m_gemm.backwardInput(dNormed, a.gateUp, weight(at.gateUp), {N, m_C, 2 * m_ownF}, 1, m_stream);
    addWeightGradient(at.gateUp, a.gateUp, gather(a.normed2, m_all, N), N, m_C, 2 * m_ownF);
    sumRows(dNormed, m_dNormed, N);
    normBackward(m_dMiddle, at.ffnNorm, m_dX, a.middle, a.r2, N);
    return gather(m_dMiddle, m_allMiddle, N);
}

/// From m_dAttention and m_dMiddle to the gradient of the layer's input (m_dX).
void CudaEngine::backwardAttention(const LayerActivations& a, const LayerOffsets& at, std::int64_t sequences) {
    const std::int64_t N = sequences * m_T;
    Bf16* const dNormed = m_rowParts == 1 ? m_dNormed : m_allNormed;
    m_attention->backward(m_dQkv, m_dAttention, a.qkv, a.attention, a.lse, attentionBatch(sequences), m_attentionScale,
                          m_attentionScratch, m_stream);
    cuda::ropeBackward(m_dQkv, m_cos, m_sin, {N, 0, m_T, m_ownH, m_C / m_H}, m_stream);
    m_gemm.backwardInput(dNormed, m_dQkv, weight(at.qkv), {N, m_C, 3 * m_ownC}, 1, m_stream);
    addWeightGradient(at.qkv, m_dQkv, gather(a.normed1, m_all, N), N, m_C, 3 * m_ownC);
    sumRows(dNormed, m_dNormed, N);
    normBackward(m_dX, at.attentionNorm, m_dMiddle, a.input, a.r1, N);
}

/// From m_dNormed; `residual`: the gradient that goes around the norm, null: none.
void CudaEngine::normBackward(Bf16* dX, std::int64_t norm, const Bf16* residual, const Bf16* x, const float* r, std::int64_t N) {
    cuda::rmsNormBackward(dX, gradient(norm), residual, m_dNormed, x, weight(norm), r, ownRows(N), m_C, m_normScratch, m_stream);
}

void CudaEngine::addWeightGradient(std::int64_t matrix, const Bf16* dY, const Bf16* x, std::int64_t N, std::int64_t I,
                                   std::int64_t O) {
    m_gemm.backwardWeight(gradient(matrix), dY, x, {N, I, O}, 1, m_stream);
}

} // namespace telehelm::model
