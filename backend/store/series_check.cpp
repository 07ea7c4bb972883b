// SPDX-License-Identifier: Apache-2.0
#include "store/series_check.h"

#include <algorithm>
#include <bit>

#include "store/byte_stream.h"

namespace telehelm::store {
namespace {

using ipc::Bucket;

bool sameBits(double a, double b) { return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b); }

bool same(const Bucket& a, const Bucket& b) {
    return a.firstStep == b.firstStep && a.lastStep == b.lastStep && a.firstTokens == b.firstTokens && a.lastTokens == b.lastTokens &&
           a.firstWallUs == b.firstWallUs && a.lastWallUs == b.lastWallUs && sameBits(a.first, b.first) && sameBits(a.last, b.last) &&
           sameBits(a.min, b.min) && sameBits(a.max, b.max) && sameBits(a.sum, b.sum) && a.count == b.count && a.nonFinite == b.nonFinite;
}

bool isComplete(const std::vector<Bucket>& buckets, int level) {
    return std::all_of(buckets.begin(), buckets.end(), [&](const Bucket& b) { return b.count == pointsPerBucket(level); });
}

} // namespace

std::optional<SeriesChecker::Stored> SeriesChecker::fetch(int level, std::uint64_t index, std::string& why) {
    try {
        Rows rows = m_db.query("SELECT step_lo, step_hi, tokens_lo, tokens_hi, wall_lo, wall_hi, body FROM chunks WHERE series=? AND level=? AND idx=?",
                               m_series, level, index);
        if (!rows.next()) {
            why = "missing";
            return std::nullopt;
        }
        Stored stored;
        for (std::size_t axis = 0; axis < 3; ++axis) {
            stored.bounds.lo[axis] = rows.integer(2 * static_cast<int>(axis));
            stored.bounds.hi[axis] = rows.integer(2 * static_cast<int>(axis) + 1);
        }
        stored.body = rows.blob(6);
        return stored;
    } catch (const SqlError& error) {
        if (!error.isDamage())
            throw;
        why = error.what();
        return std::nullopt;
    }
}

std::uint64_t SeriesChecker::checkChunks(std::uint64_t rawChunks, const std::function<void()>& onChunk) {
    std::uint64_t readable = 0;
    for (std::uint64_t index = 0; index < rawChunks; ++index) {
        std::vector<Bucket> buckets;
        AxisBounds bounds;
        if (checkRaw(index, buckets, bounds))
            readable += kPointsPerChunk;
        climb(index, buckets, bounds);
        onChunk();
    }
    return readable;
}

// Level 0, and level 1 beside it. `buckets` becomes what level 1 should say.
bool SeriesChecker::checkRaw(std::uint64_t index, std::vector<Bucket>& buckets, AxisBounds& bounds) {
    std::string why;
    const std::optional<Stored> raw = fetch(0, index, why);
    std::vector<ipc::Point> points;
    if (raw)
        try {
            points = decodePoints(raw->body);
            if (points.size() != kPointsPerChunk)
                throw DamagedBlob("wrong length");
        } catch (const DamagedBlob& damage) {
            points.clear();
            why = damage.what();
        }
    if (!points.empty()) {
        for (const ipc::Point& point : points)
            bounds.include(point);
        for (std::size_t i = 0; i < points.size(); i += kFan)
            buckets.push_back(summarise(std::span<const ipc::Point>(points).subspan(i, kFan)));
        if (!(bounds == raw->bounds)) {
            m_tell({{}, 0, {}, 0, index, 0, 0, -1, "bounds wrong: searches miss it", m_repair});
            if (m_repair)
                m_db.run("UPDATE chunks SET step_lo=?, step_hi=?, tokens_lo=?, tokens_hi=?, wall_lo=?, wall_hi=? WHERE series=? AND level=0 AND idx=?",
                         bounds.lo[0], bounds.hi[0], bounds.lo[1], bounds.hi[1], bounds.lo[2], bounds.hi[2], m_series, index);
        }
        checkDerived(1, index, buckets, bounds);
        return true;
    }
    std::string whySummary;
    const std::optional<Stored> summary = fetch(1, index, whySummary);
    buckets.assign(kBucketsPerChunk, Bucket{}); // count 0: lost
    bool isSummarised = false;
    if (summary)
        try {
            decodeBuckets(summary->body, 1, buckets);
            isSummarised = isComplete(buckets, 1);
            bounds = summary->bounds;
        } catch (const DamagedBlob& damage) {
            buckets.assign(kBucketsPerChunk, Bucket{});
            whySummary = damage.what();
        }
    if (!isSummarised && raw)
        bounds = raw->bounds;
    if (!isSummarised && !isKnown(index))
        derivedIsWrong(1, index, whySummary, buckets, bounds);
    rawIsLost(index, raw, why, isSummarised, bounds);
    return false;
}

bool SeriesChecker::isKnown(std::uint64_t index) {
    Rows rows = m_db.query("SELECT 1 FROM damaged WHERE kind='points' AND series=? AND level=0 AND idx=?", m_series, index);
    return rows.next();
}

// The bytes stay where they are; a repair notes the loss, so that the next check knows of it.
void SeriesChecker::rawIsLost(std::uint64_t index, const std::optional<Stored>& raw, const std::string& why, bool isSummarised,
                              const AxisBounds& bounds) {
    if (isKnown(index))
        return;
    Damage damage;
    damage.level = 0;
    damage.chunk = index;
    damage.pointsLost = kPointsPerChunk;
    if (bounds.lo[0] <= bounds.hi[0]) {
        damage.firstStep = bounds.lo[0];
        damage.lastStep = bounds.hi[0];
    }
    damage.what = why + (isSummarised ? "; their summary by 16 is whole" : "");
    damage.isMended = m_repair;
    if (m_repair)
        m_db.run("INSERT INTO damaged(kind, attempt_id, series, level, idx, points, noted_us, text, body) VALUES('points',?,?,0,?,?,?,?,?)",
                 m_attemptId, m_series, index, kPointsPerChunk, ipc::nowUs(), damage.what, Blob{raw ? std::string_view(raw->body) : ""});
    m_tell(std::move(damage));
}

// As SeriesState builds the levels, so that sums agree to the last bit.
void SeriesChecker::climb(std::uint64_t rawIndex, const std::vector<Bucket>& buckets, AxisBounds bounds) {
    for (std::size_t i = 0; i < buckets.size(); i += kFan)
        add(0, summarise(std::span(buckets).subspan(i, kFan)));
    for (std::size_t slot = 0; slot < m_levels.size(); ++slot) {
        Level& here = m_levels[slot];
        here.bounds.include(bounds);
        if (here.pending.size() < kBucketsPerChunk)
            return;
        bounds = here.bounds;
        const int level = static_cast<int>(slot) + 2;
        checkDerived(level, chunksOfLevel(level, rawIndex + 1) - 1, here.pending, bounds);
        here.pending.clear();
        here.bounds = {};
    }
}

void SeriesChecker::add(std::size_t slot, const Bucket& bucket) {
    if (m_levels.size() <= slot)
        m_levels.resize(slot + 1);
    std::vector<Bucket>& here = m_levels[slot].pending;
    here.push_back(bucket);
    if (here.size() % kFan == 0 && slot + 2 < static_cast<std::size_t>(kMaxLevel)) {
        const Bucket above = summarise(std::span<const Bucket>(here).last(kFan));
        add(slot + 1, above);
    }
}

void SeriesChecker::checkDerived(int level, std::uint64_t index, const std::vector<Bucket>& expected, const AxisBounds& bounds) {
    std::string why;
    const std::optional<Stored> stored = fetch(level, index, why);
    if (stored)
        try {
            std::vector<Bucket> buckets(kBucketsPerChunk);
            decodeBuckets(stored->body, level, buckets);
            // Where points below are lost, what was summarised before is the truth.
            if (!isComplete(expected, level))
                return;
            if (std::equal(buckets.begin(), buckets.end(), expected.begin(), expected.end(), same) && stored->bounds == bounds)
                return;
            why = stored->bounds == bounds ? "does not say what its points say" : "bounds wrong: searches miss it";
        } catch (const DamagedBlob& damage) {
            why = damage.what();
        }
    derivedIsWrong(level, index, why, expected, bounds);
}

void SeriesChecker::derivedIsWrong(int level, std::uint64_t index, const std::string& why, const std::vector<Bucket>& expected,
                                   const AxisBounds& bounds) {
    Damage damage;
    damage.level = level;
    damage.chunk = index;
    damage.what = why;
    damage.isMended = m_repair;
    if (m_repair) {
        m_db.run("INSERT INTO damaged(kind, attempt_id, series, level, idx, points, noted_us, text, body) "
                 "SELECT 'derived', ?, series, level, idx, 0, ?, ?, body FROM chunks WHERE series=? AND level=? AND idx=?",
                 m_attemptId, ipc::nowUs(), why, m_series, level, index);
        const std::string body = encodeBuckets(expected, level);
        m_db.run("INSERT OR REPLACE INTO chunks(series, level, idx, step_lo, step_hi, tokens_lo, tokens_hi, wall_lo, wall_hi, body) "
                 "VALUES(?,?,?,?,?,?,?,?,?,?)",
                 m_series, level, index, bounds.lo[0], bounds.hi[0], bounds.lo[1], bounds.hi[1], bounds.lo[2], bounds.hi[2], Blob{body});
    }
    m_tell(std::move(damage));
}

} // namespace telehelm::store
