// SPDX-License-Identifier: GPL-3.0-or-later
// Means of a series before and after a step, from the buckets of history. Pure.
#pragma once

#include <optional>
#include <vector>

#include "telehelm/ipc/types.h"

namespace telehelm::app {

struct MeanPair {
    std::optional<double> before, after; // empty: no finite point on that side
};

/// Over `window` steps on each side; `step` itself is the first step after. Superseded stretches do not count.
[[nodiscard]] MeanPair meansAround(const std::vector<ipc::SeriesSegment>& segments, const char* series, std::int64_t step, std::int64_t window);

} // namespace telehelm::app
