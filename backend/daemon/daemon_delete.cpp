// SPDX-License-Identifier: Apache-2.0
// Deletion of an ended run: judged, folder set aside, marked in the store, told. What is left then goes in the background (purger.h).
#include <algorithm>

#include <spdlog/spdlog.h>

#include "daemon/daemon.h"
#include "daemon/run_folder.h"

namespace telehelm::daemon {

using namespace ipc;
namespace fs = std::filesystem;

// Why the run cannot go now, and what to do about it.
std::optional<std::string> Daemon::whyNotDeleted(const RunEntry& entry) const {
    const std::string& run = entry.record.run;
    for (const AttemptInfo& attempt : entry.attempts) {
        const std::string which = "attempt " + std::to_string(attempt.key.attempt) + " of run “" + run + "”";
        if (isLive(attempt.state))
            return which + " is " + name(attempt.state) + "; end it first: telehelmctl stop " + run + " --reason …";
        if (m_supervisor->isRunning(attempt.key))
            return "processes of " + which + " have not ended yet; ask again when they have";
        if (m_draining.contains(attempt.key))
            return "the last points of " + which + " are being read from its spool; ask again in a moment";
    }
    if (entry.isRestarting || entry.retry.due || entry.retry.isUnderWay)
        return "a restart of run “" + run + "” is pending; call it off first: telehelmctl stop " + run + " --reason …";
    return std::nullopt;
}

// An attempt of another run that began at one of this run's checkpoints, as [resume] checkpoint of its config tells.
std::optional<std::string> Daemon::whoNeedsCheckpoints(const RunEntry& entry) const {
    std::error_code error;
    const fs::path folder = fs::weakly_canonical(checkpointDir(entry), error);
    for (const auto& [name, other] : m_runs) {
        if (&other == &entry)
            continue;
        for (const AttemptInfo& attempt : other.attempts) {
            if (attempt.configToml.find(entry.folder) == std::string::npos) // parsing all configs would take its time
                continue;
            const auto config = config::parseRunConfig(attempt.configToml, name);
            if (!config || config->resume.checkpoint.empty())
                continue;
            const fs::path used = fs::weakly_canonical(config->resume.checkpoint, error).lexically_relative(folder);
            if (!used.empty() && *used.begin() != "..")
                return "attempt " + std::to_string(attempt.key.attempt) + " of run “" + name + "” began at a checkpoint of run “" + entry.record.run +
                       "” (" + used.string() + "); keep the checkpoints (--keep-checkpoints), or delete “" + name + "” first";
        }
    }
    return std::nullopt;
}

Result<DeletedRun> Daemon::deleteRun(const DeleteRequest& request) {
    if (m_options.readOnly)
        return tl::unexpected(onlyReads());
    m_ingest->flush(); // what has come before counts
    const std::lock_guard lock(m_mutex);
    RunEntry* entry = findRun(request.run);
    if (!entry)
        return tl::unexpected(unknownRun(request.run));
    auto why = whyNotDeleted(*entry);
    if (!why && !request.keepCheckpoints)
        why = whoNeedsCheckpoints(*entry);
    if (why)
        return fail(ErrorCode::FailedPrecondition, *why, "telehelmd");
    DeletedRun record = recordOf(*entry, request);
    if (request.onlyLook)
        return record;
    const auto aside = setAside(m_options.stateDir / "runs", entry->folder, record.id, !record.keptIn.empty());
    if (!aside)
        return tl::unexpected(aside.error());
    auto deleted = m_store->deleteRun(record);
    if (!deleted) {
        if (auto back = putBack(*aside); !back) // the next daemon tries again
            spdlog::error("{}", back.error().text());
        return deleted;
    }
    forgetRun(*deleted);
    return deleted;
}

DeletedRun Daemon::recordOf(const RunEntry& entry, const DeleteRequest& request) {
    DeletedRun record;
    record.id = newUuid();
    record.run = request.run;
    record.deletedUs = nowUs();
    record.author = request.author;
    record.host = request.host;
    record.reason = request.reason;
    record.attempts = static_cast<std::uint32_t>(entry.attempts.size());
    for (const AttemptInfo& attempt : entry.attempts)
        record.points += attempt.pointsStored;
    const fs::path folder = checkpointDir(entry);
    for (const CheckpointInfo& checkpoint : m_shelf->list(request.run, folder)) {
        if (request.keepCheckpoints) {
            record.keptIn = folder.string();
            continue;
        }
        ++record.checkpoints;
        record.checkpointBytes += checkpoint.bytes;
    }
    return record;
}

void Daemon::forgetRun(const DeletedRun& record) {
    const auto found = m_runs.find(record.run);
    for (const AttemptInfo& attempt : found->second.attempts)
        m_heartbeats.forget(attempt.key);
    m_shelf->forget(runDir(found->second));
    m_runs.erase(found);
    m_book.forget(record.run);
    spdlog::info("{}: deleted by {}{}: {} attempts, {} points, {} checkpoints of {} bytes", record.run, record.author,
                 record.reason.empty() ? "" : " (" + record.reason + ")", record.attempts, record.points, record.checkpoints, record.checkpointBytes);
    WatchUpdate update;
    update.deleted = record;
    m_hub.publish(record.run, update);
    m_purger->wake();
}

// Before runs are read: a daemon died between setting a folder aside and marking its run as deleted.
void Daemon::putFoldersBack() {
    const auto deleted = m_store->deletedRuns();
    if (!deleted)
        return spdlog::error("{}", deleted.error().text());
    for (const FolderAside& aside : foldersAside(m_options.stateDir / "runs")) {
        if (std::ranges::any_of(*deleted, [&](const DeletedRun& record) { return record.id == aside.id; }))
            continue;
        if (auto back = putBack(aside); !back)
            spdlog::error("{}", back.error().text());
        else
            spdlog::warn("{}: its deletion was cut off before it had begun; the run is whole", aside.folder);
    }
}

} // namespace telehelm::daemon
