// SPDX-License-Identifier: Apache-2.0
#include "train/shard_map.h"

#include <algorithm>

namespace telehelm::train {
namespace {

std::string splitFault(std::span<const std::int64_t> shape, const TensorSplit& split) {
    if (split.parts < 1 || split.blocks < 1 || split.part < 0 || split.part >= split.parts) {
        return "part " + std::to_string(split.part) + " of " + std::to_string(split.parts) + " in " +
               std::to_string(split.blocks) + " blocks cannot be";
    }
    if (std::ranges::any_of(shape, [](std::int64_t size) { return size < 1; })) {
        return "a tensor of " + shapeText(shape) + " cannot be";
    }
    if (split.parts == 1 && split.blocks == 1) {
        return {};
    }
    if (split.dim < 0 || static_cast<std::size_t>(split.dim) >= shape.size()) {
        return "a tensor of " + shapeText(shape) + " has no dimension " + std::to_string(split.dim) + " to cut";
    }
    const std::int64_t cuts = std::int64_t{split.blocks} * split.parts;
    if (shape[static_cast<std::size_t>(split.dim)] % cuts != 0) {
        return std::to_string(split.blocks) + (split.blocks == 1 ? " block" : " blocks") + " of " + std::to_string(split.parts) +
               " parts do not divide dimension " + std::to_string(split.dim) + " of " + shapeText(shape);
    }
    return {};
}

} // namespace

Result<ShardMap> ShardMap::make(std::span<const std::int64_t> globalShape, const TensorSplit& split) {
    if (const std::string fault = splitFault(globalShape, split); !fault.empty()) {
        return fail(ErrorCode::InvalidArgument, fault);
    }
    ShardMap map;
    map.m_localShape.assign(globalShape.begin(), globalShape.end());
    map.m_parts = split.parts;
    map.m_part = split.part;
    if (split.parts > 1) {
        map.m_localShape[static_cast<std::size_t>(split.dim)] /= split.parts;
        map.m_runs = split.blocks;
    }
    for (std::size_t dim = 0; dim < map.m_localShape.size(); ++dim) {
        const bool before = split.parts > 1 && dim < static_cast<std::size_t>(split.dim);
        (before ? map.m_runs : map.m_length) *= map.m_localShape[dim];
    }
    map.m_length /= split.parts > 1 ? split.blocks : 1;
    return map;
}

std::vector<Run> ShardMap::runs(std::int64_t from, std::int64_t to) const {
    std::vector<Run> runs;
    for (std::int64_t local = from; local < to;) {
        const std::int64_t run = local / m_length;
        const std::int64_t within = local % m_length;
        const std::int64_t length = std::min(m_length - within, to - local);
        runs.push_back({.global = (run * m_parts + m_part) * m_length + within, .local = local, .length = length});
        local += length;
    }
    return runs;
}

std::vector<Overlap> overlapsOf(std::span<const Run> source, std::span<const Run> target) {
    std::vector<Overlap> overlaps;
    for (auto s = source.begin(), t = target.begin(); s != source.end() && t != target.end();) {
        const std::int64_t begin = std::max(s->global, t->global);
        const std::int64_t end = std::min(s->global + s->length, t->global + t->length);
        if (begin < end) {
            const Overlap next{
                .source = s->local + begin - s->global, .target = t->local + begin - t->global, .length = end - begin};
            Overlap* last = overlaps.empty() ? nullptr : &overlaps.back();
            if (last != nullptr && last->source + last->length == next.source && last->target + last->length == next.target) {
                last->length += next.length;
            } else {
                overlaps.push_back(next);
            }
        }
        s->global + s->length < t->global + t->length ? static_cast<void>(++s) : static_cast<void>(++t);
    }
    return overlaps;
}

std::string shapeText(std::span<const std::int64_t> shape) {
    std::string text;
    for (const std::int64_t size : shape) {
        text += (text.empty() ? "" : " × ") + std::to_string(size);
    }
    return text.empty() ? "a number" : text;
}

} // namespace telehelm::train
