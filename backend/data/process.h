// SPDX-License-Identifier: Apache-2.0
// Runs another program, with what it says in a string.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "telehelm/ipc/result.h"

namespace telehelm::data {

struct ProcessResult {
    int exitCode = 0;   // 128 + signal if one ended it
    std::string output; // standard output and standard error as they came, at most 64 KB of the end
};

/// Found on PATH, in the folder `cwd`, without standard input, speaking English (LC_ALL=C). `tick` is called about five times a
/// second; when it gives false, the program is told to end and Cancelled is returned. NotFound: there is no such program.
[[nodiscard]] Result<ProcessResult> runProcess(const std::vector<std::string>& command, const std::filesystem::path& cwd,
                                               const std::function<bool()>& tick);

} // namespace telehelm::data
