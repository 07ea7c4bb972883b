// SPDX-License-Identifier: Apache-2.0
// The models of bench_train_cuda: shapes, their work counted, the times that a card's ceilings leave for it.
#pragma once

#include <cstdint>
#include <string>

#include "config/run_config.h"

namespace telehelm::bench {

inline constexpr const char* kFlopsFormula = "a step: tokens * (6 * (layers * (4*C*A + 3*C*F) + V*C) + 6 * layers * T * A), A = "
                                             "heads * 128 and V, F of this rank; forward 1 part, "
                                             "backward 2; attention causal (half of T*T); nothing recomputed is counted; "
                                             "embedding, norms, softmax, optimizer are not counted";

/// Each at full speed, one after the other.
struct Floors {
    double gemmMs = 0, attentionMs = 0, memoryMs = 0;
    [[nodiscard]] double sum() const { return gemmMs + attentionMs + memoryMs; }
};

struct TrainCase {
    const char* name;
    std::int64_t layers, hidden, heads, ffn, vocab; // of the whole model, ffn and vocab too
    std::int64_t microBatch, sequences;             // of a step; length 4096
    int tensor;                                     // of so many ranks this is one
    bool hasOptimizer, mayShrink;
    static constexpr std::int64_t length = 4096;

    [[nodiscard]] std::int64_t tokensPerStep() const { return sequences * length; }
    /// Of this rank.
    [[nodiscard]] double A() const { return static_cast<double>(hidden / tensor); }
    [[nodiscard]] double F() const { return static_cast<double>(ffn / tensor); }
    [[nodiscard]] double V() const { return static_cast<double>(vocab / tensor); }
    [[nodiscard]] double C() const { return static_cast<double>(hidden); }

    [[nodiscard]] config::ModelConfig shape(std::int64_t depth) const {
        config::ModelConfig shape;
        shape.layers = depth;
        shape.hiddenSize = hidden;
        shape.attentionHeads = heads;
        shape.ffnHiddenSize = ffn;
        shape.vocabSize = vocab;
        shape.contextLength = length;
        shape.standardDeviation = shape.matrixStandardDeviation = 0.02;
        return shape;
    }
    [[nodiscard]] double productWeights(std::int64_t depth) const {
        return static_cast<double>(depth) * (4 * C() * A() + 3 * C() * F()) + V() * C();
    }
    [[nodiscard]] double parameters(std::int64_t depth) const {
        return productWeights(depth) + V() * C() + (2 * static_cast<double>(depth) + 1) * C();
    }
    [[nodiscard]] double attentionFlops(std::int64_t depth) const {
        return 6 * static_cast<double>(depth * length) * A() * static_cast<double>(tokensPerStep());
    }
    [[nodiscard]] double flopsPerStep(std::int64_t depth) const {
        return 6 * productWeights(depth) * static_cast<double>(tokensPerStep()) + attentionFlops(depth);
    }
    /// Everything that is not a product, each byte once. A layer and token: residual and two norms 16 C, RoPE 8 A, SwiGLU 8 F in
    /// bf16 elements, forward and backward; the loss reads and writes its logits (2 passes of 2 bytes each way). A weight: its
    /// fp32 gradient read and written in each micro-batch (8 bytes); in the step cleared (4), summed for the norm (4), AdamW
    /// (30).
    [[nodiscard]] double otherBytes(std::int64_t depth) const {
        const double perToken = static_cast<double>(depth) * 2 * (16 * C() + 8 * A() + 8 * F()) + 4 * V();
        const double perWeight = 8 * static_cast<double>(sequences / microBatch) + (hasOptimizer ? 38 : 4);
        return perToken * static_cast<double>(tokensPerStep()) + perWeight * parameters(depth);
    }
    [[nodiscard]] Floors floors(std::int64_t depth, double flopsPerS, double bytesPerS) const {
        return {.gemmMs = (flopsPerStep(depth) - attentionFlops(depth)) / flopsPerS * 1e3,
                .attentionMs = attentionFlops(depth) / flopsPerS * 1e3,
                .memoryMs = otherBytes(depth) / bytesPerS * 1e3};
    }
    /// Roughly: bf16 and fp32 weights, gradients, moments; what a layer keeps for its backward, logits, 2 GB of workspaces.
    [[nodiscard]] double bytesNeeded(std::int64_t depth) const {
        const double rows = static_cast<double>(microBatch * length);
        const double kept = static_cast<double>(depth) * rows * 2 * (4 * C() + 4 * A() + 3 * F());
        return parameters(depth) * (hasOptimizer ? 18 : 10) + kept + rows * (2 * V() + 12 * C()) + 2e9;
    }
    [[nodiscard]] std::string peerArguments() const {
        const auto flag = [](const char* key, std::int64_t value) {
            return std::string(" --") + key + " " + std::to_string(value);
        };
        return std::string("--name ") + name + flag("hidden", hidden) + flag("heads", heads / tensor) +
               flag("ffn", ffn / tensor) + flag("vocab", vocab / tensor) + flag("length", length) +
               flag("micro-batch", microBatch) + flag("sequences", sequences) + (hasOptimizer ? "" : " --no-optimizer");
    }
};

/// One rank of Tele-FLM 52B at tensor 4 × pipeline 2, communication left out, with a quarter of embedding and head; the narrow
/// twin on which its hyperparameters were searched; a dense model of 1.3 B in its layers.
inline constexpr TrainCase kTrainCases[] = {
    {"slice_52b", 32, 8192, 64, 21'824, 80'000, 1, 4, 4, false, true},
    {"mup_proxy", 64, 512, 4, 1344, 80'000, 8, 8, 1, true, false},
    {"dense_1b3", 24, 2048, 16, 5504, 80'000, 4, 4, 1, true, false},
};

} // namespace telehelm::bench
