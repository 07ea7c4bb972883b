// SPDX-License-Identifier: Apache-2.0
// Tensor × pipeline × data ranks that share one device through the staged adapter, whole training runs: against one rank.
#include <QtTest>

#include <QTemporaryDir>

#include "checkpoint_values.h"
#include "telehelm/kernels/cuda/attention.h"
#include "telehelm/kernels/device.h"
#include "trainer_rig.h"

using namespace telehelm;
using namespace telehelm::tests;

namespace {

/// What a step's gradients were: Adam's first moment after step 1 is (1 − β₁) times them, wherever they were computed.
using Gradients = std::map<std::string, std::vector<float>>;

double distance(const std::vector<float>& found, const std::vector<float>& expected) {
    double off = 0, all = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
        off += std::pow(static_cast<double>(found[i]) - static_cast<double>(expected[i]), 2);
        all += std::pow(static_cast<double>(expected[i]), 2);
    }
    return std::sqrt(off / all);
}

} // namespace

class TestCudaRanks : public QObject {
    Q_OBJECT

private slots:
    void initTestCase();
    void trainAsOne_data();
    void trainAsOne();
    void resumeBitForBit();

private:
    struct Mesh {
        int tensor = 1, pipeline = 1, data = 1, chunks = 1;
    };
    struct Outcome {
        std::vector<double> losses, norms;
        Gradients gradients; // of step 1
        std::vector<std::vector<float>> weights;
    };
    [[nodiscard]] config::RunConfig config(const Mesh& mesh) const;
    [[nodiscard]] std::filesystem::path path(const std::string& name) const { return m_dir.path().toStdString() + "/" + name; }
    Training runRanks(const config::RunConfig& config, const std::string& name, RecordingLink& link, std::int64_t last = 0) const;
    [[nodiscard]] Outcome train(const config::RunConfig& config, const std::string& name) const;
    [[nodiscard]] Gradients gradientsOf(const std::filesystem::path& checkpoint, const config::ModelConfig& shape) const;

    QTemporaryDir m_dir;
    bool m_isEmulated = false;
    std::string m_attention;
};

void TestCudaRanks::initTestCase() {
    const kernels::CudaReport report = kernels::cudaReport();
    if (report.devices.empty())
        QSKIP(qPrintable(QString("no CUDA device: %1").arg(report.whyNone.c_str())));
    m_isEmulated = report.driverVersion.empty();
    m_attention = kernels::cuda::attentionKinds().front(); // one for all that are compared
    makeTinyCorpus(path("corpus"));
}

config::RunConfig TestCudaRanks::config(const Mesh& mesh) const {
    config::RunConfig config = parsed(tinyConfig(path("corpus")));
    config.device = "cuda";
    config.steps = m_isEmulated ? 2 : 50;
    config.model.layers = 4;
    config.model.hiddenSize = m_isEmulated ? 128 : 512;
    config.model.attentionHeads = m_isEmulated ? 2 : 8;
    config.model.ffnHiddenSize = m_isEmulated ? 64 : 1376;
    config.model.vocabSize = 288;
    config.model.contextLength = m_isEmulated ? 16 : 512;
    config.batch.sequences = 4;
    config.validation.everySteps = 0;
    config.checkpoint.everySteps = 1;
    config.checkpoint.keepLast = static_cast<int>(config.steps);
    config.parallel.tensor = mesh.tensor;
    config.parallel.sequence = mesh.tensor > 1;
    config.parallel.pipeline = mesh.pipeline;
    config.parallel.data = mesh.data;
    config.parallel.chunks = mesh.chunks;
    config.parallel.schedule = mesh.chunks > 1 ? "interleaved" : "1f1b";
    return config;
}

Gradients TestCudaRanks::gradientsOf(const std::filesystem::path& checkpoint, const config::ModelConfig& shape) const {
    const std::vector<float> values = checkpointValues(checkpoint, shape);
    const auto first = values.begin() + std::ssize(values) / 3;
    Gradients gradients;
    for (const model::ParameterInfo& info : model::parameterLayout(shape))
        gradients[info.name].assign(first + info.offset, first + info.offset + info.size);
    return gradients;
}

/// All on device 0. Ends after step `last`, or with the run.
Training TestCudaRanks::runRanks(const config::RunConfig& config, const std::string& name, RecordingLink& link, std::int64_t last) const {
    return runTraining(config, path(name), link, 1, [&](train::TrainerOptions& options) {
        options.attention = m_attention;
        options.device = {.index = 0, .isShared = config.parallel.ranks() > 1};
        options.lastStep = last;
    });
}

TestCudaRanks::Outcome TestCudaRanks::train(const config::RunConfig& config, const std::string& name) const {
    RecordingLink link;
    Training training = runRanks(config, name, link);
    return {.losses = link.values("train/loss"),
            .norms = link.values("train/grad_norm"),
            .gradients = gradientsOf(path(name) / train::checkpointName(1, 1), config.model),
            .weights = std::move(training.ofAllRanks)};
}

void TestCudaRanks::trainAsOne_data() {
    QTest::addColumn<QList<int>>("mesh");
    if (!m_isEmulated) {
        QTest::newRow("tensor 2") << QList<int>{2, 1, 1, 1};
        QTest::newRow("pipeline 2") << QList<int>{1, 2, 1, 1};
        QTest::newRow("data 2") << QList<int>{1, 1, 2, 1};
        QTest::newRow("tensor 4, pipeline 2") << QList<int>{4, 2, 1, 1};
    }
    QTest::newRow("pipeline 2, data 2, interleaved") << QList<int>{1, 2, 2, 2};
    QTest::newRow("tensor 2, pipeline 2, data 2") << QList<int>{2, 2, 2, 1};
}

/// Each rank rounds its products to bf16 (2⁻⁸) where one rank rounds the whole sum; a lost rank or micro-batch would be off by 0.3
/// and more.
void TestCudaRanks::trainAsOne() {
    QFETCH(QList<int>, mesh);
    static const Outcome one = train(config({}), "one");
    const Outcome found = train(config({.tensor = mesh[0], .pipeline = mesh[1], .data = mesh[2], .chunks = mesh[3]}), QTest::currentDataTag());
    const double bound = mesh[0] > 1 ? 0.03 : mesh[2] > 1 ? 1e-4 : 1e-6;
    QCOMPARE(found.gradients.size(), one.gradients.size());
    double worst = 0;
    for (const auto& [name, expected] : one.gradients) {
        const double off = distance(found.gradients.at(name), expected);
        QVERIFY2(off < bound, qPrintable(QString("%1: off by %2").arg(name.c_str()).arg(off))); // not if NaN
        worst = std::max(worst, off);
    }
    qInfo("worst gradient: %.2g", worst);
    QCOMPARE(found.losses.size(), one.losses.size());
    QVERIFY(one.losses.back() < one.losses.front());
    for (std::size_t step = 0; step < one.losses.size(); ++step)
        QVERIFY2(std::abs(found.losses[step] - one.losses[step]) < 0.01 * one.losses[step],
                 qPrintable(QString("step %1: one rank %2, mesh %3").arg(step + 1).arg(one.losses[step]).arg(found.losses[step])));
    QVERIFY2(std::abs(found.norms[0] - one.norms[0]) < bound * one.norms[0], qPrintable(QString("%1 %2").arg(one.norms[0]).arg(found.norms[0])));
}

void TestCudaRanks::resumeBitForBit() {
    const config::RunConfig cut = config({.tensor = 2, .pipeline = 2, .data = 2});
    const Outcome straight = train(cut, "straight");
    const std::int64_t middle = cut.steps / 2;
    RecordingLink first, second;
    runRanks(cut, "halves", first, middle);
    QCOMPARE(first.values("train/loss").size(), static_cast<std::size_t>(middle));
    const Training resumed = runRanks(cut, "halves", second);
    QCOMPARE(second.values("train/loss"), std::vector<double>(straight.losses.begin() + middle, straight.losses.end()));
    QVERIFY(resumed.ofAllRanks == straight.weights);
}

QTEST_GUILESS_MAIN(TestCudaRanks)
#include "tst_cuda_ranks.moc"
