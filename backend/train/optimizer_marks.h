// SPDX-License-Identifier: Apache-2.0
// Adam's settings always come from the config, never silently from a checkpoint; what a config changes against it is said.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "config/run_config.h"

namespace telehelm::train {

/// What [optimizer] and [schedule] said when a checkpoint was written; `values` empty: it is older than this record.
struct OptimizerMarks {
    std::map<std::string, double> values; // by key
    std::string schedule;                 // its type
};
[[nodiscard]] OptimizerMarks optimizerMarks(const config::RunConfig& config);

struct SettingChange {
    std::string key, from, to;
    [[nodiscard]] std::string text() const { return key + " " + from + " → " + to; }
};
[[nodiscard]] std::vector<SettingChange> changesOf(const OptimizerMarks& then, const OptimizerMarks& now);

} // namespace telehelm::train
