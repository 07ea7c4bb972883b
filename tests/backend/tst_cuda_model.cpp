// SPDX-License-Identifier: Apache-2.0
// The engine on a device against the CPU's: loss, every gradient tensor, training, resume, parts of a pipeline, tensor ranks.
// Built twice, for a device and over the kernels' own sources on the host (tst_cuda_model_on_host), where sizes and steps are
// few: it is slow there.
#include <QtTest>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <thread>

#include <QTemporaryDir>

#include "comm/device_communicator.h"
#include "data/corpus.h"
#include "kernel_test_support.h"
#include "model/cuda_model.h"
#include "model/device_state.h"
#include "model/provenance.h"
#include "telehelm/kernels/cuda/attention.h"
#include "telehelm/kernels/device.h"
#include "train/device_optimizer.h"
#include "train/step_engine.h"
#include "trainer_rig.h"

using namespace telehelm;
using namespace telehelm::model;
using namespace telehelm::test;

namespace {

config::ModelConfig smallShape() {
    config::ModelConfig shape;
    shape.layers = 2;
    shape.hiddenSize = 128;
    shape.attentionHeads = 2;
    shape.ffnHiddenSize = 80;
    shape.vocabSize = 48;
    shape.contextLength = 20;
    shape.inputMult = 1.7;
    shape.outputMult = 0.6;
    shape.normEpsilon = 1e-3; // not so small that a mistake in it would hide
    shape.standardDeviation = 0.3;
    shape.matrixStandardDeviation = 0.08;
    return shape;
}

/// Scores that differ, norms that are not 1, and only numbers that bf16 has: both engines see the same weights.
void fillParameters(Model& model, Random& random) {
    const auto noise = random.normals<float>(static_cast<std::int64_t>(model.parameters().size()), 0.08);
    for (const ParameterInfo& info : model.layout())
        for (std::int64_t i = info.offset; i < info.offset + info.size; ++i)
            model.parameters()[static_cast<std::size_t>(i)] = kernels::cuda::toFloat(
                kernels::cuda::toBf16(noise[static_cast<std::size_t>(i)] + (info.shape.size() == 1 ? 1.0F : 0.0F)));
    model.takeParameters();
}

void copyParameters(Model& to, Model& from) {
    std::ranges::copy(from.parameters(), to.parameters().begin());
    to.takeParameters();
}

std::vector<float> copyOf(std::span<const float> values) {
    return {values.begin(), values.end()};
}

/// bf16 activations: each tensor's gradient is off by about 1 %. A term left out or a wrong row gives 10 % and more.
constexpr double kGradientBound = 0.03;

void compareGradients(Model& found, Model& expected) {
    for (const ParameterInfo& info : found.layout()) {
        const auto offset = static_cast<std::size_t>(info.offset), size = static_cast<std::size_t>(info.size);
        const double error = relativeError(found.gradients().subspan(offset, size), expected.gradients().subspan(offset, size));
        QVERIFY2(error < kGradientBound, qPrintable(QString("%1: %2").arg(info.name.c_str()).arg(error)));
    }
}

config::RunConfig trainingConfig(const QString& corpus, const char* device, bool isEmulated) {
    config::RunConfig config = tests::parsed(tests::tinyConfig(corpus.toStdString()));
    config.device = device;
    config.model.hiddenSize = 64;
    config.model.attentionHeads = 1;
    if (isEmulated) {
        config.batch.sequences = 2;
        config.validation.everySteps = 0;
    }
    return config;
}

} // namespace

class TestCudaModel : public QObject {
    Q_OBJECT

private slots:
    void initTestCase();
    void matchesTheCpu_data();
    void matchesTheCpu();
    void graphsRecomputationAndPartsGiveTheSameBits();
    void theHostMayRunAhead();
    void evaluateIsTheLoss();
    void stagesOfAPipeline();
    void tensorRanks_data();
    void tensorRanks();
    void dataRanks();
    void normsOfOthersMustBeFinite_data();
    void normsOfOthersMustBeFinite();
    void foreignTokensAreRefused();
    void shapesAreRefused();
    void blamesTheTensor();
    void trainsAsTheCpuDoes();
    void learnsTheDemoAsTheCpuDoes();
    void resumesBitForBit();
    void checkpointsLoadOnTheOtherDevice();

private:
    std::vector<std::int32_t> tokens(const config::ModelConfig& shape, std::int64_t sequences) {
        return m_random.tokens(sequences * shape.contextLength, shape.vocabSize);
    }
    void compareCurves(config::RunConfig config, const QString& name, double bound);
    static CudaOptions options() { return {.attention = kernels::cuda::attentionKinds().front()}; }

    Random m_random;
    QTemporaryDir m_dir;
    bool m_isEmulated = false;
};

void TestCudaModel::initTestCase() {
    const kernels::CudaReport report = kernels::cudaReport();
    if (report.devices.empty())
        QSKIP(qPrintable(QString("no CUDA device: %1").arg(report.whyNone.c_str())));
    m_isEmulated = report.driverVersion.empty();
    tests::makeTinyCorpus((m_dir.path() + "/corpus").toStdString());
}

void TestCudaModel::matchesTheCpu_data() {
    QTest::addColumn<QString>("attention");
    for (const std::string& kind : kernels::cuda::attentionKinds())
        QTest::addRow("%s", kind.c_str()) << QString::fromStdString(kind);
}

void TestCudaModel::matchesTheCpu() {
    QFETCH(QString, attention);
    const config::ModelConfig shape = smallShape();
    const auto onCpu = makeCpuModel(shape, 2, 1), onDevice = makeCudaModel(shape, 2, {}, {.attention = attention.toStdString()});
    fillParameters(*onDevice, m_random);
    copyParameters(*onCpu, *onDevice);
    for (const std::int64_t sequences : {2, 1}) { // gradients are added to; the second finds what the first left in the arena
        const auto inputs = tokens(shape, sequences), targets = tokens(shape, sequences);
        const double nats = onDevice->trainMicroBatch(inputs, targets, 0.3F),
                     expected = onCpu->trainMicroBatch(inputs, targets, 0.3F);
        QVERIFY2(std::abs(nats - expected) <= 3e-3 * expected, qPrintable(QString("%1 %2").arg(nats).arg(expected)));
    }
    compareGradients(*onDevice, *onCpu);
}

void TestCudaModel::graphsRecomputationAndPartsGiveTheSameBits() {
    const config::ModelConfig shape = smallShape();
    const auto inputs = tokens(shape, 1), targets = tokens(shape, 1);
    std::vector<float> first, start;
    double firstNats = 0;
    for (const auto& [recompute, graphs] :
         {std::pair{Recompute::None, false}, {Recompute::None, true}, {Recompute::Selective, false}, {Recompute::Full, true}}) {
        CudaOptions own = options();
        own.graphs = graphs;
        const auto model = makeCudaModel(shape, 1, {.recompute = recompute}, own);
        if (start.empty()) {
            fillParameters(*model, m_random);
            start = copyOf(model->parameters());
        }
        std::ranges::copy(start, model->parameters().begin());
        model->takeParameters();
        double nats = 0;
        for (int round = 0; round < 3; ++round) { // as it is, recorded, launched again
            model->device()->clearGradients();
            nats = model->trainMicroBatch(inputs, targets, 1.0F);
        }
        if (first.empty()) {
            first = copyOf(model->gradients());
            firstNats = nats;
        }
        QCOMPARE(nats, firstNats);
        QVERIFY(std::ranges::equal(model->gradients(), first));
    }
}

/// More micro-batches than tokens have places for: the same bits as when each is waited for.
void TestCudaModel::theHostMayRunAhead() {
    config::ModelConfig shape = smallShape();
    shape.layers = 1;
    shape.hiddenSize = 64;
    shape.attentionHeads = 1;
    const auto model = makeCudaModel(shape, 1, {}, options());
    fillParameters(*model, m_random);
    std::vector<std::vector<std::int32_t>> inputs, targets;
    for (int i = 0; i < 19; ++i) {
        inputs.push_back(tokens(shape, 1));
        targets.push_back(tokens(shape, 1));
    }
    std::array<double, 2> nats{};
    std::array<std::vector<float>, 2> gradients;
    for (const std::size_t keeps : {0U, 1U}) {
        model->device()->keepNats(keeps == 1);
        model->device()->clearGradients();
        for (std::size_t i = 0; i < inputs.size(); ++i) {
            const std::vector<std::int32_t> ownInputs = inputs[i], ownTargets = targets[i]; // gone after the call
            const double own = model->trainMicroBatch(ownInputs, ownTargets, 0.1F);
            QVERIFY((own == 0) == (keeps == 1));
            nats[keeps] += own;
        }
        nats[keeps] += model->device()->takeNats();
        gradients[keeps] = copyOf(model->gradients());
    }
    QCOMPARE(nats[1], nats[0]);
    QVERIFY(gradients[1] == gradients[0]);
    QCOMPARE(model->device()->takeNats(), 0.0);
}

void TestCudaModel::evaluateIsTheLoss() {
    const config::ModelConfig shape = smallShape();
    const auto model = makeCudaModel(shape, 1, {}, options());
    fillParameters(*model, m_random);
    const auto inputs = tokens(shape, 1), targets = tokens(shape, 1);
    auto nats = poison<float>(shape.contextLength);
    model->evaluate(inputs, targets, nats);
    QVERIFY(std::ranges::all_of(model->gradients(), [](float value) { return value == 0; }));
    const double sum = std::accumulate(nats.begin(), nats.end(), 0.0), trained = model->trainMicroBatch(inputs, targets, 1);
    QVERIFY2(std::abs(sum - trained) < 1e-5 * trained, qPrintable(QString("%1 %2").arg(sum).arg(trained)));
}

/// Two stages, what passes between them copied on the device: the same bits as one engine.
void TestCudaModel::stagesOfAPipeline() {
    const config::ModelConfig shape = smallShape();
    const auto whole = makeCudaModel(shape, 1, {}, options());
    fillParameters(*whole, m_random);
    const auto stage = [&](int index) {
        ParallelShape parallel{
            .pipeline = 2, .stage = index, .chunks = {{index, 1}}, .hasEmbedding = index == 0, .hasHead = index == 1};
        auto model = makeCudaModel(shape, 1, {.parallel = parallel, .inFlight = {2}}, options());
        const std::int64_t from = index == 0 ? 0 : whole->layout()[7].offset; // behind embedding and six weights of a layer
        const auto size = static_cast<std::int64_t>(model->layout().back().offset + model->layout().back().size);
        std::copy_n(whole->parameters().begin() + from, size, model->parameters().begin());
        model->takeParameters();
        return model;
    };
    const auto front = stage(0), back = stage(1);
    const auto pass = [&](kernels::cuda::Bf16* to, const kernels::cuda::Bf16* from) {
        front->device()->stream().synchronize();
        kernels::cuda::copyOnDevice(to, from, static_cast<std::size_t>(back->boundarySize(1)) * sizeof *to, back->device()->stream());
        back->device()->stream().synchronize();
    };
    double nats = 0, expected = 0;
    std::vector<std::vector<std::int32_t>> inputs, targets;
    for (int slot = 0; slot < 2; ++slot) { // two micro-batches in flight
        inputs.push_back(tokens(shape, 1));
        targets.push_back(tokens(shape, 1));
        expected += whole->trainMicroBatch(inputs.back(), targets.back(), 0.5F);
        front->forwardPart(0, slot, inputs.back(), targets.back());
        pass(back->device()->partInputData(0, slot), front->device()->partOutputData(0, slot));
        back->forwardPart(0, slot, inputs.back(), targets.back());
    }
    for (int slot = 0; slot < 2; ++slot) {
        const auto at = static_cast<std::size_t>(slot);
        nats += back->backwardPart(0, slot, inputs[at], targets[at], 0.5F);
        pass(front->device()->boundaryGradientData(), back->device()->boundaryGradientData());
        front->backwardPart(0, slot, inputs[at], targets[at], 0.5F);
    }
    QCOMPARE(nats, expected);
    QVERIFY_THROWS_EXCEPTION(std::logic_error, static_cast<void>(front->partOutput(0, 0)));
    const auto offset = static_cast<std::size_t>(whole->layout()[7].offset);
    QVERIFY(std::ranges::equal(front->gradients().first(offset), whole->gradients().first(offset)));
    const std::size_t rest = static_cast<std::size_t>(whole->layout().back().offset + whole->layout().back().size) - offset;
    QVERIFY(std::ranges::equal(back->gradients().first(rest), whole->gradients().subspan(offset, rest)));
}

void TestCudaModel::tensorRanks_data() {
    QTest::addColumn<bool>("sequence");
    QTest::newRow("tensor") << false;
    QTest::newRow("sequence") << true;
}

/// Two ranks of one device, staged through the host, against the CPU's single rank.
void TestCudaModel::tensorRanks() {
    QFETCH(bool, sequence);
    const config::ModelConfig shape = smallShape();
    const auto onCpu = makeCpuModel(shape, 1, 1), source = makeCudaModel(shape, 1, {}, options());
    fillParameters(*source, m_random);
    copyParameters(*onCpu, *source);
    const auto inputs = tokens(shape, 1), targets = tokens(shape, 1);
    const double expected = onCpu->trainMicroBatch(inputs, targets, 0.5F);
    auto communicators = comm::makeThreadCommunicators(2);
    std::array<double, 2> nats{};
    std::array<std::vector<float>, 2> gradients;
    std::array<std::vector<ParameterInfo>, 2> layouts;
    const auto rank = [&](int index) {
        const auto at = static_cast<std::size_t>(index);
        const auto own = comm::makeStagedCommunicator(*communicators[at], "tensor");
        CudaOptions with = options();
        with.tensor = own.get();
        const auto model = makeCudaModel(shape, 1, {.parallel = {.tensor = 2, .tensorRank = index, .sequence = sequence}}, with);
        for (std::size_t i = 0; i < model->layout().size(); ++i) {
            const ParameterInfo& info = model->layout()[i];
            for (std::int64_t j = 0; j < info.size; ++j)
                model->parameters()[static_cast<std::size_t>(info.offset + j)] =
                    onCpu->parameters()[static_cast<std::size_t>(onCpu->layout()[i].offset + info.globalIndex(j))];
        }
        model->takeParameters();
        nats[at] = model->trainMicroBatch(inputs, targets, 0.5F);
        gradients[at] = copyOf(model->gradients());
        layouts[at] = model->layout();
    };
    std::thread other(rank, 1);
    rank(0);
    other.join();
    QCOMPARE(nats[0], nats[1]);
    QVERIFY2(std::abs(nats[0] - expected) <= 3e-3 * expected, qPrintable(QString("%1 %2").arg(nats[0]).arg(expected)));
    for (std::size_t i = 0; i < layouts[0].size(); ++i) {
        const ParameterInfo& whole = onCpu->layout()[i];
        std::vector<float> found(static_cast<std::size_t>(whole.size));
        for (std::size_t part = 0; part < 2; ++part) {
            const ParameterInfo& info = layouts[part][i];
            for (std::int64_t j = 0; j < info.size; ++j) {
                float& place = found[static_cast<std::size_t>(info.globalIndex(j))];
                const float value = gradients[part][static_cast<std::size_t>(info.offset + j)];
                place = info.replicatedOverTensor() && sequence ? place + value : value; // each rank saw only its rows
            }
        }
        const double error = relativeError(
            found, onCpu->gradients().subspan(static_cast<std::size_t>(whole.offset), static_cast<std::size_t>(whole.size)));
        QVERIFY2(error < kGradientBound, qPrintable(QString("%1: %2").arg(whole.name.c_str()).arg(error)));
    }
}

/// Two ranks that share the optimizer's state against one that has it all: norm, update, and a shard's way to the host and back.
void TestCudaModel::dataRanks() {
    const config::ModelConfig shape = smallShape();
    config::OptimizerConfig optimizer;
    optimizer.epsilon = 1e-4; // sums in another order must not turn a gradient near 0 over
    optimizer.weightDecay = 0.1;
    const optim::Rates rates{.vector = 0.01, .matrix = 0.02};
    const std::array inputs = {tokens(shape, 1), tokens(shape, 1)}, targets = {tokens(shape, 1), tokens(shape, 1)};
    const auto whole = makeCudaModel(shape, 1, {}, options());
    fillParameters(*whole, m_random);
    const std::vector<float> start = copyOf(whole->parameters());
    train::DeviceClock clock(whole->device()->stream());
    train::DeviceOptimizer alone(*whole, {}, optimizer, false, true, clock);
    alone.clearGradients();
    for (std::size_t rank = 0; rank < 2; ++rank)
        whole->trainMicroBatch(inputs[rank], targets[rank], 0.5F);
    alone.reduceGradients();
    const double expected = alone.ownSquares();
    alone.update(1, rates, 0.7F);

    auto communicators = comm::makeThreadCommunicators(2);
    std::array<double, 2> squares{};
    std::array<std::vector<float>, 2> parameters, again;
    std::int64_t shard = 0;
    std::array<std::size_t, 2> heldBytes{}; // master weights and moments
    const auto rank = [&](int index) {
        const auto at = static_cast<std::size_t>(index);
        const auto data = comm::makeStagedCommunicator(*communicators[at], "data");
        CudaOptions with = options();
        with.dataRanks = 2;
        with.dataRank = index;
        const auto model = makeCudaModel(shape, 1, {}, with);
        std::ranges::copy(start, model->parameters().begin());
        model->takeParameters();
        train::DeviceClock ownClock(model->device()->stream());
        train::DeviceOptimizer own(*model, {.data = data.get()}, optimizer, false, true, ownClock);
        own.clearGradients();
        model->trainMicroBatch(inputs[at], targets[at], 0.5F);
        own.reduceGradients();
        squares[at] = own.ownSquares();
        own.update(1, rates, 0.7F);
        own.settle();
        parameters[at] = copyOf(model->parameters());
        static_cast<void>(own.shards());
        const std::vector<float> nothing(parameters[at].size(), 0.0F);
        model->device()->upload(DeviceState::Buffer::Parameters, 0, nothing);
        own.takeShards();
        again[at] = copyOf(model->parameters());
        if (index == 0)
            shard = model->device()->ownTo(0) - model->device()->ownFrom(0); // one bucket
        heldBytes[at] = model->device()->shardBytes();
    };
    std::thread other(rank, 1);
    rank(0);
    other.join();
    QVERIFY2(std::abs(squares[0] + squares[1] - expected) < 1e-5 * expected,
             qPrintable(QString::number(squares[0] + squares[1])));
    QVERIFY(squares[0] > 0 && squares[1] > 0);
    QVERIFY(again == parameters);
    QVERIFY2(2 * shard < std::ssize(start) + 128, qPrintable(QString::number(shard)));
    QVERIFY(heldBytes[0] == static_cast<std::size_t>(shard) * 12 && heldBytes[1] == heldBytes[0]);
    const std::vector<float> updated = copyOf(whole->parameters());
    std::vector<float> moved, movedAlone;
    for (std::size_t i = 0; i < start.size(); ++i) {
        const std::size_t owner = static_cast<std::int64_t>(i) < shard ? 0 : 1;
        const float master = parameters[owner][i]; // the other one has it rounded
        QCOMPARE(parameters[1 - owner][i], kernels::cuda::toFloat(kernels::cuda::toBf16(master)));
        moved.push_back(master - start[i]);
        movedAlone.push_back(updated[i] - start[i]);
    }
    COMPARE_NEAR(moved, movedAlone, 1e-3);
}

void TestCudaModel::normsOfOthersMustBeFinite_data() {
    QTest::addColumn<QString>("weight");
    QTest::addColumn<float>("value");
    QTest::newRow("NaN in a norm") << "layers.1.ffn.norm" << std::numeric_limits<float>::quiet_NaN();
    QTest::newRow("infinity in the last norm") << "norm" << std::numeric_limits<float>::infinity();
    QTest::newRow("NaN in a matrix") << "layers.0.attention.qkv" << std::numeric_limits<float>::quiet_NaN();
}

/// A tensor rank that leaves the norms to the first one for the global norm must still tell that one of theirs is not finite here.
void TestCudaModel::normsOfOthersMustBeFinite() {
    QFETCH(QString, weight);
    QFETCH(float, value);
    const config::ModelConfig shape = smallShape();
    const auto model = makeCudaModel(shape, 1, {}, options());
    train::DeviceClock clock(model->device()->stream());
    train::DeviceOptimizer second(*model, {}, {}, false, false, clock);
    const std::vector<float> ones(model->parameters().size(), 1.0F);
    model->device()->upload(DeviceState::Buffer::Gradients, 0, ones);
    std::int64_t counted = 0;
    for (const ParameterInfo& info : model->layout())
        counted += info.replicatedOverTensor() ? 0 : info.size;
    QCOMPARE(second.ownSquares(), static_cast<double>(counted));
    const auto found = std::ranges::find(model->layout(), weight.toStdString(), &ParameterInfo::name);
    model->device()->upload(DeviceState::Buffer::Gradients, found->offset + found->size - 1, std::span(&value, 1));
    QVERIFY(!std::isfinite(second.ownSquares()));
}

void TestCudaModel::foreignTokensAreRefused() {
    const config::ModelConfig shape = smallShape();
    const auto model = makeCudaModel(shape, 1, {}, options());
    std::vector<std::int32_t> good(static_cast<std::size_t>(shape.contextLength)), bad = good;
    bad[4] = static_cast<std::int32_t>(shape.vocabSize);
    QVERIFY_THROWS_EXCEPTION(std::out_of_range, model->trainMicroBatch(bad, good, 1));
    bad[4] = -1;
    QVERIFY_THROWS_EXCEPTION(std::out_of_range, model->trainMicroBatch(good, bad, 1));
    QVERIFY_THROWS_EXCEPTION(std::out_of_range, model->trainMicroBatch(std::span(good).first(3), std::span(good).first(3), 1));
}

void TestCudaModel::shapesAreRefused() {
    config::ModelConfig shape = smallShape();
    shape.attentionHeads = 4; // of 32
    QVERIFY_THROWS_EXCEPTION(std::invalid_argument, checkCudaShape(shape, 1));
    shape = smallShape();
    shape.vocabSize = 50;
    QVERIFY_THROWS_EXCEPTION(std::invalid_argument, checkCudaShape(shape, 1));
    shape = smallShape();
    shape.ffnHiddenSize = 72; // 36 on each of two
    QVERIFY_THROWS_EXCEPTION(std::invalid_argument, checkCudaShape(shape, 2));
    shape = smallShape();
    QVERIFY_THROWS_EXCEPTION(std::invalid_argument, makeCudaModel(shape, 0, {}, options()));
}

void TestCudaModel::blamesTheTensor() {
    const config::ModelConfig shape = smallShape();
    const auto model = makeCudaModel(shape, 1, {}, options());
    fillParameters(*model, m_random);
    const auto found = std::ranges::find(model->layout(), "layers.1.ffn.gate_up", &ParameterInfo::name);
    model->parameters()[static_cast<std::size_t>(found->offset)] = std::numeric_limits<float>::quiet_NaN();
    model->takeParameters();
    const auto inputs = tokens(shape, 1), targets = tokens(shape, 1);
    QVERIFY(std::isnan(model->trainMicroBatch(inputs, targets, 1)));
    const auto first = firstNonFinite(*model, shape.layers);
    QVERIFY(first.has_value());
    QCOMPARE(first->tensor, std::string("layers.1.ffn.gate_up"));
    QVERIFY(first->weightIsBad);
}

/// The same data, rates and weights on both: bf16 alone sets the curves apart.
void TestCudaModel::compareCurves(config::RunConfig config, const QString& name, double bound) {
    std::array<std::vector<double>, 2> losses;
    for (const std::size_t device : {0U, 1U}) {
        config.device = device == 0 ? "cpu" : "cuda";
        tests::RecordingLink link;
        tests::runTraining(config, (m_dir.path() + "/" + name + "-" + config.device.c_str()).toStdString(), link);
        losses[device] = link.values("train/loss");
    }
    QCOMPARE(losses[0].size(), static_cast<std::size_t>(config.steps));
    QCOMPARE(losses[1].size(), losses[0].size());
    QVERIFY2(losses[1].back() < losses[1].front(), "it must learn");
    double worst = 0;
    for (std::size_t step = 0; step < losses[0].size(); ++step) {
        const double off = std::abs(losses[0][step] - losses[1][step]) / losses[0][step];
        QVERIFY2(off < bound, qPrintable(QString("step %1: CPU %2, device %3").arg(step + 1).arg(losses[0][step]).arg(losses[1][step])));
        worst = std::max(worst, off);
    }
    qInfo("%lld steps, loss %.4f to %.4f, worst difference %.2g", static_cast<long long>(config.steps), losses[1].front(), losses[1].back(), worst);
}

void TestCudaModel::trainsAsTheCpuDoes() {
    config::RunConfig config = trainingConfig(m_dir.path() + "/corpus", "cpu", m_isEmulated);
    config.steps = m_isEmulated ? 5 : 200;
    compareCurves(config, "curve", 0.02);
}

/// 200 steps of the demo's own model on its own text, or on the slice of it that a pack has; half of its batch, for a pack's CPU
/// has a slow BLAS.
void TestCudaModel::learnsTheDemoAsTheCpuDoes() {
    if (m_isEmulated)
        QSKIP("no CUDA device: hours on a played one");
    const std::filesystem::path corpus = config::demoCorpusDir();
    if (!data::openCorpus(corpus))
        QSKIP(qPrintable(QString("no demo corpus in %1: telehelm-data demo makes it").arg(corpus.c_str())));
    auto config = config::loadRunConfig(qEnvironmentVariable("TELEHELM_SOURCE").toStdString() + "/configs/demo_cpu.toml");
    QVERIFY2(config, config ? "" : config.error().text().c_str());
    config->parallel.data = 1;
    config->data.corpus = corpus.string();
    config->batch.sequences = 4;
    config->batch.microSequences = 2;
    config->steps = 200;
    config->validation.everySteps = 0;
    compareCurves(*config, "demo", 0.02);
}

void TestCudaModel::resumesBitForBit() {
    config::RunConfig config = trainingConfig(m_dir.path() + "/corpus", "cuda", m_isEmulated);
    config.steps = m_isEmulated ? 2 : 20;
    const std::int64_t half = config.steps / 2;
    const std::string folder = m_dir.path().toStdString() + "/resume";
    tests::RecordingLink straightLink, firstLink, secondLink;
    const auto straight = tests::runTraining(config, folder + "-straight", straightLink);
    tests::runTraining(config, folder, firstLink, 1, [&](train::TrainerOptions& options) { options.lastStep = half; });
    const auto resumed = tests::runTraining(config, folder, secondLink);
    QCOMPARE(secondLink.values("train/loss").size(), static_cast<std::size_t>(config.steps - half));
    QCOMPARE(secondLink.values("train/loss").back(), straightLink.values("train/loss").back());
    QVERIFY(resumed.parameters == straight.parameters);
}

/// A checkpoint of a device goes on with the CPU, and one of the CPU with a device.
void TestCudaModel::checkpointsLoadOnTheOtherDevice() {
    for (const char* first : {"cuda", "cpu"}) {
        config::RunConfig config = trainingConfig(m_dir.path() + "/corpus", first, m_isEmulated);
        config.steps = 2;
        const std::string folder = m_dir.path().toStdString() + "/from-" + first;
        tests::RecordingLink firstLink, secondLink, straightLink;
        tests::runTraining(config, folder + "-straight", straightLink);
        tests::runTraining(config, folder, firstLink, 1, [](train::TrainerOptions& options) { options.lastStep = 1; });
        config.device = std::string(first) == "cpu" ? "cuda" : "cpu";
        tests::runTraining(config, folder, secondLink);
        const auto straight = straightLink.values("train/loss"), rest = secondLink.values("train/loss");
        QCOMPARE(rest.size(), std::size_t{1});
        QVERIFY2(std::abs(rest.back() - straight.back()) < 0.01 * straight.back(),
                 qPrintable(QString("%1 %2").arg(rest.back()).arg(straight.back())));
    }
}

QTEST_GUILESS_MAIN(TestCudaModel)
#include "tst_cuda_model.moc"
