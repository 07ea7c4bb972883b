// SPDX-License-Identifier: Apache-2.0
// AdamW on shards, the learning-rate schedule, the gradient norm; and that all together learn.
#include <QtTest>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "kernel_test_support.h"
#include "model/model.h"
#include "optim/adamw.h"
#include "optim/gradient_norm.h"
#include "optim/schedule.h"
#include "telehelm/kernels/adamw.h"

using namespace telehelm;
using namespace telehelm::optim;
using namespace telehelm::test;

namespace {

config::ModelConfig smallShape() {
    config::ModelConfig shape;
    shape.layers = 1;
    shape.hiddenSize = 16;
    shape.attentionHeads = 2;
    shape.ffnHiddenSize = 20;
    shape.vocabSize = 12;
    shape.contextLength = 8;
    shape.standardDeviation = shape.matrixStandardDeviation = 0.1;
    return shape;
}

config::OptimizerConfig decayingConfig() {
    config::OptimizerConfig config;
    config.weightDecay = 0.1;
    return config;
}

std::int64_t paddedSizeOf(const std::vector<model::ParameterInfo>& layout) {
    return (layout.back().offset + layout.back().size + 63) / 64 * 64;
}

} // namespace

class TestOptim : public QObject {
    Q_OBJECT

private slots:
    void matchesReference();
    void shardsMatchTheWhole();
    void firstStepIsTheRate();
    void paddingStays();
    void scheduleWarmsUpAndDecays();
    void scheduleVariants();
    void normIsTheSameForAnyTeam();
    void normShowsNaN();
    void clipping();
    void learns();

private:
    Random m_random;
};

void TestOptim::matchesReference() {
    const auto layout = model::parameterLayout(smallShape());
    const std::int64_t size = paddedSizeOf(layout);
    const auto config = decayingConfig();
    AdamW adamw(layout, 0, size, config, 2);
    auto p = m_random.normals<float>(size);
    auto pWide = widen(p), m = std::vector<double>(p.size()), v = m;
    const Rates rates{0.01, 0.003};
    for (std::int64_t step = 1; step <= 5; ++step) {
        const auto g = m_random.normals<float>(size);
        const auto gWide = widen(g);
        adamw.step(step, rates, p, g, 0.5F);
        for (const model::ParameterInfo& info : layout) {
            const kernels::AdamWStep<double> wide{info.matrixLike ? rates.matrix : rates.vector,
                                                  info.name.ends_with("norm") ? 0.0 : config.weightDecay,
                                                  config.beta1,
                                                  config.beta2,
                                                  config.epsilon,
                                                  1 / (1 - std::pow(config.beta1, static_cast<double>(step))),
                                                  1 / (1 - std::pow(config.beta2, static_cast<double>(step))),
                                                  0.5};
            const std::int64_t at = info.offset;
            kernels::reference::adamw(pWide.data() + at, m.data() + at, v.data() + at, gWide.data() + at, info.size, wide);
        }
    }
    for (const model::ParameterInfo& info : layout) {
        const auto offset = static_cast<std::size_t>(info.offset), count = static_cast<std::size_t>(info.size);
        const auto part = [&](auto& values) { return std::span(values).subspan(offset, count); };
        const double error = relativeError(part(p), part(pWide));
        QVERIFY2(error < 1e-6, qPrintable(QString("%1: %2").arg(info.name.c_str()).arg(error)));
        COMPARE_NEAR(adamw.firstMoment().subspan(offset, count), part(m), 1e-5);
        COMPARE_NEAR(adamw.secondMoment().subspan(offset, count), part(v), 1e-5);
    }
}

void TestOptim::shardsMatchTheWhole() {
    const auto layout = model::parameterLayout(smallShape());
    const std::int64_t size = paddedSizeOf(layout), cut = size / 128 * 64; // as ranks share it: multiples of 64 elements
    AdamW whole(layout, 0, size, decayingConfig(), 1), low(layout, 0, cut, decayingConfig(), 2),
        high(layout, cut, size, decayingConfig(), 3);
    auto p = m_random.normals<float>(size), shared = p;
    for (std::int64_t step = 1; step <= 3; ++step) {
        const auto g = m_random.normals<float>(size);
        const auto at = static_cast<std::size_t>(cut);
        whole.step(step, {0.01, 0.003}, p, g, 1);
        low.step(step, {0.01, 0.003}, std::span(shared).first(at), std::span(g).first(at), 1);
        high.step(step, {0.01, 0.003}, std::span(shared).subspan(at), std::span(g).subspan(at), 1);
    }
    QCOMPARE(shared, p); // bit for bit
}

void TestOptim::firstStepIsTheRate() {
    const auto layout = model::parameterLayout(smallShape());
    const std::int64_t size = paddedSizeOf(layout);
    AdamW adamw(layout, 0, size, {}, 1);
    std::vector<float> p(static_cast<std::size_t>(size)), g(p.size(), -3.0F);
    adamw.step(1, {0.5, 0.25}, p, g, 1); // bias-corrected: m / √v = sign
    for (const model::ParameterInfo& info : layout) {
        const float moved = p[static_cast<std::size_t>(info.offset + info.size - 1)];
        QVERIFY2(std::abs(moved - (info.matrixLike ? 0.25F : 0.5F)) < 1e-5F, info.name.c_str());
    }
}

void TestOptim::paddingStays() {
    auto shape = smallShape();
    shape.hiddenSize = 6; // an end that is no multiple of 64
    const auto layout = model::parameterLayout(shape);
    const std::int64_t size = paddedSizeOf(layout), end = layout.back().offset + layout.back().size;
    QVERIFY(end < size);
    AdamW adamw(layout, 0, size, decayingConfig(), 2);
    std::vector<float> p(static_cast<std::size_t>(size), 2.0F), g(p.size(), 1.0F);
    adamw.step(1, {0.1, 0.1}, p, g, 1);
    for (std::int64_t i = 0; i < size; ++i)
        QCOMPARE(p[static_cast<std::size_t>(i)] == 2.0F, i >= end);
}

void TestOptim::scheduleWarmsUpAndDecays() {
    config::OptimizerConfig optimizer;
    optimizer.learningRate = 1.0;
    optimizer.matrixLearningRate = 0.5;
    optimizer.minimumLearningRate = 0.1;
    config::ScheduleConfig schedule;
    schedule.warmupSteps = 10;
    const LearningRateSchedule rates(optimizer, schedule, 100, 110); // decays over steps 10 … 110
    QCOMPARE(rates.at(1, 1).vector, 0.1);
    QCOMPARE(rates.at(5, 1).matrix, 0.25);
    QCOMPARE(rates.at(10, 1).vector, 1.0);
    QCOMPARE(rates.at(60, 1).vector, 0.1 + 0.9 * 0.5);
    QCOMPARE(rates.at(35, 1).matrix, 0.1 + 0.4 * 0.5 * (1 + std::sqrt(0.5)));
    QCOMPARE(rates.at(110, 1).vector, 0.1);
    QCOMPARE(rates.at(5000, 1).matrix, 0.1);
    QCOMPARE(rates.at(110, 0.5).vector, 0.05); // an operator's scale takes the floor along
    for (std::int64_t step = 11; step < 120; ++step)
        QVERIFY(rates.at(step, 1).vector <= rates.at(step - 1, 1).vector);
}

void TestOptim::scheduleVariants() {
    config::OptimizerConfig optimizer;
    optimizer.learningRate = 1.0;
    optimizer.minimumLearningRate = 0.0;
    config::ScheduleConfig schedule;
    schedule.tokens = 1000; // shorter than the run, and no warm-up
    QCOMPARE(LearningRateSchedule(optimizer, schedule, 100, 50).at(5, 1).vector, 0.5);
    QCOMPARE(LearningRateSchedule(optimizer, schedule, 100, 50).at(10, 1).vector, 0.0);
    schedule.type = "constant";
    QCOMPARE(LearningRateSchedule(optimizer, schedule, 100, 50).at(40, 2).vector, 2.0);
    schedule.type = "cosine";
    schedule.warmupSteps = 20; // longer than the decay: straight to the floor, no division by zero
    QCOMPARE(LearningRateSchedule(optimizer, schedule, 100, 50).at(20, 1).vector, 0.0);
    optimizer.minimumLearningRate = 3.0; // above the peak: never rises over it
    QCOMPARE(LearningRateSchedule(optimizer, {}, 100, 50).at(25, 1).vector, 1.0);
}

void TestOptim::normIsTheSameForAnyTeam() {
    for (const std::int64_t size : {0, 1, 255, 100'003}) {
        const auto values = m_random.normals<float>(size);
        double plain = 0;
        for (const float value : values)
            plain += static_cast<double>(value) * static_cast<double>(value);
        const double one = sumOfSquares(values, 1);
        QVERIFY(std::abs(one - plain) <= 1e-12 * plain);
        for (const int threads : {2, 3, 5})
            QCOMPARE(std::bit_cast<std::uint64_t>(sumOfSquares(values, threads)), std::bit_cast<std::uint64_t>(one));
    }
}

void TestOptim::normShowsNaN() {
    std::vector<float> values(1000, 1.0F);
    values[777] = std::numeric_limits<float>::quiet_NaN();
    QVERIFY(std::isnan(sumOfSquares(values, 2)));
    values[777] = std::numeric_limits<float>::infinity();
    QVERIFY(std::isinf(sumOfSquares(values, 2)));
}

void TestOptim::clipping() {
    QCOMPARE(clipFactor(4.0, 1.0), 0.25);
    QCOMPARE(clipFactor(0.5, 1.0), 1.0);
    QCOMPARE(clipFactor(4.0, 0.0), 1.0);
}

/// Each token is followed by the next one of a fixed circle: the loss must fall from ln V to nearly nothing.
void TestOptim::learns() {
    const auto shape = smallShape();
    const auto model = model::makeCpuModel(shape, 4, 2);
    model->initialise(3);
    AdamW adamw(model->layout(), 0, static_cast<std::int64_t>(model->parameters().size()), {}, 2);
    std::vector<std::int32_t> inputs, targets;
    for (int i = 0; i < 32; ++i) {
        inputs.push_back(i * 5 % 12);
        targets.push_back((i * 5 + 7) % 12);
    }
    std::vector<double> losses;
    for (std::int64_t step = 1; step <= 150; ++step) {
        std::ranges::fill(model->gradients(), 0.0F);
        losses.push_back(model->trainMicroBatch(inputs, targets, 1.0F / 32) / 32);
        const double norm = std::sqrt(sumOfSquares(model->gradients(), 2));
        adamw.step(step, {0.01, 0.01}, model->parameters(), model->gradients(), static_cast<float>(clipFactor(norm, 1.0)));
    }
    QVERIFY2(std::abs(losses.front() - std::log(12.0)) < 0.3, qPrintable(QString::number(losses.front())));
    QVERIFY2(losses.back() < 0.05, qPrintable(QString::number(losses.back())));
}

QTEST_GUILESS_MAIN(TestOptim)
#include "tst_optim.moc"
