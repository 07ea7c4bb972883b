// SPDX-License-Identifier: Apache-2.0
// Where weights lie and what they start from.
#include <QtTest>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <stdexcept>

#include "model/model.h"
#include "model/parameter_layout.h"

using namespace telehelm;
using namespace telehelm::model;

namespace {

config::ModelConfig shapeOf(std::int64_t L, std::int64_t C, std::int64_t H, std::int64_t F, std::int64_t V, std::int64_t T) {
    config::ModelConfig shape;
    shape.layers = L;
    shape.hiddenSize = C;
    shape.attentionHeads = H;
    shape.ffnHiddenSize = F;
    shape.vocabSize = V;
    shape.contextLength = T;
    return shape;
}

struct Moments {
    double mean = 0, deviation = 0, smallest = 0, largest = 0, insideOneSigma = 0;
};

Moments momentsOf(std::span<const float> values, double sigma) {
    Moments m;
    const auto count = static_cast<double>(values.size());
    m.mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
    for (const float value : values) {
        m.deviation += (value - m.mean) * (value - m.mean) / count;
        m.insideOneSigma += std::abs(value) < sigma ? 1 / count : 0;
    }
    m.deviation = std::sqrt(m.deviation);
    m.smallest = *std::ranges::min_element(values);
    m.largest = *std::ranges::max_element(values);
    return m;
}

std::span<float> weightOf(Model& model, const std::string& name) {
    const auto found = std::ranges::find(model.layout(), name, &ParameterInfo::name);
    if (found == model.layout().end())
        throw std::runtime_error("no weight " + name);
    return model.parameters().subspan(static_cast<std::size_t>(found->offset), static_cast<std::size_t>(found->size));
}

} // namespace

class TestModelLayout : public QObject {
    Q_OBJECT

private slots:
    void weightsFollowEachOther();
    void groupsAreMuP();
    void countsTheReportsModel();
    void bufferIsPaddedTo64();
    void truncatedNormalStatistics_data();
    void truncatedNormalStatistics();
    void initialisationIsPure();
    void impossibleShapesAreRefused_data();
    void impossibleShapesAreRefused();
};

void TestModelLayout::weightsFollowEachOther() {
    const auto layout = parameterLayout(shapeOf(2, 8, 2, 6, 11, 5));
    std::set<std::string> names;
    std::int64_t next = 0;
    for (const ParameterInfo& info : layout) {
        QCOMPARE(info.offset, next);
        QCOMPARE(info.size, std::accumulate(info.shape.begin(), info.shape.end(), std::int64_t{1}, std::multiplies<>()));
        next += info.size;
        names.insert(info.name);
    }
    QCOMPARE(names.size(), layout.size());
    QCOMPARE(next, std::int64_t{2 * 11 * 8 + 2 * (4 * 64 + 3 * 8 * 6 + 2 * 8) + 8});
    const auto gateUp = std::ranges::find(layout, "layers.1.ffn.gate_up", &ParameterInfo::name);
    QVERIFY(gateUp != layout.end());
    QCOMPARE(gateUp->shape, (std::vector<std::int64_t>{12, 8}));
}

void TestModelLayout::groupsAreMuP() {
    for (const ParameterInfo& info : parameterLayout(shapeOf(2, 8, 2, 6, 11, 5))) {
        const bool linear = info.name.starts_with("layers.") && !info.name.ends_with("norm");
        QVERIFY2(info.matrixLike == linear, info.name.c_str());
    }
}

void TestModelLayout::countsTheReportsModel() {
    const auto layout = parameterLayout(shapeOf(64, 8192, 64, 21824, 80000, 4096)); // table 2
    const std::int64_t count = layout.back().offset + layout.back().size;
    QCOMPARE(count / 1'000'000, std::int64_t{52'817});
}

void TestModelLayout::bufferIsPaddedTo64() {
    const auto model = makeCpuModel(shapeOf(1, 6, 3, 5, 7, 4), 1, 1);
    const ParameterInfo& last = model->layout().back();
    QCOMPARE(model->parameters().size() % 64, std::size_t{0});
    QVERIFY(model->parameters().size() - static_cast<std::size_t>(last.offset + last.size) < 64);
    QCOMPARE(model->gradients().size(), model->parameters().size());
}

void TestModelLayout::truncatedNormalStatistics_data() {
    QTest::addColumn<QString>("name");
    QTest::addColumn<double>("sigma");
    for (const char* name : {"embedding", "head"})
        QTest::addRow("%s", name) << name << 0.03;
    for (const char* name : {"layers.0.attention.qkv", "layers.1.ffn.down"})
        QTest::addRow("%s", name) << name << 0.5;
}

void TestModelLayout::truncatedNormalStatistics() {
    QFETCH(QString, name);
    QFETCH(double, sigma);
    auto shape = shapeOf(2, 128, 2, 512, 600, 4);
    shape.standardDeviation = 0.03;
    shape.matrixStandardDeviation = 0.5;
    const auto model = makeCpuModel(shape, 1, 1);
    model->initialise(7); // fixed: bounds below are five standard errors for 49152 values and more
    const Moments m = momentsOf(weightOf(*model, name.toStdString()), sigma);
    QVERIFY2(std::abs(m.mean) < 0.02 * sigma, qPrintable(QString::number(m.mean)));
    QVERIFY2(std::abs(m.deviation / sigma - 0.87963) < 0.012, qPrintable(QString::number(m.deviation))); // of a normal cut at ± 2
    QVERIFY2(std::abs(m.insideOneSigma - 0.68269 / 0.95450) < 0.011, qPrintable(QString::number(m.insideOneSigma)));
    QVERIFY(m.smallest >= -2 * sigma * 1.000001 && m.largest <= 2 * sigma * 1.000001);
    QVERIFY(m.smallest < -1.98 * sigma && m.largest > 1.98 * sigma);
    QVERIFY(std::ranges::all_of(weightOf(*model, "layers.0.ffn.norm"), [](float value) { return value == 1.0F; }));
}

void TestModelLayout::initialisationIsPure() {
    const auto shape = shapeOf(2, 16, 2, 24, 20, 4);
    const auto one = makeCpuModel(shape, 1, 1), two = makeCpuModel(shape, 3, 2);
    one->initialise(5);
    two->initialise(6);
    QVERIFY(!std::ranges::equal(one->parameters(), two->parameters()));
    two->initialise(5);
    QVERIFY(std::ranges::equal(one->parameters(), two->parameters()));
    QVERIFY(!std::ranges::equal(weightOf(*one, "layers.0.attention.out"), weightOf(*one, "layers.1.attention.out")));
    // A weight's elements depend on its name and their index alone, so that a shard can fill its own part.
    const double expected = shape.matrixStandardDeviation * truncatedNormal(5, hashName("layers.1.ffn.down"), 17);
    QCOMPARE(weightOf(*one, "layers.1.ffn.down")[17], static_cast<float>(expected));
}

void TestModelLayout::impossibleShapesAreRefused_data() {
    QTest::addColumn<int>("C");
    QTest::addColumn<int>("H");
    QTest::addColumn<int>("microBatch");
    QTest::newRow("heads do not divide") << 10 << 3 << 1;
    QTest::newRow("odd head") << 6 << 2 << 1;
    QTest::newRow("no width") << 0 << 2 << 1;
    QTest::newRow("no batch") << 8 << 2 << 0;
}

void TestModelLayout::impossibleShapesAreRefused() {
    QFETCH(int, C);
    QFETCH(int, H);
    QFETCH(int, microBatch);
    QVERIFY_EXCEPTION_THROWN(static_cast<void>(makeCpuModel(shapeOf(1, C, H, 8, 8, 4), microBatch, 1)), std::invalid_argument);
}

QTEST_GUILESS_MAIN(TestModelLayout)
#include "tst_model_layout.moc"
