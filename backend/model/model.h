// SPDX-License-Identifier: Apache-2.0
// The report's decoder-only transformer (section 3.1): pre-RMSNorm, SwiGLU, RoPE, no biases, untied embedding and head, RMSNorm
// on the last output, input multiplier on the embedding, output multiplier on the final hidden state.
// Letters: B batch, T sequence, C hidden, H heads, D = C/H, F ffn, V vocabulary, L layers.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "config/run_config.h"

namespace telehelm::model {

/// One weight in the flat parameter buffer.
struct ParameterInfo {
    std::string name;                // "embedding", "layers.3.attention.qkv", "layers.3.ffn.down", "norm", "head"
    std::vector<std::int64_t> shape; // row-major
    std::int64_t offset = 0;         // in elements
    std::int64_t size = 0;
    bool matrixLike = false;         // both dimensions grow with the width: own std and learning rate (μP)
};

/// Trainer thread only. Owns parameters, gradients and one pre-planned activation arena; no allocation after construction.
class Model {
public:
    virtual ~Model() = default;
    [[nodiscard]] virtual const std::vector<ParameterInfo>& layout() const = 0;
    [[nodiscard]] virtual std::span<float> parameters() = 0; // padded at the end to a multiple of 64 elements
    [[nodiscard]] virtual std::span<float> gradients() = 0;  // same layout, fp32 accumulation

    /// Truncated normal (± 2 σ) per weight; norms are 1. A pure function of the seed and each weight's global name and index.
    virtual void initialise(std::uint64_t seed) = 0;

    /// Forward and backward over one micro-batch. Adds `gradScale` × ∂(Σ over B·T of nats)/∂θ to the gradients.
    /// Returns Σ nats. inputs, targets: (B, T).
    virtual double trainMicroBatch(std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets,
                                   float gradScale) = 0;
    /// nats: (B, T), the loss of each token.
    virtual void evaluate(std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets,
                          std::span<float> nats) = 0;
    [[nodiscard]] virtual std::size_t activationBytes() const = 0;
};

/// CPU engine in fp32. `threads` 0: all that this process may use.
[[nodiscard]] std::unique_ptr<Model> makeCpuModel(const config::ModelConfig& shape, std::int64_t microBatch, int threads);

} // namespace telehelm::model
