// SPDX-License-Identifier: Apache-2.0
// The demo corpus: from a list of Debian packages to shards.
#pragma once

#include <atomic>
#include <filesystem>

#include "data/manifest.h"
#include "data/progress.h"
#include "telehelm/ipc/result.h"

namespace telehelm::data {

struct DemoOptions {
    std::filesystem::path dir;   // where the corpus goes
    std::filesystem::path cache; // fetched packages, in packages/, and unpacked ones while they are read
    std::filesystem::path list;  // demo.toml
    bool offline = false;
};

struct DemoCorpus {
    Manifest manifest;
    bool wasReady = false; // nothing had to be done
};

/// Makes the corpus unless it is there already, whole and by this very list. Only one process at a time works in the cache;
/// others wait. Whatever goes wrong, an older corpus stays and no half one is left.
[[nodiscard]] Result<DemoCorpus> prepareDemoCorpus(const DemoOptions& options, Progress& progress,
                                                   const std::atomic<bool>& cancelled);

} // namespace telehelm::data
