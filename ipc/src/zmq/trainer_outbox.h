// SPDX-License-Identifier: Apache-2.0
// What a trainer has emitted and the daemon has not acknowledged: in memory while that is short, in the spool otherwise.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "telehelm/ipc/types.h"
#include "zmq/spool.h"

namespace telehelm::ipc {

/// Link thread only.
class TrainerOutbox {
public:
    using Clock = std::chrono::steady_clock;

    /// Opens the spool and takes what an earlier process left in it.
    Result<void> open(const std::filesystem::path& spoolFile, const AttemptKey& key, std::size_t memoryPoints);

    /// Gives the batch its number and keeps it.
    void add(TelemetryBatch&& batch);

    /// The daemon has stored everything up to `sequence`. Returns the number of points that this settles.
    std::uint64_t ack(std::uint64_t sequence);
    /// Answer to a hello. The first time it may tell of batches that a dead process of this attempt had sent: then ours move up.
    std::uint64_t welcome(std::uint64_t lastStored);

    /// The next batch to send, if any is left; sent() moves on, rewind() starts again at the first unacked one.
    struct Outgoing {
        std::string payload; // TelemetryBatch
        bool again = false;  // was sent before
    };
    [[nodiscard]] Result<std::optional<Outgoing>> next();
    void sent();
    void rewind() { m_cursor = 0; }

    /// Writes to the spool what has waited for `age` or does not fit into memory; age 0: everything.
    Result<void> spill(Clock::duration age);
    Result<void> sync() { return m_spool.sync(); }

    [[nodiscard]] bool empty() const { return m_pending.empty(); }
    [[nodiscard]] std::size_t inFlight() const { return m_cursor; }
    [[nodiscard]] std::uint64_t firstUnacked() const { return m_pending.empty() ? m_nextSequence : m_pending.front().sequence; }
    [[nodiscard]] std::uint64_t pointsSpooled() const { return m_pointsSpooled; }

private:
    struct Pending {
        std::uint64_t sequence = 0;
        std::uint32_t points = 0;
        bool own = true;       // of this process, not from an earlier one's spool
        bool wasSent = false;
        std::string payload;   // empty when it is only in the spool
        std::optional<SpoolRecord> record;
        Clock::time_point addedAt;
    };
    void renumberFrom(std::uint64_t first);
    [[nodiscard]] Result<std::string> payloadOf(const Pending& pending) const;

    std::deque<Pending> m_pending; // ascending, without holes
    std::size_t m_cursor = 0;      // index of the next to send
    std::size_t m_firstInMemory = 0; // everything before this index lies in the spool
    std::size_t m_memoryPoints = 0, m_mostMemoryPoints = 0;
    std::uint64_t m_nextSequence = 1;
    std::uint64_t m_acked = 0;
    std::uint64_t m_pointsSpooled = 0;
    bool m_welcomed = false;
    Spool m_spool;
};

} // namespace telehelm::ipc
