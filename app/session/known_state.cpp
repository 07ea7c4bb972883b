// SPDX-License-Identifier: GPL-3.0-or-later
#include "session/known_state.h"

#include <algorithm>

namespace telehelm::app {
namespace {

int rank(ipc::CommandState state) {
    switch (state) {
    case ipc::CommandState::Requested: return 1;
    case ipc::CommandState::Accepted: return 2;
    default: return 3;
    }
}

/// An attempt that was heard of over the quicker link keeps its progress when the slower one tells an older story.
void keepProgress(ipc::AttemptInfo& next, const ipc::AttemptInfo& before) {
    next.step = std::max(next.step, before.step);
    next.tokens = std::max(next.tokens, before.tokens);
    next.lastHeardUs = std::max(next.lastHeardUs, before.lastHeardUs);
    if (next.configToml.empty())
        next.configToml = before.configToml;
}

} // namespace

Progress progressOf(const ipc::TelemetryBatch& batch) {
    Progress progress;
    for (const auto& block : batch.series)
        for (const auto& point : block.points) {
            progress.step = std::max(progress.step, point.step);
            progress.tokens = std::max(progress.tokens, point.tokens);
        }
    return progress;
}

ipc::RunInfo* KnownState::find(const std::string& name) {
    const auto it = std::find_if(runs.begin(), runs.end(), [&](const auto& r) { return r.run == name; });
    return it == runs.end() ? nullptr : &*it;
}

const ipc::RunInfo* KnownState::run(const std::string& name) const {
    const auto it = std::find_if(runs.begin(), runs.end(), [&](const auto& r) { return r.run == name; });
    return it == runs.end() ? nullptr : &*it;
}

KnownState::Change KnownState::merge(ipc::RunInfo run) {
    if (auto* known = find(run.run)) {
        for (auto& attempt : run.attempts)
            for (const auto& before : known->attempts)
                if (attempt.key == before.key)
                    keepProgress(attempt, before);
        *known = std::move(run);
        return Change::Changed;
    }
    if (const auto gone = m_deletedUs.find(run.run); gone != m_deletedUs.end() && run.createdUs <= gone->second)
        return Change::None;
    const auto at = std::find_if(runs.begin(), runs.end(), [&](const auto& r) { return r.createdUs < run.createdUs; });
    runs.insert(at, std::move(run));
    return Change::Added;
}

KnownState::Change KnownState::merge(const ipc::Event& event) {
    if (event.id == 0 || !m_eventIds.insert(event.id).second)
        return Change::None;
    const auto at = std::upper_bound(events.begin(), events.end(), event.id, [](std::int64_t id, const auto& e) { return id < e.id; });
    events.insert(at, event);
    return Change::Added;
}

KnownState::Change KnownState::merge(const ipc::Command& command) {
    const auto it = std::find_if(commands.begin(), commands.end(), [&](const auto& c) { return c.id == command.id; });
    if (it != commands.end()) {
        if (rank(command.state) < rank(it->state) || command == *it)
            return Change::None;
        *it = command;
        return Change::Changed;
    }
    const auto at = std::find_if(commands.begin(), commands.end(), [&](const auto& c) { return c.requestedUs < command.requestedUs; });
    commands.insert(at, command);
    return Change::Added;
}

KnownState::Change KnownState::merge(const ipc::News& news) {
    auto* run = find(news.batch.key.run);
    if (run == nullptr)
        return Change::None;
    const auto it = std::find_if(run->attempts.begin(), run->attempts.end(),
                                 [&](const auto& a) { return a.key.attempt == news.batch.key.attempt; });
    if (it == run->attempts.end()) {
        if (!news.attempt)
            return Change::None;
        run->attempts.push_back(*news.attempt);
        return Change::Changed;
    }
    if (news.attempt) {
        const auto before = *it;
        *it = *news.attempt;
        keepProgress(*it, before);
    }
    const auto progress = progressOf(news.batch);
    if (progress.step < 0 && !news.attempt)
        return Change::None;
    it->step = std::max(it->step, progress.step);
    it->tokens = std::max(it->tokens, progress.tokens);
    it->lastHeardUs = std::max(it->lastHeardUs, news.publishedUs);
    return Change::Changed;
}

bool KnownState::forget(const ipc::DeletedRun& deleted) {
    const std::string& run = deleted.run;
    m_deletedUs[run] = deleted.deletedUs;
    std::erase_if(events, [&](const auto& event) { return event.key.run == run; }); // their ids stay known: none comes back
    std::erase_if(commands, [&](const auto& command) { return command.key.run == run; });
    return std::erase_if(runs, [&](const auto& r) { return r.run == run; }) > 0;
}

void KnownState::clear() { *this = {}; }

} // namespace telehelm::app
