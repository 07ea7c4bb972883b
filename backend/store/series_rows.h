// SPDX-License-Identifier: Apache-2.0
// Rows of the table `series`: names, and what a list tells of each as of the last fold. Free functions; throw SqlError.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "store/sqlite.h"
#include "store/series_state.h"

namespace telehelm::store {

struct SeriesRow : SeriesSummary {
    std::string name;
};

/// Names in an interval that match a glob.
struct NameRange {
    /// All that match `pattern` (empty: every name) and lie behind `after`: those between the pattern's literal beginning and its end.
    explicit NameRange(const std::string& pattern, const std::string& after = {});

    std::string from;
    bool isBehind = false; // `from` itself is left out
    std::optional<std::string> end, glob;
};
struct NamesFound {
    std::vector<SeriesRow> rows; // the first of them, by name
    std::uint64_t matching = 0;  // with those behind the rows
};

[[nodiscard]] std::optional<SeriesRow> findSeries(Database& db, std::int64_t attemptId, const std::string& name);
[[nodiscard]] std::optional<SeriesRow> seriesById(Database& db, std::int64_t id);
/// By name; `limit` 0: all of them.
[[nodiscard]] std::vector<SeriesRow> pageOfSeries(Database& db, std::int64_t attemptId, const NameRange& range, std::uint32_t limit);
[[nodiscard]] NamesFound findNames(Database& db, std::int64_t attemptId, const NameRange& range, std::uint32_t limit);
/// A name with about as many of the range before it as behind it, by sample. None where the range is too small for two threads to
/// search it faster than one.
[[nodiscard]] std::optional<std::string> middleName(Database& db, std::int64_t attemptId, const NameRange& range);

[[nodiscard]] std::int64_t insertSeries(Database& db, std::int64_t attemptId, const std::string& name);
void updateSeries(Database& db, const SeriesSummary& summary);

} // namespace telehelm::store
