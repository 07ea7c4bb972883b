// SPDX-License-Identifier: Apache-2.0
// Series of some attempts as they were at one moment: what memory held then, and one database snapshot for the rest.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "store/point_store.h"
#include "store/series_reader.h"

namespace telehelm::store {

/// One thread.
class SeriesViews {
public:
    /// The snapshot of `db` must be open, and be of the moment of copy().
    explicit SeriesViews(Database& db) : m_db(db) {}

    /// With the point store locked: takes copies of the open ends of the attempt's series with such names (exact or globs).
    void copy(const PointStore& points, std::int64_t attemptId, const std::vector<std::string>& names);

    /// Names behind `after` that match, at most about a thousand, sorted; none: there are no more.
    [[nodiscard]] std::vector<std::string> names(const std::vector<std::int64_t>& attempts, const std::vector<std::string>& wanted,
                                                 const std::string& after) const;
    /// Null when the attempt has no such series. Lives until the next forgetReaders().
    [[nodiscard]] SeriesReader* reader(std::int64_t attemptId, const std::string& name);
    void forgetReaders() { m_readers.clear(); }

private:
    using Key = std::pair<std::int64_t, std::string>; // attempt, name
    Database& m_db;
    std::map<Key, SeriesView> m_copies;
    std::map<Key, SeriesReader> m_readers;
};

} // namespace telehelm::store
