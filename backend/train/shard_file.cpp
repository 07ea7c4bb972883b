// SPDX-License-Identifier: Apache-2.0
#include "train/shard_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <unistd.h>

namespace telehelm::train {
namespace {

constexpr std::int64_t kReal = sizeof(float);

std::size_t at(std::int64_t value) {
    return static_cast<std::size_t>(value);
}

/// Bytes that were there; fewer than asked for: the file ends.
std::int64_t readAt(int descriptor, std::span<std::byte> out, std::int64_t offset) {
    std::int64_t done = 0;
    while (done < std::ssize(out)) {
        const ssize_t got = ::pread(descriptor, out.data() + done, out.size() - at(done), offset + done);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            break;
        }
        done += got;
    }
    return done;
}

} // namespace

Result<ShardFileWriter> ShardFileWriter::create(const std::filesystem::path& folder, std::string name, std::int64_t pieceBytes) {
    auto file = DurableFile::create(folder / name);
    if (!file) {
        return tl::unexpected(file.error());
    }
    std::filesystem::path path = folder / name;
    return ShardFileWriter(std::move(path), std::move(name), pieceBytes, std::move(*file));
}

Result<void> ShardFileWriter::add(const std::string& tensor, const std::vector<std::int64_t>& shape, const TensorSplit& split,
                                  std::int64_t begin, std::span<const float> values) {
    if (values.empty()) {
        return {};
    }
    const auto bytes = std::as_bytes(values);
    TensorShard shard{.file = m_name,
                      .split = split,
                      .begin = begin,
                      .offset = m_file.bytes(),
                      .bytes = std::ssize(bytes),
                      .pieceBytes = m_pieceBytes,
                      .xxh3 = {}};
    for (std::int64_t from = 0; from < shard.bytes; from += m_pieceBytes) {
        shard.xxh3.push_back(xxh3(bytes.subspan(at(from), at(std::min(m_pieceBytes, shard.bytes - from)))));
    }
    if (m_part.tensors.empty() || m_part.tensors.back().name != tensor) {
        m_part.tensors.push_back({.name = tensor, .shape = shape, .shards = {}});
    }
    m_part.tensors.back().shards.push_back(std::move(shard));
    return m_file.write(bytes);
}

Result<RankPart> ShardFileWriter::finish() {
    const std::int64_t bytes = m_file.bytes();
    if (auto closed = m_file.close(); !closed) {
        return tl::unexpected(closed.error());
    }
    const auto hash = xxh3OfFile(m_path);
    if (!hash) {
        return tl::unexpected(hash.error());
    }
    m_part.files.push_back({.name = m_name, .bytes = bytes, .xxh3 = hexHash(*hash)});
    return std::move(m_part);
}

Result<void> writeTensors(ShardFileWriter& file, const std::vector<StoredTensor>& tensors, std::span<const Stretch> stretches,
                          const Moments<std::span<const float>>& values) {
    const auto addParts = [&](const StoredTensor& tensor, const std::string& name, std::span<const float> section) -> Result<void> {
        for (const Stretch& stretch : stretches) { // a tensor's lie together in the manifest
            const std::int64_t first = std::max(tensor.offset, stretch.from);
            const std::int64_t last = std::min(tensor.offset + tensor.size, stretch.to);
            if (first < last) {
                const auto part = section.subspan(at(first - stretch.from), at(last - first));
                if (auto added = file.add(name, tensor.shape, tensor.split, first - tensor.offset, part); !added) {
                    return added;
                }
            }
            section = section.subspan(at(stretch.size()));
        }
        return {};
    };
    for (const auto& [prefix, section] :
         {std::pair("", values.parameters), std::pair(kFirstMoment, values.first), std::pair(kSecondMoment, values.second)}) {
        for (const StoredTensor& tensor : tensors) {
            if (auto added = tensor.writes ? addParts(tensor, prefix + tensor.name, section) : Result<void>(); !added) {
                return added;
            }
        }
    }
    return {};
}

ShardReader::~ShardReader() {
    for (const auto& [name, descriptor] : m_files) {
        ::close(descriptor);
    }
}

Result<int> ShardReader::open(const std::string& tensor, const std::string& name) {
    if (const auto known = m_files.find(name); known != m_files.end()) {
        return known->second;
    }
    const int descriptor = ::open((m_folder / name).c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) {
        return fail(ErrorCode::DataLoss, tensor + ": " + name + " cannot be opened: " + std::strerror(errno), m_folder.string());
    }
    return m_files[name] = descriptor;
}

Result<void> ShardReader::loadPiece(const std::string& tensor, const TensorShard& shard, std::int64_t piece) {
    if (m_shard == &shard && m_piece == piece) {
        return {};
    }
    const Result<int> descriptor = open(tensor, shard.file);
    if (!descriptor) {
        return tl::unexpected(descriptor.error());
    }
    const std::int64_t begin = piece * shard.pieceBytes;
    const std::int64_t bytes = std::min(shard.pieceBytes, shard.bytes - begin);
    m_shard = nullptr;
    m_values.resize(at(bytes / kReal));
    const auto buffer = std::as_writable_bytes(std::span(m_values));
    const std::int64_t got = readAt(*descriptor, buffer, shard.offset + begin);
    m_bytesRead += got;
    const std::string place =
        tensor + ": " + shard.file + ", " + std::to_string(bytes) + " bytes at offset " + std::to_string(shard.offset + begin);
    if (got != bytes) {
        return fail(ErrorCode::DataLoss, place + ": the file is cut off after " + std::to_string(got), m_folder.string());
    }
    const std::uint64_t hash = xxh3(buffer);
    if (const std::uint64_t meant = shard.xxh3[at(piece)]; hash != meant) {
        return fail(ErrorCode::DataLoss, place + ": the checksum is " + hexHash(hash) + ", not " + hexHash(meant),
                    m_folder.string());
    }
    m_shard = &shard;
    m_piece = piece;
    return {};
}

Result<void> ShardReader::read(const std::string& tensor, const TensorShard& shard, std::int64_t from, std::span<float> out) {
    const std::int64_t perPiece = shard.pieceBytes / kReal;
    while (!out.empty()) {
        const std::int64_t piece = from / perPiece;
        if (auto loaded = loadPiece(tensor, shard, piece); !loaded) {
            return loaded;
        }
        const std::int64_t within = from - piece * perPiece;
        const std::int64_t count = std::min(std::ssize(m_values) - within, std::ssize(out));
        std::copy_n(m_values.begin() + within, count, out.begin());
        out = out.subspan(at(count));
        from += count;
    }
    return {};
}

} // namespace telehelm::train
