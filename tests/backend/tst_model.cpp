// SPDX-License-Identifier: Apache-2.0
// The whole model: gradients by finite differences in double, the CPU engine against the reference, and the same bits twice.
#include <QtTest>

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "kernel_test_support.h"
#include "model/model.h"
#include "model/transformer.h"

using namespace telehelm;
using namespace telehelm::model;
using namespace telehelm::test;

namespace {

/// L, C, H, F, V, T, B; threads of the CPU engine; sequences of the micro-batch (≤ B).
struct Case {
    const char* name;
    std::int64_t layers, hidden, heads, ffn, vocab, length, batch;
    int threads;
    std::int64_t sequences;
};

constexpr Case kCases[] = {
    {"tiny", 1, 4, 1, 3, 5, 3, 1, 1, 1},
    {"odd sizes", 2, 12, 3, 7, 19, 9, 3, 1, 3},
    {"two threads, whole sequences", 3, 32, 2, 40, 50, 33, 4, 2, 4},
    {"two threads share a sequence", 2, 32, 4, 40, 50, 70, 3, 2, 3},
    {"three threads, fewer sequences than planned", 2, 16, 2, 24, 33, 65, 5, 3, 2},
    {"more threads than rows", 1, 8, 2, 8, 9, 2, 1, 7, 1},
    {"head in stretches", 1, 4, 2, 5, 33'000, 65, 2, 2, 2},
};

config::ModelConfig shapeOf(const Case& at) {
    config::ModelConfig shape;
    shape.layers = at.layers;
    shape.hiddenSize = at.hidden;
    shape.attentionHeads = at.heads;
    shape.ffnHiddenSize = at.ffn;
    shape.vocabSize = at.vocab;
    shape.contextLength = at.length;
    shape.inputMult = 1.7;
    shape.outputMult = 0.6;
    shape.normEpsilon = 1e-3; // not so small that a mistake in it would hide
    return shape;
}

void addCases() {
    QTest::addColumn<int>("index");
    for (int index = 0; index < static_cast<int>(std::size(kCases)); ++index)
        QTest::newRow(kCases[index].name) << index;
}

/// Scores that differ and norms that are not 1: what a real model looks like after a while.
void fillParameters(std::span<float> parameters, Random& random) {
    std::ranges::copy(random.normals<float>(static_cast<std::int64_t>(parameters.size()), 0.3), parameters.begin());
}

} // namespace

class TestModel : public QObject {
    Q_OBJECT

private slots:
    void finiteDifferences();
    void matchesReference_data() { addCases(); }
    void matchesReference();
    void sameBitsTwice_data() { addCases(); }
    void sameBitsTwice();
    void evaluateIsTheLoss();
    void microBatchesAddUp();
    void foreignTokensAreRefused();

private:
    Random m_random;
};

void TestModel::finiteDifferences() {
    const Case at{"", 2, 8, 2, 6, 11, 5, 3, 1, 3};
    Transformer<ReferenceOps<double>> model(shapeOf(at), at.batch, 2);
    const auto start = m_random.normals<double>(static_cast<std::int64_t>(model.parameters().size()), 0.4);
    std::ranges::copy(start, model.parameters().begin());
    const auto inputs = m_random.tokens(at.batch * at.length, at.vocab),
               targets = m_random.tokens(at.batch * at.length, at.vocab);
    model.trainMicroBatch(inputs, targets, 0.37);

    std::vector<double> nats(inputs.size());
    const auto loss = [&] {
        model.evaluate(inputs, targets, nats);
        return 0.37 * std::accumulate(nats.begin(), nats.end(), 0.0);
    };
    constexpr double kStep = 1e-5;
    for (const ParameterInfo& info : model.layout()) {
        const auto gradient =
            model.gradients().subspan(static_cast<std::size_t>(info.offset), static_cast<std::size_t>(info.size));
        std::vector<double> expected;
        for (std::int64_t i = info.offset; i < info.offset + info.size; ++i) {
            double& parameter = model.parameters()[static_cast<std::size_t>(i)];
            const double middle = parameter;
            parameter = middle + kStep;
            const double above = loss();
            parameter = middle - kStep;
            expected.push_back((above - loss()) / (2 * kStep));
            parameter = middle;
        }
        QVERIFY2(relativeError(gradient, expected) < 1e-7,
                 qPrintable(QString("%1: %2").arg(info.name.c_str()).arg(relativeError(gradient, expected))));
    }
}

void TestModel::matchesReference() {
    QFETCH(int, index);
    const Case& at = kCases[index];
    const auto model = makeCpuModel(shapeOf(at), at.batch, at.threads);
    Transformer<ReferenceOps<double>> reference(shapeOf(at), at.batch, 1);
    fillParameters(model->parameters(), m_random);
    std::ranges::copy(model->parameters(), reference.parameters().begin());
    std::ranges::copy(m_random.normals<float>(static_cast<std::int64_t>(model->gradients().size()), 1e-3),
                      model->gradients().begin()); // gradients are added to
    std::ranges::copy(model->gradients(), reference.gradients().begin());
    for (int round = 0; round < 2; ++round) { // the second finds what the first left in the arena
        const std::int64_t tokens = (round == 0 ? at.sequences : 1) * at.length;
        const auto inputs = m_random.tokens(tokens, at.vocab), targets = m_random.tokens(tokens, at.vocab);
        const double nats = model->trainMicroBatch(inputs, targets, 0.3F);
        const double expected = reference.trainMicroBatch(inputs, targets, static_cast<double>(0.3F));
        QVERIFY2(std::abs(nats - expected) <= 2e-6 * expected, qPrintable(QString("%1 %2").arg(nats).arg(expected)));
    }
    for (const ParameterInfo& info : model->layout()) {
        const auto offset = static_cast<std::size_t>(info.offset), size = static_cast<std::size_t>(info.size);
        const double error = relativeError(model->gradients().subspan(offset, size), reference.gradients().subspan(offset, size));
        QVERIFY2(error < 2e-5, qPrintable(QString("%1: %2").arg(info.name.c_str()).arg(error)));
    }
}

void TestModel::sameBitsTwice() {
    QFETCH(int, index);
    const Case& at = kCases[index];
    const auto parameters = makeCpuModel(shapeOf(at), at.batch, at.threads);
    fillParameters(parameters->parameters(), m_random);
    const std::int64_t tokens = at.sequences * at.length;
    const auto inputs = m_random.tokens(tokens, at.vocab), targets = m_random.tokens(tokens, at.vocab);
    std::vector<float> first;
    double firstNats = 0;
    for (int round = 0; round < 5; ++round) {
        const auto model = makeCpuModel(shapeOf(at), at.batch, at.threads);
        std::ranges::copy(parameters->parameters(), model->parameters().begin());
        const double nats = model->trainMicroBatch(inputs, targets, 1.0F);
        if (round == 0) {
            first.assign(model->gradients().begin(), model->gradients().end());
            firstNats = nats;
        }
        QCOMPARE(nats, firstNats);
        QVERIFY(std::ranges::equal(model->gradients(), first));
    }
}

void TestModel::evaluateIsTheLoss() {
    const Case& at = kCases[2];
    const auto model = makeCpuModel(shapeOf(at), at.batch, at.threads);
    fillParameters(model->parameters(), m_random);
    const auto inputs = m_random.tokens(at.batch * at.length, at.vocab),
               targets = m_random.tokens(at.batch * at.length, at.vocab);
    auto nats = poison<float>(at.batch * at.length);
    model->evaluate(inputs, targets, nats);
    QVERIFY(std::ranges::all_of(model->gradients(), [](float value) { return value == 0; }));
    const double sum = std::accumulate(nats.begin(), nats.end(), 0.0), trained = model->trainMicroBatch(inputs, targets, 1);
    QVERIFY2(std::abs(sum - trained) < 1e-6 * trained, qPrintable(QString("%1 %2").arg(sum).arg(trained)));
}

void TestModel::microBatchesAddUp() {
    const Case& at = kCases[2];
    const auto whole = makeCpuModel(shapeOf(at), at.batch, at.threads), parts = makeCpuModel(shapeOf(at), 1, at.threads);
    fillParameters(whole->parameters(), m_random);
    std::ranges::copy(whole->parameters(), parts->parameters().begin());
    const auto inputs = m_random.tokens(at.batch * at.length, at.vocab),
               targets = m_random.tokens(at.batch * at.length, at.vocab);
    const double nats = whole->trainMicroBatch(inputs, targets, 0.5F);
    double sum = 0;
    for (std::int64_t from = 0; from < at.batch * at.length; from += at.length)
        sum += parts->trainMicroBatch(
            std::span(inputs).subspan(static_cast<std::size_t>(from), static_cast<std::size_t>(at.length)),
            std::span(targets).subspan(static_cast<std::size_t>(from), static_cast<std::size_t>(at.length)), 0.5F);
    QVERIFY(std::abs(sum - nats) < 1e-6 * nats);
    COMPARE_NEAR(parts->gradients(), whole->gradients(), 1e-5);
}

void TestModel::foreignTokensAreRefused() {
    const Case& at = kCases[1];
    const auto model = makeCpuModel(shapeOf(at), at.batch, 1);
    std::vector<std::int32_t> good(static_cast<std::size_t>(at.length)), bad = good;
    bad[4] = static_cast<std::int32_t>(at.vocab);
    QVERIFY_EXCEPTION_THROWN(model->trainMicroBatch(bad, good, 1), std::out_of_range);
    bad[4] = -1;
    QVERIFY_EXCEPTION_THROWN(model->trainMicroBatch(good, bad, 1), std::out_of_range);
    QVERIFY_EXCEPTION_THROWN(model->trainMicroBatch(std::span(good).first(3), std::span(good).first(3), 1), std::out_of_range);
    std::vector<std::int32_t> tooMany(static_cast<std::size_t>((at.batch + 1) * at.length));
    QVERIFY_EXCEPTION_THROWN(model->trainMicroBatch(tooMany, tooMany, 1), std::out_of_range);
}

QTEST_GUILESS_MAIN(TestModel)
#include "tst_model.moc"
