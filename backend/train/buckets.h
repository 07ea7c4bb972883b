// SPDX-License-Identifier: Apache-2.0
// The distributed optimizer's traffic over the data axis. The flat buffers are cut into buckets; of each bucket a data rank owns
// one of D equal blocks. A bucket's gradients are reduce-scattered as soon as its last weight's are complete, in the midst of the
// last backward; its parameters are all-gathered behind the update and awaited just before the next forward reads them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/model.h"
#include "parallel/mesh.h"
#include "train/stored_tensor.h"

namespace telehelm::train {

/// Buckets of at most `bytes` of fp32 (at least 64 B a rank), the last one padded to equal blocks; one data rank: one bucket.
[[nodiscard]] std::vector<Stretch> cutBuckets(std::int64_t elements, std::int64_t bytes, int ranks);

/// Trainer thread only; collective over the data axis, and over the tensor axis where norms are summed. No allocation inside a step.
class Buckets {
public:
    /// `sumsNorms`: under sequence parallelism a tensor rank has only its rows' share of the norms' gradients.
    Buckets(model::Model& model, const parallel::Mesh& mesh, std::int64_t bytes, bool sumsNorms);

    [[nodiscard]] std::size_t count() const { return m_buckets.size(); }
    /// The own block of a bucket; what lies behind the model's buffer is padding.
    [[nodiscard]] Stretch own(std::size_t bucket) const;
    [[nodiscard]] std::span<float> ownParameters(std::size_t bucket);
    /// After finishGradients(): the own block's gradients, summed over the data ranks.
    [[nodiscard]] std::span<const float> ownGradients(std::size_t bucket) const;
    [[nodiscard]] std::size_t bytes() const; // of what it holds itself

    // Gradients, once a step.
    void beginStep();
    /// Gradients of [from, to) are complete: starts every bucket that has no other.
    void done(std::int64_t from, std::int64_t to);
    void finishGradients();

    // Parameters.
    /// The model's parameters were set from elsewhere.
    void adoptParameters();
    /// The own block is up to date.
    void startGather(std::size_t bucket);
    /// Returns when all that was started of [from, to) is there.
    void need(std::int64_t from, std::int64_t to);
    void settle() { need(0, m_buckets.back().to); }
    [[nodiscard]] bool isSettled() const { return m_gathering == 0; }

    void progress();

private:
    static constexpr int kNoTicket = -1;
    static constexpr std::int64_t kStarted = -1;
    static constexpr std::size_t kInFlight = 4; // reduce-scatters at once: each holds a copy of its bucket (plan_memory.cpp counts it)
    struct Bucket {
        std::int64_t weights = 0; // elements that belong to a weight
        std::int64_t open = 0;    // of them, not yet complete in this step; kStarted
        int reduction = kNoTicket, gather = kNoTicket;
    };
    [[nodiscard]] bool isPadded(std::size_t bucket) const { return bucket + 1 == m_buckets.size() && !m_paddedGradients.empty(); }
    void start(std::size_t bucket);
    void finishReduction(std::size_t bucket);
    void sumNorms(const Stretch& of);

    // constant after construction
    model::Model& m_model;
    const parallel::Mesh& m_mesh;
    comm::Communicator& m_ranks; // of the data axis
    const bool m_sumsNorms;
    std::vector<Stretch> m_norms; // weights that all tensor ranks hold
    // trainer thread only
    std::vector<Stretch> m_buckets;
    std::vector<Bucket> m_states;
    std::vector<std::size_t> m_order;                       // buckets in the order in which they were started
    std::size_t m_finished = 0, m_gathering = 0;            // of m_order; gathers on their way
    std::vector<float> m_gradientShard;                     // own blocks, one behind the other; empty: one data rank
    std::vector<float> m_paddedParameters, m_paddedGradients; // the last bucket, where it goes beyond the model's buffer
    std::vector<float> m_normSums;                          // norms' gradients behind each other
};

} // namespace telehelm::train
