// SPDX-License-Identifier: Apache-2.0
// Debian packages as files in a cache folder: fetched with apt-get download, unpacked with dpkg -x, never installed.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/progress.h"
#include "telehelm/ipc/result.h"

namespace telehelm::data {

struct CachedPackage {
    std::string name, version;
    std::filesystem::path file;
    std::int64_t bytes = 0;
};

/// One thread; `cancelled` may be set from a signal handler.
class PackageStore {
public:
    PackageStore(std::filesystem::path dir, Progress& progress, const std::atomic<bool>& cancelled)
        : m_dir(std::move(dir)), m_progress(progress), m_cancelled(cancelled) {}

    /// The packages as files, fetching those that are not in the cache yet. Whatever version is there is used. Offline, missing
    /// ones are an error that names them.
    [[nodiscard]] Result<std::vector<CachedPackage>> provide(const std::vector<std::string>& names, bool offline);
    /// Into the folder, which is made. A package that cannot be unpacked is removed from the cache, so that the next run fetches
    /// it again.
    [[nodiscard]] Result<void> unpack(const CachedPackage& package, const std::filesystem::path& into);

private:
    struct Offer {
        std::string name, file;
        std::int64_t bytes = 0;
    };
    [[nodiscard]] std::vector<CachedPackage> cached(const std::vector<std::string>& names,
                                                    std::vector<std::string>& missing) const;
    [[nodiscard]] Result<std::vector<Offer>> offers(const std::vector<std::string>& names);
    [[nodiscard]] Result<void> refreshLists();
    [[nodiscard]] Result<void> fetch(const std::vector<Offer>& offers);

    std::filesystem::path m_dir;
    Progress& m_progress;
    const std::atomic<bool>& m_cancelled;
};

} // namespace telehelm::data
