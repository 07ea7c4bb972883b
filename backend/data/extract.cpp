// SPDX-License-Identifier: Apache-2.0
#include "data/extract.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <memory>

#include <fnmatch.h>
#include <xxhash.h>

#include "data/dictionary.h"
#include "data/html_text.h"
#include "data/roff_text.h"

namespace telehelm::data {

namespace fs = std::filesystem;

namespace {

using Documents = Result<std::vector<std::string>>;
using Sibling = std::function<Result<std::string>(const std::string&)>;

constexpr std::size_t kShortest = 48;       // bytes; a document below says nothing
constexpr std::size_t kLongest = 12 * 1024; // bytes; so that the held-out documents of a domain are many, not one book

Documents html(const std::string&, std::string bytes, const Sibling&) {
    return std::vector{htmlToText(bytes)};
}
Documents man(const std::string&, std::string bytes, const Sibling&) {
    return std::vector{manToText(bytes)};
}
Documents text(const std::string&, std::string bytes, const Sibling&) {
    return std::vector{tidy(bytes)};
}
Documents code(const std::string&, std::string bytes, const Sibling&) {
    return std::vector{tidy(bytes, 2)};
}
Documents fortune(const std::string&, std::string bytes, const Sibling&) {
    return fortunes(bytes);
}
Documents bible(const std::string& name, std::string bytes, const Sibling&) {
    return bibleChapters(bytes, name);
}

/// Sayings and verses: what is short and has no Latin letters.
Documents saying(const std::string&, std::string bytes, const Sibling&) {
    auto all = fortunes(bytes);
    std::erase_if(all, [](const std::string& entry) {
        const bool latin =
            std::any_of(entry.begin(), entry.end(), [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); });
        return latin || entry.size() > 1500;
    });
    return all;
}

Documents dictionary(const std::string& name, std::string bytes, const Sibling& sibling) {
    const auto stem = name.substr(0, name.find(".dict"));
    auto index = sibling(stem + ".index");
    if (!index)
        return tl::unexpected(index.error());
    return dictionaryEntries(bytes, *index, name);
}

struct Rule {
    std::string_view name;
    Documents (*read)(const std::string& name, std::string bytes, const Sibling& sibling);
    bool prose; // repeated paragraphs are dropped
};
constexpr std::array kRules = {Rule{"bible", bible, false},     Rule{"code", code, false}, Rule{"dict", dictionary, true},
                               Rule{"fortune", fortune, false}, Rule{"html", html, true},  Rule{"man", man, true},
                               Rule{"saying", saying, false},   Rule{"text", text, true}};

const Rule* findRule(std::string_view name) {
    const auto found = std::find_if(kRules.begin(), kRules.end(), [&](const Rule& rule) { return rule.name == name; });
    return found == kRules.end() ? nullptr : &*found;
}

Result<std::string> readFile(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(in)), {});
    if (!in.good() && !in.eof())
        return fail(ErrorCode::Unavailable, "cannot be read", path.string());
    return bytes;
}

bool matches(const std::vector<std::string>& patterns, const std::string& path) {
    return std::any_of(patterns.begin(), patterns.end(),
                       [&](const auto& pattern) { return fnmatch(pattern.c_str(), path.c_str(), 0) == 0; });
}

struct Work {
    std::string path; // relative to the root
    const Rule* rule;
};

/// Regular files only: a link's target is read under its own name.
Result<std::vector<Work>> filesOf(const ListedPackage& package, const fs::path& root) {
    std::vector<Work> work;
    std::error_code error;
    for (fs::recursive_directory_iterator it(root, error), end; !error && it != end; it.increment(error)) {
        if (it->is_symlink() || !it->is_regular_file())
            continue;
        const auto path = it->path().lexically_relative(root).string();
        for (const auto& extraction : package.extract)
            if (matches(extraction.files, path) && !matches(extraction.except, path)) {
                work.push_back({path, findRule(extraction.rule)});
                break;
            }
    }
    if (error)
        return fail(ErrorCode::Unavailable, "the unpacked package cannot be read: " + error.message(), root.string());
    if (work.empty())
        return fail(ErrorCode::NotFound, "none of its files matches the patterns of the list; has the package's layout changed?",
                    package.name);
    std::sort(work.begin(), work.end(), [](const Work& a, const Work& b) { return a.path < b.path; });
    return work;
}

struct FreeHash {
    void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
};

} // namespace

bool isRule(std::string_view name) {
    return findRule(name) != nullptr;
}

std::string ruleNames() {
    std::string names;
    for (const auto& rule : kRules)
        names += (names.empty() ? "" : ", ") + std::string(rule.name);
    return names;
}

Result<std::vector<std::string>> extractFile(const std::string& rule, const std::string& name, std::string bytes,
                                             const std::function<Result<std::string>(const std::string&)>& sibling) {
    const auto* found = findRule(rule);
    if (!found)
        return fail(ErrorCode::InvalidArgument, "no rule is called “" + rule + "”; there are: " + ruleNames(), name);
    auto unpacked = gunzip(std::move(bytes), name);
    if (!unpacked)
        return tl::unexpected(unpacked.error());
    return found->read(name, std::move(*unpacked), sibling);
}

Result<ExtractionSummary> extractPackage(const ListedPackage& package, const fs::path& root, ParagraphFilter& paragraphs,
                                         const DocumentSink& sink, const FileProgress& progress) {
    auto work = filesOf(package, root);
    if (!work)
        return tl::unexpected(work.error());
    ExtractionSummary summary;
    const std::unique_ptr<XXH3_state_t, FreeHash> hash(XXH3_createState());
    XXH3_64bits_reset(hash.get());
    const auto sibling = [&](const std::string& name) { return readFile(root / name); };
    for (const auto& [path, rule] : *work) {
        if (auto going = progress(summary.files, static_cast<std::int64_t>(work->size())); !going)
            return tl::unexpected(going.error());
        auto bytes = readFile(root / path);
        if (!bytes)
            return tl::unexpected(bytes.error());
        ++summary.files;
        summary.bytes += static_cast<std::int64_t>(bytes->size());
        XXH3_64bits_update(hash.get(), path.c_str(), path.size() + 1);
        XXH3_64bits_update(hash.get(), bytes->data(), bytes->size());
        auto documents = extractFile(std::string(rule->name), path, std::move(*bytes), sibling);
        if (!documents)
            return tl::unexpected(documents.error());
        for (const auto& document : *documents) {
            if (!isUtf8(document)) {
                ++summary.unreadable;
                continue;
            }
            for (const auto& piece : cut(rule->prose ? paragraphs(document) : document, kLongest))
                if (piece.size() >= kShortest)
                    if (auto taken = sink(piece); !taken)
                        return tl::unexpected(taken.error());
        }
    }
    summary.xxh3 = XXH3_64bits_digest(hash.get());
    return summary;
}

} // namespace telehelm::data
