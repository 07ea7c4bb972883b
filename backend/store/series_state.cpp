// SPDX-License-Identifier: Apache-2.0
#include "store/series_state.h"

#include <cassert>

namespace telehelm::store {

void SeriesState::append(std::span<const ipc::Point> added) {
    if (added.empty())
        return;
    if (points == 0)
        firstStep = added.front().step;
    lastStep = added.back().step;
    latest = added.back().value;
    open.insert(open.end(), added.begin(), added.end());
    points += added.size();
    isDirty = isTouched = true;
}

void SeriesState::cut(std::vector<ChunkOut>& out) {
    assert(isWhole && hasLevels);
    std::size_t at = 0;
    for (; open.size() - at >= kPointsPerChunk; at += kPointsPerChunk) {
        cutOne(std::span(open).subspan(at, kPointsPerChunk), out);
        openFrom += kPointsPerChunk;
    }
    open = std::vector<ipc::Point>(open.begin() + static_cast<std::ptrdiff_t>(at), open.end()); // gives the room back
}

// A raw chunk and a chunk of level 1 hold the same points; 16 chunks of a level are one of the next.
void SeriesState::cutOne(std::span<const ipc::Point> chunk, std::vector<ChunkOut>& out) {
    AxisBounds bounds;
    for (const ipc::Point& point : chunk)
        bounds.include(point);
    const std::uint64_t index = openFrom / kPointsPerChunk;
    out.push_back({id, 0, index, bounds, encodePoints(chunk)});
    std::array<ipc::Bucket, kBucketsPerChunk> first;
    for (std::size_t i = 0; i < first.size(); ++i)
        first[i] = summarise(chunk.subspan(i * kFan, kFan));
    out.push_back({id, 1, index, bounds, encodeBuckets(first, 1)});
    for (std::size_t i = 0; i < first.size(); i += kFan)
        add(0, summarise(std::span<const ipc::Bucket>(first).subspan(i, kFan)));
    for (std::size_t slot = 0; slot < levels.size(); ++slot) {
        Level& here = levels[slot];
        here.openBounds.include(bounds);
        if (here.open.size() < kBucketsPerChunk)
            return;
        bounds = here.openBounds;
        const int level = static_cast<int>(slot) + 2;
        out.push_back({id, level, chunksOfLevel(level, index + 1) - 1, bounds, encodeBuckets(here.open, level)});
        here.open.clear();
        here.openBounds = {};
    }
}

// Every 16 buckets make one more of the level above.
void SeriesState::add(std::size_t slot, const ipc::Bucket& bucket) {
    if (levels.size() <= slot)
        levels.resize(slot + 1);
    std::vector<ipc::Bucket>& here = levels[slot].open;
    here.push_back(bucket);
    if (here.size() % kFan == 0 && slot + 2 < static_cast<std::size_t>(kMaxLevel)) {
        const ipc::Bucket above = summarise(std::span<const ipc::Bucket>(here).last(kFan));
        add(slot + 1, above);
    }
}

void SeriesState::unload() {
    assert(!isDirty);
    std::vector<ipc::Point>().swap(open);
    std::vector<Level>().swap(levels);
    openFrom = points;
    isWhole = points % kPointsPerChunk == 0;
    hasLevels = points == 0;
}

} // namespace telehelm::store
