// SPDX-License-Identifier: Apache-2.0
#include "store/series_views.h"

#include <algorithm>
#include <set>

#include "store/glob.h"
#include "store/series_rows.h"

namespace telehelm::store {
namespace {

constexpr std::uint32_t kNamesPerPage = 1000;

} // namespace

void SeriesViews::copy(const PointStore& points, std::int64_t attemptId, const std::vector<std::string>& names) {
    const PointStore::Series& known = points.series(attemptId);
    for (const std::string& wanted : names) {
        if (!hasGlob(wanted)) {
            if (const auto found = known.find(wanted); found != known.end())
                m_copies.try_emplace({attemptId, wanted}, viewOf(*found->second));
            continue;
        }
        for (const auto& [name, state] : known)
            if (matches(wanted, name))
                m_copies.try_emplace({attemptId, name}, viewOf(*state));
    }
}

std::vector<std::string> SeriesViews::names(const std::vector<std::int64_t>& attempts, const std::vector<std::string>& wanted,
                                            const std::string& after) const {
    std::set<std::string> found;
    std::string end; // where a page that was full ends: names behind it may be missing
    for (const std::string& name : wanted) {
        if (!hasGlob(name)) {
            if (name > after)
                found.insert(name);
            continue;
        }
        for (const std::int64_t attempt : attempts) {
            std::vector<SeriesRow> page = pageOfSeries(m_db, attempt, NameRange(name, after), kNamesPerPage);
            if (page.size() == kNamesPerPage && (end.empty() || page.back().name < end))
                end = page.back().name;
            for (SeriesRow& row : page)
                found.insert(std::move(row.name));
        }
    }
    return {found.begin(), end.empty() ? found.end() : found.upper_bound(end)};
}

SeriesReader* SeriesViews::reader(std::int64_t attemptId, const std::string& name) {
    const Key key{attemptId, name};
    if (const auto found = m_readers.find(key); found != m_readers.end())
        return &found->second;
    SeriesView view;
    if (const auto copy = m_copies.find(key); copy != m_copies.end()) {
        view = copy->second; // a later pass needs it again
    } else {
        const auto row = findSeries(m_db, attemptId, name);
        if (!row)
            return nullptr;
        view = viewOf(*row);
    }
    return &m_readers.try_emplace(key, m_db, std::move(view)).first->second;
}

} // namespace telehelm::store
