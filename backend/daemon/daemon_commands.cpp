// SPDX-License-Identifier: Apache-2.0
// Orders: judged before they are accepted, sent down, settled by what the trainer answers.
#include <spdlog/spdlog.h>

#include "daemon/command_rules.h"
#include "daemon/daemon.h"
#include "daemon/run_origin.h"

namespace telehelm::daemon {

using namespace ipc;
using supervise::Happening;

namespace {

std::string byWhom(const Command& command) { return command.author.empty() ? "" : " by " + command.author; }

Event commandEvent(const Command& command) {
    Event event;
    event.key = command.key;
    event.kind = EventKind::CommandUpdated;
    event.severity = command.state == CommandState::Applied || command.state == CommandState::Accepted ? Severity::Info : Severity::Warning;
    event.step = command.appliedStep;
    event.text = std::string(name(command.kind)) + byWhom(command) + ": " + name(command.state) +
                 (command.state == CommandState::Applied && command.appliedStep >= 0 ? " at step " + std::to_string(command.appliedStep) : "") +
                 (command.outcome.empty() ? "" : ". " + command.outcome);
    event.facts = {{"command", command.id}, {"kind", name(command.kind)}, {"state", name(command.state)}};
    return event;
}

config::ConfigOverrides percentOverrides(const Mixture& mixture) {
    config::ConfigOverrides overrides;
    overrides.mixturePercent.emplace();
    for (const auto& [domain, share] : mixture)
        (*overrides.mixturePercent)[domain] = share * 100;
    return overrides;
}

// What the command changes against what is in force, as TOML lines.
std::string diffOf(const Command& command, const RunEntry& entry) {
    const std::string& text = entry.attempts.back().configToml;
    if (command.kind == CommandKind::SetMixture) {
        auto before = config::applyOverrides(text, percentOverrides(entry.target));
        auto after = config::applyOverrides(text, percentOverrides(command.mixture));
        return before && after ? config::configDiff(*before, *after) : std::string();
    }
    if (command.kind == CommandKind::SetLrScale) {
        config::ConfigOverrides overrides;
        overrides.lrScale = command.lrScale;
        auto after = config::applyOverrides(text, overrides);
        return after ? config::configDiff(text, *after) : std::string();
    }
    return {};
}

} // namespace

Result<Command> Daemon::submit(const Command& asked) {
    if (m_options.readOnly)
        return tl::unexpected(onlyReads());
    if (asked.id.empty())
        return fail(ErrorCode::InvalidArgument, "a command needs a UUID, so that sending it again is harmless", "telehelmd");
    const std::lock_guard lock(m_mutex);
    auto known = m_store->command(asked.id);
    if (!known)
        return tl::unexpected(known.error());
    if (*known)
        return **known;
    Command command = asked;
    command.requestedUs = nowUs();
    command.acceptedUs = command.endedUs = 0;
    command.state = CommandState::Requested;
    command.outcome.clear();
    command.diff.clear();
    command.appliedStep = -1;
    command.newAttempt = 0;
    RunEntry* entry = findRun(command.key.run);
    const auto refused = entry ? judge(command, *entry) : std::optional(unknownRun(command.key.run).message + ".");
    if (entry && command.key.attempt == 0)
        command.key.attempt = entry->newest().key.attempt;
    command.state = refused ? CommandState::Rejected : CommandState::Accepted;
    command.outcome = refused.value_or("");
    (refused ? command.endedUs : command.acceptedUs) = nowUs();
    if (auto stored = m_store->putCommand(command); !stored)
        return tl::unexpected(stored.error());
    spdlog::info("{}/{}: {}{} {}{}", command.key.run, command.key.attempt, name(command.kind), byWhom(command), name(command.state),
                 refused ? ": " + *refused : "");
    tellCommand(command);
    if (!refused)
        accepted(*entry, command);
    return command;
}

// Fills what acceptance adds: the attempt, the diff, the number of a restart's new attempt.
std::optional<std::string> Daemon::judge(Command& command, RunEntry& entry) {
    CommandContext context;
    const AttemptInfo& newest = entry.newest();
    context.state = newest.state;
    context.stateText = newest.stateText;
    context.newestAttempt = newest.key.attempt;
    context.step = newest.step;
    context.isRestarting = entry.isRestarting;
    context.hasPendingRetry = entry.retry.due.has_value();
    context.origin = entry.origin;
    if (entry.origin && command.kind == CommandKind::Restart)
        context.importedCheckpoint = newestCheckpointBeside(entry.origin->folder);
    for (const CorpusDomain& domain : entry.corpus)
        context.domains.push_back(domain.name);
    if (auto refused = refusal(command, context))
        return refused;
    command.key.attempt = newest.key.attempt;
    if (command.kind == CommandKind::Restart)
        return judgeRestart(command, entry);
    command.diff = diffOf(command, entry);
    return std::nullopt;
}

void Daemon::accepted(RunEntry& entry, const Command& command) {
    if (overruleRetry(entry, command))
        return;
    AttemptInfo& attempt = entry.newest();
    switch (command.kind) {
    case CommandKind::Pause: happen(entry, attempt, Happening::PauseAccepted); break;
    case CommandKind::Resume: happen(entry, attempt, Happening::ResumeAccepted); break;
    case CommandKind::Stop: happen(entry, attempt, Happening::StopAccepted); break;
    case CommandKind::Restart:
        entry.isRestarting = true;
        m_tasks->add([this, id = command.id] { carryOutRestart(id); });
        return;
    default: break;
    }
    m_link->send(attempt.key, command); // not connected: it is sent when the trainer says hello
}

void Daemon::settled(RunEntry& entry, const Command& command) {
    AttemptInfo* attempt = entry.find(command.key.attempt);
    const bool isApplied = command.state == CommandState::Applied;
    if (attempt) {
        if (isApplied && command.kind == CommandKind::Pause)
            happen(entry, *attempt, Happening::Held);
        else if (isApplied && command.kind == CommandKind::Resume)
            happen(entry, *attempt, Happening::Resumed);
        else if (!isApplied && ((command.kind == CommandKind::Pause && attempt->state == AttemptState::Pausing) ||
                                (command.kind == CommandKind::Stop && attempt->state == AttemptState::Stopping)))
            happen(entry, *attempt, Happening::CommandRefused);
    }
    if (isApplied && command.kind == CommandKind::SetMixture) {
        for (auto& [domain, share] : entry.target)
            share = 0;
        for (const auto& [domain, share] : command.mixture)
            entry.target[domain] = share;
    }
    tellCommand(command);
    Event event = commandEvent(command);
    if (attempt && event.step < 0)
        event.step = attempt->step;
    tellEvent(std::move(event));
}

void Daemon::settleAndTell(const CommandOutcome& outcome, const std::function<void(Command&)>& change) {
    auto done = m_store->settleCommand(outcome);
    if (!done)
        return spdlog::error("{}", done.error().text());
    if (!*done)
        return;
    Command command = std::move(**done);
    if (change) {
        change(command);
        if (auto stored = m_store->putCommand(command); !stored)
            spdlog::error("{}", stored.error().text());
    }
    if (RunEntry* entry = findRun(command.key.run))
        settled(*entry, command);
}

// An attempt has ended: what it was still asked to do will not happen.
void Daemon::failPending(const AttemptKey& key, const std::string& why, const std::string& exceptId) {
    auto pending = m_store->pendingCommands(key.run);
    if (!pending)
        return spdlog::error("{}", pending.error().text());
    for (const Command& command : *pending)
        if (command.key == key && command.id != exceptId)
            settleAndTell({command.id, CommandState::Failed, -1, why});
}

} // namespace telehelm::daemon
