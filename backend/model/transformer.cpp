// SPDX-License-Identifier: Apache-2.0
#include "model/transformer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>

#include "model/parameter_layout.h"

namespace telehelm::model {

namespace {

/// Logits held at once: 8 MiB in fp32 stay in the last-level cache between softmax and both gradients.
constexpr std::int64_t kLogitsAtOnce = 2 << 20;

ParallelShape checkedParallel(const config::ModelConfig& shape, const Placement& placement, std::int64_t microBatch) {
    checkShape(shape);
    if (microBatch < 1)
        throw std::invalid_argument("model: a micro-batch must hold at least 1 sequence");
    ParallelShape parallel = placement.parallel;
    for (const auto& [what, size] : {std::pair{"attention_heads", shape.attentionHeads}, {"ffn_hidden_size", shape.ffnHiddenSize},
                                     {"vocab_size", shape.vocabSize}})
        if (size % parallel.tensor != 0)
            throw std::invalid_argument("model: " + std::to_string(parallel.tensor) + " tensor ranks do not divide " + what + " = " +
                                        std::to_string(size));
    if (parallel.sequence && shape.contextLength % parallel.tensor != 0)
        throw std::invalid_argument("model: " + std::to_string(parallel.tensor) + " tensor ranks do not divide context_length = " +
                                    std::to_string(shape.contextLength));
    if (parallel.tensor > 1 && (placement.tensor == nullptr || placement.tensor->size() != parallel.tensor))
        throw std::invalid_argument("model: tensor parallelism needs a communicator of its size");
    if (parallel.chunks.empty())
        parallel.chunks = {{0, shape.layers}};
    return parallel;
}

} // namespace

template <typename Ops>
Transformer<Ops>::Transformer(const config::ModelConfig& shape, std::int64_t microBatch, int threads, const Placement& placement)
    : m_shape(shape), m_parallel(checkedParallel(shape, placement, microBatch)), m_slots(placement.inFlight),
      m_recompute(placement.recompute), m_tensor(m_parallel.tensor > 1 ? placement.tensor : nullptr), m_B(microBatch),
      m_T(shape.contextLength), m_C(shape.hiddenSize), m_H(shape.attentionHeads), m_F(shape.ffnHiddenSize), m_V(shape.vocabSize),
      m_ownC(m_C / m_parallel.tensor), m_ownH(m_H / m_parallel.tensor), m_ownF(m_F / m_parallel.tensor),
      m_ownV(m_V / m_parallel.tensor), m_firstToken(m_ownV * m_parallel.tensorRank),
      m_rowParts(m_tensor != nullptr && m_parallel.sequence ? m_parallel.tensor : 1),
      m_threads(threads > 0 ? threads : kernels::availableThreads()), m_epsilon(static_cast<Real>(shape.normEpsilon)),
      m_inputMult(static_cast<Real>(shape.inputMult)), m_outputMult(static_cast<Real>(shape.outputMult)) {
    m_slots.resize(m_parallel.chunks.size(), 1);
    kernels::useSingleThreadedBlas();
    m_attentionScale = static_cast<Real>(1.0 / std::sqrt(static_cast<double>(m_C / m_H)));
    findWeights();
    planActivations();
    kernels::reference::ropeTable(m_cos, m_sin, m_T, m_C / m_H, shape.ropeTheta);
}

template <typename Ops> void Transformer<Ops>::findWeights() {
    m_layout = parameterLayout(m_shape, m_parallel);
    m_parameterCount = static_cast<std::size_t>(paddedSize(m_layout));
    m_weightArena.reserve(m_parameters, paddedSize(m_layout));
    m_weightArena.reserve(m_gradients, paddedSize(m_layout));
    m_weightArena.allocate();
    std::size_t next = 0; // in the order of parameterLayout
    const auto offset = [&] { return m_layout[next++].offset; };
    if (m_parallel.hasEmbedding)
        m_embedding = offset();
    for (const LayerRange& chunk : m_parallel.chunks) {
        for (std::int64_t layer = 0; layer < chunk.count; ++layer) {
            LayerOffsets at{};
            for (std::int64_t* field : {&at.attentionNorm, &at.qkv, &at.out, &at.ffnNorm, &at.gateUp, &at.down})
                *field = offset();
            m_offsets.push_back(at);
        }
    }
    if (m_parallel.hasHead) {
        m_norm = offset();
        m_head = offset();
    }
}

/// What a layer keeps of each micro-batch, by mode.
template <typename Ops> void Transformer<Ops>::planKept(LayerActivations& layer) {
    const std::int64_t N = m_B * m_T, M = N / m_rowParts;
    const auto plan = [this](Real*& pointer, std::int64_t size) { m_activationArena.reserve(pointer, size); };
    plan(layer.attention, N * m_ownC);
    plan(layer.middle, M * m_C);
    for (Real** field : {&layer.r1, &layer.r2})
        plan(*field, M);
    plan(layer.qkv, N * 3 * m_ownC);
    plan(layer.lse, N * m_ownH);
    plan(layer.gateUp, N * 2 * m_ownF);
}

/// What is cheap to have again: without a matrix product.
template <typename Ops> void Transformer<Ops>::planRecomputed(LayerActivations& layer) {
    const std::int64_t N = m_B * m_T, M = N / m_rowParts;
    for (Real** field : {&layer.normed1, &layer.normed2})
        m_activationArena.reserve(*field, M * m_C);
    m_activationArena.reserve(layer.act, N * m_ownF);
}

template <typename Ops> void Transformer<Ops>::shareRecomputed(LayerActivations& layer) const {
    Real* const input = layer.input;
    if (m_recompute == Recompute::Full) {
        layer = m_shared;
        layer.input = input;
    } else if (m_recompute == Recompute::Selective) {
        layer.normed1 = m_shared.normed1;
        layer.normed2 = m_shared.normed2;
        layer.act = m_shared.act;
    }
}

template <typename Ops> void Transformer<Ops>::planActivations() {
    const std::int64_t rows = m_B * m_T / m_rowParts * m_C;
    const std::size_t chunks = m_parallel.chunks.size();
    std::size_t firstLayer = 0;
    m_parts.resize(chunks);
    for (std::size_t chunk = 0; chunk < chunks; ++chunk) {
        const auto count = static_cast<std::size_t>(m_parallel.chunks[chunk].count);
        m_parts[chunk].resize(static_cast<std::size_t>(std::max(m_slots[chunk], 1)));
        for (Part& part : m_parts[chunk]) {
            part.firstLayer = firstLayer;
            part.chunk = static_cast<int>(chunk);
            part.begins = chunk == 0 && m_parallel.hasEmbedding;
            part.ends = chunk + 1 == chunks && m_parallel.hasHead;
            part.layers.resize(count);
            for (LayerActivations& layer : part.layers) {
                m_activationArena.reserve(layer.input, rows);
                if (m_recompute != Recompute::Full)
                    planKept(layer);
                if (m_recompute == Recompute::None)
                    planRecomputed(layer);
            }
            m_activationArena.reserve(part.output, rows);
        }
        firstLayer += count;
    }
    if (m_recompute == Recompute::Full)
        planKept(m_shared);
    if (m_recompute != Recompute::None)
        planRecomputed(m_shared);
    planScratch();
    m_activationArena.allocate();
    for (std::vector<Part>& parts : m_parts)
        for (Part& part : parts)
            std::ranges::for_each(part.layers, [this](LayerActivations& layer) { shareRecomputed(layer); });
}

template <typename Ops> void Transformer<Ops>::planScratch() {
    const std::int64_t N = m_B * m_T, M = N / m_rowParts, half = m_T * (m_C / m_H) / 2;
    const auto plan = [this](Real*& pointer, std::int64_t size) { m_activationArena.reserve(pointer, size); };
    m_scratchSize = Ops::attentionScratch(attentionShape());
    for (Real** field : {&m_dX, &m_dMiddle, &m_dNormed})
        plan(*field, M * m_C);
    plan(m_dAttention, N * m_ownC);
    for (Real** field : {&m_cos, &m_sin})
        plan(*field, half);
    if (m_parallel.hasHead) {
        m_headRows = std::clamp<std::int64_t>(kLogitsAtOnce / m_ownV, 64, std::max<std::int64_t>(N, 64));
        plan(m_normed, M * m_C);
        plan(m_r, M);
        plan(m_nats, N);
        plan(m_logits, m_headRows * m_ownV);
        plan(m_rowSums, m_tensor != nullptr ? 3 * m_headRows : 0);
    }
    plan(m_dQkv, N * 3 * m_ownC);
    plan(m_dAct, N * m_ownF);
    for (Real** field : {&m_all, &m_allX, &m_allMiddle, &m_allNormed})
        plan(*field, m_rowParts > 1 ? N * m_C : 0);
    plan(m_normSums, m_threads * static_cast<std::int64_t>(2 * m_offsets.size() + 1) * m_C);
    plan(m_scratch, m_threads * m_scratchSize);
}

template <typename Ops> void Transformer<Ops>::initialise(std::uint64_t seed) {
    for (const ParameterInfo& info : m_layout)
        initialiseWeight(parameters().subspan(static_cast<std::size_t>(info.offset), static_cast<std::size_t>(info.size)), info,
                         m_shape, seed);
}

template <typename Ops> auto Transformer<Ops>::checked(Tokens inputs, Tokens targets, Real gradScale) const -> Batch {
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

/// On the team; what a communicator threw inside it is thrown again here.
template <typename Ops> template <typename Function> void Transformer<Ops>::run(const Function& function) {
    m_failure = nullptr;
    kernels::runTeam(m_threads, function);
    if (m_failure)
        std::rethrow_exception(m_failure);
}

template <typename Ops> double Transformer<Ops>::trainMicroBatch(Tokens inputs, Tokens targets, Real gradScale) {
    const Batch batch = checked(inputs, targets, gradScale);
    const Part& whole = part(0, 0);
    if (!whole.begins || !whole.ends)
        throw std::logic_error("model: a stage of a pipeline trains part by part");
    m_last = &whole;
    m_lastHadHead = true;
    run([&](const Worker& worker) {
        forward(worker, batch, whole);
        trainHead(worker, batch, whole);
        if (worker.index == 0 && m_onBackward)
            m_onBackward();
        backward(worker, batch, whole);
    });
    return std::accumulate(m_nats, m_nats + inputs.size(), 0.0);
}

template <typename Ops> void Transformer<Ops>::evaluate(Tokens inputs, Tokens targets, std::span<Real> nats) {
    if (!part(0, 0).begins || !part(0, 0).ends)
        throw std::logic_error("model: a stage of a pipeline evaluates part by part");
    forwardPart(0, 0, inputs, targets);
    evaluatePart(0, inputs, targets, nats);
}

template <typename Ops> void Transformer<Ops>::forwardPart(int chunk, int slot, Tokens inputs, Tokens targets) {
    const Batch batch = checked(inputs, targets, 0);
    m_last = &part(chunk, slot);
    m_lastHadHead = false;
    run([&](const Worker& worker) { forward(worker, batch, *m_last); });
}

template <typename Ops>
double Transformer<Ops>::backwardPart(int chunk, int slot, Tokens inputs, Tokens targets, Real gradScale) {
    const Batch batch = checked(inputs, targets, gradScale);
    const Part& own = part(chunk, slot);
    m_last = &own;
    m_lastHadHead = own.ends;
    run([&](const Worker& worker) {
        if (own.ends)
            trainHead(worker, batch, own);
        backward(worker, batch, own);
    });
    return own.ends ? std::accumulate(m_nats, m_nats + inputs.size(), 0.0) : 0.0;
}

template <typename Ops>
void Transformer<Ops>::evaluatePart(int slot, Tokens inputs, Tokens targets, std::span<Real> nats) {
    const Batch batch = checked(inputs, targets, 0);
    if (nats.size() != inputs.size())
        throw std::out_of_range("model: evaluate needs one place for each token's loss");
    const Part& last = part(static_cast<int>(m_parts.size()) - 1, slot);
    run([&](const Worker& worker) { evaluateHead(worker, batch, last, nats.data()); });
}

template class Transformer<CpuOps>;
template class Transformer<ReferenceOps<float>>;
template class Transformer<ReferenceOps<double>>;

} // namespace telehelm::model
