// SPDX-License-Identifier: Apache-2.0
#include "store/series_reader.h"

#include <algorithm>
#include <cassert>

#include "store/byte_stream.h"

namespace telehelm::store {
namespace {

using ipc::Axis;
using ipc::Bucket;
using ipc::Point;

std::size_t slot(Axis axis) { return axis == Axis::Step ? 0 : axis == Axis::Tokens ? 1 : 2; }

// Indexed by [axis][forward].
constexpr const char* kFindChunk[3][2] = {
    {"SELECT idx FROM chunks WHERE series=? AND level=? AND idx>=? AND idx<? AND step_lo<=? ORDER BY idx DESC LIMIT 1",
     "SELECT idx FROM chunks WHERE series=? AND level=? AND idx>=? AND idx<? AND step_hi>=? ORDER BY idx LIMIT 1"},
    {"SELECT idx FROM chunks WHERE series=? AND level=? AND idx>=? AND idx<? AND tokens_lo<=? ORDER BY idx DESC LIMIT 1",
     "SELECT idx FROM chunks WHERE series=? AND level=? AND idx>=? AND idx<? AND tokens_hi>=? ORDER BY idx LIMIT 1"},
    {"SELECT idx FROM chunks WHERE series=? AND level=? AND idx>=? AND idx<? AND wall_lo<=? ORDER BY idx DESC LIMIT 1",
     "SELECT idx FROM chunks WHERE series=? AND level=? AND idx>=? AND idx<? AND wall_hi>=? ORDER BY idx LIMIT 1"}};

} // namespace

std::int64_t along(Axis axis, const Point& point) {
    return axis == Axis::Step ? point.step : axis == Axis::Tokens ? point.tokens : point.wallUs;
}

std::uint64_t SeriesReader::storedChunks(std::size_t level) const {
    return level < m_state.levels.size() ? m_state.levels[level].stored / itemsPerChunk(static_cast<int>(level)) : 0;
}

std::string SeriesReader::chunk(int level, std::uint64_t index) {
    Rows rows = m_db.query("SELECT body FROM chunks WHERE series=? AND level=? AND idx=?", m_state.id, level, index);
    if (!rows.next())
        throw DamagedBlob("series “" + m_state.name + "”, level " + std::to_string(level) + ", chunk " + std::to_string(index) +
                          ": missing");
    return std::string(rows.blob(0));
}

std::vector<Point> SeriesReader::pointChunk(std::uint64_t index) {
    const std::string body = chunk(0, index);
    try {
        return decodePoints(body);
    } catch (const DamagedBlob& damage) {
        throw DamagedBlob("series “" + m_state.name + "”, level 0, chunk " + std::to_string(index) + ": " + damage.what());
    }
}

void SeriesReader::readPoints(std::uint64_t from, std::uint64_t to, const std::function<void(std::span<const Point>)>& take) {
    const std::uint64_t stored = m_state.levels[0].stored;
    while (from < std::min(to, stored)) {
        const std::uint64_t start = from / kPointsPerChunk * kPointsPerChunk;
        const std::vector<Point> decoded = pointChunk(from / kPointsPerChunk);
        if (decoded.size() != kPointsPerChunk)
            throw DamagedBlob("series “" + m_state.name + "”: a chunk has the wrong length");
        const std::uint64_t end = std::min(to, start + kPointsPerChunk);
        take(std::span(decoded).subspan(from - start, end - from));
        from = end;
    }
    if (from < to)
        take(std::span(m_state.open).subspan(from - stored, to - from));
}

std::vector<Point> SeriesReader::points(std::uint64_t from, std::uint64_t to) {
    std::vector<Point> all;
    all.reserve(to - from);
    readPoints(from, to, [&](std::span<const Point> part) { all.insert(all.end(), part.begin(), part.end()); });
    return all;
}

std::vector<Bucket> SeriesReader::fullBuckets(int level, std::uint64_t from, std::uint64_t to) {
    std::vector<Bucket> all;
    if (from >= to)
        return all;
    all.reserve(to - from);
    const SeriesState::Level& state = m_state.levels.at(static_cast<std::size_t>(level));
    Rows rows = m_db.query("SELECT idx, body FROM chunks WHERE series=? AND level=? AND idx>=? AND idx<? ORDER BY idx", m_state.id,
                           level, from / kBucketsPerChunk,
                           (std::min(to, state.stored) + kBucketsPerChunk - 1) / kBucketsPerChunk);
    while (from < std::min(to, state.stored)) {
        const std::uint64_t index = from / kBucketsPerChunk;
        if (!rows.next() || static_cast<std::uint64_t>(rows.integer(0)) != index)
            throw DamagedBlob("series “" + m_state.name + "”, level " + std::to_string(level) + ", chunk " +
                              std::to_string(index) + ": missing");
        const std::vector<Bucket> decoded = decodeBuckets(rows.blob(1), level);
        if (decoded.size() != kBucketsPerChunk)
            throw DamagedBlob("series “" + m_state.name + "”: a chunk has the wrong length");
        const std::uint64_t start = index * kBucketsPerChunk, end = std::min(to, start + kBucketsPerChunk);
        all.insert(all.end(), decoded.begin() + static_cast<std::ptrdiff_t>(from - start),
                   decoded.begin() + static_cast<std::ptrdiff_t>(end - start));
        from = end;
    }
    for (; from < to; ++from)
        all.push_back(state.open.at(from - state.stored));
    return all;
}

Bucket SeriesReader::aggregate(std::uint64_t from, std::uint64_t to) {
    assert(from < to);
    std::optional<Bucket> all;
    while (from < to) {
        int level = 0;
        while (level < kMaxLevel && from % pointsPerBucket(level + 1) == 0 && from + pointsPerBucket(level + 1) <= to)
            ++level;
        // As many as lie before the next edge of the level above, or before the end.
        const std::uint64_t size = pointsPerBucket(level);
        const std::uint64_t edge = (from / pointsPerBucket(level + 1) + 1) * pointsPerBucket(level + 1);
        const std::uint64_t end = from + (std::min(edge, to) - from) / size * size;
        const Bucket part = level == 0 ? summarise(points(from, end)) : summarise(fullBuckets(level, from / size, end / size));
        if (all)
            absorb(*all, part);
        else
            all = part;
        from = end;
    }
    return *all;
}

std::optional<std::uint64_t> SeriesReader::findChunk(int level, std::uint64_t from, std::uint64_t to, std::size_t axis,
                                                     std::int64_t value, bool forward) {
    if (from >= to)
        return std::nullopt;
    Rows rows = m_db.query(kFindChunk[axis][forward ? 1 : 0], m_state.id, level, from, to, value);
    return rows.next() ? std::optional(static_cast<std::uint64_t>(rows.integer(0))) : std::nullopt;
}

// Chunk c of level k covers chunks 16c … 16c+15 of level k−1 (level 1 and level 0: the same); what a level has
// beyond the level above is searched on its own.
std::optional<std::uint64_t> SeriesReader::findRawChunk(std::size_t axis, std::int64_t value, bool forward) {
    const int top = static_cast<int>(m_state.levels.size()) - 1;
    const auto fan = [](int level) { return level == 0 ? std::uint64_t{1} : kFan; }; // chunks of `level` in one of the next
    const auto descend = [&](int level, std::uint64_t hit) -> std::optional<std::uint64_t> {
        std::optional<std::uint64_t> found = hit;
        for (; level > 0 && found; --level)
            found = findChunk(level - 1, *found * fan(level - 1), (*found + 1) * fan(level - 1), axis, value, forward);
        return found;
    };
    for (int i = 0; i <= top; ++i) {
        const int level = forward ? top - i : i;
        const std::uint64_t covered = level == top ? 0 : storedChunks(static_cast<std::size_t>(level) + 1) * fan(level);
        if (auto hit = findChunk(level, covered, storedChunks(static_cast<std::size_t>(level)), axis, value, forward))
            return descend(level, *hit);
    }
    return std::nullopt;
}

std::uint64_t SeriesReader::firstAtLeast(Axis axis, std::int64_t value) {
    const auto isMatch = [&](const Point& point) { return along(axis, point) >= value; };
    std::uint64_t start = m_state.levels[0].stored;
    std::vector<Point> decoded;
    std::span<const Point> searched = m_state.open;
    if (const auto index = findRawChunk(slot(axis), value, true)) {
        start = *index * kPointsPerChunk;
        decoded = pointChunk(*index);
        searched = decoded;
    }
    return start + static_cast<std::uint64_t>(std::find_if(searched.begin(), searched.end(), isMatch) - searched.begin());
}

std::uint64_t SeriesReader::endAtMost(Axis axis, std::int64_t value) {
    const auto isMatch = [&](const Point& point) { return along(axis, point) <= value; };
    const auto fromEnd = std::find_if(m_state.open.rbegin(), m_state.open.rend(), isMatch);
    if (fromEnd != m_state.open.rend())
        return m_state.points - static_cast<std::uint64_t>(fromEnd - m_state.open.rbegin());
    const auto index = findRawChunk(slot(axis), value, false);
    if (!index)
        return 0;
    const std::vector<Point> decoded = pointChunk(*index);
    const auto at = std::find_if(decoded.rbegin(), decoded.rend(), isMatch);
    return (*index + 1) * kPointsPerChunk - static_cast<std::uint64_t>(at - decoded.rbegin());
}

} // namespace telehelm::store
