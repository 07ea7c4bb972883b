// SPDX-License-Identifier: Apache-2.0
// The report's decoder-only transformer (section 3.1): pre-RMSNorm, SwiGLU, RoPE, no biases, untied embedding and head, RMSNorm
// on the last output, input multiplier on the embedding, output multiplier on the final hidden state.
// μP groups by how many of a weight's dimensions grow with the width: two for the linears ("matrix-like"), one for embedding,
// head and norms ("vector-like"). Both groups have their own init std and learning rate; norms start at 1. Weights, in this
// order: embedding (V, C); layers.i.attention.{norm (C), qkv (3C, C), out (C, C)}, layers.i.ffn.{norm (C), gate_up (2F, C), down
// (C, F)}; norm (C); head (V, C). Linears are y = x Wᵀ; qkv's rows are all heads' q, then k, then v. Letters: B batch, T
// sequence, C hidden, H heads, D = C/H, F ffn, V vocabulary, L layers.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "config/run_config.h"

namespace telehelm::model {

/// One weight, or a rank's part of it, in the flat parameter buffer. A part is its slice of every one of `blocks` equal stretches
/// of dimension `splitDim` (q | k | v: 3, gate | up: 2), each cut into `parts`.
struct ParameterInfo {
    std::string name;                // of the global weight: "embedding", "layers.3.attention.qkv", "head"
    std::vector<std::int64_t> shape; // of the part, row-major
    std::int64_t offset = 0;         // in elements
    std::int64_t size = 0;           // of the part
    bool matrixLike = false;         // a linear of a layer; false: embedding, head, norms
    std::vector<std::int64_t> globalShape = {};
    int splitDim = 0, blocks = 1, parts = 1, part = 0;
    /// Norms: every tensor rank holds the same values, bit for bit.
    [[nodiscard]] bool replicatedOverTensor() const { return globalShape.size() == 1; }
    /// Where local element `index` lies in the global weight.
    [[nodiscard]] std::int64_t globalIndex(std::int64_t index) const;
};

struct LayerRange {
    std::int64_t first = 0, count = 0;
    bool operator==(const LayerRange&) const = default;
};

/// Which part of the model a rank holds. By default all of it.
struct ParallelShape {
    int tensor = 1, tensorRank = 0;
    int pipeline = 1, stage = 0;
    std::vector<LayerRange> chunks = {}; // this stage's layers, one range a chunk; empty: all layers in one
    bool hasEmbedding = true;            // chunk 0 begins with it
    bool hasHead = true;                 // the last chunk ends with it
    bool sequence = false;               // norms and residual on T / tensor rows
};
using config::Recompute;

/// How an engine is placed in a mesh.
struct Placement {
    ParallelShape parallel = {};
    std::vector<int> inFlight = {};       // micro-batches in flight at once, of each chunk; empty: 1
    Recompute recompute = Recompute::None;
    comm::Communicator* tensor = nullptr; // where parallel.tensor > 1; outlives the engine
};
/// Layers of each part (chunk × pipeline + stage) in the model's order, the dearest part as cheap as can be, the head counted in.
[[nodiscard]] std::vector<std::int64_t> balancedLayers(const config::ModelConfig& shape, int parts);
/// From [parallel] tensor, pipeline, chunks, layers and sequence.
[[nodiscard]] ParallelShape parallelShape(const config::RunConfig& config, int tensorRank, int stage);

/// Numbers of the last micro-batch that an engine still holds, named after the weight that made them.
template <typename Real> struct BasicTensorView {
    std::string name;
    std::span<const Real> values;
};
using TensorView = BasicTensorView<float>;

/// Where weights are needed and gradients are complete, in elements [from, to) of the flat buffers, so that communication can go
/// on beside the work. Both come on the caller's thread, ascending in a forward and descending in a backward. On a device both speak
/// of its stream: what it is given afterwards finds the weights there, what it was given before completes the gradients; it plays a
/// forward in pieces only while `needed` is told, a backward only while `done` is: else as one graph.
struct WeightTurns {
    std::function<void(std::int64_t from, std::int64_t to)> needed; // before a forward reads them: returns when they are there
    std::function<void(std::int64_t from, std::int64_t to)> done;   // this backward adds nothing more to their gradients
};

class DeviceState;

/// Trainer thread only. Owns parameters, gradients and one pre-planned activation arena; no allocation after construction.
/// Same inputs, same number of threads: same bits. Tokens outside [0, V) throw std::out_of_range.
class Model {
public:
    virtual ~Model() = default;
    [[nodiscard]] virtual const std::vector<ParameterInfo>& layout() const = 0;
    [[nodiscard]] virtual std::span<float> parameters() = 0; // padded at the end to a multiple of 64 elements
    [[nodiscard]] virtual std::span<float> gradients() = 0;  // same layout, fp32 accumulation
    /// Where the buffers live on a device: then the two calls above copy them to the host, and what is written there counts after
    /// takeParameters() only. Null: they are the buffers themselves.
    [[nodiscard]] virtual DeviceState* device() { return nullptr; }
    virtual void takeParameters() {}

    /// Truncated normal (σ cut at ± 2 σ) per weight; norms are 1. A pure function of the seed and each weight's global name and
    /// index.
    virtual void initialise(std::uint64_t seed) = 0;

    /// Forward and backward over one micro-batch. Adds `gradScale` × ∂(Σ over B·T of nats)/∂θ to the gradients.
    /// Returns Σ nats, 0 where a device keeps them (DeviceState::keepNats). inputs, targets: (b, T) with 1 ≤ b ≤ B, whole sequences;
    /// free again afterwards.
    virtual double trainMicroBatch(std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets,
                                   float gradScale) = 0;
    /// Forward alone. nats: the loss of each token, (b, T) like inputs and targets; gradients stay as they are.
    virtual void evaluate(std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets, std::span<float> nats) = 0;
    [[nodiscard]] virtual std::size_t activationBytes() const = 0;
    /// Called in each trainMicroBatch between forward and backward, on the caller's thread; on a device between what is given to
    /// its stream for the one and for the other.
    virtual void onBackward(std::function<void()> /*turn*/) {}
    /// False: this engine tells nothing; weights must all be there before a forward, and gradients are complete after a backward.
    virtual bool onWeights(WeightTurns /*turns*/) { return false; }
    /// In the order of computation, after trainMicroBatch; empty where an engine keeps nothing. From a device comes one NaN for a tensor
    /// that holds what is not finite and nothing for any other.
    [[nodiscard]] virtual std::vector<TensorView> lastForward() const { return {}; }

    // A stage of a pipeline runs chunk by chunk; a slot holds one micro-batch's activations from its forward to its backward.
    // `tokens` of each micro-batch: inputs and targets are whole on every stage; only the first and the last part read them.
    /// Elements that pass from one part to the next for `sequences` sequences.
    [[nodiscard]] virtual std::int64_t boundarySize(std::int64_t sequences) const = 0;
    /// The residual stream before and after a chunk; the first part fills its input itself. On a device DeviceState has these three,
    /// and here they throw std::logic_error.
    [[nodiscard]] virtual std::span<float> partInput(int chunk, int slot) = 0;
    [[nodiscard]] virtual std::span<float> partOutput(int chunk, int slot) = 0;
    /// Before backwardPart: the gradient of the chunk's output (the last part makes its own); after it: of its input.
    [[nodiscard]] virtual std::span<float> boundaryGradient() = 0;
    virtual void forwardPart(int chunk, int slot, std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets) = 0;
    /// Adds to the gradients. The last part returns Σ nats as trainMicroBatch does, the others 0.
    virtual double backwardPart(int chunk, int slot, std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets,
                                float gradScale) = 0;
    /// The last part, after its forward.
    virtual void evaluatePart(int slot, std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets,
                              std::span<float> nats) = 0;
};

/// Where every weight lies in the flat buffers; the same on all engines.
[[nodiscard]] std::vector<ParameterInfo> parameterLayout(const config::ModelConfig& shape, const ParallelShape& parallel = {});

/// CPU engine in fp32. `threads` 0: all that this process may use. Throws std::invalid_argument for a shape that cannot be.
[[nodiscard]] std::unique_ptr<Model> makeCpuModel(const config::ModelConfig& shape, std::int64_t microBatch, int threads,
                                                  const Placement& placement = {});

} // namespace telehelm::model
