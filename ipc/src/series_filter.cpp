// SPDX-License-Identifier: Apache-2.0
#include "telehelm/ipc/series_filter.h"

#include <algorithm>

#include <fnmatch.h>

namespace telehelm::ipc {

SeriesFilter::SeriesFilter(const std::vector<std::string>& patterns) : m_all(patterns.empty()) {
    for (const std::string& pattern : patterns) {
        const auto literal = pattern.find_first_of("*?["); // a bracket alone is part of a name: "layer[3]/norm"
        if (pattern.find_first_of("*?") == std::string::npos)
            m_exact.insert(pattern);
        else if (pattern == "*")
            m_all = true;
        else
            m_globs.push_back({pattern, literal, literal + 1 == pattern.size() && pattern[literal] == '*'});
    }
}

bool SeriesFilter::matches(const std::string& name) const {
    if (m_all || m_exact.contains(name))
        return true;
    return std::any_of(m_globs.begin(), m_globs.end(), [&](const Glob& glob) {
        if (name.compare(0, glob.literal, glob.pattern, 0, glob.literal) != 0)
            return false;
        return glob.isPrefix || fnmatch(glob.pattern.c_str(), name.c_str(), FNM_NOESCAPE) == 0;
    });
}

} // namespace telehelm::ipc
