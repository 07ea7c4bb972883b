// SPDX-License-Identifier: Apache-2.0
// The counters: what is where on its way.
#include <fstream>

#include <unistd.h>

#include "daemon/daemon.h"

namespace telehelm::daemon {

using namespace ipc;

namespace {

std::int64_t residentBytes() {
    std::int64_t total = 0, resident = 0; // pages
    std::ifstream("/proc/self/statm") >> total >> resident;
    return resident * sysconf(_SC_PAGESIZE);
}

/// The database with its log and index beside it.
std::int64_t storeBytes(const std::filesystem::path& stateDir) {
    std::int64_t bytes = 0;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(stateDir, error))
        if (entry.path().filename().string().starts_with("telehelm.db") && entry.is_regular_file(error))
            bytes += static_cast<std::int64_t>(entry.file_size(error));
    return bytes;
}

} // namespace

Result<DaemonStatus> Daemon::status() {
    auto info = hello(kProtocolVersion, "status");
    if (!info)
        return tl::unexpected(info.error());
    DaemonStatus status;
    status.daemon = std::move(*info);
    status.nowUs = nowUs();
    status.clients = m_book.clients(status.nowUs);
    status.storeTrouble = m_book.storeTrouble();
    status.residentBytes = residentBytes();
    status.storeBytes = storeBytes(m_options.stateDir);
    const std::lock_guard lock(m_mutex); // nothing is published between the counts of one run
    const LiveCounters live = m_live->counters();
    status.subscriptions = live.subscriptions;
    status.messagesPublished = live.messages;
    if (m_link)
        status.badFrames = m_link->badFrames();
    for (const auto& [name, entry] : m_runs)
        status.runs.push_back(countersOf(entry, live));
    return status;
}

RunCounters Daemon::countersOf(const RunEntry& entry, const LiveCounters& live) const {
    RunCounters run;
    run.run = entry.record.run;
    m_book.fill(run);
    for (const AttemptInfo& attempt : entry.attempts) {
        run.emitted += attempt.pointsEmitted;
        run.stored += attempt.pointsStored;
        if (!isLive(attempt.state) && !m_draining.contains(attempt.key) && attempt.pointsEmitted > attempt.pointsStored)
            run.lost += attempt.pointsEmitted - attempt.pointsStored;
    }
    if (const auto found = live.points.find(run.run); found != live.points.end())
        run.published = found->second;
    return run;
}

Result<void> Daemon::report(const ClientCounters& client) { return m_book.report(client, nowUs()); }

} // namespace telehelm::daemon
