// SPDX-License-Identifier: Apache-2.0
// The kernels that work row by row or element by element against the plain loops in double, on fresh random inputs rounded to
// bf16, at odd sizes, with poisoned outputs.
#include <array>

#include "cuda_test_support.h"
#include "telehelm/kernels/cuda/ops.h"
#include "telehelm/kernels/elementwise.h"
#include "telehelm/kernels/rms_norm.h"
#include "telehelm/kernels/swiglu.h"

using namespace telehelm::kernels;
using namespace telehelm::test;
namespace ref = telehelm::kernels::reference;

class TestCudaRows : public CudaTest {
    Q_OBJECT

private slots:
    void initTestCase() { start(); }
    void roundsToBf16();
    void rmsNorm_data() { addRowSizes(); }
    void rmsNorm();
    void rmsNormSameBitsTwice();
    void swiglu_data() { addRowSizes(); }
    void swiglu();
    void swigluExtremes();
    void rope_data();
    void rope();
    void casts_data();
    void casts();
    void adamw();
    void sums_data();
    void sums();
    void graphRepeats();
    void wrongSizesAreRefused();

private:
    static void addRowSizes();
};

void TestCudaRows::addRowSizes() {
    QTest::addColumn<int>("N");
    QTest::addColumn<int>("C");
    for (const auto& [N, C] :
         {std::pair{1, 8}, {3, 24}, {33, 64}, {7, 1000}, {300, 128}, {2, 1032}, {5, 2064}, {3, 8192}, {2, 16384}})
        QTest::addRow("%dx%d", N, C) << N << C;
}

void TestCudaRows::roundsToBf16() {
    QCOMPARE(cuda::toFloat(cuda::toBf16(1.0F)), 1.0F);
    QCOMPARE(cuda::toFloat(cuda::toBf16(1.00390625F)), 1.0F);      // half a step: to even
    QCOMPARE(cuda::toFloat(cuda::toBf16(1.01171875F)), 1.015625F); // half a step: to even, upwards
    QCOMPARE(cuda::toFloat(cuda::toBf16(-3.4e38F)), -std::numeric_limits<float>::infinity());
    QVERIFY(std::isnan(cuda::toFloat(cuda::toBf16(std::bit_cast<float>(0x7F800001U)))));
}

void TestCudaRows::rmsNorm() {
    QFETCH(int, N);
    QFETCH(int, C);
    const auto x = numbers(N * C), weight = numbers(C), dOut = numbers(N * C), residual = numbers(N * C), delta = numbers(N * C);
    const auto xD = device(x), weightD = device(weight);
    auto out = device(poisonBf16(N * C));
    auto r = device(poison<float>(N));
    cuda::rmsNormForward(out, r, xD, weightD, N, C, 1e-3F, *m_stream);
    auto expected = poison<double>(N * C), rExpected = poison<double>(N);
    ref::rmsNormForward(expected.data(), rExpected.data(), widen(x).data(), widen(weight).data(), N, C, 1e-3);
    COMPARE_NEAR(widen(out.read()), expected, kBf16Bound);
    COMPARE_NEAR(r.read(), rExpected, kFloatBound);

    const auto gradient = m_random.normals<float>(C);
    auto dX = device(poisonBf16(N * C));
    const auto dWeight = device(gradient),
               scratch = device(poison<float>(static_cast<std::int64_t>(cuda::rmsNormScratch(C)) / 4));
    auto dXExpected = poison<double>(N * C), dWeightExpected = widen(gradient);
    cuda::rmsNormBackward(dX, dWeight, device(residual), device(dOut), xD, weightD, r, N, C, scratch, *m_stream);
    ref::rmsNormBackward(dXExpected.data(), dWeightExpected.data(), widen(residual).data(), widen(dOut).data(), widen(x).data(),
                         widen(weight).data(), rExpected.data(), N, C);
    COMPARE_NEAR(widen(dX.read()), dXExpected, kBf16Bound);
    COMPARE_NEAR(dWeight.read(), dWeightExpected, 2e-5);
    const auto inPlace = device(residual); // dX may be the residual's gradient
    cuda::rmsNormBackward(inPlace, dWeight, inPlace, device(dOut), xD, weightD, r, N, C, scratch, *m_stream);
    QCOMPARE(inPlace.read(), dX.read());
    cuda::rmsNormBackward(dX, dWeight, nullptr, device(dOut), xD, weightD, r, N, C, scratch, *m_stream);
    ref::rmsNormBackward(dXExpected.data(), dWeightExpected.data(), std::vector<double>(x.size()).data(), widen(dOut).data(),
                         widen(x).data(), widen(weight).data(), rExpected.data(), N, C);
    COMPARE_NEAR(widen(dX.read()), dXExpected, kBf16Bound);

    auto sum = device(poisonBf16(N * C)); // the residual meets the norm
    cuda::addRmsNormForward(out, r, sum, xD, device(delta), weightD, N, C, 1e-3F, *m_stream);
    std::vector<double> sumExpected = widen(x);
    ref::addTo(sumExpected.data(), widen(delta).data(), N * C);
    COMPARE_NEAR(widen(sum.read()), sumExpected, kBf16Bound);
    ref::rmsNormForward(expected.data(), rExpected.data(), widen(sum.read()).data(), widen(weight).data(), N, C, 1e-3);
    COMPARE_NEAR(widen(out.read()), expected, kBf16Bound);
    COMPARE_NEAR(r.read(), rExpected, kFloatBound);
}

void TestCudaRows::rmsNormSameBitsTwice() {
    constexpr std::int64_t kN = 150, kC = 128;
    const auto x = device(numbers(kN * kC)), weight = device(numbers(kC)), dOut = device(numbers(kN * kC));
    auto out = device(poisonBf16(kN * kC)), dX = device(poisonBf16(kN * kC));
    auto r = device(poison<float>(kN));
    const auto scratch = device(poison<float>(static_cast<std::int64_t>(cuda::rmsNormScratch(kC)) / 4));
    cuda::rmsNormForward(out, r, x, weight, kN, kC, 1e-5F, *m_stream);
    std::vector<std::vector<float>> gradients;
    for (int turn = 0; turn < 2; ++turn) {
        const auto dWeight = device(std::vector<float>(kC));
        cuda::rmsNormBackward(dX, dWeight, nullptr, dOut, x, weight, r, kN, kC, scratch, *m_stream);
        gradients.push_back(dWeight.read());
    }
    QVERIFY(gradients[0] == gradients[1]);
}

void TestCudaRows::swiglu() {
    QFETCH(int, N);
    QFETCH(int, C);
    const auto gateUp = numbers(N * 2 * C, 3), dOut = numbers(N * C);
    auto out = device(poisonBf16(N * C)), dGateUp = device(poisonBf16(N * 2 * C));
    auto expected = poison<double>(N * C), dExpected = poison<double>(N * 2 * C);
    cuda::swigluForward(out, device(gateUp), N, C, *m_stream);
    ref::swigluForward(expected.data(), widen(gateUp).data(), N, C);
    COMPARE_NEAR(widen(out.read()), expected, kBf16Bound);
    cuda::swigluBackward(dGateUp, device(dOut), device(gateUp), N, C, *m_stream);
    ref::swigluBackward(dExpected.data(), widen(dOut).data(), widen(gateUp).data(), N, C);
    COMPARE_NEAR(widen(dGateUp.read()), dExpected, kBf16Bound);
    const auto inPlace = device(gateUp);
    cuda::swigluBackward(inPlace, device(dOut), inPlace, N, C, *m_stream);
    QCOMPARE(inPlace.read(), dGateUp.read());
}

void TestCudaRows::swigluExtremes() {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const auto gateUp = rounded({200, -200, 0, nan, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 2});
    auto out = device(poisonBf16(8));
    cuda::swigluForward(out, device(gateUp), 1, 8, *m_stream);
    const auto values = widen(out.read());
    QCOMPARE(values[0], 400.0);
    QVERIFY(std::abs(values[1]) < 1e-30);
    QCOMPARE(values[2], 0.0);
    QVERIFY(std::isnan(values[3])); // a NaN is never hidden
}

void TestCudaRows::rope_data() {
    QTest::addColumn<int>("T");
    QTest::addColumn<int>("H");
    QTest::addColumn<int>("D");
    for (const auto& [T, H, D] : {std::array{1, 1, 16}, {5, 3, 48}, {17, 2, 64}, {9, 9, 128}})
        QTest::addRow("T%d H%d D%d", T, H, D) << T << H << D;
}

void TestCudaRows::rope() {
    QFETCH(int, T);
    QFETCH(int, H);
    QFETCH(int, D);
    const RopeShape shape{T + 3, 2, T, H, D}; // starts inside a sequence and runs over its end
    std::vector<float> cos(static_cast<std::size_t>(T * D / 2)), sin(cos.size());
    ref::ropeTable(cos.data(), sin.data(), T, D, 10'000);
    const auto start = numbers(shape.N * 3 * H * D);
    const auto cosD = device(cos), sinD = device(sin);
    const auto qkv = device(start);
    auto expected = widen(start);
    cuda::ropeForward(qkv, cosD, sinD, shape, *m_stream);
    ref::ropeForward(expected.data(), widen(cos).data(), widen(sin).data(), shape);
    COMPARE_NEAR(widen(qkv.read()), expected, kBf16Bound);
    cuda::ropeBackward(qkv, cosD, sinD, shape, *m_stream); // the inverse turns it back
    COMPARE_NEAR(widen(qkv.read()), widen(start), kBf16Bound);
}

void TestCudaRows::casts_data() {
    QTest::addColumn<int>("size");
    QTest::addColumn<int>("from"); // elements before the first one: unaligned
    for (const auto& [size, from] : {std::pair{1, 0}, {7, 0}, {4099, 0}, {4099, 1}, {1000, 3}})
        QTest::addRow("%d from %d", size, from) << size << from;
}

void TestCudaRows::casts() {
    QFETCH(int, size);
    QFETCH(int, from);
    const auto floats = m_random.normals<float>(size + from);
    const auto other = numbers(size + from);
    const auto floatsD = device(floats);
    const auto otherD = device(other);
    auto out = device(poisonBf16(size + from)), sum = device(poisonBf16(size + from));
    auto back = device(poison<float>(size + from));
    cuda::toBf16(out + from, floatsD + from, size, *m_stream);
    cuda::toFloat(back + from, out + from, size, *m_stream);
    cuda::add(sum + from, out + from, otherD + from, size, *m_stream);
    const auto wide = back.read();
    const auto sums = widen(sum.read());
    for (int i = from; i < size + from; ++i) {
        const auto at = static_cast<std::size_t>(i);
        QCOMPARE(wide[at], cuda::toFloat(cuda::toBf16(floats[at])));
        QCOMPARE(sums[at], static_cast<double>(cuda::toFloat(cuda::toBf16(wide[at] + cuda::toFloat(other[at])))));
    }
    for (int i = 0; i < from; ++i)
        QVERIFY(std::isnan(wide[static_cast<std::size_t>(i)])); // and nothing before it
}

void TestCudaRows::adamw() {
    constexpr std::int64_t kSize = 40'000;
    const auto parameters = m_random.normals<float>(kSize), gradients = m_random.normals<float>(kSize);
    auto first = m_random.normals<float>(kSize, 0.1), second = m_random.normals<float>(kSize, 0.1);
    for (float& value : second)
        value *= value;
    const AdamWStep<float> matrix{1e-2F, 0.1F, 0.9F, 0.95F, 1e-8F, 1.7F, 2.3F, 0.6F};
    AdamWStep<float> vector = matrix;
    vector.rate = 3e-2F;
    vector.decay = 0;
    // Uneven stretches; one element between them belongs to no weight.
    const std::vector<cuda::AdamWChunk> chunks = {
        {0, 16384, 0}, {16384, 1001, 0}, {17386, 5, 1}, {17391, 1, 1}, {17392, 16384, 1}};
    auto p = device(parameters), m = device(first), v = device(second);
    auto working = device(poisonBf16(kSize));
    cuda::adamw(p, working, m, v, device(gradients), device(chunks), std::ssize(chunks), {{matrix, vector, {}, {}}}, *m_stream);
    auto pExpected = widen(parameters), mExpected = widen(first), vExpected = widen(second);
    for (const cuda::AdamWChunk& chunk : chunks) {
        const AdamWStep<float>& s = chunk.group == 0 ? matrix : vector;
        const AdamWStep<double> step{s.rate,     s.decay, s.beta1, s.beta2, s.epsilon, s.firstCorrection, s.secondCorrection,
                                     s.gradScale};
        ref::adamw(pExpected.data() + chunk.from, mExpected.data() + chunk.from, vExpected.data() + chunk.from,
                   widen(gradients).data() + chunk.from, chunk.size, step);
    }
    COMPARE_NEAR(p.read(), pExpected, kFloatBound);
    COMPARE_NEAR(m.read(), mExpected, kFloatBound);
    COMPARE_NEAR(v.read(), vExpected, kFloatBound);
    QCOMPARE(p.read()[17385], parameters[17385]);
    const auto rounding = working.read();
    for (std::size_t i = 0; i < 33776; ++i)
        if (i != 17385)
            QCOMPARE(rounding[i], cuda::toBf16(p.read()[i]));
        else
            QCOMPARE(rounding[i], Bf16{0x7FC0});
}

void TestCudaRows::sums_data() {
    QTest::addColumn<int>("size");
    QTest::addColumn<int>("from");
    for (const auto& [size, from] : {std::pair{1, 0}, {5, 1}, {300'001, 0}, {300'001, 1}})
        QTest::addRow("%d from %d", size, from) << size << from;
}

void TestCudaRows::sums() {
    QFETCH(int, size);
    QFETCH(int, from);
    const auto x = m_random.normals<float>(size + from);
    const auto xD = device(x);
    auto out = device(poison<double>(2)), scratch = device(poison<double>(cuda::kSumScratch));
    cuda::sumOfSquares(out, xD + from, size, scratch, *m_stream);
    cuda::sum(out + 1, xD + from, size, scratch, *m_stream);
    double sum = 0, squares = 0;
    for (int i = from; i < size + from; ++i) {
        sum += static_cast<double>(x[static_cast<std::size_t>(i)]);
        squares += static_cast<double>(x[static_cast<std::size_t>(i)]) * static_cast<double>(x[static_cast<std::size_t>(i)]);
    }
    QVERIFY(std::abs(out.read()[0] - squares) <= 1e-12 * squares);
    QVERIFY(std::abs(out.read()[1] - sum) <= 1e-12 * squares);

    // What others count is 0, but not where it is not finite.
    std::vector<float> values(x.begin() + from, x.end());
    const std::int32_t half = (size + 1) / 2;
    const auto chunksD = device(std::vector<cuda::AdamWChunk>{{0, half, 0}, {half, size - half, 1}});
    double own = 0;
    for (int i = 0; i < half; ++i)
        own += static_cast<double>(values[static_cast<std::size_t>(i)]) * static_cast<double>(values[static_cast<std::size_t>(i)]);
    cuda::sumOfSquares(out, xD + from, chunksD, 2, scratch, *m_stream);
    QVERIFY(std::abs(out.read()[0] - own) <= 1e-12 * squares);
    if (size > 1) {
        values.back() = -std::numeric_limits<float>::infinity();
        cuda::sumOfSquares(out, device(values), chunksD, 2, scratch, *m_stream);
        QVERIFY(std::isnan(out.read()[0]));
    }

    auto some = numbers(size);
    some.back() = cuda::toBf16(std::numeric_limits<float>::infinity());
    some[some.size() / 2] = Bf16{0x7FC0};
    auto count = device(std::vector<std::int32_t>{-1});
    cuda::countNonFinite(count, device(some), size, *m_stream);
    QCOMPARE(count.read()[0], size == 1 ? 1 : 2);
}

void TestCudaRows::graphRepeats() {
    const auto x = numbers(100);
    auto sum = device(std::vector<Bf16>(100));
    const auto xD = device(x);
    const cuda::Graph graph = cuda::Graph::record(*m_stream, [&] { cuda::add(sum, sum, xD, 100, *m_stream); });
    m_stream->synchronize();
    QCOMPARE(widen(sum.read())[0], 0.0); // recording runs nothing
    graph.launch(*m_stream);
    graph.launch(*m_stream);
    COMPARE_NEAR(
        widen(sum.read()),
        [&] {
            auto twice = widen(x);
            ref::addTo(twice.data(), widen(x).data(), 100);
            return twice;
        }(),
        1e-12);
}

void TestCudaRows::wrongSizesAreRefused() {
    QVERIFY_THROWS_EXCEPTION(std::invalid_argument,
                             cuda::rmsNormForward(nullptr, nullptr, nullptr, nullptr, 1, 12, 1, *m_stream));
    QVERIFY_THROWS_EXCEPTION(std::invalid_argument, cuda::swigluForward(nullptr, nullptr, 1, 12, *m_stream));
}

QTEST_GUILESS_MAIN(TestCudaRows)
#include "tst_cuda_rows.moc"
