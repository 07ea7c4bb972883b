// SPDX-License-Identifier: Apache-2.0
// What the daemon does by itself when a rank has died: the policy as pure functions, and what it remembers of a run.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "telehelm/ipc/types.h"

namespace telehelm::daemon {

/// Of one run; guarded like its RunEntry.
struct Retry {
    using Time = std::chrono::steady_clock::time_point;
    std::set<std::uint32_t> byItself; // attempts that the daemon made by itself
    std::optional<Time> due;          // one is pending
    bool isUnderWay = false;          // it was due, and waits for its turn
    std::string why;                  // of the pending one
    // Progress of the newest attempt, as its heartbeats tell it.
    std::int64_t step = -1;
    std::string phase;
    Time progressAt;
    std::uint32_t hungAttempt = 0; // killed because it made none
    std::string hungText, hungRanks; // "1, 3"; empty: not known

    void launched(Time now);
    void heard(std::int64_t step, const std::string& phase, Time now);
};

/// How an attempt ended, as far as the policy asks.
struct FailedAttempt {
    ipc::AttemptState before = ipc::AttemptState::Running; // its state when it ended
    ipc::AttemptState after = ipc::AttemptState::Failed;
    std::optional<int> exitCode;
};
struct Verdict {
    std::int64_t restart = 0; // its number in a row; 0: none
    double delayS = 0;
    std::string text; // why not, where somebody should know; else empty
};
/// `made`: restarts in a row up to this failure.
[[nodiscard]] Verdict judgeFailure(const config::RestartPolicyConfig& policy, std::int64_t made, const FailedAttempt& failed);

/// Attempts that came of the daemon's own restarts.
[[nodiscard]] std::set<std::uint32_t> madeByItself(const std::vector<ipc::Command>& commands);

/// Restarts that the daemon made by itself up to the newest attempt, since somebody last started or restarted the run and since an attempt
/// came `resetSteps` steps farther than all before it. Steps that were made before show nothing: whatever kills may lie beyond them.
[[nodiscard]] std::int64_t restartsInARow(const std::vector<ipc::AttemptInfo>& attempts, const std::set<std::uint32_t>& byItself,
                                          std::int64_t resetSteps);

/// Checkpoints that are not taken again although they may be sound, and why: an attempt from it died before it had made a step, or two did
/// without coming farther than was reached before and without a verified checkpoint of their own. One that came farther clears it.
[[nodiscard]] std::map<std::string, std::string> deadlyCheckpoints(const std::vector<ipc::AttemptInfo>& attempts,
                                                                   const std::set<std::uint32_t>& byItself,
                                                                   const std::vector<ipc::CheckpointInfo>& checkpoints);

inline constexpr const char* kDaemonAuthor = "telehelmd"; // of the restarts that it makes by itself
/// Facts of the event that announces one.
inline constexpr const char* kRestartFact = "restart"; // its number in a row
inline constexpr const char* kDelayFact = "delay_s";
struct PendingRetry {
    std::int64_t count = 0;
    std::int64_t dueUs = 0; // wall time
};
/// The restart that was announced for the run's newest attempt and neither made nor called off; `events` are the run's last ones.
[[nodiscard]] std::optional<PendingRetry> announcedRetry(const ipc::AttemptInfo& newest, const std::vector<ipc::Event>& events,
                                                         const std::vector<ipc::Command>& commands);

/// Checkpoints on the curve that ends in `attempt`, newest first: its own, then its parent's up to the fork, …
[[nodiscard]] std::vector<ipc::CheckpointInfo> onLineage(const std::vector<ipc::AttemptInfo>& attempts, std::uint32_t attempt,
                                                         const std::vector<ipc::CheckpointInfo>& all);

} // namespace telehelm::daemon
