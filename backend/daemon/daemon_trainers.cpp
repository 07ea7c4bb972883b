// SPDX-License-Identifier: Apache-2.0
// What trainers say, and what follows from it.
#include <chrono>

#include <unistd.h>

#include <spdlog/spdlog.h>

#include "daemon/daemon.h"

namespace telehelm::daemon {

using namespace ipc;
using supervise::Happening;
using supervise::HeartbeatWatch;

namespace {

constexpr std::int64_t kProgressEveryUs = 500'000;
constexpr std::uintmax_t kSpoolHeadBytes = 24; // a spool with nothing in it

} // namespace

Result<std::uint64_t> Daemon::onHello(const TrainerHello& hello) {
    std::vector<Command> pending;
    {
        const std::lock_guard lock(m_mutex);
        RunEntry* entry = findRun(hello.key.run);
        AttemptInfo* attempt = entry && hello.key.attempt != 0 ? entry->find(hello.key.attempt) : nullptr;
        if (!attempt)
            return fail(ErrorCode::NotFound, "this daemon has no attempt " + std::to_string(hello.key.attempt) + " of run “" + hello.key.run + "”",
                        "telehelmd");
        if (!m_draining.contains(hello.key)) {
            spdlog::info("{}/{}: trainer connected (pid {}, {} ranks)", hello.key.run, hello.key.attempt, hello.pid, hello.ranks);
            attempt->lastHeardUs = nowUs();
            if (isLive(attempt->state))
                m_heartbeats.expect(hello.key, std::chrono::steady_clock::now());
            happen(*entry, *attempt, Happening::TrainerSaidHello);
            auto waiting = m_store->pendingCommands(hello.key.run);
            if (!waiting)
                return tl::unexpected(waiting.error());
            for (Command& command : *waiting)
                if (command.state == CommandState::Accepted && command.kind != CommandKind::Restart && command.key == hello.key)
                    pending.push_back(std::move(command));
        }
    }
    m_ingest->flush(); // what came over an older connection counts
    auto stored = m_store->acknowledged(hello.key, hello.firstUnacked);
    if (!stored)
        return stored;
    m_book.acked(hello.key, *stored);
    if (hello.firstUnacked > *stored + 1)
        tellMissing(hello.key, *stored + 1, hello.firstUnacked - 1);
    for (const Command& command : pending) // the trainer does each UUID once
        m_link->send(hello.key, command);
    return stored;
}

// We have acked them, or the trainer would have them still: the store has lost its end or is an older copy.
void Daemon::tellMissing(const AttemptKey& key, std::uint64_t from, std::uint64_t to) {
    const std::lock_guard lock(m_mutex);
    Event event;
    event.key = key;
    event.kind = EventKind::Note;
    event.severity = Severity::Critical;
    event.text = "Batches " + std::to_string(from) + " to " + std::to_string(to) +
                 " are missing in the store although they were acknowledged: its files were damaged, cut off or put back from a copy while no "
                 "daemon ran. What came before and what comes after is whole.";
    event.facts = {{"first_sequence", std::to_string(from)}, {"last_sequence", std::to_string(to)}};
    tellEvent(std::move(event));
}

Result<std::uint64_t> Daemon::onBatch(TelemetryBatch&& batch) {
    auto queued = m_ingest->push(std::move(batch));
    if (!queued)
        return tl::unexpected(queued.error());
    return 0; // acked after the commit
}

void Daemon::onCommit(std::vector<TelemetryBatch>&& batches, std::vector<store::IngestedBatch>&& done) {
    std::map<AttemptKey, std::uint64_t> acks;
    for (std::size_t i = 0; i < batches.size(); ++i) {
        acks[batches[i].key] = done[i].ack;
        if (done[i].stored)
            m_book.stored(batches[i], done[i].points);
    }
    {
        const std::lock_guard lock(m_linkMutex);
        for (const auto& [key, ack] : acks) {
            if (m_link && ack > 0)
                m_link->ack(key, ack);
            m_book.acked(key, ack);
        }
    }
    const std::lock_guard lock(m_mutex);
    for (std::size_t i = 0; i < batches.size(); ++i) {
        if (done[i].refused)
            spdlog::warn("{}", done[i].refused->text());
        else if (done[i].stored)
            onCommitted(std::move(batches[i]), done[i]);
    }
}

void Daemon::onCommitted(TelemetryBatch&& batch, const store::IngestedBatch& done) {
    RunEntry* entry = findRun(batch.key.run);
    AttemptInfo* attempt = entry ? entry->find(batch.key.attempt) : nullptr;
    if (!attempt)
        return;
    const bool isNewest = attempt == &entry->attempts.back();
    attempt->pointsStored += done.points;
    attempt->pointsEmitted = std::max(attempt->pointsEmitted, attempt->pointsStored);
    attempt->lastSequence = std::max(attempt->lastSequence, batch.sequence);
    attempt->lastHeardUs = nowUs();
    for (const SeriesBlock& block : batch.series)
        for (const Point& point : block.points) {
            attempt->step = std::max(attempt->step, point.step);
            attempt->tokens = std::max(attempt->tokens, point.tokens);
            if (isNewest)
                entry->takeMixturePoint(block.name, point.tokens, point.value);
        }
    News news;
    news.batch = std::move(batch);
    const TelemetryBatch& sent = news.batch;
    for (const Event& event : sent.events) {
        spdlog::info("{}/{}: {}", event.key.run, event.key.attempt, event.text);
        if (event.kind == EventKind::AttemptEnded)
            entry->ends[event.key.attempt] = event;
        if (event.kind == EventKind::CheckpointSaved)
            (void)m_shelf->list(event.key.run, checkpointDir(*entry)); // queues it for verification
        WatchUpdate update;
        update.event = event;
        m_hub.publish(event.key.run, update);
    }
    m_live->publish(std::move(news));
    for (const Command& command : done.settled)
        settled(*entry, command);
    if (nowUs() - entry->pushedUs > kProgressEveryUs)
        tellProgress(*entry);
}

void Daemon::onStoreTrouble(const std::optional<Error>& trouble) {
    m_book.storeTrouble(trouble);
    if (trouble)
        spdlog::error("telemetry cannot be stored: {}. Trainers go on and keep their points", trouble->text());
    else
        spdlog::info("the store takes telemetry again");
}

void Daemon::onHeartbeat(const TrainerHeartbeat& beat) {
    const std::lock_guard lock(m_mutex);
    RunEntry* entry = findRun(beat.key.run);
    AttemptInfo* attempt = entry ? entry->find(beat.key.attempt) : nullptr;
    if (!attempt || m_draining.contains(beat.key))
        return;
    m_heartbeats.heard(beat.key, std::chrono::steady_clock::now());
    if (attempt == &entry->attempts.back())
        entry->retry.heard(beat.step, beat.phase, std::chrono::steady_clock::now());
    attempt->lastHeardUs = nowUs();
    attempt->step = std::max(attempt->step, beat.step);
    attempt->tokens = std::max(attempt->tokens, beat.tokens);
    attempt->pointsEmitted = std::max(attempt->pointsEmitted, beat.pointsEmitted);
    // Normally an outcome has said so before; a heartbeat mends what a lost daemon left behind.
    if (beat.phase == "paused" && (attempt->state == AttemptState::Running || attempt->state == AttemptState::Pausing)) {
        auto pending = m_store->pendingCommands(beat.key.run);
        if (pending && pending->empty())
            happen(*entry, *attempt, Happening::Held);
    }
    if (nowUs() - entry->pushedUs > kProgressEveryUs)
        tellProgress(*entry);
}

void Daemon::onGone(const AttemptKey& key, bool goodbye) {
    const std::lock_guard lock(m_mutex);
    if (m_draining.contains(key))
        return;
    RunEntry* entry = findRun(key.run);
    AttemptInfo* attempt = entry ? entry->find(key.attempt) : nullptr;
    if (!attempt || !isLive(attempt->state))
        return;
    if (goodbye) { // it ends: its process will be seen to exit
        m_heartbeats.forget(key);
        return;
    }
    Event event;
    event.key = key;
    event.kind = EventKind::LinkLost;
    event.severity = Severity::Warning;
    event.step = attempt->step;
    event.tokens = attempt->tokens;
    event.text = "The link to the trainer is lost; it keeps its points until the link is back.";
    tellEvent(std::move(event));
}

void Daemon::onBadFrame(const Error& error) { spdlog::warn("{}", error.text()); }

// Late heartbeats; and, now and then, what only memory knows is written down.
void Daemon::minderLoop() {
    using namespace std::chrono_literals;
    for (int beat = 0; !m_stopping; ++beat) {
        std::this_thread::sleep_for(200ms);
        const std::lock_guard lock(m_mutex);
        mindRetries();
        if (beat % 5 == 4) // once a second
            m_live->beat();
        for (const HeartbeatWatch::Finding& finding : m_heartbeats.check(std::chrono::steady_clock::now())) {
            RunEntry* entry = findRun(finding.key.run);
            const AttemptInfo* attempt = entry ? entry->find(finding.key.attempt) : nullptr;
            if (!attempt)
                continue;
            Event event;
            event.key = finding.key;
            event.step = attempt->step;
            event.tokens = attempt->tokens;
            const std::string silent = std::to_string(finding.silent.count()) + " s";
            event.facts = {{"silent_s", std::to_string(finding.silent.count())}};
            if (finding.verdict == HeartbeatWatch::Verdict::Back) {
                event.kind = EventKind::LinkRestored;
                event.text = "The trainer is heard again after " + silent + ".";
            } else {
                const bool isHung = finding.verdict == HeartbeatWatch::Verdict::Hung;
                event.kind = EventKind::HeartbeatLost;
                event.severity = isHung ? Severity::Critical : Severity::Warning;
                event.text = isHung ? "No heartbeat for " + silent + ": the job hangs or its machine is gone; its process still exists. Restart it from a checkpoint if it does not come back."
                                    : "No heartbeat from the trainer for " + silent + ".";
                event.facts["hung"] = isHung ? "yes" : "no";
            }
            tellEvent(std::move(event));
        }
        if (beat % 25 == 24)
            for (auto& [name, entry] : m_runs)
                if (!entry.attempts.empty() && isLive(entry.newest().state))
                    if (auto stored = m_store->updateAttempt(entry.newest()); !stored)
                        spdlog::error("{}", stored.error().text());
    }
}

// A trainer that ended without us left its last batches in its spool: read as any trainer would send them.
void Daemon::drainSpool(const AttemptKey& key, Spool whose) {
    TrainerLinkOptions options;
    {
        const std::lock_guard lock(m_mutex);
        RunEntry* entry = findRun(key.run);
        const AttemptInfo* attempt = entry ? entry->find(key.attempt) : nullptr;
        std::error_code error;
        if (!attempt || (whose == Spool::OfEnded && isLive(attempt->state))) // another run may have the name by now
            return;
        options.spoolFile = std::filesystem::path(attempt->runDir) / "spool";
        const auto bytes = std::filesystem::file_size(options.spoolFile, error);
        if (error || bytes <= kSpoolHeadBytes)
            return;
        m_draining.insert(key);
    }
    options.endpoint = m_link->endpoint();
    options.key = key;
    options.pid = getpid();
    options.launcherNote = "left spool, read by the daemon";
    {
        auto link = makeTrainerLink(options);
        if (!link)
            spdlog::error("{}", link.error().text());
        else if (!(*link)->flush(30'000))
            spdlog::error("{}/{}: the trainer's spool could not be read to its end: {}", key.run, key.attempt, (*link)->counters().problem);
    }
    m_ingest->flush();
    const std::lock_guard lock(m_mutex);
    m_draining.erase(key);
}

} // namespace telehelm::daemon
