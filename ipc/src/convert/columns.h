// SPDX-License-Identifier: Apache-2.0
// A column of integers as its first value and then differences. Wrapping arithmetic: every 64-bit value survives.
#pragma once

#include <cstdint>

namespace telehelm::ipc {

[[nodiscard]] inline std::int64_t wrappingAdd(std::int64_t a, std::int64_t b) {
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
}
[[nodiscard]] inline std::int64_t wrappingSubtract(std::int64_t a, std::int64_t b) {
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) - static_cast<std::uint64_t>(b));
}

class DeltaCoder {
public:
    std::int64_t encode(std::int64_t value) {
        const std::int64_t delta = wrappingSubtract(value, m_before);
        m_before = value;
        return delta;
    }
    std::int64_t decode(std::int64_t delta) { return m_before = wrappingAdd(m_before, delta); }

private:
    std::int64_t m_before = 0;
};

} // namespace telehelm::ipc
