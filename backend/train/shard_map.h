// SPDX-License-Identifier: Apache-2.0
// Which elements of a global tensor a part of it holds. Pure arithmetic; any thread.
//
// A tensor is cut along one dimension. Where that dimension is several matrices behind each other (q | k | v: 3 blocks, gate |
// up: 2), each block is cut alike, and a part is its slice of every block. Row-major, a part is then made of equal runs: run i of
// part p starts at global element (i · parts + p) · length.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "telehelm/ipc/result.h"

namespace telehelm::train {

/// Which part; by default all of it.
struct TensorSplit {
    int dim = 0;    // along which it is cut
    int blocks = 1; // equal stretches of that dimension, each of which is cut
    int parts = 1;  // of each block
    int part = 0;
    bool operator==(const TensorSplit&) const = default;
};

/// Elements that lie together both in the global tensor and in the part.
struct Run {
    std::int64_t global = 0, local = 0, length = 0;
    bool operator==(const Run&) const = default;
};

/// Elements that lie together in two parts of the same tensor.
struct Overlap {
    std::int64_t source = 0, target = 0, length = 0; // first local elements
    bool operator==(const Overlap&) const = default;
};

class ShardMap {
public:
    /// Refused with the dimension and what does not divide it.
    [[nodiscard]] static Result<ShardMap> make(std::span<const std::int64_t> globalShape, const TensorSplit& split);

    [[nodiscard]] std::int64_t size() const { return m_runs * m_length; } // the part's elements
    [[nodiscard]] std::vector<std::int64_t> localShape() const { return m_localShape; }
    /// Of local elements [from, to), ascending in both.
    [[nodiscard]] std::vector<Run> runs(std::int64_t from, std::int64_t to) const;

private:
    ShardMap() = default;
    std::int64_t m_runs = 1, m_length = 1; // runs of that many elements
    std::int64_t m_parts = 1, m_part = 0;
    std::vector<std::int64_t> m_localShape;
};

/// What two lists of ascending runs have in common, ascending.
[[nodiscard]] std::vector<Overlap> overlapsOf(std::span<const Run> source, std::span<const Run> target);

/// "96 × 32"
[[nodiscard]] std::string shapeText(std::span<const std::int64_t> shape);

} // namespace telehelm::train
