// SPDX-License-Identifier: Apache-2.0
// The way of points into the database: open ends of series in memory, log, folds, chunks.
#pragma once

#include <cstdint>
#include <memory>
#include <shared_mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "store/series_state.h"
#include "store/sqlite.h"
#include "telehelm/ipc/types.h"

namespace telehelm::store {

/// Not locked by itself: whoever appends holds mutex() exclusively from before the transaction until after its commit, so
/// that memory and database show the same moment to readers, who hold it shared while they copy and open their snapshot.
///
/// An attempt is in memory when points came since it was last folded, or not long ago. What is in memory can be dropped
/// at any time outside a transaction: log and tail_open bring it back. A series that is not in memory though its attempt
/// is has nothing in the log.
class PointStore {
public:
    [[nodiscard]] std::shared_mutex& mutex() { return m_mutex; }

    /// Exclusive lock held, inside a transaction of `db`.
    void append(Database& db, std::int64_t attemptId, const std::vector<ipc::SeriesBlock>& blocks);
    /// The same; folds and forgets what has not been used for longest while memory holds too much.
    void tidy(Database& db);
    /// Exclusive lock held, in a transaction: the log's points go to one row per series; the log starts anew.
    void fold(Database& db, std::int64_t attemptId);
    /// After a transaction that failed: memory is read again from the database when next needed.
    void forget(std::int64_t attemptId);

    /// Exclusive lock held: makes memory agree with the log. Nothing to do without one.
    void load(Database& db, std::int64_t attemptId);
    /// Shared lock held.
    [[nodiscard]] bool isLoaded(std::int64_t attemptId) const { return m_attempts.contains(attemptId); }
    using Series = std::unordered_map<std::string, std::unique_ptr<SeriesState>>;
    /// Those in memory; the rest of the attempt is in the database alone.
    [[nodiscard]] const Series& series(std::int64_t attemptId) const;

private:
    struct Attempt {
        Series series;
        std::uint64_t loggedPoints = 0;
        std::uint64_t used = 0;   // clock of the last append or load
        std::size_t bytes = 0;    // about what it takes in memory
        std::vector<std::int64_t> badRows; // of its log: cannot be read. Nothing is appended behind them, they go aside first
        bool mustFold = false;
    };
    Attempt& attempt(Database& db, std::int64_t attemptId);
    SeriesState& seriesOf(Database& db, std::int64_t attemptId, Attempt& attempt, const std::string& name);
    [[nodiscard]] std::int64_t excess(std::int64_t keep) const;
    static void takeLog(Database& db, std::int64_t attemptId, Attempt& loaded);
    static void makeWhole(Database& db, SeriesState& state);
    static void restoreLevels(Database& db, SeriesState& state);
    static void cut(Database& db, std::span<SeriesState* const> states);
    static void foldSeries(Database& db, std::int64_t attemptId, std::span<SeriesState* const> states);
    static void writeFolded(Database& db, std::int64_t attemptId, SeriesState& state, const std::string& body);
    static void letGo(Attempt& attempt);

    std::shared_mutex m_mutex;
    std::unordered_map<std::int64_t, Attempt> m_attempts; // guarded by m_mutex
    std::uint64_t m_clock = 0;                            // guarded by m_mutex
};

} // namespace telehelm::store
