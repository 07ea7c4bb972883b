// SPDX-License-Identifier: Apache-2.0
#include "data/shard_writer.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <unistd.h>
#include <xxhash.h>

namespace telehelm::data {

void ShardWriter::FreeHash::operator()(void* state) const {
    XXH3_freeState(static_cast<XXH3_state_t*>(state));
}

ShardWriter::ShardWriter(std::filesystem::path path, std::FILE* file)
    : m_path(std::move(path)), m_file(file), m_hash(XXH3_createState()) {
    XXH3_64bits_reset(static_cast<XXH3_state_t*>(m_hash.get()));
    m_summary.file = m_path.filename().string();
}

Result<ShardWriter> ShardWriter::create(const std::filesystem::path& path) {
    std::FILE* file = std::fopen(path.c_str(), "wbe");
    if (!file)
        return fail(ErrorCode::Unavailable, std::string("cannot write: ") + std::strerror(errno), path.string());
    ShardWriter writer(path, file);
    const std::array<std::byte, kShardHeaderBytes> empty{}; // finish() writes the real header over it
    if (std::fwrite(empty.data(), 1, empty.size(), file) != empty.size())
        return writer.failed();
    return writer;
}

tl::unexpected<Error> ShardWriter::failed() const {
    const int error = errno;
    if (error == ENOSPC || error == EDQUOT)
        return fail(ErrorCode::ResourceExhausted, "no space left on the disk; free some, or name another folder with --dir",
                    m_path.string());
    return fail(ErrorCode::Unavailable, std::string("cannot write: ") + std::strerror(error), m_path.string());
}

Result<void> ShardWriter::put(const void* data, std::size_t bytes) {
    if (bytes == 0) // data may be null
        return {};
    if (std::fwrite(data, 1, bytes, m_file.get()) != bytes)
        return failed();
    XXH3_64bits_update(static_cast<XXH3_state_t*>(m_hash.get()), data, bytes);
    return {};
}

Result<void> ShardWriter::add(std::string_view document) {
    m_tokens.clear();
    m_tokens.reserve(document.size() + 1);
    for (const char c : document) {
        const auto byte = static_cast<unsigned char>(c);
        m_tokens.push_back(byte);
        ++m_summary.unigram[byte];
    }
    m_tokens.push_back(kSeparator);
    ++m_summary.unigram[kSeparator];
    m_starts.push_back(static_cast<std::uint64_t>(m_summary.tokens));
    m_summary.documents += 1;
    m_summary.bytes += static_cast<std::int64_t>(document.size());
    m_summary.tokens += static_cast<std::int64_t>(m_tokens.size());
    return put(m_tokens.data(), m_tokens.size() * sizeof m_tokens[0]);
}

Result<ShardSummary> ShardWriter::finish() {
    const std::array<char, 8> padding{};
    const auto tokenBytes = static_cast<std::size_t>(m_summary.tokens) * 2;
    if (auto done = put(padding.data(), (tokenBytes + 7) / 8 * 8 - tokenBytes); !done)
        return tl::unexpected(done.error());
    if (auto done = put(m_starts.data(), m_starts.size() * 8); !done)
        return tl::unexpected(done.error());
    ShardHeader header;
    header.tokens = static_cast<std::uint64_t>(m_summary.tokens);
    header.documents = static_cast<std::uint64_t>(m_summary.documents);
    header.payloadXxh3 = XXH3_64bits_digest(static_cast<XXH3_state_t*>(m_hash.get()));
    const auto bytes = encodeHeader(header);
    std::FILE* file = m_file.get();
    if (std::fseek(file, 0, SEEK_SET) != 0 || std::fwrite(bytes.data(), 1, bytes.size(), file) != bytes.size() ||
        std::fflush(file) != 0 || ::fsync(::fileno(file)) != 0)
        return failed();
    if (std::fclose(m_file.release()) != 0)
        return failed();
    m_summary.fileBytes = header.fileBytes();
    m_summary.xxh3 = header.payloadXxh3;
    return m_summary;
}

} // namespace telehelm::data
