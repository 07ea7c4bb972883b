// SPDX-License-Identifier: Apache-2.0
#include "store/series_rows.h"

#include <bit>

#include "store/glob.h"

namespace telehelm::store {
namespace {

#define TELEHELM_SERIES_COLUMNS "id, points, first_step, last_step, latest, name"

SeriesRow rowOf(const Rows& rows) {
    SeriesRow row;
    row.id = rows.integer(0);
    row.points = static_cast<std::uint64_t>(rows.integer(1));
    row.firstStep = rows.integer(2);
    row.lastStep = rows.integer(3);
    row.latest = std::bit_cast<double>(rows.integer(4)); // SQLite has no NaN
    row.name = rows.text(5);
    return row;
}

// The first text behind all that begin with `prefix`; empty: there is none.
std::string endOfPrefix(std::string prefix) {
    while (!prefix.empty() && static_cast<unsigned char>(prefix.back()) == 0xff)
        prefix.pop_back();
    if (!prefix.empty())
        prefix.back() = static_cast<char>(static_cast<unsigned char>(prefix.back()) + 1);
    return prefix;
}

// The names that may match lie between the glob's literal beginning and its end; the index holds them in order.
template <typename Use>
auto withRange(const std::string& glob, const Use& use) {
    const std::string prefix(literalPrefix(glob));
    std::string end = endOfPrefix(prefix);
    if (end.empty())
        end = "\xff"; // no UTF-8 text begins so
    return use(prefix, end);
}

} // namespace

std::optional<SeriesRow> findSeries(Database& db, std::int64_t attemptId, const std::string& name) {
    Rows rows = db.query("SELECT " TELEHELM_SERIES_COLUMNS " FROM series WHERE attempt_id=? AND name=?", attemptId, name);
    return rows.next() ? std::optional(rowOf(rows)) : std::nullopt;
}

std::optional<SeriesRow> seriesById(Database& db, std::int64_t id) {
    Rows rows = db.query("SELECT " TELEHELM_SERIES_COLUMNS " FROM series WHERE id=?", id);
    return rows.next() ? std::optional(rowOf(rows)) : std::nullopt;
}

std::vector<SeriesRow> pageOfSeries(Database& db, std::int64_t attemptId, const std::string& glob, const std::string& after,
                                    std::uint32_t limit) {
    return withRange(glob, [&](const std::string& from, const std::string& to) {
        std::vector<SeriesRow> page;
        Rows rows = db.query("SELECT " TELEHELM_SERIES_COLUMNS " FROM series WHERE attempt_id=?1 AND name>=max(?2, ?3) AND name<?4 "
                             "AND name<>?3 AND (?5='' OR name_matches(?5, name)) ORDER BY name LIMIT ?6",
                             attemptId, from, after, to, glob, limit == 0 ? std::int64_t{-1} : std::int64_t{limit});
        while (rows.next())
            page.push_back(rowOf(rows));
        return page;
    });
}

std::uint64_t countSeries(Database& db, std::int64_t attemptId, const std::string& glob, const std::string& after) {
    return withRange(glob, [&](const std::string& from, const std::string& to) {
        // `*` behind the literal beginning says nothing more than the range does.
        const bool isRangeAll = glob.empty() || glob == from + "*";
        Rows rows = isRangeAll ? db.query("SELECT count(*) FROM series WHERE attempt_id=?1 AND name>=max(?2, ?3) AND name<?4", attemptId,
                                          from, after, to)
                               : db.query("SELECT count(*) FROM series WHERE attempt_id=?1 AND name>=max(?2, ?3) AND name<?4 "
                                          "AND name_matches(?5, name)",
                                          attemptId, from, after, to, glob);
        rows.next();
        std::uint64_t count = static_cast<std::uint64_t>(rows.integer(0));
        if (count > 0 && !after.empty() && after >= from && after < to && (glob.empty() || matches(glob, after))) {
            Rows self = db.query("SELECT 1 FROM series WHERE attempt_id=? AND name=?", attemptId, after); // counted, but not behind itself
            count -= self.next() ? 1 : 0;
        }
        return count;
    });
}

std::int64_t insertSeries(Database& db, std::int64_t attemptId, const std::string& name) {
    db.run("INSERT INTO series(attempt_id, name) VALUES(?,?)", attemptId, name);
    return db.lastInsertId();
}

void updateSeries(Database& db, const SeriesSummary& s) {
    db.run("UPDATE series SET points=?, first_step=?, last_step=?, latest=? WHERE id=?", s.points, s.firstStep, s.lastStep,
           std::bit_cast<std::int64_t>(s.latest), s.id);
}

} // namespace telehelm::store
