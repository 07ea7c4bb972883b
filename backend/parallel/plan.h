// SPDX-License-Identifier: Apache-2.0
// A run on paper: what a config costs in memory, messages and time, per rank, before anything is allocated. Pure arithmetic;
// any thread. Letters as in model.h: C hidden, F ffn, V vocabulary, T sequence; t tensor ranks, D data ranks, m micro-batches,
// N = tokens of one micro-batch. What libraries keep for themselves is not counted (CUDA's context, NCCL's buffers, cuDNN's workspace
// where its attention asks for more than ours), nor that buffers are padded to cache lines, nor a device's lists of stretches for
// AdamW and the norm (three thousandths of a byte for each weight of the shard); all else is what the engine and its checkpoint writer allocate, byte for byte.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "config/run_config.h"
#include "parallel/partition.h"
#include "parallel/schedule.h"
#include "telehelm/ipc/result.h"

namespace telehelm::parallel {

using config::Recompute;
inline constexpr std::array kRecomputeModes{Recompute::None, Recompute::Selective, Recompute::Full};
[[nodiscard]] std::string_view name(Recompute mode);

/// Bytes of one element; "cpu" computes in fp32, "cuda" in bf16 with fp32 gradients and master weights.
struct ElementBytes {
    std::int64_t weight, gradient, activation;
    std::int64_t optimizer; // per element of a shard: both moments, and the master weight where it is not the weight itself
};
[[nodiscard]] ElementBytes elementBytes(const config::RunConfig& config);

/// Elements of weights that one rank of a stage holds.
struct ParameterShare {
    std::int64_t split = 0;      // its part of what is cut over the tensor ranks
    std::int64_t replicated = 0; // norms: the same on every tensor rank
    [[nodiscard]] std::int64_t total() const { return split + replicated; }
};

/// Bytes that one rank sends in a step, with ring collectives: (n − 1) / n of a buffer for an all-gather or reduce-scatter
/// among n, twice that for an all-reduce.
struct Traffic {
    double tensor = 0, data = 0, pipeline = 0;
};

/// One rank of a stage; all ranks of a stage are alike.
struct StagePlan {
    std::vector<LayerRange> parts; // by chunk
    ParameterShare parameters;
    std::int64_t parameterBytes = 0, gradientBytes = 0;
    std::int64_t optimizerBytes = 0;               // of the rank's shard, 1 / D
    std::array<std::int64_t, 3> activationBytes{}; // kept from forward to backward, per recompute mode
    std::int64_t workBytes = 0;                    // logits, a layer's gradients, one layer that is recomputed
    std::int64_t threadBytes = 0;                  // of workBytes, what each thread of the rank needs; counted for one
    std::int64_t messageBytes = 0;                 // the shard's reduced gradients, buckets and messages on their way
    std::int64_t checkpointBytes = 0;              // what is to be saved is copied first: the shard's fp32 weights and moments
    bool isOnDevice = false;                       // then checkpointBytes are the host's, twice, and not in the total
    std::int64_t peakActivations = 0;              // (micro-batch, chunk) pairs in flight
    double idleShare = 0;                          // of the step, bubble and imbalance
    Traffic traffic;
    [[nodiscard]] std::int64_t totalBytes(Recompute mode) const {
        return parameterBytes + gradientBytes + optimizerBytes + activationBytes[static_cast<std::size_t>(mode)] + workBytes +
               messageBytes + (isOnDevice ? 0 : checkpointBytes);
    }
};

/// How another schedule would do on the same mesh.
struct ScheduleOption {
    ScheduleKind kind;
    int chunks;
    double bubbleShare;           // parts weighed by their cost
    std::int64_t peakActivations; // of the first stage, in micro-batches of a whole stage (rounded up)
};

struct Plan {
    std::int64_t parameters = 0; // of the model
    std::int64_t tokensPerStep = 0, microBatches = 0, microSequences = 0;
    double flopsPerToken = 0;         // model FLOPs, forward and backward; attention counted causal (half the square)
    double hardwareFlopsPerToken = 0; // with what is recomputed
    double bubbleShare = 0;           // of the stages' time, parts weighed by their cost
    double evenBubbleShare = 0;       // the closed form (p − 1) / (c·m + p − 1), as if all parts cost alike
    Recompute recompute = Recompute::None;
    std::vector<StagePlan> stages;
    std::vector<ScheduleOption> options;
    double flopsPerRank = 0;                     // as asked, 0: no time is told
    double stepSeconds = 0, tokensPerSecond = 0; // bubble counted, messages not
};

/// `flopsPerRank`: what a rank reaches while it computes, FLOP/s. Refused where the config's mesh or schedule does not fit.
[[nodiscard]] Result<Plan> makePlan(const config::RunConfig& config, double flopsPerRank = 0);

/// The pieces, for tests and for the engine's own account.
[[nodiscard]] ParameterShare parameterShare(const config::RunConfig& config, const LayerRange& part);
/// What one layer keeps of one micro-batch on one rank.
[[nodiscard]] std::int64_t layerActivationBytes(const config::RunConfig& config, Recompute mode);

} // namespace telehelm::parallel
