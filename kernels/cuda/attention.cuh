// SPDX-License-Identifier: Apache-2.0
// Flash attention over one engine of matrix products (mma.sync or wgmma): the host's side.
#pragma once

#include <memory>

#include "attention_backward.cuh"
#include "attention_forward.cuh"
#include "telehelm/kernels/cuda/attention.h"

namespace telehelm::kernels::cuda {

template <typename Engine> class OwnAttention final : public Attention {
public:
    [[nodiscard]] std::string name() const override { return Engine::kName; }
    [[nodiscard]] std::size_t scratchBytes(const AttentionBatch& batch) override {
        return static_cast<std::size_t>(batch.B * batch.H * batch.T) * sizeof(float); // delta
    }

    void forward(Bf16* out, float* lse, const Bf16* qkv, const AttentionBatch& batch, float scale, void*,
                 const Stream& stream) override {
        check(batch);
        if (batch.D == 64)
            forwardOf<64>(out, lse, qkv, batch, scale, stream);
        else
            forwardOf<128>(out, lse, qkv, batch, scale, stream);
    }

    void backward(Bf16* dQkv, const Bf16* dOut, const Bf16* qkv, const Bf16* out, const float* lse, const AttentionBatch& batch,
                  float scale, void* scratch, const Stream& stream) override {
        check(batch);
        if (batch.D == 64)
            backwardOf<64>(dQkv, dOut, qkv, out, lse, batch, scale, static_cast<float*>(scratch), stream);
        else
            backwardOf<128>(dQkv, dOut, qkv, out, lse, batch, scale, static_cast<float*>(scratch), stream);
    }

private:
    static constexpr int kRows = Engine::kWarps * 16;
    static constexpr std::size_t kBarrierBytes = 64;

    static void check(const AttentionBatch& batch) {
        require(attentionTakes(batch.D), "attention: heads must be of 64 or 128");
        require(batch.B * batch.H <= 65535, "attention: at most 65535 pairs of sequence and head at once");
    }
    static dim3 gridOf(const AttentionBatch& batch) {
        return {static_cast<unsigned>((batch.T + kRows - 1) / kRows), static_cast<unsigned>(batch.B * batch.H)};
    }

    template <int kD>
    void forwardOf(Bf16* out, float* lse, const Bf16* qkv, const AttentionBatch& batch, float scale, const Stream& stream) {
        const std::size_t shared = tileBytes(kRows, kD) + 4 * tileBytes(Engine::kForwardKeys, kD) + kBarrierBytes;
        launch("attentionForward", attentionForwardKernel<Engine, kD>, gridOf(batch), Engine::kWarps * 32, shared, stream, out,
               lse, Engine::source(qkv, batch, 3 * batch.H), batch.T, batch.H, scale);
    }

    template <int kD>
    void backwardOf(Bf16* dQkv, const Bf16* dOut, const Bf16* qkv, const Bf16* out, const float* lse, const AttentionBatch& batch,
                    float scale, float* delta, const Stream& stream) {
        constexpr int kStep = Engine::template kBackwardStep<kD>;
        const std::int64_t heads = batch.B * batch.T * batch.H;
        const std::size_t shared = 2 * tileBytes(kRows, kD) + 4 * tileBytes(kStep, kD) + kBarrierBytes;
        const std::size_t facts = 4 * kStep * sizeof(float);
        const auto queries = Engine::source(qkv, batch, 3 * batch.H), gradients = Engine::source(dOut, batch, batch.H);
        launch("attentionDelta", attentionDeltaKernel<kD>, dim3(static_cast<unsigned>((heads + 7) / 8)), 256, 0, stream, delta,
               dOut, out, heads, batch.T, batch.H);
        launch("attentionKeys", attentionKeysKernel<Engine, kD>, gridOf(batch), Engine::kWarps * 32, shared + facts, stream, dQkv,
               queries, gradients, lse, delta, batch.T, batch.H, scale);
        launch("attentionQueries", attentionQueriesKernel<Engine, kD>, gridOf(batch), Engine::kWarps * 32, shared, stream, dQkv,
               queries, gradients, lse, delta, batch.T, batch.H, scale);
    }
};

} // namespace telehelm::kernels::cuda
