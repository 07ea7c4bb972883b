// SPDX-License-Identifier: Apache-2.0
// The open end of a series that receives points: what does not fill a chunk yet, at every level of the pyramid.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "store/chunk_codec.h"
#include "telehelm/ipc/types.h"

namespace telehelm::store {

/// Smallest and largest step, tokens and wall time of a stretch, whatever order its points came in.
struct AxisBounds {
    std::array<std::int64_t, 3> lo, hi;
    AxisBounds() {
        lo.fill(std::numeric_limits<std::int64_t>::max());
        hi.fill(std::numeric_limits<std::int64_t>::min());
    }
    void include(const AxisBounds& other) {
        for (std::size_t axis = 0; axis < 3; ++axis) {
            lo[axis] = std::min(lo[axis], other.lo[axis]);
            hi[axis] = std::max(hi[axis], other.hi[axis]);
        }
    }
    void include(const ipc::Point& point) {
        const std::array<std::int64_t, 3> at = {point.step, point.tokens, point.wallUs};
        for (std::size_t axis = 0; axis < 3; ++axis) {
            lo[axis] = std::min(lo[axis], at[axis]);
            hi[axis] = std::max(hi[axis], at[axis]);
        }
    }
    bool operator==(const AxisBounds&) const = default;
};

/// A full chunk on its way to the database.
struct ChunkOut {
    std::int64_t series = 0;
    int level = 0;
    std::uint64_t index = 0;
    AxisBounds bounds;
    std::string body;
};

/// Chunks of a level when the series has so many raw chunks: one of level 1 for each, then 16 make one of the next.
[[nodiscard]] constexpr std::uint64_t chunksOfLevel(int level, std::uint64_t rawChunks) {
    return level == 0 ? rawChunks : rawChunks >> (4 * (level - 1));
}

/// What a list tells of a series.
struct SeriesSummary {
    std::int64_t id = 0;
    std::uint64_t points = 0;
    std::int64_t firstStep = 0, lastStep = 0;
    double latest = 0;
};

/// A value; the PointStore guards those it owns, readers work on copies.
struct SeriesState : SeriesSummary {
    struct Level {
        std::vector<ipc::Bucket> open; // full buckets behind the level's last chunk
        AxisBounds openBounds;         // of the lower level's chunks since then
    };
    std::uint64_t openFrom = 0;     // index of open[0]
    std::vector<ipc::Point> open;   // behind the last raw chunk, or (not whole) behind what tail_open has of it
    std::vector<Level> levels;      // [i] is level i + 2; right only when hasLevels
    bool isWhole = true;            // open begins at the edge of a chunk
    bool hasLevels = true;
    bool isDirty = false;           // has points that are in the log only
    bool isTouched = false;         // since the last fold
    std::uint64_t tailLost = 0;     // points of a row of tail_open that cannot be read; the next fold sets it aside

    /// Takes the points up; while canCut() says so, cut() must follow.
    void append(std::span<const ipc::Point> points);
    [[nodiscard]] bool canCut() const { return openFrom % kPointsPerChunk + open.size() >= kPointsPerChunk; }
    /// Whole and with levels: every full chunk, and the chunks above that it completes, go to `out`.
    void cut(std::vector<ChunkOut>& out);
    /// Only what the log has is kept in memory; nothing dirty may be there.
    void unload();

private:
    void cutOne(std::span<const ipc::Point> points, std::vector<ChunkOut>& out);
    void add(std::size_t slot, const ipc::Bucket& bucket);
};

} // namespace telehelm::store
