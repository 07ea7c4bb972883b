// SPDX-License-Identifier: Apache-2.0
#include "train/manifest.h"

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "train/file_io.h"

namespace telehelm::train {

using Json = nlohmann::ordered_json;

namespace {

constexpr int kFormat = 1;

Json toJson(const TensorShard& shard) {
    return {{"file", shard.file}, {"begin", shard.begin}, {"offset", shard.offset}, {"bytes", shard.bytes}, {"xxh3", shard.xxh3}};
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

TensorEntry tensorFrom(const Json& json) {
    TensorEntry tensor{.name = json.at("name"), .shape = json.at("shape"), .shards = {}};
    for (const Json& shard : json.at("shards")) {
        tensor.shards.push_back({.file = shard.at("file"),
                                 .begin = shard.at("begin"),
                                 .offset = shard.at("offset"),
                                 .bytes = shard.at("bytes"),
                                 .xxh3 = shard.at("xxh3")});
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
                .mixture = config.at("mixture")};
    m.configXxh3 = json.at("config_xxh3");
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
                      {"mixture", m.config.mixture}};
    json["config_xxh3"] = m.configXxh3;
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
        if (const int format = json.at("format"); format != kFormat) {
            return fail(ErrorCode::VersionMismatch,
                        "is of format " + std::to_string(format) + "; this program reads " + std::to_string(kFormat),
                        path.string());
        }
        return manifestFrom(json);
    } catch (const nlohmann::json::exception& error) {
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
    } catch (const nlohmann::json::exception& error) {
        return fail(ErrorCode::DataLoss, "a rank's note of what it wrote cannot be read: " + std::string(error.what()));
    }
}

void mergePart(Manifest& manifest, const RankPart& part) {
    for (const FileEntry& file : part.files) {
        manifest.files.push_back(file);
        manifest.bytes += file.bytes;
    }
    for (const TensorEntry& tensor : part.tensors) {
        const auto known = std::ranges::find(manifest.tensors, tensor.name, &TensorEntry::name);
        if (known == manifest.tensors.end()) {
            manifest.tensors.push_back(tensor);
        } else {
            known->shards.insert(known->shards.end(), tensor.shards.begin(), tensor.shards.end());
        }
    }
}

} // namespace telehelm::train
