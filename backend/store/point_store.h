// SPDX-License-Identifier: Apache-2.0
// The points of all attempts: open ends in memory, chunks and the tail log in the database.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "store/series_state.h"
#include "store/sqlite.h"
#include "telehelm/ipc/types.h"

namespace telehelm::store {

/// Not locked by itself: whoever appends holds mutex() exclusively from before the transaction until after its commit, so
/// that memory and database show the same moment to readers, who hold it shared while they copy and open their snapshot.
class PointStore {
public:
    [[nodiscard]] std::shared_mutex& mutex() { return m_mutex; }

    /// Exclusive lock held, inside a transaction of `db`.
    void append(Database& db, std::int64_t attemptId, const std::vector<ipc::SeriesBlock>& blocks);
    /// After a transaction that failed: memory is read again from the database when next needed.
    void forget(std::int64_t attemptId) { m_attempts.erase(attemptId); }

    /// Exclusive lock held.
    void load(Database& db, std::int64_t attemptId);
    /// Shared lock held.
    [[nodiscard]] bool isLoaded(std::int64_t attemptId) const { return m_attempts.contains(attemptId); }
    [[nodiscard]] const std::map<std::string, std::unique_ptr<SeriesState>>& series(std::int64_t attemptId) const;

private:
    struct Attempt {
        std::map<std::string, std::unique_ptr<SeriesState>> series;
        std::unordered_map<std::string_view, SeriesState*> byName; // views of the keys above
        std::uint64_t loggedPoints = 0;
    };
    Attempt& attempt(Database& db, std::int64_t attemptId);
    SeriesState& seriesOf(Database& db, std::int64_t attemptId, Attempt& attempt, const std::string& name);
    static void writeChunks(Database& db, std::vector<ChunkOut>& chunks);
    static void snapshotOpen(Database& db, std::int64_t attemptId, Attempt& attempt);
    static void restore(Database& db, SeriesState& state);

    std::shared_mutex m_mutex;
    std::unordered_map<std::int64_t, Attempt> m_attempts; // guarded by m_mutex
};

} // namespace telehelm::store
