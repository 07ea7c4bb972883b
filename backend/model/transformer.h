// SPDX-License-Identifier: Apache-2.0
// The transformer over one engine's kernels, hand-written forward and backward. A team of threads runs a whole micro-batch; each
// member owns a stretch of rows (tokens), a stretch of (sequence, head) pairs in attention, and a stretch of each weight's rows
// when weight gradients are summed over all tokens. So every sum has one fixed order for a given team.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "model/arena.h"
#include "model/model.h"
#include "model/ops.h"
#include "telehelm/kernels/team.h"

namespace telehelm::model {

/// Trainer thread only. See Model for what the calls mean; Real is the engine's precision, in parameters, gradients and losses.
template <typename Ops> class Transformer {
public:
    using Real = typename Ops::Real;

    Transformer(const config::ModelConfig& shape, std::int64_t microBatch, int threads);

    [[nodiscard]] const std::vector<ParameterInfo>& layout() const { return m_layout; }
    [[nodiscard]] std::span<Real> parameters() { return {m_parameters, m_parameterCount}; }
    [[nodiscard]] std::span<Real> gradients() { return {m_gradients, m_parameterCount}; }
    [[nodiscard]] std::size_t activationBytes() const { return m_activationArena.bytes(); }

    void onBackward(std::function<void()> turn) { m_onBackward = std::move(turn); }
    /// The last micro-batch's numbers (transformer_trace.cpp).
    [[nodiscard]] std::vector<BasicTensorView<Real>> lastForward() const;
    void initialise(std::uint64_t seed);
    double trainMicroBatch(std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets, Real gradScale);
    void evaluate(std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets, std::span<Real> nats);

private:
    /// Offsets of one layer's weights in the flat buffers.
    struct LayerOffsets {
        std::int64_t attentionNorm, qkv, out, ffnNorm, gateUp, down;
    };
    struct LayerActivations {
        Real* input;     // N, C   residual stream before the layer
        Real* normed1;   // N, C
        Real* r1;        // N
        Real* qkv;       // N, 3C  after RoPE
        Real* attention; // N, C
        Real* lse;       // B, H, T
        Real* middle;    // N, C   residual stream between attention and ffn
        Real* normed2;   // N, C
        Real* r2;        // N
        Real* gateUp;    // N, 2F  becomes its own gradient in backward
        Real* act;       // N, F
    };
    /// What one call works on.
    struct Batch {
        const std::int32_t *inputs, *targets; // b, T
        std::int64_t sequences;
        Real gradScale;
    };
    using Worker = kernels::Worker;
    using Range = kernels::Range;

    void findWeights();
    void planActivations();
    [[nodiscard]] Batch checked(std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets,
                                Real gradScale) const;
    [[nodiscard]] Range rowsOf(const Worker& worker, const Batch& batch) const;
    [[nodiscard]] bool ownsSequences(const Worker& worker, const Batch& batch) const;

    void forward(const Worker& worker, const Batch& batch);
    void forwardToAttention(std::size_t layer, Range rows);
    void forwardFromAttention(std::size_t layer, Range rows);
    void attend(const Worker& worker, const Batch& batch, std::size_t layer);
    void evaluateHead(const Worker& worker, const Batch& batch, Real* nats);

    void trainHead(const Worker& worker, const Batch& batch);
    void backward(const Worker& worker, const Batch& batch);
    void backwardFfn(const Worker& worker, std::size_t layer, Range rows);
    void backwardAttend(const Worker& worker, const Batch& batch, std::size_t layer);
    void backwardToInput(const Worker& worker, std::size_t layer, Range rows);
    void addWeightGradient(const Worker& worker, std::int64_t weight, const Real* dY, const Real* x, std::int64_t N,
                           std::int64_t I, std::int64_t O, Real alpha = 1);
    void addNormGradients(const Worker& worker);

    [[nodiscard]] const Real* weight(std::int64_t offset) const { return m_parameters + offset; }
    /// This member's sum for norm `index` (2 per layer, then the last), added up over the team at the end.
    [[nodiscard]] Real* normSum(int member, std::size_t index) const {
        return m_normSums +
               (static_cast<std::size_t>(member) * (2 * m_layers.size() + 1) + index) * static_cast<std::size_t>(m_C);
    }
    [[nodiscard]] Real* scratch(const Worker& worker) const { return m_scratch + worker.index * m_scratchSize; }
    [[nodiscard]] kernels::AttentionShape attentionShape() const {
        return {.T = m_T, .D = m_C / m_H, .stride = 3 * m_C, .outStride = m_C};
    }

    // Constant after construction.
    config::ModelConfig m_shape;
    std::int64_t m_B, m_T, m_C, m_H, m_F, m_V;
    int m_threads;
    std::function<void()> m_onBackward;
    Real m_epsilon, m_inputMult, m_outputMult, m_attentionScale;
    std::vector<ParameterInfo> m_layout;
    std::size_t m_parameterCount = 0; // padded
    std::vector<LayerOffsets> m_offsets;
    std::int64_t m_embedding = 0, m_norm = 0, m_head = 0; // offsets
    std::int64_t m_headRows = 0, m_scratchSize = 0;

    Arena<Real> m_weightArena, m_activationArena;
    Real *m_parameters = nullptr, *m_gradients = nullptr;
    std::vector<LayerActivations> m_layers;
    Real *m_cos, *m_sin;            // T, D/2
    Real* m_output;                 // N, C   residual stream after the last layer
    Real *m_normed, *m_r;           // N, C; N
    Real* m_logits;                 // rows at once, V; become their own gradient
    Real* m_nats;                   // N
    Real *m_dX, *m_dMiddle;         // N, C   of the residual stream
    Real *m_dNormed, *m_dAttention; // N, C
    Real* m_dQkv;                   // N, 3C
    Real* m_dAct;                   // N, F
    Real *m_normSums, *m_scratch;   // per team member
};

} // namespace telehelm::model
