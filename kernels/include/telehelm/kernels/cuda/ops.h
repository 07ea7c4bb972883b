// SPDX-License-Identifier: Apache-2.0
// The row-wise ops on a device, with the formulas of the CPU's headers (embedding.h, rms_norm.h, rope.h, swiglu.h,
// cross_entropy.h, adamw.h, elementwise.h): bf16 in and out, fp32 inside, weight gradients and statistics in fp32. All pointers
// are device pointers. Rows are dense and C, F and strides are multiples of 8 unless said otherwise; anything else throws
// std::invalid_argument. N may be anything; 0 does nothing. Stream-ordered; nothing allocates, nothing synchronizes. All are
// deterministic: the order of every sum depends on the shape only (of embeddingBackward's: on the tokens, too).
#pragma once

#include <cstdint>

#include "telehelm/kernels/adamw.h"
#include "telehelm/kernels/cuda/bf16.h"
#include "telehelm/kernels/cuda/runtime.h"
#include "telehelm/kernels/rope.h"

namespace telehelm::kernels::cuda {

/// A rank's stretch of the vocabulary: tokens [first, first + count).
struct Vocabulary {
    std::int64_t first = 0, count = 0;
};

/// out[n] = mult · weight[tokens[n] − first]; zeros where the token is another rank's.   out (N, C), weight (count, C).
void embeddingForward(Bf16* out, const Bf16* weight, const std::int32_t* tokens, const Vocabulary& own, std::int64_t N,
                      std::int64_t C, float mult, const Stream& stream);
/// dWeight[tokens[n] − first] += mult · dOut[n]; a token's rows are added up in order, a thousand or more at once, and then to the
/// weight. Other ranks' tokens are left out. dWeight aligned to 16 bytes; first + count at most 2^30.
void embeddingBackward(float* dWeight, const Bf16* dOut, const std::int32_t* tokens, const Vocabulary& own, std::int64_t N,
                       std::int64_t C, float mult, const Stream& stream);

/// out = rmsNorm(x) · weight, r kept for backward.   x, out (N, C), r (N).
void rmsNormForward(Bf16* out, float* r, const Bf16* x, const Bf16* weight, std::int64_t N, std::int64_t C, float epsilon,
                    const Stream& stream);
/// sum = x + delta in bf16, out = rmsNorm(sum) · weight: one pass where a residual meets a norm. `sum` may be `x` or `delta`.
void addRmsNormForward(Bf16* out, float* r, Bf16* sum, const Bf16* x, const Bf16* delta, const Bf16* weight, std::int64_t N,
                       std::int64_t C, float epsilon, const Stream& stream);
/// Bytes of scratch that rmsNormBackward needs for rows of C.
[[nodiscard]] std::size_t rmsNormScratch(std::int64_t C);
/// dX = residual + …, dWeight += …; `residual` null: nothing goes around the norm. dX may be `residual` or `dOut`.
void rmsNormBackward(Bf16* dX, float* dWeight, const Bf16* residual, const Bf16* dOut, const Bf16* x, const Bf16* weight,
                     const float* r, std::int64_t N, std::int64_t C, void* scratch, const Stream& stream);

/// In place on the q and k of packed rows. cos, sin (T, D/2); D a multiple of 16.
void ropeForward(Bf16* qkv, const float* cos, const float* sin, const RopeShape& shape, const Stream& stream);
void ropeBackward(Bf16* dQkv, const float* cos, const float* sin, const RopeShape& shape, const Stream& stream);

void swigluForward(Bf16* out, const Bf16* gateUp, std::int64_t N, std::int64_t F, const Stream& stream);
/// dGateUp may be gateUp.
void swigluBackward(Bf16* dGateUp, const Bf16* dOut, const Bf16* gateUp, std::int64_t N, std::int64_t F, const Stream& stream);

/// Logits of N rows `stride` apart (a multiple of 8, at least V; V may be anything).
struct Logits {
    Bf16* values = nullptr;
    std::int64_t N = 0, V = 0, stride = 0;
};
/// nats alone; the logits stay.
void crossEntropyForward(float* nats, const Logits& logits, const std::int32_t* targets, const Stream& stream);
/// nats, and the logits become their own gradient: they are written once by the product that makes them and once here. The
/// columns from V to stride become 0, so that a product may run over them.
void crossEntropyForwardBackward(float* nats, const Logits& logits, const std::int32_t* targets, float gradScale,
                                 const Stream& stream);
// The same over a split vocabulary. largest, sums, targetLogits (N). Between them the ranks take the maximum of `largest` and the
// sums of `sums` and `targetLogits`; nats = ln sum − target.
void vocabMax(float* largest, const Logits& logits, const Stream& stream);
/// sums: Σ exp(logit − largest); targetLogits: the target's logit − largest, 0 where it is another rank's. The logits stay.
void vocabSums(float* sums, float* targetLogits, const Logits& logits, const float* largest, const std::int32_t* targets,
               std::int64_t first, const Stream& stream);
void vocabNats(float* nats, const float* sums, const float* targetLogits, std::int64_t N, const Stream& stream);
void vocabGradient(const Logits& logits, const float* largest, const float* sums, const std::int32_t* targets, std::int64_t first,
                   float gradScale, const Stream& stream);

// Of any size and alignment of their type:
void toBf16(Bf16* out, const float* in, std::int64_t size, const Stream& stream);
void toFloat(float* out, const Bf16* in, std::int64_t size, const Stream& stream);
/// out = a + b; may be either.
void add(Bf16* out, const Bf16* a, const Bf16* b, std::int64_t size, const Stream& stream);

/// AdamW over a whole shard in one launch: a chunk is a stretch of one weight with what its weight's group does.
struct AdamWChunk {
    std::int64_t from = 0; // in elements of the buffers below
    std::int32_t size = 0; // at most kAdamWChunk
    std::int32_t group = 0;
};
inline constexpr std::int32_t kAdamWChunk = 16384;
struct AdamWGroups {
    AdamWStep<float> steps[4];
};
/// On fp32 master weights; writes them in bf16 too unless `working` is null. `chunks`: `count` of them, on the device. Any sizes.
void adamw(float* parameters, Bf16* working, float* first, float* second, const float* gradients, const AdamWChunk* chunks,
           std::int64_t count, const AdamWGroups& groups, const Stream& stream);

/// Doubles of scratch that both sums need.
inline constexpr std::int64_t kSumScratch = 1024;
/// *out = Σ x² and Σ x in double, in two passes. `out` on the device.
void sumOfSquares(double* out, const float* x, std::int64_t size, double* scratch, const Stream& stream);
void sum(double* out, const float* x, std::int64_t size, double* scratch, const Stream& stream);
/// *out = Σ x² over the chunks of group 0, and NaN where a chunk of another group holds what is not finite. `chunks`: `count` of
/// them, in elements of x; scratch: a double for each; both on the device.
void sumOfSquares(double* out, const float* x, const AdamWChunk* chunks, std::int64_t count, double* scratch, const Stream& stream);
/// *out = how many of x are not finite.
void countNonFinite(std::int32_t* out, const Bf16* x, std::int64_t size, const Stream& stream);

} // namespace telehelm::kernels::cuda
