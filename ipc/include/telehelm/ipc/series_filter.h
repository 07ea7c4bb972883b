// SPDX-License-Identifier: Apache-2.0
// Which series a list of names and globs means. A glob has a “*” (any text, slashes included) or a “?” (one byte), and may have [ab]
// (one of them); anything else is a name.
#pragma once

#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace telehelm::ipc {

/// Constant after construction: any thread.
class SeriesFilter {
public:
    /// No patterns: every series.
    explicit SeriesFilter(const std::vector<std::string>& patterns = {});
    [[nodiscard]] bool matches(const std::string& name) const;

private:
    struct Glob {
        std::string pattern;
        std::size_t literal; // bytes before the first wildcard: they rule most names out at once
        bool isPrefix;       // nothing but one * follows them
    };
    bool m_all;
    std::unordered_set<std::string> m_exact;
    std::vector<Glob> m_globs;
};

} // namespace telehelm::ipc
