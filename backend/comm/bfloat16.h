// SPDX-License-Identifier: Apache-2.0
// bf16 on the host: the upper half of a float.
#pragma once

#include <bit>
#include <cstdint>

namespace telehelm::comm {

[[nodiscard]] constexpr float fromBfloat16(std::uint16_t bits) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

/// To the nearest, ties to even; a NaN stays one.
[[nodiscard]] constexpr std::uint16_t toBfloat16(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    if ((bits & 0x7FFF'FFFFU) > 0x7F80'0000U) {
        return static_cast<std::uint16_t>((bits >> 16) | 0x0040U);
    }
    return static_cast<std::uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

} // namespace telehelm::comm
