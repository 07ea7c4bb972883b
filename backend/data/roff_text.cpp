// SPDX-License-Identifier: Apache-2.0
#include "data/roff_text.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <optional>
#include <utility>
#include <vector>

#include "data/text.h"

namespace telehelm::data {

namespace {

using Strings = std::vector<std::string>;
struct Named {
    std::string_view name, text;
};

constexpr std::array kCharacters = {
    Named{"em", "—"},  Named{"en", "–"}, Named{"lq", "“"}, Named{"rq", "”"},  Named{"oq", "‘"}, Named{"cq", "’"},
    Named{"dq", "\""}, Named{"aq", "'"}, Named{"bu", "•"}, Named{"co", "©"},  Named{"rg", "®"}, Named{"ga", "`"},
    Named{"ha", "^"},  Named{"ti", "~"}, Named{"hy", "-"}, Named{"rs", "\\"}, Named{"ul", "_"}, Named{"->", "→"},
    Named{"<-", "←"},  Named{"<=", "≤"}, Named{">=", "≥"}, Named{"!=", "≠"},  Named{"mu", "×"}, Named{"+-", "±"},
    Named{"de", "°"},  Named{"at", "@"}, Named{"sh", "#"}, Named{"Do", "$"},  Named{"ba", "|"}, Named{"sl", "/"},
    Named{"tm", "™"},  Named{"**", "*"}, Named{"mi", "-"}, Named{"pl", "+"},  Named{"eq", "="}, Named{"lB", "["},
    Named{"rB", "]"},  Named{"lC", "{"}, Named{"rC", "}"}, Named{"la", "⟨"},  Named{"ra", "⟩"}, Named{"dg", "†"},
    Named{"sc", "§"},  Named{"ss", "ß"}, Named{":a", "ä"}, Named{":o", "ö"},  Named{":u", "ü"}, Named{"'e", "é"}};

// Strings that man, mdoc and pod2man define.
constexpr std::array kStrings = {Named{"lq", "“"},  Named{"rq", "”"},  Named{"L\"", "\""}, Named{"R\"", "\""}, Named{"C`", "\""},
                                 Named{"C'", "\""}, Named{"--", "--"}, Named{"Aq", "'"},   Named{"Tm", "™"},   Named{"R", "®"},
                                 Named{"Gt", ">"},  Named{"Lt", "<"},  Named{"Lq", "“"},   Named{"Rq", "”"}};

template <std::size_t N> std::string_view lookUp(const std::array<Named, N>& table, std::string_view name) {
    const auto found = std::find_if(table.begin(), table.end(), [&](const Named& entry) { return entry.name == name; });
    return found == table.end() ? std::string_view{} : found->text;
}

/// Takes a name after \f, \(, \* or the like: one character, “(xx” or “[…]”.
std::string_view takeName(std::string_view text, std::size_t& at) {
    if (at >= text.size())
        return {};
    if (text[at] == '(') {
        const auto name = text.substr(at + 1, 2);
        at = std::min(at + 3, text.size());
        return name;
    }
    if (text[at] == '[') {
        const auto end = std::min(text.find(']', at), text.size());
        const auto name = text.substr(at + 1, end - at - 1);
        at = std::min(end + 1, text.size());
        return name;
    }
    return text.substr(at++, 1);
}

void appendCharacter(std::string& out, std::string_view name) {
    if (name.size() >= 5 && name[0] == 'u')
        appendUtf8(out, static_cast<std::uint32_t>(std::strtoul(std::string(name.substr(1)).c_str(), nullptr, 16)));
    else
        out += lookUp(kCharacters, name);
}

/// One escape; `at` stands behind the backslash.
void appendEscape(std::string& out, std::string_view text, std::size_t& at) {
    const char kind = text[at++];
    switch (kind) {
    case 'f':
    case 'F':
    case 'm':
    case 'M':
    case 'k':
    case 'n':
    case 'g':
        (void)takeName(text, at);
        return;
    case '(':
        --at;
        appendCharacter(out, takeName(text, at));
        return;
    case '[':
        --at;
        appendCharacter(out, takeName(text, at));
        return;
    case '*':
        out += lookUp(kStrings, takeName(text, at));
        return;
    case 's': // a size: \s-1, \s10, \s(12
        at += at < text.size() && (text[at] == '+' || text[at] == '-');
        at += at < text.size();
        return;
    case 'h':
    case 'v':
    case 'w':
    case 'l':
    case 'L':
    case 'o':
    case 'b':
    case 'D':
    case 'x':
    case 'X':
    case 'Z': { // an argument in quotes
        const auto end = at < text.size() ? text.find(text[at], at + 1) : std::string_view::npos;
        at = end == std::string_view::npos ? text.size() : end + 1;
        return;
    }
    case 'e':
    case '\\':
        out += '\\';
        return;
    case '"':
    case '#': // a comment
        at = text.size();
        return;
    case ' ':
    case '0':
    case '~':
    case 't':
        out += ' ';
        return;
    case '&':
    case '/':
    case ',':
    case '|':
    case '^':
    case '%':
    case ':':
    case ')':
    case 'c':
    case 'd':
    case 'u':
    case 'p':
    case '{':
    case '}':
        return;
    default: // \-, \', \`, \. stand for themselves
        out += kind;
    }
}

std::string plain(std::string_view text) {
    std::string out;
    for (std::size_t at = 0; at < text.size();) {
        if (text[at] != '\\')
            out += text[at++];
        else if (++at < text.size())
            appendEscape(out, text, at);
    }
    return out;
}

/// A macro's arguments: parted by blanks, "…" holds one together, "" inside is a quote.
Strings arguments(std::string_view text) {
    Strings out;
    std::size_t at = 0;
    while ((at = text.find_first_not_of(" \t", at)) != std::string_view::npos) {
        std::string argument;
        if (text.substr(at, 2) == "\\\"")
            break;
        const bool quoted = text[at] == '"';
        for (at += quoted; at < text.size(); ++at) {
            if (quoted && text[at] == '"') {
                if (text.substr(at, 2) != "\"\"")
                    break;
                ++at;
            } else if (!quoted && (text[at] == ' ' || text[at] == '\t')) {
                break;
            } else if (text[at] == '\\' && at + 1 < text.size()) {
                argument += text[at++];
            }
            argument += text[at];
        }
        at += quoted && at < text.size();
        out.push_back(plain(argument));
    }
    return out;
}

std::string join(const Strings& parts, std::string_view between, std::size_t from = 0) {
    std::string out;
    for (std::size_t i = from; i < parts.size(); ++i)
        out.append(i > from ? between : "").append(parts[i]);
    return out;
}

template <std::size_t N> bool oneOf(std::string_view name, const std::array<std::string_view, N>& names) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

constexpr std::array<std::string_view, 6> kParagraph = {"PP", "P", "LP", "HP", "Pp", "Lp"};
constexpr std::array<std::string_view, 6> kAlternating = {"BR", "BI", "IB", "IR", "RB", "RI"};
constexpr std::array<std::string_view, 6> kFont = {"B", "I", "SM", "SB", "R", "CW"};
constexpr std::array<std::string_view, 24> kMdocText = {"Nm", "Ar", "Pa", "Li", "Em", "Sy", "Ev", "Va", "Vt", "Dv", "Cm", "Ic",
                                                        "Fa", "Fn", "Ft", "Nd", "Ql", "Dq", "Sq", "Pq", "Aq", "An", "Op", "Fl"};
constexpr std::array<std::string_view, 10> kUnfilled = {"nf", "EX", "Bd", "DS", "Vb", "NF", "Cs", "CS", "Dl", "D1"};
constexpr std::array<std::string_view, 8> kFilled = {"fi", "EE", "Ed", "DE", "Ve", "FI", "Ce", "CE"};
constexpr std::array<std::string_view, 6> kConditions = {"if", "ie", "el", "while", "nr", "ds"};

class Page {
public:
    void line(std::string_view line);
    [[nodiscard]] std::string take() { return m_refers ? std::string() : std::move(m_out); }

private:
    bool skipped(std::string_view line);
    void macro(std::string_view name, std::string_view rest);
    bool heading(std::string_view name, const Strings& words);
    bool tagged(std::string_view name, const Strings& words);
    void mdoc(std::string_view name, Strings words);
    void text(std::string_view text);
    void breakLines(int lines) { m_breaks = std::max(m_breaks, lines); }

    std::string m_out;
    int m_breaks = 0;
    int m_braces = 0;                    // depth of a skipped \{ … \}
    std::optional<std::string> m_skipTo; // inside .de, .ig, .am: up to this macro
    bool m_filled = true, m_tagNext = false, m_tableFormat = false, m_table = false, m_refers = false;
    std::string m_name; // .Nm without arguments repeats it
};

/// Definitions and conditional parts are the typesetter's business.
bool Page::skipped(std::string_view line) {
    const auto count = [&](std::string_view mark) {
        int found = 0;
        for (auto at = line.find(mark); at != std::string_view::npos; at = line.find(mark, at + 2))
            ++found;
        return found;
    };
    if (m_skipTo) {
        if (line.substr(0, m_skipTo->size()) == *m_skipTo)
            m_skipTo.reset();
        return true;
    }
    if (m_braces > 0) {
        m_braces = std::max(0, m_braces + count("\\{") - count("\\}"));
        return true;
    }
    if (line.empty() || (line[0] != '.' && line[0] != '\''))
        return false;
    const auto words = arguments(line.substr(1));
    if (words.empty())
        return true;
    if (words[0] == "de" || words[0] == "am" || words[0] == "ig") {
        const std::size_t end = words[0] == "ig" ? 1 : 2;
        m_skipTo = "." + (words.size() > end ? words[end] : std::string("."));
        return true;
    }
    const bool condition = oneOf(words[0], kConditions) || words[0].substr(0, 2) == "el";
    if (condition)
        m_braces = std::max(0, count("\\{") - count("\\}"));
    return condition;
}

void Page::line(std::string_view line) {
    if (skipped(line) || m_refers)
        return;
    if (line.substr(0, 3) == "'\\\"" || line.substr(0, 3) == ".\\\"")
        return;
    if (m_tableFormat) {
        m_tableFormat = line.find_last_not_of(" \t") == std::string_view::npos || line[line.find_last_not_of(" \t")] != '.';
        return;
    }
    if (!line.empty() &&
        (line[0] == '.' || (line[0] == '\'' && line.size() > 2 && line[1] >= 'a' && line[1] <= 'z' && line[2] >= 'a'))) {
        const auto begin = std::min(line.find_first_not_of(" \t", 1), line.size());
        const auto end = std::min(line.find_first_of(" \t", begin), line.size());
        macro(line.substr(begin, end - begin), line.substr(end));
    } else if (line.empty()) {
        breakLines(m_filled ? 2 : 1);
        if (!m_filled)
            m_breaks = std::min(m_breaks + 1, 2);
    } else {
        text(plain(line));
    }
}

void Page::macro(std::string_view name, std::string_view rest) {
    const auto words = arguments(rest);
    if (heading(name, words) || tagged(name, words))
        return;
    if (oneOf(name, kParagraph) || name == "RS" || name == "RE" || name == "Bl" || name == "El") {
        breakLines(name == "RS" || name == "RE" || name == "Bl" ? 1 : 2);
    } else if (name == "br" || name == "sp") {
        breakLines(name == "br" ? 1 : 2);
    } else if (oneOf(name, kUnfilled) || oneOf(name, kFilled)) {
        m_filled = !oneOf(name, kUnfilled) || name[0] == 'D';
        breakLines(name == "nf" || name == "fi" ? 1 : 2);
        if (name == "Dl" || name == "D1")
            text(join(words, " "));
    } else if (name == "TS" || name == "TE") {
        m_tableFormat = m_table = name == "TS";
        m_filled = name == "TE";
        breakLines(2);
    } else if (name == "so") {
        m_refers = true;
    } else if (oneOf(name, kAlternating)) {
        text(join(words, ""));
    } else if (oneOf(name, kFont)) {
        text(join(words, " "));
    } else if (name == "UR" || name == "MT") {
        text(join(words, " "));
    } else if (name.size() == 2 && name[0] >= 'A' && name[0] <= 'Z' && name[1] >= 'a' && name[1] <= 'z') {
        mdoc(name, words);
    } // anything else is layout
}

bool Page::heading(std::string_view name, const Strings& words) {
    if (name == "TH" || name == "Dt") {
        if (words.size() > 1) {
            breakLines(2);
            text(words[0] + "(" + words[1] + ")");
            breakLines(2);
        }
        return true;
    }
    if (name != "SH" && name != "SS" && name != "Sh" && name != "Ss")
        return false;
    m_filled = true;
    m_tagNext = words.empty(); // then the next line is the heading
    breakLines(2);
    text(join(words, " "));
    breakLines(words.empty() ? 2 : 1);
    return true;
}

bool Page::tagged(std::string_view name, const Strings& words) {
    if (name != "TP" && name != "TQ" && name != "IP" && name != "It")
        return false;
    breakLines(1);
    if (name == "TP" || name == "TQ") {
        m_tagNext = true;
    } else if (!words.empty()) {
        if (name == "It")
            mdoc("It", words);
        else
            text(words[0]);
        const bool bullet = words[0].size() <= 3;
        breakLines(bullet ? 0 : 1);
    }
    return true;
}

/// mdoc: words, some of which are macros themselves.
void Page::mdoc(std::string_view name, Strings words) {
    if (name == "Nm" && words.empty())
        words.push_back(m_name);
    else if (name == "Nm" && m_name.empty())
        m_name = words[0];
    if (name != "It" && name != "Xr" && !oneOf(name, kMdocText))
        return;
    std::string out = name == "Op" ? "[" : name == "Nd" ? "- " : name == "Fl" ? "-" : "";
    bool flag = name == "Fl";
    for (std::size_t i = 0; i < words.size(); ++i) {
        const auto& word = words[i];
        if (word == "Fl") {
            out += out.empty() || out.back() == '[' ? "-" : " -";
            flag = true;
        } else if (word == "Xr" || oneOf(word, kMdocText) || word == "Ns" || word == "No" || word == "Oc" || word == "Oo") {
            continue;
        } else {
            const bool first = out.empty() || out.back() == '[' || flag || out == "- ";
            const bool mark = word.size() == 1 && std::string_view(".,:;)").find(word[0]) != std::string_view::npos;
            out += first || mark ? word : " " + word;
            flag = false;
        }
    }
    if (name == "Xr" && words.size() > 1)
        out = words[0] + "(" + words[1] + ")" + join(words, "", 2);
    text(name == "Op" ? out + "]" : out);
}

void Page::text(std::string_view text) {
    if (text.find_first_not_of(" \t") == std::string_view::npos)
        return;
    std::string cells;
    if (m_table) {
        if (text == "_" || text == "=" || text == "T}")
            return;
        for (const char c : text)
            cells += c == '\t' ? std::string(" | ") : std::string(1, c);
        text = cells;
    }
    const bool indented = m_filled && (text[0] == ' ' || text[0] == '\t');
    if (!m_out.empty() && m_breaks == 0 && (!m_filled || indented))
        m_breaks = 1;
    if (!m_out.empty() && m_breaks > 0)
        m_out.append(static_cast<std::size_t>(m_breaks), '\n');
    else if (!m_out.empty() && !(endsWide(m_out) && beginsWide(text)))
        m_out += ' ';
    m_out += text;
    m_breaks = 0;
    if (std::exchange(m_tagNext, false))
        breakLines(1);
}

} // namespace

std::string manToText(std::string_view roff) {
    Page page;
    while (!roff.empty()) {
        auto end = std::min(roff.find('\n'), roff.size());
        std::string joined(roff.substr(0, end));
        roff.remove_prefix(std::min(end + 1, roff.size()));
        while (!joined.empty() && joined.back() == '\\' && (joined.size() < 2 || joined[joined.size() - 2] != '\\') &&
               !roff.empty()) {
            end = std::min(roff.find('\n'), roff.size());
            joined.pop_back();
            joined += roff.substr(0, end);
            roff.remove_prefix(std::min(end + 1, roff.size()));
        }
        page.line(joined);
    }
    return tidy(page.take());
}

} // namespace telehelm::data
