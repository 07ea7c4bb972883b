// SPDX-License-Identifier: Apache-2.0
// Which rank of a job died, and why: read from what mpirun and the rank itself wrote last.
#pragma once

#include <optional>
#include <string>

#include "supervise/process.h"

namespace telehelm::supervise {

struct RankDeath {
    int rank = -1;
    std::string why;      // "exit code 70", "signal 9 (Killed)"
    std::string ownLines; // the rank's own last lines, may be empty
};

/// `log`: the end of a job's log. Nothing when mpirun does not say.
[[nodiscard]] std::optional<RankDeath> whoDied(const std::string& log);

/// What each rank of a running job does now, one line per rank: "rank 1 (pid 4711): sleeping". A rank that waits in a
/// collective polls and is running; one that hangs outside of it mostly sleeps.
[[nodiscard]] std::string rankStates(const ProcessId& leader);

} // namespace telehelm::supervise
