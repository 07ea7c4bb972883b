// SPDX-License-Identifier: Apache-2.0
#include "store/series_query.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fnmatch.h>

namespace telehelm::store {
namespace {

using ipc::Bucket;
using ipc::Point;

bool hasGlob(const std::string& name) { return name.find_first_of("*?") != std::string::npos; }

} // namespace

bool matches(const std::string& glob, const std::string& name) {
    return fnmatch(glob.c_str(), name.c_str(), FNM_NOESCAPE) == 0;
}

Lineage::Lineage(std::vector<AttemptRow> attempts) {
    for (const AttemptRow& row : attempts)
        m_nodes.push_back({row.id, row.info.key, row.info.parent, row.info.forkStep, false, 0});
    std::int64_t last = std::numeric_limits<std::int64_t>::max();
    for (Node* node = m_nodes.empty() ? nullptr : &m_nodes.back(); node;) {
        node->effective = true;
        node->lastEffective = last;
        last = std::min(last, node->forkStep);
        node = node->parent == 0 || node->parent >= node->key.attempt ? nullptr : const_cast<Node*>(find(node->parent));
    }
}

const Lineage::Node* Lineage::find(std::uint32_t attempt) const {
    for (const Node& node : m_nodes)
        if (node.key.attempt == attempt)
            return &node;
    return nullptr;
}

SeriesQueryRunner::SeriesQueryRunner(Database& db, EmaCache& ema, const Lineage& lineage, const ipc::SeriesQuery& query)
    : m_db(db), m_ema(ema), m_lineage(lineage), m_query(query) {}

void SeriesQueryRunner::copyStates(const PointStore& points) {
    for (const Lineage::Node& node : m_lineage.nodes()) {
        const auto& known = points.series(node.attemptId);
        for (const std::string& name : m_query.names) {
            if (!hasGlob(name)) {
                if (const auto found = known.find(name); found != known.end())
                    m_readers[name].try_emplace(node.key.attempt, m_db, *found->second);
                continue;
            }
            for (const auto& [known, state] : known)
                if (matches(name, known))
                    m_readers[known].try_emplace(node.key.attempt, m_db, *state);
        }
    }
}

void SeriesQueryRunner::run(const std::function<bool(ipc::SeriesSegment&&)>& sink) {
    for (const auto& [name, readers] : m_readers)
        if (!runSeries(name, sink))
            return;
}

bool SeriesQueryRunner::runSeries(const std::string& name, const std::function<bool(ipc::SeriesSegment&&)>& sink) {
    const std::vector<Piece> all = pieces(name);
    const Resolution resolution = chooseResolution(all);
    for (const Piece& piece : all) {
        ipc::SeriesSegment made = segment(name, piece, resolution);
        if (!made.buckets.empty() && !sink(std::move(made)))
            return false;
    }
    return true;
}

SeriesReader* SeriesQueryRunner::reader(const std::string& name, std::uint32_t attempt) {
    auto& readers = m_readers.at(name);
    const auto found = readers.find(attempt);
    return found == readers.end() ? nullptr : &found->second;
}

bool SeriesQueryRunner::wants(const Lineage::Node& node) const {
    return m_query.key.attempt == 0 ? node.effective || m_query.includeSuperseded : m_query.key.attempt == node.key.attempt;
}

// Cuts each attempt where the effective curve leaves it.
std::vector<SeriesQueryRunner::Piece> SeriesQueryRunner::pieces(const std::string& name) {
    std::vector<Piece> all;
    for (const Lineage::Node& node : m_lineage.nodes()) {
        SeriesReader* points = reader(name, node.key.attempt);
        if (!points || !wants(node))
            continue;
        std::uint64_t cut = 0;
        if (node.effective)
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
        if (m_query.includeSuperseded || m_query.key.attempt != 0)
            add(cut, points->size(), true);
    }
    return all;
}

// The coarsest one with at least maxBuckets buckets in the range, over all pieces together: at most about twice as many. Raw
// points when they are too few.
SeriesQueryRunner::Resolution SeriesQueryRunner::chooseResolution(const std::vector<Piece>& pieces) const {
    if (m_query.maxBuckets == 0)
        return {};
    for (int level = kMaxLevel; level >= 0; --level)
        for (const std::uint64_t group : {8u, 4u, 2u, 1u}) {
            const Resolution resolution{level, group};
            const std::uint64_t size = resolution.points();
            std::uint64_t buckets = 0;
            for (const Piece& piece : pieces)
                buckets += (piece.rangeTo - 1) / size - piece.rangeFrom / size + 1;
            if (buckets >= m_query.maxBuckets)
                return resolution;
        }
    return {};
}

ipc::SeriesSegment SeriesQueryRunner::segment(const std::string& name, const Piece& piece, Resolution resolution) {
    SeriesReader& points = *reader(name, piece.node->key.attempt);
    ipc::SeriesSegment made;
    made.key = piece.node->key;
    made.name = name;
    made.superseded = piece.superseded;
    made.level = static_cast<std::uint32_t>(resolution.level) + (resolution.group > 1 ? 1 : 0);
    std::vector<std::uint64_t> ends; // per bucket: one past its last point
    made.buckets = resolution.isRaw() ? rawBuckets(points, piece, ends) : mergedBuckets(points, piece, resolution, ends);
    smooth(points, piece, ends, made);
    return made;
}

std::vector<Bucket> SeriesQueryRunner::rawBuckets(SeriesReader& reader, const Piece& piece, std::vector<std::uint64_t>& ends) const {
    std::vector<Bucket> buckets;
    std::uint64_t at = piece.rangeFrom;
    for (const Point& point : reader.points(piece.rangeFrom, piece.rangeTo)) {
        ++at;
        const std::int64_t place = along(m_query.axis, point);
        if (place < m_query.from || place > m_query.to) // a step that goes backwards
            continue;
        buckets.push_back(bucketOf(point));
        ends.push_back(at);
    }
    return buckets;
}

// Whole aligned buckets; only at a cut of the lineage and at the live end is a bucket partial.
std::vector<Bucket> SeriesQueryRunner::mergedBuckets(SeriesReader& reader, const Piece& piece, Resolution resolution,
                                                     std::vector<std::uint64_t>& ends) const {
    const std::uint64_t size = resolution.points(), group = resolution.group;
    const std::uint64_t first = piece.rangeFrom / size, end = (piece.rangeTo + size - 1) / size;
    const std::uint64_t fullFrom = std::max(first, (piece.from + size - 1) / size), fullTo = std::min(end, piece.to / size);
    std::vector<Bucket> buckets;
    const auto addPart = [&](std::uint64_t index) {
        const std::uint64_t from = std::max(index * size, piece.from), to = std::min((index + 1) * size, piece.to);
        buckets.push_back(reader.aggregate(from, to));
        ends.push_back(to);
    };
    const auto addGroups = [&](const auto& items) {
        for (std::size_t at = 0; at < items.size(); at += group)
            buckets.push_back(summarise(std::span(items).subspan(at, group)));
    };
    if (first < fullFrom)
        addPart(first);
    if (fullFrom < fullTo) {
        if (resolution.level == 0)
            addGroups(reader.points(fullFrom * group, fullTo * group));
        else
            addGroups(reader.fullBuckets(resolution.level, fullFrom * group, fullTo * group));
        for (std::uint64_t index = fullFrom; index < fullTo; ++index)
            ends.push_back((index + 1) * size);
    }
    if (fullTo < end && end - 1 >= fullFrom)
        addPart(end - 1);
    return buckets;
}

void SeriesQueryRunner::smooth(SeriesReader& reader, const Piece& piece, const std::vector<std::uint64_t>& ends,
                               ipc::SeriesSegment& segment) {
    if (ends.empty())
        return;
    const double weight = m_query.smoothing;
    if (weight <= 0) {
        for (Bucket& bucket : segment.buckets) {
            bucket.smoothed = std::isfinite(bucket.last) ? bucket.last : std::numeric_limits<double>::quiet_NaN();
            if (std::isfinite(bucket.last))
                segment.ema = {bucket.last, segment.ema.n + bucket.count - bucket.nonFinite};
        }
        return;
    }
    const std::vector<ipc::EmaState> states = m_ema.at(reader, weight, initialEma(segment.name, *piece.node), ends);
    for (std::size_t i = 0; i < ends.size(); ++i)
        segment.buckets[i].smoothed = shown(states[i], weight);
    segment.ema = states.back();
}

// A child goes on where its parent's curve stood at the fork.
ipc::EmaState SeriesQueryRunner::initialEma(const std::string& name, const Lineage::Node& node) {
    const Lineage::Node* parent = node.parent == 0 || node.parent >= node.key.attempt ? nullptr : m_lineage.find(node.parent);
    if (!parent)
        return {};
    const ipc::EmaState before = initialEma(name, *parent);
    SeriesReader* points = reader(name, parent->key.attempt);
    if (!points)
        return before;
    const std::uint64_t cut = points->firstAtLeast(ipc::Axis::Step, node.forkStep + 1);
    return m_ema.at(*points, m_query.smoothing, before, std::span(&cut, 1)).front();
}

} // namespace telehelm::store
