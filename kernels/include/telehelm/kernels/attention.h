// SPDX-License-Identifier: Apache-2.0
// Causal attention of one head of one sequence.   S[i, j] = scale · q_i · k_j for j ≤ i,   P = softmax_j S,   out_i = Σ_j P[i, j]
// v_j. lse[i] = ln Σ_j exp S[i, j] is kept; backward computes P from it again, so memory grows with T, not T².
//   delta_i = dOut_i · out_i,   dS = P ∘ (dOut vᵀ − delta),   dq = scale · dS k,   dk = scale · dSᵀ q,   dv = Pᵀ dOut.
// q, k, v (T, D) have rows `stride` apart, so have dq, dk, dv; out and dOut `outStride`. Nothing may alias. All outputs are
// overwritten. Sums run in an order that depends on the shape only.
#pragma once

#include <cstdint>

namespace telehelm::kernels {

struct AttentionShape {
    std::int64_t T = 0, D = 0;
    std::int64_t stride = 0, outStride = 0; // elements between rows
};

namespace reference {
/// Elements of scratch that forward and backward need.
[[nodiscard]] std::int64_t attentionScratch(const AttentionShape& shape);
template <typename T>
void attentionForward(T* out, T* lse, const T* q, const T* k, const T* v, const AttentionShape& shape, T scale, T* scratch);
template <typename T>
void attentionBackward(T* dq, T* dk, T* dv, const T* dOut, const T* q, const T* k, const T* v, const T* out, const T* lse,
                       const AttentionShape& shape, T scale, T* scratch);
} // namespace reference

namespace cpu {
[[nodiscard]] std::int64_t attentionScratch(const AttentionShape& shape);
void attentionForward(float* out, float* lse, const float* q, const float* k, const float* v, const AttentionShape& shape,
                      float scale, float* scratch);
void attentionBackward(float* dq, float* dk, float* dv, const float* dOut, const float* q, const float* k, const float* v,
                       const float* out, const float* lse, const AttentionShape& shape, float scale, float* scratch);
} // namespace cpu

} // namespace telehelm::kernels
