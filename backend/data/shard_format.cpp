// SPDX-License-Identifier: Apache-2.0
#include "data/shard_format.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include <xxhash.h>

namespace telehelm::data {

static_assert(std::endian::native == std::endian::little, "shards are mapped into memory as they are: little endian");

namespace {

constexpr char kMagic[8] = {'T', 'H', 'S', 'H', 'A', 'R', 'D', '\n'};
constexpr std::size_t kChecksumAt = kShardHeaderBytes - 8;

template <typename T> void put(std::byte* at, T value) {
    std::memcpy(at, &value, sizeof value);
}

template <typename T> T get(const std::byte* at) {
    T value;
    std::memcpy(&value, at, sizeof value);
    return value;
}

} // namespace

std::array<std::byte, kShardHeaderBytes> encodeHeader(const ShardHeader& header) {
    std::array<std::byte, kShardHeaderBytes> bytes{};
    std::memcpy(bytes.data(), kMagic, sizeof kMagic);
    put(bytes.data() + 8, kShardVersion);
    put(bytes.data() + 12, kTokenUint16);
    put(bytes.data() + 16, header.vocabulary);
    put(bytes.data() + 20, header.separator);
    put(bytes.data() + 24, header.tokens);
    put(bytes.data() + 32, header.documents);
    put(bytes.data() + 40, header.payloadXxh3);
    put(bytes.data() + kChecksumAt, std::uint64_t{XXH3_64bits(bytes.data(), kChecksumAt)});
    return bytes;
}

Result<ShardHeader> decodeHeader(std::span<const std::byte> file, const std::string& name) {
    if (file.size() < kShardHeaderBytes)
        return fail(ErrorCode::DataLoss, "is cut off: " + std::to_string(file.size()) + " bytes, a shard has at least 64", name);
    if (std::memcmp(file.data(), kMagic, sizeof kMagic) != 0)
        return fail(ErrorCode::DataLoss, "is not a Telehelm shard (it does not begin with “THSHARD”)", name);
    const auto version = get<std::uint32_t>(file.data() + 8);
    if (version != kShardVersion)
        return fail(ErrorCode::VersionMismatch,
                    "shard format " + std::to_string(version) + ", this program reads format " + std::to_string(kShardVersion),
                    name);
    if (get<std::uint64_t>(file.data() + kChecksumAt) != XXH3_64bits(file.data(), kChecksumAt))
        return fail(ErrorCode::DataLoss, "the shard's header is damaged (checksum differs)", name);
    if (get<std::uint32_t>(file.data() + 12) != kTokenUint16)
        return fail(ErrorCode::VersionMismatch, "the shard's tokens are not 16-bit integers", name);
    ShardHeader header;
    header.vocabulary = get<std::uint32_t>(file.data() + 16);
    header.separator = get<std::uint32_t>(file.data() + 20);
    header.tokens = get<std::uint64_t>(file.data() + 24);
    header.documents = get<std::uint64_t>(file.data() + 32);
    header.payloadXxh3 = get<std::uint64_t>(file.data() + 40);
    if (file.size() != header.fileBytes())
        return fail(ErrorCode::DataLoss,
                    "has " + std::to_string(file.size()) + " bytes, its header promises " + std::to_string(header.fileBytes()),
                    name);
    return header;
}

} // namespace telehelm::data
