// SPDX-License-Identifier: Apache-2.0
// resources/corpus/demo.toml: the domains of a corpus and the Debian packages that their text comes from.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "telehelm/ipc/result.h"

namespace telehelm::data {

struct ListedDomain {
    std::string name, languages;
    int holdOutOneIn = 50;
};

/// Which files of a package are read, and how. Patterns are those of fnmatch(3), “*” also matches “/”; paths are relative to the
/// unpacked package.
struct Extraction {
    std::string rule;
    std::vector<std::string> files, except;
};

struct ListedPackage {
    std::string name, domain, licence;
    std::vector<Extraction> extract;
};

struct PackageList {
    std::vector<ListedDomain> domains;
    std::vector<ListedPackage> packages;
    std::string recipe; // changes with every change of the list or of the extraction
    [[nodiscard]] std::vector<std::string> packageNames() const;
};

/// Errors name file, line, key, and what would be right.
[[nodiscard]] Result<PackageList> readPackageList(const std::filesystem::path& file);

/// resources/corpus/demo.toml: in $TELEHELM_RESOURCES, above the program's folder (a build tree), or in ../share/telehelm
/// (installed).
[[nodiscard]] Result<std::filesystem::path> findDemoList(const std::filesystem::path& programDir);

} // namespace telehelm::data
