// SPDX-License-Identifier: Apache-2.0
// Fidelity: how many points are where on their way from a trainer to an eye.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "telehelm/ipc/types.h"

namespace telehelm::ipc {

/// Points of one run since it began; `published` and `storedSinceStart` since the daemon's start.
struct RunCounters {
    std::string run;
    std::uint64_t emitted = 0; // as its trainers count
    std::uint64_t stored = 0;
    std::uint64_t acked = 0;   // in batches that were acknowledged to the trainer
    std::uint64_t published = 0;
    std::uint64_t storedSinceStart = 0; // less published: lost between store and stream
    std::uint64_t lost = 0;             // emitted by attempts that have ended, and never stored
    std::int64_t newestUs = 0;          // when the newest point was measured; 0: unknown
    bool operator==(const RunCounters&) const = default;
};

/// Points of one client since it connected.
struct ClientCounters {
    std::string id; // UUID, chosen by the client at its start
    std::string program, host, user;
    std::uint64_t received = 0; // over the live stream
    std::uint64_t missed = 0;   // published and not received, as far as the numbers tell
    std::uint64_t repaired = 0; // fetched from history instead
    std::uint64_t lost = 0;     // missed, and not in history either
    std::uint64_t gaps = 0;     // times that news were missed
    std::int64_t newestUs = 0;  // when the newest point that it has was emitted; 0: none yet
    std::int64_t reportedUs = 0; // when the daemon heard this; filled in by it
    bool operator==(const ClientCounters&) const = default;
};

struct DaemonStatus {
    HelloInfo daemon;
    std::vector<RunCounters> runs;       // as listRuns()
    std::vector<ClientCounters> clients; // heard of in the last 30 s
    std::uint64_t subscriptions = 0;     // different ones on the live stream
    std::uint64_t messagesPublished = 0;
    std::uint64_t badFrames = 0; // from trainers, not understood
    std::int64_t residentBytes = 0;
    std::int64_t storeBytes = 0; // on disk
    std::string storeTrouble;    // why the store refuses telemetry now; empty: it does not
    std::int64_t nowUs = 0;      // the daemon's clock
};

} // namespace telehelm::ipc
