// SPDX-License-Identifier: Apache-2.0
// The questions of the control service.
#include <unistd.h>

#include "daemon/daemon.h"
#include "daemon/version.h"

namespace telehelm::daemon {

using namespace ipc;

Result<HelloInfo> Daemon::hello(std::uint32_t clientProtocol, const std::string& clientProgram) {
    if (commonProtocol(clientProtocol) == 0)
        return fail(ErrorCode::VersionMismatch,
                    clientProgram + " speaks protocol " + std::to_string(clientProtocol) + ", this daemon " +
                        std::to_string(kOldestProtocolVersion) + " to " + std::to_string(kProtocolVersion) + "; use programs of the same release",
                    "telehelmd");
    auto points = m_store->pointsStored();
    if (!points)
        return tl::unexpected(points.error());
    HelloInfo info;
    info.protocol = commonProtocol(clientProtocol);
    info.program = std::string("telehelmd ") + kVersion;
    info.epoch = m_epoch;
    info.stateDir = m_options.stateDir.string();
    info.pid = getpid();
    info.liveEndpoint = liveEndpoint();
    info.linkEndpoint = linkEndpoint();
    info.startedUs = m_startedUs;
    info.pointsStored = *points;
    return info;
}

Result<std::vector<RunInfo>> Daemon::listRuns() {
    const std::lock_guard lock(m_mutex);
    std::vector<RunInfo> all;
    for (const auto& [name, entry] : m_runs)
        all.push_back(entry.info());
    std::sort(all.begin(), all.end(), [](const RunInfo& a, const RunInfo& b) { return a.createdUs < b.createdUs; });
    return all;
}

Result<RunInfo> Daemon::getRun(const std::string& run) {
    const std::lock_guard lock(m_mutex);
    const RunEntry* entry = findRun(run);
    if (!entry)
        return tl::unexpected(unknownRun(run));
    return entry->info();
}

Result<Command> Daemon::getCommand(const std::string& id) {
    auto command = m_store->command(id);
    if (!command)
        return tl::unexpected(command.error());
    if (!*command)
        return fail(ErrorCode::NotFound, "no command “" + id + "”", "telehelmd");
    return std::move(**command);
}

Result<std::vector<ipc::DeletedRun>> Daemon::listDeletedRuns() { return m_store->deletedRuns(); }

Result<std::vector<Command>> Daemon::listCommands(const CommandQuery& query) {
    auto found = m_store->commands(query); // of a run that never was there may be refusals
    const std::lock_guard lock(m_mutex);
    if (found && found->empty() && !query.run.empty() && !findRun(query.run))
        return tl::unexpected(unknownRun(query.run));
    return found;
}

Result<std::vector<Event>> Daemon::listEvents(const EventQuery& query) {
    {
        const std::lock_guard lock(m_mutex);
        if (!query.run.empty() && !findRun(query.run))
            return tl::unexpected(unknownRun(query.run));
    }
    return m_store->events(query);
}

Result<Event> Daemon::addNote(const Event& note) {
    if (m_options.readOnly)
        return tl::unexpected(onlyReads());
    const std::lock_guard lock(m_mutex);
    RunEntry* entry = findRun(note.key.run);
    if (!entry)
        return tl::unexpected(unknownRun(note.key.run));
    if (note.text.empty())
        return fail(ErrorCode::InvalidArgument, "a note needs a text", "telehelmd");
    const AttemptInfo* attempt = entry->find(note.key.attempt);
    if (!attempt)
        return fail(ErrorCode::NotFound, "run “" + note.key.run + "” has no attempt " + std::to_string(note.key.attempt), "telehelmd");
    Event event = note;
    event.id = 0;
    event.key = attempt->key;
    event.kind = EventKind::Note;
    event.wallUs = note.wallUs == 0 ? nowUs() : note.wallUs;
    auto stored = m_store->addEvent(event);
    if (!stored)
        return stored;
    News news;
    news.batch.key = stored->key;
    news.batch.events = {*stored};
    m_live->publish(std::move(news));
    WatchUpdate update;
    update.event = *stored;
    m_hub.publish(stored->key.run, update);
    return stored;
}

Result<std::vector<CheckpointInfo>> Daemon::listCheckpoints(const std::string& run) {
    std::filesystem::path folder;
    {
        const std::lock_guard lock(m_mutex);
        const RunEntry* entry = findRun(run);
        if (!entry)
            return tl::unexpected(unknownRun(run));
        folder = checkpointDir(*entry);
    }
    return m_shelf->list(run, folder);
}

Result<SeriesPage> Daemon::listSeries(const SeriesListQuery& query) {
    {
        const std::lock_guard lock(m_mutex);
        if (!findRun(query.key.run))
            return tl::unexpected(unknownRun(query.key.run));
    }
    return m_store->listSeries(query);
}

Result<LineageInfo> Daemon::lineage(const std::string& run) {
    {
        const std::lock_guard lock(m_mutex);
        if (!findRun(run))
            return tl::unexpected(unknownRun(run));
    }
    return m_store->lineage(run);
}

Result<void> Daemon::querySeries(const SeriesQuery& query, const std::function<bool(SeriesSegment&&)>& sink) {
    {
        const std::lock_guard lock(m_mutex);
        if (!findRun(query.key.run))
            return tl::unexpected(unknownRun(query.key.run));
        for (const AttemptKey& key : query.also)
            if (!findRun(key.run))
                return tl::unexpected(unknownRun(key.run));
    }
    if (!(query.smoothing >= 0 && query.smoothing < 1))
        return fail(ErrorCode::InvalidArgument, "the smoothing weight is at least 0 and below 1", "telehelmd");
    return m_store->querySeries(query, sink);
}

Result<void> Daemon::watch(const std::string& run, const std::function<bool(WatchUpdate&&)>& sink) {
    std::vector<WatchUpdate> present;
    std::shared_ptr<WatchHub::Watcher> watcher;
    {
        const std::lock_guard lock(m_mutex); // subscribed and copied at one moment: no change falls between
        if (!run.empty() && !findRun(run))
            return tl::unexpected(unknownRun(run));
        watcher = m_hub.subscribe(run);
        for (const auto& [name, entry] : m_runs)
            if (run.empty() || run == name)
                present.emplace_back().run = entry.info();
    }
    for (WatchUpdate& update : present)
        if (!sink(std::move(update)))
            return {};
    while (!m_stopping) {
        auto update = watcher->next(500);
        if (!sink(update ? std::move(*update) : WatchUpdate{}))
            return {};
    }
    return {};
}

Result<void> Daemon::shutdown(bool stopJobs) {
    const std::lock_guard lock(m_mutex);
    m_shutdown = m_shutdown.value_or(false) || stopJobs;
    m_shutdownAsked.notify_all();
    return {};
}

} // namespace telehelm::daemon
