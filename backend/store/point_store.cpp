// SPDX-License-Identifier: Apache-2.0
#include "store/point_store.h"

#include "store/byte_stream.h"

namespace telehelm::store {
namespace {

// The log is folded into the per-series snapshots when it holds this many points, or as many as lie open: every point is
// then written at most about twice before it reaches its chunk.
constexpr std::uint64_t kLogPoints = 1 << 18;

} // namespace

const std::map<std::string, std::unique_ptr<SeriesState>>& PointStore::series(std::int64_t attemptId) const {
    static const std::map<std::string, std::unique_ptr<SeriesState>> kNone;
    const auto found = m_attempts.find(attemptId);
    return found == m_attempts.end() ? kNone : found->second.series;
}

PointStore::Attempt& PointStore::attempt(Database& db, std::int64_t attemptId) {
    if (const auto found = m_attempts.find(attemptId); found != m_attempts.end())
        return found->second;
    load(db, attemptId);
    return m_attempts.at(attemptId);
}

SeriesState& PointStore::seriesOf(Database& db, std::int64_t attemptId, Attempt& attempt, const std::string& name) {
    if (const auto found = attempt.byName.find(name); found != attempt.byName.end())
        return *found->second;
    db.run("INSERT INTO series(attempt_id, name) VALUES(?,?)", attemptId, name);
    auto [it, isNew] = attempt.series.emplace(name, std::make_unique<SeriesState>());
    it->second->id = db.lastInsertId();
    it->second->name = name;
    attempt.byName[it->first] = it->second.get();
    return *it->second;
}

void PointStore::append(Database& db, std::int64_t attemptId, const std::vector<ipc::SeriesBlock>& blocks) {
    Attempt& here = attempt(db, attemptId);
    LogWriter log;
    std::vector<ChunkOut> chunks;
    std::uint64_t added = 0;
    for (const ipc::SeriesBlock& block : blocks) {
        if (block.points.empty())
            continue;
        SeriesState& state = seriesOf(db, attemptId, here, block.name);
        log.add(state.id, block.points);
        state.append(block.points, chunks);
        added += block.points.size();
    }
    if (added == 0)
        return;
    db.run("INSERT INTO tail_log(attempt_id, body) VALUES(?,?)", attemptId, Blob{log.bytes()});
    writeChunks(db, chunks);
    here.loggedPoints += added;
    if (here.loggedPoints >= std::max<std::uint64_t>(kLogPoints, here.series.size() * kPointsPerChunk / 2))
        snapshotOpen(db, attemptId, here);
}

void PointStore::writeChunks(Database& db, std::vector<ChunkOut>& chunks) {
    for (const ChunkOut& chunk : chunks) {
        const AxisBounds& b = chunk.bounds;
        db.run("INSERT INTO chunks(series, level, idx, step_lo, step_hi, tokens_lo, tokens_hi, wall_lo, wall_hi, body) "
               "VALUES(?,?,?,?,?,?,?,?,?,?)",
               chunk.series, chunk.level, chunk.index, b.lo[0], b.hi[0], b.lo[1], b.hi[1], b.lo[2], b.hi[2], Blob{chunk.body});
    }
}

// Open points move from the log to one row per series; the log starts anew.
void PointStore::snapshotOpen(Database& db, std::int64_t attemptId, Attempt& attempt) {
    for (auto& [name, state] : attempt.series) {
        if (!state->dirty)
            continue;
        if (state->open.empty())
            db.run("DELETE FROM tail_open WHERE series=?", state->id);
        else {
            const std::string body = encodePoints(state->open);
            db.run("INSERT OR REPLACE INTO tail_open(series, attempt_id, body) VALUES(?,?,?)", state->id, attemptId, Blob{body});
        }
        state->dirty = false;
    }
    db.run("DELETE FROM tail_log WHERE attempt_id=?", attemptId);
    attempt.loggedPoints = 0;
}

void PointStore::load(Database& db, std::int64_t attemptId) {
    Attempt loaded;
    std::unordered_map<std::int64_t, SeriesState*> byId;
    for (Rows rows = db.query("SELECT id, name FROM series WHERE attempt_id=?", attemptId); rows.next();) {
        auto state = std::make_unique<SeriesState>();
        state->id = rows.integer(0);
        state->name = rows.text(1);
        byId[state->id] = state.get();
        auto [it, isNew] = loaded.series.emplace(state->name, std::move(state));
        loaded.byName[it->first] = it->second.get();
    }
    for (auto& [id, state] : byId)
        restore(db, *state);
    // The tail: what was open at the last snapshot (it began at a chunk's edge) and all that was logged since.
    std::unordered_map<std::int64_t, std::vector<ipc::Point>> tails;
    for (Rows rows = db.query("SELECT series, body FROM tail_open WHERE attempt_id=?", attemptId); rows.next();)
        tails[rows.integer(0)] = decodePoints(rows.blob(1));
    for (Rows rows = db.query("SELECT body FROM tail_log WHERE attempt_id=? ORDER BY id", attemptId); rows.next();)
        for (LoggedBlock& block : decodeLog(rows.blob(0))) {
            std::vector<ipc::Point>& tail = tails[block.series];
            tail.insert(tail.end(), block.points.begin(), block.points.end());
            loaded.loggedPoints += block.points.size();
        }
    std::vector<ChunkOut> chunks;
    for (auto& [id, tail] : tails) {
        const auto found = byId.find(id);
        if (found == byId.end())
            throw DamagedBlob("the tail names an unknown series");
        // Chunks are cut from the tail in order: what lies beyond the last full chunk is open.
        const std::size_t open = tail.size() % kPointsPerChunk;
        found->second->append(std::span(tail).last(open), chunks);
        found->second->dirty = true; // its snapshot row, if any, is older than the log
    }
    m_attempts[attemptId] = std::move(loaded);
}

// Brings back what the chunks know: counts, the open buckets of levels ≥ 2 and their bounds.
void PointStore::restore(Database& db, SeriesState& state) {
    std::vector<std::uint64_t> stored;
    for (Rows rows = db.query("SELECT level, max(idx) FROM chunks WHERE series=? GROUP BY level ORDER BY level", state.id); rows.next();)
        stored.push_back((static_cast<std::uint64_t>(rows.integer(1)) + 1) * itemsPerChunk(static_cast<int>(rows.integer(0))));
    if (stored.empty())
        return;
    state.levels.resize(std::max<std::size_t>(2, stored.size()));
    for (std::size_t level = 0; level < stored.size(); ++level)
        state.levels[level].stored = stored[level];
    state.points = stored[0];
    for (Rows rows = db.query("SELECT body FROM chunks WHERE series=? AND level=0 AND idx=0", state.id); rows.next();)
        state.firstStep = decodePoints(rows.blob(0)).front().step;
    for (Rows rows = db.query("SELECT body FROM chunks WHERE series=? AND level=0 ORDER BY idx DESC LIMIT 1", state.id); rows.next();) {
        const ipc::Point last = decodePoints(rows.blob(0)).back();
        state.lastStep = last.step;
        state.latest = last.value;
    }
    // Full buckets of level k+1 that its chunks do not hold yet come from level k's chunks after them.
    for (std::size_t level = 1; level < state.levels.size(); ++level) {
        const std::uint64_t above = level + 1 < state.levels.size() ? state.levels[level + 1].stored : 0;
        const std::uint64_t full = (state.levels[level].stored + state.levels[level].open.size()) / kFan;
        if (full == 0)
            break;
        if (level + 1 >= state.levels.size() && full > 0)
            state.levels.resize(level + 2);
        std::vector<ipc::Bucket> lower;
        for (Rows rows = db.query("SELECT body, step_lo, step_hi, tokens_lo, tokens_hi, wall_lo, wall_hi FROM chunks "
                                  "WHERE series=? AND level=? AND idx>=? ORDER BY idx",
                                  state.id, static_cast<std::int64_t>(level), above * kFan / kBucketsPerChunk);
             rows.next();) {
            const std::vector<ipc::Bucket> part = decodeBuckets(rows.blob(0), static_cast<int>(level));
            lower.insert(lower.end(), part.begin(), part.end());
            AxisBounds bounds;
            for (std::size_t axis = 0; axis < 3; ++axis) {
                bounds.lo[axis] = rows.integer(1 + 2 * static_cast<int>(axis));
                bounds.hi[axis] = rows.integer(2 + 2 * static_cast<int>(axis));
            }
            state.levels[level + 1].openBounds.include(bounds);
        }
        lower.insert(lower.end(), state.levels[level].open.begin(), state.levels[level].open.end());
        for (std::size_t i = 0; i + kFan <= lower.size(); i += kFan)
            state.levels[level + 1].open.push_back(summarise(std::span(lower).subspan(i, kFan)));
    }
}

} // namespace telehelm::store
