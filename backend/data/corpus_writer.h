// SPDX-License-Identifier: Apache-2.0
// Makes a corpus: documents in, shards and manifest out, in place only when complete.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/manifest.h"
#include "telehelm/ipc/result.h"

namespace telehelm::data {

/// Hash of a document's content: decides whether it is held out.
[[nodiscard]] std::uint64_t contentHash(std::string_view document);
[[nodiscard]] bool isHeldOut(std::string_view document, int holdOutOneIn);

/// Writes into “DIR.partial-PID” and renames it to DIR in finish(); what is not finished is removed. One thread.
class CorpusWriter {
public:
    enum class Existing { Refuse, Replace };
    /// DIR must not exist yet, be an empty folder, or, with Replace, an older corpus, which stays until finish(); its parent
    /// folders are made.
    [[nodiscard]] static Result<CorpusWriter> create(const std::filesystem::path& dir, Existing existing = Existing::Refuse);
    CorpusWriter(CorpusWriter&&) noexcept;
    CorpusWriter& operator=(CorpusWriter&&) noexcept;
    ~CorpusWriter();

    /// Documents added from now on belong to this domain. One document in `holdOutOneIn`, chosen by the hash of its content, goes
    /// into the validation part.
    [[nodiscard]] Result<void> beginDomain(const std::string& name, const std::string& languages, int holdOutOneIn = 50);
    /// Empty documents are left out; exact duplicates within the corpus too (false is returned).
    [[nodiscard]] Result<bool> add(std::string_view document);
    void addSource(ManifestSource source);
    void setRecipe(std::string recipe);
    /// Closes the shards, writes the manifest and puts the folder in its place.
    [[nodiscard]] Result<void> finish();

private:
    struct State;
    explicit CorpusWriter(std::unique_ptr<State> state);
    std::unique_ptr<State> m_state;
};

/// A whole corpus from memory: for tests and small experiments.
struct DomainText {
    std::string name, languages;
    std::vector<std::string> documents;
};
[[nodiscard]] Result<void> writeCorpus(const std::filesystem::path& dir, const std::vector<DomainText>& domains,
                                       int holdOutOneIn = 5);

} // namespace telehelm::data
