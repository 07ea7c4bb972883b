// SPDX-License-Identifier: Apache-2.0
// What the row-wise kernels share: eight bf16 at once, and sums over a warp and a block in one fixed order.
#pragma once

#include <stdexcept>
#include <string>

#include "gpu.h"
#include "telehelm/kernels/cuda/bf16.h"

namespace telehelm::kernels::cuda {

constexpr int kWarp = 32;

inline void require(bool holds, const char* text) {
    if (!holds)
        throw std::invalid_argument(text);
}

/// Eight values as floats.
struct Row8 {
    float v[8];
};

__device__ inline float lowHalf(std::uint32_t word) {
    return std::bit_cast<float>(word << 16);
}
__device__ inline float highHalf(std::uint32_t word) {
    return std::bit_cast<float>(word & 0xFFFF0000U);
}

/// Eight bf16 as they lie in memory: half the registers of a Row8.
__device__ inline Row8 widened(const Words& words) {
    return {{lowHalf(words.x), highHalf(words.x), lowHalf(words.y), highHalf(words.y), lowHalf(words.z), highHalf(words.z),
             lowHalf(words.w), highHalf(words.w)}};
}
__device__ inline Words rounded(const Row8& row) {
    Words words;
    words.x = packBf16(row.v[0], row.v[1]);
    words.y = packBf16(row.v[2], row.v[3]);
    words.z = packBf16(row.v[4], row.v[5]);
    words.w = packBf16(row.v[6], row.v[7]);
    return words;
}

/// `from` aligned to 16 bytes.
__device__ inline Words loadWords(const Bf16* from) {
    return *reinterpret_cast<const Words*>(from);
}
__device__ inline Row8 load8(const Bf16* from) {
    return widened(loadWords(from));
}
__device__ inline void store8(Bf16* to, const Row8& row) {
    *reinterpret_cast<Words*>(to) = rounded(row);
}

__device__ inline Bf16 roundBf16(float value) {
    return Bf16{static_cast<std::uint16_t>(packBf16(value, 0.0F))};
}

/// All lanes get Σ.
template <typename T> __device__ inline T warpSum(T value) {
    for (int step = kWarp / 2; step > 0; step /= 2)
        value += fromLane(value, step);
    return value;
}

/// All threads get Σ; `parts` (32) in shared memory. Every thread of the block calls it.
template <typename T> __device__ inline T blockSum(T value, T* parts) {
    value = warpSum(value);
    const int warp = static_cast<int>(threadIdx.x) / kWarp, warps = static_cast<int>(blockDim.x) / kWarp;
    __syncthreads(); // the last sum may still be read
    if (threadIdx.x % kWarp == 0)
        parts[warp] = value;
    __syncthreads();
    T sum = parts[0];
    for (int i = 1; i < warps; ++i)
        sum += parts[i];
    return sum;
}

/// Threads for rows of `items`: whole warps, at most `most`.
inline unsigned threadsFor(std::int64_t items, unsigned most) {
    const auto warps = static_cast<unsigned>((items + kWarp - 1) / kWarp);
    return warps * kWarp < most ? (warps == 0 ? kWarp : warps * kWarp) : most;
}

} // namespace telehelm::kernels::cuda
