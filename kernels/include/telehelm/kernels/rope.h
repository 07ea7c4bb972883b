// SPDX-License-Identifier: Apache-2.0
// Rotary position embedding, in place on the q and k of packed rows qkv (N, 3 · H · D) = [q | k | v], each (H, D).
// With i < D/2:   (a, b) = (x[i], x[i + D/2])  ↦  (a · cos − b · sin, b · cos + a · sin),   angle = t · theta^(−2i/D).
// Row n has position t = (firstRow + n) mod T. The gradient is the rotation by −angle.
#pragma once

#include <cstdint>

namespace telehelm::kernels {

struct RopeShape {
    std::int64_t N = 0;        // rows
    std::int64_t firstRow = 0; // of the whole batch; row r is position r mod T
    std::int64_t T = 0, H = 0, D = 0;
};

namespace reference {
/// cos, sin: (T, D/2), computed in double.
template <typename T> void ropeTable(T* cos, T* sin, std::int64_t length, std::int64_t D, double theta);
template <typename T> void ropeForward(T* qkv, const T* cos, const T* sin, const RopeShape& shape);
template <typename T> void ropeBackward(T* dQkv, const T* cos, const T* sin, const RopeShape& shape);
} // namespace reference

namespace cpu {
void ropeForward(float* qkv, const float* cos, const float* sin, const RopeShape& shape);
void ropeBackward(float* dQkv, const float* cos, const float* sin, const RopeShape& shape);
} // namespace cpu

} // namespace telehelm::kernels
