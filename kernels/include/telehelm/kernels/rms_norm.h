// SPDX-License-Identifier: Apache-2.0
// out[n, c] = x[n, c] · r[n] · weight[c],   r[n] = 1 / √(mean_c x[n, c]² + epsilon).   x, out (N, C); r (N) is kept for backward.
// dX = residual + r · (g − x · r² · mean_c(g · x)),   g = dOut · weight.   dWeight[c] += Σ_n dOut · x · r, rows in order.
#pragma once

#include <cstdint>

namespace telehelm::kernels {

namespace reference {
/// `out` may be `x`.
template <typename T> void rmsNormForward(T* out, T* r, const T* x, const T* weight, std::int64_t N, std::int64_t C, T epsilon);
/// `dX` may be `residual` (the gradient that goes around the norm); it aliases nothing else.
template <typename T>
void rmsNormBackward(T* dX, T* dWeight, const T* residual, const T* dOut, const T* x, const T* weight, const T* r, std::int64_t N,
                     std::int64_t C);
} // namespace reference

namespace cpu {
void rmsNormForward(float* out, float* r, const float* x, const float* weight, std::int64_t N, std::int64_t C, float epsilon);
void rmsNormBackward(float* dX, float* dWeight, const float* residual, const float* dOut, const float* x, const float* weight,
                     const float* r, std::int64_t N, std::int64_t C);
} // namespace cpu

} // namespace telehelm::kernels
