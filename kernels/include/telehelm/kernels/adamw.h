// SPDX-License-Identifier: Apache-2.0
// One AdamW step, element by element:   g = gradScale · gradient,   m = β₁ m + (1 − β₁) g,   v = β₂ v + (1 − β₂) g²,
//   p = p − rate · decay · p − rate · (m · firstCorrection) / (√(v · secondCorrection) + epsilon).
// Corrections are 1 / (1 − βᵗ). p, m and v change in place; nothing else may alias.
#pragma once

#include <cstdint>

namespace telehelm::kernels {

template <typename T> struct AdamWStep { T rate, decay, beta1, beta2, epsilon, firstCorrection, secondCorrection, gradScale; };

namespace reference {
template <typename T>
void adamw(T* parameters, T* first, T* second, const T* gradients, std::int64_t size, const AdamWStep<T>& step);
} // namespace reference

namespace cpu {
void adamw(float* parameters, float* first, float* second, const float* gradients, std::int64_t size,
           const AdamWStep<float>& step);
} // namespace cpu

} // namespace telehelm::kernels
