// SPDX-License-Identifier: Apache-2.0
// manifest.json of a corpus: which shards there are, what they hold, and where the text came from.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/shard_writer.h"
#include "telehelm/ipc/result.h"

namespace telehelm::data {

struct ManifestDomain {
    std::string name, languages;
    int holdOutOneIn = 50; // a document whose content hash is divisible by it is held out
    ShardSummary train, valid;
};

/// Where some of the text came from: a Debian package as it was fetched and unpacked.
struct ManifestSource {
    std::string package, version, licence, domain;
    std::int64_t downloadBytes = 0;
    std::int64_t files = 0, unpackedBytes = 0; // the files that the extraction read
    std::uint64_t xxh3 = 0;                    // over those files' names and contents, in the order of their names
    std::int64_t documents = 0, textBytes = 0; // what they gave
};

struct Manifest {
    std::string recipe; // identifies how the corpus was made; another recipe means: make it again
    std::vector<ManifestDomain> domains;
    std::vector<ManifestSource> sources;
};

inline constexpr const char* kManifestFile = "manifest.json";

[[nodiscard]] Result<void> writeManifest(const Manifest& manifest, const std::filesystem::path& dir);
/// Errors name the file and the key.
[[nodiscard]] Result<Manifest> readManifest(const std::filesystem::path& dir);

} // namespace telehelm::data
