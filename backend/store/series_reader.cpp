// SPDX-License-Identifier: Apache-2.0
#include "store/series_reader.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <utility>

#include "store/byte_stream.h"
#include "store/side_by_side.h"

namespace telehelm::store {
namespace {

using ipc::Axis;
using ipc::Bucket;
using ipc::Point;

constexpr std::uint64_t kTail = ~std::uint64_t{0}; // in place of a raw chunk's index
constexpr std::uint64_t kDecodedAtOnce = 128;      // raw chunks whose values are decoded side by side: some 3 MB

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

SeriesReader::SeriesReader(Database& db, SeriesView view)
    : m_db(db), m_view(std::move(view)), m_rawChunks(m_view.openFrom / kPointsPerChunk) {
    if (m_view.openFrom % kPointsPerChunk != 0)
        fetchTail();
}

// What the last fold left open stands before what has come since.
void SeriesReader::fetchTail() {
    const std::uint64_t edge = m_rawChunks * kPointsPerChunk;
    try {
        Rows rows = m_db.query("SELECT from_point, body FROM tail_open WHERE series=?", m_view.id);
        if (!rows.next())
            throw DamagedBlob("missing");
        std::vector<Point> tail = decodePoints(rows.blob(1));
        if (static_cast<std::uint64_t>(rows.integer(0)) != edge || edge + tail.size() != m_view.openFrom)
            throw DamagedBlob("does not fit the series");
        tail.insert(tail.end(), m_view.open.begin(), m_view.open.end());
        m_view.open = std::move(tail);
        m_view.openFrom = edge;
    } catch (const DamagedBlob& damage) {
        m_tailDamage = damage.what();
    } catch (const SqlError& error) {
        if (!error.isDamage())
            throw;
        m_tailDamage = error.what();
    }
}

std::string SeriesReader::chunk(int level, std::uint64_t index) {
    try {
        Rows rows = m_db.query("SELECT body FROM chunks WHERE series=? AND level=? AND idx=?", m_view.id, level, index);
        if (!rows.next())
            throw DamagedBlob("missing");
        return std::string(rows.blob(0));
    } catch (const SqlError& error) {
        if (!error.isDamage())
            throw;
        throw DamagedBlob(error.what());
    }
}

std::optional<std::vector<Point>> SeriesReader::pointChunk(std::uint64_t index) {
    try {
        std::vector<Point> points = decodePoints(chunk(0, index));
        if (points.size() != kPointsPerChunk)
            throw DamagedBlob("wrong length");
        return points;
    } catch (const DamagedBlob& damage) {
        note(index, damage.what());
        return std::nullopt;
    }
}

std::vector<std::vector<double>> SeriesReader::valueChunks(std::uint64_t first, std::uint64_t count) {
    std::vector<std::string> bodies(count), damages(count);
    for (std::uint64_t i = 0; i < count; ++i)
        try {
            bodies[i] = chunk(0, first + i);
        } catch (const DamagedBlob& damage) {
            damages[i] = damage.what();
        }
    std::vector<std::vector<double>> values(count);
    sideBySide(count, [&](std::size_t i) {
        if (!damages[i].empty())
            return;
        try {
            values[i] = decodeValues(bodies[i]);
            if (values[i].size() != kPointsPerChunk)
                throw DamagedBlob("wrong length");
        } catch (const DamagedBlob& damage) {
            values[i].clear();
            damages[i] = damage.what();
        }
    });
    for (std::uint64_t i = 0; i < count; ++i)
        if (!damages[i].empty())
            note(first + i, damages[i]);
    return values;
}

void SeriesReader::note(std::uint64_t index, const std::string& what) {
    if (!m_noted.insert(index).second)
        return;
    ipc::MissingPoints missing;
    missing.points = index == kTail ? m_view.openFrom % kPointsPerChunk : kPointsPerChunk;
    missing.firstStep = 0, missing.lastStep = -1;
    missing.what = index == kTail ? "open points: " + what : "level 0, chunk " + std::to_string(index) + ": " + what;
    if (index != kTail)
        try {
            Rows rows = m_db.query("SELECT step_lo, step_hi FROM chunks WHERE series=? AND level<=1 AND idx=? ORDER BY level LIMIT 1", m_view.id,
                                   index);
            if (rows.next()) {
                missing.firstStep = rows.integer(0);
                missing.lastStep = rows.integer(1);
            }
        } catch (const SqlError& error) {
            if (!error.isDamage())
                throw;
        }
    m_missing.push_back(std::move(missing));
}

std::vector<ipc::MissingPoints> SeriesReader::takeMissing() {
    m_noted.clear();
    return std::exchange(m_missing, {});
}

void SeriesReader::readPoints(std::uint64_t from, std::uint64_t to, const Take& take, const Hole& hole) {
    const std::uint64_t stored = m_rawChunks * kPointsPerChunk;
    while (from < std::min(to, stored)) {
        const std::uint64_t index = from / kPointsPerChunk, start = index * kPointsPerChunk;
        const std::uint64_t end = std::min(to, start + kPointsPerChunk);
        if (const auto decoded = pointChunk(index))
            take(from, std::span(*decoded).subspan(from - start, end - from));
        else if (hole)
            hole(from, end);
        from = end;
    }
    if (from < std::min(to, m_view.openFrom)) { // only when the tail is lost
        const std::uint64_t end = std::min(to, m_view.openFrom);
        note(kTail, m_tailDamage);
        if (hole)
            hole(from, end);
        from = end;
    }
    if (from < to)
        take(from, std::span(m_view.open).subspan(from - m_view.openFrom, to - from));
}

void SeriesReader::readValues(std::uint64_t from, std::uint64_t to, const TakeValues& take) {
    const std::uint64_t stored = std::min(to, m_rawChunks * kPointsPerChunk);
    while (from < stored) {
        const std::uint64_t first = from / kPointsPerChunk;
        const std::uint64_t end = std::min(first + kDecodedAtOnce, (stored + kPointsPerChunk - 1) / kPointsPerChunk);
        for (const std::vector<double>& values : valueChunks(first, end - first)) {
            const std::uint64_t start = from / kPointsPerChunk * kPointsPerChunk, stop = std::min(stored, start + kPointsPerChunk);
            if (!values.empty())
                take(from, std::span(values).subspan(from - start, stop - from));
            from = stop;
        }
    }
    std::vector<double> values;
    readPoints(from, to, [&](std::uint64_t at, std::span<const Point> points) { // the open end
        values.resize(points.size());
        std::ranges::transform(points, values.begin(), &Point::value);
        take(at, values);
    });
}

std::vector<Bucket> SeriesReader::fullBuckets(int level, std::uint64_t from, std::uint64_t to) {
    if (from >= to)
        return {};
    std::vector<Bucket> all(to - from); // count 0
    if (level == 0) {
        readPoints(from, to, [&](std::uint64_t at, std::span<const Point> points) {
            std::transform(points.begin(), points.end(), all.begin() + static_cast<std::ptrdiff_t>(at - from), bucketOf);
        });
        return all;
    }
    const std::uint64_t stored = std::clamp(chunksOfLevel(level, m_rawChunks) * kBucketsPerChunk, from, to);
    readStored(level, from, stored, std::span(all).first(stored - from));
    makeFromBelow(level, stored, std::span(all).subspan(stored - from));
    return all;
}

// What is damaged or missing at this level is made again from the level below.
void SeriesReader::readStored(int level, std::uint64_t from, std::uint64_t to, std::span<Bucket> out) {
    if (from >= to)
        return;
    std::uint64_t next = from / kBucketsPerChunk;
    const std::uint64_t end = (to + kBucketsPerChunk - 1) / kBucketsPerChunk;
    std::vector<std::uint64_t> bad;
    const auto decode = [&](std::uint64_t index, std::string_view body) {
        const std::uint64_t start = index * kBucketsPerChunk;
        if (start >= from && start + kBucketsPerChunk <= to)
            return decodeBuckets(body, level, out.subspan(start - from, kBucketsPerChunk));
        std::array<Bucket, kBucketsPerChunk> whole;
        decodeBuckets(body, level, whole);
        for (std::uint64_t i = std::max(from, start); i < std::min(to, start + kBucketsPerChunk); ++i)
            out[i - from] = whole[i - start];
    };
    try {
        Rows rows = m_db.query("SELECT idx, body FROM chunks WHERE series=? AND level=? AND idx>=? AND idx<? ORDER BY idx", m_view.id, level,
                               next, end);
        for (; next < end && rows.next(); ++next) {
            for (; next < static_cast<std::uint64_t>(rows.integer(0)); ++next)
                bad.push_back(next);
            try {
                decode(next, rows.blob(1));
            } catch (const DamagedBlob&) {
                bad.push_back(next);
            }
        }
    } catch (const SqlError& error) {
        if (!error.isDamage())
            throw;
    }
    for (; next < end; ++next)
        bad.push_back(next);
    for (const std::uint64_t index : bad) {
        const std::uint64_t lo = std::max(from, index * kBucketsPerChunk), hi = std::min(to, (index + 1) * kBucketsPerChunk);
        makeFromBelow(level, lo, out.subspan(lo - from, hi - lo));
    }
}

void SeriesReader::makeFromBelow(int level, std::uint64_t from, std::span<Bucket> out) {
    if (out.empty())
        return;
    const std::vector<Bucket> below = fullBuckets(level - 1, from * kFan, (from + out.size()) * kFan);
    for (std::size_t i = 0; i < out.size(); ++i)
        out[i] = summarise(std::span(below).subspan(i * kFan, kFan));
}

Bucket SeriesReader::aggregate(std::uint64_t from, std::uint64_t to) {
    assert(from < to);
    Bucket all; // count 0
    while (from < to) {
        int level = 0;
        while (level < kMaxLevel && from % pointsPerBucket(level + 1) == 0 && from + pointsPerBucket(level + 1) <= to)
            ++level;
        // As many as lie before the next edge of the level above, or before the end.
        const std::uint64_t size = pointsPerBucket(level);
        const std::uint64_t edge = (from / pointsPerBucket(level + 1) + 1) * pointsPerBucket(level + 1);
        const std::uint64_t end = from + (std::min(edge, to) - from) / size * size;
        for (const Bucket& part : fullBuckets(level, from / size, end / size))
            absorb(all, part);
        from = end;
    }
    return all;
}

std::optional<std::uint64_t> SeriesReader::findChunk(int level, std::uint64_t from, std::uint64_t to, std::size_t axis,
                                                     std::int64_t value, bool forward) {
    if (from >= to)
        return std::nullopt;
    try {
        Rows rows = m_db.query(kFindChunk[axis][forward ? 1 : 0], m_view.id, level, from, to, value);
        return rows.next() ? std::optional(static_cast<std::uint64_t>(rows.integer(0))) : std::nullopt;
    } catch (const SqlError& error) {
        if (!error.isDamage())
            throw;
        return forward ? from : to - 1; // bounds that cannot be read exclude nothing
    }
}

// Chunk c of level k covers chunks 16c … 16c+15 of level k−1 (level 1 and level 0: the same); what a level has
// beyond the level above is searched on its own.
std::optional<std::uint64_t> SeriesReader::findRawChunk(std::size_t axis, std::int64_t value, bool forward) {
    int top = 0;
    while (top < kMaxLevel && chunksOfLevel(top + 1, m_rawChunks) > 0)
        ++top;
    const auto fan = [](int level) { return level == 0 ? std::uint64_t{1} : kFan; }; // chunks of `level` in one of the next
    const auto descend = [&](int level, std::uint64_t hit) -> std::optional<std::uint64_t> {
        std::optional<std::uint64_t> found = hit;
        for (; level > 0 && found; --level)
            found = findChunk(level - 1, *found * fan(level - 1), (*found + 1) * fan(level - 1), axis, value, forward);
        return found;
    };
    for (int i = 0; i <= top; ++i) {
        const int level = forward ? top - i : i;
        const std::uint64_t covered = level == top ? 0 : chunksOfLevel(level + 1, m_rawChunks) * fan(level);
        if (auto hit = findChunk(level, covered, chunksOfLevel(level, m_rawChunks), axis, value, forward))
            return descend(level, *hit);
    }
    return std::nullopt;
}

std::uint64_t SeriesReader::firstAtLeast(Axis axis, std::int64_t value) {
    const auto indexIn = [&](std::uint64_t start, std::span<const Point> points) {
        const auto found = std::find_if(points.begin(), points.end(), [&](const Point& point) { return along(axis, point) >= value; });
        return start + static_cast<std::uint64_t>(found - points.begin());
    };
    if (const auto index = findRawChunk(slot(axis), value, true)) {
        const auto points = pointChunk(*index); // where it cannot be read, it may begin with the value
        return points ? indexIn(*index * kPointsPerChunk, *points) : *index * kPointsPerChunk;
    }
    return m_tailDamage.empty() ? indexIn(m_view.openFrom, m_view.open) : m_rawChunks * kPointsPerChunk; // may begin in what is lost
}

std::uint64_t SeriesReader::endAtMost(Axis axis, std::int64_t value) {
    const auto endIn = [&](std::uint64_t start, std::span<const Point> points) -> std::optional<std::uint64_t> {
        const auto found = std::find_if(points.rbegin(), points.rend(), [&](const Point& point) { return along(axis, point) <= value; });
        return found == points.rend() ? std::nullopt : std::optional(start + static_cast<std::uint64_t>(points.rend() - found));
    };
    if (const auto end = endIn(m_view.openFrom, m_view.open))
        return *end;
    if (!m_tailDamage.empty())
        return m_view.openFrom; // what is lost may hold it
    const auto index = findRawChunk(slot(axis), value, false);
    if (!index)
        return 0;
    const auto points = pointChunk(*index);
    return points ? endIn(*index * kPointsPerChunk, *points).value_or(*index * kPointsPerChunk) : (*index + 1) * kPointsPerChunk;
}

} // namespace telehelm::store
