// SPDX-License-Identifier: Apache-2.0
// Reads one series as it was at one moment: its chunks (through a database snapshot) and its open end (a copy).
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "store/series_state.h"
#include "store/sqlite.h"

namespace telehelm::store {

/// One thread. Throws SqlError and DamagedBlob (naming the series and the chunk). Indices count points from 0.
class SeriesReader {
public:
    SeriesReader(Database& db, SeriesState state) : m_db(db), m_state(std::move(state)) {}

    [[nodiscard]] std::uint64_t size() const { return m_state.points; }
    [[nodiscard]] const SeriesState& state() const { return m_state; }

    /// Calls `take` with consecutive stretches of points [from, to).
    void readPoints(std::uint64_t from, std::uint64_t to, const std::function<void(std::span<const ipc::Point>)>& take);
    [[nodiscard]] std::vector<ipc::Point> points(std::uint64_t from, std::uint64_t to);
    /// Full buckets [from, to) of a level ≥ 1; `to` may not pass size() / 16^level.
    [[nodiscard]] std::vector<ipc::Bucket> fullBuckets(int level, std::uint64_t from, std::uint64_t to);
    /// All points [from, to) as one bucket; reads as little as the pyramid allows. Not empty.
    [[nodiscard]] ipc::Bucket aggregate(std::uint64_t from, std::uint64_t to);

    /// Index of the first point at or after `value` on the axis; size() if there is none.
    [[nodiscard]] std::uint64_t firstAtLeast(ipc::Axis axis, std::int64_t value);
    /// One past the index of the last point at or before `value`; 0 if there is none.
    [[nodiscard]] std::uint64_t endAtMost(ipc::Axis axis, std::int64_t value);

private:
    [[nodiscard]] std::uint64_t storedChunks(std::size_t level) const;
    [[nodiscard]] std::string chunk(int level, std::uint64_t index);
    [[nodiscard]] std::vector<ipc::Point> pointChunk(std::uint64_t index);
    [[nodiscard]] std::optional<std::uint64_t> findChunk(int level, std::uint64_t from, std::uint64_t to, std::size_t axis,
                                                         std::int64_t value, bool forward);
    [[nodiscard]] std::optional<std::uint64_t> findRawChunk(std::size_t axis, std::int64_t value, bool forward);

    Database& m_db;
    SeriesState m_state;
};

/// The point's place on an axis.
[[nodiscard]] std::int64_t along(ipc::Axis axis, const ipc::Point& point);

} // namespace telehelm::store
