// SPDX-License-Identifier: Apache-2.0
#include "parallel/plan_memory.h"

#include <algorithm>

#include "parallel/device_shards.h"

namespace telehelm::parallel {
namespace {

/// Logits that are held at once, as elements: the head works on a stretch of rows at a time.
constexpr std::int64_t kLogitsAtOnce = 2 << 20;
constexpr std::int64_t kAttentionRows = 32;  // of a head at once, on the CPU
constexpr std::int64_t kBucketsInFlight = 4; // as train/buckets.h has it

// On a device, as model/cuda_engine.cpp and kernels/cuda have them.
constexpr std::int64_t kDeviceLogitsAtOnce = std::int64_t{1} << 28, kDeviceRowGrain = 128;
constexpr std::int64_t kNormBlocks = 256;               // partial sums of a norm's gradient
constexpr std::int64_t kGemmWorkspace = 64 << 20;       // bytes; cuBLASLt's
constexpr std::int64_t kSums = 2 * 256 + 1024 * 8;      // bytes; of the loss and the global norm

/// Elements of one micro-batch on one rank.
struct Widths {
    explicit Widths(const config::RunConfig& config)
        : tokens(config.microSequences() * config.model.contextLength), tensor(config.parallel.tensor),
          sequence(config.parallel.sequence ? config.parallel.tensor : 1) {
        const config::ModelConfig& model = config.model;
        residual = tokens * model.hiddenSize / sequence;
        full = tokens * model.hiddenSize;
        heads = tokens * model.hiddenSize / tensor;
        ffn = tokens * model.ffnHiddenSize / tensor;
        statistics = tokens / sequence;
        lse = tokens * model.attentionHeads / tensor;
    }
    std::int64_t tokens, tensor, sequence;
    std::int64_t residual;   // N, C: split by sequence, or whole
    std::int64_t full;       // N, C: gathered
    std::int64_t heads;      // N, C: split by heads
    std::int64_t ffn;        // N, F: split by columns
    std::int64_t statistics; // N: a norm's 1 / rms
    std::int64_t lse;        // N, H: attention's log-sum-exp
};

double ring(std::int64_t ranks) {
    return static_cast<double>(ranks - 1) / static_cast<double>(ranks);
}

/// Sent over the tensor axis for one micro-batch, in units of one reduce-scatter or all-gather of N × C.
/// A layer has two blocks. With sequence parallel each gathers its input and reduce-scatters its output, the backward mirrors
/// that, and gathers the input once more for the weight's gradient; without, each all-reduces once per direction (2 units). A
/// forward that is done again ends before the last sum, which no gradient needs.
double tensorUnits(const LayerRange& part, bool sequence, Recompute mode) {
    const double forward = 4, lastSum = sequence ? 1 : 2, backward = sequence ? 6 : 4;
    const double again = mode == Recompute::Full ? forward - lastSum : 0;
    double units = static_cast<double>(part.count) * (forward + backward + again);
    // The look-up's sum over the vocabulary's parts; its gradient is gathered where it was split by sequence.
    units += part.hasEmbedding ? 2 : 0;
    // The head's input, gathered once for both of its products, and the gradient's sum; without a split the sum alone.
    units += part.hasHead ? 2 : 0;
    return units;
}

std::int64_t upTo(std::int64_t value, std::int64_t grain) {
    return (value + grain - 1) / grain * grain;
}

bool hasHead(std::span<const LayerRange> parts) {
    return std::ranges::any_of(parts, &LayerRange::hasHead);
}

/// What layers share that do not keep it, elements of activations aside from a full recomputation's statistics.
std::int64_t recomputedBytes(const config::RunConfig& config, const Widths& w, Recompute mode) {
    switch (mode) {
    case Recompute::Full:
        return layerActivationBytes(config, Recompute::None) - layerActivationBytes(config, Recompute::Full);
    case Recompute::Selective:
        return (2 * w.residual + w.ffn) * elementBytes(config).activation;
    case Recompute::None:
        break;
    }
    return 0;
}

/// bf16 gradients and logits; fp32 statistics, losses and partial sums. cuDNN's attention may ask for more scratch than ours.
std::int64_t deviceWorkBytes(const config::RunConfig& config, std::span<const LayerRange> parts, Recompute mode) {
    const Widths w(config);
    const config::ModelConfig& model = config.model;
    std::int64_t halves = 3 * w.residual + 4 * w.heads + w.ffn; // as on the CPU
    if (config.parallel.sequence && config.parallel.tensor > 1) {
        halves += 4 * w.full;
    }
    std::int64_t words = 2 * w.tokens;                                    // inputs and targets
    words += model.contextLength * model.hiddenSize / model.attentionHeads; // RoPE's table
    words += w.lse + kNormBlocks * model.hiddenSize;                      // of attention's and the norms' backward
    if (hasHead(parts)) {
        const std::int64_t V = model.vocabSize / w.tensor, most = std::max(kDeviceLogitsAtOnce / V, kDeviceRowGrain);
        const std::int64_t turns = (w.tokens + most - 1) / most, rows = upTo((w.tokens + turns - 1) / turns, kDeviceRowGrain);
        halves += w.residual + rows * V;               // the last norm's output, logits
        words += w.statistics + w.tokens + 3 * rows;   // a loss per token, what tensor ranks share of a row
    }
    return 2 * halves + 4 * words + recomputedBytes(config, w, mode) + kSums + kGemmWorkspace;
}

} // namespace

std::string_view name(Recompute mode) {
    constexpr std::string_view names[] = {"none", "selective", "full"};
    return names[static_cast<std::size_t>(mode)];
}

ElementBytes elementBytes(const config::RunConfig& config) {
    if (config.device == "cuda") {
        return {.weight = 2, .gradient = 4, .activation = 2, .optimizer = 12};
    }
    return {.weight = 4, .gradient = 4, .activation = 4, .optimizer = 8};
}

ParameterShare parameterShare(const config::RunConfig& config, const LayerRange& part) {
    const std::int64_t C = config.model.hiddenSize, F = config.model.ffnHiddenSize, V = config.model.vocabSize;
    const std::int64_t ends = (part.hasEmbedding ? 1 : 0) + (part.hasHead ? 1 : 0);
    const std::int64_t layer = 4 * C * C + 3 * C * F;
    return {.split = (part.count * layer + ends * V * C) / config.parallel.tensor,
            .replicated = part.count * 2 * C + (part.hasHead ? C : 0)};
}

std::int64_t layerActivationBytes(const config::RunConfig& config, Recompute mode) {
    const Widths w(config);
    const std::int64_t size = elementBytes(config).activation;
    if (mode == Recompute::Full) {
        return w.residual * size; // the layer's input
    }
    // Input and the stream between attention and ffn; q, k, v and the attention's output; gate and up.
    std::int64_t elements = 2 * w.residual + 4 * w.heads + 2 * w.ffn;
    if (mode == Recompute::None) {
        elements += 2 * w.residual + w.ffn; // both norms' outputs and SwiGLU's product
    }
    return elements * size + (2 * w.statistics + w.lse) * 4; // statistics stay in fp32
}

std::int64_t keptBytes(const config::RunConfig& config, std::span<const LayerRange> parts, std::span<const std::int64_t> inFlight,
                       Recompute mode) {
    const Widths w(config);
    const std::int64_t layer = layerActivationBytes(config, mode);
    std::int64_t bytes = 0;
    for (std::size_t chunk = 0; chunk < parts.size(); ++chunk) {
        // With each micro-batch the stream behind the part's last layer: what goes to the next part or to the head.
        bytes += inFlight[chunk] * (parts[chunk].count * layer + w.residual * elementBytes(config).activation);
    }
    return bytes;
}

std::int64_t shardElements(const config::RunConfig& config, std::int64_t parameters) {
    const std::int64_t ranks = config.parallel.data;
    if (config.device == "cuda") { // all ranks' shards are alike, and weights and gradients have room for all of them
        return deviceRoom(parameters, static_cast<int>(ranks)) / ranks;
    }
    return (parameters + ranks - 1) / ranks;
}

std::int64_t threadBytes(const config::RunConfig& config, std::span<const LayerRange> parts) {
    if (config.device == "cuda") {
        return 0;
    }
    std::int64_t layers = 0;
    for (const LayerRange& part : parts) {
        layers += part.count;
    }
    // Its own sums of the norms' gradients; attention's scores of a block of rows, twice, and one number for each of those rows.
    const std::int64_t norms = (2 * layers + 1) * config.model.hiddenSize;
    return (norms + 2 * kAttentionRows * config.model.contextLength + kAttentionRows) * elementBytes(config).activation;
}

std::int64_t workBytes(const config::RunConfig& config, std::span<const LayerRange> parts, Recompute mode) {
    if (config.device == "cuda") {
        return deviceWorkBytes(config, parts, mode);
    }
    const Widths w(config);
    const std::int64_t size = elementBytes(config).activation;
    // Gradients: of the stream at the layer's end and in its middle, of a norm's output, of attention's in- and output, of
    // SwiGLU's product.
    std::int64_t bytes = (3 * w.residual + 4 * w.heads + w.ffn) * size;
    if (config.parallel.sequence && config.parallel.tensor > 1) {
        bytes += 4 * w.full * size; // gathered: a block's input and output, and both in the backward
    }
    bytes += recomputedBytes(config, w, mode);
    bytes += config.model.contextLength * config.model.hiddenSize / config.model.attentionHeads * size; // RoPE's table
    if (hasHead(parts)) {
        const std::int64_t V = config.model.vocabSize / w.tensor;
        const std::int64_t rows = std::clamp<std::int64_t>(kLogitsAtOnce / V, 64, std::max<std::int64_t>(w.tokens, 64));
        bytes += w.residual * size + w.statistics * 4;                              // the last norm's output
        bytes += (rows * V + w.tokens + (config.parallel.tensor > 1 ? 3 * rows : 0)) * 4; // fp32 logits, a loss per token, what tensor ranks share of a row
    }
    return bytes + threadBytes(config, parts);
}

std::int64_t messageBytes(const config::RunConfig& config, std::int64_t parameters, std::int64_t replicated,
                          std::int64_t gradientBuffers) {
    const Widths w(config);
    const config::ParallelConfig& mesh = config.parallel;
    std::int64_t bytes = gradientBuffers * w.residual * elementBytes(config).activation;
    if (config.device == "cuda") {
        return bytes; // sums are made in place
    }
    if (mesh.sequence && mesh.tensor > 1) {
        bytes += replicated * elementBytes(config).gradient; // norms' gradients behind each other
    }
    if (mesh.data > 1) {
        const std::int64_t shard = (parameters + mesh.data - 1) / mesh.data * elementBytes(config).gradient;
        const std::int64_t all = parameters * elementBytes(config).gradient;
        bytes += shard + std::min(all, kBucketsInFlight * mesh.bucketBytesOn(config.device)); // what others sent
    }
    return bytes;
}

Traffic stageTraffic(const config::RunConfig& config, std::span<const LayerRange> parts, std::int64_t parameters,
                     std::int64_t replicated, Recompute mode) {
    const Widths w(config);
    const ElementBytes size = elementBytes(config);
    const auto microBatches = static_cast<double>(config.microBatches());
    const double unit = static_cast<double>(w.full * size.activation) * ring(w.tensor);
    Traffic out;
    double ends = 0; // a part's neighbours in the pipeline
    for (const LayerRange& part : parts) {
        out.tensor += microBatches * unit * tensorUnits(part, config.parallel.sequence, mode);
        if (part.hasHead) { // per token the logits' maximum, their sum and the target's logit, all-reduced in fp32
            out.tensor += microBatches * 3 * 4 * static_cast<double>(w.tokens) * 2 * ring(w.tensor);
        }
        ends += (part.hasEmbedding ? 0 : 1) + (part.hasHead ? 0 : 1);
    }
    if (config.parallel.sequence) { // the norms' gradients, once a step; without a split every rank has them whole
        out.tensor += static_cast<double>(replicated * size.gradient) * 2 * ring(w.tensor);
    }
    out.data = static_cast<double>(parameters * (size.gradient + size.weight)) * ring(config.parallel.data);
    if (config.parallel.pipeline > 1) { // each end sends one activation or one gradient per micro-batch
        out.pipeline = microBatches * ends * static_cast<double>(w.residual * size.activation);
    }
    return out;
}

} // namespace telehelm::parallel
