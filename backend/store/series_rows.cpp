// SPDX-License-Identifier: Apache-2.0
#include "store/series_rows.h"

#include <algorithm>
#include <bit>
#include <random>
#include <utility>

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

const char* chosen(const Queries& queries, const NameRange& range) {
    return queries[range.isBehind][range.end.has_value()][range.glob.has_value()];
}

std::uint64_t countSeries(Database& db, std::int64_t attemptId, const NameRange& range) {
    Rows rows = db.query(chosen(kCount, range), attemptId, range.from, range.end, range.glob);
    rows.next();
    return static_cast<std::uint64_t>(rows.integer(0));
}

constexpr std::int64_t kWorthTwoThreads = 20'000; // names: some 6 ms for one
constexpr int kSamples = 64, kEnoughSamples = 8;

} // namespace

std::optional<SeriesRow> findSeries(Database& db, std::int64_t attemptId, const std::string& name) {
    Rows rows = db.query("SELECT " TELEHELM_SERIES_COLUMNS " FROM series WHERE attempt_id=? AND name=?", attemptId, name);
    return rows.next() ? std::optional(rowOf(rows)) : std::nullopt;
}

std::optional<SeriesRow> seriesById(Database& db, std::int64_t id) {
    Rows rows = db.query("SELECT " TELEHELM_SERIES_COLUMNS " FROM series WHERE id=?", id);
    return rows.next() ? std::optional(rowOf(rows)) : std::nullopt;
}

NameRange::NameRange(const std::string& pattern, const std::string& after) : from(literalPrefix(pattern)) {
    if (std::string behind = endOfPrefix(from); !behind.empty())
        end = std::move(behind);
    if (!pattern.empty() && pattern != from + "*") // which says nothing more than the interval does
        glob = pattern;
    isBehind = !after.empty() && after >= from;
    if (isBehind)
        from = after;
}

std::vector<SeriesRow> pageOfSeries(Database& db, std::int64_t attemptId, const NameRange& range, std::uint32_t limit) {
    std::vector<SeriesRow> page;
    Rows rows =
        db.query(chosen(kPage, range), attemptId, range.from, range.end, range.glob, limit == 0 ? std::int64_t{-1} : std::int64_t{limit});
    while (rows.next())
        page.push_back(rowOf(rows));
    return page;
}

NamesFound findNames(Database& db, std::int64_t attemptId, const NameRange& range, std::uint32_t limit) {
    NamesFound found{.rows = pageOfSeries(db, attemptId, range, limit)};
    found.matching = found.rows.size();
    if (limit != 0 && found.rows.size() == limit) {
        NameRange rest = range;
        rest.from = found.rows.back().name;
        rest.isBehind = true;
        found.matching += countSeries(db, attemptId, rest);
    }
    return found;
}

std::optional<std::string> middleName(Database& db, std::int64_t attemptId, const NameRange& range) {
    std::int64_t newest = 0;
    if (Rows rows = db.query("SELECT max(id) FROM series"); rows.next())
        newest = rows.integer(0);
    if (newest < kWorthTwoThreads)
        return std::nullopt;
    std::vector<std::string> names;
    std::minstd_rand random; // the same sample each time; not evenly spaced, as names of equal ranks or layers are
    std::uniform_int_distribution<std::int64_t> ids(1, newest);
    for (int i = 0; i < kSamples; ++i) {
        Rows rows = db.query("SELECT name FROM series WHERE id=?1 AND attempt_id=?2 AND name>=?3 AND (?4 IS NULL OR name<?4)", ids(random), attemptId,
                             range.from, range.end);
        if (rows.next())
            names.push_back(rows.text(0));
    }
    if (newest / kSamples * static_cast<std::int64_t>(names.size()) < kWorthTwoThreads || names.size() < kEnoughSamples)
        return std::nullopt;
    const auto middle = names.begin() + static_cast<std::ptrdiff_t>(names.size() / 2);
    std::ranges::nth_element(names, middle);
    return *middle;
}

std::int64_t insertSeries(Database& db, std::int64_t attemptId, const std::string& name) {
    // An id is never given twice: who still reads a deleted series must not take a new one for it.
    db.run("INSERT INTO series(id, attempt_id, name) VALUES((SELECT max(last_series, coalesce((SELECT max(id) FROM series), 0)) + 1 FROM store_state),?,?)",
           attemptId, name);
    return db.lastInsertId();
}

void updateSeries(Database& db, const SeriesSummary& s) {
    db.run("UPDATE series SET points=?, first_step=?, last_step=?, latest=? WHERE id=?", s.points, s.firstStep, s.lastStep,
           std::bit_cast<std::int64_t>(s.latest), s.id);
}

} // namespace telehelm::store
