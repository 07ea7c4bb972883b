// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "exchange/hugging_face.h"
#include "exchange/llama.h"
#include "exchange/safetensors.h"
#include "train/checkpoint_store.h"
#include "train/mixture.h"
#include "train/shard_file.h"

namespace telehelm::exchange {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

constexpr std::int64_t kAtOnce = std::int64_t{1} << 20; // elements in memory

/// The folder's files: model.safetensors, or what the index names.
Result<std::vector<std::string>> filesOf(const fs::path& folder) {
    const fs::path index = folder / "model.safetensors.index.json";
    if (!fs::exists(index)) {
        return std::vector<std::string>{"model.safetensors"};
    }
    const Result<std::string> text = train::readWhole(index);
    const Json json = text ? Json::parse(*text, nullptr, false) : Json();
    const auto map = json.is_object() ? json.find("weight_map") : json.end();
    if (map == json.end() || !map->is_object()) {
        return fail(ErrorCode::DataLoss, "has no weight_map", index.string());
    }
    std::vector<std::string> names;
    for (const auto& [tensor, file] : map->items()) {
        if (!file.is_string() || file.get<std::string>().find('/') != std::string::npos) {
            return fail(ErrorCode::DataLoss, tensor + " lies in " + file.dump() + ", which is no file beside the index",
                        index.string());
        }
        names.push_back(file);
    }
    std::ranges::sort(names);
    const auto doubles = std::ranges::unique(names);
    names.erase(doubles.begin(), doubles.end());
    return names;
}

struct Source {
    const SafetensorsFile* file = nullptr;
    const TensorMeta* meta = nullptr;
};

/// The opened files and where in them each tensor lies.
class LlamaFolder {
public:
    static Result<LlamaFolder> open(const fs::path& path, const std::vector<LlamaTensor>& wanted) {
        const auto names = filesOf(path);
        if (!names) {
            return tl::unexpected(names.error());
        }
        LlamaFolder folder;
        folder.m_path = path;
        folder.m_files.reserve(names->size()); // m_sources points into them
        for (const std::string& name : *names) {
            auto file = SafetensorsFile::open(path / name);
            if (!file) {
                return tl::unexpected(file.error());
            }
            folder.m_files.push_back(std::move(*file));
            for (const TensorMeta& meta : folder.m_files.back().tensors()) {
                if (!folder.m_sources.emplace(meta.name, Source{&folder.m_files.back(), &meta}).second) {
                    return fail(ErrorCode::DataLoss, meta.name + " is in another file of the folder too", (path / name).string());
                }
            }
        }
        if (auto fits = folder.check(wanted); !fits) {
            return tl::unexpected(fits.error());
        }
        return folder;
    }
    [[nodiscard]] const Source& source(const std::string& name) const { return m_sources.at(name); }

private:
    /// Everything that is wanted is there in the right shape, and nothing else is.
    Result<void> check(const std::vector<LlamaTensor>& wanted) const {
        for (const LlamaTensor& tensor : wanted) {
            const auto found = m_sources.find(tensor.name);
            if (found == m_sources.end()) {
                return fail(ErrorCode::InvalidArgument,
                            tensor.name + " (" + train::shapeText(tensor.shape) +
                                ") is missing; the folder must be a LlamaForCausalLM with the layers of the config's [model]",
                            m_path.string());
            }
            if (found->second.meta->shape != tensor.shape) {
                return fail(ErrorCode::InvalidArgument,
                            tensor.name + " is " + train::shapeText(found->second.meta->shape) + " but " +
                                train::shapeText(tensor.shape) + " by the config; correct [model] or name another folder",
                            found->second.file->path().string());
            }
        }
        for (const auto& [name, source] : m_sources) {
            // Older folders carry RoPE's frequencies, which follow from rope_theta.
            if (!name.ends_with("rotary_emb.inv_freq") && std::ranges::find(wanted, name, &LlamaTensor::name) == wanted.end()) {
                return fail(ErrorCode::InvalidArgument,
                            name + " (" + train::shapeText(source.meta->shape) + ") has no place in the config's [model]",
                            source.file->path().string());
            }
        }
        return {};
    }

    fs::path m_path;
    std::vector<SafetensorsFile> m_files;
    std::map<std::string, Source> m_sources;
};

/// Streams their tensors into ours.
class Importer {
public:
    Importer(const LlamaFolder& folder, const config::ModelConfig& model, std::vector<LlamaTensor> tensors)
        : m_folder(folder), m_tensors(std::move(tensors)) {
        for (const model::ParameterInfo& info : model::parameterLayout(model)) {
            m_shapes[info.name] = info.globalShape;
        }
    }

    /// The weights, then both moments, which are 0.
    Result<void> write(train::ShardFileWriter& file) {
        for (const char* prefix : {"", train::kFirstMoment, train::kSecondMoment}) {
            for (const LlamaTensor& tensor : m_tensors) {
                if (auto copied = copy(tensor, prefix, file); !copied) {
                    return copied;
                }
            }
        }
        return {};
    }

private:
    Result<void> copy(const LlamaTensor& tensor, const std::string& prefix, train::ShardFileWriter& file) {
        for (std::int64_t done = 0; done < tensor.size; done += kAtOnce) {
            m_values.assign(static_cast<std::size_t>(std::min(kAtOnce, tensor.size - done)), 0.0F);
            auto filled = prefix.empty() ? read(tensor, done) : Result<void>();
            auto written = filled.and_then(
                [&] { return file.add(prefix + tensor.ours, m_shapes.at(tensor.ours), {}, tensor.first + done, m_values); });
            if (!written) {
                return written;
            }
        }
        return {};
    }
    Result<void> read(const LlamaTensor& tensor, std::int64_t from) {
        const Source& source = m_folder.source(tensor.name);
        if (auto got = source.file->read(*source.meta, from, m_values); !got) {
            return got;
        }
        if (!std::ranges::all_of(m_values, [](float value) { return std::isfinite(value); })) {
            return fail(ErrorCode::DataLoss, tensor.name + " has numbers that are not finite", source.file->path().string());
        }
        if (tensor.factor != 1) {
            std::ranges::transform(m_values, m_values.begin(), [&](float value) { return value / tensor.factor; });
        }
        return {};
    }

    const LlamaFolder& m_folder;
    const std::vector<LlamaTensor> m_tensors;
    std::map<std::string, std::vector<std::int64_t>> m_shapes; // of ours
    std::vector<float> m_values;
};

train::Manifest stepZero(const config::RunConfig& config, const std::string& configXxh3, const ipc::AttemptKey& key) {
    train::Manifest manifest;
    manifest.key = key;
    manifest.savedUs = ipc::nowUs();
    manifest.trainLoss = manifest.gradNorm = std::nan("");
    manifest.lrScale = config.optimizer.lrScale;
    manifest.config = train::marksOf(config);
    manifest.configXxh3 = configXxh3;
    train::NamedMixtureChange first{.step = 1, .shares = {}, .seed = config.data.seed, .skipBatches = config.data.skipBatches};
    for (const auto& [domain, percent] : config.data.mixture) {
        first.shares[domain] = percent / 100.0;
    }
    manifest.mixtureHistory = {std::move(first)};
    return manifest;
}

Result<void> checkPlace(const fs::path& checkpoints, const ipc::AttemptKey& key) {
    const auto there = train::listCheckpoints(checkpoints, key.attempt);
    return there.empty() ? Result<void>()
                         : Result<void>(fail(ErrorCode::AlreadyExists,
                                             "attempt " + std::to_string(key.attempt) + " has checkpoints already (" +
                                                 there.front().path.filename().string() + "); name another --checkpoint-dir",
                                             checkpoints.string()));
}

} // namespace

Result<Transfer> importHuggingFace(const fs::path& folder, const config::RunConfig& config, const std::string& configXxh3,
                                   const ipc::AttemptKey& key, const fs::path& checkpoints) {
    const std::vector<LlamaTensor> tensors = llamaTensors(config.model);
    auto sound = checkLlamaConfig(folder, config.model).and_then([&] { return checkPlace(checkpoints, key); });
    if (!sound) {
        return tl::unexpected(sound.error());
    }
    const auto source = LlamaFolder::open(folder, tensors);
    if (!source) {
        return tl::unexpected(source.error());
    }
    const fs::path growing = train::temporaryFolder(checkpoints, key.attempt, 0);
    std::error_code error;
    fs::create_directories(growing, error);
    if (error) {
        return fail(ErrorCode::Internal, "cannot be created: " + error.message(), growing.string());
    }
    train::Manifest manifest = stepZero(config, configXxh3, key);
    auto done = train::ShardFileWriter::create(growing, "rank-00000.bin").and_then([&](train::ShardFileWriter file) {
        return Importer(*source, config.model, tensors).write(file).and_then([&] { return file.finish(); });
    });
    auto published = done.and_then([&](const train::RankPart& part) {
        train::mergePart(manifest, part);
        return train::publishCheckpoint(checkpoints, growing, manifest);
    });
    if (!published) {
        fs::remove_all(growing, error);
        return tl::unexpected(published.error());
    }
    Transfer transfer{.folder = *published, .tensors = std::ssize(tensors), .elements = 0, .exact = true};
    for (const LlamaTensor& tensor : tensors) {
        transfer.elements += tensor.size;
    }
    return transfer;
}

} // namespace telehelm::exchange
