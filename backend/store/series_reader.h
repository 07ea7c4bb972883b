// SPDX-License-Identifier: Apache-2.0
// Reads one series as it was at one moment: its chunks (through a database snapshot) and its open end (a copy).
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "store/series_state.h"
#include "store/sqlite.h"

namespace telehelm::store {

/// A series as a reader needs it. Open points begin at `openFrom`; what lies between the last chunk and there is in tail_open.
struct SeriesView {
    std::int64_t id = 0;
    std::uint64_t points = 0, openFrom = 0;
    std::vector<ipc::Point> open;
};
[[nodiscard]] inline SeriesView viewOf(const SeriesState& state) { return {state.id, state.points, state.openFrom, state.open}; }
[[nodiscard]] inline SeriesView viewOf(const SeriesSummary& stored) { return {stored.id, stored.points, stored.points, {}}; }

/// One thread. Throws SqlError; what is damaged is left out and noted in missing(). Indices count points from 0.
class SeriesReader {
public:
    SeriesReader(Database& db, SeriesView view);

    [[nodiscard]] std::int64_t id() const { return m_view.id; }
    [[nodiscard]] std::uint64_t size() const { return m_view.points; }
    [[nodiscard]] std::uint64_t rawChunks() const { return m_rawChunks; }

    /// Calls `take` with the index and points of consecutive stretches of [from, to), `hole` with those that are lost.
    using Take = std::function<void(std::uint64_t, std::span<const ipc::Point>)>;
    using Hole = std::function<void(std::uint64_t, std::uint64_t)>;
    void readPoints(std::uint64_t from, std::uint64_t to, const Take& take, const Hole& hole = {});
    /// The same for the values alone, which many chunks give quicker.
    using TakeValues = std::function<void(std::uint64_t, std::span<const double>)>;
    void readValues(std::uint64_t from, std::uint64_t to, const TakeValues& take);
    /// Buckets [from, to) of a level, full ones; `to` may not pass size() / 16^level. count 0: its points are lost.
    [[nodiscard]] std::vector<ipc::Bucket> fullBuckets(int level, std::uint64_t from, std::uint64_t to);
    /// All points [from, to) as one bucket; reads as little as the pyramid allows.
    [[nodiscard]] ipc::Bucket aggregate(std::uint64_t from, std::uint64_t to);

    /// Index of the first point at or after `value` on the axis; size() if there is none.
    [[nodiscard]] std::uint64_t firstAtLeast(ipc::Axis axis, std::int64_t value);
    /// One past the index of the last point at or before `value`; 0 if there is none.
    [[nodiscard]] std::uint64_t endAtMost(ipc::Axis axis, std::int64_t value);

    /// What could not be read since the last call.
    [[nodiscard]] std::vector<ipc::MissingPoints> takeMissing();

private:
    void fetchTail();
    [[nodiscard]] std::string chunk(int level, std::uint64_t index); // throws DamagedBlob
    [[nodiscard]] std::optional<std::vector<ipc::Point>> pointChunk(std::uint64_t index);
    [[nodiscard]] std::vector<std::vector<double>> valueChunks(std::uint64_t first, std::uint64_t count); // empty ones are lost
    void note(std::uint64_t index, const std::string& what);
    void readStored(int level, std::uint64_t from, std::uint64_t to, std::span<ipc::Bucket> out);
    void makeFromBelow(int level, std::uint64_t from, std::span<ipc::Bucket> out);
    [[nodiscard]] std::optional<std::uint64_t> findChunk(int level, std::uint64_t from, std::uint64_t to, std::size_t axis,
                                                         std::int64_t value, bool forward);
    [[nodiscard]] std::optional<std::uint64_t> findRawChunk(std::size_t axis, std::int64_t value, bool forward);

    Database& m_db;
    SeriesView m_view; // open begins at the last chunk's edge
    std::uint64_t m_rawChunks = 0;
    std::string m_tailDamage;        // why tail_open cannot be read
    std::set<std::uint64_t> m_noted; // raw chunks
    std::vector<ipc::MissingPoints> m_missing;
};

/// The point's place on an axis.
[[nodiscard]] std::int64_t along(ipc::Axis axis, const ipc::Point& point);

} // namespace telehelm::store
