// SPDX-License-Identifier: Apache-2.0
#include "store/series_rows.h"

#include <bit>
#include <optional>

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

// The names that may match lie between the glob's literal beginning and its end; the index holds them in order. A million names are
// searched, and each condition costs on each of them: a query has only those that say something.
#define TELEHELM_NAMES(what, begin, end, glob) what " FROM series WHERE attempt_id=?1 AND name" begin "?2" end glob
#define TELEHELM_NO_END " AND ?3 IS NULL" // tested once, not per name
#define TELEHELM_END " AND name<?3"
#define TELEHELM_NO_GLOB " AND ?4 IS NULL"
#define TELEHELM_GLOB " AND name_matches(?4, name)"
#define TELEHELM_QUERIES(what, tail)                                                                                                    \
    {{{TELEHELM_NAMES(what, ">=", TELEHELM_NO_END, TELEHELM_NO_GLOB) tail, TELEHELM_NAMES(what, ">=", TELEHELM_NO_END, TELEHELM_GLOB) tail}, \
      {TELEHELM_NAMES(what, ">=", TELEHELM_END, TELEHELM_NO_GLOB) tail, TELEHELM_NAMES(what, ">=", TELEHELM_END, TELEHELM_GLOB) tail}},     \
     {{TELEHELM_NAMES(what, ">", TELEHELM_NO_END, TELEHELM_NO_GLOB) tail, TELEHELM_NAMES(what, ">", TELEHELM_NO_END, TELEHELM_GLOB) tail},  \
      {TELEHELM_NAMES(what, ">", TELEHELM_END, TELEHELM_NO_GLOB) tail, TELEHELM_NAMES(what, ">", TELEHELM_END, TELEHELM_GLOB) tail}}}
using Queries = const char* [2][2][2]; // [from behind a name][with an end][with a glob]
constexpr Queries kPage = TELEHELM_QUERIES("SELECT " TELEHELM_SERIES_COLUMNS, " ORDER BY name LIMIT ?5");
constexpr Queries kCount = TELEHELM_QUERIES("SELECT count(*)", "");

struct NameRange {
    NameRange(const std::string& pattern, const std::string& after) : from(literalPrefix(pattern)) {
        if (std::string behind = endOfPrefix(from); !behind.empty())
            end = std::move(behind);
        if (!pattern.empty() && pattern != from + "*") // which says nothing more than the range does
            glob = pattern;
        isBehind = !after.empty() && after >= from;
        if (isBehind)
            from = after;
    }
    [[nodiscard]] const char* in(const Queries& queries) const { return queries[isBehind][end.has_value()][glob.has_value()]; }

    std::string from;
    std::optional<std::string> end, glob;
    bool isBehind = false; // `from` itself is left out
};

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
    const NameRange range(glob, after);
    std::vector<SeriesRow> page;
    Rows rows = db.query(range.in(kPage), attemptId, range.from, range.end, range.glob, limit == 0 ? std::int64_t{-1} : std::int64_t{limit});
    while (rows.next())
        page.push_back(rowOf(rows));
    return page;
}

std::uint64_t countSeries(Database& db, std::int64_t attemptId, const std::string& glob, const std::string& after) {
    const NameRange range(glob, after);
    Rows rows = db.query(range.in(kCount), attemptId, range.from, range.end, range.glob);
    rows.next();
    return static_cast<std::uint64_t>(rows.integer(0));
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
