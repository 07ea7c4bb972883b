// SPDX-License-Identifier: Apache-2.0
// Every CUDA kernel against the plain loops in double, on fresh random inputs rounded to bf16, at odd sizes, with poisoned
// outputs. Built twice: for a device (skipped where there is none), and over the same sources on the host
// (tst_cuda_kernels_on_host).
#include <QtTest>

#include <array>

#include "kernel_test_support.h"
#include "telehelm/kernels/attention.h"
#include "telehelm/kernels/cross_entropy.h"
#include "telehelm/kernels/cuda/attention.h"
#include "telehelm/kernels/cuda/gemm.h"
#include "telehelm/kernels/cuda/ops.h"
#include "telehelm/kernels/device.h"
#include "telehelm/kernels/elementwise.h"
#include "telehelm/kernels/embedding.h"
#include "telehelm/kernels/rms_norm.h"
#include "telehelm/kernels/swiglu.h"

using namespace telehelm::kernels;
using namespace telehelm::test;
namespace ref = telehelm::kernels::reference;
using cuda::Bf16;

namespace {

/// A result rounded once to bf16 is off by 2⁻⁹ at most, 1.2e-3 in the norm; sums of rounded things a little more. One wrong row
/// of 300 or one wrong term gives 5e-2 and more.
constexpr double kBf16Bound = 4e-3;
/// fp32 results from bf16 inputs.
constexpr double kFloatBound = 5e-6;

/// A vector on the device.
template <typename T> class OnDevice {
public:
    OnDevice(const std::vector<T>& values, const cuda::Stream& stream) : m_stream(stream), m_buffer(values.size() * sizeof(T)) {
        cuda::copyToDevice(m_buffer.data(), values.data(), m_buffer.bytes(), stream);
        stream.synchronize();
    }
    operator T*() const { return m_buffer.template as<T>(); } // NOLINT: as kernels take it
    [[nodiscard]] std::vector<T> read() const {
        std::vector<T> values(m_buffer.bytes() / sizeof(T));
        cuda::copyToHost(values.data(), m_buffer.data(), m_buffer.bytes(), m_stream);
        m_stream.synchronize();
        return values;
    }

private:
    const cuda::Stream& m_stream;
    cuda::DeviceBuffer m_buffer;
};

std::vector<double> widen(const std::vector<Bf16>& values) {
    std::vector<double> wide;
    for (const Bf16 value : values)
        wide.push_back(static_cast<double>(cuda::toFloat(value)));
    return wide;
}
using telehelm::test::widen;

std::vector<Bf16> rounded(const std::vector<float>& values) {
    std::vector<Bf16> out;
    for (const float value : values)
        out.push_back(cuda::toBf16(value));
    return out;
}

std::vector<Bf16> poisonBf16(std::int64_t size) {
    return std::vector<Bf16>(static_cast<std::size_t>(size), Bf16{0x7FC0});
}

} // namespace

class TestCudaKernels : public QObject {
    Q_OBJECT

private slots:
    void initTestCase();
    void roundsToBf16();
    void embedding_data();
    void embedding();
    void rmsNorm_data() { addRowSizes(); }
    void rmsNorm();
    void swiglu_data() { addRowSizes(); }
    void swiglu();
    void swigluExtremes();
    void rope_data();
    void rope();
    void crossEntropy_data();
    void crossEntropy();
    void crossEntropyShowsNaN();
    void splitVocabulary();
    void casts_data();
    void casts();
    void adamw();
    void sums_data();
    void sums();
    void gemm_data();
    void gemm();
    void attention_data();
    void attention();
    void attentionSeesNoFuture_data();
    void attentionSeesNoFuture();
    void sameBitsTwice();
    void graphRepeats();
    void wrongSizesAreRefused();

private:
    static void addRowSizes();
    std::vector<Bf16> numbers(std::int64_t size, double deviation = 1) {
        return rounded(m_random.normals<float>(size, deviation));
    }
    template <typename T> OnDevice<T> device(const std::vector<T>& values) { return {values, *m_stream}; }

    Random m_random;
    std::unique_ptr<cuda::Stream> m_stream;
};

void TestCudaKernels::initTestCase() {
    const CudaReport report = cudaReport();
    if (report.devices.empty())
        QSKIP(qPrintable(QString("no CUDA device: %1").arg(report.whyNone.c_str())));
    m_stream = std::make_unique<cuda::Stream>();
}

void TestCudaKernels::addRowSizes() {
    QTest::addColumn<int>("N");
    QTest::addColumn<int>("C");
    for (const auto& [N, C] :
         {std::pair{1, 8}, {3, 24}, {33, 64}, {7, 1000}, {300, 128}, {2, 1032}, {5, 2064}, {3, 8192}, {2, 16384}})
        QTest::addRow("%dx%d", N, C) << N << C;
}

void TestCudaKernels::roundsToBf16() {
    QCOMPARE(cuda::toFloat(cuda::toBf16(1.0F)), 1.0F);
    QCOMPARE(cuda::toFloat(cuda::toBf16(1.00390625F)), 1.0F);      // half a step: to even
    QCOMPARE(cuda::toFloat(cuda::toBf16(1.01171875F)), 1.015625F); // half a step: to even, upwards
    QCOMPARE(cuda::toFloat(cuda::toBf16(-3.4e38F)), -std::numeric_limits<float>::infinity());
    QVERIFY(std::isnan(cuda::toFloat(cuda::toBf16(std::bit_cast<float>(0x7F800001U)))));
}

void TestCudaKernels::embedding_data() {
    QTest::addColumn<int>("N");
    QTest::addColumn<int>("V");
    QTest::addColumn<int>("C");
    for (const auto& [N, V, C] : {std::array{1, 3, 8}, {200, 11, 24}, {129, 40, 1032}, {300, 300, 64}, {2000, 3, 24}, {150, 4, 2056}, {140, 5, 4104}, {40, 5, 16384}})
        QTest::addRow("N%d V%d C%d", N, V, C) << N << V << C;
}

void TestCudaKernels::embedding() {
    QFETCH(int, N);
    QFETCH(int, V);
    QFETCH(int, C);
    const auto weight = numbers(V * C), dOut = numbers(std::int64_t{N} * C);
    const auto tokens = m_random.tokens(N, V);
    const cuda::Vocabulary own{1, V - 1}; // the first token is another rank's
    const auto ownWeight = std::vector<Bf16>(weight.begin() + C, weight.end());
    auto out = device(poisonBf16(N * C));
    const auto onDevice = device(tokens);
    cuda::embeddingForward(out, device(ownWeight), onDevice, own, N, C, 1.5F, *m_stream);
    auto expected = poison<double>(N * C);
    ref::embeddingForward(expected.data(), widen(weight).data(), tokens.data(), N, C, 1.5);
    for (int n = 0; n < N; ++n)
        if (tokens[static_cast<std::size_t>(n)] == 0)
            std::fill_n(expected.begin() + std::int64_t{n} * C, C, 0.0);
    COMPARE_NEAR(widen(out.read()), expected, kBf16Bound);

    const auto before = m_random.normals<float>(V * C);
    auto dExpected = widen(before);
    ref::embeddingBackward(dExpected.data(), widen(dOut).data(), tokens.data(), N, C, 1.5, 0, C);
    const auto dWeight = device(std::vector<float>(before.begin() + C, before.end()));
    cuda::embeddingBackward(dWeight, device(dOut), onDevice, own, N, C, 1.5F, *m_stream);
    COMPARE_NEAR(dWeight.read(), std::vector<double>(dExpected.begin() + C, dExpected.end()), kFloatBound);
}

void TestCudaKernels::rmsNorm() {
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

void TestCudaKernels::swiglu() {
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

void TestCudaKernels::swigluExtremes() {
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

void TestCudaKernels::rope_data() {
    QTest::addColumn<int>("T");
    QTest::addColumn<int>("H");
    QTest::addColumn<int>("D");
    for (const auto& [T, H, D] : {std::array{1, 1, 16}, {5, 3, 48}, {17, 2, 64}, {9, 9, 128}})
        QTest::addRow("T%d H%d D%d", T, H, D) << T << H << D;
}

void TestCudaKernels::rope() {
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

void TestCudaKernels::crossEntropy_data() {
    QTest::addColumn<int>("N");
    QTest::addColumn<int>("V");
    for (const auto& [N, V] : {std::pair{1, 1}, {3, 7}, {9, 272}, {5, 4099}, {2, 9001}, {1, 60'001}})
        QTest::addRow("N%d V%d", N, V) << N << V;
}

void TestCudaKernels::crossEntropy() {
    QFETCH(int, N);
    QFETCH(int, V);
    const std::int64_t stride = (V + 7) / 8 * 8 + 8;
    auto logits = poisonBf16(N * stride);
    std::vector<double> dense;
    for (int n = 0; n < N; ++n) {
        const auto row = numbers(V, 4);
        std::ranges::copy(row, logits.begin() + n * stride);
        std::ranges::copy(widen(row), std::back_inserter(dense));
    }
    const auto targets = m_random.tokens(N, V);
    auto nats = device(poison<float>(N)), again = device(poison<float>(N));
    const auto onDevice = device(logits);
    const auto targetsD = device(targets);
    const cuda::Logits rows{onDevice, N, V, stride};
    cuda::crossEntropyForward(nats, rows, targetsD, *m_stream);
    QVERIFY(onDevice.read() == logits);
    cuda::crossEntropyForwardBackward(again, rows, targetsD, 0.25F, *m_stream);
    auto expected = poison<double>(N);
    ref::crossEntropyForwardBackward(expected.data(), dense.data(), targets.data(), N, V, 0.25);
    QVERIFY(largestGap(nats.read(), expected) < 2e-5); // a loss near 0 is a difference of large numbers: absolute
    QCOMPARE(again.read(), nats.read());
    const auto gradient = widen(onDevice.read());
    std::vector<double> found;
    for (int n = 0; n < N; ++n) {
        for (std::int64_t v = 0; v < stride; ++v) {
            const double value = gradient[static_cast<std::size_t>(n * stride + v)];
            if (v < V)
                found.push_back(value);
            else
                QCOMPARE(value, 0.0);
        }
    }
    QVERIFY(largestGap(found, dense) < 0.25 * 4e-3);
    if (V > 1)
        COMPARE_NEAR(found, dense, kBf16Bound);
}

void TestCudaKernels::crossEntropyShowsNaN() {
    std::vector<float> logits(24, 0.0F);
    logits[13] = std::numeric_limits<float>::quiet_NaN();
    auto nats = device(poison<float>(1));
    const auto onDevice = device(rounded(logits));
    cuda::crossEntropyForward(nats, {onDevice, 1, 20, 24}, device(std::vector<std::int32_t>{2}), *m_stream);
    QVERIFY(std::isnan(nats.read()[0]));
    cuda::crossEntropyForwardBackward(nats, {onDevice, 1, 20, 24}, device(std::vector<std::int32_t>{2}), 1.0F, *m_stream);
    QVERIFY(std::isnan(nats.read()[0]));
    const auto gradient = widen(onDevice.read());
    for (std::size_t v = 0; v < 24; ++v)
        QVERIFY(v < 20 ? std::isnan(gradient[v]) : gradient[v] == 0.0);
}

/// Two ranks' halves, their statistics merged as communicators do, make what one has.
void TestCudaKernels::splitVocabulary() {
    constexpr std::int64_t kN = 5, kV = 96, kHalf = kV / 2;
    const auto logits = numbers(kN * kV, 4);
    const auto targets = device(m_random.tokens(kN, kV));
    std::vector<std::vector<float>> largest, sums, targetLogits;
    const auto partOf = [&](std::int64_t part) {
        std::vector<Bf16> own;
        for (std::int64_t n = 0; n < kN; ++n)
            own.insert(own.end(), logits.begin() + n * kV + part * kHalf, logits.begin() + n * kV + (part + 1) * kHalf);
        return own;
    };
    const std::array parts = {device(partOf(0)), device(partOf(1))};
    std::vector<float> most(kN, -std::numeric_limits<float>::infinity()), sum(kN), target(kN);
    for (const auto& part : parts) {
        auto own = device(poison<float>(kN));
        cuda::vocabMax(own, {part, kN, kHalf, kHalf}, *m_stream);
        for (std::size_t n = 0; n < kN; ++n)
            most[n] = std::max(most[n], own.read()[n]);
    }
    const auto mostD = device(most);
    for (std::int64_t part = 0; part < 2; ++part) {
        auto ownSums = device(poison<float>(kN)), ownTargets = device(poison<float>(kN));
        cuda::vocabSums(ownSums, ownTargets, {parts[static_cast<std::size_t>(part)], kN, kHalf, kHalf}, mostD, targets,
                        part * kHalf, *m_stream);
        for (std::size_t n = 0; n < kN; ++n) {
            sum[n] += ownSums.read()[n];
            target[n] += ownTargets.read()[n];
        }
    }
    const auto sumD = device(sum);
    auto nats = device(poison<float>(kN)), natsWhole = device(poison<float>(kN));
    cuda::vocabNats(nats, sumD, device(target), kN, *m_stream);
    const auto whole = device(logits);
    cuda::crossEntropyForwardBackward(natsWhole, {whole, kN, kV, kV}, targets, 0.5F, *m_stream);
    QVERIFY(largestGap(nats.read(), natsWhole.read()) < 2e-5);
    const auto expected = widen(whole.read());
    for (std::int64_t part = 0; part < 2; ++part) {
        const auto& own = parts[static_cast<std::size_t>(part)];
        cuda::vocabGradient({own, kN, kHalf, kHalf}, mostD, sumD, targets, part * kHalf, 0.5F, *m_stream);
        std::vector<double> found = widen(own.read()), wanted;
        for (std::int64_t n = 0; n < kN; ++n)
            wanted.insert(wanted.end(), expected.begin() + n * kV + part * kHalf, expected.begin() + n * kV + (part + 1) * kHalf);
        QVERIFY(largestGap(found, wanted) < 0.5 * 4e-3);
    }
}

void TestCudaKernels::casts_data() {
    QTest::addColumn<int>("size");
    QTest::addColumn<int>("from"); // elements before the first one: unaligned
    for (const auto& [size, from] : {std::pair{1, 0}, {7, 0}, {4099, 0}, {4099, 1}, {1000, 3}})
        QTest::addRow("%d from %d", size, from) << size << from;
}

void TestCudaKernels::casts() {
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

void TestCudaKernels::adamw() {
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

void TestCudaKernels::sums_data() {
    QTest::addColumn<int>("size");
    QTest::addColumn<int>("from");
    for (const auto& [size, from] : {std::pair{1, 0}, {5, 1}, {300'001, 0}, {300'001, 1}})
        QTest::addRow("%d from %d", size, from) << size << from;
}

void TestCudaKernels::sums() {
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

    auto some = numbers(size);
    some.back() = cuda::toBf16(std::numeric_limits<float>::infinity());
    some[some.size() / 2] = Bf16{0x7FC0};
    auto count = device(std::vector<std::int32_t>{-1});
    cuda::countNonFinite(count, device(some), size, *m_stream);
    QCOMPARE(count.read()[0], size == 1 ? 1 : 2);
}

void TestCudaKernels::gemm_data() {
    QTest::addColumn<int>("N");
    QTest::addColumn<int>("I");
    QTest::addColumn<int>("O");
    for (const auto& [N, I, O] : {std::array{1, 8, 16}, {3, 64, 40}, {33, 128, 72}, {100, 344, 128}})
        QTest::addRow("%dx%dx%d", N, I, O) << N << I << O;
}

void TestCudaKernels::gemm() {
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

void TestCudaKernels::attention_data() {
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

void TestCudaKernels::attention() {
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

void TestCudaKernels::attentionSeesNoFuture_data() {
    QTest::addColumn<QString>("kind");
    for (const std::string& kind : cuda::attentionKinds())
        QTest::addRow("%s", kind.c_str()) << QString::fromStdString(kind);
}

/// What comes after a token changes neither its output nor, without a gradient of its own, anything before it.
void TestCudaKernels::attentionSeesNoFuture() {
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

void TestCudaKernels::sameBitsTwice() {
    constexpr std::int64_t kN = 150, kC = 128;
    const auto x = device(numbers(kN * kC)), weight = device(numbers(kC)), dOut = device(numbers(kN * kC));
    auto out = device(poisonBf16(kN * kC)), dX = device(poisonBf16(kN * kC));
    auto r = device(poison<float>(kN));
    const auto scratch = device(poison<float>(static_cast<std::int64_t>(cuda::rmsNormScratch(kC)) / 4));
    const auto tokens = device(m_random.tokens(kN, 7));
    std::vector<std::vector<float>> norms, embeddings;
    cuda::rmsNormForward(out, r, x, weight, kN, kC, 1e-5F, *m_stream);
    for (int turn = 0; turn < 2; ++turn) {
        const auto dWeight = device(std::vector<float>(kC)), dEmbedding = device(std::vector<float>(7 * kC));
        cuda::rmsNormBackward(dX, dWeight, nullptr, dOut, x, weight, r, kN, kC, scratch, *m_stream);
        cuda::embeddingBackward(dEmbedding, dOut, tokens, {0, 7}, kN, kC, 1, *m_stream);
        norms.push_back(dWeight.read());
        embeddings.push_back(dEmbedding.read());
    }
    QVERIFY(norms[0] == norms[1]);
    QVERIFY(embeddings[0] == embeddings[1]);
}

void TestCudaKernels::graphRepeats() {
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

void TestCudaKernels::wrongSizesAreRefused() {
    QVERIFY_THROWS_EXCEPTION(std::invalid_argument,
                             cuda::rmsNormForward(nullptr, nullptr, nullptr, nullptr, 1, 12, 1, *m_stream));
    QVERIFY_THROWS_EXCEPTION(std::invalid_argument, cuda::swigluForward(nullptr, nullptr, 1, 12, *m_stream));
    QVERIFY_THROWS_EXCEPTION(std::invalid_argument, cuda::crossEntropyForward(nullptr, {nullptr, 1, 20, 20}, nullptr, *m_stream));
    QVERIFY_THROWS_EXCEPTION(std::invalid_argument, cuda::makeAttention("none"));
    const auto own = cuda::makeAttention("mma");
    QVERIFY_THROWS_EXCEPTION(std::invalid_argument,
                             own->forward(nullptr, nullptr, nullptr, {1, 8, 1, 32}, 1, nullptr, *m_stream));
}

QTEST_GUILESS_MAIN(TestCudaKernels)
#include "tst_cuda_kernels.moc"
