// SPDX-License-Identifier: Apache-2.0
#include "daemon/retry.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace telehelm::daemon {

using ipc::AttemptState;

namespace {

bool isApplied(const ipc::Command& command, ipc::CommandKind kind) {
    return command.kind == kind && command.state == ipc::CommandState::Applied;
}

// The farthest step that was reached before an attempt began, since somebody last took charge of the run.
std::int64_t farthestBefore(const std::vector<ipc::AttemptInfo>& attempts, const std::set<std::uint32_t>& byItself, std::size_t index) {
    std::int64_t farthest = attempts[index].forkStep;
    for (; index > 0 && byItself.contains(attempts[index].key.attempt); --index)
        farthest = std::max(farthest, attempts[index - 1].step);
    return farthest;
}

// The checkpoint from which an attempt was started; empty: from step 0.
std::string startOf(const ipc::AttemptInfo& attempt) {
    const auto config = config::parseRunConfig(attempt.configToml, attempt.key.run);
    return config ? config->resume.checkpoint : std::string();
}

// Whether an attempt left a sound checkpoint of its own behind.
bool hasSaved(const ipc::AttemptInfo& attempt, const std::vector<ipc::CheckpointInfo>& checkpoints) {
    return std::ranges::any_of(checkpoints, [&](const ipc::CheckpointInfo& checkpoint) {
        return checkpoint.key.attempt == attempt.key.attempt && checkpoint.step > attempt.forkStep && checkpoint.verified;
    });
}

} // namespace

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

Verdict judgeFailure(const config::RestartPolicyConfig& policy, std::int64_t made, const FailedAttempt& failed) {
    if (failed.after != AttemptState::Failed && failed.after != AttemptState::Lost)
        return {};
    if (policy.maxRetries == 0)
        return {0, 0, "[restart_policy] max_retries is 0: the run is not restarted by itself."};
    if (failed.before != AttemptState::Starting && failed.before != AttemptState::Running)
        return {0, 0, "The operator had asked it to pause or stop: it is not restarted by itself."};
    if (failed.exitCode == 2 || failed.exitCode == 3) // config, corpus: the same again would fail the same way
        return {0, 0, "Its config or corpus is at fault: it is not restarted by itself."};
    if (made >= policy.maxRetries)
        return {0, 0, "It was restarted " + std::to_string(made) + " times in a row already: it is not restarted any more."};
    const double delay = policy.backoffS * std::pow(2.0, static_cast<double>(std::min<std::int64_t>(made, 20)));
    return {made + 1, delay, ""};
}

std::set<std::uint32_t> madeByItself(const std::vector<ipc::Command>& commands) {
    std::set<std::uint32_t> made;
    for (const ipc::Command& command : commands)
        if (isApplied(command, ipc::CommandKind::Restart) && command.author == kDaemonAuthor)
            made.insert(command.newAttempt);
    return made;
}

std::int64_t restartsInARow(const std::vector<ipc::AttemptInfo>& attempts, const std::set<std::uint32_t>& byItself, std::int64_t resetSteps) {
    std::int64_t count = 0;
    for (std::size_t i = attempts.size(); i-- > 0 && byItself.contains(attempts[i].key.attempt); ++count)
        if (attempts[i].step - farthestBefore(attempts, byItself, i) >= resetSteps)
            break;
    return count;
}

std::map<std::string, std::string> deadlyCheckpoints(const std::vector<ipc::AttemptInfo>& attempts, const std::set<std::uint32_t>& byItself,
                                                     const std::vector<ipc::CheckpointInfo>& checkpoints) {
    std::map<std::string, std::string> deadly;
    std::map<std::string, std::string> suspects; // one attempt from it came to nothing: which one
    for (std::size_t i = 0; i < attempts.size(); ++i) {
        const ipc::AttemptInfo& attempt = attempts[i];
        const std::string from = startOf(attempt), number = std::to_string(attempt.key.attempt);
        if (from.empty() || (attempt.state != AttemptState::Failed && attempt.state != AttemptState::Lost))
            continue;
        const std::int64_t farthest = farthestBefore(attempts, byItself, i);
        if (attempt.step <= attempt.forkStep)
            deadly.emplace(from, "attempt " + number + " from it died before it had made a step");
        else if (attempt.step > farthest || hasSaved(attempt, checkpoints))
            suspects.erase(from);
        else if (const auto [first, isNew] = suspects.emplace(from, number); !isNew)
            deadly.emplace(from, "attempts " + first->second + " and " + number + " from it died without coming farther than step " +
                                     std::to_string(farthest) + ", which was reached before");
    }
    return deadly;
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
