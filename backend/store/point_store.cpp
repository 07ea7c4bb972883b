// SPDX-License-Identifier: Apache-2.0
#include "store/point_store.h"

#include <algorithm>
#include <numeric>

#include "store/byte_stream.h"
#include "store/series_reader.h"
#include "store/series_rows.h"
#include "store/side_by_side.h"

namespace telehelm::store {
namespace {

// The log is folded into one row per series when it holds a chunk's points for each, so that a point is written once
// or twice before it reaches its chunk, but within these bounds: for it is in memory too.
constexpr std::uint64_t kFewestLogPoints = 1 << 18, kMostLogPoints = 1 << 20;
constexpr std::size_t kKeptBytes = 40 << 20;    // of one attempt after a fold
constexpr std::size_t kAllBytes = 96 << 20;     // of all attempts; the newest one is folded when it alone exceeds it
constexpr std::size_t kSeriesBytes = 400;       // a state with its name and its places in containers, without points
constexpr std::size_t kEncodedAtOnce = 256;     // series whose chunks wait for the database: some 4 MB

std::size_t bytesOf(const SeriesState& state) {
    std::size_t bytes = kSeriesBytes + state.open.capacity() * sizeof(ipc::Point);
    for (const SeriesState::Level& level : state.levels)
        bytes += sizeof level + level.open.capacity() * sizeof(ipc::Bucket);
    return bytes;
}

/// handle(part of `states`) for parts that may be encoded side by side.
template <typename Handle>
void inParts(std::span<SeriesState* const> states, const Handle& handle) {
    for (std::size_t from = 0; from < states.size(); from += kEncodedAtOnce)
        handle(states.subspan(from, std::min(kEncodedAtOnce, states.size() - from)));
}

void writeChunks(Database& db, const std::vector<ChunkOut>& chunks) {
    for (const ChunkOut& chunk : chunks) {
        const AxisBounds& b = chunk.bounds;
        db.run("INSERT INTO chunks(series, level, idx, step_lo, step_hi, tokens_lo, tokens_hi, wall_lo, wall_hi, body) "
               "VALUES(?,?,?,?,?,?,?,?,?,?)",
               chunk.series, chunk.level, chunk.index, b.lo[0], b.hi[0], b.lo[1], b.hi[1], b.lo[2], b.hi[2], Blob{chunk.body});
    }
}

// The open points of one series out of the log: those behind its last chunk that tail_open does not hold.
struct LoggedTail {
    std::vector<LoggedBlock> blocks;
    bool hasHole = false;

    [[nodiscard]] std::unique_ptr<SeriesState> stateOf(Database& db, const SeriesRow& row) {
        Rows rows = db.query("SELECT max(idx) FROM chunks WHERE series=? AND level=0", row.id);
        const std::uint64_t rawChunks = rows.next() && !rows.isNull(0) ? static_cast<std::uint64_t>(rows.integer(0)) + 1 : 0;
        auto state = std::make_unique<SeriesState>();
        static_cast<SeriesSummary&>(*state) = row;
        if (row.points == 0)
            state->firstStep = blocks.front().points.front().step;
        state->lastStep = blocks.back().points.back().step;
        state->latest = blocks.back().points.back().value;
        state->openFrom = std::max(row.points, rawChunks * kPointsPerChunk); // chunks may have been cut since the fold
        state->isWhole = state->openFrom % kPointsPerChunk == 0;
        state->hasLevels = state->openFrom == 0;
        std::uint64_t next = state->openFrom;
        for (const LoggedBlock& block : blocks) {
            const std::uint64_t end = block.at + block.points.size();
            if (end <= next)
                continue;
            hasHole = hasHole || block.at > next; // a row in between cannot be read: what follows moves up
            const auto from = block.points.begin() + static_cast<std::ptrdiff_t>(block.at < next ? next - block.at : 0);
            state->open.insert(state->open.end(), from, block.points.end());
            next = end;
        }
        state->points = state->openFrom + state->open.size();
        state->isDirty = state->isTouched = true;
        return state;
    }
};

} // namespace

const PointStore::Series& PointStore::series(std::int64_t attemptId) const {
    static const Series kNone;
    const auto found = m_attempts.find(attemptId);
    return found == m_attempts.end() ? kNone : found->second.series;
}

PointStore::Attempt& PointStore::attempt(Database& db, std::int64_t attemptId) {
    auto found = m_attempts.find(attemptId);
    if (found == m_attempts.end()) {
        load(db, attemptId);
        found = m_attempts.find(attemptId);
    }
    found->second.used = ++m_clock;
    return found->second;
}

SeriesState& PointStore::seriesOf(Database& db, std::int64_t attemptId, Attempt& attempt, const std::string& name) {
    const auto [found, isNew] = attempt.series.try_emplace(name);
    if (!isNew)
        return *found->second;
    found->second = std::make_unique<SeriesState>();
    if (auto row = findSeries(db, attemptId, name)) {
        static_cast<SeriesSummary&>(*found->second) = *row;
        found->second->unload();
    } else {
        found->second->id = insertSeries(db, attemptId, name);
    }
    attempt.bytes += kSeriesBytes;
    return *found->second;
}

void PointStore::append(Database& db, std::int64_t attemptId, const std::vector<ipc::SeriesBlock>& blocks) {
    Attempt& here = attempt(db, attemptId);
    if (here.mustFold)
        fold(db, attemptId);
    LogWriter log;
    std::uint64_t added = 0;
    std::vector<SeriesState*> full;
    for (const ipc::SeriesBlock& block : blocks) {
        if (block.points.empty())
            continue;
        SeriesState& state = seriesOf(db, attemptId, here, block.name);
        const bool wasFull = state.canCut(); // by an earlier block of this batch
        log.add(state.id, state.points, block.points);
        state.append(block.points);
        added += block.points.size();
        if (!wasFull && state.canCut())
            full.push_back(&state);
    }
    if (added == 0)
        return;
    here.bytes += added * sizeof(ipc::Point);
    db.run("INSERT INTO tail_log(attempt_id, points, body) VALUES(?,?,?)", attemptId, added, Blob{log.finish()});
    inParts(full, [&](std::span<SeriesState* const> part) {
        const auto bytes = [&] {
            return std::accumulate(part.begin(), part.end(), std::size_t{0}, [](std::size_t sum, const SeriesState* s) { return sum + bytesOf(*s); });
        };
        const std::size_t before = bytes();
        cut(db, part); // what it reads for this stays in memory
        here.bytes = std::max(here.bytes + bytes(), before) - before;
        here.mustFold = here.mustFold || std::ranges::any_of(part, [](const SeriesState* s) { return s->tailLost > 0; }); // its indices have moved
    });
    here.loggedPoints += added;
    if (here.mustFold || here.bytes > kAllBytes ||
        here.loggedPoints >= std::clamp<std::uint64_t>(here.series.size() * kPointsPerChunk, kFewestLogPoints, kMostLogPoints))
        fold(db, attemptId);
}

void PointStore::cut(Database& db, std::span<SeriesState* const> states) {
    std::vector<SeriesState*> ready;
    for (SeriesState* state : states) {
        makeWhole(db, *state);
        if (!state->canCut())
            continue;
        restoreLevels(db, *state);
        ready.push_back(state);
    }
    std::vector<std::vector<ChunkOut>> chunks(ready.size());
    sideBySide(ready.size(), [&](std::size_t i) { ready[i]->cut(chunks[i]); });
    for (const std::vector<ChunkOut>& ofOne : chunks)
        writeChunks(db, ofOne);
}

// Puts what the last fold left open before what has come since.
void PointStore::makeWhole(Database& db, SeriesState& state) {
    if (state.isWhole)
        return;
    const std::uint64_t edge = state.openFrom / kPointsPerChunk * kPointsPerChunk;
    SeriesReader reader(db, {state.id, state.openFrom, state.openFrom, {}});
    std::vector<ipc::Point> all;
    all.reserve(state.openFrom - edge + state.open.size());
    reader.readPoints(edge, state.openFrom, [&](std::uint64_t, std::span<const ipc::Point> part) { all.insert(all.end(), part.begin(), part.end()); });
    if (all.empty()) { // cannot be read: what came since moves up
        state.tailLost = state.openFrom - edge;
        state.points -= state.tailLost;
    }
    all.insert(all.end(), state.open.begin(), state.open.end());
    state.open = std::move(all);
    state.openFrom = edge;
    state.isWhole = true;
}

// The open buckets of levels ≥ 2, made again from the chunks below them.
void PointStore::restoreLevels(Database& db, SeriesState& state) {
    if (state.hasLevels)
        return;
    state.levels.clear();
    SeriesReader reader(db, {state.id, state.openFrom, state.openFrom, {}});
    AxisBounds bounds;
    for (int level = 2; level <= kMaxLevel && state.openFrom >= pointsPerBucket(level); ++level) {
        const std::uint64_t chunks = chunksOfLevel(level, reader.rawChunks());
        Rows rows = db.query("SELECT step_lo, step_hi, tokens_lo, tokens_hi, wall_lo, wall_hi FROM chunks WHERE series=? AND level=? AND idx>=?",
                             state.id, level - 1, chunks * kFan);
        while (rows.next())
            for (std::size_t axis = 0; axis < 3; ++axis) {
                bounds.lo[axis] = std::min(bounds.lo[axis], rows.integer(2 * static_cast<int>(axis)));
                bounds.hi[axis] = std::max(bounds.hi[axis], rows.integer(2 * static_cast<int>(axis) + 1));
            }
        SeriesState::Level& here = state.levels.emplace_back();
        here.open = reader.fullBuckets(level, chunks * kBucketsPerChunk, state.openFrom / pointsPerBucket(level));
        here.openBounds = bounds;
    }
    state.hasLevels = true;
}

void PointStore::foldSeries(Database& db, std::int64_t attemptId, std::span<SeriesState* const> states) {
    for (SeriesState* state : states)
        makeWhole(db, *state);
    std::vector<std::string> bodies(states.size());
    sideBySide(states.size(), [&](std::size_t i) {
        if (!states[i]->open.empty())
            bodies[i] = encodePoints(states[i]->open);
    });
    for (std::size_t i = 0; i < states.size(); ++i)
        writeFolded(db, attemptId, *states[i], bodies[i]);
}

void PointStore::writeFolded(Database& db, std::int64_t attemptId, SeriesState& state, const std::string& body) {
    if (state.tailLost > 0)
        db.run("INSERT INTO damaged(kind, attempt_id, series, level, idx, points, noted_us, text, body) "
               "SELECT 'tail', ?, ?, 0, ?, ?, ?, 'open points that could not be read', (SELECT body FROM tail_open WHERE series=?)",
               attemptId, state.id, state.openFrom, state.tailLost, ipc::nowUs(), state.id);
    if (state.open.empty())
        db.run("DELETE FROM tail_open WHERE series=?", state.id);
    else
        db.run("INSERT OR REPLACE INTO tail_open(series, attempt_id, from_point, body) VALUES(?,?,?,?)", state.id, attemptId, state.openFrom,
               Blob{body});
    updateSeries(db, state);
    state.isDirty = false;
    state.tailLost = 0;
}

void PointStore::fold(Database& db, std::int64_t attemptId) {
    Attempt& here = m_attempts.at(attemptId);
    std::vector<SeriesState*> dirty; // by id, as their rows lie
    for (auto& [name, state] : here.series)
        if (state->isDirty)
            dirty.push_back(state.get());
    std::sort(dirty.begin(), dirty.end(), [](const SeriesState* a, const SeriesState* b) { return a->id < b->id; });
    inParts(dirty, [&](std::span<SeriesState* const> part) { foldSeries(db, attemptId, part); });
    for (const std::int64_t row : here.badRows)
        db.run("INSERT INTO damaged(kind, attempt_id, series, level, idx, points, noted_us, text, body) "
               "SELECT 'log', attempt_id, 0, 0, id, points, ?, points || ' points that could not be read', body FROM tail_log WHERE id=?",
               ipc::nowUs(), row);
    db.run("DELETE FROM tail_log WHERE attempt_id=?", attemptId);
    here.badRows.clear();
    here.mustFold = false;
    here.loggedPoints = 0;
    letGo(here);
}

// After a fold nothing in memory is needed: what was idle goes, and the rest too when it takes too much.
void PointStore::letGo(Attempt& attempt) {
    std::erase_if(attempt.series, [](const auto& item) { return !item.second->isTouched; });
    const auto measure = [&] {
        attempt.bytes = 0;
        for (auto& [name, state] : attempt.series) {
            state->isTouched = false;
            attempt.bytes += bytesOf(*state);
        }
        return attempt.bytes;
    };
    if (measure() <= kKeptBytes)
        return;
    for (auto& [name, state] : attempt.series)
        state->unload();
    if (measure() <= kKeptBytes)
        return;
    Series().swap(attempt.series);
    attempt.bytes = 0;
}

// The attempt to let go next, other than `keep`; 0: all may stay.
std::int64_t PointStore::excess(std::int64_t keep) const {
    std::size_t bytes = 0;
    std::int64_t oldest = 0;
    std::uint64_t used = ~std::uint64_t{0};
    for (const auto& [id, attempt] : m_attempts) {
        bytes += attempt.bytes;
        if (id != keep && attempt.used < used) {
            used = attempt.used;
            oldest = id;
        }
    }
    return bytes > kAllBytes ? oldest : 0;
}

void PointStore::tidy(Database& db) {
    std::int64_t newest = 0;
    for (const auto& [id, attempt] : m_attempts)
        if (attempt.used == m_clock)
            newest = id;
    while (const std::int64_t id = excess(newest)) {
        if (m_attempts.at(id).loggedPoints > 0 || m_attempts.at(id).mustFold)
            fold(db, id);
        m_attempts.erase(id);
    }
}

void PointStore::forget(std::int64_t attemptId) { m_attempts.erase(attemptId); }

void PointStore::load(Database& db, std::int64_t attemptId) {
    Attempt loaded;
    takeLog(db, attemptId, loaded);
    loaded.used = ++m_clock;
    m_attempts[attemptId] = std::move(loaded);
}

void PointStore::takeLog(Database& db, std::int64_t attemptId, Attempt& loaded) {
    std::unordered_map<std::int64_t, LoggedTail> tails;
    for (Rows rows = db.query("SELECT id, points, body FROM tail_log WHERE attempt_id=? ORDER BY id", attemptId); rows.next();) {
        loaded.loggedPoints += static_cast<std::uint64_t>(rows.integer(1));
        try {
            for (LoggedBlock& block : decodeLog(rows.blob(2)))
                if (!block.points.empty())
                    tails[block.series].blocks.push_back(std::move(block));
        } catch (const DamagedBlob&) {
            loaded.badRows.push_back(rows.integer(0));
            loaded.mustFold = true;
        }
    }
    for (auto& [id, tail] : tails) {
        const auto row = seriesById(db, id);
        if (!row) // its name cannot be read any more; `check` tells
            continue;
        auto state = tail.stateOf(db, *row);
        loaded.mustFold = loaded.mustFold || tail.hasHole;
        loaded.bytes += bytesOf(*state);
        loaded.series[row->name] = std::move(state);
        tail.blocks.clear();
    }
}

} // namespace telehelm::store
