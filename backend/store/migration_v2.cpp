// SPDX-License-Identifier: Apache-2.0
#include "store/migration_v2.h"

#include <unordered_map>
#include <vector>

#include "store/byte_stream.h"
#include "store/series_rows.h"
#include "telehelm/ipc/types.h"

namespace telehelm::store {
namespace {

using ipc::Point;

void changeTables(Database& db) {
    db.execute(R"sql(
ALTER TABLE series ADD COLUMN points INTEGER NOT NULL DEFAULT 0;
ALTER TABLE series ADD COLUMN first_step INTEGER NOT NULL DEFAULT 0;
ALTER TABLE series ADD COLUMN last_step INTEGER NOT NULL DEFAULT 0;
ALTER TABLE series ADD COLUMN latest INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tail_open ADD COLUMN from_point INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tail_log ADD COLUMN points INTEGER NOT NULL DEFAULT 0;
CREATE TABLE store_state(id INTEGER PRIMARY KEY CHECK(id=1), commits INTEGER NOT NULL);
INSERT INTO store_state(id, commits) VALUES(1, 0);
CREATE TABLE damaged(
  id INTEGER PRIMARY KEY, kind TEXT NOT NULL, attempt_id INTEGER NOT NULL, series INTEGER NOT NULL, level INTEGER NOT NULL,
  idx INTEGER NOT NULL, points INTEGER NOT NULL, noted_us INTEGER NOT NULL, text TEXT NOT NULL, body BLOB);
)sql");
}

void setAside(Database& db, const char* kind, std::int64_t attemptId, std::int64_t series, const std::string& text, std::string_view body) {
    db.run("INSERT INTO damaged(kind, attempt_id, series, level, idx, points, noted_us, text, body) VALUES(?,?,?,0,0,0,?,?,?)", std::string(kind),
           attemptId, series, ipc::nowUs(), text, Blob{body});
}

// Version 1 told the open points of a series as what its tail (tail_open, then the log) has beyond full chunks.
std::unordered_map<std::int64_t, std::vector<Point>> oldTails(Database& db, std::int64_t attemptId) {
    std::unordered_map<std::int64_t, std::vector<Point>> tails;
    struct Bad {
        const char* kind;
        std::int64_t series;
        std::string text, body;
    };
    std::vector<Bad> bad;
    for (Rows rows = db.query("SELECT series, body FROM tail_open WHERE attempt_id=?", attemptId); rows.next();)
        try {
            tails[rows.integer(0)] = decodePoints(rows.blob(1));
        } catch (const DamagedBlob& damage) {
            bad.push_back({"tail", rows.integer(0), damage.what(), std::string(rows.blob(1))});
        }
    for (Rows rows = db.query("SELECT body FROM tail_log WHERE attempt_id=? ORDER BY id", attemptId); rows.next();)
        try {
            for (LoggedBlock& block : decodeLog(rows.blob(0))) {
                std::vector<Point>& tail = tails[block.series];
                tail.insert(tail.end(), block.points.begin(), block.points.end());
            }
        } catch (const DamagedBlob& damage) {
            bad.push_back({"log", 0, damage.what(), std::string(rows.blob(0))});
        }
    for (const Bad& item : bad)
        setAside(db, item.kind, attemptId, item.series, item.text, item.body);
    return tails;
}

std::vector<Point> storedChunk(Database& db, std::int64_t series, std::uint64_t index) {
    Rows rows = db.query("SELECT body FROM chunks WHERE series=? AND level=0 AND idx=?", series, index);
    try {
        return rows.next() ? decodePoints(rows.blob(0)) : std::vector<Point>();
    } catch (const DamagedBlob&) {
        return {}; // `check` names it
    }
}

void foldSeries(Database& db, std::int64_t attemptId, std::int64_t id, const std::vector<Point>& tail) {
    std::uint64_t chunks = 0;
    for (Rows rows = db.query("SELECT max(idx) FROM chunks WHERE series=? AND level=0", id); rows.next() && !rows.isNull(0);)
        chunks = static_cast<std::uint64_t>(rows.integer(0)) + 1;
    const std::span<const Point> open = std::span(tail).last(tail.size() % kPointsPerChunk);
    SeriesSummary summary;
    summary.id = id;
    summary.points = chunks * kPointsPerChunk + open.size();
    const std::vector<Point> first = chunks > 0 ? storedChunk(db, id, 0) : std::vector<Point>(open.begin(), open.end());
    const std::vector<Point> last = open.empty() && chunks > 0 ? storedChunk(db, id, chunks - 1) : std::vector<Point>(open.begin(), open.end());
    if (!first.empty())
        summary.firstStep = first.front().step;
    if (!last.empty()) {
        summary.lastStep = last.back().step;
        summary.latest = last.back().value;
    }
    updateSeries(db, summary);
    db.run("DELETE FROM tail_open WHERE series=?", id);
    if (open.empty())
        return;
    const std::string body = encodePoints(open);
    db.run("INSERT INTO tail_open(series, attempt_id, from_point, body) VALUES(?,?,?,?)", id, attemptId, chunks * kPointsPerChunk, Blob{body});
}

} // namespace

void migrateToVersion2(Database& db) {
    changeTables(db);
    std::vector<std::int64_t> attempts;
    for (Rows rows = db.query("SELECT id FROM attempts"); rows.next();)
        attempts.push_back(rows.integer(0));
    for (const std::int64_t attempt : attempts) {
        auto tails = oldTails(db, attempt);
        std::vector<std::int64_t> series;
        for (Rows rows = db.query("SELECT id FROM series WHERE attempt_id=?", attempt); rows.next();)
            series.push_back(rows.integer(0));
        for (const std::int64_t id : series)
            foldSeries(db, attempt, id, tails[id]);
        db.run("DELETE FROM tail_log WHERE attempt_id=?", attempt);
    }
}

} // namespace telehelm::store
