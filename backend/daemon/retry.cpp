// SPDX-License-Identifier: Apache-2.0
#include "daemon/retry.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace telehelm::daemon {

using ipc::AttemptState;

void Retry::launched(Time now) {
    due.reset();
    step = -1;
    phase.clear();
    progressAt = now;
}

void Retry::heard(std::int64_t newStep, const std::string& newPhase, Time now) {
    if (newStep != step || newPhase != phase || newPhase == "paused") // who is paused shall not move
        progressAt = now;
    step = newStep;
    phase = newPhase;
}

Verdict judgeFailure(const config::RestartPolicyConfig& policy, Retry& retry, const FailedAttempt& failed) {
    if (failed.after != AttemptState::Failed && failed.after != AttemptState::Lost)
        return {};
    if (policy.maxRetries == 0)
        return {false, 0, "[restart_policy] max_retries is 0: the run is not restarted by itself."};
    if (failed.before != AttemptState::Starting && failed.before != AttemptState::Running)
        return {false, 0, "The operator had asked it to pause or stop: it is not restarted by itself."};
    if (failed.exitCode == 2 || failed.exitCode == 3) // config, corpus: the same again would fail the same way
        return {false, 0, "Its config or corpus is at fault: it is not restarted by itself."};
    if (failed.healthySteps >= policy.resetSteps)
        retry.count = 0;
    if (retry.count >= policy.maxRetries)
        return {false, 0, "It was restarted " + std::to_string(retry.count) + " times in a row already: it is not restarted any more."};
    const double delay = policy.backoffS * std::pow(2.0, static_cast<double>(std::min<std::int64_t>(retry.count, 20)));
    ++retry.count;
    return {true, delay, ""};
}

std::set<std::string> deadlyCheckpoints(const std::vector<ipc::AttemptInfo>& attempts) {
    std::set<std::string> found;
    for (const ipc::AttemptInfo& attempt : attempts) {
        const bool diedAtOnce = (attempt.state == AttemptState::Failed || attempt.state == AttemptState::Lost) && attempt.step <= attempt.forkStep;
        if (!diedAtOnce)
            continue;
        if (const auto config = config::parseRunConfig(attempt.configToml, attempt.key.run); config && !config->resume.checkpoint.empty())
            found.insert(config->resume.checkpoint);
    }
    return found;
}

namespace {

bool isApplied(const ipc::Command& command, ipc::CommandKind kind) {
    return command.kind == kind && command.state == ipc::CommandState::Applied;
}

} // namespace

std::int64_t restartsInARow(const std::vector<ipc::AttemptInfo>& attempts, const std::vector<ipc::Command>& commands, std::int64_t resetSteps) {
    std::int64_t count = 0;
    for (std::size_t i = attempts.size(); i-- > 1;) {
        const bool byItself = std::ranges::any_of(commands, [&](const ipc::Command& command) {
            return isApplied(command, ipc::CommandKind::Restart) && command.author == kDaemonAuthor && command.newAttempt == attempts[i].key.attempt;
        });
        if (!byItself)
            break;
        ++count;
        if (attempts[i - 1].step - attempts[i - 1].forkStep >= resetSteps)
            break;
    }
    return count;
}

std::optional<PendingRetry> announcedRetry(const ipc::AttemptInfo& newest, const std::vector<ipc::Event>& events,
                                           const std::vector<ipc::Command>& commands) {
    if (newest.state != AttemptState::Failed && newest.state != AttemptState::Lost)
        return std::nullopt;
    const auto told = std::find_if(events.rbegin(), events.rend(), [&](const ipc::Event& event) {
        return event.key.attempt == newest.key.attempt && event.kind == ipc::EventKind::Note && event.facts.contains(kDelayFact);
    });
    if (told == events.rend())
        return std::nullopt;
    const bool calledOff = std::ranges::any_of(commands, [&](const ipc::Command& command) {
        return command.acceptedUs >= told->wallUs && (isApplied(command, ipc::CommandKind::Stop) || isApplied(command, ipc::CommandKind::Pause));
    });
    if (calledOff)
        return std::nullopt;
    PendingRetry pending;
    pending.count = std::atoll(told->facts.at(kRestartFact).c_str());
    pending.dueUs = told->wallUs + static_cast<std::int64_t>(std::atof(told->facts.at(kDelayFact).c_str()) * 1e6);
    return pending;
}

std::vector<ipc::CheckpointInfo> onLineage(const std::vector<ipc::AttemptInfo>& attempts, std::uint32_t attempt,
                                           const std::vector<ipc::CheckpointInfo>& all) {
    std::vector<ipc::CheckpointInfo> found;
    std::int64_t last = INT64_MAX;
    while (attempt != 0) {
        for (const ipc::CheckpointInfo& checkpoint : all) // newest first within an attempt
            if (checkpoint.key.attempt == attempt && checkpoint.step <= last)
                found.push_back(checkpoint);
        const auto info = std::find_if(attempts.begin(), attempts.end(), [&](const auto& a) { return a.key.attempt == attempt; });
        if (info == attempts.end() || info->parent >= attempt)
            break;
        last = std::min(last, info->forkStep);
        attempt = info->parent;
    }
    return found;
}

} // namespace telehelm::daemon
