// SPDX-License-Identifier: GPL-3.0-or-later
// What telehelm can be told on its command line. Read before there is a QApplication.
#pragma once

#include <optional>

#include <QSize>
#include <QString>

#include "main_window/main_window.h"

namespace telehelm::app {

struct CommandLine {
    QString server, run, stateDir, config, platform, screenshot;
    bool demo = false, stopOnExit = false, quitAfterScreenshot = false, verbose = false;
    int ranks = 0;                    // of the demo; 0: as its config says
    std::optional<ThemeChoice> theme; // empty: as in the settings
    std::optional<Page> page;
    QSize size{1600, 1000};
    int screenshotAfterMs = 3000, quitAfterMs = -1;
};

/// An exit code instead when nothing is left to do (--help, --version) or something is wrong; the text has been printed then.
struct CommandLineResult {
    CommandLine line;
    std::optional<int> exitCode;
};
[[nodiscard]] CommandLineResult readCommandLine(int argc, char** argv);

} // namespace telehelm::app
