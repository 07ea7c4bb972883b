// SPDX-License-Identifier: Apache-2.0
// From an unpacked package to documents: the rules by which files become text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "data/package_list.h"
#include "data/text.h"
#include "telehelm/ipc/result.h"

namespace telehelm::data {

[[nodiscard]] bool isRule(std::string_view name);
[[nodiscard]] std::string ruleNames(); // “bible, code, dict, …”

/// One file's documents by a rule, tidy but not yet filtered; `sibling` reads a file that belongs to it (the index of a
/// dictionary).
[[nodiscard]] Result<std::vector<std::string>> extractFile(const std::string& rule, const std::string& name, std::string bytes,
                                                           const std::function<Result<std::string>(const std::string&)>& sibling);

struct ExtractionSummary {
    std::int64_t files = 0, bytes = 0; // read
    std::uint64_t xxh3 = 0;            // of names and contents
    std::int64_t unreadable = 0;       // documents left out because they are not UTF-8
};

/// Called for each document; an error ends the extraction.
using DocumentSink = std::function<Result<void>(const std::string& document)>;
/// Called before each file with how many are done and how many there are; an error ends the extraction.
using FileProgress = std::function<Result<void>(std::int64_t done, std::int64_t total)>;

/// All documents of an unpacked package, in the order of the files' names: tidy, prose without repeated paragraphs, cut to a
/// bearable length, none shorter than a line. A package in which no file matches is an error: its layout has changed.
[[nodiscard]] Result<ExtractionSummary> extractPackage(const ListedPackage& package, const std::filesystem::path& root,
                                                       ParagraphFilter& paragraphs, const DocumentSink& sink,
                                                       const FileProgress& progress);

} // namespace telehelm::data
