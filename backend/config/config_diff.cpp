// SPDX-License-Identifier: Apache-2.0
// What two config texts differ in, by the longest common subsequence of their lines.
#include <algorithm>
#include <vector>

#include "config/run_config.h"

namespace telehelm::config {
namespace {

struct Line {
    std::string text;  // trimmed
    std::string table; // "[model]", as the file writes it
    bool header = false;
};

std::vector<Line> linesOf(std::string_view toml) {
    std::vector<Line> lines;
    std::string table;
    for (std::size_t from = 0; from < toml.size();) {
        const std::size_t end = std::min(toml.find('\n', from), toml.size());
        std::string_view text = toml.substr(from, end - from);
        from = end + 1;
        const std::size_t first = text.find_first_not_of(" \t\r");
        if (first == std::string_view::npos) {
            continue;
        }
        text = text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
        const bool header = text.front() == '[' && text.find('=') == std::string_view::npos;
        if (header) {
            table = text.substr(0, text.find(']') + 1);
        }
        lines.push_back({std::string(text), table, header});
    }
    return lines;
}

/// common[i][j]: length of the longest common subsequence of before[i…] and after[j…].
std::vector<std::vector<int>> commonLengths(const std::vector<Line>& before, const std::vector<Line>& after) {
    std::vector<std::vector<int>> common(before.size() + 1, std::vector<int>(after.size() + 1, 0));
    for (std::size_t i = before.size(); i-- > 0;) {
        for (std::size_t j = after.size(); j-- > 0;) {
            const bool same = before[i].text == after[j].text && before[i].table == after[j].table;
            common[i][j] = same ? common[i + 1][j + 1] + 1 : std::max(common[i + 1][j], common[i][j + 1]);
        }
    }
    return common;
}

class Writer {
public:
    void add(char sign, const Line& line) {
        if (!line.header && line.table != m_table) {
            m_text += line.table + "\n";
        }
        m_table = line.table;
        m_text += sign + line.text + "\n";
    }
    std::string text() { return std::move(m_text); }

private:
    std::string m_text, m_table;
};

} // namespace

std::string configDiff(std::string_view before, std::string_view after) {
    const std::vector<Line> old = linesOf(before);
    const std::vector<Line> now = linesOf(after);
    const auto common = commonLengths(old, now);
    Writer writer;
    std::size_t i = 0;
    std::size_t j = 0;
    while (i < old.size() || j < now.size()) {
        const bool same = i < old.size() && j < now.size() && old[i].text == now[j].text && old[i].table == now[j].table;
        if (same) {
            ++i;
            ++j;
        } else if (i < old.size() && (j == now.size() || common[i + 1][j] >= common[i][j + 1])) {
            writer.add('-', old[i++]);
        } else {
            writer.add('+', now[j++]);
        }
    }
    return writer.text();
}

} // namespace telehelm::config
