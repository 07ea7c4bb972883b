// SPDX-License-Identifier: Apache-2.0
#include "data/text.h"

#include <algorithm>
#include <array>

#include <xxhash.h>
#include <zlib.h>

namespace telehelm::data {

namespace {

/// Length of the valid UTF-8 character at the beginning of `text`, 0 if there is none.
std::size_t characterLength(std::string_view text, std::uint32_t* codePoint = nullptr) {
    const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const std::size_t length = at(0) < 0x80                    ? 1
                               : at(0) >= 0xc2 && at(0) < 0xe0 ? 2
                               : at(0) >= 0xe0 && at(0) < 0xf0 ? 3
                               : at(0) >= 0xf0 && at(0) < 0xf5 ? 4
                                                               : 0;
    if (length == 0 || length > text.size())
        return 0;
    std::uint32_t value = length == 1 ? at(0) : at(0) & (0x7fU >> length);
    for (std::size_t i = 1; i < length; ++i) {
        if ((at(i) & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (at(i) & 0x3fU);
    }
    const bool overlong = (length == 3 && value < 0x800) || (length == 4 && value < 0x10000);
    if (overlong || value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
        return 0;
    if (codePoint)
        *codePoint = value;
    return length;
}

bool isWide(std::uint32_t c) {
    return (c >= 0x2e80 && c < 0xa4d0) || (c >= 0xf900 && c < 0xfb00) || (c >= 0xfe30 && c < 0xfe50) ||
           (c >= 0xff00 && c < 0xffef) || (c >= 0x20000 && c < 0x30000);
}

std::vector<std::string_view> paragraphs(std::string_view text) {
    std::vector<std::string_view> parts;
    while (!text.empty()) {
        const auto end = std::min(text.find("\n\n"), text.size());
        parts.push_back(text.substr(0, end));
        text.remove_prefix(std::min(text.find_first_not_of('\n', end), text.size()));
    }
    return parts;
}

} // namespace

Result<std::string> gunzip(std::string bytes, const std::string& name) {
    if (bytes.size() < 18 || bytes[0] != '\x1f' || bytes[1] != '\x8b')
        return bytes;
    z_stream stream{};
    if (inflateInit2(&stream, 15 + 16) != Z_OK)
        return fail(ErrorCode::Internal, "zlib cannot be started", name);
    stream.next_in = reinterpret_cast<Bytef*>(bytes.data());
    stream.avail_in = static_cast<uInt>(bytes.size());
    std::string out;
    std::array<char, 1 << 16> buffer{};
    int state = Z_OK;
    while (state == Z_OK) {
        stream.next_out = reinterpret_cast<Bytef*>(buffer.data());
        stream.avail_out = buffer.size();
        state = inflate(&stream, Z_NO_FLUSH);
        out.append(buffer.data(), buffer.size() - stream.avail_out);
    }
    inflateEnd(&stream);
    if (state != Z_STREAM_END)
        return fail(ErrorCode::DataLoss, "the gzip data is damaged or cut off", name);
    return out;
}

bool isUtf8(std::string_view text) {
    while (!text.empty()) {
        const auto length = characterLength(text);
        if (length == 0)
            return false;
        text.remove_prefix(length);
    }
    return true;
}

void appendUtf8(std::string& out, std::uint32_t c) {
    const auto put = [&](std::uint32_t byte) { out += static_cast<char>(byte); };
    if (c < 0x80) {
        put(c);
    } else if (c < 0x800) {
        put(0xc0 | c >> 6);
        put(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        put(0xe0 | c >> 12);
        put(0x80 | (c >> 6 & 0x3f));
        put(0x80 | (c & 0x3f));
    } else {
        put(0xf0 | c >> 18);
        put(0x80 | (c >> 12 & 0x3f));
        put(0x80 | (c >> 6 & 0x3f));
        put(0x80 | (c & 0x3f));
    }
}

bool beginsWide(std::string_view text) {
    std::uint32_t c = 0;
    return !text.empty() && characterLength(text, &c) > 0 && isWide(c);
}

bool endsWide(std::string_view text) {
    std::size_t from = text.size();
    while (from > 0 && from + 4 > text.size()) {
        --from;
        if ((static_cast<unsigned char>(text[from]) & 0xc0) != 0x80)
            return beginsWide(text.substr(from));
    }
    return false;
}

std::string stripAnsi(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\x1b' && i + 1 < text.size() && text[i + 1] == '[') {
            const auto end = text.find_first_not_of("0123456789;", i + 2);
            i = end == std::string_view::npos ? text.size() : end; // the final letter goes too
            continue;
        }
        out += text[i];
    }
    return out;
}

std::string tidy(std::string_view text, int emptyLines) {
    std::string out;
    out.reserve(text.size());
    int newlines = 0;
    std::string blanks; // since the last printed character on this line
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (c == '\n' || c == '\f' || (c == '\r' && (i + 1 == text.size() || text[i + 1] != '\n'))) {
            ++newlines;
            blanks.clear();
        } else if (c == ' ' || c == '\t') {
            blanks += c;
        } else if (text.substr(i, 2) == "\xc2\xa0") {
            blanks += ' ';
            ++i;
        } else if (text.substr(i, 3) == "\xef\xbb\xbf" || text.substr(i, 3) == "\xe2\x80\x8b" ||
                   text.substr(i, 3) == "\xe2\x81\xa0") {
            i += 2; // byte-order mark, zero-width space, word joiner
        } else if (text.substr(i, 2) == "\xc2\xad") {
            ++i; // soft hyphen
        } else if (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) {
            if (!out.empty())
                out.append(static_cast<std::size_t>(std::min(newlines, emptyLines + 1)), '\n');
            out += blanks;
            out += c;
            blanks.clear();
            newlines = 0;
        }
    }
    return out;
}

std::vector<std::string> cut(std::string_view text, std::size_t maxBytes) {
    std::vector<std::string> pieces;
    while (text.size() > maxBytes) {
        // Behind at least half a piece, at the emptiest place.
        auto end = text.rfind("\n\n\n", maxBytes);
        for (const char* mark : {"\n\n", "\n"})
            if (end == std::string_view::npos || end < maxBytes / 2)
                end = text.rfind(mark, maxBytes);
        if (end == std::string_view::npos || end == 0)
            end = std::min(text.find('\n', maxBytes), text.size());
        if (end > 0)
            pieces.emplace_back(text.substr(0, end));
        text.remove_prefix(std::min(text.find_first_not_of('\n', end), text.size()));
    }
    if (!text.empty())
        pieces.emplace_back(text);
    return pieces;
}

std::string ParagraphFilter::operator()(std::string_view text) {
    std::string out;
    for (const auto paragraph : paragraphs(text)) {
        if (paragraph.size() >= m_minBytes && !m_seen.insert(XXH3_64bits(paragraph.data(), paragraph.size())).second)
            continue;
        if (!out.empty())
            out += "\n\n";
        out += paragraph;
    }
    return out;
}

} // namespace telehelm::data
