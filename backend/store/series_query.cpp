// SPDX-License-Identifier: Apache-2.0
#include "store/series_query.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace telehelm::store {
namespace {

using ipc::Bucket;
using ipc::Point;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr std::uint32_t kFiner = 16;              // from pass to pass
constexpr std::uint32_t kMostEarlyBuckets = 1 << 15; // before a pass of raw points

} // namespace

std::vector<std::uint32_t> passesOf(const ipc::SeriesQuery& query) {
    std::vector<std::uint32_t> passes;
    // A pass that is not much coarser than the last one would only cost time.
    const std::uint64_t end = query.maxBuckets == 0 ? kMostEarlyBuckets : query.maxBuckets / 4;
    for (std::uint64_t buckets = query.firstBuckets; buckets > 0 && buckets <= end; buckets *= kFiner)
        passes.push_back(static_cast<std::uint32_t>(buckets));
    passes.push_back(query.maxBuckets);
    return passes;
}

SeriesQueryRunner::SeriesQueryRunner(Database& db, EmaCache& ema, Lineage lineage, const ipc::SeriesQuery& query, ipc::AttemptKey key)
    : m_ema(ema), m_lineage(std::move(lineage)), m_query(query), m_key(std::move(key)), m_views(db) {}

void SeriesQueryRunner::copyStates(const PointStore& points) {
    for (const Lineage::Node& node : m_lineage.nodes())
        m_views.copy(points, node.attempt.id, m_query.names);
}

bool SeriesQueryRunner::run(std::uint32_t maxBuckets, std::uint32_t pass, bool isLastPass, const Sink& sink) {
    std::vector<std::int64_t> attempts;
    for (const Lineage::Node& node : m_lineage.nodes())
        if (wants(node))
            attempts.push_back(node.attempt.id);
    std::string after;
    for (;;) {
        const std::vector<std::string> names = m_views.names(attempts, m_query.names, after);
        if (names.empty())
            return true;
        for (const std::string& name : names) {
            const std::vector<Piece> all = pieces(name);
            const Resolution resolution = chooseResolution(all, maxBuckets);
            for (const Piece& piece : all) {
                ipc::SeriesSegment made = segment(name, piece, resolution, isLastPass);
                made.pass = pass;
                made.isLastPass = isLastPass;
                if ((!made.buckets.empty() || !made.missing.empty()) && !sink(std::move(made)))
                    return false;
            }
            m_views.forgetReaders();
        }
        after = names.back();
    }
}

bool SeriesQueryRunner::wants(const Lineage::Node& node) const {
    return m_key.attempt == 0 ? node.isEffective || m_query.includeSuperseded : m_key.attempt == node.key().attempt;
}

// Cuts each attempt where the effective curve leaves it.
std::vector<SeriesQueryRunner::Piece> SeriesQueryRunner::pieces(const std::string& name) {
    std::vector<Piece> all;
    for (const Lineage::Node& node : m_lineage.nodes()) {
        SeriesReader* points = wants(node) ? reader(name, node) : nullptr;
        if (!points)
            continue;
        std::uint64_t cut = 0;
        if (node.isEffective)
            cut = node.lastEffective == std::numeric_limits<std::int64_t>::max()
                      ? points->size()
                      : points->firstAtLeast(ipc::Axis::Step, node.lastEffective + 1);
        const std::uint64_t from = points->firstAtLeast(m_query.axis, m_query.from);
        const std::uint64_t to = points->endAtMost(m_query.axis, m_query.to);
        const auto add = [&](std::uint64_t begin, std::uint64_t end, bool superseded) {
            if (std::max(begin, from) < std::min(end, to))
                all.push_back({&node, begin, end, std::max(begin, from), std::min(end, to), superseded});
        };
        add(0, cut, false);
        if (m_query.includeSuperseded || m_key.attempt != 0)
            add(cut, points->size(), true);
    }
    return all;
}

// The coarsest one with at least maxBuckets buckets in the range, over all pieces together: at most about twice as many. Raw
// points when they are too few.
SeriesQueryRunner::Resolution SeriesQueryRunner::chooseResolution(const std::vector<Piece>& pieces, std::uint32_t maxBuckets) {
    if (maxBuckets == 0)
        return {};
    for (int level = kMaxLevel; level >= 0; --level)
        for (const std::uint64_t group : {8u, 4u, 2u, 1u}) {
            const Resolution resolution{level, group};
            const std::uint64_t size = resolution.points();
            std::uint64_t buckets = 0;
            for (const Piece& piece : pieces)
                buckets += (piece.rangeTo - 1) / size - piece.rangeFrom / size + 1;
            if (buckets >= maxBuckets)
                return resolution;
        }
    return {};
}

ipc::SeriesSegment SeriesQueryRunner::segment(const std::string& name, const Piece& piece, Resolution resolution, bool isLastPass) {
    SeriesReader& points = *reader(name, *piece.node);
    ipc::SeriesSegment made;
    made.key = piece.node->key();
    made.name = name;
    made.superseded = piece.superseded;
    made.level = static_cast<std::uint32_t>(resolution.level) + (resolution.group > 1 ? 1 : 0);
    (void)points.takeMissing(); // what only the search for the range met
    Answer answer = resolution.isRaw() ? rawBuckets(points, piece) : mergedBuckets(points, piece, resolution);
    made.buckets = std::move(answer.buckets);
    made.missing = points.takeMissing();
    smooth(points, piece, answer.ends, !isLastPass, made);
    return made;
}

// Raw points that cannot be read are told as the buckets of 16 that summarise them.
SeriesQueryRunner::Answer SeriesQueryRunner::rawBuckets(SeriesReader& reader, const Piece& piece) const {
    Answer answer;
    const auto isInside = [&](std::int64_t lo, std::int64_t hi) { return hi >= m_query.from && lo <= m_query.to; };
    const auto take = [&](std::uint64_t at, std::span<const Point> points) {
        for (const Point& point : points) {
            ++at;
            const std::int64_t place = along(m_query.axis, point);
            if (!isInside(place, place)) // a step that goes backwards
                continue;
            answer.buckets.push_back(bucketOf(point));
            answer.ends.push_back(at);
        }
    };
    const auto hole = [&](std::uint64_t from, std::uint64_t to) {
        std::uint64_t index = (from + kFan - 1) / kFan;
        for (const Bucket& bucket : reader.fullBuckets(1, index, std::max(index, to / kFan))) {
            ++index;
            const Bucket &b = bucket;
            const auto [lo, hi] = m_query.axis == ipc::Axis::Step     ? std::minmax(b.firstStep, b.lastStep)
                                  : m_query.axis == ipc::Axis::Tokens ? std::minmax(b.firstTokens, b.lastTokens)
                                                                      : std::minmax(b.firstWallUs, b.lastWallUs);
            if (b.count == 0 || !isInside(lo, hi))
                continue;
            answer.buckets.push_back(b);
            answer.ends.push_back(index * kFan);
        }
    };
    reader.readPoints(piece.rangeFrom, piece.rangeTo, take, hole);
    return answer;
}

// Whole aligned buckets; only at a cut of the lineage and at the live end is a bucket partial.
SeriesQueryRunner::Answer SeriesQueryRunner::mergedBuckets(SeriesReader& reader, const Piece& piece, Resolution resolution) {
    const std::uint64_t size = resolution.points(), group = resolution.group;
    const std::uint64_t first = piece.rangeFrom / size, end = (piece.rangeTo + size - 1) / size;
    const std::uint64_t fullFrom = std::max(first, (piece.from + size - 1) / size), fullTo = std::min(end, piece.to / size);
    Answer answer;
    const auto add = [&](const Bucket& bucket, std::uint64_t to) {
        if (bucket.count == 0) // lost
            return;
        answer.buckets.push_back(bucket);
        answer.ends.push_back(to);
    };
    const auto addPart = [&](std::uint64_t index) {
        const std::uint64_t to = std::min((index + 1) * size, piece.to);
        add(reader.aggregate(std::max(index * size, piece.from), to), to);
    };
    if (first < fullFrom)
        addPart(first);
    if (fullFrom < fullTo) {
        const std::vector<Bucket> items = reader.fullBuckets(resolution.level, fullFrom * group, fullTo * group);
        answer.buckets.reserve(fullTo - fullFrom + 2);
        answer.ends.reserve(fullTo - fullFrom + 2);
        for (std::uint64_t index = fullFrom; index < fullTo; ++index)
            add(summarise(std::span(items).subspan((index - fullFrom) * group, group)), (index + 1) * size);
    }
    if (fullTo < end && end - 1 >= fullFrom)
        addPart(end - 1);
    return answer;
}

void SeriesQueryRunner::smooth(SeriesReader& reader, const Piece& piece, const std::vector<std::uint64_t>& ends, bool onlyIfKnown,
                               ipc::SeriesSegment& segment) {
    const double weight = m_query.smoothing;
    if (ends.empty())
        return;
    if (weight <= 0) {
        for (Bucket& bucket : segment.buckets) {
            bucket.smoothed = std::isfinite(bucket.last) ? bucket.last : kNaN;
            if (std::isfinite(bucket.last))
                segment.ema = {bucket.last, segment.ema.n + bucket.count - bucket.nonFinite};
        }
        return;
    }
    // The first time costs a pass over all points: a coarse answer does not wait for it.
    if (onlyIfKnown && !m_ema.isNearlyKnown(reader, weight)) {
        for (Bucket& bucket : segment.buckets)
            bucket.smoothed = kNaN;
        return;
    }
    const std::vector<ipc::EmaState> states = m_ema.at(reader, weight, initialEma(segment.name, *piece.node), ends);
    for (std::size_t i = 0; i < ends.size(); ++i)
        segment.buckets[i].smoothed = shown(states[i], weight);
    segment.ema = states.back();
}

// A child goes on where its parent's curve stood at the fork.
ipc::EmaState SeriesQueryRunner::initialEma(const std::string& name, const Lineage::Node& node) {
    const Lineage::Node* parent = m_lineage.parentOf(node);
    if (!parent)
        return {};
    const ipc::EmaState before = initialEma(name, *parent);
    SeriesReader* points = reader(name, *parent);
    if (!points)
        return before;
    const std::uint64_t cut = points->firstAtLeast(ipc::Axis::Step, node.attempt.info.forkStep + 1);
    return m_ema.at(*points, m_query.smoothing, before, std::span(&cut, 1)).front();
}

} // namespace telehelm::store
