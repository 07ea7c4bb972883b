// SPDX-License-Identifier: Apache-2.0
// Both ends of the vocabulary, embedding and loss, against the plain loops in double, on fresh random inputs rounded to bf16, at
// odd sizes, with poisoned outputs.
#include <array>

#include "cuda_test_support.h"
#include "telehelm/kernels/cross_entropy.h"
#include "telehelm/kernels/cuda/ops.h"
#include "telehelm/kernels/embedding.h"

using namespace telehelm::kernels;
using namespace telehelm::test;
namespace ref = telehelm::kernels::reference;

class TestCudaVocabulary : public CudaTest {
    Q_OBJECT

private slots:
    void initTestCase() { start(); }
    void embedding_data();
    void embedding();
    void embeddingBackward_data();
    void embeddingBackward();
    void embeddingOfText();
    void crossEntropy_data();
    void crossEntropy();
    void crossEntropyShowsNaN();
    void splitVocabulary();
    void wrongSizesAreRefused();
};

void TestCudaVocabulary::embedding_data() {
    QTest::addColumn<int>("N");
    QTest::addColumn<int>("V");
    QTest::addColumn<int>("C");
    for (const auto& [N, V, C] : {std::array{1, 3, 8},
                                  {200, 11, 24},
                                  {129, 40, 1032},
                                  {300, 300, 64},
                                  {2000, 3, 24},
                                  {150, 4, 2056},
                                  {140, 5, 4104},
                                  {40, 5, 16384}})
        QTest::addRow("N%d V%d C%d", N, V, C) << N << V << C;
}

void TestCudaVocabulary::embedding() {
    QFETCH(int, N);
    QFETCH(int, V);
    QFETCH(int, C);
    const auto weight = numbers(V * C);
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
}

/// Tokens of one of four kinds; negative ones and those from V on are other ranks'.
void TestCudaVocabulary::embeddingBackward_data() {
    QTest::addColumn<QString>("kind");
    QTest::addColumn<int>("N");
    QTest::addColumn<int>("V");
    QTest::addColumn<int>("C");
    for (const auto& [N, V, C] : {std::array{1, 3, 8},
                                  {200, 11, 24},
                                  {129, 40, 1032},
                                  {1023, 300, 64},
                                  {150, 4, 2056},
                                  {140, 5, 4104},
                                  {40, 5, 16384},
                                  {2500, 2500, 8}})
        QTest::addRow("random N%d V%d C%d", N, V, C) << "random" << N << V << C;
    QTest::newRow("all the same") << "same" << 5001 << 7 << 24;
    QTest::newRow("all different") << "different" << 1500 << 1500 << 8;
    QTest::newRow("three of 2,048, one bucket") << "bucket" << 5001 << 2050 << 16;
    QTest::newRow("none of this rank's") << "others" << 300 << 5 << 24;
}

void TestCudaVocabulary::embeddingBackward() {
    QFETCH(QString, kind);
    QFETCH(int, N);
    QFETCH(int, V);
    QFETCH(int, C);
    auto tokens = m_random.tokens(N, V + 4);
    for (int n = 0; n < N; ++n) {
        std::int32_t& token = tokens[static_cast<std::size_t>(n)];
        token = kind == "same" ? 3 : kind == "different" ? (n * 7 + 1) % N : kind == "bucket" ? token % 3 * 1024 : token - 2;
        token += kind == "others" ? V + 2 : 0;
    }
    constexpr int kFirst = 100; // of this rank's tokens
    const auto dOut = numbers(std::int64_t{N} * C);
    const auto dOutWide = widen(dOut);
    const auto before = m_random.normals<float>(std::int64_t{V} * C);
    auto expected = widen(before);
    std::vector<bool> isHit(static_cast<std::size_t>(V));
    for (int n = 0; n < N; ++n) {
        std::int32_t& token = tokens[static_cast<std::size_t>(n)];
        if (token >= 0 && token < V) {
            ref::embeddingBackward(expected.data(), dOutWide.data() + std::int64_t{n} * C, &token, 1, C, 1.5, 0, C);
            isHit[static_cast<std::size_t>(token)] = true;
        }
        token += kFirst;
    }
    const auto tokensD = device(tokens);
    const auto dOutD = device(dOut);
    std::vector<std::vector<float>> found;
    for (int turn = 0; turn < 2; ++turn) {
        const auto dWeight = device(before);
        cuda::embeddingBackward(dWeight, dOutD, tokensD, {kFirst, V}, N, C, 1.5F, *m_stream);
        found.push_back(dWeight.read());
    }
    QVERIFY(found[0] == found[1]);
    COMPARE_NEAR(found[0], expected, kFloatBound);
    for (int token = 0; token < V; ++token)
        for (std::int64_t at = std::int64_t{token} * C; at < (token + std::int64_t{1}) * C; ++at)
            if (!isHit[static_cast<std::size_t>(token)])
                QCOMPARE(found[0][static_cast<std::size_t>(at)], before[static_cast<std::size_t>(at)]);
}

/// As many tokens as a large micro-batch has, the k-th of them 1 / k as frequent as the first; this rank has some of the frequent
/// ones.
void TestCudaVocabulary::embeddingOfText() {
    constexpr std::int64_t kN = 65'536, kV = 4096, kOwn = 128, kC = 8;
    std::vector<std::int32_t> tokens;
    for (const std::int32_t number : m_random.tokens(kN, 1 << 20))
        tokens.push_back(static_cast<std::int32_t>(std::pow(kV, number / 1048576.0)) - 1);
    const auto dOut = numbers(kN * kC);
    const auto dWeight = device(std::vector<float>(kOwn * kC));
    cuda::embeddingBackward(dWeight, device(dOut), device(tokens), {1, kOwn}, kN, kC, 1, *m_stream);
    std::vector<double> expected(kV * kC);
    ref::embeddingBackward(expected.data(), widen(dOut).data(), tokens.data(), kN, kC, 1.0, 0, kC);
    COMPARE_NEAR(dWeight.read(), std::vector<double>(expected.begin() + kC, expected.begin() + (1 + kOwn) * kC), kFloatBound);
}

void TestCudaVocabulary::crossEntropy_data() {
    QTest::addColumn<int>("N");
    QTest::addColumn<int>("V");
    // 24,000 logits fill 48 KB of shared memory, more than that together with what the kernel has of its own.
    for (const auto& [N, V] : {std::pair{1, 1}, {3, 7}, {9, 272}, {5, 4099}, {2, 9001}, {2, 24'000}, {1, 60'001}})
        QTest::addRow("N%d V%d", N, V) << N << V;
}

void TestCudaVocabulary::crossEntropy() {
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

void TestCudaVocabulary::crossEntropyShowsNaN() {
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
void TestCudaVocabulary::splitVocabulary() {
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

void TestCudaVocabulary::wrongSizesAreRefused() {
    QVERIFY_THROWS_EXCEPTION(std::invalid_argument, cuda::crossEntropyForward(nullptr, {nullptr, 1, 20, 20}, nullptr, *m_stream));
}

QTEST_GUILESS_MAIN(TestCudaVocabulary)
#include "tst_cuda_vocabulary.moc"
