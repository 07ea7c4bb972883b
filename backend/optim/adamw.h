// SPDX-License-Identifier: Apache-2.0
// AdamW over one rank's shard [from, to) of the flat parameter buffer (the whole buffer: from = 0, to = its size).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "config/run_config.h"
#include "model/huge_pages.h"
#include "model/model.h"
#include "optim/schedule.h"

namespace telehelm::optim {

/// Trainer thread only. Owns both moments (fp32). Bit-deterministic, whatever the number of threads. Matrix-like weights take
/// Rates::matrix, all others Rates::vector; decoupled weight decay on tensors of two dimensions (not on norms). Elements that
/// belong to no weight (padding) are left alone.
class AdamW {
public:
    /// `threads` 0: all that this process may use.
    AdamW(const std::vector<model::ParameterInfo>& layout, std::int64_t from, std::int64_t to,
          const config::OptimizerConfig& config, int threads);

    /// One update. `parameters` and `gradients` are the shard alone, to − from elements. `step` counts from 1 (bias correction).
    /// Each gradient is multiplied by `gradScale` (the clip factor) first.
    void step(std::int64_t step, const Rates& rates, std::span<float> parameters, std::span<const float> gradients,
              float gradScale);

    /// The state to save and to load: to − from elements each.
    [[nodiscard]] std::span<float> firstMoment() { return m_first; }
    [[nodiscard]] std::span<float> secondMoment() { return m_second; }

    [[nodiscard]] std::int64_t from() const { return m_from; }
    [[nodiscard]] std::int64_t to() const { return m_to; }

private:
    /// Part of one weight inside the shard; offsets from `m_from`.
    struct Piece {
        std::int64_t offset = 0, size = 0;
        bool matrixLike = false, decays = false;
    };

    std::int64_t m_from, m_to;
    config::OptimizerConfig m_config;
    int m_threads;
    std::vector<Piece> m_pieces;
    model::HugeVector<float> m_first, m_second;
};

} // namespace telehelm::optim
