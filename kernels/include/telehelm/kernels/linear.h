// SPDX-License-Identifier: Apache-2.0
// y = alpha · x Wᵀ (+ y).   x (N, I), W (O, I), y (N, O), all row-major and dense; no bias. Nothing may alias.
//   dX = alpha · dY W (+ dX),   dW[o, i] += alpha · Σ_n dY[n, o] · x[n, i] for the rows o in [from, to).
// Determinism: the same call gives the same bits; another split of N or O may round differently.
#pragma once

#include <cstdint>

namespace telehelm::kernels {

struct LinearShape {
    std::int64_t N = 0, I = 0, O = 0; // rows, inputs, outputs
};

enum class Output : bool { Overwrite, Add };

namespace reference {
template <typename T> void linearForward(T* y, const T* x, const T* weight, const LinearShape& shape, T alpha, Output output);
template <typename T>
void linearBackwardInput(T* dX, const T* dY, const T* weight, const LinearShape& shape, T alpha, Output output);
template <typename T>
void linearBackwardWeight(T* dWeight, const T* dY, const T* x, const LinearShape& shape, T alpha, std::int64_t from,
                          std::int64_t to);
} // namespace reference

namespace cpu {
void linearForward(float* y, const float* x, const float* weight, const LinearShape& shape, float alpha, Output output);
void linearBackwardInput(float* dX, const float* dY, const float* weight, const LinearShape& shape, float alpha, Output output);
void linearBackwardWeight(float* dWeight, const float* dY, const float* x, const LinearShape& shape, float alpha,
                          std::int64_t from, std::int64_t to);
} // namespace cpu

/// What sgemm reaches here on a square of 1024 with a team of `threads`, in GFLOP/s: the best of a few calls, 0.3 s at most.
[[nodiscard]] double calibrateSgemmGflops(int threads);

} // namespace telehelm::kernels
