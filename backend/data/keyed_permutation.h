// SPDX-License-Identifier: Apache-2.0
// Counter-based randomness: everything is a pure function of a key and a position.
#pragma once

#include <bit>
#include <cstdint>

namespace telehelm::data {

/// Murmur3's 64-bit finaliser: a bijection in which every bit depends on every other.
[[nodiscard]] constexpr std::uint64_t mix64(std::uint64_t x) {
    x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdULL;
    x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53ULL;
    return x ^ (x >> 33);
}

[[nodiscard]] constexpr std::uint64_t mix64(std::uint64_t key, std::uint64_t counter) {
    return mix64(mix64(key + 0x9e3779b97f4a7c15ULL) ^ mix64(counter * 0xd1342543de82ef95ULL + 0x632be59bd9b4e019ULL));
}

/// Uniform in [0, 1).
[[nodiscard]] constexpr double unit(std::uint64_t hash) {
    return static_cast<double>(hash >> 11) * 0x1p-53;
}

/// Where position `at` of [0, size) goes in the key's permutation of [0, size): a four-round Feistel network over the next even
/// number of bits, walked until it lands inside (fewer than four rounds of it on average).
[[nodiscard]] constexpr std::uint64_t permute(std::uint64_t key, std::uint64_t size, std::uint64_t at) {
    if (size < 2)
        return 0;
    const int half = (std::bit_width(size - 1) + 1) / 2;
    const std::uint64_t mask = (std::uint64_t{1} << half) - 1;
    do {
        std::uint64_t left = at >> half;
        std::uint64_t right = at & mask;
        for (std::uint64_t round = 0; round < 4; ++round) {
            const std::uint64_t next = left ^ (mix64(key + round, right) & mask);
            left = right;
            right = next;
        }
        at = left << half | right;
    } while (at >= size);
    return at;
}

} // namespace telehelm::data
