// SPDX-License-Identifier: Apache-2.0
// The bytes of a shard: one domain's training or validation tokens and where its documents begin. Described in README.md.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "telehelm/ipc/result.h"

namespace telehelm::data {

inline constexpr std::int32_t kByteVocabulary = 257; // 256 bytes + separator
inline constexpr std::int32_t kSeparator = 256;
inline constexpr std::size_t kShardHeaderBytes = 64;
inline constexpr std::uint32_t kShardVersion = 1;
inline constexpr std::uint32_t kTokenUint16 = 1;

struct ShardHeader {
    std::uint32_t vocabulary = kByteVocabulary;
    std::uint32_t separator = kSeparator;
    std::uint64_t tokens = 0;
    std::uint64_t documents = 0;
    std::uint64_t payloadXxh3 = 0; // everything after the header

    /// Where the document index begins, from the start of the file; tokens are padded to 8 bytes.
    [[nodiscard]] std::uint64_t indexOffset() const { return kShardHeaderBytes + (tokens * 2 + 7) / 8 * 8; }
    [[nodiscard]] std::uint64_t fileBytes() const { return indexOffset() + documents * 8; }
};

[[nodiscard]] std::array<std::byte, kShardHeaderBytes> encodeHeader(const ShardHeader& header);
/// Refuses what is not a shard, is of another version, or whose header is damaged; `name` goes into the error.
[[nodiscard]] Result<ShardHeader> decodeHeader(std::span<const std::byte> file, const std::string& name);

} // namespace telehelm::data
