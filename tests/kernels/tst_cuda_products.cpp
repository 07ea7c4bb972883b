// SPDX-License-Identifier: Apache-2.0
// The products of matrices and the attention of each kind against the plain loops in double, on fresh random inputs rounded to
// bf16, at odd sizes, with poisoned outputs.
#include <array>

#include "cuda_test_support.h"
#include "telehelm/kernels/attention.h"
#include "telehelm/kernels/cuda/attention.h"
#include "telehelm/kernels/cuda/gemm.h"
#include "telehelm/kernels/linear.h"

using namespace telehelm::kernels;
using namespace telehelm::test;
namespace ref = telehelm::kernels::reference;

class TestCudaProducts : public CudaTest {
    Q_OBJECT

private slots:
    void initTestCase() { start(); }
    void gemm_data();
    void gemm();
    void attention_data();
    void attention();
    void attentionSeesNoFuture_data();
    void attentionSeesNoFuture();
    void wrongSizesAreRefused();
};

void TestCudaProducts::gemm_data() {
    QTest::addColumn<int>("N");
    QTest::addColumn<int>("I");
    QTest::addColumn<int>("O");
    for (const auto& [N, I, O] : {std::array{1, 8, 16}, {3, 64, 40}, {33, 128, 72}, {100, 344, 128}})
        QTest::addRow("%dx%dx%d", N, I, O) << N << I << O;
}

void TestCudaProducts::gemm() {
    QFETCH(int, N);
    QFETCH(int, I);
    QFETCH(int, O);
    const LinearShape shape{N, I, O};
    cuda::Gemm gemm;
    const auto x = numbers(N * I), weight = numbers(O * I), dY = numbers(N * O), residual = numbers(N * O);
    const auto xD = device(x), weightD = device(weight), dYD = device(dY);
    auto y = device(poisonBf16(N * O));
    auto expected = widen(residual);
    gemm.forward(y, xD, weightD, device(residual), shape, 0.5F, *m_stream);
    ref::linearForward(expected.data(), widen(x).data(), widen(weight).data(), shape, 0.5, Output::Add);
    COMPARE_NEAR(widen(y.read()), expected, kBf16Bound);

    const std::int64_t stride = O + 24; // rows further apart, as of a chunk of logits
    auto strided = device(poisonBf16(N * stride));
    gemm.forward(strided, xD, weightD, nullptr, shape, 1.0F, *m_stream, stride);
    ref::linearForward(expected.data(), widen(x).data(), widen(weight).data(), shape, 1.0, Output::Overwrite);
    std::vector<double> found;
    const auto all = widen(strided.read());
    for (int n = 0; n < N; ++n)
        for (std::int64_t o = 0; o < stride; ++o)
            if (o < O)
                found.push_back(all[static_cast<std::size_t>(n * stride + o)]);
            else
                QVERIFY(std::isnan(all[static_cast<std::size_t>(n * stride + o)]));
    COMPARE_NEAR(found, expected, kBf16Bound);

    auto dX = device(poisonBf16(N * I));
    auto dXExpected = poison<double>(N * I);
    gemm.backwardInput(dX, dYD, weightD, shape, 0.5F, *m_stream);
    ref::linearBackwardInput(dXExpected.data(), widen(dY).data(), widen(weight).data(), shape, 0.5, Output::Overwrite);
    COMPARE_NEAR(widen(dX.read()), dXExpected, kBf16Bound);

    const auto before = m_random.normals<float>(O * I);
    const auto dWeight = device(before);
    auto dWeightExpected = widen(before);
    gemm.backwardWeight(dWeight, dYD, xD, shape, 0.5F, *m_stream);
    ref::linearBackwardWeight(dWeightExpected.data(), widen(dY).data(), widen(x).data(), shape, 0.5, 0, O);
    COMPARE_NEAR(dWeight.read(), dWeightExpected, kFloatBound);
}

void TestCudaProducts::attention_data() {
    QTest::addColumn<QString>("kind");
    QTest::addColumn<int>("B");
    QTest::addColumn<int>("T");
    QTest::addColumn<int>("H");
    QTest::addColumn<int>("D");
    for (const std::string& kind : cuda::attentionKinds())
        for (const auto& [B, T, H, D] : {std::array{1, 1, 1, 64},
                                         {2, 33, 2, 64},
                                         {1, 130, 1, 64},
                                         {1, 128, 1, 128},
                                         {2, 65, 1, 128},
                                         {1, 200, 2, 128},
                                         {1, 300, 1, 64},
                                         {1, 520, 1, 128}})
            QTest::addRow("%s B%d T%d H%d D%d", kind.c_str(), B, T, H, D) << QString::fromStdString(kind) << B << T << H << D;
}

void TestCudaProducts::attention() {
    QFETCH(QString, kind);
    QFETCH(int, B);
    QFETCH(int, T);
    QFETCH(int, H);
    QFETCH(int, D);
    const cuda::AttentionBatch batch{B, T, H, D};
    const auto own = cuda::makeAttention(kind.toStdString());
    const float scale = 1.0F / std::sqrt(static_cast<float>(D));
    const std::int64_t rows = B * T;
    const auto qkv = numbers(rows * 3 * H * D, 1.5), dOut = numbers(rows * H * D);
    const auto qkvD = device(qkv), dOutD = device(dOut);
    auto out = device(poisonBf16(rows * H * D)), dQkv = device(poisonBf16(rows * 3 * H * D));
    auto lse = device(poison<float>(rows * H));
    const auto scratch = device(std::vector<char>(own->scratchBytes(batch), '\xFF'));
    own->forward(out, lse, qkvD, batch, scale, scratch, *m_stream);
    own->backward(dQkv, dOutD, qkvD, out, lse, batch, scale, scratch, *m_stream);

    const AttentionShape shape{T, D, 3 * H * D, H * D};
    const auto qkvWide = widen(qkv), dOutWide = widen(dOut);
    auto outWide = poison<double>(rows * H * D), dWide = poison<double>(rows * 3 * H * D), lseWide = poison<double>(rows * H);
    auto space = poison<double>(ref::attentionScratch(shape));
    for (int pair = 0; pair < B * H; ++pair) {
        const std::int64_t row = pair / H * T, at = row * 3 * H * D + pair % H * D, outAt = row * H * D + pair % H * D;
        const double* q = qkvWide.data() + at;
        double* dq = dWide.data() + at;
        ref::attentionForward(outWide.data() + outAt, lseWide.data() + pair * T, q, q + H * D, q + 2 * H * D, shape,
                              static_cast<double>(scale), space.data());
        ref::attentionBackward(dq, dq + H * D, dq + 2 * H * D, dOutWide.data() + outAt, q, q + H * D, q + 2 * H * D,
                               outWide.data() + outAt, lseWide.data() + pair * T, shape, static_cast<double>(scale),
                               space.data());
    }
    QVERIFY(largestGap(lse.read(), lseWide) < 2e-5);
    COMPARE_NEAR(widen(out.read()), outWide, kBf16Bound);
    COMPARE_NEAR(widen(dQkv.read()), dWide, 2 * kBf16Bound);
    for (int part = 0; part < 3; ++part) { // each of dq, dk, dv by itself: none hides behind a larger one
        std::vector<double> found, wanted;
        const auto all = widen(dQkv.read());
        for (std::int64_t n = 0; n < rows; ++n)
            for (std::int64_t c = (n * 3 + part) * H * D; c < (n * 3 + part + 1) * H * D; ++c) {
                found.push_back(all[static_cast<std::size_t>(c)]);
                wanted.push_back(dWide[static_cast<std::size_t>(c)]);
            }
        if (T > 1) // of one token, dq and dk are 0
            COMPARE_NEAR(found, wanted, 2 * kBf16Bound);
    }
}

void TestCudaProducts::attentionSeesNoFuture_data() {
    QTest::addColumn<QString>("kind");
    for (const std::string& kind : cuda::attentionKinds())
        QTest::addRow("%s", kind.c_str()) << QString::fromStdString(kind);
}

/// What comes after a token changes neither its output nor, without a gradient of its own, anything before it.
void TestCudaProducts::attentionSeesNoFuture() {
    QFETCH(QString, kind);
    const cuda::AttentionBatch batch{1, 96, 1, 64};
    constexpr std::int64_t kRow = 3 * 64, kFrom = 50;
    const auto own = cuda::makeAttention(kind.toStdString());
    auto qkv = numbers(96 * kRow);
    auto out = device(poisonBf16(96 * 64)), outAfter = device(poisonBf16(96 * 64));
    auto lse = device(poison<float>(96));
    const auto scratch = device(std::vector<char>(own->scratchBytes(batch)));
    own->forward(out, lse, device(qkv), batch, 0.125F, scratch, *m_stream);
    std::ranges::copy(numbers((96 - kFrom) * kRow), qkv.begin() + kFrom * kRow);
    own->forward(outAfter, lse, device(qkv), batch, 0.125F, scratch, *m_stream);
    const auto before = out.read(), after = outAfter.read();
    QVERIFY(std::equal(before.begin(), before.begin() + kFrom * 64, after.begin()));
    QVERIFY(!std::equal(before.begin() + kFrom * 64, before.end(), after.begin() + kFrom * 64));
}

void TestCudaProducts::wrongSizesAreRefused() {
    QVERIFY_THROWS_EXCEPTION(std::invalid_argument, cuda::makeAttention("none"));
    const auto own = cuda::makeAttention("mma");
    QVERIFY_THROWS_EXCEPTION(std::invalid_argument,
                             own->forward(nullptr, nullptr, nullptr, {1, 8, 1, 32}, 1, nullptr, *m_stream));
}

QTEST_GUILESS_MAIN(TestCudaProducts)
#include "tst_cuda_products.moc"
