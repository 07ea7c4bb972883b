// SPDX-License-Identifier: Apache-2.0
// What the engine promises about memory: nothing is allocated inside a step, and what is allocated before is what the plan counts.
// Ranks are threads of this program; mpirun runs it again for what the MPI communicator adds.
#include <QtTest>

#include <atomic>
#include <cstdlib>
#include <new>
#include <thread>

#include "counting_communicator.h"
#include "mpirun_self.h"

#include "comm/mpi_world.h"
#include "data/corpus.h"
#include "parallel/plan.h"
#include "train/checkpoint_writer.h"
#include "trainer_rig.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TELEHELM_COUNTS_MALLOC 0 // the sanitizer has its own
#else
#define TELEHELM_COUNTS_MALLOC 1
#endif

namespace {

std::atomic<bool> g_counting{false};
std::atomic<std::int64_t> g_news{0}, g_mallocs{0};
thread_local int g_paused = 0; // > 0: not the engine's own doing

void count(std::atomic<std::int64_t>& what) {
    if (g_counting.load(std::memory_order_relaxed) && g_paused == 0) {
        what.fetch_add(1, std::memory_order_relaxed);
    }
}

} // namespace

#if TELEHELM_COUNTS_MALLOC
extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* block, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);
void* malloc(std::size_t size) {
    count(g_mallocs);
    return __libc_malloc(size);
}
void* calloc(std::size_t number, std::size_t size) {
    count(g_mallocs);
    return __libc_calloc(number, size);
}
void* realloc(void* block, std::size_t size) {
    count(g_mallocs);
    return __libc_realloc(block, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) {
    count(g_mallocs);
    return __libc_memalign(alignment, size);
}
}
#endif

// std::malloc may be counted, too: what counts is that both stay at 0.
void* operator new(std::size_t size) {
    count(g_news);
    if (void* block = std::malloc(size)) {
        return block;
    }
    throw std::bad_alloc();
}
void* operator new(std::size_t size, std::align_val_t alignment) {
    count(g_news);
    const auto grain = static_cast<std::size_t>(alignment);
    if (void* block = std::aligned_alloc(grain, (size + grain - 1) / grain * grain)) {
        return block;
    }
    throw std::bad_alloc();
}
void operator delete(void* block) noexcept { std::free(block); }
void operator delete(void* block, std::size_t) noexcept { std::free(block); }
void operator delete(void* block, std::align_val_t) noexcept { std::free(block); }
void operator delete(void* block, std::size_t, std::align_val_t) noexcept { std::free(block); }

using namespace telehelm;
using namespace telehelm::tests;

namespace {

/// Threads stand in for MPI here, and their mailboxes allocate: not counted.
class Uncounted final : public comm::Communicator {
public:
    explicit Uncounted(std::unique_ptr<comm::Communicator> inner) : m_inner(std::move(inner)) {}
    [[nodiscard]] int rank() const override { return m_inner->rank(); }
    [[nodiscard]] int size() const override { return m_inner->size(); }
    [[nodiscard]] std::unique_ptr<Communicator> split(int colour, int key) const override {
        return std::make_unique<Uncounted>(m_inner->split(colour, key));
    }
    void allReduce(std::span<float> data, comm::Reduce op) override { pause([&] { m_inner->allReduce(data, op); }); }
    void allReduce(std::span<double> data, comm::Reduce op) override { pause([&] { m_inner->allReduce(data, op); }); }
    void reduceScatter(std::span<const float> in, std::span<float> out) override { pause([&] { m_inner->reduceScatter(in, out); }); }
    void reduceScatter(std::span<const double> in, std::span<double> out) override { pause([&] { m_inner->reduceScatter(in, out); }); }
    void allGather(std::span<const float> in, std::span<float> out) override { pause([&] { m_inner->allGather(in, out); }); }
    void allGather(std::span<const double> in, std::span<double> out) override { pause([&] { m_inner->allGather(in, out); }); }
    void broadcast(std::span<std::byte> data, int root) override { pause([&] { m_inner->broadcast(data, root); }); }
    void send(std::span<const std::byte> data, int to, int tag) override { pause([&] { m_inner->send(data, to, tag); }); }
    void recv(std::span<std::byte> data, int from, int tag) override { pause([&] { m_inner->recv(data, from, tag); }); }
    [[nodiscard]] int post(std::span<const std::byte> data, int to, int tag) override {
        return pause([&] { return m_inner->post(data, to, tag); });
    }
    void wait(int ticket) override { pause([&] { m_inner->wait(ticket); }); }
    [[nodiscard]] int startReduceScatter(std::span<const float> in, std::span<float> out) override {
        return pause([&] { return m_inner->startReduceScatter(in, out); });
    }
    [[nodiscard]] int startAllGather(std::span<const float> in, std::span<float> out) override {
        return pause([&] { return m_inner->startAllGather(in, out); });
    }
    void finish(int ticket) override { pause([&] { m_inner->finish(ticket); }); }
    void progress() override { pause([&] { m_inner->progress(); }); }
    void barrier() override { pause([&] { m_inner->barrier(); }); }

private:
    template <typename Function> static std::invoke_result_t<Function> pause(const Function& function) {
        struct Pause {
            Pause() { ++g_paused; }
            ~Pause() { --g_paused; }
        } const pause;
        return function();
    }
    std::unique_ptr<comm::Communicator> m_inner;
};

/// The sampler that a run uses, on a small corpus; within the counted steps the mixture changes and batches are skipped.
std::unique_ptr<data::Sampler> realSampler(const config::RunConfig& config) {
    static const QTemporaryDir dir;
    static const std::shared_ptr<const data::Corpus> corpus = [] {
        const std::filesystem::path folder = dir.path().toStdString() + "/corpus";
        makeTinyCorpus(folder);
        return std::shared_ptr<const data::Corpus>(data::openCorpus(folder).value());
    }();
    return data::makeSampler(corpus, {{1, {0.5, 0.3, 0.2}, 1, 0}, {5, {0.2, 0.8, 0.0}, 2, 3}}, config.batch.sequences,
                             config.model.contextLength);
}

struct Cut {
    int tensor, pipeline, data, chunks;
    const char* recompute;
};

/// Sizes are multiples of a cache line on every mesh, so that no padding blurs the account.
config::RunConfig configOf(const Cut& cut) {
    config::RunConfig config;
    config.name = "engine";
    config.steps = 10;
    config.model = {.layers = 8, .hiddenSize = 128, .attentionHeads = 8, .ffnHiddenSize = 192, .vocabSize = 320, .contextLength = 64};
    config.batch = {.sequences = 4 * cut.data, .microSequences = 1};
    config.parallel.tensor = cut.tensor;
    config.parallel.pipeline = cut.pipeline;
    config.parallel.data = cut.data;
    config.parallel.sequence = cut.tensor > 1;
    config.parallel.chunks = cut.chunks;
    config.parallel.schedule = cut.chunks > 1 ? "interleaved" : "1f1b";
    config.parallel.recompute = cut.recompute;
    config.parallel.bucketBytes = 64 << 10;
    return config;
}

/// One rank's engine and all that it needs.
struct Rank {
    Rank(const config::RunConfig& config, comm::Communicator& world, int threads)
        : mesh(*parallel::MeshShape::make(config.parallel, world.size()), world),
          model(model::makeCpuModel(config.model, config.microSequences(), threads, train::PipelineRunner::placement(config, mesh))),
          sampler(realSampler(config)), engine(config, *model, *sampler, mesh, threads) {
        model->initialise(7);
        engine.adoptParameters();
    }
    void steps(std::int64_t from, std::int64_t to) {
        for (std::int64_t step = from; step <= to; ++step) {
            if (engine.run(step, {.vector = 1e-3, .matrix = 1e-3}, 1.0).skipped) {
                throw std::runtime_error("a step was skipped");
            }
        }
    }
    const parallel::Mesh mesh;
    const std::unique_ptr<model::Model> model;
    const std::unique_ptr<data::Sampler> sampler;
    train::StepEngine engine;
};

/// Bytes that a rank's checkpoint writer keeps, after two saves; there is no such folder, what counts is the copy.
std::size_t checkpointCopy(Rank& rank) {
    const std::vector<train::Shard> shards = rank.engine.shards();
    train::CheckpointWriter writer({.folder = "/dev/null/none", .key = {"engine", 1}, .rank = 0, .ranks = 1, .keep = {}},
                                   train::storedTensors(rank.model->layout()));
    writer.reserve(shards);
    const std::size_t reserved = writer.bytes();
    for (const std::int64_t step : {1, 2}) {
        train::Manifest manifest;
        manifest.key = {"engine", 1};
        manifest.step = step;
        writer.begin(shards, std::move(manifest));
        writer.wait();
    }
    if (writer.bytes() != reserved) {
        throw std::runtime_error("the copy grew from " + std::to_string(reserved) + " to " + std::to_string(writer.bytes()) + " bytes");
    }
    return reserved;
}

/// All ranks at once, each in a thread; the first failure's text.
std::string onThreads(const config::RunConfig& config, int threads, const std::function<void(Rank&)>& function) {
    auto ranks = comm::makeThreadCommunicators(config.parallel.ranks());
    std::mutex mutex;
    std::string failure;
    std::vector<std::thread> running;
    for (auto& communicator : ranks) {
        running.emplace_back([&, own = std::unique_ptr<comm::Communicator>(
                                  new CountingCommunicator(std::make_unique<Uncounted>(std::move(communicator))))] {
            try {
                Rank rank(config, *own, threads);
                function(rank);
                rank.engine.settle();
                own->barrier();
            } catch (const std::exception& error) {
                const std::lock_guard lock(mutex);
                failure = failure.empty() ? error.what() : failure;
            }
        });
    }
    std::ranges::for_each(running, &std::thread::join);
    return failure;
}

/// Counts between two barriers over all ranks of this process.
void countSteps(Rank& rank) {
    comm::Communicator& world = rank.mesh.world();
    rank.steps(1, 3);
    world.barrier();
    if (world.rank() == 0 || comm::launchedByMpi()) {
        g_news = g_mallocs = 0;
        g_counting = true;
    }
    world.barrier();
    rank.steps(4, 6);
    world.barrier();
    g_counting = false;
}

int runAsRank() {
    const comm::MpiWorld mpi;
    try {
        const auto world = mpi.communicator();
        Rank rank(configOf({1, 1, world->size(), 1, "none"}), *world, 1);
        countSteps(rank);
        rank.engine.settle();
        if (g_news != 0) { // MPI itself is C and may call malloc
            throw std::runtime_error(std::to_string(g_news) + " allocations in 3 steps");
        }
        const auto plan = parallel::makePlan(configOf({1, 1, world->size(), 1, "none"}));
        const std::int64_t planned = plan->stages[0].totalBytes(parallel::Recompute::None) - plan->stages[0].checkpointBytes;
        if (static_cast<std::int64_t>(rank.engine.memory().total()) != planned) {
            throw std::runtime_error(std::to_string(rank.engine.memory().total()) + " bytes, planned " + std::to_string(planned));
        }
        world->barrier();
    } catch (const std::exception& error) {
        std::fprintf(stderr, "failed: %s\n", error.what());
        mpi.abort(1);
    }
    return 0;
}

} // namespace

class EngineTest : public QObject {
    Q_OBJECT

    QTemporaryDir m_dir;
    std::filesystem::path folder(const std::string& name) const { return m_dir.path().toStdString() + "/" + name; }

private slots:
    void theCountersCount() {
        g_counting = true;
        auto* volatile block = new std::vector<int>(3);
        g_counting = false;
        delete block;
        QCOMPARE(g_news.load(), 2);
        QVERIFY(!TELEHELM_COUNTS_MALLOC || g_mallocs >= 2);
    }

    void nothingIsAllocatedInAStep_data() {
        QTest::addColumn<QString>("recompute");
        QTest::addColumn<QList<int>>("mesh");
        QTest::newRow("one rank, two threads") << "none" << QList<int>{1, 1, 1, 1, 2};
        QTest::newRow("data 2") << "none" << QList<int>{1, 1, 2, 1, 1};
        QTest::newRow("data 3, padded, two threads") << "selective" << QList<int>{1, 1, 3, 1, 2};
        QTest::newRow("tensor 2, sequence") << "selective" << QList<int>{2, 1, 1, 1, 1};
        QTest::newRow("pipeline 2") << "full" << QList<int>{1, 2, 1, 1, 1};
        QTest::newRow("interleaved") << "none" << QList<int>{1, 2, 1, 2, 1};
        QTest::newRow("tensor 2, pipeline 2, data 2") << "none" << QList<int>{2, 2, 2, 1, 1};
    }
    void nothingIsAllocatedInAStep() {
        QFETCH(QString, recompute);
        QFETCH(QList<int>, mesh);
        const std::string mode = recompute.toStdString();
        const config::RunConfig config = configOf({mesh[0], mesh[1], mesh[2], mesh[3], mode.c_str()});
        QCOMPARE(onThreads(config, mesh[4], countSteps), std::string());
        QCOMPARE(g_news.load(), 0);
        QCOMPARE(g_mallocs.load(), 0);
    }

    void norUnderMpi_data() {
        QTest::addColumn<int>("ranks");
        QTest::newRow("2 ranks") << 2;
        QTest::newRow("4 ranks") << 4;
    }
    void norUnderMpi() {
        QFETCH(int, ranks);
        if (!tests::hasMpirun()) {
            QSKIP("mpirun (Debian package openmpi-bin) is missing");
        }
        const tests::MpiJob job = tests::mpirunSelf(ranks);
        QVERIFY(job.ended);
        QVERIFY2(job.exitCode == 0, job.errors.constData());
    }

    /// tele_flm_52b.toml with every size shrunk, its mesh of tensor 4 × pipeline 2 kept and data 112 made 2; and other meshes.
    void theEngineAllocatesWhatThePlanCounts_data() {
        QTest::addColumn<QString>("recompute");
        QTest::addColumn<QList<int>>("mesh");
        for (const QList<int>& mesh : {QList<int>{4, 2, 2, 1}, {4, 2, 1, 2}, {1, 1, 1, 1}, {1, 4, 1, 1}, {2, 1, 2, 1}, {1, 2, 2, 4}, {1, 1, 1, 2}}) {
            for (const char* recompute : {"none", "selective", "full"}) {
                QTest::addRow("tensor %d pipeline %d data %d chunks %d, %s", mesh[0], mesh[1], mesh[2], mesh[3], recompute)
                    << recompute << mesh;
            }
        }
    }
    void theEngineAllocatesWhatThePlanCounts() {
        QFETCH(QString, recompute);
        QFETCH(QList<int>, mesh);
        auto loaded = config::loadRunConfig(qEnvironmentVariable("TELEHELM_SOURCE").toStdString() + "/configs/tele_flm_52b.toml");
        QVERIFY2(loaded, loaded ? "" : loaded.error().text().c_str());
        const std::string mode = recompute.toStdString();
        const config::RunConfig shrunk = configOf({mesh[0], mesh[1], mesh[2], mesh[3], mode.c_str()});
        loaded->model = shrunk.model;
        loaded->device = "cpu";
        loaded->batch = shrunk.batch;
        loaded->parallel = shrunk.parallel;
        const auto plan = parallel::makePlan(*loaded);
        QVERIFY2(plan, plan ? "" : plan.error().text().c_str());
        const auto check = [&](Rank& rank) {
            const train::EngineMemory memory = rank.engine.memory();
            const parallel::StagePlan& planned = plan->stages[static_cast<std::size_t>(rank.mesh.own().pipeline)];
            const auto same = [&](const char* what, std::size_t is, std::int64_t meant) {
                if (static_cast<std::int64_t>(is) != meant) {
                    throw std::runtime_error("stage " + std::to_string(rank.mesh.own().pipeline) + ", " + what + ": " +
                                             std::to_string(is) + " bytes, planned " + std::to_string(meant));
                }
            };
            same("parameters", memory.parameters, planned.parameterBytes);
            same("gradients", memory.gradients, planned.gradientBytes);
            same("optimizer", memory.optimizer, planned.optimizerBytes);
            same("activations", memory.activations,
                 planned.activationBytes[static_cast<std::size_t>(plan->recompute)] + planned.workBytes);
            // Threads keep no copies of buckets; MPI does (norUnderMpi).
            const std::int64_t copies = mesh[2] == 1 ? 0 : std::min<std::int64_t>(planned.gradientBytes, 4 * loaded->parallel.bucketBytesOn("cpu"));
            same("messages", memory.messages, planned.messageBytes - copies);
            same("checkpoint copy", checkpointCopy(rank), planned.checkpointBytes);
        };
        QCOMPARE(onThreads(*loaded, 1, check), std::string());
    }

    /// What each rank sends in a step on each axis, counted where it is sent.
    void theEngineSendsWhatThePlanCounts_data() {
        QTest::addColumn<QString>("recompute");
        QTest::addColumn<QList<int>>("mesh");
        QTest::addColumn<bool>("sequence");
        for (const QList<int>& mesh : {QList<int>{1, 1, 1, 1}, {2, 1, 1, 1}, {4, 1, 2, 1}, {4, 2, 1, 1}, {2, 2, 2, 1}, {2, 2, 1, 2}, {1, 4, 2, 1}, {1, 2, 2, 4}, {2, 1, 1, 2}}) {
            for (const char* recompute : {"none", "selective", "full"}) {
                for (const bool sequence : {false, true}) {
                    if (mesh[0] > 1 || !sequence) {
                        QTest::addRow("tensor %d pipeline %d data %d chunks %d, %s, sequence %d", mesh[0], mesh[1], mesh[2], mesh[3], recompute, sequence)
                            << recompute << mesh << sequence;
                    }
                }
            }
        }
    }
    void theEngineSendsWhatThePlanCounts() {
        QFETCH(QString, recompute);
        QFETCH(QList<int>, mesh);
        QFETCH(bool, sequence);
        const std::string mode = recompute.toStdString();
        config::RunConfig config = configOf({mesh[0], mesh[1], mesh[2], mesh[3], mode.c_str()});
        config.parallel.sequence = sequence;
        const auto plan = parallel::makePlan(config);
        QVERIFY2(plan, plan ? "" : plan.error().text().c_str());
        constexpr int kSteps = 2;
        const auto check = [&](Rank& rank) {
            rank.steps(1, kSteps);
            const int stage = rank.mesh.own().pipeline;
            const parallel::Traffic& planned = plan->stages[static_cast<std::size_t>(stage)].traffic;
            const auto same = [&](const char* axis, comm::Communicator& ranks, double meant) {
                const double is = dynamic_cast<CountingCommunicator&>(ranks).sentBytes() / kSteps;
                if (std::abs(is - meant) > 1e-9 * meant) {
                    throw std::runtime_error("stage " + std::to_string(stage) + ", " + axis + ": " + std::to_string(is) + " bytes sent, planned " +
                                             std::to_string(meant));
                }
            };
            same("tensor", rank.mesh.tensor(), planned.tensor);
            same("data", rank.mesh.data(), planned.data);
            same("pipeline", rank.mesh.pipeline(), planned.pipeline);
        };
        QCOMPARE(onThreads(config, 1, check), std::string());
    }

    void aThreadCostsWhatThePlanSays() {
        const config::RunConfig config = configOf({1, 1, 1, 1, "none"});
        std::array<std::size_t, 2> bytes{};
        for (const int threads : {1, 2}) {
            QCOMPARE(onThreads(config, threads, [&](Rank& rank) { bytes[static_cast<std::size_t>(threads - 1)] = rank.engine.memory().total(); }),
                     std::string());
        }
        QCOMPARE(static_cast<std::int64_t>(bytes[1] - bytes[0]), parallel::makePlan(config)->stages[0].threadBytes);
    }

    void aReplicaThatDriftsIsNamed() {
        const config::RunConfig config = configOf({2, 2, 1, 1, "none"});
        const std::string failure = onThreads(config, 1, [](Rank& rank) {
            rank.steps(1, 2);
            if (const std::string fault = rank.engine.replicaFault(); !fault.empty()) {
                throw std::runtime_error("without a fault: " + fault);
            }
            const auto& layout = rank.model->layout();
            const auto norm = std::ranges::find(layout, "layers.5.ffn.norm", &model::ParameterInfo::name);
            if (norm != layout.end() && rank.mesh.own().tensor == 1) { // the last bit of one element
                float& value = rank.model->parameters()[static_cast<std::size_t>(norm->offset + 77)];
                value = std::nextafter(value, 2.0F);
            }
            const std::string fault = rank.engine.replicaFault();
            const std::string meant =
                rank.mesh.own().pipeline == 1 ? "layers.5.ffn.norm is not the same on rank 2 (tensor 0) and rank 3 (tensor 1)" : "";
            if (fault != meant) {
                throw std::runtime_error("says: " + fault);
            }
        });
        QCOMPARE(failure, std::string());
    }

    /// Adam's settings are the config's; what differs from the checkpoint is said, and only that.
    void aResumeSaysWhichSettingsChanged() {
        makeTinyCorpus(folder("corpus"));
        const std::string toml = tinyConfig(folder("corpus"));
        RecordingLink first, same, other;
        runTraining(parsed(toml), folder("checkpoints"), first, 1, [](train::TrainerOptions& o) { o.lastStep = 5; });
        const auto told = [](const RecordingLink& link) {
            std::string text;
            for (const ipc::Event& event : link.eventsOf(ipc::EventKind::Note)) {
                text += event.text.starts_with("The config changes") ? event.text : "";
            }
            return text;
        };
        runTraining(parsed(toml), folder("checkpoints"), same, 1, [](train::TrainerOptions& o) { o.lastStep = 10; });
        QCOMPARE(told(first) + told(same), std::string());
        std::string changed = toml;
        changed.replace(changed.find("learning_rate = 0.01"), 20, "beta2 = 0.99\nweight_decay = 0.1\nclip_grad = 0.5\nlearning_rate = 0.02");
        changed.replace(changed.find("warmup_steps = 3"), 16, "warmup_steps = 4\ntype = \"constant\"");
        runTraining(parsed(changed), folder("checkpoints"), other, 1, [](train::TrainerOptions& o) { o.lastStep = 15; });
        QCOMPARE(told(other), std::string("The config changes what the checkpoint was trained with: beta2 0.95 → 0.99, clip_grad 1 → 0.5, "
                                          "learning_rate 0.01 → 0.02, warmup_steps 3 → 4, weight_decay 0 → 0.1, type cosine → constant. "
                                          "The config's values are in force."));
        QCOMPARE(other.values("optim/lr").front(), 0.02); // in force, with the schedule's type and warm-up
        QVERIFY(!other.values("memory/planned_bytes").empty() && other.values("memory/allocated_bytes").front() > 0 &&
                other.values("memory/peak_rss_bytes").front() > other.values("memory/allocated_bytes").front());
    }

    void thePeakIsToldAgainAfterTheFirstSave() {
        makeTinyCorpus(folder("memory-corpus"));
        const config::RunConfig config = parsed(tinyConfig(folder("memory-corpus")));
        RecordingLink link;
        (void)runTraining(config, folder("memory"), link);
        std::vector<std::string> told;
        std::vector<std::int64_t> steps;
        for (const ipc::Event& event : link.eventsOf(ipc::EventKind::Note)) {
            if (event.facts.contains("memory_peak_rss_bytes")) {
                told.push_back(event.text.substr(event.text.rfind(", ")));
                steps.push_back(event.step);
            }
        }
        QCOMPARE(told, (std::vector<std::string>{", still without the first checkpoint's copy.", ", with the first checkpoint's copy."}));
        QCOMPARE(steps, (std::vector<std::int64_t>{1, 6})); // saved behind step 5
        const auto state = static_cast<double>(28 * config.model.parameterCount()); // with gradients and copy
        QVERIFY(link.values("memory/allocated_bytes").front() > state && link.values("memory/planned_bytes").front() > state);
    }
};

int main(int argc, char** argv) {
    if (comm::launchedByMpi()) {
        return runAsRank();
    }
    QCoreApplication app(argc, argv);
    EngineTest test;
    return QTest::qExec(&test, argc, argv);
}
#include "tst_engine.moc"
