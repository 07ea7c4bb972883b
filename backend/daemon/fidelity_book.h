// SPDX-License-Identifier: Apache-2.0
// Counts points on their way: stored and acknowledged by this daemon, received and repaired by its clients.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "telehelm/ipc/result.h"
#include "telehelm/ipc/status.h"

namespace telehelm::daemon {

/// Any thread.
class FidelityBook {
public:
    /// Stored before this daemon began, and acknowledged then.
    void recovered(const ipc::AttemptKey& key, std::uint64_t points);
    void stored(const ipc::TelemetryBatch& batch, std::uint64_t points);
    void acked(const ipc::AttemptKey& key, std::uint64_t sequence); // everything up to it
    /// A deleted run. What was stored since the start goes on counting, as what was published does, should another take its name.
    void forget(const std::string& run);
    void storeTrouble(const std::optional<Error>& trouble);
    Result<void> report(ipc::ClientCounters client, std::int64_t nowUs);

    /// Fills what it knows of the run: acked, storedSinceStart, newestUs.
    void fill(ipc::RunCounters& run) const;
    [[nodiscard]] std::vector<ipc::ClientCounters> clients(std::int64_t nowUs) const;
    [[nodiscard]] std::string storeTrouble() const;

private:
    struct Attempt {
        std::uint64_t acked = 0;       // points
        std::uint64_t ackedNumber = 0; // batches up to it
        std::map<std::uint64_t, std::uint64_t> waiting; // batches stored beyond a gap: number → points
    };
    struct Run {
        std::map<std::uint32_t, Attempt> attempts;
        std::uint64_t storedSinceStart = 0;
        std::int64_t newestUs = 0;
    };
    mutable std::mutex m_mutex; // guards all
    std::map<std::string, Run> m_runs;
    std::map<std::string, ipc::ClientCounters> m_clients; // by id
    std::string m_trouble;
};

} // namespace telehelm::daemon
