// SPDX-License-Identifier: Apache-2.0
// Whole runs of the device's engine on meshes: its kernels on the host, ranks as threads, and in NCCL's place a communicator that
// goes around the watched ones.
#include <QtTest>

#include <filesystem>
#include <mutex>
#include <set>

#include <QTemporaryDir>

#include "comm/device_communicator.h"
#include "telehelm/ipc/rank_page.h"
#include "trainer_rig.h"

using namespace telehelm;
using namespace telehelm::tests;

namespace {

std::atomic<bool> g_hasNccl{true};
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
    void wait(const Stream& stream) override {
        if (t_onWait) {
            t_onWait(axis());
        }
        m_staged->wait(stream);
    }

private:
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
    int tensor = 1, pipeline = 1, data = 1;
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
    return config;
}

} // namespace

class TestCudaMesh : public QObject {
    Q_OBJECT

private slots:
    void initTestCase() { makeTinyCorpus(path("corpus")); }
    void init() { g_hasNccl = true; }
    void whoWaitsIsOnThePage_data();
    void whoWaitsIsOnThePage();

private:
    [[nodiscard]] std::filesystem::path path(const std::string& name) const { return m_dir.path().toStdString() + "/" + name; }
    [[nodiscard]] config::RunConfig config(const Mesh& mesh) const { return deviceConfig(path("corpus"), mesh); }
    QTemporaryDir m_dir;
};

void TestCudaMesh::whoWaitsIsOnThePage_data() {
    QTest::addColumn<int>("tensor");
    QTest::addColumn<int>("data");
    QTest::addColumn<QString>("axis");
    QTest::newRow("tensor") << 2 << 1 << "tensor";
    QTest::newRow("data") << 1 << 2 << "data";
}

/// A rank whose device waits for its peers says so, and no more once it goes on: else nobody could tell which rank hangs.
void TestCudaMesh::whoWaitsIsOnThePage() {
    QFETCH(int, tensor);
    QFETCH(int, data);
    QFETCH(QString, axis);
    const config::RunConfig config = this->config({.tensor = tensor, .data = data});
    const std::filesystem::path file = path("ranks-" + axis.toStdString());
    std::mutex mutex;
    std::vector<std::unique_ptr<ipc::RankPage>> pages;
    std::size_t waits = 0, silent = 0, talking = 0;
    RecordingLink link;
    runTraining(config, path("page-" + axis.toStdString()), link, 1, [&](train::TrainerOptions& options) {
        const std::lock_guard lock(mutex);
        const std::size_t line = pages.size();
        pages.push_back(std::make_unique<ipc::RankPage>(ipc::RankPage::open(file, static_cast<int>(line)).value()));
        options.page = pages.back().get();
        t_onWait = [&, line](const std::string& onAxis) {
            const bool isTalking = ipc::readRankPlaces(file).at(line).isTalking;
            const std::lock_guard counting(mutex);
            waits += onAxis == axis.toStdString() ? 1 : 0;
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

QTEST_GUILESS_MAIN(TestCudaMesh)
#include "tst_cuda_mesh.moc"
