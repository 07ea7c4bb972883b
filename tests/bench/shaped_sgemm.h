// SPDX-License-Identifier: Apache-2.0
// What OpenBLAS reaches on a model's own matrix products: each linear forward, its input's and its weight's gradient, and nothing
// else. A trainer's FLOP/s over this figure says what the rest of it costs.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <span>
#include <vector>

#include "config/run_config.h"
#include "telehelm/kernels/linear.h"
#include "telehelm/kernels/team.h"

namespace telehelm::bench {

struct Product {
    kernels::LinearShape shape;
    double times; // in one micro-batch
};

/// Of one rank's share of `tokens` tokens; `layers` of the model lie on it. The head works on at most 2 Mi logits at a time.
inline std::vector<Product> productsOf(const config::ModelConfig& model, std::int64_t tokens, int tensor, double layers, double heads) {
    const std::int64_t C = model.hiddenSize, F = model.ffnHiddenSize, V = model.vocabSize / tensor;
    const std::int64_t rows = std::min(tokens, std::max<std::int64_t>((2 << 20) / V, 64));
    return {{{tokens, C, 3 * C / tensor}, layers},
            {{tokens, C / tensor, C}, layers},
            {{tokens, C, 2 * F / tensor}, layers},
            {{tokens, F / tensor, C}, layers},
            {{rows, C, V}, heads * static_cast<double>(tokens) / static_cast<double>(rows)}};
}

/// GFLOP/s of all copies together: `copies` ranks side by side, each with a team of `threads`. The best of a few rounds, each of
/// at least 50 ms, at most about `seconds` in all.
inline double shapedSgemmGflops(std::span<const Product> products, int copies, int threads, double seconds) {
    using Clock = std::chrono::steady_clock;
    std::size_t x = 0, y = 0, w = 0;
    double flops = 0;
    for (const Product& p : products) {
        x = std::max(x, static_cast<std::size_t>(p.shape.N * p.shape.I));
        y = std::max(y, static_cast<std::size_t>(p.shape.N * p.shape.O));
        w = std::max(w, static_cast<std::size_t>(p.shape.I * p.shape.O));
        flops += p.times * 6.0 * static_cast<double>(p.shape.N) * static_cast<double>(p.shape.I) * static_cast<double>(p.shape.O);
    }
    struct Buffers {
        std::vector<float> x, y, w, outX, outY, outW; // what is read never changes: nothing overflows or becomes subnormal
    };
    const auto filled = [](std::size_t size) { return std::vector<float>(size, 0.01F); };
    std::vector<Buffers> all(static_cast<std::size_t>(copies), {filled(x), filled(y), filled(w), filled(x), filled(y), filled(w)});
    kernels::useSingleThreadedBlas();
    double best = 0, spent = 0;
    for (int round = 0; round < 2 || spent < seconds; ++round) { // the first one warms up
        double perBatch = 0; // s
        for (const Product& p : products) {
            int calls = 0;
            double took = 0;
            const double wanted = 0.05 / static_cast<double>(products.size());
            while (took < wanted) {
                const auto start = Clock::now();
                kernels::runTeam(copies * threads, [&](const kernels::Worker& worker) {
                    Buffers& own = all[static_cast<std::size_t>(worker.index / threads)];
                    const kernels::Worker member{worker.index % threads, threads};
                    const kernels::Range rows = member.share(p.shape.N, 16), outputs = member.share(p.shape.O, 16);
                    const kernels::LinearShape part{rows.size(), p.shape.I, p.shape.O};
                    const std::int64_t in = rows.from * p.shape.I, out = rows.from * p.shape.O;
                    using namespace kernels;
                    cpu::linearForward(own.outY.data() + out, own.x.data() + in, own.w.data(), part, 1, Output::Overwrite);
                    cpu::linearBackwardInput(own.outX.data() + in, own.y.data() + out, own.w.data(), part, 1, Output::Overwrite);
                    cpu::linearBackwardWeight(own.outW.data(), own.y.data(), own.x.data(), p.shape, 1, outputs.from, outputs.to);
                });
                took += std::chrono::duration<double>(Clock::now() - start).count();
                ++calls;
            }
            perBatch += p.times * took / calls;
            spent += took;
        }
        best = std::max(best, flops * copies / perBatch * 1e-9);
    }
    return best;
}

} // namespace telehelm::bench
