// SPDX-License-Identifier: Apache-2.0
// Construction, and how changes reach the store, the watchers and the live stream.
#include "daemon/daemon.h"

#include <fstream>

#include <unistd.h>

#include <spdlog/spdlog.h>

#include "daemon/state_dir.h"
#include "daemon/version.h"

namespace telehelm::daemon {

using ipc::AttemptInfo;
using ipc::AttemptKey;

Daemon::Daemon(DaemonOptions options) : m_options(std::move(options)), m_epoch(ipc::newUuid()), m_startedUs(ipc::nowUs()) {}

Result<std::unique_ptr<Daemon>> Daemon::open(DaemonOptions options) {
    std::unique_ptr<Daemon> daemon(new Daemon(std::move(options)));
    if (auto started = daemon->start(); !started)
        return tl::unexpected(started.error());
    return daemon;
}

Result<void> Daemon::start() {
    const std::filesystem::path linkFile = m_options.stateDir / "link-endpoint";
    auto store = store::Store::open(m_options.stateDir / "telehelm.db",
                                    m_options.readOnly ? store::Store::Access::ReadOnly : store::Store::Access::ReadWrite);
    if (!store)
        return tl::unexpected(store.error());
    m_store = std::move(*store);
    for (const std::string& notice : m_store->notices())
        spdlog::error("{}", notice);
    auto live = ipc::makeLivePublisher(m_options.liveEndpoint, m_epoch);
    if (!live)
        return tl::unexpected(live.error());
    m_live = std::move(*live);
    m_shelf = std::make_unique<CheckpointShelf>([this](const ipc::CheckpointInfo& damaged) {
        const std::lock_guard lock(m_mutex);
        ipc::Event event;
        event.key = damaged.key;
        event.kind = ipc::EventKind::CheckpointDamaged;
        event.severity = ipc::Severity::Warning;
        event.step = damaged.step;
        event.tokens = damaged.tokens;
        event.text = "The checkpoint of step " + std::to_string(damaged.step) + " is damaged: " + damaged.damage + ".";
        event.facts = {{"path", damaged.path}, {"damage", damaged.damage}};
        tellEvent(std::move(event));
    });
    m_ingest = std::make_unique<IngestQueue>(
        *m_store, [this](auto&& batches, auto&& done) { onCommit(std::move(batches), std::move(done)); },
        [this](const std::optional<Error>& trouble) { onStoreTrouble(trouble); });
    m_tasks = std::make_unique<TaskQueue>();
    m_supervisor = std::make_unique<supervise::Supervisor>(m_options.rankProgram, [this](supervise::JobExit ended) {
        m_tasks->add([this, ended = std::move(ended)] { finishAttempt(ended); });
    });
    // Trainers find us faster where we were before.
    std::string before;
    std::ifstream(linkFile) >> before;
    Result<std::unique_ptr<ipc::TrainerLinkServer>> link = tl::unexpected(Error{});
    const std::lock_guard lock(m_mutex); // the first trainer waits until everything is known
    if (!before.empty() && !m_options.readOnly && m_options.linkEndpoint.ends_with(":*"))
        link = ipc::serveTrainers(*this, before);
    if (!link)
        link = ipc::serveTrainers(*this, m_options.linkEndpoint);
    if (!link)
        return tl::unexpected(link.error());
    m_link = std::move(*link);
    if (m_options.readOnly)
        return readRuns();
    if (auto written = writeFileAtomically(linkFile, m_link->endpoint() + "\n"); !written)
        return written;
    putFoldersBack();
    if (auto recovered = recover(); !recovered)
        return recovered;
    m_purger = std::make_unique<Purger>(*m_store, m_options.stateDir / "runs");
    m_minder = std::thread([this] { minderLoop(); });
    return {};
}

Daemon::~Daemon() {
    m_stopping = true;
    if (m_minder.joinable())
        m_minder.join();
    if (m_tasks)
        m_tasks->stop();      // no restart goes on
    m_purger.reset();         // the next daemon goes on with it
    m_supervisor.reset();     // exits are seen again by the next daemon
    std::unique_ptr<ipc::TrainerLinkServer> link;
    {
        const std::lock_guard lock(m_linkMutex);
        link = std::move(m_link);
    }
    link.reset();     // no batch comes any more
    m_ingest.reset(); // those that came are stored; their trainers hear of it from the next daemon
    m_shelf.reset();
}

std::optional<bool> Daemon::waitForShutdown(int timeoutMs) {
    std::unique_lock lock(m_mutex);
    m_shutdownAsked.wait_for(lock, std::chrono::milliseconds(timeoutMs), [&] { return m_shutdown.has_value(); });
    return m_shutdown;
}

RunEntry* Daemon::findRun(const std::string& run) {
    const auto found = m_runs.find(run);
    return found == m_runs.end() ? nullptr : &found->second;
}

Error Daemon::onlyReads() const {
    return {ErrorCode::FailedPrecondition, "this telehelmd was started with --read-only: it shows what is stored and changes nothing",
            m_options.stateDir.string()};
}

Error Daemon::unknownRun(const std::string& run) const {
    std::string known;
    for (const auto& [name, entry] : m_runs)
        known += (known.empty() ? "" : ", ") + name;
    return {ErrorCode::NotFound, "no run named “" + run + "”; " + (known.empty() ? "there are no runs yet" : "there are " + known), "telehelmd"};
}

void Daemon::happen(RunEntry& entry, AttemptInfo& attempt, supervise::Happening happening) {
    const ipc::AttemptState after = supervise::next(attempt.state, happening);
    if (after == attempt.state)
        return;
    attempt.state = after;
    if (!isLive(after)) {
        attempt.endedUs = ipc::nowUs();
        m_heartbeats.forget(attempt.key);
    }
    tellAttempt(entry, attempt);
}

void Daemon::tellAttempt(RunEntry& entry, const AttemptInfo& attempt) {
    if (auto stored = m_store->updateAttempt(attempt); !stored)
        spdlog::error("{}", stored.error().text());
    ipc::News news;
    news.batch.key = attempt.key;
    news.attempt = attempt;
    news.attempt->configToml.clear();
    m_live->publish(std::move(news));
    tellProgress(entry);
}

void Daemon::tellProgress(RunEntry& entry) {
    entry.pushedUs = ipc::nowUs();
    ipc::WatchUpdate update;
    update.run = entry.info();
    m_hub.publish(entry.record.run, update);
}

void Daemon::tellCommand(const ipc::Command& command) {
    ipc::News news;
    news.batch.key = command.key;
    news.command = command;
    m_live->publish(std::move(news));
    ipc::WatchUpdate update;
    update.command = command;
    m_hub.publish(command.key.run, update);
}

void Daemon::tellEvent(ipc::Event event) {
    if (!findRun(event.key.run)) // deleted meanwhile
        return;
    if (event.wallUs == 0)
        event.wallUs = ipc::nowUs();
    auto stored = m_store->addEvent(std::move(event));
    if (!stored) {
        spdlog::error("an event could not be stored: {}", stored.error().text());
        return;
    }
    announce(std::move(*stored));
}

void Daemon::announce(ipc::Event stored) {
    spdlog::info("{}/{}: {}", stored.key.run, stored.key.attempt, stored.text);
    ipc::News news;
    news.batch.key = stored.key;
    news.batch.events = {stored};
    m_live->publish(std::move(news));
    ipc::WatchUpdate update;
    update.event = std::move(stored);
    m_hub.publish(update.event->key.run, update);
}

} // namespace telehelm::daemon
