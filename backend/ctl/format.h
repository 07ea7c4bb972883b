// SPDX-License-Identifier: Apache-2.0
// Numbers, times and tables for people. Pure functions.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

#include "telehelm/ipc/types.h"

namespace telehelm::ctl {

[[nodiscard]] std::string exactNumber(double value);             // shortest text that reads back as the same number
[[nodiscard]] std::string shortNumber(double value, int digits); // significant digits
[[nodiscard]] std::string withSeparators(std::int64_t value);    // 52,817,000,000
[[nodiscard]] std::string percentText(double share);             // 0.25 → "25 %"
[[nodiscard]] std::string byteText(std::int64_t bytes);
[[nodiscard]] std::string timeText(std::int64_t us); // local "2025-02-14 09:31:05", "-" for 0
[[nodiscard]] std::string durationText(double seconds); // "1 h 12 min", "47 s"
[[nodiscard]] std::string csvField(const std::string& text); // RFC 4180: quoted when it must be
[[nodiscard]] std::string progressBar(double share, int cells);
[[nodiscard]] std::string mixtureText(const ipc::Mixture& mixture); // "WebText 40 %, Code 60 %"
[[nodiscard]] std::size_t displayWidth(std::string_view utf8); // columns; CJK counts two

enum class Colour { None, Dim, Bold, Green, Yellow, Red, Blue };
[[nodiscard]] std::string paint(std::string_view text, Colour colour, bool hasColour);
[[nodiscard]] Colour colourOf(ipc::AttemptState state);
[[nodiscard]] Colour colourOf(ipc::CommandState state);
[[nodiscard]] Colour colourOf(ipc::Severity severity);

/// Left-aligned columns, as wide as their widest cell; the last one runs free.
class Table {
public:
    explicit Table(std::vector<std::string> head) : m_head(std::move(head)) {}
    struct Cell {
        Cell(std::string t, Colour c = Colour::None) : text(std::move(t)), colour(c) {}
        Cell(const char* t) : text(t) {}
        std::string text;
        Colour colour = Colour::None;
    };
    void add(std::vector<Cell> row) { m_rows.push_back(std::move(row)); }
    void print(std::ostream& out, bool hasColour) const;
    [[nodiscard]] bool empty() const { return m_rows.empty(); }

private:
    std::vector<std::string> m_head;
    std::vector<std::vector<Cell>> m_rows;
};

} // namespace telehelm::ctl
