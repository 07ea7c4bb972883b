// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstdio>

#include <nlohmann/json.hpp>

#include "exchange/hugging_face.h"
#include "exchange/llama.h"
#include "exchange/safetensors.h"
#include "train/checkpoint_loader.h"

namespace telehelm::exchange {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

constexpr std::int64_t kAtOnce = std::int64_t{1} << 20; // elements in memory

struct FilePlan {
    std::string name;
    std::vector<LlamaTensor> tensors;
};

/// As many files as it takes, named as Hugging Face does.
std::vector<FilePlan> planFiles(const config::ModelConfig& model, std::int64_t mostBytes) {
    std::vector<FilePlan> files(1);
    std::int64_t bytes = 0;
    for (LlamaTensor& tensor : llamaTensors(model)) {
        const auto size = tensor.size * static_cast<std::int64_t>(sizeof(float));
        if (bytes > 0 && bytes + size > mostBytes) {
            files.emplace_back();
            bytes = 0;
        }
        bytes += size;
        files.back().tensors.push_back(std::move(tensor));
    }
    for (std::size_t i = 0; i < files.size(); ++i) {
        char name[64];
        std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", i + 1, files.size());
        files[i].name = files.size() == 1 ? "model.safetensors" : name;
    }
    return files;
}

Result<void> checkTarget(const fs::path& folder) {
    std::error_code error;
    fs::create_directories(folder, error);
    if (error) {
        return fail(ErrorCode::Internal, "cannot be created: " + error.message(), folder.string());
    }
    for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
        const std::string name = entry.path().filename().string();
        if (name == "config.json" || name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json")) {
            return fail(ErrorCode::AlreadyExists, "has a model already (" + name + "); name an empty folder", folder.string());
        }
    }
    return {};
}

class Exporter {
public:
    Exporter(const fs::path& checkpoint, const train::Manifest& manifest, const config::ModelConfig& model)
        : m_reader(checkpoint), m_manifest(manifest), m_checkpoint(checkpoint) {
        for (const model::ParameterInfo& info : model::parameterLayout(model)) {
            m_shapes[info.name] = info.globalShape;
        }
    }

    Result<void> write(const FilePlan& plan, const fs::path& folder, const std::map<std::string, std::string>& metadata) {
        std::vector<std::pair<std::string, std::vector<std::int64_t>>> names;
        for (const LlamaTensor& tensor : plan.tensors) {
            names.emplace_back(tensor.name, tensor.shape);
        }
        // Under another name until it is whole.
        const fs::path part = folder / (plan.name + ".part");
        auto file = SafetensorsWriter::create(part, names, metadata);
        if (!file) {
            return tl::unexpected(file.error());
        }
        for (const LlamaTensor& tensor : plan.tensors) {
            if (auto copied = copy(tensor, *file); !copied) {
                std::error_code ignored; // the failure that counts is the copy's
                fs::remove(part, ignored);
                return copied;
            }
        }
        if (auto closed = file->close(); !closed) {
            return closed;
        }
        std::error_code error;
        fs::rename(part, folder / plan.name, error);
        return error ? Result<void>(fail(ErrorCode::Internal, "cannot be renamed: " + error.message(), part.string()))
                     : Result<void>();
    }

private:
    Result<void> copy(const LlamaTensor& tensor, SafetensorsWriter& file) {
        for (std::int64_t done = 0; done < tensor.size; done += kAtOnce) {
            m_values.resize(static_cast<std::size_t>(std::min(kAtOnce, tensor.size - done)));
            auto loaded =
                train::loadTensor(m_reader, m_manifest, tensor.ours, m_shapes.at(tensor.ours), {}, tensor.first + done, m_values);
            if (!loaded) {
                return fail(loaded.error().code, loaded.error().message, m_checkpoint.string());
            }
            if (tensor.factor != 1) {
                std::ranges::transform(m_values, m_values.begin(), [&](float value) { return value * tensor.factor; });
            }
            if (auto written = file.write(m_values); !written) {
                return written;
            }
        }
        return {};
    }

    train::ShardReader m_reader;
    const train::Manifest& m_manifest;
    const fs::path m_checkpoint;
    std::map<std::string, std::vector<std::int64_t>> m_shapes; // of ours
    std::vector<float> m_values;
};

Result<void> writeIndex(const std::vector<FilePlan>& files, const fs::path& folder) {
    Json places = Json::object();
    std::int64_t bytes = 0;
    for (const FilePlan& file : files) {
        for (const LlamaTensor& tensor : file.tensors) {
            places[tensor.name] = file.name;
            bytes += tensor.size * static_cast<std::int64_t>(sizeof(float));
        }
    }
    const Json json = {{"metadata", {{"total_size", bytes}}}, {"weight_map", places}};
    return train::writeWhole(folder / "model.safetensors.index.json", json.dump(2) + "\n");
}

bool powerOfTwo(double value) {
    int exponent = 0;
    return std::abs(std::frexp(value, &exponent)) == 0.5;
}

} // namespace

Result<Transfer> exportHuggingFace(const fs::path& checkpoint, const train::Manifest& manifest, const config::ModelConfig& model,
                                   const fs::path& folder, std::int64_t mostFileBytes) {
    if (auto free = checkTarget(folder); !free) {
        return tl::unexpected(free.error());
    }
    const std::vector<FilePlan> files = planFiles(model, mostFileBytes);
    Exporter exporter(checkpoint, manifest, model);
    Transfer transfer{
        .folder = folder, .tensors = 0, .elements = 0, .exact = powerOfTwo(model.inputMult) && powerOfTwo(model.outputMult)};
    const std::map<std::string, std::string> metadata = {{"format", "pt"}, // what Hugging Face's loader asks for
                                                         {"telehelm_run", manifest.key.run},
                                                         {"telehelm_step", std::to_string(manifest.step)},
                                                         {"telehelm_input_mult", Json(model.inputMult).dump()},
                                                         {"telehelm_output_mult", Json(model.outputMult).dump()}};
    for (const FilePlan& file : files) {
        if (auto written = exporter.write(file, folder, metadata); !written) {
            return tl::unexpected(written.error());
        }
        transfer.tensors += std::ssize(file.tensors);
        for (const LlamaTensor& tensor : file.tensors) {
            transfer.elements += tensor.size;
        }
    }
    auto done = files.size() > 1 ? writeIndex(files, folder) : Result<void>();
    done = done.and_then([&] { return train::writeWhole(folder / "config.json", llamaConfigText(model)); }).and_then([&] {
        return train::syncFolder(folder);
    });
    if (!done) {
        return tl::unexpected(done.error());
    }
    return transfer;
}

} // namespace telehelm::exchange
