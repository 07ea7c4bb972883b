// SPDX-License-Identifier: Apache-2.0
// Processes of Linux: start one in its own session, tell it from a stranger with a recycled pid, signal all of it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "telehelm/ipc/result.h"

namespace telehelm::supervise {

/// A pid that means one process for ever: with its start time and the boot it belongs to.
struct ProcessId {
    pid_t pid = 0;
    std::uint64_t startTicks = 0; // field 22 of /proc/PID/stat
    std::string bootId;
    bool isLauncher = false;      // mpirun: the ranks are its children
};

/// The process that has this pid now.
[[nodiscard]] std::optional<ProcessId> identify(pid_t pid);
/// True while that very process runs (a zombie does not).
[[nodiscard]] bool isAlive(const ProcessId& process);

struct SpawnOptions {
    std::vector<std::string> command;
    std::filesystem::path logFile; // stdout and stderr, appended
    std::filesystem::path workingDir;
    std::vector<std::string> extraEnvironment; // "NAME=value"
};
/// Starts it as the leader of its own session: it outlives us.
[[nodiscard]] Result<ProcessId> spawn(const SpawnOptions& options);

/// Sends the signal to every process of the leader's session; `spareLeader`: to all but the leader.
void signalSession(const ProcessId& leader, int signal, bool spareLeader);

[[nodiscard]] Result<void> writePidFile(const std::filesystem::path& file, const ProcessId& process);
[[nodiscard]] std::optional<ProcessId> readPidFile(const std::filesystem::path& file);

/// The last lines of a log, for the operator.
[[nodiscard]] std::string lastLines(const std::filesystem::path& file, std::size_t lines);

} // namespace telehelm::supervise
