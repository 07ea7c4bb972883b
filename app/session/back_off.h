// SPDX-License-Identifier: GPL-3.0-or-later
// How long to wait before the next attempt: 0.5, 1, 2, 4, 8 s, then every 8 s. One thread.
#pragma once

#include <algorithm>
#include <chrono>

namespace telehelm::app {

class BackOff {
public:
    [[nodiscard]] std::chrono::milliseconds next() {
        const auto wait = m_wait;
        m_wait = std::min(m_wait * 2, kLongest);
        return wait;
    }
    void reset() { m_wait = kShortest; }

private:
    static constexpr std::chrono::milliseconds kShortest{500}, kLongest{8000};
    std::chrono::milliseconds m_wait = kShortest;
};

} // namespace telehelm::app
