// SPDX-License-Identifier: Apache-2.0
// bfloat16 as 16 bits that host code can carry, copy and convert without CUDA's headers.
#pragma once

#include <bit>
#include <cstdint>

namespace telehelm::kernels::cuda {

enum class Bf16 : std::uint16_t {};

/// Rounded to the nearest, ties to even; a NaN stays one.
[[nodiscard]] constexpr Bf16 toBf16(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    if ((bits & 0x7FFFFFFFU) > 0x7F800000U)
        return Bf16{static_cast<std::uint16_t>((bits >> 16) | 0x40U)};
    return Bf16{static_cast<std::uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16)};
}

[[nodiscard]] constexpr float toFloat(Bf16 value) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(value) << 16);
}

} // namespace telehelm::kernels::cuda
