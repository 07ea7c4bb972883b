// SPDX-License-Identifier: Apache-2.0
#include "data/manifest.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <type_traits>

#include <nlohmann/json.hpp>
#include <unistd.h>

namespace telehelm::data {

using nlohmann::json;

namespace {

constexpr const char* kFormat = "telehelm-corpus";
constexpr int kManifestVersion = 1;

std::string hex(std::uint64_t value) {
    char text[17];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
    return text;
}

json toJson(const ShardSummary& shard, bool withUnigram) {
    json object = {{"file", shard.file},     {"documents", shard.documents},  {"bytes", shard.bytes},
                   {"tokens", shard.tokens}, {"file_bytes", shard.fileBytes}, {"xxh3", hex(shard.xxh3)}};
    if (withUnigram)
        object["unigram"] = shard.unigram;
    return object;
}

json toJson(const Manifest& manifest) {
    json domains = json::array();
    for (const auto& domain : manifest.domains)
        domains.push_back({{"name", domain.name},
                           {"languages", domain.languages},
                           {"hold_out_one_in", domain.holdOutOneIn},
                           {"train", toJson(domain.train, true)},
                           {"valid", toJson(domain.valid, false)}});
    json sources = json::array();
    for (const auto& source : manifest.sources)
        sources.push_back({{"package", source.package},
                           {"version", source.version},
                           {"licence", source.licence},
                           {"domain", source.domain},
                           {"download_bytes", source.downloadBytes},
                           {"files", source.files},
                           {"unpacked_bytes", source.unpackedBytes},
                           {"xxh3", hex(source.xxh3)},
                           {"documents", source.documents},
                           {"text_bytes", source.textBytes}});
    return {{"format", kFormat},       {"version", kManifestVersion}, {"token_type", "uint16le"}, {"vocab_size", kByteVocabulary},
            {"separator", kSeparator}, {"recipe", manifest.recipe},   {"domains", domains},       {"sources", sources}};
}

/// Reads keys of one JSON object and remembers where it is, so that what is wrong can be named.
class Reader {
public:
    Reader(const json& object, std::string where) : m_object(object), m_where(std::move(where)) {
        if (!object.is_object())
            throw std::runtime_error((m_where.empty() ? "the file" : m_where) + " is not a JSON object");
    }
    template <typename T> T get(const char* key) const {
        try {
            return m_object.at(key).get<T>();
        } catch (const json::out_of_range&) {
            throw std::runtime_error("the key “" + path(key) + "” is missing");
        } catch (const json::type_error&) {
            throw std::runtime_error("the key “" + path(key) + "” has a value of the wrong kind");
        }
    }
    [[nodiscard]] std::int64_t count(const char* key) const {
        const auto value = get<std::int64_t>(key);
        if (value < 0)
            throw std::runtime_error("the key “" + path(key) + "” is negative");
        return value;
    }
    [[nodiscard]] std::uint64_t hash(const char* key) const {
        const auto text = get<std::string>(key);
        char* end = nullptr;
        const auto value = std::strtoull(text.c_str(), &end, 16);
        if (text.size() != 16 || *end != '\0')
            throw std::runtime_error("the key “" + path(key) + "” is not a checksum of 16 hexadecimal digits");
        return value;
    }
    [[nodiscard]] Reader sub(const char* key) const { return {get<const json&>(key), path(key)}; }
    [[nodiscard]] std::string path(const std::string& key) const { return m_where.empty() ? key : m_where + "." + key; }

private:
    template <typename T>
    requires std::is_same_v<T, const json&> T get(const char* key)
    const {
        const auto found = m_object.find(key);
        if (found == m_object.end())
            throw std::runtime_error("the key “" + path(key) + "” is missing");
        return *found;
    }
    const json& m_object;
    std::string m_where;
};

ShardSummary shardFrom(const Reader& reader, bool withUnigram) {
    ShardSummary shard;
    shard.file = reader.get<std::string>("file");
    if (shard.file.empty() || shard.file.find('/') != std::string::npos)
        throw std::runtime_error("the key “" + reader.path("file") + "” is not a file's name");
    shard.documents = reader.count("documents");
    shard.bytes = reader.count("bytes");
    shard.tokens = reader.count("tokens");
    shard.fileBytes = static_cast<std::uint64_t>(reader.count("file_bytes"));
    shard.xxh3 = reader.hash("xxh3");
    if (!withUnigram)
        return shard;
    const auto counts = reader.get<std::vector<std::int64_t>>("unigram");
    if (counts.size() != shard.unigram.size())
        throw std::runtime_error("the key “" + reader.path("unigram") + "” does not have 257 counts");
    std::copy(counts.begin(), counts.end(), shard.unigram.begin());
    return shard;
}

ManifestSource sourceFrom(const Reader& reader) {
    ManifestSource source;
    source.package = reader.get<std::string>("package");
    source.version = reader.get<std::string>("version");
    source.licence = reader.get<std::string>("licence");
    source.domain = reader.get<std::string>("domain");
    source.downloadBytes = reader.count("download_bytes");
    source.files = reader.count("files");
    source.unpackedBytes = reader.count("unpacked_bytes");
    source.xxh3 = reader.hash("xxh3");
    source.documents = reader.count("documents");
    source.textBytes = reader.count("text_bytes");
    return source;
}

Manifest manifestFrom(const json& document) {
    const Reader top(document, "");
    if (top.get<std::string>("format") != kFormat)
        throw std::runtime_error("the key “format” is not “telehelm-corpus”");
    if (const auto version = top.count("version"); version != kManifestVersion)
        throw std::runtime_error("version " + std::to_string(version) + " of the format, this program reads version 1");
    if (top.count("vocab_size") != kByteVocabulary || top.count("separator") != kSeparator)
        throw std::runtime_error("the keys “vocab_size” and “separator” must be 257 and 256 (bytes and a separator)");
    Manifest manifest;
    manifest.recipe = top.get<std::string>("recipe");
    std::size_t index = 0;
    for (const auto& entry : top.get<json>("domains")) {
        const Reader reader(entry, "domains[" + std::to_string(index++) + "]");
        manifest.domains.push_back({reader.get<std::string>("name"), reader.get<std::string>("languages"),
                                    static_cast<int>(reader.count("hold_out_one_in")), shardFrom(reader.sub("train"), true),
                                    shardFrom(reader.sub("valid"), false)});
    }
    if (manifest.domains.empty())
        throw std::runtime_error("the key “domains” names no domain");
    index = 0;
    for (const auto& entry : top.get<json>("sources"))
        manifest.sources.push_back(sourceFrom(Reader(entry, "sources[" + std::to_string(index++) + "]")));
    return manifest;
}

} // namespace

Result<void> writeManifest(const Manifest& manifest, const std::filesystem::path& dir) {
    const auto path = dir / kManifestFile;
    const std::string text = toJson(manifest).dump(1, ' ', false, json::error_handler_t::replace) + "\n";
    std::FILE* file = std::fopen(path.c_str(), "wbe");
    bool good = file && std::fwrite(text.data(), 1, text.size(), file) == text.size() && std::fflush(file) == 0 &&
                ::fsync(::fileno(file)) == 0;
    const int error = errno;
    if (file)
        good = std::fclose(file) == 0 && good;
    if (!good)
        return fail(error == ENOSPC ? ErrorCode::ResourceExhausted : ErrorCode::Unavailable,
                    std::string("cannot write: ") + std::strerror(error), path.string());
    return {};
}

Result<Manifest> readManifest(const std::filesystem::path& dir) {
    const auto path = dir / kManifestFile;
    std::ifstream in(path, std::ios::binary);
    if (!in)
        return fail(ErrorCode::NotFound,
                    "there is no corpus here (no readable manifest.json); “telehelm-data demo” makes the demo corpus",
                    dir.string());
    const std::string text((std::istreambuf_iterator<char>(in)), {});
    try {
        return manifestFrom(json::parse(text));
    } catch (const json::exception& problem) {
        return fail(ErrorCode::DataLoss, std::string("not valid JSON: ") + problem.what(), path.string());
    } catch (const std::runtime_error& problem) {
        return fail(ErrorCode::DataLoss, problem.what(), path.string());
    }
}

} // namespace telehelm::data
