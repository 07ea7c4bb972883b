// SPDX-License-Identifier: Apache-2.0
// What every kind of text needs: unpacking, valid UTF-8, tidy white space, pieces of a bearable length.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "telehelm/ipc/result.h"

namespace telehelm::data {

/// Unpacks gzip (dictzip, too, is gzip); gives anything else back as it is.
[[nodiscard]] Result<std::string> gunzip(std::string bytes, const std::string& name);

[[nodiscard]] bool isUtf8(std::string_view text);
/// The code point's UTF-8.
void appendUtf8(std::string& out, std::uint32_t codePoint);
/// Is the last or first character of the text written without spaces between words (CJK)?
[[nodiscard]] bool endsWide(std::string_view text);
[[nodiscard]] bool beginsWide(std::string_view text);

/// Terminal colours (ESC [ … m) removed.
[[nodiscard]] std::string stripAnsi(std::string_view text);
/// Unix line ends, no control characters but tab and newline, no byte-order mark, no-break spaces as spaces, no trailing blanks,
/// at most one empty line in a row (`emptyLines` of them), none at the ends.
[[nodiscard]] std::string tidy(std::string_view text, int emptyLines = 1);

/// Cuts a long text into pieces of at most `maxBytes`, at empty lines if there are any, else at line ends; a single longer line
/// stays whole.
[[nodiscard]] std::vector<std::string> cut(std::string_view text, std::size_t maxBytes);

/// Drops paragraphs of at least `minBytes` that were seen before, in this document or in any earlier one. One thread.
class ParagraphFilter {
public:
    explicit ParagraphFilter(std::size_t minBytes) : m_minBytes(minBytes) {}
    [[nodiscard]] std::string operator()(std::string_view text);

private:
    std::size_t m_minBytes;
    std::unordered_set<std::uint64_t> m_seen; // XXH3-64
};

} // namespace telehelm::data
