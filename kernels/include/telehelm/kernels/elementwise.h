// SPDX-License-Identifier: Apache-2.0
// What is left between the families: adding one vector to another, and the sum of squares for norms.
#pragma once

#include <cstdint>

namespace telehelm::kernels {

namespace reference {
/// out[i] += in[i].
template <typename T> void addTo(T* out, const T* in, std::int64_t size);
/// Σ x² in double, first to last.
template <typename T> [[nodiscard]] double sumOfSquares(const T* x, std::int64_t size);
} // namespace reference

namespace cpu {
void addTo(float* out, const float* in, std::int64_t size);
/// Σ x² in double, in an order that depends on the size only.
[[nodiscard]] double sumOfSquares(const float* x, std::int64_t size);
} // namespace cpu

} // namespace telehelm::kernels
