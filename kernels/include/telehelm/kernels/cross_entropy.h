// SPDX-License-Identifier: Apache-2.0
// nats[n] = ln Σ_v exp(logits[n, v]) − logits[n, targets[n]].   logits (N, V), 0 ≤ target < V is the caller's duty.
// Backward replaces the logits by gradScale · (softmax(logits) − onehot(target)).
//
// Vocabulary split over ranks: each holds V columns, from token `first` on. With m = the largest logit of all ranks (vocabMax, then
// a max over the ranks), vocabExp replaces the logits by exp(logit − m) and gives their sum and the target's logit − m (0 where the
// target is another rank's); with both summed over the ranks, nats = ln sum − target, and vocabGradient makes the gradient.
#pragma once

#include <cstdint>

namespace telehelm::kernels {

namespace reference {
template <typename T>
void crossEntropyForward(T* nats, const T* logits, const std::int32_t* targets, std::int64_t N, std::int64_t V);
template <typename T>
void crossEntropyForwardBackward(T* nats, T* logits, const std::int32_t* targets, std::int64_t N, std::int64_t V, T gradScale);
template <typename T>
void vocabMax(T* largest, const T* logits, std::int64_t N, std::int64_t V);
template <typename T>
void vocabExp(T* sums, T* targetLogits, T* logits, const T* largest, const std::int32_t* targets, std::int64_t first, std::int64_t N,
              std::int64_t V);
template <typename T>
void vocabGradient(T* logits, const T* sums, const std::int32_t* targets, std::int64_t first, std::int64_t N, std::int64_t V,
                   T gradScale);
} // namespace reference

namespace cpu {
void crossEntropyForward(float* nats, const float* logits, const std::int32_t* targets, std::int64_t N, std::int64_t V);
void crossEntropyForwardBackward(float* nats, float* logits, const std::int32_t* targets, std::int64_t N, std::int64_t V,
                                 float gradScale);
void vocabMax(float* largest, const float* logits, std::int64_t N, std::int64_t V);
void vocabExp(float* sums, float* targetLogits, float* logits, const float* largest, const std::int32_t* targets, std::int64_t first, std::int64_t N,
              std::int64_t V);
void vocabGradient(float* logits, const float* sums, const std::int32_t* targets, std::int64_t first, std::int64_t N, std::int64_t V,
                   float gradScale);
} // namespace cpu

} // namespace telehelm::kernels
