// SPDX-License-Identifier: Apache-2.0
#include "optim/adamw.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "telehelm/kernels/adamw.h"
#include "telehelm/kernels/team.h"

namespace telehelm::optim {

AdamW::AdamW(const std::vector<model::ParameterInfo>& layout, std::int64_t from, std::int64_t to,
             const config::OptimizerConfig& config, int threads)
    : m_from(from), m_to(to), m_config(config), m_threads(threads > 0 ? threads : kernels::availableThreads()),
      m_first(static_cast<std::size_t>(to - from)), m_second(static_cast<std::size_t>(to - from)) {
    for (const model::ParameterInfo& weight : layout) {
        const std::int64_t begin = std::max(weight.offset, from), end = std::min(weight.offset + weight.size, to);
        if (begin < end)
            m_pieces.push_back({begin - from, end - begin, weight.matrixLike, weight.shape.size() > 1});
    }
}

void AdamW::step(std::int64_t step, const Rates& rates, std::span<float> parameters, std::span<const float> gradients,
                 float gradScale) {
    assert(step >= 1 && parameters.size() == m_first.size() && gradients.size() == m_first.size());
    const auto correction = [&](double beta) {
        return static_cast<float>(1.0 / (1.0 - std::pow(beta, static_cast<double>(step))));
    };
    const float first = correction(m_config.beta1), second = correction(m_config.beta2);
    kernels::runTeam(m_threads, [&](const kernels::Worker& worker) {
        for (const Piece& piece : m_pieces) {
            const kernels::Range mine = worker.share(piece.size, 16);
            const std::int64_t at = piece.offset + mine.from;
            kernels::cpu::adamw(parameters.data() + at, m_first.data() + at, m_second.data() + at, gradients.data() + at,
                                mine.size(),
                                {.rate = static_cast<float>(piece.matrixLike ? rates.matrix : rates.vector),
                                 .decay = piece.decays ? static_cast<float>(m_config.weightDecay) : 0.0F,
                                 .beta1 = static_cast<float>(m_config.beta1),
                                 .beta2 = static_cast<float>(m_config.beta2),
                                 .epsilon = static_cast<float>(m_config.epsilon),
                                 .firstCorrection = first,
                                 .secondCorrection = second,
                                 .gradScale = gradScale});
        }
    });
}

} // namespace telehelm::optim
