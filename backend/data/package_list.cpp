// SPDX-License-Identifier: Apache-2.0
#include "data/package_list.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include <toml++/toml.h>
#include <xxhash.h>

#include "data/extract.h"

namespace telehelm::data {

namespace fs = std::filesystem;

namespace {

/// Raise it when the extraction gives other text for the same packages: corpora are then made again.
constexpr int kExtractionVersion = 1;

[[noreturn]] void refuse(const toml::node& node, const std::string& what) {
    throw std::runtime_error(std::to_string(node.source().begin.line) + ": " + what);
}

void knownKeys(const toml::table& table, const std::string& what, std::initializer_list<std::string_view> known) {
    for (const auto& [key, value] : table)
        if (std::find(known.begin(), known.end(), key.str()) == known.end()) {
            std::string all;
            for (const auto name : known)
                all += (all.empty() ? "" : ", ") + std::string(name);
            refuse(value, "unknown key “" + std::string(key.str()) + "” in " + what + "; there are: " + all);
        }
}

std::string text(const toml::table& table, const std::string& what, const char* key) {
    const auto value = table[key].value<std::string>();
    if (!value || value->empty())
        refuse(table, what + " needs the key “" + key + "” with a text");
    return *value;
}

const toml::array& list(const toml::table& table, const std::string& what, const char* key) {
    const auto* array = table[key].as_array();
    if (!array || array->empty())
        refuse(table, what + " needs the key “" + key + "” with a list");
    return *array;
}

std::vector<std::string> texts(const toml::table& table, const std::string& what, const char* key) {
    std::vector<std::string> out;
    for (const auto& item : list(table, what, key)) {
        if (!item.is_string())
            refuse(item, "“" + std::string(key) + "” of " + what + " is a list of texts");
        out.push_back(item.as_string()->get());
    }
    return out;
}

const toml::table& asTable(const toml::node& node, const std::string& what) {
    if (!node.is_table())
        refuse(node, what + " is not a table");
    return *node.as_table();
}

ListedDomain domainFrom(const toml::table& table) {
    knownKeys(table, "[[domain]]", {"name", "languages", "hold_out_one_in"});
    ListedDomain domain{text(table, "[[domain]]", "name"), text(table, "[[domain]]", "languages"), 50};
    if (const auto* node = table.get("hold_out_one_in")) {
        domain.holdOutOneIn = static_cast<int>(node->value<std::int64_t>().value_or(0));
        if (domain.holdOutOneIn < 2)
            refuse(*node, "“hold_out_one_in” is a number of at least 2");
    }
    return domain;
}

ListedPackage packageFrom(const toml::table& table, const std::vector<ListedDomain>& domains) {
    knownKeys(table, "[[package]]", {"name", "domain", "licence", "extract"});
    ListedPackage package{
        text(table, "[[package]]", "name"), text(table, "[[package]]", "domain"), text(table, "[[package]]", "licence"), {}};
    if (package.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789+-.") != std::string::npos)
        refuse(table, "“" + package.name + "” is no name of a Debian package");
    if (std::none_of(domains.begin(), domains.end(), [&](const auto& domain) { return domain.name == package.domain; }))
        refuse(table, "the domain “" + package.domain + "” is not listed above under [[domain]]");
    for (const auto& item : list(table, "[[package]]", "extract")) {
        const auto& entry = asTable(item, "an item of “extract”");
        knownKeys(entry, "extract", {"rule", "files", "except"});
        Extraction extraction{text(entry, "extract", "rule"), texts(entry, "extract", "files"), {}};
        if (entry.contains("except"))
            extraction.except = texts(entry, "extract", "except");
        if (!isRule(extraction.rule))
            refuse(entry, "no rule is called “" + extraction.rule + "”; there are: " + ruleNames());
        package.extract.push_back(std::move(extraction));
    }
    return package;
}

PackageList listFrom(const toml::table& top) {
    knownKeys(top, "the list", {"domain", "package"});
    PackageList out;
    for (const auto& item : list(top, "the list", "domain"))
        out.domains.push_back(domainFrom(asTable(item, "[[domain]]")));
    for (const auto& item : list(top, "the list", "package"))
        out.packages.push_back(packageFrom(asTable(item, "[[package]]"), out.domains));
    for (const auto& domain : out.domains)
        if (std::none_of(out.packages.begin(), out.packages.end(),
                         [&](const auto& package) { return package.domain == domain.name; }))
            throw std::runtime_error("1: no package gives text for the domain “" + domain.name + "”");
    return out;
}

} // namespace

std::vector<std::string> PackageList::packageNames() const {
    std::vector<std::string> names;
    for (const auto& package : packages)
        if (std::find(names.begin(), names.end(), package.name) == names.end())
            names.push_back(package.name);
    return names;
}

Result<PackageList> readPackageList(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    if (!in)
        return fail(ErrorCode::NotFound, "the list of packages cannot be read", file.string());
    const std::string content((std::istreambuf_iterator<char>(in)), {});
    try {
        auto list = listFrom(toml::parse(content, file.string()));
        char recipe[64];
        std::snprintf(recipe, sizeof recipe, "extraction %d, list %016llx", kExtractionVersion,
                      static_cast<unsigned long long>(XXH3_64bits(content.data(), content.size())));
        list.recipe = recipe;
        return list;
    } catch (const toml::parse_error& problem) {
        return fail(ErrorCode::InvalidArgument, std::string(problem.description()),
                    file.string() + ":" + std::to_string(problem.source().begin.line));
    } catch (const std::runtime_error& problem) { // “line: what”
        const std::string what = problem.what();
        const auto colon = what.find(':');
        return fail(ErrorCode::InvalidArgument, what.substr(colon + 2), file.string() + ":" + what.substr(0, colon));
    }
}

Result<fs::path> findDemoList(const fs::path& programDir) {
    const fs::path relative = "corpus/demo.toml";
    std::vector<fs::path> places;
    if (const char* resources = std::getenv("TELEHELM_RESOURCES"); resources && *resources) {
        places.push_back(resources / relative);
    } else {
        places.push_back(programDir / "../share/telehelm" / relative);
        for (auto dir = programDir; dir.has_relative_path(); dir = dir.parent_path())
            places.push_back(dir / "resources" / relative);
    }
    for (const auto& place : places)
        if (fs::exists(place))
            return place.lexically_normal();
    return fail(
        ErrorCode::NotFound,
        "the list of packages corpus/demo.toml is not found; name it with --list FILE, or its folder with TELEHELM_RESOURCES",
        places.front().lexically_normal().string());
}

} // namespace telehelm::data
