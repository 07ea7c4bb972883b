// SPDX-License-Identifier: Apache-2.0
// Data order. Sequences are numbered through the whole run: g = (step − 1)·S + index + S·(batches skipped so far). The domain of
// sequence g is drawn from the shares in force by hash(seed, g); the k-th draw of a domain reads a window of T tokens, chosen by
// a keyed permutation of the domain's windows, so that an epoch sees each window once. A new seed reshuffles what is left of an
// epoch.
#include <algorithm>
#include <cassert>
#include <cmath>
#include <stdexcept>

#include "data/corpus.h"
#include "data/keyed_permutation.h"

namespace telehelm::data {

namespace {

constexpr std::int64_t kSnapshotEvery = 512;                   // steps
constexpr std::size_t kSnapshotsReserved = 1024;               // half a million steps before the list grows
constexpr std::uint64_t kDomainStream = 0x646f6d61696e2121ULL; // keeps the two uses of a seed apart
constexpr std::uint64_t kWindowStream = 0x77696e646f772121ULL;

/// How far each domain has been read. Assigning one to another of as many domains allocates nothing.
struct Cursor {
    std::vector<std::int64_t> drawn; // windows taken or passed over
    std::vector<std::int64_t> taken; // windows taken
};

class HashSampler final : public Sampler {
public:
    HashSampler(std::shared_ptr<const Corpus> corpus, std::int64_t sequencesPerStep, std::int64_t contextLength);

    Pick pick(std::int64_t step, std::int64_t index) override;
    void fill(std::int64_t step, std::int64_t index, std::span<std::int32_t> inputs, std::span<std::int32_t> targets) override;
    Result<void> change(MixtureChange change) override;
    [[nodiscard]] const std::vector<MixtureChange>& history() const override { return m_history; }
    [[nodiscard]] std::vector<std::int64_t> drawn(std::int64_t step) override;

private:
    /// A mixture change with what follows from it: where the sequence counter and each domain's cursor stand when it begins.
    struct Segment {
        std::int64_t skippedBefore = 0;  // batches, this change's included
        std::vector<double> cumulative;  // of the shares
        std::vector<std::int64_t> begin; // per domain: draws before the segment, its own skipped batches not counted
    };
    [[nodiscard]] Result<void> check(const MixtureChange& change) const;
    void append(MixtureChange change);
    [[nodiscard]] std::size_t segmentOf(std::int64_t step) const;
    [[nodiscard]] std::size_t domainOf(std::size_t segment, std::int64_t sequence) const;
    void seek(std::int64_t step, Cursor& cursor);
    void growSnapshots(std::size_t wanted);
    void keepSnapshot(std::int64_t step, const Cursor& behind);
    void takeStep(std::int64_t step, Cursor& cursor, std::vector<std::size_t>* domains) const;
    void skipInto(std::size_t segment, Cursor& cursor) const;
    void loadStep(std::int64_t step);
    [[nodiscard]] std::int64_t window(std::size_t domain, std::int64_t draw) const;

    // constant after construction
    std::shared_ptr<const Corpus> m_corpus;
    std::int64_t m_sequencesPerStep, m_contextLength;
    std::vector<std::int64_t> m_windows; // per domain
    // one thread only
    std::vector<MixtureChange> m_history;
    std::vector<Segment> m_segments;
    std::vector<std::int64_t> m_snapshots; // [i][drawn, taken][domain]: before step 1 + i·kSnapshotEvery
    std::int64_t m_asked = 0;        // the last step that anyone asked for
    std::int64_t m_loaded = 0;       // the step that m_domains and m_draws describe
    std::vector<std::size_t> m_domains;
    std::vector<std::int64_t> m_draws;
    Cursor m_before, m_after; // of the loaded step
};

HashSampler::HashSampler(std::shared_ptr<const Corpus> corpus, std::int64_t sequencesPerStep, std::int64_t contextLength)
    : m_corpus(std::move(corpus)), m_sequencesPerStep(sequencesPerStep), m_contextLength(contextLength) {
    for (const auto& domain : m_corpus->domains())
        m_windows.push_back(std::max<std::int64_t>(1, (domain.tokens - 1) / contextLength));
    m_snapshots.reserve(kSnapshotsReserved * 2 * m_windows.size());
    m_snapshots.assign(2 * m_windows.size(), 0);
    m_before = m_after = {std::vector<std::int64_t>(m_windows.size(), 0), std::vector<std::int64_t>(m_windows.size(), 0)};
    m_domains.reserve(static_cast<std::size_t>(sequencesPerStep));
    m_draws.reserve(static_cast<std::size_t>(sequencesPerStep));
}

Result<void> HashSampler::check(const MixtureChange& change) const {
    const std::string where = "mixture from step " + std::to_string(change.step);
    const auto domains = m_corpus->domains().size();
    if (change.shares.size() != domains)
        return fail(ErrorCode::InvalidArgument,
                    std::to_string(change.shares.size()) + " shares for " + std::to_string(domains) + " domains", where);
    double sum = 0.0;
    for (const double share : change.shares) {
        if (!(share >= 0.0 && share <= 1.0))
            return fail(ErrorCode::InvalidArgument, "the share " + std::to_string(share) + " is not between 0 and 1", where);
        sum += share;
    }
    if (std::abs(sum - 1.0) > 1e-6)
        return fail(ErrorCode::InvalidArgument, "the shares add up to " + std::to_string(sum) + ", not to 1", where);
    if (change.skipBatches < 0)
        return fail(ErrorCode::InvalidArgument, "a negative number of batches cannot be skipped", where);
    if (m_history.empty() && change.step > 1)
        return fail(ErrorCode::InvalidArgument, "the first mixture must hold from step 1", where);
    if (!m_history.empty() && change.step < m_history.back().step)
        return fail(ErrorCode::FailedPrecondition,
                    "comes before the last change, at step " + std::to_string(m_history.back().step), where);
    if (change.step <= m_asked)
        return fail(ErrorCode::FailedPrecondition, "the data of step " + std::to_string(m_asked) + " is already chosen", where);
    return {};
}

Result<void> HashSampler::change(MixtureChange change) {
    change.step = std::max<std::int64_t>(change.step, 1);
    if (auto checked = check(change); !checked)
        return checked;
    if (!m_history.empty() && change.step == m_history.back().step) {
        m_history.pop_back();
        m_segments.pop_back();
    }
    // What was worked out beyond the change no longer holds.
    const auto keep = static_cast<std::size_t>((change.step - 1) / kSnapshotEvery) + 1;
    m_snapshots.resize(std::min(m_snapshots.size(), keep * 2 * m_windows.size()));
    if (m_loaded >= change.step)
        m_loaded = 0;
    append(std::move(change));
    return {};
}

void HashSampler::append(MixtureChange change) {
    Segment segment;
    segment.skippedBefore = (m_segments.empty() ? 0 : m_segments.back().skippedBefore) + change.skipBatches;
    double sum = 0.0;
    for (const double share : change.shares)
        segment.cumulative.push_back(sum += share);
    segment.begin.assign(m_windows.size(), 0);
    if (!m_history.empty()) {
        Cursor cursor = m_before;
        seek(change.step, cursor);
        segment.begin = std::move(cursor.drawn);
    }
    m_history.push_back(std::move(change));
    m_segments.push_back(std::move(segment));
}

std::size_t HashSampler::segmentOf(std::int64_t step) const {
    auto segment = m_history.size() - 1;
    while (segment > 0 && m_history[segment].step > step)
        --segment;
    return segment;
}

std::size_t HashSampler::domainOf(std::size_t segment, std::int64_t sequence) const {
    const auto& cumulative = m_segments[segment].cumulative;
    const auto key = m_history[segment].seed ^ kDomainStream;
    const double at = unit(mix64(key, static_cast<std::uint64_t>(sequence))) * cumulative.back();
    const auto found = std::upper_bound(cumulative.begin(), cumulative.end(), at); // the first above: never a share of zero
    return static_cast<std::size_t>(found - cumulative.begin());
}

/// The batches that the change passes over are counted as read, under its own shares.
void HashSampler::skipInto(std::size_t segment, Cursor& cursor) const {
    const auto& change = m_history[segment];
    const auto end = (change.step - 1 + m_segments[segment].skippedBefore) * m_sequencesPerStep;
    for (auto sequence = end - change.skipBatches * m_sequencesPerStep; sequence < end; ++sequence)
        ++cursor.drawn[domainOf(segment, sequence)];
}

void HashSampler::takeStep(std::int64_t step, Cursor& cursor, std::vector<std::size_t>* domains) const {
    const auto segment = segmentOf(step);
    if (step == m_history[segment].step)
        skipInto(segment, cursor);
    const auto first = (step - 1 + m_segments[segment].skippedBefore) * m_sequencesPerStep;
    for (std::int64_t index = 0; index < m_sequencesPerStep; ++index) {
        const auto domain = domainOf(segment, first + index);
        ++cursor.drawn[domain];
        ++cursor.taken[domain];
        if (domains)
            domains->push_back(domain);
    }
}

/// Keeps the cursor behind a step as the next snapshot, if it is that.
void HashSampler::keepSnapshot(std::int64_t step, const Cursor& behind) {
    const auto count = static_cast<std::int64_t>(m_snapshots.size() / (2 * m_windows.size()));
    if (step != count * kSnapshotEvery)
        return;
    m_snapshots.insert(m_snapshots.end(), behind.drawn.begin(), behind.drawn.end());
    m_snapshots.insert(m_snapshots.end(), behind.taken.begin(), behind.taken.end());
}

/// Works out the snapshots up to [wanted] that are not there yet.
void HashSampler::growSnapshots(std::size_t wanted) {
    const auto last = static_cast<std::int64_t>(wanted) * kSnapshotEvery;
    auto step = static_cast<std::int64_t>(m_snapshots.size() / (2 * m_windows.size())) * kSnapshotEvery; // it ends in the next one
    if (step > last)
        return;
    Cursor cursor = m_before;
    for (seek(step, cursor); step <= last; ++step) {
        takeStep(step, cursor, nullptr);
        keepSnapshot(step, cursor);
    }
}

/// Brings the cursor to where it stands before the step.
void HashSampler::seek(std::int64_t step, Cursor& cursor) {
    if (m_loaded > 0 && m_loaded + 1 == step) {
        cursor = m_after;
        return;
    }
    const auto wanted = static_cast<std::size_t>(std::max<std::int64_t>(step - 1, 0) / kSnapshotEvery);
    growSnapshots(wanted);
    const auto domains = static_cast<std::ptrdiff_t>(m_windows.size());
    const auto snapshot = m_snapshots.begin() + static_cast<std::ptrdiff_t>(wanted) * 2 * domains;
    cursor.drawn.assign(snapshot, snapshot + domains);
    cursor.taken.assign(snapshot + domains, snapshot + 2 * domains);
    for (auto s = static_cast<std::int64_t>(wanted) * kSnapshotEvery + 1; s < step; ++s)
        takeStep(s, cursor, nullptr);
}

/// In the order of the steps this allocates nothing (but once in half a million steps).
void HashSampler::loadStep(std::int64_t step) {
    m_asked = std::max(m_asked, step);
    if (m_loaded == step)
        return;
    seek(step, m_before);
    m_domains.clear();
    m_after = m_before;
    takeStep(step, m_after, &m_domains);
    keepSnapshot(step, m_after);
    if (const auto segment = segmentOf(step); step == m_history[segment].step)
        skipInto(segment, m_before);
    m_draws.clear();
    for (const auto domain : m_domains)
        m_draws.push_back(m_before.drawn[domain]++);
    m_loaded = step;
}

/// Which window the `draw`-th draw of a domain reads.
std::int64_t HashSampler::window(std::size_t domain, std::int64_t draw) const {
    const auto count = m_windows[domain];
    const auto epoch = draw / count;
    auto at = draw % count;
    // Shuffles that began within this epoch, the latest first, each over what was left when it began.
    auto segment = m_segments.size() - 1;
    for (;; --segment) {
        const auto begin = m_segments[segment].begin[domain];
        const bool reseeded = segment > 0 && m_history[segment].seed != m_history[segment - 1].seed;
        if (begin <= epoch * count)
            break;
        if (reseeded && begin <= draw) {
            const auto left = begin % count;
            const auto key = mix64(m_history[segment].seed ^ kWindowStream, domain << 48 ^ static_cast<std::uint64_t>(begin));
            at = left + static_cast<std::int64_t>(
                            permute(key, static_cast<std::uint64_t>(count - left), static_cast<std::uint64_t>(at - left)));
        }
    }
    const auto key = mix64(m_history[segment].seed ^ kWindowStream, domain << 48 ^ static_cast<std::uint64_t>(epoch * count));
    return static_cast<std::int64_t>(permute(key, static_cast<std::uint64_t>(count), static_cast<std::uint64_t>(at)));
}

Sampler::Pick HashSampler::pick(std::int64_t step, std::int64_t index) {
    assert(step >= 1 && index >= 0 && index < m_sequencesPerStep);
    loadStep(step);
    const auto at = static_cast<std::size_t>(index);
    const auto domain = m_domains[at];
    return {domain, window(domain, m_draws[at]) * m_contextLength, m_draws[at] / m_windows[domain]};
}

void HashSampler::fill(std::int64_t step, std::int64_t index, std::span<std::int32_t> inputs, std::span<std::int32_t> targets) {
    assert(inputs.size() == targets.size() && !inputs.empty());
    const auto chosen = pick(step, index);
    m_corpus->read(chosen.domain, chosen.from, inputs);
    std::copy(inputs.begin() + 1, inputs.end(), targets.begin());
    m_corpus->read(chosen.domain, chosen.from + static_cast<std::int64_t>(inputs.size()), targets.last(1));
}

std::vector<std::int64_t> HashSampler::drawn(std::int64_t step) {
    m_asked = std::max(m_asked, step);
    if (step < 1)
        return std::vector<std::int64_t>(m_windows.size(), 0);
    Cursor cursor = m_before;
    seek(step + 1, cursor);
    return std::move(cursor.taken);
}

} // namespace

std::unique_ptr<Sampler> makeSampler(std::shared_ptr<const Corpus> corpus, std::vector<MixtureChange> history,
                                     std::int64_t sequencesPerStep, std::int64_t contextLength) {
    if (!corpus || history.empty() || sequencesPerStep < 1 || contextLength < 1)
        throw std::invalid_argument("a sampler needs a corpus, a first mixture, a batch size and a context length");
    auto sampler = std::make_unique<HashSampler>(std::move(corpus), sequencesPerStep, contextLength);
    for (auto& entry : history)
        if (auto changed = sampler->change(std::move(entry)); !changed)
            throw std::invalid_argument(changed.error().text());
    return sampler;
}

} // namespace telehelm::data
