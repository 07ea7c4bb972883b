// SPDX-License-Identifier: Apache-2.0
// What the daemon needs to know of a corpus, from its manifest.json alone.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "telehelm/ipc/result.h"

namespace telehelm::daemon {

struct CorpusDomain {
    std::string name, languages;
    std::int64_t trainTokens = 0;
};

/// The error says how to prepare a corpus that is missing.
[[nodiscard]] Result<std::vector<CorpusDomain>> readCorpusFacts(const std::filesystem::path& dir);

} // namespace telehelm::daemon
