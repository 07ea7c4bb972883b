// SPDX-License-Identifier: Apache-2.0
// Every CPU kernel against the plain loops in double, on fresh random inputs, at odd sizes, with poisoned outputs.
#include <QtTest>

#include <array>

#include "kernel_test_support.h"
#include "telehelm/kernels/adamw.h"
#include "telehelm/kernels/attention.h"
#include "telehelm/kernels/cross_entropy.h"
#include "telehelm/kernels/device.h"
#include "telehelm/kernels/elementwise.h"
#include "telehelm/kernels/embedding.h"
#include "telehelm/kernels/linear.h"
#include "telehelm/kernels/rms_norm.h"
#include "telehelm/kernels/rope.h"
#include "telehelm/kernels/swiglu.h"

using namespace telehelm::kernels;
using namespace telehelm::test;
namespace ref = telehelm::kernels::reference;

namespace {

/// fp32 rounding over the sums at hand gives about 1e−7 … 1e−6; a wrong term gives 1e−3 and more.
constexpr double kBound = 3e-6;

/// Rows and columns for the row-wise families.
void addSizes(int fewestColumns = 1) {
    QTest::addColumn<int>("N");
    QTest::addColumn<int>("C");
    for (const auto& [N, C] : {std::pair{1, 1}, {1, 2}, {1, 19}, {3, 17}, {7, 64}, {33, 100}, {64, 344}, {5, 1023}}) {
        if (C >= fewestColumns)
            QTest::addRow("%dx%d", N, C) << N << C;
    }
}

} // namespace

class TestKernels : public QObject {
    Q_OBJECT

private slots:
    void embedding_data() { addSizes(); }
    void embedding();
    void rmsNorm_data() { addSizes(17); } // a few numbers alone may cancel: no relative bound is fair
    void rmsNorm();
    void swiglu_data() { addSizes(); }
    void swiglu();
    void swigluExtremes();
    void crossEntropy_data() { addSizes(); }
    void crossEntropy();
    void crossEntropyShowsNaN();
    void linear_data();
    void linear();
    void rope_data();
    void rope();
    void attention_data();
    void attention();
    void attentionSeesNoFuture();
    void adamw_data() { addSizes(17); }
    void adamw();
    void elementwise_data() { addSizes(); }
    void elementwise();
    void cudaReportAnswers();

private:
    Random m_random;
};

void TestKernels::embedding() {
    QFETCH(int, N);
    QFETCH(int, C);
    const std::int64_t V = 11;
    const auto weight = m_random.normals<float>(V * C), dOut = m_random.normals<float>(std::int64_t{N} * C);
    const auto tokens = m_random.tokens(N, V);
    auto out = poison<float>(N * C);
    auto expected = poison<double>(N * C);
    cpu::embeddingForward(out.data(), weight.data(), tokens.data(), N, C, 1.5F);
    ref::embeddingForward(expected.data(), widen(weight).data(), tokens.data(), N, C, 1.5);
    COMPARE_NEAR(out, expected, kBound);

    auto dWeight = m_random.normals<float>(V * C);
    auto dExpected = widen(dWeight);
    cpu::embeddingBackward(dWeight.data(), dOut.data(), tokens.data(), N, C, 1.5F, 0, C / 2); // in two stretches of columns
    cpu::embeddingBackward(dWeight.data(), dOut.data(), tokens.data(), N, C, 1.5F, C / 2, C);
    ref::embeddingBackward(dExpected.data(), widen(dOut).data(), tokens.data(), N, C, 1.5, 0, C);
    COMPARE_NEAR(dWeight, dExpected, kBound);
}

void TestKernels::rmsNorm() {
    QFETCH(int, N);
    QFETCH(int, C);
    const auto x = m_random.normals<float>(N * C), weight = m_random.normals<float>(C), dOut = m_random.normals<float>(N * C);
    const auto residual = m_random.normals<float>(N * C);
    auto out = poison<float>(N * C), r = poison<float>(N);
    auto expected = poison<double>(N * C), rExpected = poison<double>(N);
    cpu::rmsNormForward(out.data(), r.data(), x.data(), weight.data(), N, C, 1e-5F);
    ref::rmsNormForward(expected.data(), rExpected.data(), widen(x).data(), widen(weight).data(), N, C, 1e-5);
    COMPARE_NEAR(out, expected, kBound);
    COMPARE_NEAR(r, rExpected, kBound);

    auto dX = poison<float>(N * C), dWeight = m_random.normals<float>(C);
    auto dXExpected = poison<double>(N * C), dWeightExpected = widen(dWeight);
    cpu::rmsNormBackward(dX.data(), dWeight.data(), residual.data(), dOut.data(), x.data(), weight.data(), r.data(), N, C);
    ref::rmsNormBackward(dXExpected.data(), dWeightExpected.data(), widen(residual).data(), widen(dOut).data(), widen(x).data(),
                         widen(weight).data(), rExpected.data(), N, C);
    COMPARE_NEAR(dX, dXExpected, kBound);
    COMPARE_NEAR(dWeight, dWeightExpected, kBound);

    auto inPlace = residual, dAgain = std::vector<float>(static_cast<std::size_t>(C)); // dX may be the residual's gradient
    cpu::rmsNormBackward(inPlace.data(), dAgain.data(), inPlace.data(), dOut.data(), x.data(), weight.data(), r.data(), N, C);
    QCOMPARE(inPlace, dX);
}

void TestKernels::swiglu() {
    QFETCH(int, N);
    QFETCH(int, C);
    const auto gateUp = m_random.normals<float>(N * 2 * C, 3), dOut = m_random.normals<float>(N * C);
    auto out = poison<float>(N * C), dGateUp = poison<float>(N * 2 * C);
    auto expected = poison<double>(N * C), dExpected = poison<double>(N * 2 * C);
    cpu::swigluForward(out.data(), gateUp.data(), N, C);
    ref::swigluForward(expected.data(), widen(gateUp).data(), N, C);
    COMPARE_NEAR(out, expected, kBound);
    cpu::swigluBackward(dGateUp.data(), dOut.data(), gateUp.data(), N, C);
    ref::swigluBackward(dExpected.data(), widen(dOut).data(), widen(gateUp).data(), N, C);
    COMPARE_NEAR(dGateUp, dExpected, kBound);
    auto inPlace = gateUp;
    cpu::swigluBackward(inPlace.data(), dOut.data(), inPlace.data(), N, C);
    QCOMPARE(inPlace, dGateUp);
}

void TestKernels::swigluExtremes() {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const std::vector<float> gateUp = {200, -200, 0, nan, 2, 2, 2, 2};
    auto out = poison<float>(4);
    cpu::swigluForward(out.data(), gateUp.data(), 1, 4);
    QCOMPARE(out[0], 400.0F);
    QVERIFY(std::abs(out[1]) < 1e-30F);
    QCOMPARE(out[2], 0.0F);
    QVERIFY(std::isnan(out[3])); // a NaN is never hidden
}

void TestKernels::crossEntropy() {
    QFETCH(int, N);
    QFETCH(int, C);
    const auto logits = m_random.normals<float>(N * C, 4);
    const auto targets = m_random.tokens(N, C);
    auto nats = poison<float>(N), natsAgain = nats, gradient = logits;
    auto expected = poison<double>(N), dExpected = widen(logits);
    cpu::crossEntropyForward(nats.data(), logits.data(), targets.data(), N, C);
    cpu::crossEntropyForwardBackward(natsAgain.data(), gradient.data(), targets.data(), N, C, 0.25F);
    ref::crossEntropyForwardBackward(expected.data(), dExpected.data(), targets.data(), N, C, 0.25);
    QVERIFY(largestGap(nats, expected) < 5e-6); // a loss near 0 is a difference of large numbers: absolute
    QVERIFY(largestGap(natsAgain, expected) < 5e-6);
    QVERIFY(largestGap(gradient, dExpected) < 1e-6);
    ref::crossEntropyForward(expected.data(), widen(logits).data(), targets.data(), N, C);
    QVERIFY(largestGap(nats, expected) < 5e-6);
}

void TestKernels::crossEntropyShowsNaN() {
    std::vector<float> logits(20, 0.0F);
    logits[13] = std::numeric_limits<float>::quiet_NaN();
    const std::int32_t target = 2;
    float nats = 0;
    cpu::crossEntropyForward(&nats, logits.data(), &target, 1, 20);
    QVERIFY(std::isnan(nats));
}

void TestKernels::linear_data() {
    QTest::addColumn<int>("N");
    QTest::addColumn<int>("I");
    QTest::addColumn<int>("O");
    for (const auto& [N, I, O] : {std::array{1, 9, 10}, {3, 5, 7}, {17, 64, 33}, {64, 128, 384}, {129, 344, 127}})
        QTest::addRow("%dx%dx%d", N, I, O) << N << I << O;
}

void TestKernels::linear() {
    QFETCH(int, N);
    QFETCH(int, I);
    QFETCH(int, O);
    const LinearShape shape{N, I, O};
    const auto x = m_random.normals<float>(N * I), weight = m_random.normals<float>(O * I), dY = m_random.normals<float>(N * O);
    for (const Output output : {Output::Overwrite, Output::Add}) {
        const bool add = output == Output::Add;
        auto y = add ? m_random.normals<float>(N * O) : poison<float>(N * O), dX = add ? x : poison<float>(N * I);
        auto yExpected = widen(y), dXExpected = widen(dX);
        cpu::linearForward(y.data(), x.data(), weight.data(), shape, 0.5F, output);
        ref::linearForward(yExpected.data(), widen(x).data(), widen(weight).data(), shape, 0.5, output);
        COMPARE_NEAR(y, yExpected, kBound);
        cpu::linearBackwardInput(dX.data(), dY.data(), weight.data(), shape, 0.5F, output);
        ref::linearBackwardInput(dXExpected.data(), widen(dY).data(), widen(weight).data(), shape, 0.5, output);
        COMPARE_NEAR(dX, dXExpected, kBound);
    }
    auto dWeight = m_random.normals<float>(O * I);
    auto dExpected = widen(dWeight);
    cpu::linearBackwardWeight(dWeight.data(), dY.data(), x.data(), shape, 0.5F, 0, O / 3); // in two stretches of outputs
    cpu::linearBackwardWeight(dWeight.data(), dY.data(), x.data(), shape, 0.5F, O / 3, O);
    ref::linearBackwardWeight(dExpected.data(), widen(dY).data(), widen(x).data(), shape, 0.5, 0, O);
    COMPARE_NEAR(dWeight, dExpected, kBound);
}

void TestKernels::rope_data() {
    QTest::addColumn<int>("T");
    QTest::addColumn<int>("H");
    QTest::addColumn<int>("D");
    for (const auto& [T, H, D] : {std::array{1, 1, 2}, {5, 3, 6}, {17, 2, 34}, {32, 2, 64}})
        QTest::addRow("T%d H%d D%d", T, H, D) << T << H << D;
}

void TestKernels::rope() {
    QFETCH(int, T);
    QFETCH(int, H);
    QFETCH(int, D);
    const RopeShape shape{T + 3, 2, T, H, D}; // starts inside a sequence and runs over its end
    std::vector<float> cos(static_cast<std::size_t>(T * D / 2)), sin(cos.size());
    std::vector<double> cosWide(cos.size()), sinWide(cos.size());
    ref::ropeTable(cos.data(), sin.data(), T, D, 10'000);
    ref::ropeTable(cosWide.data(), sinWide.data(), T, D, 10'000);
    const auto start = m_random.normals<float>(shape.N * 3 * H * D);
    auto qkv = start;
    auto expected = widen(start);
    cpu::ropeForward(qkv.data(), cos.data(), sin.data(), shape);
    ref::ropeForward(expected.data(), cosWide.data(), sinWide.data(), shape);
    COMPARE_NEAR(qkv, expected, kBound);
    cpu::ropeBackward(qkv.data(), cos.data(), sin.data(), shape); // the inverse turns it back
    COMPARE_NEAR(qkv, start, kBound);
}

void TestKernels::attention_data() {
    QTest::addColumn<int>("T");
    QTest::addColumn<int>("D");
    for (const auto& [T, D] : {std::pair{1, 2}, {2, 4}, {31, 10}, {64, 64}, {65, 16}, {130, 34}, {256, 128}})
        QTest::addRow("T%d D%d", T, D) << T << D;
}

void TestKernels::attention() {
    QFETCH(int, T);
    QFETCH(int, D);
    const AttentionShape shape{T, D, 3 * D + 5, D + 3};
    const float scale = 1.0F / std::sqrt(static_cast<float>(D));
    const auto qkv = m_random.normals<float>(T * shape.stride, 1.5), dOut = m_random.normals<float>(T * shape.outStride);
    const auto qkvWide = widen(qkv), dOutWide = widen(dOut);
    auto out = std::vector<float>(static_cast<std::size_t>(T * shape.outStride), 7.0F), lse = poison<float>(T);
    auto outWide = widen(out), lseWide = poison<double>(T);
    auto scratch = poison<float>(cpu::attentionScratch(shape));
    auto scratchWide = poison<double>(ref::attentionScratch(shape));
    cpu::attentionForward(out.data(), lse.data(), qkv.data(), qkv.data() + D, qkv.data() + 2 * D, shape, scale, scratch.data());
    ref::attentionForward(outWide.data(), lseWide.data(), qkvWide.data(), qkvWide.data() + D, qkvWide.data() + 2 * D, shape,
                          static_cast<double>(scale), scratchWide.data());
    COMPARE_NEAR(out, outWide, kBound);       // the 7s between the rows must still be there
    QVERIFY(largestGap(lse, lseWide) < 2e-5); // scores reach 20 before the logarithm

    auto d = std::vector<float>(qkv.size(), 7.0F);
    auto dWide = widen(d);
    cpu::attentionBackward(d.data(), d.data() + D, d.data() + 2 * D, dOut.data(), qkv.data(), qkv.data() + D, qkv.data() + 2 * D,
                           out.data(), lse.data(), shape, scale, scratch.data());
    ref::attentionBackward(dWide.data(), dWide.data() + D, dWide.data() + 2 * D, dOutWide.data(), qkvWide.data(),
                           qkvWide.data() + D, qkvWide.data() + 2 * D, outWide.data(), lseWide.data(), shape,
                           static_cast<double>(scale), scratchWide.data());
    COMPARE_NEAR(d, dWide, kBound);
}

void TestKernels::attentionSeesNoFuture() {
    const std::int64_t T = 70, D = 8;
    const AttentionShape shape{T, D, 3 * D, D};
    auto qkv = m_random.normals<float>(T * shape.stride);
    auto scratch = poison<float>(cpu::attentionScratch(shape)), lse = poison<float>(T), out = poison<float>(T * D), later = out;
    const auto run = [&](std::vector<float>& to) {
        cpu::attentionForward(to.data(), lse.data(), qkv.data(), qkv.data() + D, qkv.data() + 2 * D, shape, 0.3F, scratch.data());
    };
    run(out);
    const std::int64_t changed = 40;
    for (std::int64_t i = changed * shape.stride; i < T * shape.stride; ++i)
        qkv[static_cast<std::size_t>(i)] += 1;
    run(later);
    QVERIFY(std::equal(out.begin(), out.begin() + changed * D, later.begin())); // bit for bit
    QVERIFY(!std::equal(out.begin() + changed * D, out.end(), later.begin() + changed * D));
}

void TestKernels::adamw() {
    QFETCH(int, N);
    QFETCH(int, C);
    const std::int64_t size = std::int64_t{N} * C;
    auto p = m_random.normals<float>(size), m = m_random.normals<float>(size), v = m_random.normals<float>(size);
    const auto g = m_random.normals<float>(size);
    for (float& value : v)
        value = value * value;
    auto pWide = widen(p), mWide = widen(m), vWide = widen(v);
    const AdamWStep<float> step{0.01F, 0.1F, 0.9F, 0.95F, 1e-8F, 1.7F, 2.5F, 0.5F};
    const AdamWStep<double> wide{
        step.rate, step.decay, step.beta1, step.beta2, step.epsilon, step.firstCorrection, step.secondCorrection, step.gradScale};
    cpu::adamw(p.data(), m.data(), v.data(), g.data(), size, step);
    ref::adamw(pWide.data(), mWide.data(), vWide.data(), widen(g).data(), size, wide);
    COMPARE_NEAR(p, pWide, kBound);
    COMPARE_NEAR(m, mWide, kBound);
    COMPARE_NEAR(v, vWide, kBound);
}

void TestKernels::elementwise() {
    QFETCH(int, N);
    QFETCH(int, C);
    const std::int64_t size = std::int64_t{N} * C;
    const auto in = m_random.normals<float>(size);
    auto out = m_random.normals<float>(size);
    auto expected = widen(out);
    cpu::addTo(out.data(), in.data(), size);
    ref::addTo(expected.data(), widen(in).data(), size);
    COMPARE_NEAR(out, expected, kBound);
    const double sum = ref::sumOfSquares(in.data(), size);
    QVERIFY(std::abs(cpu::sumOfSquares(in.data(), size) - sum) <= 1e-13 * sum);
}

void TestKernels::cudaReportAnswers() {
    const CudaReport report = cudaReport();
    QCOMPARE(report.devices.empty(), !report.whyNone.empty()); // either devices or a reason
    for (const CudaDevice& device : report.devices) {
        QVERIFY(!device.name.empty());
        QVERIFY(device.memoryBytes > 0);
    }
    qInfo("CUDA devices: %zu %s", report.devices.size(), report.whyNone.c_str());
}

QTEST_GUILESS_MAIN(TestKernels)
#include "tst_kernels.moc"
