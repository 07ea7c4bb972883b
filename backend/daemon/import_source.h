// SPDX-License-Identifier: Apache-2.0
// A folder that a trainer without a daemon has left, read and never written to: one attempt's, or a run's with several of them.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "telehelm/ipc/spool_reader.h"
#include "telehelm/ipc/types.h"

namespace telehelm::daemon {

struct AttemptSource {
    ipc::SpoolReader spool;
    ipc::AttemptInfo info; // its key there, parent, fork, start, config; state and counts are not known yet
    std::string trainedOn; // host; empty: its spool does not tell
    std::int64_t lastUs = 0; // of the newest that its last batch tells
};

struct ImportSource {
    std::filesystem::path folder;
    std::vector<AttemptSource> attempts; // oldest first, all of one run, each once
    std::vector<std::string> warnings;   // what of the folder cannot come, a sentence each
    std::uint64_t bytes = 0;             // of the spools

    [[nodiscard]] const std::string& ownName() const { return attempts.front().info.key.run; }
    [[nodiscard]] const AttemptSource* find(std::uint32_t attempt) const; // null: not in the folder
};

/// Reads through all spools once; `goesOn` is told the bytes done and stops it by false (Cancelled).
[[nodiscard]] Result<ImportSource> openImport(const std::filesystem::path& folder, const std::function<bool(std::uint64_t done, std::uint64_t total)>& goesOn);

} // namespace telehelm::daemon
