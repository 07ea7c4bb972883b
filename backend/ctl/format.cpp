// SPDX-License-Identifier: Apache-2.0
#include "ctl/format.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <ostream>

namespace telehelm::ctl {
namespace {

const char* nonFinite(double value) { return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf"; }

bool isWide(char32_t c) {
    return (c >= 0x1100 && c <= 0x115f) || (c >= 0x2e80 && c <= 0xa4cf) || (c >= 0xac00 && c <= 0xd7a3) ||
           (c >= 0xf900 && c <= 0xfaff) || (c >= 0xfe30 && c <= 0xfe6f) || (c >= 0xff00 && c <= 0xff60) || (c >= 0x1f300 && c <= 0x1faff);
}

} // namespace

std::string exactNumber(double value) {
    if (!std::isfinite(value))
        return nonFinite(value);
    char text[64];
    const auto end = std::to_chars(text, text + sizeof text, value).ptr;
    return {text, end};
}

std::string shortNumber(double value, int digits) {
    if (!std::isfinite(value))
        return nonFinite(value);
    char text[64];
    std::snprintf(text, sizeof text, "%.*g", digits, value);
    return text;
}

std::string withSeparators(std::int64_t value) {
    std::string text = std::to_string(value);
    const std::size_t first = value < 0 ? 1 : 0;
    for (std::size_t at = text.size(); at > first + 3;)
        text.insert(at -= 3, 1, ',');
    return text;
}

std::string percentText(double share) { return shortNumber(share * 100, 4) + " %"; }

std::string byteText(std::int64_t bytes) {
    static const char* const kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = static_cast<double>(bytes);
    std::size_t unit = 0;
    while (value >= 1024 && unit + 1 < std::size(kUnits)) {
        value /= 1024;
        ++unit;
    }
    return shortNumber(value, unit == 0 ? 4 : 3) + " " + kUnits[unit];
}

std::string timeText(std::int64_t us) {
    if (us <= 0)
        return "-";
    const std::time_t seconds = static_cast<std::time_t>(us / 1'000'000);
    std::tm parts{};
    localtime_r(&seconds, &parts);
    char text[32];
    std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts);
    return text;
}

std::string durationText(double seconds) {
    if (!std::isfinite(seconds) || seconds < 0)
        return "?";
    const auto whole = static_cast<std::int64_t>(std::llround(std::min(seconds, 1e12)));
    if (whole < 60)
        return std::to_string(whole) + " s";
    if (whole < 3600)
        return std::to_string(whole / 60) + " min " + std::to_string(whole % 60) + " s";
    if (whole < 48 * 3600)
        return std::to_string(whole / 3600) + " h " + std::to_string(whole % 3600 / 60) + " min";
    return std::to_string(whole / 86400) + " d " + std::to_string(whole % 86400 / 3600) + " h";
}

std::string csvField(const std::string& text) {
    if (text.find_first_of(",\"\n\r") == std::string::npos)
        return text;
    std::string quoted = "\"";
    for (const char c : text)
        quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
    return quoted + "\"";
}

std::string progressBar(double share, int cells) {
    static const char* const kParts[] = {" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"};
    const int eighths = static_cast<int>(std::clamp(std::isfinite(share) ? share : 0.0, 0.0, 1.0) * cells * 8);
    std::string bar = "▕";
    for (int i = 0; i < cells; ++i)
        bar += kParts[std::clamp(eighths - 8 * i, 0, 8)];
    return bar + "▏";
}

std::string mixtureText(const ipc::Mixture& mixture) {
    std::string text;
    for (const auto& [domain, share] : mixture)
        text += (text.empty() ? "" : ", ") + domain + " " + percentText(share);
    return text;
}

std::size_t displayWidth(std::string_view utf8) {
    std::size_t width = 0;
    for (std::size_t i = 0; i < utf8.size();) {
        const auto lead = static_cast<unsigned char>(utf8[i]);
        const std::size_t length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
        char32_t c = lead < 0x80 ? lead : lead & (0xffu >> (length + 1));
        for (std::size_t k = 1; k < length && i + k < utf8.size(); ++k)
            c = (c << 6) | (static_cast<unsigned char>(utf8[i + k]) & 0x3f);
        width += isWide(c) ? 2 : 1;
        i += length;
    }
    return width;
}

std::string paint(std::string_view text, Colour colour, bool hasColour) {
    if (!hasColour || colour == Colour::None)
        return std::string(text);
    static const char* const kCodes[] = {"", "2", "1", "32", "33", "31", "34"};
    return "\033[" + std::string(kCodes[static_cast<int>(colour)]) + "m" + std::string(text) + "\033[0m";
}

Colour colourOf(ipc::AttemptState state) {
    using enum ipc::AttemptState;
    switch (state) {
    case Running: return Colour::Green;
    case Starting: case Pausing: case Paused: case Stopping: return Colour::Yellow;
    case Failed: case Lost: return Colour::Red;
    case Finished: return Colour::Blue;
    case Stopped: case Superseded: return Colour::Dim;
    }
    return Colour::None;
}

Colour colourOf(ipc::CommandState state) {
    using enum ipc::CommandState;
    switch (state) {
    case Applied: return Colour::Green;
    case Requested: case Accepted: return Colour::Yellow;
    case Rejected: case Failed: return Colour::Red;
    }
    return Colour::None;
}

Colour colourOf(ipc::Severity severity) {
    switch (severity) {
    case ipc::Severity::Warning: return Colour::Yellow;
    case ipc::Severity::Critical: return Colour::Red;
    default: return Colour::None;
    }
}

void Table::print(std::ostream& out, bool hasColour) const {
    std::vector<std::size_t> widths;
    for (const std::string& text : m_head)
        widths.push_back(displayWidth(text));
    for (const auto& row : m_rows)
        for (std::size_t i = 0; i < row.size(); ++i)
            widths[i] = std::max(widths[i], displayWidth(row[i].text));
    const auto pad = [&](const std::string& text, std::size_t column) {
        return column + 1 < widths.size() ? std::string(widths[column] - displayWidth(text) + 2, ' ') : std::string();
    };
    for (std::size_t i = 0; i < m_head.size(); ++i)
        out << paint(m_head[i], Colour::Bold, hasColour) << pad(m_head[i], i);
    out << "\n";
    for (const auto& row : m_rows) {
        for (std::size_t i = 0; i < row.size(); ++i)
            out << paint(row[i].text, row[i].colour, hasColour) << pad(row[i].text, i);
        out << "\n";
    }
}

} // namespace telehelm::ctl
