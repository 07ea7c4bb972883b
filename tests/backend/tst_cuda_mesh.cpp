// SPDX-License-Identifier: Apache-2.0
// Whole runs of the device's engine on meshes: its kernels on the host, ranks as threads, and in NCCL's place a communicator that
// goes around the watched ones.
#include <QtTest>

#include <filesystem>
#include <mutex>
#include <numeric>
#include <set>

#include <QTemporaryDir>

#include "checkpoint_values.h"
#include "comm/device_communicator.h"
#include "gpu.h"
#include "mesh_rig.h"
#include "model/cuda_model.h"
#include "parallel/plan.h"
#include "telehelm/ipc/rank_page.h"
#include "telehelm/ipc/types.h"
#include "telehelm/kernels/cuda/attention.h"
#include "telehelm/kernels/cuda/gemm.h"
#include "train/checkpoint_loader.h"
#include "train/device_mesh.h"
#include "trainer_rig.h"

using namespace telehelm;
using namespace telehelm::tests;

namespace {

std::atomic<bool> g_hasNccl{true};
std::atomic<int> g_aborted{0};
/// What a rank's thread does whenever it waits for its device.
thread_local std::function<void(const std::string& axis)> t_onWait;

/// Takes its messages past whoever listens to the host's communicator.
class PlayedNccl final : public comm::DeviceCommunicator {
public:
    PlayedNccl(comm::Communicator& host, const std::string& axis)
        : m_host(host.split(0, host.rank())), m_staged(comm::makeStagedCommunicator(*m_host, axis)) {}

    [[nodiscard]] int rank() const override { return m_staged->rank(); }
    [[nodiscard]] int size() const override { return m_staged->size(); }
    [[nodiscard]] const std::string& axis() const override { return m_staged->axis(); }
    [[nodiscard]] bool isRecordable() const override { return false; }
    [[nodiscard]] std::unique_ptr<DeviceCommunicator> split(int, int, std::string) override {
        throw std::logic_error("nobody splits it");
    }
    void allReduce(void* data, std::size_t count, comm::DeviceType type, comm::Reduce op, const Stream& stream) override {
        m_staged->allReduce(data, count, type, op, stream);
    }
    void reduceScatter(const void* in, void* out, std::size_t count, comm::DeviceType type, const Stream& stream) override {
        m_staged->reduceScatter(in, out, count, type, stream);
    }
    void allGather(const void* in, void* out, std::size_t count, comm::DeviceType type, const Stream& stream) override {
        m_staged->allGather(in, out, count, type, stream);
    }
    void broadcast(void* data, std::size_t bytes, int root, const Stream& stream) override {
        m_staged->broadcast(data, bytes, root, stream);
    }
    void send(const void* data, std::size_t bytes, int to, const Stream& stream) override {
        m_staged->send(data, bytes, to, stream);
    }
    void recv(void* data, std::size_t bytes, int from, const Stream& stream) override {
        m_staged->recv(data, bytes, from, stream);
    }
    void exchange(std::span<const comm::DeviceSend> sends, std::span<const comm::DeviceRecv> recvs, const Stream& stream) override {
        m_staged->exchange(sends, recvs, stream);
    }
    void wait(const kernels::cuda::Event& mark) override {
        tell();
        m_staged->wait(mark);
    }
    void abort() override { ++g_aborted; }
    void wait(const Stream& stream) override {
        tell();
        m_staged->wait(stream);
    }

private:
    void tell() const {
        if (t_onWait) {
            t_onWait(axis());
        }
    }
    const std::unique_ptr<comm::Communicator> m_host;
    const std::unique_ptr<comm::DeviceCommunicator> m_staged;
};

} // namespace

namespace telehelm::comm {
std::string ncclVersion() {
    return g_hasNccl ? "2.0.0" : "";
}
Result<std::unique_ptr<DeviceCommunicator>> makeNcclCommunicator(Communicator& host, std::string axis, NcclOptions) {
    return std::make_unique<PlayedNccl>(host, axis);
}
} // namespace telehelm::comm

namespace {

struct Mesh {
    int tensor = 1, pipeline = 1, data = 1, chunks = 1;
};

config::RunConfig deviceConfig(const std::filesystem::path& corpus, const Mesh& mesh) {
    config::RunConfig config = parsed(tinyConfig(corpus));
    config.device = "cuda";
    config.steps = 2;
    config.model.layers = 2;
    config.model.hiddenSize = 128;
    config.model.attentionHeads = 2;
    config.model.contextLength = 16;
    config.batch.sequences = 2;
    config.validation.everySteps = 0;
    config.parallel.tensor = mesh.tensor;
    config.parallel.pipeline = mesh.pipeline;
    config.parallel.data = mesh.data;
    config.parallel.chunks = mesh.chunks;
    config.parallel.schedule = mesh.chunks > 1 ? "interleaved" : "1f1b";
    return config;
}

/// With one attention kernel for all that are compared.
Training trainOn(const config::RunConfig& config, const std::filesystem::path& checkpoints, RecordingLink& link, std::uint32_t attempt = 1,
               const std::function<void(train::TrainerOptions&)>& adjust = [](train::TrainerOptions&) {}) {
    return runTraining(config, checkpoints, link, attempt, [&](train::TrainerOptions& options) {
        options.attention = "mma";
        adjust(options);
    });
}

} // namespace

class TestCudaMesh : public QObject {
    Q_OBJECT

private slots:
    void initTestCase() { makeTinyCorpus(path("corpus")); }
    void init() { g_hasNccl = true; }
    void cleanup() { kernels::cuda::host::orderStreams(kernels::cuda::host::Order::Late); }
    void whoWaitsIsOnThePage_data();
    void whoWaitsIsOnThePage();
    void dataRanksTrainAsOne();
    void bucketsGiveTheSameBits();
    void dataRanksResumeBitForBit();
    void checkpointsKeepTheirBits();
    void nanIsTracedToItsOrigin_data();
    void nanIsTracedToItsOrigin();
    void driftOfAReplicaIsFound();
    void pipelinesTrainAsOne_data();
    void pipelinesTrainAsOne();
    void streamsMayRunInAnyOrder_data();
    void streamsMayRunInAnyOrder();
    void timesAreTheDevices();
    void deviceAllocatesWhatThePlanCounts_data();
    void deviceAllocatesWhatThePlanCounts();
    void ranksShareADeviceByItsId();
    void aResumeKeepsTheKernel_data();
    void aResumeKeepsTheKernel();

private:
    [[nodiscard]] std::filesystem::path path(const std::string& name) const { return m_dir.path().toStdString() + "/" + name; }
    /// Loads the checkpoint on that mesh and saves it again as it is; the new one's folder.
    std::filesystem::path saveAgain(const std::filesystem::path& checkpoint, config::RunConfig config, const std::string& name);
    [[nodiscard]] config::RunConfig config(const Mesh& mesh) const { return deviceConfig(path("corpus"), mesh); }
    QTemporaryDir m_dir;
    std::uint32_t m_attempt = 1; // one that saved a checkpoint does not save it again
};

void TestCudaMesh::whoWaitsIsOnThePage_data() {
    QTest::addColumn<QList<int>>("mesh");
    QTest::addColumn<QString>("axis");
    QTest::newRow("tensor") << QList<int>{2, 1, 1} << "tensor";
    QTest::newRow("data") << QList<int>{1, 1, 2} << "data";
    QTest::newRow("pipeline") << QList<int>{1, 2, 1} << "pipeline";
}

/// A rank whose device waits for its peers says so, and no more once it goes on: else nobody could tell which rank hangs.
void TestCudaMesh::whoWaitsIsOnThePage() {
    QFETCH(QList<int>, mesh);
    QFETCH(QString, axis);
    const config::RunConfig config = this->config({.tensor = mesh[0], .pipeline = mesh[1], .data = mesh[2]});
    const std::filesystem::path file = path("ranks-" + axis.toStdString());
    std::mutex mutex;
    std::vector<std::unique_ptr<ipc::RankPage>> pages;
    std::size_t waits = 0, silent = 0, talking = 0;
    RecordingLink link;
    trainOn(config, path("page-" + axis.toStdString()), link, 1, [&](train::TrainerOptions& options) {
        const std::lock_guard lock(mutex);
        const std::size_t line = pages.size();
        pages.push_back(std::make_unique<ipc::RankPage>(ipc::RankPage::open(file, static_cast<int>(line)).value()));
        options.page = pages.back().get();
        t_onWait = [&, line](const std::string& onAxis) {
            const bool isTalking = ipc::readRankPlaces(file).at(line).isTalking;
            const std::lock_guard counting(mutex);
            waits += onAxis.starts_with(axis.toStdString()) ? 1 : 0;
            silent += isTalking ? 0 : 1;
        };
        options.stopRequested = [&, line] { // between two steps
            const bool isTalking = ipc::readRankPlaces(file).at(line).isTalking;
            const std::lock_guard counting(mutex);
            talking += isTalking ? 1 : 0;
            return false;
        };
    });
    QVERIFY(waits >= 4);
    QCOMPARE(silent, std::size_t{0});
    QCOMPARE(talking, std::size_t{0});
}

/// Two ranks' halves of the batch are summed in fp32; weights differ from one rank's by that alone.
void TestCudaMesh::dataRanksTrainAsOne() {
    std::array<std::vector<double>, 2> losses;
    for (const int data : {1, 2}) {
        RecordingLink link;
        config::RunConfig config = this->config({.data = data});
        config.steps = 3;
        trainOn(config, path("data-" + std::to_string(data)), link);
        losses[static_cast<std::size_t>(data - 1)] = link.values("train/loss");
    }
    QCOMPARE(losses[0].size(), std::size_t{3});
    QVERIFY(losses[0][2] < losses[0][0]);
    for (std::size_t step = 0; step < 3; ++step)
        QVERIFY2(std::abs(losses[0][step] - losses[1][step]) < 2e-3 * losses[0][step],
                 qPrintable(QString("%1 %2").arg(losses[0][step]).arg(losses[1][step])));
}

/// Whatever is exchanged at once, and beside what: many buckets that begin and end within weights, reduced in the midst of the last
/// backward and gathered in the midst of the next forward, against one that has nothing beside it, in any order of the streams.
void TestCudaMesh::bucketsGiveTheSameBits() {
    using kernels::cuda::host::Order;
    config::RunConfig config = this->config({.data = 2});
    config.model.hiddenSize = 64;
    config.model.attentionHeads = 1;
    config.model.ffnHiddenSize = 32;
    config.batch.sequences = 4;
    config.batch.microSequences = 1;
    config.optimizer.clipGrad = 0; // else the norm's order of summing would show
    std::vector<Training> trainings;
    std::vector<std::vector<double>> norms;
    for (const auto& [bytes, order] : {std::pair{std::int64_t{1} << 28, Order::Late}, {20'000, Order::Late}, {20'000, Order::Early}, {20'000, Order::Shuffled}}) {
        config.parallel.bucketBytes = bytes;
        kernels::cuda::host::orderStreams(order);
        RecordingLink link;
        trainings.push_back(trainOn(config, path("buckets-" + std::to_string(trainings.size())), link));
        norms.push_back(link.values(ipc::series::kGradNorm));
    }
    QCOMPARE(norms[0].size(), std::size_t{2});
    QCOMPARE(norms[2], norms[1]);
    QCOMPARE(norms[3], norms[1]);
    for (std::size_t step = 0; step < 2; ++step)
        QVERIFY2(std::abs(norms[1][step] - norms[0][step]) < 1e-6 * norms[0][step], qPrintable(QString("%1 %2").arg(norms[1][step]).arg(norms[0][step])));
    // A rank has its own blocks in fp32 and the other's in bf16: what is alike whoever owns it.
    const auto rounded = [](const Training& training, std::size_t rank) {
        std::vector<kernels::cuda::Bf16> values;
        std::ranges::transform(training.ofAllRanks[rank], std::back_inserter(values), kernels::cuda::toBf16);
        return values;
    };
    for (const Training& training : trainings)
        for (const std::size_t rank : {0U, 1U})
            QVERIFY(rounded(training, rank) == rounded(trainings[0], 0));
    QVERIFY(trainings[2].ofAllRanks == trainings[1].ofAllRanks);
    QVERIFY(trainings[3].ofAllRanks == trainings[1].ofAllRanks);
}

void TestCudaMesh::dataRanksResumeBitForBit() {
    config::RunConfig config = this->config({.data = 2});
    config.parallel.bucketBytes = 100'000; // several shards of a checkpoint on each rank
    RecordingLink link;
    const Training straight = trainOn(config, path("straight"), link);
    trainOn(config, path("halves"), link, 1, [](train::TrainerOptions& options) { options.lastStep = 1; });
    const Training resumed = trainOn(config, path("halves"), link);
    QVERIFY(resumed.ofAllRanks == straight.ofAllRanks);
    const std::vector<float>&first = straight.ofAllRanks[0], &second = straight.ofAllRanks[1];
    for (std::size_t i = 0; i < first.size(); ++i)
        QCOMPARE(kernels::cuda::toBf16(first[i]), kernels::cuda::toBf16(second[i]));
}

std::filesystem::path TestCudaMesh::saveAgain(const std::filesystem::path& checkpoint, config::RunConfig config,
                                              const std::string& name) {
    config.resume.checkpoint = checkpoint.string();
    RecordingLink link;
    trainOn(config, path(name), link, ++m_attempt, [](train::TrainerOptions& options) { options.stopRequested = [] { return true; }; });
    return path(name) / train::checkpointName(m_attempt, 1);
}

/// From the CPU to two data ranks of devices, to two tensor ranks of devices, and back to the CPU: weights and moments, bit for bit.
void TestCudaMesh::checkpointsKeepTheirBits() {
    config::RunConfig onCpu = config({});
    onCpu.device = "cpu";
    RecordingLink link;
    trainOn(onCpu, path("cpu"), link, 1, [](train::TrainerOptions& options) { options.lastStep = 1; });
    const std::filesystem::path first = path("cpu") / train::checkpointName(1, 1);
    const std::vector<float> values = checkpointValues(first, onCpu.model);
    QVERIFY(std::ranges::any_of(values, [](float value) { return kernels::cuda::toFloat(kernels::cuda::toBf16(value)) != value; }));
    const auto second = saveAgain(first, config({.data = 2}), "data-ranks");
    QVERIFY(checkpointValues(second, onCpu.model) == values);
    const auto third = saveAgain(second, config({.tensor = 2}), "tensor-ranks");
    QVERIFY(checkpointValues(third, onCpu.model) == values);
    QVERIFY(checkpointValues(saveAgain(third, onCpu, "cpu-again"), onCpu.model) == values);
}

void TestCudaMesh::nanIsTracedToItsOrigin_data() {
    QTest::addColumn<QList<int>>("mesh");
    QTest::addColumn<QString>("direction");
    QTest::addColumn<int>("rank");
    QTest::addColumn<QString>("tensor");
    QTest::newRow("alone") << QList<int>{1, 1, 1} << "backward" << 0 << "layers.1.ffn.down";
    QTest::newRow("data, the rank that does not own the weight") << QList<int>{1, 1, 2} << "backward" << 1 << "layers.0.attention.qkv";
    QTest::newRow("data, weight") << QList<int>{1, 1, 2} << "forward" << 1 << "layers.0.attention.qkv";
    QTest::newRow("tensor, a norm that the first rank counts") << QList<int>{2, 1, 1} << "backward" << 1 << "layers.1.ffn.norm";
    QTest::newRow("pipeline") << QList<int>{1, 2, 1} << "backward" << 1 << "layers.1.attention.out";
    QTest::newRow("pipeline, embedding") << QList<int>{1, 2, 1} << "backward" << 0 << "embedding";
}

/// The step is skipped, the event says where it began, and the weights are as before.
void TestCudaMesh::nanIsTracedToItsOrigin() {
    QFETCH(QList<int>, mesh);
    QFETCH(QString, direction);
    QFETCH(int, rank);
    QFETCH(QString, tensor);
    config::RunConfig config = this->config({.tensor = mesh[0], .pipeline = mesh[1], .data = mesh[2]});
    const bool isBackward = direction == "backward", isInLayer = tensor.startsWith("layers.");
    const int layer = isInLayer ? tensor.mid(7, 1).toInt() : -1, microBatch = isBackward && mesh[2] == 1 ? 1 : 0;
    config.faults.attempt = 1;
    config.faults.nanStep = 1;
    config.faults.nanRank = rank;
    config.faults.nanDirection = direction.toStdString();
    config.faults.nanMicroBatch = microBatch;
    config.faults.nanTensor = isInLayer ? tensor.mid(9).toStdString() : tensor.toStdString();
    config.faults.nanLayer = std::max(layer, 0);
    const std::string name = QTest::currentDataTag();
    RecordingLink link, healthyLink;
    const Training one = trainOn(config, path("nan-" + name), link, 1, [](train::TrainerOptions& options) { options.lastStep = 1; });
    const auto events = link.eventsOf(ipc::EventKind::StepSkipped);
    QCOMPARE(events.size(), std::size_t{1});
    const auto fact = [&](const char* key) { return QString::fromStdString(events[0].facts.at(key)); };
    QCOMPARE(fact("rank"), QString::number(rank));
    QCOMPARE(fact("stage"), QString::number(mesh[1] == 2 ? rank : 0));
    QCOMPARE(fact("layer"), QString::number(layer));
    QCOMPARE(fact("micro_batch"), QString::number(microBatch));
    QCOMPARE(fact("tensor"), tensor);
    QCOMPARE(fact("direction"), direction);
    QCOMPARE(fact("weight_is_bad"), QString(isBackward ? "no" : "yes"));
    for (const std::vector<float>& parameters : one.ofAllRanks)
        QVERIFY(std::ranges::all_of(parameters, [](float value) { return std::isfinite(value); }));
}

void TestCudaMesh::driftOfAReplicaIsFound() {
    config::RunConfig config = this->config({.tensor = 2});
    config.parallel.checkReplicasEvery = 1;
    config.faults.attempt = 1;
    config.faults.driftStep = 1;
    config.faults.driftRank = 1;
    RecordingLink link;
    g_aborted = 0;
    try {
        trainOn(config, path("drift"), link);
    } catch (const std::runtime_error& error) {
        QCOMPARE(g_aborted.load(), 2); // else a rank that fails would wait for its device, and that for the other rank
        QVERIFY2(QString(error.what()).startsWith("after step 1 layers.0.attention.norm is not the same on rank 0"), error.what());
        return;
    }
    QFAIL("it went on");
}

void TestCudaMesh::pipelinesTrainAsOne_data() {
    QTest::addColumn<QList<int>>("mesh");
    QTest::newRow("two stages") << QList<int>{1, 2, 1};
    QTest::newRow("two stages, two chunks") << QList<int>{1, 2, 2};
    QTest::newRow("three stages, one chunk") << QList<int>{1, 3, 1};
    QTest::newRow("one stage, two chunks") << QList<int>{1, 1, 2};
    QTest::newRow("two stages of two tensor ranks, sequence parallel") << QList<int>{2, 2, 1};
}

/// What passes between stages is bf16 that was bf16 before: loss and weights as on one rank, and NCCL's way gives the bits of the
/// staged one.
void TestCudaMesh::pipelinesTrainAsOne() {
    QFETCH(QList<int>, mesh);
    const auto run = [&](const Mesh& cut, const char* name) {
        config::RunConfig config = this->config(cut);
        config.model.layers = 4;
        config.model.ffnHiddenSize = 64;
        config.batch.sequences = 4;
        config.parallel.sequence = cut.tensor > 1;
        config.validation.everySteps = 2;
        config.validation.sequencesPerDomain = 1;
        RecordingLink link;
        const Training training = trainOn(config, path(std::string("pipeline-") + QTest::currentDataTag() + name), link);
        return std::tuple(link.values("train/loss"), link.values("valid/loss/WebText"), training.ofAllRanks);
    };
    const Mesh cut{.tensor = mesh[0], .pipeline = mesh[1], .chunks = mesh[2]};
    const auto [alone, validAlone, weights] = run({}, "-alone");
    const auto [losses, valid, parts] = run(cut, "-nccl");
    QCOMPARE(losses.size(), std::size_t{2});
    const double bound = cut.tensor > 1 ? 2e-3 : 1e-6; // tensor ranks round their sums
    for (std::size_t step = 0; step < 2; ++step)
        QVERIFY2(std::abs(losses[step] - alone[step]) < bound * alone[step], qPrintable(QString("%1 %2").arg(losses[step]).arg(alone[step])));
    QCOMPARE(valid.size(), validAlone.size());
    QVERIFY(!valid.empty());
    QVERIFY2(std::abs(valid.back() - validAlone.back()) < 2e-3 * valid.back(), qPrintable(QString("%1 %2").arg(valid.back()).arg(validAlone.back())));
    if (mesh[1] > 1) {
        g_hasNccl = false;
        const auto staged = run(cut, "-staged");
        QCOMPARE(std::get<0>(staged), losses);
        QVERIFY(std::get<2>(staged) == parts);
    }
}

void TestCudaMesh::streamsMayRunInAnyOrder_data() {
    QTest::addColumn<QList<int>>("mesh");
    QTest::newRow("two stages, two chunks") << QList<int>{1, 2, 1, 2};
    QTest::newRow("two stages of two data ranks") << QList<int>{1, 2, 2, 1};
}

/// What an event orders comes in its order whatever runs first, and what none orders shows in one of them.
void TestCudaMesh::streamsMayRunInAnyOrder() {
    QFETCH(QList<int>, mesh);
    using kernels::cuda::host::Order;
    config::RunConfig config = this->config({.tensor = mesh[0], .pipeline = mesh[1], .data = mesh[2], .chunks = mesh[3]});
    config.model.layers = 4;
    config.model.hiddenSize = 64;
    config.model.attentionHeads = 1;
    config.model.ffnHiddenSize = 32;
    config.batch.sequences = 4 * mesh[2];
    std::vector<Training> trainings;
    std::vector<std::vector<double>> losses;
    for (const Order order : {Order::Late, Order::Early, Order::Shuffled}) {
        kernels::cuda::host::orderStreams(order);
        RecordingLink link;
        trainings.push_back(trainOn(config, path(std::string("order-") + QTest::currentDataTag() + std::to_string(static_cast<int>(order))), link));
        losses.push_back(link.values("train/loss"));
    }
    QCOMPARE(losses[0].size(), std::size_t{2});
    QCOMPARE(losses[1], losses[0]);
    QCOMPARE(losses[2], losses[0]);
    QVERIFY(trainings[1].ofAllRanks == trainings[0].ofAllRanks);
    QVERIFY(trainings[2].ofAllRanks == trainings[0].ofAllRanks);
}

/// The host hands work over long before it is done; phases are what the device was busy with.
void TestCudaMesh::timesAreTheDevices() {
    config::RunConfig config = this->config({.pipeline = 2});
    config.telemetry.rankEverySteps = 1;
    config.steps = 3;
    RecordingLink link;
    trainOn(config, path("times"), link);
    for (const std::string rank : {"rank/0/", "rank/1/"}) {
        const auto mean = [&](const char* series) {
            const auto values = link.values(rank + series);
            return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
        };
        const double forward = mean("forward_ms"), backward = mean("backward_ms"), step = mean("step_ms");
        QVERIFY2(forward > step / 20 && backward > step / 20, qPrintable(QString("%1 and %2 of %3 ms").arg(forward).arg(backward).arg(step)));
        QVERIFY2(forward + backward <= step, qPrintable(QString("%1 and %2 of %3 ms").arg(forward).arg(backward).arg(step)));
        const auto bubbles = link.values(rank + "bubble_ms");
        QVERIFY(std::ranges::all_of(bubbles, [](double ms) { return ms > 0; }));
    }
}

void TestCudaMesh::deviceAllocatesWhatThePlanCounts_data() {
    QTest::addColumn<QString>("recompute");
    QTest::addColumn<QList<int>>("mesh");
    for (const QList<int>& mesh : {QList<int>{1, 1, 1, 1}, {2, 1, 1, 1}, {1, 2, 1, 1}, {1, 1, 3, 1}, {2, 2, 2, 1}, {1, 2, 1, 2}, {1, 1, 1, 2}})
        for (const char* recompute : {"none", "selective", "full"})
            QTest::addRow("tensor %d pipeline %d data %d chunks %d, %s", mesh[0], mesh[1], mesh[2], mesh[3], recompute) << recompute << mesh;
}

/// What the engine says and what it has asked the device for, byte for byte. Sizes are multiples of the arena's grain.
void TestCudaMesh::deviceAllocatesWhatThePlanCounts() {
    QFETCH(QString, recompute);
    QFETCH(QList<int>, mesh);
    config::RunConfig config = this->config({.tensor = mesh[0], .pipeline = mesh[1], .data = mesh[2], .chunks = mesh[3]});
    config.model.layers = 4;
    config.model.ffnHiddenSize = 192;
    config.model.vocabSize = 320;
    config.model.contextLength = 128;
    config.batch.sequences = 4 * mesh[2];
    config.parallel.sequence = mesh[0] > 1;
    config.parallel.recompute = recompute.toStdString();
    const auto plan = parallel::makePlan(config);
    QVERIFY2(plan, plan ? "" : plan.error().text().c_str());
    const std::string failure = runRanks(config.parallel.ranks(), [&](std::unique_ptr<comm::Communicator> world) {
        train::StepWatch watch;
        train::AxisListener listener(watch, parallel::Axis::Tensor);
        const parallel::Mesh own(*parallel::MeshShape::make(config.parallel, world->size()), *world);
        train::DeviceMesh devices(own, {}, mesh[3] > 1, {.tensor = listener, .data = listener, .pipeline = listener});
        const std::size_t before = kernels::cuda::host::allocated();
        const auto model = model::makeCudaModel(config.model, config.microSequences(), train::PipelineRunner::placement(config, own),
                                                {.attention = kernels::cuda::attentionKinds().front(),
                                                 .tensor = devices.axes().tensor,
                                                 .dataRanks = own.data().size(),
                                                 .dataRank = own.data().rank(),
                                                 .bucketBytes = config.parallel.bucketBytesOn("cuda")});
        const auto sampler = patternSampler();
        train::StepEngine engine(config, *model, *sampler, own, 1, devices.axes());
        const std::size_t allocated = kernels::cuda::host::allocated() - before;
        const parallel::StagePlan& planned = plan->stages[static_cast<std::size_t>(own.own().pipeline)];
        const train::EngineMemory memory = engine.memory();
        const auto same = [](const char* what, std::size_t is, std::int64_t meant) {
            if (static_cast<std::int64_t>(is) != meant)
                throw std::runtime_error(std::string(what) + ": " + std::to_string(is) + " bytes, planned " + std::to_string(meant));
        };
        same("weights", memory.parameters, planned.parameterBytes);
        same("gradients", memory.gradients, planned.gradientBytes);
        same("optimizer", memory.optimizer, planned.optimizerBytes);
        same("activations", memory.activations, planned.activationBytes[static_cast<std::size_t>(plan->recompute)] + planned.workBytes);
        same("messages", memory.messages, planned.messageBytes);
        // cuBLASLt's workspace is not there on the host.
        same("all", allocated + kernels::cuda::Gemm::kWorkspaceBytes, planned.totalBytes(plan->recompute));
    });
    QCOMPARE(QString::fromStdString(failure), QString());
}

/// Slurm may show each rank one device: all of them are number 0, and NCCL is the right way between them.
void TestCudaMesh::ranksShareADeviceByItsId() {
    struct Case {
        std::array<std::vector<kernels::CudaDevice>, 2> seen;
        std::array<const char*, 2> hosts;
        std::array<int, 2> index;
        bool isShared;
    };
    const auto device = [](int index, const char* id) {
        kernels::CudaDevice made;
        made.index = index;
        made.id = id;
        return made;
    };
    const kernels::CudaDevice a = device(0, "a"), b = device(0, "b"), second = device(1, "b");
    const std::vector<Case> cases = {{{{{a}, {b}}}, {"x", "x"}, {0, 0}, false},
                                     {{{{a}, {a}}}, {"x", "x"}, {0, 0}, true},
                                     {{{{a, second}, {a, second}}}, {"x", "x"}, {0, 1}, false},
                                     {{{{a}, {a}}}, {"x", "y"}, {0, 0}, false}};
    for (const Case& each : cases) {
        const std::string failure = runRanks(2, [&](std::unique_ptr<comm::Communicator> world) {
            const auto rank = static_cast<std::size_t>(world->rank());
            const train::DevicePlace place = train::devicePlace(*world, each.hosts[rank], each.seen[rank]);
            if (place.index != each.index[rank] || place.isShared != each.isShared)
                throw std::runtime_error("index " + std::to_string(place.index) + (place.isShared ? ", shared" : ", alone"));
        });
        QCOMPARE(QString::fromStdString(failure), QString());
    }
}

void TestCudaMesh::aResumeKeepsTheKernel_data() {
    QTest::addColumn<QString>("kind");
    for (const std::string& kind : kernels::cuda::attentionKinds())
        QTest::addRow("%s", kind.c_str()) << QString::fromStdString(kind);
}

/// Whatever would be the fastest now: another kernel rounds otherwise, and the curve would not go on bit for bit.
void TestCudaMesh::aResumeKeepsTheKernel() {
    QFETCH(QString, kind);
    const config::RunConfig config = this->config({.data = 2});
    const std::filesystem::path folder = path("kernel-" + kind.toStdString());
    RecordingLink first, second;
    trainOn(config, folder, first, 1, [&](train::TrainerOptions& options) {
        options.attention = kind.toStdString();
        options.lastStep = 1;
    });
    trainOn(config, folder, second, 1, [](train::TrainerOptions& options) { options.attention.clear(); });
    const auto started = second.eventsOf(ipc::EventKind::AttemptStarted);
    QCOMPARE(started.size(), std::size_t{1});
    QCOMPARE(QString::fromStdString(started[0].facts.at("attention")), kind);
}

QTEST_GUILESS_MAIN(TestCudaMesh)
#include "tst_cuda_mesh.moc"
