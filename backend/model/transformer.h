// SPDX-License-Identifier: Apache-2.0
// The transformer over one engine's kernels, hand-written forward and backward. A team of threads runs a whole micro-batch; each
// member owns a stretch of rows (tokens), a stretch of (sequence, head) pairs in attention, and a stretch of each weight's rows
// when weight gradients are summed over all tokens. So every sum has one fixed order for a given team.
//
// Tensor parallel: a rank holds H/P heads, F/P ffn columns and V/P tokens of vocabulary. Where ranks must meet, the team's first
// member calls the communicator between two barriers. Sequence parallel: norms and residual hold M = N/P rows (of all N rows,
// ranks after each other); rows are gathered before a column-split linear and scattered with the sum after a row-split one; what
// was gathered is gathered again in the backward instead of kept. With one tensor rank none of this costs anything.
// Attention's probabilities are never kept; what recomputation leaves out besides is in Recompute. What is left out lies in one
// set of buffers that all layers share.
#pragma once

#include <cstdint>
#include <exception>
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
    using Tokens = std::span<const std::int32_t>;

    Transformer(const config::ModelConfig& shape, std::int64_t microBatch, int threads, const Placement& placement = {});

    [[nodiscard]] const std::vector<ParameterInfo>& layout() const { return m_layout; }
    [[nodiscard]] std::span<Real> parameters() { return {m_parameters, m_parameterCount}; }
    [[nodiscard]] std::span<Real> gradients() { return {m_gradients, m_parameterCount}; }
    [[nodiscard]] std::size_t activationBytes() const { return m_activationArena.bytes(); }

    void onBackward(std::function<void()> turn) { m_onBackward = std::move(turn); }
    void onWeights(WeightTurns turns) { m_turns = std::move(turns); }
    /// The last micro-batch's numbers (transformer_trace.cpp).
    [[nodiscard]] std::vector<BasicTensorView<Real>> lastForward() const;
    void initialise(std::uint64_t seed);
    double trainMicroBatch(Tokens inputs, Tokens targets, Real gradScale);
    void evaluate(Tokens inputs, Tokens targets, std::span<Real> nats);

    [[nodiscard]] std::int64_t boundarySize(std::int64_t sequences) const { return sequences * m_T / m_rowParts * m_C; }
    [[nodiscard]] std::span<Real> partInput(int chunk, int slot) { return boundary(part(chunk, slot).layers.front().input); }
    [[nodiscard]] std::span<Real> partOutput(int chunk, int slot) { return boundary(part(chunk, slot).output); }
    [[nodiscard]] std::span<Real> boundaryGradient() { return boundary(m_dX); }
    void forwardPart(int chunk, int slot, Tokens inputs, Tokens targets);
    double backwardPart(int chunk, int slot, Tokens inputs, Tokens targets, Real gradScale);
    void evaluatePart(int slot, Tokens inputs, Tokens targets, std::span<Real> nats);

private:
    /// Offsets of one layer's weights in the flat buffers.
    struct LayerOffsets {
        std::int64_t attentionNorm, qkv, out, ffnNorm, gateUp, down;
    };
    /// C', H', F': this rank's part; M rows: this rank's part under sequence parallelism, else N.
    struct LayerActivations {
        Real* input;     // M, C   residual stream before the layer
        Real* normed1;   // M, C
        Real* r1;        // M
        Real* qkv;       // N, 3C' after RoPE
        Real* attention; // N, C'
        Real* lse;       // B, H', T
        Real* middle;    // M, C   residual stream between attention and ffn
        Real* normed2;   // M, C
        Real* r2;        // M
        Real* gateUp;    // N, 2F' becomes its own gradient in backward
        Real* act;       // N, F'
    };
    /// One micro-batch in one chunk.
    struct Part {
        std::vector<LayerActivations> layers;
        Real* output;           // M, C
        std::size_t firstLayer; // of this rank's
        int chunk;
        bool begins, ends;      // with the embedding; with the head
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
    void planKept(LayerActivations& layer);
    void planRecomputed(LayerActivations& layer);
    void shareRecomputed(LayerActivations& layer) const;
    void planScratch();
    [[nodiscard]] Part& part(int chunk, int slot) {
        return m_parts[static_cast<std::size_t>(chunk)][static_cast<std::size_t>(slot)];
    }
    [[nodiscard]] std::span<Real> boundary(Real* rows) const { return {rows, static_cast<std::size_t>(boundarySize(m_B))}; }
    [[nodiscard]] Batch checked(Tokens inputs, Tokens targets, Real gradScale) const;
    template <typename Function> void run(const Function& function);

    // Rows: of the whole micro-batch, and of the norms and the residual.
    [[nodiscard]] Range rowsOf(const Worker& worker, const Batch& batch) const;
    [[nodiscard]] Range ownRowsOf(const Worker& worker, const Batch& batch) const;
    [[nodiscard]] bool ownsSequences(const Worker& worker, const Batch& batch) const;

    // Where the tensor ranks meet; nothing at all with one.
    template <typename Function> void meet(const Worker& worker, const Function& function);
    const Real* gather(const Worker& worker, const Batch& batch, const Real* own, Real* all);
    void sumRows(const Worker& worker, const Batch& batch, Real* all, Real* own);
    void sum(const Worker& worker, Real* values, std::int64_t count);

    // The listener of WeightTurns; nothing at all without one.
    template <typename Function> void guarded(const Function& function);
    void need(const Worker& worker, std::int64_t from, std::int64_t to);
    void tellDone(const Worker& worker, std::int64_t from, std::int64_t to);
    [[nodiscard]] std::int64_t layerBegin(std::size_t layer) const { return m_offsets[layer].attentionNorm; }
    [[nodiscard]] std::int64_t layerEnd(std::size_t layer) const { return m_offsets[layer].down + m_C * m_ownF; }

    void forward(const Worker& worker, const Batch& batch, const Part& part);
    void embed(const Worker& worker, const Batch& batch, Real* out);
    void forwardToAttention(const Worker& worker, const Batch& batch, const Part& part, std::size_t layer);
    void forwardFromAttention(const Worker& worker, const Batch& batch, const Part& part, std::size_t layer, bool toTheEnd);
    void project(const Worker& worker, const Batch& batch, Real* out, const Real* residual, const Real* x, std::int64_t weight,
                 std::int64_t inputs);
    void forwardLayer(const Worker& worker, const Batch& batch, const Part& part, std::size_t layer, bool toTheEnd);
    void attend(const Worker& worker, const Batch& batch, const LayerActivations& a);
    const Real* normForHead(const Worker& worker, const Batch& batch, const Part& part);
    void evaluateHead(const Worker& worker, const Batch& batch, const Part& part, Real* nats);
    void splitLoss(const Worker& worker, Range rows, std::int64_t from, std::int64_t count, const Batch& batch, Real* nats);

    void trainHead(const Worker& worker, const Batch& batch, const Part& part);
    void backward(const Worker& worker, const Batch& batch, const Part& part);
    void recompute(const Worker& worker, const Batch& batch, const Part& part, std::size_t layer);
    void backwardLayer(const Worker& worker, const Batch& batch, const Part& part, std::size_t layer);
    void tellAbove(const Worker& worker, const Part& part, std::size_t layer);
    void tellRest(const Worker& worker, const Part& part);
    const Real* backwardFfn(const Worker& worker, const Batch& batch, const Part& part, std::size_t layer, const Real* dY);
    void backwardAttend(const Worker& worker, const Batch& batch, const LayerActivations& a);
    void backwardToInput(const Worker& worker, const Batch& batch, const Part& part, std::size_t layer);
    void embedBackward(const Worker& worker, const Batch& batch);
    void addWeightGradient(const Worker& worker, std::int64_t weight, const Real* dY, const Real* x, std::int64_t N,
                           std::int64_t I, std::int64_t O, Real alpha = 1);
    void addNormGradient(const Worker& worker, std::size_t index, std::int64_t weight);

    [[nodiscard]] const Real* weight(std::int64_t offset) const { return m_parameters + offset; }
    /// This member's sum for norm `index` (2 per layer, then the last), added up over the team at the end.
    [[nodiscard]] Real* normSum(int member, std::size_t index) const {
        return m_normSums +
               (static_cast<std::size_t>(member) * (2 * m_offsets.size() + 1) + index) * static_cast<std::size_t>(m_C);
    }
    [[nodiscard]] Real* scratch(const Worker& worker) const { return m_scratch + worker.index * m_scratchSize; }
    [[nodiscard]] kernels::AttentionShape attentionShape() const {
        return {.T = m_T, .D = m_C / m_H, .stride = 3 * m_ownC, .outStride = m_ownC};
    }

    // Constant after construction.
    config::ModelConfig m_shape;
    ParallelShape m_parallel;
    std::vector<int> m_slots; // of each chunk
    Recompute m_recompute;
    comm::Communicator* m_tensor;
    std::int64_t m_B, m_T, m_C, m_H, m_F, m_V;
    std::int64_t m_ownC, m_ownH, m_ownF, m_ownV; // this tensor rank's
    std::int64_t m_firstToken;                   // of its vocabulary
    std::int64_t m_rowParts;                     // tensor ranks under sequence parallelism, else 1
    int m_threads;
    std::function<void()> m_onBackward;
    WeightTurns m_turns;
    Real m_epsilon, m_inputMult, m_outputMult, m_attentionScale;
    std::vector<ParameterInfo> m_layout;
    std::size_t m_parameterCount = 0; // padded
    std::vector<LayerOffsets> m_offsets;
    std::int64_t m_embedding = 0, m_norm = 0, m_head = 0; // offsets
    std::int64_t m_headRows = 0, m_scratchSize = 0;

    Arena<Real> m_weightArena, m_activationArena;
    Real *m_parameters = nullptr, *m_gradients = nullptr;
    std::exception_ptr m_failure; // of a communicator, on its way out of the team
    const Part* m_last = nullptr; // what ran last
    bool m_lastHadHead = false;   // it made a loss
    std::vector<std::vector<Part>> m_parts; // chunk, slot
    LayerActivations m_shared{};            // what all layers share under recomputation
    Real *m_cos, *m_sin;            // T, D/2
    Real *m_normed, *m_r;           // M, C; M
    Real* m_logits;                 // rows at once, V'; become their own gradient
    Real* m_nats;                   // N
    Real* m_rowSums;                // 3, rows at once: largest logit, sum of exponentials, target's logit
    Real *m_dX, *m_dMiddle;         // M, C   of the residual stream
    Real *m_dNormed;                // M, C
    Real* m_dAttention;             // N, C'
    Real* m_dQkv;                   // N, 3C'
    Real* m_dAct;                   // N, F'
    Real *m_all, *m_allX, *m_allMiddle, *m_allNormed; // N, C   sequence parallel: gathered rows, or rows to be summed
    Real *m_normSums, *m_scratch;   // per team member
};

} // namespace telehelm::model
