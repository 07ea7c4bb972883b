// SPDX-License-Identifier: Apache-2.0
#include "data/progress.h"

#include <algorithm>

#include <unistd.h>

namespace telehelm::data {

Progress::Progress(std::FILE* out)
    : m_out(out), m_terminal(out && ::isatty(::fileno(out)) == 1), m_begun(Clock::now()), m_shown(m_begun) {}

void Progress::begin(const std::string& what) {
    m_what = what;
    m_begun = Clock::now();
    m_shown = m_begun;
}

void Progress::update(std::int64_t done, std::int64_t total, const std::string& detail) {
    const auto now = Clock::now();
    const auto pause = m_terminal ? std::chrono::milliseconds(100) : std::chrono::milliseconds(2000);
    if (!m_out || now - m_shown < pause)
        return;
    m_shown = now;
    std::string line = m_what + ": " + sizeText(done);
    if (total > 0) {
        const auto percent = std::clamp<std::int64_t>(done * 100 / total, 0, 100);
        line += " of " + sizeText(total) + " (" + std::to_string(percent) + " %)";
        const double seconds = std::chrono::duration<double>(now - m_begun).count();
        if (percent >= 10 && done < total && seconds > 1.0) // before, it would be a guess
            line +=
                ", " +
                std::to_string(static_cast<long>(seconds * static_cast<double>(total - done) / static_cast<double>(done)) + 1) +
                " s left";
    }
    if (!detail.empty())
        line += ", " + detail;
    std::fprintf(m_out, m_terminal ? "\r\x1b[K%s" : "%s\n", line.c_str());
    std::fflush(m_out);
}

void Progress::finish(const std::string& result) {
    note(m_what + ": " + result);
}

void Progress::note(const std::string& text) {
    if (!m_out)
        return;
    std::fprintf(m_out, m_terminal ? "\r\x1b[K%s\n" : "%s\n", text.c_str());
    std::fflush(m_out);
}

std::string sizeText(std::int64_t bytes) {
    char text[32];
    if (bytes < 1000)
        std::snprintf(text, sizeof text, "%lld bytes", static_cast<long long>(bytes));
    else if (bytes < 1000 * 1000)
        std::snprintf(text, sizeof text, "%.0f kB", static_cast<double>(bytes) / 1e3);
    else
        std::snprintf(text, sizeof text, "%.1f MB", static_cast<double>(bytes) / 1e6);
    return text;
}

} // namespace telehelm::data
