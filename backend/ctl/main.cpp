// SPDX-License-Identifier: Apache-2.0
#include <csignal>
#include <cstdlib>
#include <iostream>

#include <sys/ioctl.h>
#include <unistd.h>

#include "ctl/cli.h"

int main(int argc, char** argv) {
    std::signal(SIGPIPE, SIG_DFL); // `telehelmctl series … | head` ends quietly
    telehelm::ctl::Terminal terminal{std::cout, std::cerr};
    if (isatty(STDIN_FILENO) != 0 && isatty(STDERR_FILENO) != 0)
        terminal.in = &std::cin;
    winsize size{};
    terminal.isTty = isatty(STDOUT_FILENO) != 0;
    terminal.hasColour = terminal.isTty && getenv("NO_COLOR") == nullptr;
    if (terminal.isTty && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        terminal.columns = size.ws_col;
    return telehelm::ctl::run({argv + 1, argv + argc}, terminal);
}
