// SPDX-License-Identifier: Apache-2.0
// Says how far a long job is: one line that is redrawn on a terminal, a line now and then elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>

namespace telehelm::data {

/// One thread. Nothing is written when `out` is null.
class Progress {
public:
    explicit Progress(std::FILE* out);

    /// A new job begins: the clock of the remaining time starts again.
    void begin(const std::string& what);
    /// `done` of `total` bytes (0: unknown); `detail` is what is being worked on.
    void update(std::int64_t done, std::int64_t total, const std::string& detail);
    /// Ends the line with a result.
    void finish(const std::string& result);
    /// A line of its own.
    void note(const std::string& text);

private:
    using Clock = std::chrono::steady_clock;
    std::FILE* m_out;
    bool m_terminal;
    std::string m_what;
    Clock::time_point m_begun, m_shown;
};

/// “12.3 MB”, “940 kB”
[[nodiscard]] std::string sizeText(std::int64_t bytes);

} // namespace telehelm::data
