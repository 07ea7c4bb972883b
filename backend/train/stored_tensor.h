// SPDX-License-Identifier: Apache-2.0
// A weight as this rank holds it, and as checkpoints know it: by its global name and shape.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/model.h"
#include "train/shard_map.h"

namespace telehelm::train {

/// Prefixes of a weight's moments in a manifest; the weight itself has none.
inline constexpr const char* kFirstMoment = "adam.m/";
inline constexpr const char* kSecondMoment = "adam.v/";

/// Elements [from, to) of the flat buffers.
struct Stretch {
    std::int64_t from = 0, to = 0;
    [[nodiscard]] std::int64_t size() const { return to - from; }
    bool operator==(const Stretch&) const = default;
};

struct StoredTensor {
    std::string name;                // the global one, whatever the pipeline stage
    std::vector<std::int64_t> shape; // of the global tensor
    TensorSplit split;               // this rank's part of it
    std::int64_t offset = 0;         // first element in this rank's flat buffers
    std::int64_t size = 0;           // elements there
    bool writes = true;              // false: another rank of the tensor axis has the same and writes it
};

/// `tensorRank`: of the tensor axis; what all of it hold alike is written by rank 0.
[[nodiscard]] std::vector<StoredTensor> storedTensors(const std::vector<model::ParameterInfo>& layout, int tensorRank = 0);

} // namespace telehelm::train
