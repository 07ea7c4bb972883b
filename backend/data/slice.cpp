// SPDX-License-Identifier: Apache-2.0
#include "data/slice.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "data/corpus.h"
#include "data/corpus_writer.h"
#include "data/manifest.h"
#include "data/mapped_file.h"
#include "data/shard_format.h"

namespace telehelm::data {

namespace {

/// Takes a document whenever `share` of what has passed is more than what was taken.
Result<void> copyDocuments(const std::filesystem::path& path, double share, CorpusWriter& writer) {
    const auto file = MappedFile::open(path);
    if (!file)
        return tl::unexpected(file.error());
    const auto header = decodeHeader(file->bytes(), path.string());
    if (!header)
        return tl::unexpected(header.error());
    const auto numberAt = [&]<typename T>(std::uint64_t offset, T number) {
        std::memcpy(&number, file->bytes().data() + offset, sizeof(number));
        return number;
    };
    const auto startOf = [&](std::uint64_t document) {
        return document < header->documents ? numberAt(header->indexOffset() + document * 8, std::uint64_t{}) : header->tokens;
    };
    std::uint64_t taken = 0;
    for (std::uint64_t document = 0; document < header->documents; ++document) {
        const std::uint64_t from = startOf(document), to = startOf(document + 1);
        if (from >= to || to > header->tokens)
            return fail(ErrorCode::DataLoss, "the index of its documents is damaged; make the corpus again", path.string());
        if (static_cast<double>(taken) >= share * static_cast<double>(to))
            continue;
        taken += to - from;
        std::string text;
        for (std::uint64_t token = from; token + 1 < to; ++token) // the last one separates
            text.push_back(static_cast<char>(numberAt(kShardHeaderBytes + token * 2, std::uint16_t{})));
        if (const auto added = writer.add(text); !added)
            return tl::unexpected(added.error());
    }
    return {};
}

} // namespace

Result<void> sliceCorpus(const std::filesystem::path& from, const std::filesystem::path& to, std::int64_t tokensPerDomain) {
    const auto manifest = readManifest(from);
    if (!manifest)
        return tl::unexpected(manifest.error());
    if (const auto whole = openCorpus(from); !whole) // that the shards are the manifest's
        return tl::unexpected(whole.error());
    auto writer = CorpusWriter::create(to);
    if (!writer)
        return tl::unexpected(writer.error());
    for (const ManifestDomain& domain : manifest->domains) {
        if (auto begun = writer->beginDomain(domain.name, domain.languages, domain.holdOutOneIn); !begun)
            return begun;
        const double share = std::min(1.0, static_cast<double>(tokensPerDomain) / static_cast<double>(domain.train.tokens));
        for (const ShardSummary* part : {&domain.train, &domain.valid})
            if (auto copied = copyDocuments(from / part->file, share, *writer); !copied)
                return copied;
    }
    for (const ManifestSource& source : manifest->sources)
        writer->addSource(source);
    writer->setRecipe("slice of " + std::to_string(tokensPerDomain) + " training tokens a domain; whole: " + manifest->recipe);
    return writer->finish();
}

} // namespace telehelm::data
