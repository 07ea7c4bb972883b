// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <vector>

#include "telehelm/ipc/result.h"
#include "train/manifest.h"
#include "train/shard_file.h"
#include "train/step_engine.h"
#include "train/stored_tensor.h"

namespace telehelm::train {

/// Bytes of a load.
struct LoadCount {
    std::int64_t needed = 0; // what the shard takes
    std::int64_t read = 0;   // from the files: whole pieces
};

/// Elements [from, from + out.size()) of a part of a tensor, from whatever parts the checkpoint has it in. `name` as in the
/// manifest. Refused when it is missing, of another shape, or when the manifest's shards do not cover it exactly once.
[[nodiscard]] Result<void> loadTensor(ShardReader& reader, const Manifest& manifest, const std::string& name,
                                      const std::vector<std::int64_t>& shape, const TensorSplit& split, std::int64_t from,
                                      std::span<float> out);

/// Fills a rank's shards from a checkpoint that any mesh wrote; reads no piece of a file that holds nothing of them.
[[nodiscard]] Result<LoadCount> loadShards(const std::filesystem::path& path, const Manifest& manifest,
                                           const std::vector<StoredTensor>& tensors, std::span<const Shard> shards);
[[nodiscard]] Result<LoadCount> loadShard(const std::filesystem::path& path, const Manifest& manifest,
                                          const std::vector<StoredTensor>& tensors, const Shard& shard);
[[nodiscard]] Result<LoadCount> loadShard(const std::filesystem::path& path, const Manifest& manifest,
                                          const std::vector<model::ParameterInfo>& layout, const Shard& shard);

} // namespace telehelm::train
