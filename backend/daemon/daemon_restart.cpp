// SPDX-License-Identifier: Apache-2.0
// Restart: a new attempt from a checkpoint, with changes.
#include <algorithm>
#include <chrono>

#include <spdlog/spdlog.h>

#include "daemon/config_text.h"
#include "daemon/daemon.h"

namespace telehelm::daemon {

using namespace ipc;
using supervise::Happening;

namespace {

constexpr int kStopMs = 20'000, kKillMs = 10'000;

config::ConfigOverrides overridesOf(const RestartOptions& options, const std::string& checkpoint) {
    config::ConfigOverrides overrides;
    overrides.resumeCheckpoint = checkpoint;
    overrides.lrScale = options.lrScale;
    overrides.clipGrad = options.clipGrad;
    overrides.dataSeed = options.dataSeed;
    if (options.skipBatches > 0)
        overrides.skipBatches = options.skipBatches;
    if (options.mixture) {
        overrides.mixturePercent.emplace();
        for (const auto& [domain, share] : *options.mixture)
            (*overrides.mixturePercent)[domain] = share * 100;
    }
    return overrides;
}

} // namespace

Result<CheckpointInfo> Daemon::chooseCheckpoint(const std::string& run, const std::filesystem::path& folder, const RestartOptions& options, Look look) {
    const auto all = m_shelf->list(run, folder);
    if (all.empty())
        return fail(ErrorCode::NotFound, "The run has no checkpoint yet; save one first (Checkpoint now).");
    std::string known;
    for (const CheckpointInfo& checkpoint : all)
        known += (known.empty() ? "" : ", ") + std::to_string(checkpoint.step) + " of attempt " + std::to_string(checkpoint.key.attempt);
    for (const CheckpointInfo& checkpoint : all) {
        if ((options.checkpointAttempt != 0 && checkpoint.key.attempt != options.checkpointAttempt) ||
            (options.checkpointStep >= 0 && checkpoint.step != options.checkpointStep))
            continue;
        const bool isKnown = checkpoint.verified && look == Look::IfUnknown;
        const CheckpointInfo checked = isKnown ? checkpoint : m_shelf->verified(checkpoint);
        if (checked.damage.empty())
            return checked;
        if (options.checkpointStep >= 0)
            return fail(ErrorCode::DataLoss, "The checkpoint of step " + std::to_string(checked.step) + " is damaged: " + checked.damage +
                                                 ". There are: " + known + ".");
    }
    return fail(ErrorCode::NotFound, options.checkpointStep >= 0
                                         ? "There is no checkpoint of step " + std::to_string(options.checkpointStep) + "; there are: " + known + "."
                                         : "No checkpoint of the run is sound; looked at: " + known + ".");
}

std::optional<std::string> Daemon::judgeRestart(Command& command, RunEntry& entry) {
    const auto checkpoint = chooseCheckpoint(command.key.run, checkpointDir(entry), *command.restart, Look::IfUnknown);
    if (!checkpoint)
        return checkpoint.error().message;
    const AttemptInfo* parent = entry.find(checkpoint->key.attempt);
    if (!parent)
        return "The checkpoint belongs to attempt " + std::to_string(checkpoint->key.attempt) + ", which is not known here.";
    const auto text = config::applyOverrides(parent->configToml, overridesOf(*command.restart, checkpoint->path));
    if (!text)
        return "The changed config is not valid: " + text.error().text() + ".";
    if (auto space = checkDisk(); !space)
        return space.error().text() + ".";
    command.restart->checkpointAttempt = checkpoint->key.attempt;
    command.restart->checkpointStep = checkpoint->step;
    command.newAttempt = entry.newest().key.attempt + 1;
    command.diff = config::configDiff(parent->configToml, *text);
    return std::nullopt;
}

void Daemon::carryOutRestart(const std::string& commandId) {
    const auto command = m_store->command(commandId);
    if (!command || !*command)
        return spdlog::error("restart {}: {}", commandId, command ? "its command is gone" : command.error().text());
    const auto made = restartNow(**command);
    const std::lock_guard lock(m_mutex);
    RunEntry* entry = findRun((*command)->key.run);
    entry->isRestarting = false;
    CommandOutcome outcome{commandId, CommandState::Failed, -1, made ? std::string() : made.error().text()};
    if (made) {
        const RestartOptions& options = *(*command)->restart;
        outcome = {commandId, CommandState::Applied, options.checkpointStep + 1,
                   "Attempt " + std::to_string(*made) + " goes on from step " + std::to_string(options.checkpointStep) + " of attempt " +
                       std::to_string(options.checkpointAttempt) + "."};
    }
    settleAndTell(outcome, [&](Command& done) { done.newAttempt = made ? *made : 0; });
    tellProgress(*entry);
}

Result<std::uint32_t> Daemon::restartNow(const Command& command) {
    std::filesystem::path folder;
    {
        const std::lock_guard lock(m_mutex);
        folder = checkpointDir(*findRun(command.key.run));
    }
    // Read once more before the running attempt is ended for it: a disk may have lost what it had.
    const auto checkpoint = chooseCheckpoint(command.key.run, folder, *command.restart, Look::Again);
    if (!checkpoint)
        return tl::unexpected(checkpoint.error());
    AttemptInfo attempt;
    AttemptKey old;
    {
        const std::lock_guard lock(m_mutex);
        RunEntry* entry = findRun(command.key.run);
        const AttemptInfo* parent = entry->find(checkpoint->key.attempt);
        const auto text = config::applyOverrides(parent->configToml, overridesOf(*command.restart, checkpoint->path));
        if (!text)
            return tl::unexpected(text.error());
        old = entry->newest().key;
        attempt.key = {command.key.run, old.attempt + 1};
        attempt.parent = checkpoint->key.attempt;
        attempt.forkStep = attempt.step = checkpoint->step;
        attempt.tokens = checkpoint->tokens;
        attempt.configToml = *text;
        if (auto can = m_supervisor->canLaunch(jobSpec(*entry, attempt, entry->config ? entry->config->parallel.ranks() : 1)); !can)
            return tl::unexpected(can.error()); // found out before the old attempt is ended
    }
    endForRestart(old, attempt.key.attempt, command.id);
    if (m_tasks->isStopping())
        return fail(ErrorCode::Cancelled, "the daemon was stopped during the restart; ask again");
    const std::lock_guard lock(m_mutex);
    RunEntry* entry = findRun(command.key.run);
    if (auto launched = launchAttempt(*entry, attempt); !launched)
        return tl::unexpected(launched.error());
    computeTokensSeen(*entry);
    return attempt.key.attempt;
}

// Stops the attempt without saving, waits, kills it if it does not go.
void Daemon::endForRestart(const AttemptKey& key, std::uint32_t replacedBy, const std::string& commandId) {
    if (m_supervisor->isRunning(key)) {
        Command stop;
        stop.id = newUuid();
        stop.key = key;
        stop.kind = CommandKind::Stop;
        stop.author = "telehelmd";
        stop.reason = "replaced by attempt " + std::to_string(replacedBy);
        stop.saveCheckpoint = false;
        // After a restart of the daemon the trainer needs a moment to find it again.
        for (int i = 0; i < 30 && !m_link->connected(key) && m_supervisor->isRunning(key) && !m_tasks->isStopping(); ++i)
            m_supervisor->waitUntilGone(key, 100);
        if (!m_link->send(key, stop))
            m_supervisor->terminate(key);
        const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(kStopMs);
        bool isGone = false;
        while (!isGone && std::chrono::steady_clock::now() < end && !m_tasks->isStopping())
            isGone = m_supervisor->waitUntilGone(key, 200);
        if (m_tasks->isStopping())
            return;
        if (!isGone) {
            spdlog::warn("{}/{}: does not stop within {} s; it is killed", key.run, key.attempt, kStopMs / 1000);
            m_supervisor->kill(key);
            if (!m_supervisor->waitUntilGone(key, kKillMs))
                spdlog::error("{}/{}: cannot be killed", key.run, key.attempt);
        }
    }
    m_ingest->flush();
    drainSpool(key);
    const std::lock_guard lock(m_mutex);
    RunEntry* entry = findRun(key.run);
    AttemptInfo* attempt = entry->find(key.attempt);
    const std::string why = "Replaced by attempt " + std::to_string(replacedBy) + ".";
    if (isLive(attempt->state)) {
        attempt->stateText = why;
        happen(*entry, *attempt, Happening::Replaced);
    }
    failPending(key, why, commandId);
}

} // namespace telehelm::daemon
