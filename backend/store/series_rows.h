// SPDX-License-Identifier: Apache-2.0
// Rows of the table `series`: names, and what a list tells of each as of the last fold. Free functions; throw SqlError.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "store/sqlite.h"
#include "store/series_state.h"

namespace telehelm::store {

struct SeriesRow : SeriesSummary {
    std::string name;
};

[[nodiscard]] std::optional<SeriesRow> findSeries(Database& db, std::int64_t attemptId, const std::string& name);
[[nodiscard]] std::optional<SeriesRow> seriesById(Database& db, std::int64_t id);
/// By name, behind `after`; `limit` 0: all of them. An empty glob matches all.
[[nodiscard]] std::vector<SeriesRow> pageOfSeries(Database& db, std::int64_t attemptId, const std::string& glob,
                                                  const std::string& after, std::uint32_t limit);
[[nodiscard]] std::uint64_t countSeries(Database& db, std::int64_t attemptId, const std::string& glob, const std::string& after);

[[nodiscard]] std::int64_t insertSeries(Database& db, std::int64_t attemptId, const std::string& name);
void updateSeries(Database& db, const SeriesSummary& summary);

} // namespace telehelm::store
