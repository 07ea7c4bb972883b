// SPDX-License-Identifier: Apache-2.0
#include "data/corpus_writer.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <system_error>
#include <unordered_set>

#include <unistd.h>
#include <xxhash.h>

namespace telehelm::data {

namespace fs = std::filesystem;

std::uint64_t contentHash(std::string_view document) {
    return XXH3_64bits(document.data(), document.size());
}

bool isHeldOut(std::string_view document, int holdOutOneIn) {
    return holdOutOneIn > 0 && contentHash(document) % static_cast<std::uint64_t>(holdOutOneIn) == 0;
}

struct CorpusWriter::State {
    fs::path target, partial;
    Manifest manifest;
    std::optional<ShardWriter> train, valid; // of the domain in hand
    std::unordered_set<std::uint64_t> seen;  // 64-bit hashes: two different documents collide once in 10^19 pairs
    bool finished = false;

    ~State() {
        std::error_code ignored; // nothing to tell anyone any more; the next run makes another folder
        if (!finished)
            fs::remove_all(partial, ignored);
    }
    [[nodiscard]] Result<void> closeDomain();
    [[nodiscard]] Result<void> putInPlace();
};

/// An older corpus steps aside and is removed afterwards; who has it mapped keeps it.
Result<void> CorpusWriter::State::putInPlace() {
    std::error_code error;
    const fs::path older = partial.string() + ".older";
    const bool replaces = fs::exists(target / kManifestFile, error);
    if (replaces)
        fs::rename(target, older, error);
    else
        fs::remove(target, error); // an empty folder, or nothing
    std::error_code failed;
    fs::rename(partial, target, failed);
    if (failed) {
        if (replaces)
            fs::rename(older, target, error);
        return fail(ErrorCode::Unavailable, "cannot put the corpus in its place: " + failed.message(), target.string());
    }
    finished = true;
    fs::remove_all(older, error);
    return {};
}

Result<void> CorpusWriter::State::closeDomain() {
    if (!train)
        return {};
    auto trained = train->finish();
    if (!trained)
        return tl::unexpected(trained.error());
    auto validated = valid->finish();
    if (!validated)
        return tl::unexpected(validated.error());
    manifest.domains.back().train = std::move(*trained);
    manifest.domains.back().valid = std::move(*validated);
    train.reset();
    valid.reset();
    return {};
}

CorpusWriter::CorpusWriter(std::unique_ptr<State> state) : m_state(std::move(state)) {}
CorpusWriter::CorpusWriter(CorpusWriter&&) noexcept = default;
CorpusWriter& CorpusWriter::operator=(CorpusWriter&&) noexcept = default;
CorpusWriter::~CorpusWriter() = default;

Result<CorpusWriter> CorpusWriter::create(const fs::path& dir, Existing existing) {
    std::error_code error;
    auto state = std::make_unique<State>();
    state->target = fs::absolute(dir).lexically_normal();
    if (!state->target.has_filename())
        state->target = state->target.parent_path();
    const bool corpus = existing == Existing::Replace && fs::exists(state->target / kManifestFile, error);
    if (fs::exists(state->target, error) && !corpus &&
        (!fs::is_directory(state->target, error) || !fs::is_empty(state->target, error)))
        return fail(ErrorCode::AlreadyExists, "there is something already; remove it or name another folder", dir.string());
    state->partial = state->target.string() + ".partial-" + std::to_string(::getpid());
    fs::remove_all(state->partial, error);
    fs::create_directories(state->partial, error);
    if (error)
        return fail(ErrorCode::Unavailable, "cannot make the folder: " + error.message(), state->partial.string());
    return CorpusWriter(std::move(state));
}

Result<void> CorpusWriter::beginDomain(const std::string& name, const std::string& languages, int holdOutOneIn) {
    const auto& domains = m_state->manifest.domains;
    const bool usable = !name.empty() && name.find_first_of("/.\\ \n") == std::string::npos;
    if (!usable || std::any_of(domains.begin(), domains.end(), [&](const auto& domain) { return domain.name == name; }))
        return fail(ErrorCode::InvalidArgument,
                    "“" + name + "” cannot name a domain: used already, empty, or with / . \\ or spaces");
    if (auto closed = m_state->closeDomain(); !closed)
        return closed;
    auto train = ShardWriter::create(m_state->partial / (name + ".train.bin"));
    if (!train)
        return tl::unexpected(train.error());
    auto valid = ShardWriter::create(m_state->partial / (name + ".valid.bin"));
    if (!valid)
        return tl::unexpected(valid.error());
    m_state->manifest.domains.push_back({name, languages, holdOutOneIn, {}, {}});
    m_state->train = std::move(*train);
    m_state->valid = std::move(*valid);
    return {};
}

Result<bool> CorpusWriter::add(std::string_view document) {
    if (!m_state->train)
        return fail(ErrorCode::FailedPrecondition, "a document was added before the first domain began");
    if (document.empty() || !m_state->seen.insert(contentHash(document)).second)
        return false;
    auto& shard = isHeldOut(document, m_state->manifest.domains.back().holdOutOneIn) ? m_state->valid : m_state->train;
    if (auto added = shard->add(document); !added)
        return tl::unexpected(added.error());
    return true;
}

void CorpusWriter::addSource(ManifestSource source) {
    m_state->manifest.sources.push_back(std::move(source));
}

void CorpusWriter::setRecipe(std::string recipe) {
    m_state->manifest.recipe = std::move(recipe);
}

Result<void> CorpusWriter::finish() {
    if (auto closed = m_state->closeDomain(); !closed)
        return closed;
    for (const auto& domain : m_state->manifest.domains)
        if (domain.train.tokens == 0)
            return fail(ErrorCode::FailedPrecondition, "the domain has no training text", domain.name);
    if (auto written = writeManifest(m_state->manifest, m_state->partial); !written)
        return written;
    return m_state->putInPlace();
}

Result<void> writeCorpus(const fs::path& dir, const std::vector<DomainText>& domains, int holdOutOneIn) {
    auto writer = CorpusWriter::create(dir);
    if (!writer)
        return tl::unexpected(writer.error());
    for (const auto& domain : domains) {
        if (auto begun = writer->beginDomain(domain.name, domain.languages, holdOutOneIn); !begun)
            return begun;
        for (const auto& document : domain.documents)
            if (auto added = writer->add(document); !added)
                return tl::unexpected(added.error());
    }
    return writer->finish();
}

} // namespace telehelm::data
