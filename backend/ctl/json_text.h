// SPDX-License-Identifier: Apache-2.0
// Values as JSON for --json. Keys are snake_case; times in microseconds since 1970; NaN and infinities are the strings
// "nan", "inf", "-inf", which JSON has no numbers for.
#pragma once

#include <nlohmann/json.hpp>

#include "telehelm/ipc/control_api.h"

namespace telehelm::ctl {

using Json = nlohmann::ordered_json;

[[nodiscard]] Json number(double value);
[[nodiscard]] Json toJson(const ipc::RunInfo& run);
[[nodiscard]] Json toJson(const ipc::AttemptInfo& attempt);
[[nodiscard]] Json toJson(const ipc::Event& event);
[[nodiscard]] Json toJson(const ipc::Command& command);
[[nodiscard]] Json toJson(const ipc::CheckpointInfo& checkpoint);
[[nodiscard]] Json toJson(const ipc::SeriesInfo& series);
[[nodiscard]] Json toJson(const ipc::HelloInfo& hello);
[[nodiscard]] Json toJson(const ipc::LineageBranch& branch);
[[nodiscard]] Json toJson(const ipc::LineageInfo& lineage);

template <typename T>
[[nodiscard]] Json toJson(const std::vector<T>& values) {
    Json list = Json::array();
    for (const T& value : values)
        list.push_back(toJson(value));
    return list;
}

} // namespace telehelm::ctl
