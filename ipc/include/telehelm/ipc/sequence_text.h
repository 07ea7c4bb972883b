// SPDX-License-Identifier: Apache-2.0
// Numbers of batches as people read them. Any thread.
#pragma once

#include <string>
#include <vector>

#include "telehelm/ipc/control_api.h"

namespace telehelm::ipc {

/// "3, 7 to 9"; "" where there is none.
[[nodiscard]] inline std::string listed(const std::vector<SequenceRange>& ranges) {
    std::string text;
    for (const SequenceRange& range : ranges)
        text += (text.empty() ? "" : ", ") + std::to_string(range.first) + (range.last > range.first ? " to " + std::to_string(range.last) : "");
    return text;
}

} // namespace telehelm::ipc
