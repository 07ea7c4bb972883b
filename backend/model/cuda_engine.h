// SPDX-License-Identifier: Apache-2.0
// The transformer on a device, hand-written like the CPU's (transformer.h) and with its letters: all work is in one stream's
// order, so what threads and barriers are there is nothing here. The micro-batch's forward and backward are recorded as graphs at
// their second call: as a whole, or in pieces while somebody listens to onWeights(). Private to the engine's sources.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#include "comm/device_communicator.h"
#include "model/cuda_model.h"
#include "model/device_arena.h"
#include "model/device_state.h"
#include "telehelm/kernels/cuda/attention.h"
#include "telehelm/kernels/cuda/gemm.h"
#include "telehelm/kernels/cuda/ops.h"

namespace telehelm::model {

/// Trainer thread only.
class CudaEngine final : public Model, public DeviceState {
public:
    CudaEngine(const config::ModelConfig& shape, std::int64_t microBatch, const Placement& placement, const CudaOptions& options);

    // Model
    const std::vector<ParameterInfo>& layout() const override { return m_layout; }
    std::span<float> parameters() override;
    std::span<float> gradients() override;
    DeviceState* device() override { return this; }
    void takeParameters() override;
    void initialise(std::uint64_t seed) override;
    double trainMicroBatch(std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets, float gradScale) override;
    void evaluate(std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets, std::span<float> nats) override;
    std::size_t activationBytes() const override { return m_arena.bytes() + kernels::cuda::Gemm::kWorkspaceBytes; }
    void onBackward(std::function<void()> turn) override { m_onBackward = std::move(turn); }
    bool onWeights(WeightTurns turns) override {
        m_turns = std::move(turns);
        return true;
    }
    std::vector<TensorView> lastForward() const override;
    std::int64_t boundarySize(std::int64_t sequences) const override { return sequences * m_T / m_rowParts * m_C; }
    std::span<float> partInput(int chunk, int slot) override;
    std::span<float> partOutput(int chunk, int slot) override;
    std::span<float> boundaryGradient() override;
    void forwardPart(int chunk, int slot, std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets) override;
    double backwardPart(int chunk, int slot, std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets,
                        float gradScale) override;
    void evaluatePart(int slot, std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets,
                      std::span<float> nats) override;

    // DeviceState
    std::span<const parallel::DeviceBucket> buckets() const override { return m_buckets; }
    std::int64_t ownFrom(std::size_t bucket) const override { return m_buckets[bucket].from + m_buckets[bucket].block(m_dataRanks) * m_dataRank; }
    std::int64_t ownTo(std::size_t bucket) const override { return ownFrom(bucket) + m_buckets[bucket].block(m_dataRanks); }
    void keepNats(bool keeps) override { m_keepsNats = keeps; }
    double takeNats() override;
    void makeMoments() override;
    void clearGradients() override;
    double gradientSquares(std::int64_t from, std::int64_t to) override;
    double countedSquares(std::span<const Counted> stretches) override;
    void adamw(std::span<const Update> updates, const std::function<void(std::size_t bucket)>& given) override;
    void download(Buffer buffer, std::int64_t from, std::span<float> host) override;
    void upload(Buffer buffer, std::int64_t from, std::span<const float> host) override;
    float* gradientData() override { return m_gradients.as<float>(); }
    kernels::cuda::Bf16* weightData() override { return m_weights.as<Bf16>(); }
    void weightsMoved() override { m_parametersMoved = true; }
    std::size_t weightBytes() const override { return m_weights.bytes(); }
    std::size_t gradientBytes() const override { return m_gradients.bytes(); }
    std::size_t shardBytes() const override { return m_master.bytes() + m_first.bytes() + m_second.bytes(); }
    const kernels::cuda::Stream& stream() const override { return m_stream; }
    kernels::cuda::Bf16* partInputData(int chunk, int slot) override { return part(chunk, slot).layers.front().input; }
    const kernels::cuda::Bf16* partOutputData(int chunk, int slot) override { return part(chunk, slot).output; }
    kernels::cuda::Bf16* boundaryGradientData() override { return m_dX; }

private:
    using Bf16 = kernels::cuda::Bf16;
    /// Offsets of one layer's weights in the flat buffers.
    struct LayerOffsets {
        std::int64_t attentionNorm, qkv, out, ffnNorm, gateUp, down;
    };
    /// C', H', F': this rank's part; M rows: this rank's part under sequence parallelism, else N.
    struct LayerActivations {
        Bf16* input;     // M, C   residual stream before the layer
        Bf16* normed1;   // M, C
        float* r1;       // M
        Bf16* qkv;       // N, 3C' after RoPE
        Bf16* attention; // N, C'
        float* lse;      // B, H', T
        Bf16* middle;    // M, C   residual stream between attention and ffn
        Bf16* normed2;   // M, C
        float* r2;       // M
        Bf16* gateUp;    // N, 2F' becomes its own gradient in backward
        Bf16* act;       // N, F'
    };
    /// One micro-batch in one chunk.
    struct Part {
        std::vector<LayerActivations> layers;
        Bf16* output = nullptr;     // M, C
        std::size_t firstLayer = 0; // of this rank's
        int chunk = 0, slot = 0;
        bool begins = false, ends = false; // with the embedding; with the head
    };
    /// What a graph was recorded for.
    enum class Turn : std::uint8_t { Forward, Backward, Loss, EvaluateLoss };
    static constexpr int kWhole = -1; // of a part's pieces: 0 the embedding, 1 and on its layers, behind them the head
    using GraphKey = std::tuple<Turn, int /* chunk */, int /* slot */, int /* piece */, std::int64_t /* sequences */, float /* gradScale */>;
    struct Recorded {
        bool ranOnce = false; // as it is: handles, modules and algorithms are there from then on
        kernels::cuda::Graph graph;
    };
    /// Stretches of weights for a kernel, on the device, and what they were made from.
    struct ChunkList {
        std::vector<kernels::cuda::AdamWChunk> chunks;
        kernels::cuda::DeviceBuffer onDevice;
    };

    // cuda_engine.cpp
    void findWeights(std::int64_t bucketBytes);
    void planShard(std::int64_t bucketBytes);
    void planActivations();
    void planKept(LayerActivations& layer);
    void planRecomputed(LayerActivations& layer);
    void shareRecomputed(LayerActivations& layer) const;
    void planScratch();
    void chooseAttention(const CudaOptions& options);
    Part& part(int chunk, int slot) { return m_parts[static_cast<std::size_t>(chunk)][static_cast<std::size_t>(slot)]; }
    Part& whole(const char* what);
    std::int64_t takeTokens(std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets);
    template <typename Work> void play(Turn turn, const Part& part, int piece, std::int64_t sequences, float gradScale, Work&& work);
    void playForward(const Part& part, std::int64_t sequences);
    void playLoss(const Part& part, std::int64_t sequences, float gradScale);
    void playBackward(const Part& part, std::int64_t sequences);
    [[nodiscard]] std::pair<std::int64_t, std::int64_t> weightsOf(const Part& part, int piece) const;
    void need(const Part& part, int piece);
    void finish() const;
    void wait(const kernels::cuda::Event& mark) const;
    double lossSum();
    double loss();
    void foldNats();

    // cuda_engine_state.cpp
    [[nodiscard]] std::size_t bucketOf(std::int64_t element) const { return static_cast<std::size_t>(element / m_buckets.front().to); }
    void bring(ChunkList& list, std::vector<kernels::cuda::AdamWChunk> chunks);
    /// Calls own(from, to) for what is of the shard and others(from, to) for the rest of [from, to).
    template <typename Own, typename Others>
    void byShard(std::int64_t from, std::int64_t to, const Own& own, const Others& others) const;
    float* place(Buffer buffer, std::int64_t from);
    void downloadParameters(std::int64_t from, std::span<float> host);
    void uploadParameters(std::int64_t from, std::span<const float> host);

    // cuda_engine_forward.cpp
    void forwardPiece(const Part& part, int piece, std::int64_t sequences);
    void recompute(const Part& part, std::size_t layer, std::int64_t sequences);
    void forwardLayer(const Part& part, std::size_t layer, std::int64_t sequences, bool toTheEnd);
    void project(Bf16* out, const Bf16* residual, const Bf16* x, std::int64_t weight, std::int64_t N, std::int64_t inputs);
    const Bf16* normForHead(const Part& part, std::int64_t N);
    void evaluateHead(const Part& part, std::int64_t N);
    void splitLoss(const kernels::cuda::Logits& logits, std::int64_t from);
    const Bf16* gather(const Bf16* own, Bf16* all, std::int64_t N);
    void sumRows(Bf16* all, Bf16* own, std::int64_t N);

    // cuda_engine_backward.cpp
    void trainHead(const Part& part, std::int64_t N, float gradScale);
    void backwardPiece(const Part& part, int piece, std::int64_t sequences);
    void backwardLayer(const Part& part, std::size_t layer, std::int64_t sequences);
    const Bf16* backwardFfn(const LayerActivations& a, const LayerOffsets& at, std::int64_t N);
    void backwardAttention(const LayerActivations& a, const LayerOffsets& at, std::int64_t sequences);
    void addWeightGradient(std::int64_t weight, const Bf16* dY, const Bf16* x, std::int64_t N, std::int64_t I, std::int64_t O);
    void normBackward(Bf16* dX, std::int64_t weight, const Bf16* residual, const Bf16* x, const float* r, std::int64_t N);

    [[nodiscard]] const Bf16* weight(std::int64_t offset) const { return m_weights.as<Bf16>() + offset; }
    [[nodiscard]] float* gradient(std::int64_t offset) const { return m_gradients.as<float>() + offset; }
    [[nodiscard]] std::int64_t ownRows(std::int64_t N) const { return N / m_rowParts; }
    [[nodiscard]] kernels::cuda::AttentionBatch attentionBatch(std::int64_t sequences) const {
        return {sequences, m_T, m_ownH, m_C / m_H};
    }

    // Constant after construction.
    config::ModelConfig m_shape;
    ParallelShape m_parallel;
    std::vector<int> m_slots; // of each chunk
    Recompute m_recompute;
    bool m_records;
    int m_dataRanks, m_dataRank;
    std::int64_t m_B, m_T, m_C, m_H, m_F, m_V;
    std::int64_t m_ownC, m_ownH, m_ownF, m_ownV; // this tensor rank's
    kernels::cuda::Vocabulary m_ownTokens;
    std::int64_t m_rowParts; // tensor ranks under sequence parallelism, else 1
    float m_epsilon, m_inputMult, m_outputMult, m_attentionScale;
    std::vector<ParameterInfo> m_layout;
    std::int64_t m_parameterCount = 0; // padded
    std::vector<parallel::DeviceBucket> m_buckets; // whose blocks are the data ranks' shards of the optimizer's state
    std::vector<LayerOffsets> m_offsets;
    std::int64_t m_embedding = 0, m_norm = 0, m_head = 0; // offsets
    std::int64_t m_headRows = 0;

    kernels::cuda::Stream m_stream;
    comm::DeviceCommunicator* m_tensor = nullptr; // null: one tensor rank
    comm::DeviceCommunicator* m_peers = nullptr;  // null: the stream waits for nobody
    kernels::cuda::Gemm m_gemm;
    std::unique_ptr<kernels::cuda::Attention> m_attention;
    kernels::cuda::DeviceBuffer m_weights;                   // bf16, all buckets: what the kernels read
    kernels::cuda::DeviceBuffer m_gradients;                 // fp32, all buckets
    kernels::cuda::DeviceBuffer m_master, m_first, m_second; // fp32, own blocks behind each other: weights and their moments
    ChunkList m_updates, m_counted;                          // for AdamW and for the global norm
    kernels::cuda::DeviceBuffer m_partialSquares;            // a double for each of m_counted
    DeviceArena m_arena;
    std::map<GraphKey, Recorded> m_graphs;
    std::function<void()> m_onBackward;
    WeightTurns m_turns;

    std::vector<std::vector<Part>> m_parts;           // chunk, slot
    LayerActivations m_shared{};                      // what all layers share under recomputation
    const Part* m_last = nullptr;                     // what ran last
    bool m_lastHadHead = false;                       // it made a loss
    std::int32_t *m_inputs, *m_targets;               // B, T
    float *m_cos, *m_sin;                             // T, D/2
    Bf16* m_normed = nullptr;                         // M, C
    float *m_r, *m_nats;                              // M; N
    Bf16* m_logits;                                   // rows at once, V'; become their own gradient
    float* m_rowFacts;                                // 3, rows at once: largest logit, sum of exponentials, target's logit
    Bf16 *m_dX, *m_dMiddle, *m_dNormed;               // M, C
    Bf16* m_dAttention;                               // N, C'
    Bf16* m_dQkv;                                     // N, 3C'
    Bf16* m_dAct;                                     // N, F'
    Bf16 *m_all, *m_allX, *m_allMiddle, *m_allNormed; // N, C   sequence parallel: gathered rows, or rows to be summed
    std::byte *m_attentionScratch, *m_normScratch;
    double *m_sum, *m_sumScratch;
    std::int32_t* m_count;

    // The host's side; pinned.
    static constexpr std::size_t kTokenPlaces = 8; // micro-batches' parts that the host may be ahead
    static constexpr std::size_t kKeptNats = 256;
    kernels::cuda::PinnedBuffer m_hostTokens, m_hostSum, m_hostNats, m_hostKept;
    std::array<kernels::cuda::Event, kTokenPlaces> m_tokensRead; // which place of m_hostTokens is free again
    std::size_t m_tokenPlace = 0;
    bool m_keepsNats = false;
    std::size_t m_kept = 0; // in m_hostKept; what was there before is in m_natsSum
    double m_natsSum = 0;
    std::vector<float> m_hostParameters, m_hostGradients;   // copies, made when asked for
    bool m_parametersMoved = true, m_gradientsMoved = true; // since they were made
};

/// Records at the second call and launches from then on; the first call runs as it is.
template <typename Work>
void CudaEngine::play(Turn turn, const Part& part, int piece, std::int64_t sequences, float gradScale, Work&& work) {
    Recorded& own = m_graphs[{turn, part.chunk, part.slot, piece, sequences, gradScale}];
    if (!m_records || !own.ranOnce) {
        own.ranOnce = true;
        work();
        return;
    }
    if (!own.graph)
        own.graph = kernels::cuda::Graph::record(m_stream, work);
    own.graph.launch(m_stream);
}

} // namespace telehelm::model
