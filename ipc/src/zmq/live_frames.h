// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace telehelm::ipc {

inline constexpr const char* kEveryTopic = "run/";

/// Ends with a zero byte, so that a subscription to run "demo" is not one to "demo-2" as well.
[[nodiscard]] inline std::string liveTopic(const std::string& run) { return kEveryTopic + run + '\0'; }

} // namespace telehelm::ipc
