// SPDX-License-Identifier: Apache-2.0
#include "store/series_state.h"

namespace telehelm::store {

void SeriesState::append(std::span<const ipc::Point> added, std::vector<ChunkOut>& out) {
    if (added.empty())
        return;
    if (points == 0)
        firstStep = added.front().step;
    lastStep = added.back().step;
    latest = added.back().value;
    dirty = true;
    for (const ipc::Point& point : added) {
        open.push_back(point);
        if (++points % kFan == 0)
            fold(1);
        if (open.size() == kPointsPerChunk)
            flush(out);
    }
}

// The last 16 items of the level below make one more bucket, and so on upwards.
void SeriesState::fold(std::size_t level) {
    if (levels.size() <= level)
        levels.resize(level + 1);
    Level& here = levels[level];
    here.open.push_back(level == 1 ? summarise(std::span(open).last(kFan)) : summarise(std::span(levels[level - 1].open).last(kFan)));
    if ((here.stored + here.open.size()) % kFan == 0 && level < static_cast<std::size_t>(kMaxLevel))
        fold(level + 1);
}

// A raw chunk and a chunk of level 1 hold the same points; 16 chunks of a level are one of the next.
void SeriesState::flush(std::vector<ChunkOut>& out) {
    AxisBounds bounds;
    for (const ipc::Point& point : open)
        bounds.include(point);
    out.push_back({id, 0, levels[0].stored / kPointsPerChunk, bounds, encodePoints(open)});
    levels[0].stored += open.size();
    open.clear();
    for (std::size_t level = 1; level < levels.size(); ++level) {
        Level& here = levels[level];
        here.openBounds.include(bounds);
        if (here.open.size() < kBucketsPerChunk)
            return;
        bounds = here.openBounds;
        out.push_back({id, static_cast<int>(level), here.stored / kBucketsPerChunk, bounds, encodeBuckets(here.open)});
        here.stored += here.open.size();
        here.open.clear();
        here.openBounds = {};
    }
}

} // namespace telehelm::store
