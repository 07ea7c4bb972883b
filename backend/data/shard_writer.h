// SPDX-License-Identifier: Apache-2.0
// Writes one shard, document by document, with bounded memory (8 bytes per document).
#pragma once

#include <array>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string_view>
#include <vector>

#include "data/shard_format.h"
#include "telehelm/ipc/result.h"

namespace telehelm::data {

/// What a finished shard holds, for the manifest.
struct ShardSummary {
    std::string file; // name inside the corpus folder
    std::int64_t documents = 0, bytes = 0, tokens = 0;
    std::uint64_t fileBytes = 0;
    std::uint64_t xxh3 = 0; // of the payload
    std::array<std::int64_t, kByteVocabulary> unigram{};
};

/// One thread.
class ShardWriter {
public:
    [[nodiscard]] static Result<ShardWriter> create(const std::filesystem::path& path);

    /// Appends the document's bytes and a separator.
    [[nodiscard]] Result<void> add(std::string_view document);
    /// Writes index and header, makes the file durable and closes it.
    [[nodiscard]] Result<ShardSummary> finish();

private:
    struct Close {
        void operator()(std::FILE* file) const { std::fclose(file); }
    };
    struct FreeHash {
        void operator()(void* state) const;
    };
    ShardWriter(std::filesystem::path path, std::FILE* file);
    [[nodiscard]] Result<void> put(const void* data, std::size_t bytes);
    [[nodiscard]] tl::unexpected<Error> failed() const;

    std::filesystem::path m_path;
    std::unique_ptr<std::FILE, Close> m_file;
    std::unique_ptr<void, FreeHash> m_hash;
    std::vector<std::uint64_t> m_starts;
    std::vector<std::uint16_t> m_tokens; // the document in hand
    ShardSummary m_summary;
};

} // namespace telehelm::data
