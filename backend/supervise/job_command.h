// SPDX-License-Identifier: Apache-2.0
// What is executed for an attempt.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "telehelm/ipc/result.h"
#include "telehelm/ipc/types.h"

namespace telehelm::supervise {

struct JobSpec {
    ipc::AttemptKey key;
    std::int32_t ranks = 1;
    std::filesystem::path attemptDir;    // config.toml, log.txt, pid and the spool lie here
    std::filesystem::path checkpointDir;
    std::filesystem::path linkFile;      // where the trainer reads the daemon's endpoint
};

/// A program next to this one, else on the PATH; empty when there is none.
[[nodiscard]] std::filesystem::path findProgram(const std::string& name);

/// The command line: mpirun for several ranks, the trainer itself for one. `rankProgram` empty: telehelm-rank.
[[nodiscard]] Result<std::vector<std::string>> jobCommand(const JobSpec& spec, const std::filesystem::path& rankProgram = {});

} // namespace telehelm::supervise
