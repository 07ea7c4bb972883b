// SPDX-License-Identifier: GPL-3.0-or-later
// Where a local daemon keeps its state, and where the programs lie. Any thread.
#pragma once

#include <QString>

namespace telehelm::app {

/// $XDG_STATE_HOME/telehelm, by default ~/.local/state/telehelm.
[[nodiscard]] QString defaultStateDir();
/// A program of Telehelm: next to this one, else in PATH; empty when it is nowhere.
[[nodiscard]] QString findProgram(const QString& name);
/// A file of the source tree or the installation ("configs/demo_cpu.toml"): below the program's parents, else below the working folder.
[[nodiscard]] QString findSharedFile(const QString& relative);

} // namespace telehelm::app
