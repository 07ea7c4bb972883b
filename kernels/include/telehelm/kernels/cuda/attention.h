// SPDX-License-Identifier: Apache-2.0
// Causal attention of all heads of a micro-batch, as attention.h defines it for one: bf16 in and out, fp32 inside, lse in fp32.
// qkv (B · T, 3 · H · D) packed as rope.h says, out (B · T, H · D), lse (B, H, T). D is 64 or 128.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "telehelm/kernels/cuda/bf16.h"
#include "telehelm/kernels/cuda/runtime.h"

namespace telehelm::kernels::cuda {

struct AttentionBatch {
    std::int64_t B = 0, T = 0, H = 0, D = 0;
    bool operator==(const AttentionBatch&) const = default;
};

/// Whether there is a kernel for heads of this size; without CUDA too.
[[nodiscard]] constexpr bool attentionTakes(std::int64_t D) {
    return D == 64 || D == 128;
}

/// One implementation. Planned for shapes beforehand; then no call allocates or synchronizes, and the same call gives the same
/// bits.
class Attention {
public:
    virtual ~Attention() = default;
    [[nodiscard]] virtual std::string name() const = 0;
    /// Bytes that `scratch` below must have.
    [[nodiscard]] virtual std::size_t scratchBytes(const AttentionBatch& batch) = 0;
    virtual void forward(Bf16* out, float* lse, const Bf16* qkv, const AttentionBatch& batch, float scale, void* scratch,
                         const Stream& stream) = 0;
    /// dQkv is overwritten whole.
    virtual void backward(Bf16* dQkv, const Bf16* dOut, const Bf16* qkv, const Bf16* out, const float* lse,
                          const AttentionBatch& batch, float scale, void* scratch, const Stream& stream) = 0;
};

/// All that this build and this device have, in the order of preference: "cudnn", "wgmma" (sm_90a), "mma" (sm_80 and newer).
[[nodiscard]] std::vector<std::string> attentionKinds();
/// Throws std::invalid_argument for a name that is none of them.
[[nodiscard]] std::unique_ptr<Attention> makeAttention(const std::string& kind);

struct AttentionChoice {
    std::string kind;
    std::string why; // "wgmma 0.61 ms, mma 1.02 ms forward and backward at B 1, T 4096, H 16, D 128"
};
/// Times each kind on random data. A later one must be 10 % faster than an earlier one to be taken, so that noise never changes
/// the choice, on which the bits depend. One that cannot be planned for the shape is passed over, and `why` says so.
[[nodiscard]] AttentionChoice chooseAttention(const AttentionBatch& batch);

} // namespace telehelm::kernels::cuda
