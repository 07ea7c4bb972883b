// SPDX-License-Identifier: Apache-2.0
// Branch-free float functions that the compiler vectorises inside "omp simd" loops. NaN goes in, NaN comes out.
#pragma once

#include <bit>
#include <cstdint>

namespace telehelm::kernels::cpu {

/// eˣ within 2 ulp for x in [−87.3, 88.3]; the ends of that range stand for what lies beyond (1.2e−38, 2.2e38).
inline float vectorExp(float x) {
    constexpr float kLowest = -87.3F, kHighest = 88.3F;
    constexpr float kLog2e = 1.44269504F, kRound = 12582912.0F; // 1.5 · 2²³: adding it rounds to the nearest integer
    constexpr float kLn2High = 0.693359375F, kLn2Low = -2.12194440e-4F;
    x = x < kLowest ? kLowest : x;
    x = x > kHighest ? kHighest : x;
    const float shifted = x * kLog2e + kRound;
    const float n = shifted - kRound;
    const float r = (x - n * kLn2High) - n * kLn2Low; // |r| ≤ ln 2 / 2
    float p = 1.0F / 5040;                            // Taylor: the next term is below 5e−9 on this range
    p = p * r + 1.0F / 720;
    p = p * r + 1.0F / 120;
    p = p * r + 1.0F / 24;
    p = p * r + 1.0F / 6;
    p = p * r + 0.5F;
    p = p * r + 1.0F;
    p = p * r + 1.0F;
    const auto exponent = (std::bit_cast<std::uint32_t>(shifted) << 23) + 0x3F800000U; // the low bits of `shifted` hold n
    return p * std::bit_cast<float>(exponent);
}

inline float vectorSigmoid(float x) {
    return 1.0F / (1.0F + vectorExp(-x));
}

} // namespace telehelm::kernels::cpu
