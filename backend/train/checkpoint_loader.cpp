// SPDX-License-Identifier: Apache-2.0
#include "train/checkpoint_loader.h"

#include <algorithm>
#include <fstream>

#include "train/file_io.h"

namespace telehelm::train {
namespace {

std::string shapeText(const std::vector<std::int64_t>& shape) {
    std::string text;
    for (const std::int64_t size : shape) {
        text += (text.empty() ? "" : " × ") + std::to_string(size);
    }
    return text;
}

Result<std::vector<float>> readStretch(const std::filesystem::path& path, const TensorShard& stretch) {
    std::vector<float> values(static_cast<std::size_t>(stretch.bytes) / sizeof(float));
    std::ifstream file(path / stretch.file, std::ios::binary);
    file.seekg(stretch.offset);
    if (!file.read(reinterpret_cast<char*>(values.data()), stretch.bytes)) {
        return fail(ErrorCode::DataLoss, stretch.file + " is cut off", path.string());
    }
    if (hexHash(xxh3(std::as_bytes(std::span(values)))) != stretch.xxh3) {
        return fail(ErrorCode::DataLoss, stretch.file + " has a wrong checksum at byte " + std::to_string(stretch.offset),
                    path.string());
    }
    return values;
}

/// Copies what a stored tensor and the shard have in common.
Result<void> loadTensor(const std::filesystem::path& path, const TensorEntry& tensor, const model::ParameterInfo& weight,
                        std::int64_t from, std::span<float> out) {
    const std::int64_t to = from + static_cast<std::int64_t>(out.size());
    std::int64_t filled = 0;
    for (const TensorShard& stretch : tensor.shards) {
        const std::int64_t first = weight.offset + stretch.begin;
        const std::int64_t begin = std::max(first, from);
        const std::int64_t end = std::min(first + stretch.bytes / static_cast<std::int64_t>(sizeof(float)), to);
        if (begin >= end) {
            continue;
        }
        const Result<std::vector<float>> values = readStretch(path, stretch);
        if (!values) {
            return tl::unexpected(values.error());
        }
        std::copy_n(values->begin() + (begin - first), end - begin, out.begin() + (begin - from));
        filled += end - begin;
    }
    const std::int64_t wanted =
        std::max<std::int64_t>(0, std::min(weight.offset + weight.size, to) - std::max(weight.offset, from));
    if (filled != wanted) {
        return fail(ErrorCode::DataLoss, tensor.name + " is not complete in the manifest", path.string());
    }
    return {};
}

} // namespace

Result<void> loadShard(const std::filesystem::path& path, const Manifest& manifest,
                       const std::vector<model::ParameterInfo>& layout, const Shard& shard) {
    struct Part {
        const char* prefix;
        std::span<float> out;
    };
    for (const Part& part :
         {Part{"", shard.parameters}, Part{kFirstMoment, shard.firstMoment}, Part{kSecondMoment, shard.secondMoment}}) {
        for (const model::ParameterInfo& weight : layout) {
            const auto tensor = std::ranges::find(manifest.tensors, part.prefix + weight.name, &TensorEntry::name);
            if (tensor == manifest.tensors.end() || tensor->shape != weight.shape) {
                return fail(ErrorCode::InvalidArgument,
                            weight.name + " is " + (tensor == manifest.tensors.end() ? "missing" : shapeText(tensor->shape)) +
                                " in the checkpoint but " + shapeText(weight.shape) +
                                " by the config; [model] must be the one that wrote it",
                            path.string());
            }
            if (auto loaded = loadTensor(path, *tensor, weight, shard.from, part.out); !loaded) {
                return loaded;
            }
        }
    }
    return {};
}

} // namespace telehelm::train
