// SPDX-License-Identifier: Apache-2.0
// A rank has died or hangs: which one, and what the daemon does about it by itself.
#include <algorithm>
#include <chrono>
#include <cstdio>

#include <spdlog/spdlog.h>

#include "daemon/daemon.h"
#include "supervise/rank_death.h"

namespace telehelm::daemon {

using namespace ipc;
using Clock = std::chrono::steady_clock;

namespace {

constexpr std::uint32_t kLastEvents = 64; // an attempt's end is among them
constexpr std::size_t kLogLines = 80; // mpirun is talkative

std::string seconds(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.3g s", value);
    return text;
}

std::string listed(const std::vector<int>& ranks) {
    std::string text;
    for (const int rank : ranks)
        text += (text.empty() ? "" : ", ") + std::to_string(rank);
    return text;
}

} // namespace

// The first words of a failure's report, in the event and in the attempt's state: rank and reason.
void Daemon::blameRank(const RunEntry& entry, AttemptInfo& attempt, const supervise::JobExit& ended, Event& event) const {
    if (entry.retry.hungAttempt == attempt.key.attempt) {
        event.text = attempt.stateText = entry.retry.hungText;
        event.facts["why"] = "hang";
        if (!entry.retry.hungRanks.empty())
            event.facts["rank"] = entry.retry.hungRanks;
        return;
    }
    const std::string log = supervise::lastLines(std::filesystem::path(attempt.runDir) / "log.txt", kLogLines);
    if (const auto death = supervise::whoDied(log)) {
        event.facts["rank"] = std::to_string(death->rank);
        event.facts["why"] = death->why;
        const std::string verdict = "Rank " + std::to_string(death->rank) + " died: " + death->why + ".";
        attempt.stateText = verdict + "\n" + attempt.stateText;
        event.text = verdict + (death->ownLines.empty() ? "" : " Its own last lines:\n" + death->ownLines) + "\n" + event.text;
    } else if (entry.config && entry.config->parallel.ranks() == 1) {
        event.facts["rank"] = "0";
        event.facts["why"] = ended.text();
    }
}

void Daemon::considerRetry(RunEntry& entry, const AttemptInfo& attempt, AttemptState before, const supervise::JobExit& ended) {
    if (&attempt != &entry.attempts.back() || entry.isRestarting || m_shutdown || !entry.config)
        return;
    if (isLive(attempt.state) || attempt.state == AttemptState::Finished || attempt.state == AttemptState::Stopped)
        return;
    const config::RestartPolicyConfig& policy = entry.config->restartPolicy;
    const std::int64_t made = restartsInARow(entry.attempts, entry.retry.byItself, policy.resetSteps);
    const Verdict verdict = judgeFailure(policy, made, {before, attempt.state, ended.exitCode});
    if (verdict.restart == 0 && verdict.text.empty())
        return;
    Event event;
    event.key = attempt.key;
    event.kind = EventKind::Note;
    event.step = attempt.step;
    event.tokens = attempt.tokens;
    event.severity = verdict.restart > 0 ? Severity::Warning : Severity::Critical;
    event.text = verdict.text;
    if (verdict.restart > 0) {
        const std::string restart = std::to_string(verdict.restart), most = std::to_string(policy.maxRetries);
        entry.retry.due = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(verdict.delayS));
        entry.retry.why = attempt.stateText.substr(0, attempt.stateText.find('\n'));
        event.text = "It is restarted from the last good checkpoint in " + seconds(verdict.delayS) + " (restart " + restart + " of " + most +
                     "). Stop or pause the run to prevent it.";
        event.facts = {{kRestartFact, restart}, {"max_retries", most}, {kDelayFact, seconds(verdict.delayS)}};
    }
    tellEvent(std::move(event));
}

// After a start of the daemon: what it knew of the run's restarts, from what it wrote down.
Result<void> Daemon::recallRetry(RunEntry& entry) {
    const auto commands = m_store->commands({entry.record.run});
    if (!commands)
        return tl::unexpected(commands.error());
    entry.retry.byItself = madeByItself(*commands);
    const AttemptInfo& newest = entry.newest();
    if (!entry.config || newest.state == AttemptState::Finished || newest.state == AttemptState::Stopped)
        return {};
    const auto events = m_store->events({entry.record.run, 0, kLastEvents});
    if (!events)
        return tl::unexpected(events.error());
    if (const auto pending = announcedRetry(newest, *events, *commands)) {
        const auto left = std::chrono::microseconds(std::max<std::int64_t>(0, pending->dueUs - nowUs()));
        entry.retry.due = Clock::now() + left;
        entry.retry.why = newest.stateText.substr(0, newest.stateText.find('\n'));
        spdlog::info("{}/{}: restart {} in a row is due in {}", entry.record.run, newest.key.attempt, pending->count,
                     seconds(std::chrono::duration<double>(left).count()));
    }
    return {};
}

// An operator's word comes before a pending restart. True when there was one and the order is done by that.
bool Daemon::overruleRetry(RunEntry& entry, const Command& command) {
    if (!entry.retry.due)
        return false;
    if (command.kind != CommandKind::Stop && command.kind != CommandKind::Pause && command.kind != CommandKind::Restart)
        return false;
    entry.retry.due.reset();
    if (command.kind == CommandKind::Restart) // it takes the pending one's place
        return false;
    settleAndTell({command.id, CommandState::Applied, -1, "The pending restart is called off; the run stays down until it is restarted from a checkpoint."});
    return true;
}

// From the minder's loop: restarts that are due, jobs that hang.
void Daemon::mindRetries() {
    const auto now = Clock::now();
    for (auto& [name, entry] : m_runs) {
        if (entry.attempts.empty() || !entry.config)
            continue;
        if (entry.retry.due && *entry.retry.due <= now) {
            entry.retry.due.reset();
            entry.retry.isUnderWay = true;
            m_tasks->add([this, run = name] { carryOutRetry(run); });
        }
        const AttemptInfo& attempt = entry.newest();
        const double allowed = entry.config->restartPolicy.hangS;
        const double silent = std::chrono::duration<double>(now - entry.retry.progressAt).count();
        if (allowed > 0 && silent > allowed && isLive(attempt.state) && !entry.isRestarting && entry.retry.hungAttempt != attempt.key.attempt)
            killHung(entry, attempt, silent);
    }
}

void Daemon::killHung(RunEntry& entry, const AttemptInfo& attempt, double silentS) {
    const auto process = m_supervisor->processOf(attempt.key);
    if (!process)
        return; // it is gone already; its end is on the way
    const auto ranks = supervise::lookAtRanks(*process, attempt.runDir);
    const std::vector<int> hung = supervise::laggards(ranks);
    entry.retry.hungAttempt = attempt.key.attempt;
    entry.retry.hungRanks = listed(hung);
    const std::string who = hung.empty() ? "The job hangs" : hung.size() == 1 ? "Rank " + listed(hung) + " hangs" : "Ranks " + listed(hung) + " hang";
    entry.retry.hungText = who + ": no progress for " + seconds(silentS) + " after step " + std::to_string(attempt.step) +
                           (entry.retry.phase.empty() ? "" : " (" + entry.retry.phase + ")") + "; the job was killed.";
    for (const auto& [rank, look] : ranks)
        entry.retry.hungText += "\nrank " + std::to_string(rank) + " (" + look.text() + ")";
    spdlog::warn("{}/{}: {}", attempt.key.run, attempt.key.attempt, entry.retry.hungText);
    m_supervisor->kill(attempt.key);
}

Daemon::Choice Daemon::lastGoodCheckpoint(const std::string& run) {
    std::vector<AttemptInfo> attempts;
    std::set<std::uint32_t> byItself;
    std::filesystem::path folder;
    {
        const std::lock_guard lock(m_mutex);
        RunEntry* entry = findRun(run);
        attempts = entry->attempts;
        byItself = entry->retry.byItself;
        folder = checkpointDir(*entry);
    }
    const auto all = m_shelf->list(run, folder);
    const auto deadly = deadlyCheckpoints(attempts, byItself, all);
    Choice choice;
    const auto leaveOut = [&choice](const CheckpointInfo& checkpoint, const std::string& why) {
        choice.leftOut += "\n" + std::filesystem::path(checkpoint.path).filename().string() + ": " + why + ".";
    };
    for (const CheckpointInfo& checkpoint : onLineage(attempts, attempts.back().key.attempt, all)) {
        if (const auto why = deadly.find(checkpoint.path); why != deadly.end()) {
            leaveOut(checkpoint, why->second);
            continue;
        }
        CheckpointInfo checked = m_shelf->verified(checkpoint); // also where it was sound before: a job has died since
        if (checked.damage.empty()) {
            choice.checkpoint = std::move(checked);
            break;
        }
        leaveOut(checkpoint, checked.damage);
    }
    return choice;
}

// On the task thread.
void Daemon::carryOutRetry(const std::string& run) {
    const auto [checkpoint, leftOut] = lastGoodCheckpoint(run);
    const std::lock_guard lock(m_mutex);
    RunEntry* entry = findRun(run);
    entry->retry.isUnderWay = false;
    if (isLive(entry->newest().state) || entry->isRestarting || m_tasks->isStopping() || m_shutdown)
        return; // somebody else was faster
    const AttemptInfo failed = entry->newest();
    Command command;
    command.id = newUuid();
    command.key = failed.key;
    command.kind = CommandKind::Restart;
    command.author = kDaemonAuthor;
    command.reason = "restart policy: " + entry->retry.why;
    command.restart.emplace();
    command.state = CommandState::Accepted;
    command.requestedUs = command.acceptedUs = nowUs();
    command.newAttempt = failed.key.attempt + 1;
    AttemptInfo attempt;
    attempt.key = {run, command.newAttempt};
    attempt.configToml = failed.configToml;
    if (checkpoint) {
        const AttemptInfo* parent = entry->find(checkpoint->key.attempt);
        config::ConfigOverrides overrides;
        overrides.resumeCheckpoint = checkpoint->path;
        if (auto text = config::applyOverrides(failed.configToml, overrides))
            attempt.configToml = *text;
        else
            return spdlog::error("{}: {}", run, text.error().text());
        attempt.parent = parent ? parent->key.attempt : failed.key.attempt;
        attempt.forkStep = attempt.step = command.restart->checkpointStep = checkpoint->step;
        attempt.tokens = checkpoint->tokens;
        command.restart->checkpointAttempt = checkpoint->key.attempt;
    } else if (!leftOut.empty() || !entry->config->resume.checkpoint.empty()) { // from step 0 it would go another way
        return tellNoCheckpoint(failed, leftOut);
    }
    command.diff = config::configDiff(failed.configToml, attempt.configToml);
    if (auto stored = m_store->putCommand(command); !stored)
        return spdlog::error("{}", stored.error().text());
    tellCommand(command);
    const auto launched = launchAttempt(*entry, attempt);
    CommandOutcome outcome{command.id, CommandState::Failed, -1, launched ? std::string() : launched.error().text()};
    if (launched) {
        entry->retry.byItself.insert(command.newAttempt);
        outcome = {command.id, CommandState::Applied, attempt.forkStep + 1,
                   "Attempt " + std::to_string(attempt.key.attempt) + " goes on from step " + std::to_string(attempt.forkStep) +
                       (checkpoint ? " of attempt " + std::to_string(attempt.parent) : ": there was no checkpoint yet") + "." +
                       (leftOut.empty() ? "" : " Left out:" + leftOut)};
    }
    computeTokensSeen(*entry);
    settleAndTell(outcome);
}

void Daemon::tellNoCheckpoint(const AttemptInfo& failed, const std::string& leftOut) {
    Event event;
    event.key = failed.key;
    event.kind = EventKind::Note;
    event.severity = Severity::Critical;
    event.step = failed.step;
    event.text = "The run is not restarted by itself: no checkpoint on its curve can be taken." + leftOut;
    tellEvent(std::move(event));
}

} // namespace telehelm::daemon
