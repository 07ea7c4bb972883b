// SPDX-License-Identifier: Apache-2.0
// out[n, f] = silu(gate) · up,   gate = gateUp[n, f], up = gateUp[n, F + f],   silu(z) = z · σ(z).   gateUp (N, 2F), out (N, F).
// dGate = dOut · up · σ · (1 + gate · (1 − σ)),   dUp = dOut · silu(gate).
#pragma once

#include <cstdint>

namespace telehelm::kernels {

namespace reference {
template <typename T> void swigluForward(T* out, const T* gateUp, std::int64_t N, std::int64_t F);
/// `dGateUp` may be `gateUp`.
template <typename T> void swigluBackward(T* dGateUp, const T* dOut, const T* gateUp, std::int64_t N, std::int64_t F);
} // namespace reference

namespace cpu {
void swigluForward(float* out, const float* gateUp, std::int64_t N, std::int64_t F);
void swigluBackward(float* dGateUp, const float* dOut, const float* gateUp, std::int64_t N, std::int64_t F);
} // namespace cpu

} // namespace telehelm::kernels
