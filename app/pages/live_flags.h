// SPDX-License-Identifier: GPL-3.0-or-later
// Which events of a run become flags and squares in the event lane, and where. Values only.
#pragma once

#include <vector>

#include "plots/plot_types.h"
#include "telehelm/ipc/types.h"
#include "theme/theme.h"

namespace telehelm::app {

/// Flags of one run's events on an x axis; events that belong to no step are left out.
[[nodiscard]] std::vector<plots::Flag> flagsOf(const std::vector<ipc::Event>& events, const ipc::RunInfo& run, plots::XKind kind,
                                               const Theme& theme);

} // namespace telehelm::app
