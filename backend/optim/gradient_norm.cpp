// SPDX-License-Identifier: Apache-2.0
#include "optim/gradient_norm.h"

#include <array>
#include <numeric>

#include "telehelm/kernels/elementwise.h"
#include "telehelm/kernels/team.h"

namespace telehelm::optim {

double sumOfSquares(std::span<const float> values, int threads) {
    constexpr std::int64_t kPieces = 256; // fixed: the order of the sum does not depend on the threads
    const auto size = static_cast<std::int64_t>(values.size());
    std::array<double, kPieces> sums{};
    kernels::runTeam(threads > 0 ? threads : kernels::availableThreads(), [&](const kernels::Worker& worker) {
        const kernels::Range mine = worker.share(kPieces);
        for (std::int64_t piece = mine.from; piece < mine.to; ++piece) {
            const std::int64_t from = size * piece / kPieces, to = size * (piece + 1) / kPieces;
            sums[static_cast<std::size_t>(piece)] = kernels::cpu::sumOfSquares(values.data() + from, to - from);
        }
    });
    return std::accumulate(sums.begin(), sums.end(), 0.0);
}

double clipFactor(double norm, double clip) {
    return clip > 0 && norm > clip ? clip / norm : 1.0;
}

} // namespace telehelm::optim
