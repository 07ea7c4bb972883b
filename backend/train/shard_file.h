// SPDX-License-Identifier: Apache-2.0
// The file in which a rank keeps its part of a checkpoint (byte format: backend/train/README.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "telehelm/ipc/result.h"
#include "train/file_io.h"
#include "train/manifest.h"
#include "train/stored_tensor.h"

namespace telehelm::train {

/// What a reader must read at least at once to check it: enough for a disk, little beside a shard.
inline constexpr std::int64_t kPieceBytes = std::int64_t{1} << 20;

/// Writes tensors one behind the other, a stretch at a time, with the checksum of each piece.
class ShardFileWriter {
public:
    [[nodiscard]] static Result<ShardFileWriter> create(const std::filesystem::path& folder, std::string name,
                                                        std::int64_t pieceBytes = kPieceBytes);

    /// Elements from `begin` on of that part of a tensor.
    [[nodiscard]] Result<void> add(const std::string& tensor, const std::vector<std::int64_t>& shape, const TensorSplit& split,
                                   std::int64_t begin, std::span<const float> values);
    /// Makes the file durable and reads it back: its checksum is of what the file holds, not of what was meant.
    [[nodiscard]] Result<RankPart> finish();

private:
    ShardFileWriter(std::filesystem::path path, std::string name, std::int64_t pieceBytes, DurableFile file)
        : m_path(std::move(path)), m_name(std::move(name)), m_pieceBytes(pieceBytes), m_file(std::move(file)) {}

    std::filesystem::path m_path;
    std::string m_name;
    std::int64_t m_pieceBytes;
    DurableFile m_file;
    RankPart m_part;
};

/// A weight's value and its two moments, side by side.
template <typename T> struct Moments { T parameters, first, second; };
/// Three sections: parameters, first moments, second moments. `values` are the stretches of the rank's flat buffers behind each
/// other; padding and what another rank writes are left out.
[[nodiscard]] Result<void> writeTensors(ShardFileWriter& file, const std::vector<StoredTensor>& tensors,
                                        std::span<const Stretch> stretches, const Moments<std::span<const float>>& values);

/// Reads stretches of shards, checked piece by piece; each piece at most once in a row. One thread.
class ShardReader {
public:
    explicit ShardReader(std::filesystem::path folder) : m_folder(std::move(folder)) {}
    ~ShardReader();
    ShardReader(const ShardReader&) = delete;
    ShardReader& operator=(const ShardReader&) = delete;

    /// Copies elements [from, from + out.size()) of the shard. A damage names tensor, file and offset.
    [[nodiscard]] Result<void> read(const std::string& tensor, const TensorShard& shard, std::int64_t from, std::span<float> out);
    [[nodiscard]] std::int64_t bytesRead() const { return m_bytesRead; }

private:
    Result<void> loadPiece(const std::string& tensor, const TensorShard& shard, std::int64_t piece);
    Result<int> open(const std::string& tensor, const std::string& name);

    const std::filesystem::path m_folder;
    std::map<std::string, int> m_files; // descriptors
    std::vector<float> m_values;        // of the last piece
    const TensorShard* m_shard = nullptr;
    std::int64_t m_piece = -1, m_bytesRead = 0;
};

} // namespace telehelm::train
