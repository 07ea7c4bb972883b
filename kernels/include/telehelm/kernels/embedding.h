// SPDX-License-Identifier: Apache-2.0
// out[n, c] = mult · weight[tokens[n], c].   N rows, C hidden, weight (V, C); 0 ≤ token < V is the caller's duty.
// Nothing may alias. Backward adds row by row in order: the same bits for any split of the columns.
#pragma once

#include <cstdint>

namespace telehelm::kernels {

namespace reference {
template <typename T>
void embeddingForward(T* out /* N, C */, const T* weight, const std::int32_t* tokens, std::int64_t N, std::int64_t C, T mult);
/// dWeight[tokens[n], c] += mult · dOut[n, c] for the columns [from, to).
template <typename T>
void embeddingBackward(T* dWeight, const T* dOut /* N, C */, const std::int32_t* tokens, std::int64_t N, std::int64_t C, T mult,
                       std::int64_t from, std::int64_t to);
} // namespace reference

namespace cpu {
void embeddingForward(float* out, const float* weight, const std::int32_t* tokens, std::int64_t N, std::int64_t C, float mult);
void embeddingBackward(float* dWeight, const float* dOut, const std::int32_t* tokens, std::int64_t N, std::int64_t C, float mult,
                       std::int64_t from, std::int64_t to);
} // namespace cpu

} // namespace telehelm::kernels
