// SPDX-License-Identifier: Apache-2.0
// The open end of a series: what does not fill a chunk yet, at every level of the pyramid.
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
};

/// A full chunk on its way to the database.
struct ChunkOut {
    std::int64_t series = 0;
    int level = 0;
    std::uint64_t index = 0;
    AxisBounds bounds;
    std::string body;
};

/// A value; the PointStore guards those it owns, readers work on copies.
struct SeriesState {
    struct Level {
        std::uint64_t stored = 0;      // items in chunks: points at level 0, buckets above
        std::vector<ipc::Bucket> open; // levels ≥ 1: full buckets after them
        AxisBounds openBounds;         // levels ≥ 2: of the lower chunks since this level's last chunk
    };
    std::int64_t id = 0;
    std::string name;
    std::uint64_t points = 0;
    std::int64_t firstStep = 0, lastStep = 0;
    double latest = 0;
    std::vector<ipc::Point> open; // points after the last raw chunk
    std::vector<Level> levels = std::vector<Level>(2);
    bool dirty = false; // has open points that no snapshot holds

    /// Full chunks go to `out`.
    void append(std::span<const ipc::Point> points, std::vector<ChunkOut>& out);

private:
    void fold(std::size_t level);
    void flush(std::vector<ChunkOut>& out);
};

} // namespace telehelm::store
