// SPDX-License-Identifier: Apache-2.0
// Which rank of a job died, and why: read from what mpirun and the rank itself wrote last. Which one hangs: from where each stands.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "supervise/process.h"
#include "telehelm/ipc/rank_page.h"

namespace telehelm::supervise {

struct RankDeath {
    int rank = -1;
    std::string why;      // "exit code 70", "signal 9 (Killed)"
    std::string ownLines; // the rank's own last lines, may be empty
};

/// `log`: the end of a job's log. Nothing when mpirun does not say.
[[nodiscard]] std::optional<RankDeath> whoDied(const std::string& log);

/// What a rank of a running job does now.
struct RankLook {
    std::optional<ipc::RankPlace> place; // as it wrote it down
    pid_t pid = 0;
    char state = '?'; // the kernel's letter
    /// "pid 4711, sleeping: step 25, forward, waiting for other ranks"
    [[nodiscard]] std::string text() const;
};
/// By rank. `attemptDir`: where the ranks write down how far they are.
[[nodiscard]] std::map<int, RankLook> lookAtRanks(const ProcessId& leader, const std::filesystem::path& attemptDir);

/// The ranks for which all others wait: those that are stopped, else, of those that wait for nobody, the ones in the earliest phase of the
/// earliest step. None where every rank waits.
[[nodiscard]] std::vector<int> laggards(const std::map<int, RankLook>& ranks);

} // namespace telehelm::supervise
