// SPDX-License-Identifier: Apache-2.0
#include "train/manifest.h"

#include <charconv>
#include <cmath>
#include <stdexcept>
#include <unordered_map>

#include <nlohmann/json.hpp>

#include "train/file_io.h"

namespace telehelm::train {

using Json = nlohmann::ordered_json;

namespace {

/// Valid JSON that makes no sense; caught where the text is parsed.
struct ManifestFault : std::runtime_error {
    using std::runtime_error::runtime_error;
};

constexpr int kFormat = 2;
constexpr int kOldestFormat = 1; // data-parallel runs; one checksum per shard, no splits

Json toJson(const TensorShard& shard) {
    Json json = {{"file", shard.file}};
    if (shard.split.parts > 1) {
        json["split"] = {
            {"dim", shard.split.dim}, {"blocks", shard.split.blocks}, {"parts", shard.split.parts}, {"part", shard.split.part}};
    }
    json["begin"] = shard.begin;
    json["offset"] = shard.offset;
    json["bytes"] = shard.bytes;
    json["piece_bytes"] = shard.pieceBytes;
    json["xxh3"] = Json::array();
    for (const std::uint64_t hash : shard.xxh3) {
        json["xxh3"].push_back(hexHash(hash));
    }
    return json;
}

Json toJson(const TensorEntry& tensor) {
    Json shards = Json::array();
    for (const TensorShard& shard : tensor.shards) {
        shards.push_back(toJson(shard));
    }
    return {{"name", tensor.name}, {"shape", tensor.shape}, {"shards", std::move(shards)}};
}

Json toJson(const FileEntry& file) {
    return {{"name", file.name}, {"bytes", file.bytes}, {"xxh3", file.xxh3}};
}

Json toJson(const NamedMixtureChange& change) {
    return {{"step", change.step}, {"shares", change.shares}, {"seed", change.seed}, {"skip_batches", change.skipBatches}};
}

template <typename T> Json listOf(const std::vector<T>& values) {
    Json list = Json::array();
    for (const T& value : values) {
        list.push_back(toJson(value));
    }
    return list;
}

std::uint64_t hashFrom(const Json& json) {
    const std::string text = json;
    std::uint64_t hash = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), hash, 16);
    if (error != std::errc() || end != text.data() + text.size() || text.empty()) {
        throw ManifestFault("“" + text + "” is no checksum");
    }
    return hash;
}

TensorShard shardFrom(const Json& json) {
    TensorShard shard;
    shard.file = json.at("file");
    shard.begin = json.at("begin");
    shard.offset = json.at("offset");
    shard.bytes = json.at("bytes");
    if (const auto split = json.find("split"); split != json.end()) {
        shard.split = {
            .dim = split->at("dim"), .blocks = split->at("blocks"), .parts = split->at("parts"), .part = split->at("part")};
    }
    const Json& hashes = json.at("xxh3");
    if (hashes.is_string()) { // format 1
        shard.pieceBytes = shard.bytes;
        shard.xxh3 = {hashFrom(hashes)};
    } else {
        shard.pieceBytes = json.at("piece_bytes");
        for (const Json& hash : hashes) {
            shard.xxh3.push_back(hashFrom(hash));
        }
    }
    return shard;
}

/// What would send a reader outside a file or its own buffers.
void checkShard(const std::string& tensor, const TensorShard& shard) {
    constexpr std::int64_t kReal = sizeof(float);
    constexpr std::int64_t kMost = std::int64_t{1} << 60;
    const bool sizes = shard.begin >= 0 && shard.offset >= 0 && shard.bytes > 0 && shard.pieceBytes > 0 && shard.begin < kMost &&
                       shard.offset < kMost && shard.bytes < kMost && shard.pieceBytes < kMost && shard.bytes % kReal == 0 &&
                       shard.pieceBytes % kReal == 0;
    const bool pieces = sizes && (shard.bytes + shard.pieceBytes - 1) / shard.pieceBytes == std::ssize(shard.xxh3);
    if (!pieces || shard.file.empty() || shard.file.find('/') != std::string::npos) {
        throw ManifestFault(tensor + " has a shard that cannot be (file “" + shard.file + "”, offset " +
                            std::to_string(shard.offset) + ", " + std::to_string(shard.bytes) + " bytes, " +
                            std::to_string(shard.xxh3.size()) + " checksums)");
    }
}

TensorEntry tensorFrom(const Json& json) {
    TensorEntry tensor{.name = json.at("name"), .shape = json.at("shape"), .shards = {}};
    for (const Json& shard : json.at("shards")) {
        if (shard.at("bytes") == 0) {
            continue; // format 1 might list what a rank had nothing of
        }
        tensor.shards.push_back(shardFrom(shard));
        checkShard(tensor.name, tensor.shards.back());
    }
    return tensor;
}

FileEntry fileFrom(const Json& json) {
    return {.name = json.at("name"), .bytes = json.at("bytes"), .xxh3 = json.at("xxh3")};
}

NamedMixtureChange changeFrom(const Json& json) {
    return {
        .step = json.at("step"), .shares = json.at("shares"), .seed = json.at("seed"), .skipBatches = json.at("skip_batches")};
}

template <typename T> std::vector<T> listFrom(const Json& json, T (*from)(const Json&)) {
    std::vector<T> values;
    for (const Json& entry : json) {
        values.push_back(from(entry));
    }
    return values;
}

Manifest manifestFrom(const Json& json) {
    Manifest m;
    m.key = {.run = json.at("run"), .attempt = json.at("attempt")};
    m.step = json.at("step");
    m.tokens = json.at("tokens");
    m.savedUs = json.at("saved_us");
    m.bytes = json.at("bytes");
    m.trainLoss = json.value("train_loss", std::nan(""));
    m.gradNorm = json.value("grad_norm", std::nan(""));
    m.tensor = json.at("mesh").at("tensor");
    m.pipeline = json.at("mesh").at("pipeline");
    m.data = json.at("mesh").at("data");
    m.updates = json.at("updates");
    m.skippedSteps = json.at("skipped_steps");
    m.lrScale = json.at("lr_scale");
    const Json& config = json.at("config");
    m.config = {.lrScale = config.at("lr_scale"),
                .dataSeed = config.at("data_seed"),
                .skipBatches = config.at("skip_batches"),
                .mixture = config.at("mixture"),
                .optimizer = {.values = config.value("optimizer", std::map<std::string, double>()), .schedule = config.value("schedule", "")},
                .settings = config.value("settings", std::map<std::string, double>())};
    m.configXxh3 = json.at("config_xxh3");
    m.attention = json.value("attention", std::string());
    m.mixtureHistory = listFrom<NamedMixtureChange>(json.at("mixture_history"), changeFrom);
    m.tensors = listFrom<TensorEntry>(json.at("tensors"), tensorFrom);
    m.files = listFrom<FileEntry>(json.at("files"), fileFrom);
    return m;
}

} // namespace

std::string manifestText(const Manifest& m) {
    Json json = {{"format", kFormat},  {"run", m.key.run},      {"attempt", m.key.attempt}, {"step", m.step},
                 {"tokens", m.tokens}, {"saved_us", m.savedUs}, {"bytes", m.bytes}};
    // JSON has no NaN: a loss that was not finite is left out.
    if (std::isfinite(m.trainLoss)) {
        json["train_loss"] = m.trainLoss;
    }
    if (std::isfinite(m.gradNorm)) {
        json["grad_norm"] = m.gradNorm;
    }
    json["mesh"] = {{"tensor", m.tensor}, {"pipeline", m.pipeline}, {"data", m.data}};
    json["updates"] = m.updates;
    json["skipped_steps"] = m.skippedSteps;
    json["lr_scale"] = m.lrScale;
    json["config"] = {{"lr_scale", m.config.lrScale},
                      {"data_seed", m.config.dataSeed},
                      {"skip_batches", m.config.skipBatches},
                      {"mixture", m.config.mixture},
                      {"settings", m.config.settings}};
    if (!m.config.optimizer.values.empty()) {
        json["config"]["optimizer"] = m.config.optimizer.values;
        json["config"]["schedule"] = m.config.optimizer.schedule;
    }
    json["config_xxh3"] = m.configXxh3;
    if (!m.attention.empty()) {
        json["attention"] = m.attention;
    }
    json["mixture_history"] = listOf(m.mixtureHistory);
    json["files"] = listOf(m.files);
    json["tensors"] = listOf(m.tensors);
    return json.dump(1) + "\n";
}

Result<Manifest> readManifest(const std::filesystem::path& folder) {
    const std::filesystem::path path = folder / "manifest.json";
    const Result<std::string> text = readWhole(path);
    if (!text) {
        return fail(ErrorCode::DataLoss, "has no manifest.json", folder.string());
    }
    try {
        const Json json = Json::parse(*text);
        if (const int format = json.at("format"); format < kOldestFormat || format > kFormat) {
            return fail(ErrorCode::VersionMismatch,
                        "is of format " + std::to_string(format) + "; this program reads " + std::to_string(kOldestFormat) +
                            " to " + std::to_string(kFormat),
                        path.string());
        }
        return manifestFrom(json);
    } catch (const std::exception& error) { // of the JSON or a ManifestFault
        return fail(ErrorCode::DataLoss, "cannot be read: " + std::string(error.what()), path.string());
    }
}

std::string rankPartText(const RankPart& part) {
    return Json{{"files", listOf(part.files)}, {"tensors", listOf(part.tensors)}}.dump() + "\n";
}

Result<RankPart> parseRankPart(const std::string& text) {
    try {
        const Json json = Json::parse(text);
        return RankPart{.files = listFrom<FileEntry>(json.at("files"), fileFrom),
                        .tensors = listFrom<TensorEntry>(json.at("tensors"), tensorFrom)};
    } catch (const std::exception& error) {
        return fail(ErrorCode::DataLoss, "a rank's note of what it wrote cannot be read: " + std::string(error.what()));
    }
}

void mergePart(Manifest& manifest, const RankPart& part) {
    for (const FileEntry& file : part.files) {
        manifest.files.push_back(file);
        manifest.bytes += file.bytes;
    }
    std::unordered_map<std::string, std::size_t> places;
    for (std::size_t i = 0; i < manifest.tensors.size(); ++i) {
        places.emplace(manifest.tensors[i].name, i);
    }
    for (const TensorEntry& tensor : part.tensors) {
        if (const auto known = places.find(tensor.name); known != places.end()) {
            auto& shards = manifest.tensors[known->second].shards;
            shards.insert(shards.end(), tensor.shards.begin(), tensor.shards.end());
        } else {
            manifest.tensors.push_back(tensor);
        }
    }
}

} // namespace telehelm::train
