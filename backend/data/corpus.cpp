// SPDX-License-Identifier: Apache-2.0
#include "data/corpus.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>
#include <optional>

#include <xxhash.h>

#include "data/keyed_permutation.h"
#include "data/manifest.h"
#include "data/mapped_file.h"
#include "data/shard_format.h"

namespace telehelm::data {

namespace {

/// One mapped shard.
struct Shard {
    MappedFile file;
    std::span<const std::uint16_t> tokens;
};

/// Fixes the order in which validation windows are taken, for every run alike.
constexpr std::uint64_t kValidationKey = 0x54656c65464c4d21ULL;

Result<Shard> openShard(const std::filesystem::path& dir, const ShardSummary& promised, bool verify) {
    const auto path = dir / promised.file;
    auto file = MappedFile::open(path);
    if (!file)
        return tl::unexpected(file.error());
    const auto bytes = file->bytes();
    const auto header = decodeHeader(bytes, path.string());
    if (!header)
        return tl::unexpected(header.error());
    if (header->tokens != static_cast<std::uint64_t>(promised.tokens) ||
        header->documents != static_cast<std::uint64_t>(promised.documents) || header->payloadXxh3 != promised.xxh3)
        return fail(ErrorCode::DataLoss, "is not the shard that manifest.json describes (tokens, documents or checksum differ)",
                    path.string());
    const auto payload = bytes.subspan(kShardHeaderBytes);
    if (verify && XXH3_64bits(payload.data(), payload.size()) != header->payloadXxh3)
        return fail(ErrorCode::DataLoss, "the shard is damaged (its checksum differs); make the corpus again", path.string());
    const auto* tokens = reinterpret_cast<const std::uint16_t*>(payload.data()); // page-aligned + 64
    return Shard{std::move(*file), {tokens, static_cast<std::size_t>(header->tokens)}};
}

class MappedCorpus final : public Corpus {
public:
    explicit MappedCorpus(std::vector<ManifestDomain> manifest) : m_manifest(std::move(manifest)) {
        for (const auto& domain : m_manifest)
            m_domains.push_back({domain.name, domain.languages, domain.train.documents, domain.train.bytes, domain.train.tokens,
                                 domain.valid.documents, domain.valid.bytes, domain.valid.tokens});
    }
    Result<void> open(const std::filesystem::path& dir, bool verify);

    [[nodiscard]] const std::vector<Domain>& domains() const override { return m_domains; }
    [[nodiscard]] std::int32_t vocabSize() const override { return kByteVocabulary; }
    void read(std::size_t domain, std::int64_t from, std::span<std::int32_t> out) const override;
    [[nodiscard]] std::vector<ValidationWindow> validation(std::size_t domain, std::int64_t contextLength,
                                                           std::int64_t count) const override;
    [[nodiscard]] double unigramEntropy(std::span<const double> shares) const override;

private:
    // constant after open()
    std::vector<ManifestDomain> m_manifest;
    std::vector<Domain> m_domains;
    std::vector<Shard> m_train, m_valid;
};

Result<void> MappedCorpus::open(const std::filesystem::path& dir, bool verify) {
    for (const auto& domain : m_manifest) {
        auto train = openShard(dir, domain.train, verify);
        if (!train)
            return tl::unexpected(train.error());
        auto valid = openShard(dir, domain.valid, verify);
        if (!valid)
            return tl::unexpected(valid.error());
        if (train->tokens.empty())
            return fail(ErrorCode::DataLoss, "the domain has no training tokens", (dir / domain.train.file).string());
        m_train.push_back(std::move(*train));
        m_valid.push_back(std::move(*valid));
    }
    return {};
}

void MappedCorpus::read(std::size_t domain, std::int64_t from, std::span<std::int32_t> out) const {
    const auto tokens = m_train.at(domain).tokens;
    assert(from >= 0);
    auto at = static_cast<std::size_t>(from) % tokens.size();
    while (!out.empty()) {
        const auto run = std::min(out.size(), tokens.size() - at);
        std::copy_n(tokens.begin() + static_cast<std::ptrdiff_t>(at), run, out.begin());
        out = out.subspan(run);
        at = 0;
    }
}

std::vector<ValidationWindow> MappedCorpus::validation(std::size_t domain, std::int64_t contextLength, std::int64_t count) const {
    const auto tokens = m_valid.at(domain).tokens;
    const auto available = (static_cast<std::int64_t>(tokens.size()) - 1) / contextLength;
    std::vector<ValidationWindow> windows;
    for (std::int64_t k = 0; k < std::min(count, available); ++k) {
        // A fixed permutation, so that few windows already come from many documents.
        const auto window = permute(kValidationKey, static_cast<std::uint64_t>(available), static_cast<std::uint64_t>(k));
        const auto part = tokens.subspan(static_cast<std::size_t>(window) * static_cast<std::size_t>(contextLength),
                                         static_cast<std::size_t>(contextLength) + 1);
        windows.push_back({{part.begin(), part.end()}, contextLength - std::count(part.begin() + 1, part.end(), kSeparator)});
    }
    return windows;
}

double MappedCorpus::unigramEntropy(std::span<const double> shares) const {
    assert(shares.size() == m_manifest.size());
    double entropy = 0.0;
    for (std::size_t token = 0; token < kByteVocabulary; ++token) {
        double p = 0.0;
        for (std::size_t d = 0; d < shares.size(); ++d)
            p += shares[d] * static_cast<double>(m_manifest[d].train.unigram[token]) /
                 static_cast<double>(m_manifest[d].train.tokens);
        if (p > 0.0)
            entropy -= p * std::log(p);
    }
    return entropy;
}

} // namespace

Result<std::unique_ptr<Corpus>> openCorpus(const std::filesystem::path& dir, bool verifyChecksums) {
    auto manifest = readManifest(dir);
    if (!manifest)
        return tl::unexpected(manifest.error());
    auto corpus = std::make_unique<MappedCorpus>(std::move(manifest->domains));
    if (auto opened = corpus->open(dir, verifyChecksums); !opened)
        return tl::unexpected(opened.error());
    return corpus;
}

} // namespace telehelm::data
