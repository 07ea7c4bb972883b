// SPDX-License-Identifier: Apache-2.0
// Checks the chunks of one series against each other, from the raw points up.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "store/check.h"
#include "store/series_state.h"
#include "store/sqlite.h"

namespace telehelm::store {

/// One thread. Throws SqlError.
class SeriesChecker {
public:
    /// `tell` gets what is found, with level, chunk and loss filled in, and may not keep it.
    SeriesChecker(Database& db, std::int64_t attemptId, std::int64_t series, bool repair, std::function<void(Damage&&)> tell)
        : m_db(db), m_attemptId(attemptId), m_series(series), m_repair(repair), m_tell(std::move(tell)) {}

    /// Chunks 0 … rawChunks-1 of level 0 and all above them. How many points of them can be read.
    std::uint64_t checkChunks(std::uint64_t rawChunks, const std::function<void()>& onChunk);

private:
    struct Stored {
        AxisBounds bounds;
        std::string body;
    };
    struct Level {
        std::vector<ipc::Bucket> pending;
        AxisBounds bounds;
    };
    [[nodiscard]] std::optional<Stored> fetch(int level, std::uint64_t index, std::string& why);
    bool checkRaw(std::uint64_t index, std::vector<ipc::Bucket>& buckets, AxisBounds& bounds);
    void rawIsLost(std::uint64_t index, const std::optional<Stored>& raw, const std::string& why, bool isSummarised, const AxisBounds& bounds);
    void climb(std::uint64_t rawIndex, const std::vector<ipc::Bucket>& buckets, AxisBounds bounds);
    void add(std::size_t slot, const ipc::Bucket& bucket);
    void checkDerived(int level, std::uint64_t index, const std::vector<ipc::Bucket>& expected, const AxisBounds& bounds);
    void derivedIsWrong(int level, std::uint64_t index, const std::string& why, const std::vector<ipc::Bucket>& expected, const AxisBounds& bounds);
    [[nodiscard]] bool isKnown(std::uint64_t index);

    Database& m_db;
    const std::int64_t m_attemptId, m_series;
    const bool m_repair;
    const std::function<void(Damage&&)> m_tell;
    std::vector<Level> m_levels; // [i] is level i + 2
};

} // namespace telehelm::store
