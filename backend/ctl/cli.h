// SPDX-License-Identifier: Apache-2.0
// telehelmctl as a function, so that tests can call it without a process.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "telehelm/ipc/result.h"

namespace telehelm::ctl {

enum ExitCode : int {
    kOk = 0,
    kFailed = 1,
    kUsage = 2,
    kUnreachable = 3,
    kRefused = 4, // by the daemon or the trainer
    kNotFound = 5,
};
[[nodiscard]] ExitCode exitCodeOf(ErrorCode code);

/// Where the words go. Colour and redrawn lines only on a terminal.
struct Terminal {
    std::ostream& out;
    std::ostream& err;
    bool isTty = false;
    bool hasColour = false;
    int columns = 100;
    std::istream* in = nullptr; // where an operator can be asked; null: nobody is there
};

/// `arguments` without the program's name. Returns the exit status.
int run(std::vector<std::string> arguments, const Terminal& terminal);

} // namespace telehelm::ctl
