// SPDX-License-Identifier: Apache-2.0
// How fast one rank trains on the CPU: whole steps (gradients zeroed, forward, backward, norm, AdamW) at two shapes, next to what
// sgemm reaches on the same machine at that moment: on a square of 1024 (efficiency) and on the model's own products
// (sgemm_efficiency). One JSON object a line.
//   bench_train_cpu [--threads N] [--seconds S]      N 0: all CPUs; S per shape
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string_view>
#include <vector>

#include "model/model.h"
#include "optim/adamw.h"
#include "optim/gradient_norm.h"
#include "shaped_sgemm.h"
#include "telehelm/kernels/linear.h"
#include "telehelm/kernels/team.h"

using namespace telehelm;

namespace {

struct Case {
    const char* name;
    std::int64_t layers, hidden, heads, ffn, vocab, length, batch;

    [[nodiscard]] config::ModelConfig shape() const {
        config::ModelConfig shape;
        shape.layers = layers;
        shape.hiddenSize = hidden;
        shape.attentionHeads = heads;
        shape.ffnHiddenSize = ffn;
        shape.vocabSize = vocab;
        shape.contextLength = length;
        shape.standardDeviation = shape.matrixStandardDeviation = 0.02;
        return shape;
    }
    /// Of forward and backward per token: 6 per weight of a matrix product, attention counted causal.
    [[nodiscard]] double flopsPerToken() const {
        const double C = static_cast<double>(hidden), F = static_cast<double>(ffn), V = static_cast<double>(vocab);
        const double L = static_cast<double>(layers), T = static_cast<double>(length);
        return 6 * (L * (4 * C * C + 3 * C * F) + V * C) + 6 * L * T * C;
    }
};

constexpr Case kCases[] = {{"L4 C128 H2 F344 V512 T128 B16", 4, 128, 2, 344, 512, 128, 16},
                           {"L4 C256 H2 F688 V4096 T256 B8", 4, 256, 2, 688, 4096, 256, 8}};

double secondsSince(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::vector<std::int32_t> randomTokens(std::int64_t count, std::int64_t vocab) {
    std::mt19937_64 random(1);
    std::vector<std::int32_t> tokens(static_cast<std::size_t>(count));
    for (std::int32_t& token : tokens)
        token = static_cast<std::int32_t>(random() % static_cast<std::uint64_t>(vocab));
    return tokens;
}

/// One optimizer step at a time on random tokens.
class Trainer {
public:
    Trainer(const Case& shape, int threads)
        : m_tokens(shape.batch * shape.length), m_threads(threads),
          m_model(model::makeCpuModel(shape.shape(), shape.batch, threads)),
          m_adamw(m_model->layout(), 0, static_cast<std::int64_t>(m_model->parameters().size()), {}, threads),
          m_inputs(randomTokens(m_tokens, shape.vocab)) {
        m_model->initialise(1);
    }
    double step() {
        std::ranges::fill(m_model->gradients(), 0.0F);
        const double nats = m_model->trainMicroBatch(m_inputs, m_inputs, 1.0F / static_cast<float>(m_tokens));
        const double norm = std::sqrt(optim::sumOfSquares(m_model->gradients(), m_threads));
        m_adamw.step(++m_step, {1e-3, 1e-3}, m_model->parameters(), m_model->gradients(),
                     static_cast<float>(optim::clipFactor(norm, 1.0)));
        return nats / static_cast<double>(m_tokens);
    }

private:
    std::int64_t m_tokens, m_step = 0;
    int m_threads;
    std::unique_ptr<model::Model> m_model;
    optim::AdamW m_adamw;
    std::vector<std::int32_t> m_inputs;
};

void measure(const Case& shape, int threads, double seconds) {
    Trainer trainer(shape, threads);
    const double before = trainer.step();
    const auto products = bench::productsOf(shape.shape(), shape.batch * shape.length, 1, static_cast<double>(shape.layers), 1);
    double gflops = kernels::calibrateSgemmGflops(threads), after = 0;
    double shaped = bench::shapedSgemmGflops(products, 1, threads, 0.5);
    std::vector<double> times;
    for (const auto start = std::chrono::steady_clock::now(); secondsSince(start) < seconds || times.size() < 5;) {
        const auto stepStart = std::chrono::steady_clock::now();
        after = trainer.step();
        times.push_back(secondsSince(stepStart));
    }
    gflops = std::max(gflops, kernels::calibrateSgemmGflops(threads));
    shaped = std::max(shaped, bench::shapedSgemmGflops(products, 1, threads, 0.5));
    std::ranges::sort(times);
    const double tokens = static_cast<double>(shape.batch * shape.length), median = times[times.size() / 2];
    std::printf("{\"bench\":\"train_cpu\",\"shape\":\"%s\",\"threads\":%d,\"steps\":%zu,\"tokens_per_s\":%.0f,"
                "\"tokens_per_s_best\":%.0f,\"step_ms\":%.2f,\"sgemm_gflops\":%.1f,\"efficiency\":%.3f,"
                "\"efficiency_best\":%.3f,\"sgemm_same_shapes_gflops\":%.1f,\"sgemm_efficiency\":%.3f,\"loss_first\":%.3f,\"loss_last\":%.3f}\n",
                shape.name, threads, times.size(), tokens / median, tokens / times.front(), median * 1e3, gflops,
                tokens / median * shape.flopsPerToken() * 1e-9 / gflops,
                tokens / times.front() * shape.flopsPerToken() * 1e-9 / gflops, shaped,
                tokens / median * shape.flopsPerToken() * 1e-9 / shaped, before, after);
    std::fflush(stdout);
}

} // namespace

int main(int argc, char** argv) {
    int threads = 0;
    double seconds = 5;
    for (int i = 1; i < argc; i += 2) {
        const std::string_view key = argv[i];
        if (i + 1 < argc && key == "--threads")
            threads = std::atoi(argv[i + 1]);
        else if (i + 1 < argc && key == "--seconds")
            seconds = std::atof(argv[i + 1]);
        else {
            std::fputs("bench_train_cpu [--threads N] [--seconds S]: training speed of one rank, a JSON object per shape\n",
                       stderr);
            return 2;
        }
    }
    for (const Case& shape : kCases)
        measure(shape, threads > 0 ? threads : kernels::availableThreads(), seconds);
    return 0;
}
