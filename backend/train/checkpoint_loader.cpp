// SPDX-License-Identifier: Apache-2.0
#include "train/checkpoint_loader.h"

#include <algorithm>

namespace telehelm::train {
namespace {

constexpr std::int64_t kReal = sizeof(float);

/// What is wanted of one shard.
struct Wanted {
    const TensorShard* shard;
    std::vector<Overlap> overlaps;
};

Result<std::vector<Wanted>> plan(const TensorEntry& tensor, std::span<const Run> target) {
    std::vector<Wanted> wanted;
    for (const TensorShard& shard : tensor.shards) {
        const Result<ShardMap> map = ShardMap::make(tensor.shape, shard.split);
        if (!map) {
            return fail(ErrorCode::DataLoss, tensor.name + " in " + shard.file + ": " + map.error().message);
        }
        const std::int64_t end = shard.begin + shard.bytes / kReal;
        if (end > map->size()) {
            return fail(ErrorCode::DataLoss, tensor.name + " in " + shard.file + " ends at element " + std::to_string(end) +
                                                 " of a part of " + std::to_string(map->size()));
        }
        // Most shards of a big tensor are other ranks': their runs need not be listed.
        const std::int64_t first = map->runs(shard.begin, shard.begin + 1).front().global;
        const std::int64_t last = map->runs(end - 1, end).front().global;
        if (target.empty() || last < target.front().global || first >= target.back().global + target.back().length) {
            continue;
        }
        if (auto overlaps = overlapsOf(map->runs(shard.begin, end), target); !overlaps.empty()) {
            wanted.push_back({&shard, std::move(overlaps)});
        }
    }
    return wanted;
}

/// Every element exactly once?
Result<void> checkCover(const std::string& name, const std::vector<Wanted>& wanted, std::int64_t from, std::int64_t to) {
    std::vector<std::pair<std::int64_t, std::int64_t>> stretches;
    for (const Wanted& want : wanted) {
        for (const Overlap& overlap : want.overlaps) {
            stretches.emplace_back(overlap.target, overlap.length);
        }
    }
    std::ranges::sort(stretches);
    std::int64_t next = from;
    for (const auto& [begin, length] : stretches) {
        if (begin != next) {
            return fail(ErrorCode::DataLoss, name + (begin < next ? " is there twice" : " is not complete") +
                                                 " in the manifest (element " + std::to_string(std::min(begin, next)) +
                                                 " of the part)");
        }
        next = begin + length;
    }
    return next == to ? Result<void>()
                      : Result<void>(fail(ErrorCode::DataLoss, name + " is not complete in the manifest (" +
                                                                   std::to_string(to - next) + " elements are missing)"));
}

struct Section {
    const char* prefix;
    std::span<float> Shard::* values;
};
constexpr Section kSections[] = {{"", &Shard::parameters}, {kFirstMoment, &Shard::firstMoment}, {kSecondMoment, &Shard::secondMoment}};

} // namespace

Result<void> loadTensor(ShardReader& reader, const Manifest& manifest, const std::string& name,
                        const std::vector<std::int64_t>& shape, const TensorSplit& split, std::int64_t from,
                        std::span<float> out) {
    const auto tensor = std::ranges::find(manifest.tensors, name, &TensorEntry::name);
    if (tensor == manifest.tensors.end() || tensor->shape != shape) {
        return fail(ErrorCode::InvalidArgument,
                    name + " is " + (tensor == manifest.tensors.end() ? "missing" : shapeText(tensor->shape)) +
                        " in the checkpoint but " + shapeText(shape) + " by the config; [model] must be the one that wrote it");
    }
    const Result<ShardMap> map = ShardMap::make(shape, split);
    if (!map) {
        return fail(map.error().code, name + ": " + map.error().message);
    }
    const std::int64_t to = from + std::ssize(out);
    const auto wanted = plan(*tensor, map->runs(from, to));
    if (!wanted) {
        return tl::unexpected(wanted.error());
    }
    if (auto covered = checkCover(name, *wanted, from, to); !covered) {
        return covered;
    }
    for (const Wanted& want : *wanted) {
        for (const Overlap& overlap : want.overlaps) {
            const auto place =
                out.subspan(static_cast<std::size_t>(overlap.target - from), static_cast<std::size_t>(overlap.length));
            if (auto read = reader.read(name, *want.shard, overlap.source - want.shard->begin, place); !read) {
                return read;
            }
        }
    }
    return {};
}

Result<LoadCount> loadShards(const std::filesystem::path& path, const Manifest& manifest, const std::vector<StoredTensor>& tensors,
                             std::span<const Shard> shards) {
    ShardReader reader(path);
    LoadCount count;
    for (const Section& section : kSections) {
        for (const StoredTensor& tensor : tensors) {
            const std::string name = section.prefix + tensor.name;
            const auto load = [&](std::int64_t from, std::span<float> out) -> Result<void> {
                count.needed += std::ssize(out) * kReal;
                auto loaded = loadTensor(reader, manifest, name, tensor.shape, tensor.split, from, out);
                return loaded ? Result<void>() : fail(loaded.error().code, loaded.error().message, path.string());
            };
            bool isAsked = false;
            for (const Shard& shard : shards) {
                const std::int64_t begin = std::max(tensor.offset, shard.from);
                const std::int64_t size = std::min(tensor.offset + tensor.size, shard.to) - begin;
                if (size <= 0) {
                    continue;
                }
                const auto out =
                    (shard.*section.values).subspan(static_cast<std::size_t>(begin - shard.from), static_cast<std::size_t>(size));
                if (auto loaded = load(begin - tensor.offset, out); !loaded) {
                    return tl::unexpected(loaded.error());
                }
                isAsked = true;
            }
            if (auto known = isAsked ? Result<void>() : load(0, {}); !known) { // nothing of it is here, yet it must be that model
                return tl::unexpected(known.error());
            }
        }
    }
    count.read = reader.bytesRead();
    return count;
}

Result<LoadCount> loadShard(const std::filesystem::path& path, const Manifest& manifest, const std::vector<StoredTensor>& tensors,
                            const Shard& shard) {
    return loadShards(path, manifest, tensors, std::span(&shard, 1));
}

Result<LoadCount> loadShard(const std::filesystem::path& path, const Manifest& manifest,
                            const std::vector<model::ParameterInfo>& layout, const Shard& shard) {
    return loadShard(path, manifest, storedTensors(layout), shard);
}

} // namespace telehelm::train
