// SPDX-License-Identifier: Apache-2.0
#include "model/cuda_engine.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

#include "model/parameter_layout.h"
#include "telehelm/kernels/device.h"
#include "telehelm/kernels/rope.h"
#include "telehelm/kernels/team.h"

namespace telehelm::model {

namespace cuda = kernels::cuda;

namespace {

/// Logits held at once: enough rows for full tiles of a product, little against what the layers hold.
constexpr std::int64_t kLogitsAtOnce = std::int64_t{1} << 28, kRowGrain = 128;

void useDeviceOf(const CudaOptions& options) {
    const kernels::CudaReport report = kernels::cudaReport();
    if (report.devices.empty())
        throw std::runtime_error("model: no CUDA device: " + report.whyNone);
    if (options.device < 0 || options.device >= std::ssize(report.devices))
        throw std::invalid_argument("model: there is no CUDA device " + std::to_string(options.device) + "; there are " +
                                    std::to_string(report.devices.size()));
    cuda::useDevice(options.device);
}

/// Before the members that CUDA makes.
const CudaOptions& ready(const config::ModelConfig& shape, std::int64_t microBatch, const Placement& placement,
                         const CudaOptions& options) {
    checkCudaShape(shape, placement.parallel.tensor);
    if (microBatch < 1)
        throw std::invalid_argument("model: a micro-batch must hold at least 1 sequence");
    if (placement.parallel.sequence && shape.contextLength % placement.parallel.tensor != 0)
        throw std::invalid_argument("model: the tensor ranks must divide context_length under sequence parallelism");
    useDeviceOf(options);
    return options;
}

} // namespace

void checkCudaShape(const config::ModelConfig& shape, int tensorRanks) {
    checkShape(shape);
    const auto fail = [](const std::string& key, std::int64_t value, const std::string& right) {
        throw std::invalid_argument("[model] " + key + " = " + std::to_string(value) + " cannot run on CUDA: " + right);
    };
    if (!cuda::attentionTakes(shape.hiddenSize / shape.attentionHeads))
        fail("attention_heads", shape.attentionHeads,
             "hidden_size / attention_heads must be 64 or 128, not " + std::to_string(shape.hiddenSize / shape.attentionHeads));
    const std::string each = tensorRanks == 1 ? "" : " on each of " + std::to_string(tensorRanks) + " tensor ranks";
    if (shape.attentionHeads % tensorRanks != 0)
        fail("attention_heads", shape.attentionHeads, "it must divide into " + std::to_string(tensorRanks) + " tensor ranks");
    if (shape.hiddenSize > 16384)
        fail("hidden_size", shape.hiddenSize, "it must be at most 16384");
    if (shape.ffnHiddenSize % (8 * tensorRanks) != 0)
        fail("ffn_hidden_size", shape.ffnHiddenSize, "it must be a multiple of 8" + each);
    if (shape.vocabSize % (8 * tensorRanks) != 0)
        fail("vocab_size", shape.vocabSize, "it must be a multiple of 8" + each + " (tokens that never occur cost nothing)");
}

CudaEngine::CudaEngine(const config::ModelConfig& shape, std::int64_t microBatch, const Placement& placement,
                       const CudaOptions& options)
    : m_shape(shape), m_parallel(placement.parallel), m_slots(placement.inFlight), m_recompute(placement.recompute),
      m_records(ready(shape, microBatch, placement, options).graphs), m_dataRanks(options.dataRanks), m_dataRank(options.dataRank), m_B(microBatch),
      m_T(shape.contextLength), m_C(shape.hiddenSize), m_H(shape.attentionHeads), m_F(shape.ffnHiddenSize), m_V(shape.vocabSize),
      m_ownC(m_C / m_parallel.tensor), m_ownH(m_H / m_parallel.tensor), m_ownF(m_F / m_parallel.tensor),
      m_ownV(m_V / m_parallel.tensor), m_ownTokens{m_ownV * m_parallel.tensorRank, m_ownV},
      m_rowParts(m_parallel.tensor > 1 && m_parallel.sequence ? m_parallel.tensor : 1),
      m_epsilon(static_cast<float>(shape.normEpsilon)), m_inputMult(static_cast<float>(shape.inputMult)),
      m_outputMult(static_cast<float>(shape.outputMult)),
      m_attentionScale(static_cast<float>(1.0 / std::sqrt(static_cast<double>(m_C / m_H)))) {
    if (m_parallel.chunks.empty())
        m_parallel.chunks = {{0, shape.layers}};
    m_slots.resize(m_parallel.chunks.size(), 1);
    if (m_parallel.tensor > 1) {
        m_tensor = options.tensor;
        if (m_tensor == nullptr || m_tensor->size() != m_parallel.tensor)
            throw std::invalid_argument("model: tensor parallelism on CUDA needs a device communicator of its size");
        m_records = m_records && m_tensor->isRecordable();
    }
    m_peers = m_tensor != nullptr ? m_tensor : options.peers;
    findWeights(options.bucketBytes);
    chooseAttention(options);
    planActivations();
    const std::size_t half = static_cast<std::size_t>(m_T * (m_C / m_H) / 2);
    std::vector<float> cos(half), sin(half);
    kernels::reference::ropeTable(cos.data(), sin.data(), m_T, m_C / m_H, shape.ropeTheta);
    cuda::copyToDevice(m_cos, cos.data(), half * sizeof(float), m_stream);
    cuda::copyToDevice(m_sin, sin.data(), half * sizeof(float), m_stream);
    m_stream.synchronize();
}

void CudaEngine::findWeights(std::int64_t bucketBytes) {
    m_layout = parameterLayout(m_shape, m_parallel);
    planShard(bucketBytes);
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

void CudaEngine::planShard(std::int64_t bucketBytes) {
    if (m_dataRank < 0 || m_dataRank >= m_dataRanks)
        throw std::invalid_argument("model: data rank " + std::to_string(m_dataRank) + " is not among " + std::to_string(m_dataRanks));
    m_parameterCount = paddedSize(m_layout);
    m_buckets = parallel::deviceBuckets(m_parameterCount, bucketBytes, m_dataRanks);
    const auto all = static_cast<std::size_t>(m_buckets.back().to), own = all / static_cast<std::size_t>(m_dataRanks);
    m_weights = cuda::DeviceBuffer(all * sizeof(Bf16));
    m_gradients = cuda::DeviceBuffer(all * sizeof(float));
    m_master = cuda::DeviceBuffer(own * sizeof(float));
    for (const cuda::DeviceBuffer* buffer : {&m_weights, &m_gradients, &m_master})
        cuda::fillBytes(buffer->data(), 0, buffer->bytes(), m_stream);
}

void CudaEngine::chooseAttention(const CudaOptions& options) {
    std::string kind = options.attention;
    if (const auto kinds = cuda::attentionKinds(); kind.empty() && kinds.size() == 1) {
        kind = kinds.front();
    } else if (kind.empty()) {
        const cuda::AttentionChoice choice = cuda::chooseAttention(attentionBatch(m_B));
        kind = choice.kind;
        options.onNote("attention: " + kind + " (" + choice.why + ")");
    }
    m_attention = cuda::makeAttention(kind);
}

/// What a layer keeps of each micro-batch, by mode; as the CPU's engine does.
void CudaEngine::planKept(LayerActivations& layer) {
    const std::int64_t N = m_B * m_T, M = ownRows(N);
    m_arena.reserve(layer.attention, N * m_ownC);
    m_arena.reserve(layer.middle, M * m_C);
    for (float** field : {&layer.r1, &layer.r2})
        m_arena.reserve(*field, M);
    m_arena.reserve(layer.qkv, N * 3 * m_ownC);
    m_arena.reserve(layer.lse, N * m_ownH);
    m_arena.reserve(layer.gateUp, N * 2 * m_ownF);
}

/// What is cheap to have again: without a matrix product.
void CudaEngine::planRecomputed(LayerActivations& layer) {
    const std::int64_t N = m_B * m_T, M = ownRows(N);
    for (Bf16** field : {&layer.normed1, &layer.normed2})
        m_arena.reserve(*field, M * m_C);
    m_arena.reserve(layer.act, N * m_ownF);
}

void CudaEngine::shareRecomputed(LayerActivations& layer) const {
    Bf16* const input = layer.input;
    if (m_recompute == Recompute::Full) {
        layer = m_shared;
        layer.input = input;
    } else if (m_recompute == Recompute::Selective) {
        layer.normed1 = m_shared.normed1;
        layer.normed2 = m_shared.normed2;
        layer.act = m_shared.act;
    }
}

void CudaEngine::planActivations() {
    const std::int64_t rows = boundarySize(m_B);
    const std::size_t chunks = m_parallel.chunks.size();
    std::size_t firstLayer = 0;
    m_parts.resize(chunks);
    for (std::size_t chunk = 0; chunk < chunks; ++chunk) {
        const auto count = static_cast<std::size_t>(m_parallel.chunks[chunk].count);
        m_parts[chunk].resize(static_cast<std::size_t>(std::max(m_slots[chunk], 1)));
        for (Part& part : m_parts[chunk]) {
            part.firstLayer = firstLayer;
            part.chunk = static_cast<int>(chunk);
            part.slot = static_cast<int>(&part - m_parts[chunk].data());
            part.begins = chunk == 0 && m_parallel.hasEmbedding;
            part.ends = chunk + 1 == chunks && m_parallel.hasHead;
            part.layers.resize(count);
            for (LayerActivations& layer : part.layers) {
                m_arena.reserve(layer.input, rows);
                if (m_recompute != Recompute::Full)
                    planKept(layer);
                if (m_recompute == Recompute::None)
                    planRecomputed(layer);
            }
            m_arena.reserve(part.output, rows);
        }
        firstLayer += count;
    }
    if (m_recompute == Recompute::Full)
        planKept(m_shared);
    if (m_recompute != Recompute::None)
        planRecomputed(m_shared);
    planScratch();
    m_arena.allocate();
    for (std::vector<Part>& parts : m_parts)
        for (Part& part : parts)
            std::ranges::for_each(part.layers, [this](LayerActivations& layer) { shareRecomputed(layer); });
}

void CudaEngine::planScratch() {
    const std::int64_t N = m_B * m_T, M = ownRows(N), half = m_T * (m_C / m_H) / 2;
    for (std::int32_t** field : {&m_inputs, &m_targets})
        m_arena.reserve(*field, N);
    for (float** field : {&m_cos, &m_sin})
        m_arena.reserve(*field, half);
    for (Bf16** field : {&m_dX, &m_dMiddle, &m_dNormed})
        m_arena.reserve(*field, M * m_C);
    m_arena.reserve(m_dAttention, N * m_ownC);
    m_arena.reserve(m_dQkv, N * 3 * m_ownC);
    m_arena.reserve(m_dAct, N * m_ownF);
    for (Bf16** field : {&m_all, &m_allX, &m_allMiddle, &m_allNormed})
        m_arena.reserve(*field, m_rowParts > 1 ? N * m_C : 0);
    if (m_parallel.hasHead) {
        const std::int64_t most = std::max(kLogitsAtOnce / m_ownV, kRowGrain), turns = (N + most - 1) / most;
        m_headRows = ((N + turns - 1) / turns + kRowGrain - 1) / kRowGrain * kRowGrain;
        m_arena.reserve(m_normed, M * m_C);
        m_arena.reserve(m_r, M);
        m_arena.reserve(m_nats, N);
        m_arena.reserve(m_logits, m_headRows * m_ownV);
        m_arena.reserve(m_rowFacts, 3 * m_headRows);
    }
    m_arena.reserve(m_attentionScratch, static_cast<std::int64_t>(m_attention->scratchBytes(attentionBatch(m_B))));
    m_arena.reserve(m_normScratch, static_cast<std::int64_t>(cuda::rmsNormScratch(m_C)));
    m_arena.reserve(m_sum, 1);
    m_arena.reserve(m_sumScratch, cuda::kSumScratch);
    m_arena.reserve(m_count, 1);
    m_hostTokens = cuda::PinnedBuffer(kTokenPlaces * static_cast<std::size_t>(2 * N) * sizeof(std::int32_t));
    m_hostNats = cuda::PinnedBuffer(static_cast<std::size_t>(N) * sizeof(float));
    m_hostSum = cuda::PinnedBuffer(sizeof(double));
    m_hostKept = cuda::PinnedBuffer(kKeptNats * sizeof(double));
}

/// Some weights at a time: the host may not have room for all of them in fp32.
void CudaEngine::initialise(std::uint64_t seed) {
    constexpr std::int64_t kAtOnce = std::int64_t{1} << 28;
    std::vector<float> values;
    for (std::size_t first = 0, end = 0; first < m_layout.size(); first = end) {
        const std::int64_t from = m_layout[first].offset;
        std::int64_t to = from;
        for (; end < m_layout.size() && (end == first || m_layout[end].offset + m_layout[end].size <= from + kAtOnce); ++end)
            to = m_layout[end].offset + m_layout[end].size;
        values.resize(static_cast<std::size_t>(to - from));
        kernels::runTeam(kernels::availableThreads(), [&](const kernels::Worker& worker) {
            for (std::size_t i = first + static_cast<std::size_t>(worker.index); i < end; i += static_cast<std::size_t>(worker.count)) {
                const ParameterInfo& info = m_layout[i];
                initialiseWeight(std::span(values).subspan(static_cast<std::size_t>(info.offset - from), static_cast<std::size_t>(info.size)),
                                 info, m_shape, seed);
            }
        });
        upload(Buffer::Parameters, from, values);
    }
}

/// Checks a micro-batch, brings its tokens to the device and says how many sequences it has.
std::int64_t CudaEngine::takeTokens(std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets) {
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
    m_tokenPlace = (m_tokenPlace + 1) % kTokenPlaces;
    cuda::Event& isRead = m_tokensRead[m_tokenPlace];
    wait(isRead); // by whom it was filled the last time
    const auto room = static_cast<std::size_t>(2 * m_B * m_T);
    const auto pinned = m_hostTokens.as<std::int32_t>().subspan(m_tokenPlace * room, room);
    std::ranges::copy(inputs, pinned.begin());
    std::ranges::copy(targets, pinned.begin() + size);
    cuda::copyToDevice(m_inputs, pinned.data(), inputs.size_bytes(), m_stream);
    cuda::copyToDevice(m_targets, pinned.data() + size, targets.size_bytes(), m_stream);
    isRead.record(m_stream);
    return size / m_T;
}

CudaEngine::Part& CudaEngine::whole(const char* what) {
    Part& own = part(0, 0);
    if (!own.begins || !own.ends)
        throw std::logic_error(std::string("model: a stage of a pipeline ") + what + " part by part");
    return own;
}

/// Until the stream is empty; where other ranks' work is waited for in it, a dead one is noticed.
void CudaEngine::finish() const {
    if (m_peers != nullptr)
        m_peers->wait(m_stream);
    else
        m_stream.synchronize();
}

void CudaEngine::wait(const cuda::Event& mark) const {
    if (mark.isReached())
        return;
    if (m_peers != nullptr)
        m_peers->wait(mark);
    else
        mark.synchronize();
}

double CudaEngine::lossSum() {
    cuda::copyToHost(m_hostSum.data(), m_sum, sizeof(double), m_stream);
    finish();
    return m_hostSum.as<double>()[0];
}

/// Of the micro-batch whose backward was given to the stream.
double CudaEngine::loss() {
    if (!m_keepsNats)
        return lossSum();
    if (m_kept == kKeptNats)
        foldNats();
    cuda::copyToHost(&m_hostKept.as<double>()[m_kept++], m_sum, sizeof(double), m_stream);
    return 0;
}

void CudaEngine::foldNats() {
    finish();
    for (const double nats : m_hostKept.as<double>().first(m_kept))
        m_natsSum += nats;
    m_kept = 0;
}

double CudaEngine::takeNats() {
    foldNats();
    return std::exchange(m_natsSum, 0);
}

double CudaEngine::trainMicroBatch(std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets, float gradScale) {
    const Part& own = whole("trains");
    const std::int64_t sequences = takeTokens(inputs, targets);
    m_last = &own;
    m_lastHadHead = m_gradientsMoved = true;
    playForward(own, sequences);
    playLoss(own, sequences, gradScale);
    if (m_onBackward)
        m_onBackward();
    playBackward(own, sequences);
    return loss();
}

/// The weights of one of its pieces, elements [first, second).
std::pair<std::int64_t, std::int64_t> CudaEngine::weightsOf(const Part& part, int piece) const {
    const auto layer = static_cast<std::size_t>(piece - 1);
    if (piece == 0)
        return {m_embedding, m_embedding + m_ownV * m_C};
    if (layer == part.layers.size())
        return {m_norm, m_head + m_ownV * m_C};
    const LayerOffsets& at = m_offsets[part.firstLayer + layer];
    return {at.attentionNorm, at.down + m_ownF * m_C};
}

void CudaEngine::need(const Part& part, int piece) {
    const auto [from, to] = weightsOf(part, piece);
    m_turns.needed(from, to);
}

void CudaEngine::playForward(const Part& part, std::int64_t sequences) {
    const int first = part.begins ? 0 : 1, last = static_cast<int>(part.layers.size());
    if (!m_turns.needed) {
        play(Turn::Forward, part, kWhole, sequences, 0, [&] {
            for (int piece = first; piece <= last; ++piece)
                forwardPiece(part, piece, sequences);
        });
        return;
    }
    for (int piece = first; piece <= last; ++piece) {
        need(part, piece);
        play(Turn::Forward, part, piece, sequences, 0, [&] { forwardPiece(part, piece, sequences); });
    }
}

void CudaEngine::playLoss(const Part& part, std::int64_t sequences, float gradScale) {
    if (m_turns.needed)
        need(part, static_cast<int>(part.layers.size()) + 1);
    play(Turn::Loss, part, kWhole, sequences, gradScale, [&] { trainHead(part, sequences * m_T, gradScale); });
}

void CudaEngine::playBackward(const Part& part, std::int64_t sequences) {
    const int first = static_cast<int>(part.layers.size()) + (part.ends ? 1 : 0), last = part.begins ? 0 : 1;
    if (!m_turns.done) {
        play(Turn::Backward, part, kWhole, sequences, 0, [&] {
            for (int piece = first; piece >= last; --piece)
                backwardPiece(part, piece, sequences);
        });
        return;
    }
    for (int piece = first; piece >= last; --piece) {
        play(Turn::Backward, part, piece, sequences, 0, [&] { backwardPiece(part, piece, sequences); });
        const auto [from, to] = weightsOf(part, piece);
        m_turns.done(from, to);
    }
}

void CudaEngine::evaluate(std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets, std::span<float> nats) {
    static_cast<void>(whole("evaluates"));
    forwardPart(0, 0, inputs, targets);
    evaluatePart(0, inputs, targets, nats);
}

void CudaEngine::forwardPart(int chunk, int slot, std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets) {
    const Part& own = part(chunk, slot);
    const std::int64_t sequences = takeTokens(inputs, targets);
    m_last = &own;
    m_lastHadHead = false;
    playForward(own, sequences);
}

double CudaEngine::backwardPart(int chunk, int slot, std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets,
                                float gradScale) {
    const Part& own = part(chunk, slot);
    const std::int64_t sequences = takeTokens(inputs, targets);
    m_last = &own;
    m_lastHadHead = own.ends;
    m_gradientsMoved = true;
    if (own.ends)
        playLoss(own, sequences, gradScale);
    playBackward(own, sequences);
    return own.ends ? loss() : 0;
}

void CudaEngine::evaluatePart(int slot, std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets,
                              std::span<float> nats) {
    if (nats.size() != inputs.size())
        throw std::out_of_range("model: evaluate needs one place for each token's loss");
    const std::int64_t sequences = takeTokens(inputs, targets), N = sequences * m_T;
    const Part& last = part(static_cast<int>(m_parts.size()) - 1, slot);
    play(Turn::EvaluateLoss, last, kWhole, sequences, 0, [&] { evaluateHead(last, N); });
    cuda::copyToHost(m_hostNats.data(), m_nats, nats.size_bytes(), m_stream);
    finish();
    std::ranges::copy(m_hostNats.as<float>().first(nats.size()), nats.begin());
}

std::span<float> CudaEngine::partInput(int /*chunk*/, int /*slot*/) {
    throw std::logic_error("model: what passes between parts stays on the device");
}

std::span<float> CudaEngine::partOutput(int chunk, int slot) {
    return partInput(chunk, slot);
}

std::span<float> CudaEngine::boundaryGradient() {
    return partInput(0, 0);
}

std::unique_ptr<Model> makeCudaModel(const config::ModelConfig& shape, std::int64_t microBatch, const Placement& placement,
                                     const CudaOptions& options) {
    return std::make_unique<CudaEngine>(shape, microBatch, placement, options);
}

} // namespace telehelm::model
