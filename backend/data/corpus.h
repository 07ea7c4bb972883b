// SPDX-License-Identifier: Apache-2.0
// A tokenised corpus on disk (manifest.json + mmap-able shards; byte format: backend/data/README.md) and the order in which a
// run reads it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "telehelm/ipc/result.h"

namespace telehelm::data {

struct Domain {
    std::string name; // table 1 of the report
    std::string languages;
    std::int64_t documents = 0, bytes = 0, tokens = 0;                // training part
    std::int64_t validDocuments = 0, validBytes = 0, validTokens = 0; // held out by content hash, never trained on
};

/// A validation window: T+1 tokens and the UTF-8 bytes that its T targets stand for.
struct ValidationWindow {
    std::vector<std::int32_t> tokens;
    std::int64_t bytes = 0;
};

/// Read-only and immutable: any thread.
class Corpus {
public:
    virtual ~Corpus() = default;
    [[nodiscard]] virtual const std::vector<Domain>& domains() const = 0;
    [[nodiscard]] virtual std::int32_t vocabSize() const = 0; // 257: 256 bytes + document separator
    /// Training tokens [from, from + out.size()) of a domain, wrapping at its end.
    virtual void read(std::size_t domain, std::int64_t from, std::span<std::int32_t> out) const = 0;
    /// The first `count` validation windows of a domain (fewer when it has fewer), always the same ones and spread over its
    /// documents; a separator among the targets stands for no byte.
    [[nodiscard]] virtual std::vector<ValidationWindow> validation(std::size_t domain, std::int64_t contextLength,
                                                                   std::int64_t count) const = 0;
    /// −Σ p ln p over the training tokens' unigram frequencies, weighted by `shares` (per domain, adds up to 1): nats per token.
    [[nodiscard]] virtual double unigramEntropy(std::span<const double> shares) const = 0;
};
/// Checks the manifest and the shards' sizes; `verifyChecksums` reads every byte.
[[nodiscard]] Result<std::unique_ptr<Corpus>> openCorpus(const std::filesystem::path& dir, bool verifyChecksums = false);

/// A mixture that holds from a step on.
struct MixtureChange {
    std::int64_t step = 0;        // first step that uses it
    std::vector<double> shares;   // per domain of the corpus, adds up to 1
    std::uint64_t seed = 0;       // data seed from this step on
    std::int64_t skipBatches = 0; // batches of data passed over at this step
};

/// The order of the data: a pure function of (mixture history, step, index in the step); no state but a cache.
class Sampler {
public:
    virtual ~Sampler() = default;
    struct Pick {
        std::size_t domain = 0;
        std::int64_t from = 0;  // first token of the window in the domain's training stream
        std::int64_t epoch = 0; // how often the domain has been read before
    };
    /// Where sequence `index` (0 … sequences−1) of `step` (1, 2, …) comes from.
    virtual Pick pick(std::int64_t step, std::int64_t index) = 0;
    /// Inputs and targets, T tokens each.
    virtual void fill(std::int64_t step, std::int64_t index, std::span<std::int32_t> inputs, std::span<std::int32_t> targets) = 0;
    /// Appends a change; its step must be after every step already asked for, and after the last change (or replace it at the
    /// same step).
    virtual Result<void> change(MixtureChange change) = 0;
    [[nodiscard]] virtual const std::vector<MixtureChange>& history() const = 0;
    /// Sequences taken from each domain in steps 1 … step.
    [[nodiscard]] virtual std::vector<std::int64_t> drawn(std::int64_t step) = 0;
};
/// `history` must not be empty and begins at step 1 (0 counts as 1); throws std::invalid_argument on one that change() would
/// refuse. `from` + T + 1 tokens may pass the domain's end and wrap. One thread uses a sampler.
[[nodiscard]] std::unique_ptr<Sampler> makeSampler(std::shared_ptr<const Corpus> corpus, std::vector<MixtureChange> history,
                                                   std::int64_t sequencesPerStep, std::int64_t contextLength);

} // namespace telehelm::data
