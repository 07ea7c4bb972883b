// SPDX-License-Identifier: Apache-2.0
// nats[n] = ln Σ_v exp(logits[n, v]) − logits[n, targets[n]].   logits (N, V), 0 ≤ target < V is the caller's duty.
// Backward replaces the logits by gradScale · (softmax(logits) − onehot(target)).
#pragma once

#include <cstdint>

namespace telehelm::kernels {

namespace reference {
template <typename T>
void crossEntropyForward(T* nats, const T* logits, const std::int32_t* targets, std::int64_t N, std::int64_t V);
template <typename T>
void crossEntropyForwardBackward(T* nats, T* logits, const std::int32_t* targets, std::int64_t N, std::int64_t V, T gradScale);
} // namespace reference

namespace cpu {
void crossEntropyForward(float* nats, const float* logits, const std::int32_t* targets, std::int64_t N, std::int64_t V);
void crossEntropyForwardBackward(float* nats, float* logits, const std::int32_t* targets, std::int64_t N, std::int64_t V,
                                 float gradScale);
} // namespace cpu

} // namespace telehelm::kernels
