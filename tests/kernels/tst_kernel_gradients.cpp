// SPDX-License-Identifier: Apache-2.0
// Backward of every family of the reference against central finite differences, in double.
#include <QtTest>

#include <functional>
#include <numeric>

#include "kernel_test_support.h"
#include "telehelm/kernels/attention.h"
#include "telehelm/kernels/cross_entropy.h"
#include "telehelm/kernels/embedding.h"
#include "telehelm/kernels/linear.h"
#include "telehelm/kernels/rms_norm.h"
#include "telehelm/kernels/rope.h"
#include "telehelm/kernels/swiglu.h"

using namespace telehelm::kernels::reference;
using namespace telehelm::test;
using telehelm::kernels::AttentionShape;
using telehelm::kernels::LinearShape;
using telehelm::kernels::Output;
using telehelm::kernels::RopeShape;
using Values = std::vector<double>;

namespace {

/// h = 1e−5 leaves about h² of truncation and 1e−16 / h of rounding.
constexpr double kBound = 1e-8;

double dot(const Values& a, const Values& b) {
    return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

/// ∂ loss / ∂ x by central differences.
Values differences(Values x, const std::function<double(const Values&)>& loss) {
    constexpr double kStep = 1e-5;
    Values gradient(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
        const double middle = x[i];
        x[i] = middle + kStep;
        const double above = loss(x);
        x[i] = middle - kStep;
        gradient[i] = (above - loss(x)) / (2 * kStep);
        x[i] = middle;
    }
    return gradient;
}

Values zeros(std::size_t size) {
    return Values(size, 0.0);
}

} // namespace

class TestKernelGradients : public QObject {
    Q_OBJECT

private slots:
    void embedding();
    void rmsNorm();
    void rope();
    void swiglu();
    void attention();
    void crossEntropy();
    void linear();

private:
    Random m_random;
};

void TestKernelGradients::embedding() {
    const std::int64_t N = 6, C = 3, V = 4;
    const auto weight = m_random.normals<double>(V * C), dOut = m_random.normals<double>(N * C);
    const auto tokens = m_random.tokens(N, V);
    const auto loss = [&](const Values& w) {
        Values out = zeros(N * C);
        embeddingForward(out.data(), w.data(), tokens.data(), N, C, 0.7);
        return dot(out, dOut);
    };
    Values gradient = zeros(weight.size());
    embeddingBackward(gradient.data(), dOut.data(), tokens.data(), N, C, 0.7, 0, C);
    COMPARE_NEAR(gradient, differences(weight, loss), kBound);
}

void TestKernelGradients::rmsNorm() {
    const std::int64_t N = 4, C = 7;
    const auto x = m_random.normals<double>(N * C), weight = m_random.normals<double>(C), dOut = m_random.normals<double>(N * C);
    const auto residual = m_random.normals<double>(N * C);
    const auto loss = [&](const Values& at, const Values& w) {
        Values out = zeros(N * C), r = zeros(N);
        rmsNormForward(out.data(), r.data(), at.data(), w.data(), N, C, 0.1); // an epsilon that a mistake in it would show
        return dot(out, dOut) + dot(at, residual);
    };
    Values out = zeros(N * C), r = zeros(N), dX = zeros(N * C), dWeight = zeros(C);
    rmsNormForward(out.data(), r.data(), x.data(), weight.data(), N, C, 0.1);
    rmsNormBackward(dX.data(), dWeight.data(), residual.data(), dOut.data(), x.data(), weight.data(), r.data(), N, C);
    COMPARE_NEAR(dX, differences(x, [&](const Values& at) { return loss(at, weight); }), kBound);
    COMPARE_NEAR(dWeight, differences(weight, [&](const Values& at) { return loss(x, at); }), kBound);
}

void TestKernelGradients::rope() {
    const RopeShape shape{5, 1, 3, 2, 4};
    Values cos = zeros(6), sin = zeros(6);
    ropeTable(cos.data(), sin.data(), 3, 4, 10'000);
    const auto qkv = m_random.normals<double>(5 * 24), dOut = m_random.normals<double>(5 * 24);
    const auto loss = [&](Values at) {
        ropeForward(at.data(), cos.data(), sin.data(), shape);
        return dot(at, dOut);
    };
    Values gradient = dOut;
    ropeBackward(gradient.data(), cos.data(), sin.data(), shape);
    COMPARE_NEAR(gradient, differences(qkv, loss), kBound);
}

void TestKernelGradients::swiglu() {
    const std::int64_t N = 3, F = 5;
    const auto gateUp = m_random.normals<double>(N * 2 * F), dOut = m_random.normals<double>(N * F);
    const auto loss = [&](const Values& at) {
        Values out = zeros(N * F);
        swigluForward(out.data(), at.data(), N, F);
        return dot(out, dOut);
    };
    Values gradient = zeros(gateUp.size());
    swigluBackward(gradient.data(), dOut.data(), gateUp.data(), N, F);
    COMPARE_NEAR(gradient, differences(gateUp, loss), kBound);
}

void TestKernelGradients::attention() {
    const std::int64_t T = 6, D = 4;
    const AttentionShape shape{T, D, 3 * D, D};
    const auto qkv = m_random.normals<double>(T * 3 * D), dOut = m_random.normals<double>(T * D);
    Values out = zeros(T * D), lse = zeros(T), scratch = zeros(static_cast<std::size_t>(attentionScratch(shape)));
    const auto forward = [&](const Values& at) {
        attentionForward(out.data(), lse.data(), at.data(), at.data() + D, at.data() + 2 * D, shape, 0.6, scratch.data());
        return dot(out, dOut);
    };
    const Values expected = differences(qkv, forward);
    forward(qkv);
    Values d = zeros(qkv.size());
    attentionBackward(d.data(), d.data() + D, d.data() + 2 * D, dOut.data(), qkv.data(), qkv.data() + D, qkv.data() + 2 * D,
                      out.data(), lse.data(), shape, 0.6, scratch.data());
    COMPARE_NEAR(d, expected, kBound);
}

void TestKernelGradients::crossEntropy() {
    const std::int64_t N = 4, V = 9;
    const auto logits = m_random.normals<double>(N * V, 2);
    const auto targets = m_random.tokens(N, V);
    Values nats = zeros(N), gradient = logits;
    const auto loss = [&](const Values& at) {
        crossEntropyForward(nats.data(), at.data(), targets.data(), N, V);
        return 0.3 * std::accumulate(nats.begin(), nats.end(), 0.0);
    };
    crossEntropyForwardBackward(nats.data(), gradient.data(), targets.data(), N, V, 0.3);
    COMPARE_NEAR(gradient, differences(logits, loss), kBound);
}

void TestKernelGradients::linear() {
    const LinearShape shape{5, 3, 4};
    const auto x = m_random.normals<double>(15), weight = m_random.normals<double>(12), dY = m_random.normals<double>(20);
    const auto loss = [&](const Values& at, const Values& w) {
        Values y = zeros(20);
        linearForward(y.data(), at.data(), w.data(), shape, 0.7, Output::Overwrite);
        return dot(y, dY);
    };
    Values dX = zeros(15), dWeight = zeros(12);
    linearBackwardInput(dX.data(), dY.data(), weight.data(), shape, 0.7, Output::Overwrite);
    linearBackwardWeight(dWeight.data(), dY.data(), x.data(), shape, 0.7, 0, 4);
    COMPARE_NEAR(dX, differences(x, [&](const Values& at) { return loss(at, weight); }), kBound);
    COMPARE_NEAR(dWeight, differences(weight, [&](const Values& at) { return loss(x, at); }), kBound);
}

QTEST_GUILESS_MAIN(TestKernelGradients)
#include "tst_kernel_gradients.moc"
