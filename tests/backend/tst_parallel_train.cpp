// SPDX-License-Identifier: Apache-2.0
// Every mesh trains as one rank does. Ranks are threads of this program, with real collectives between them.
//
// The bound. In fp32 the meshes differ by the order of sums only; what that makes of 20 steps' losses under Adam's large steps is a
// few 1e-6 relative (printed). The bound is 5e-5 (ten times that for norms and single tokens' losses); each planted bug moves the
// losses by 1e-2 or more and must go beyond four times the bound.
#include <QtTest>

#include <cmath>
#include <map>
#include <mutex>
#include <numeric>
#include <thread>

#include "comm/communicator.h"
#include "train/step_engine.h"

using namespace telehelm;

namespace {

constexpr std::int64_t kSteps = 20, kLength = 8, kVocab = 24, kSequences = 16, kLayers = 9;
constexpr double kBound = 5e-5;

/// Tokens with something to learn: a pure function of step and index.
class TestSampler final : public data::Sampler {
public:
    explicit TestSampler(bool repeats = false) : m_repeats(repeats) {}
    Pick pick(std::int64_t, std::int64_t) override { return {}; }
    void fill(std::int64_t step, std::int64_t index, std::span<std::int32_t> inputs, std::span<std::int32_t> targets) override {
        const std::int64_t wanted = m_repeats && index % 4 == 1 ? index - 1 : index; // planted: a micro-batch counts twice
        std::uint64_t state = static_cast<std::uint64_t>(step * 1000 + wanted) * 0x9E3779B97F4A7C15U;
        auto token = static_cast<std::int32_t>((state >> 33) % kVocab);
        for (std::size_t t = 0; t < inputs.size(); ++t) {
            inputs[t] = token;
            state = state * 6364136223846793005U + 1442695040888963407U;
            token = static_cast<std::int32_t>((token * 5 + 3 + static_cast<std::int32_t>((state >> 60) % 3)) % kVocab);
            targets[t] = token;
        }
    }
    Result<void> change(data::MixtureChange) override { return {}; }
    [[nodiscard]] const std::vector<data::MixtureChange>& history() const override { return m_history; }
    [[nodiscard]] std::vector<std::int64_t> drawn(std::int64_t) override { return {}; }

private:
    bool m_repeats;
    std::vector<data::MixtureChange> m_history;
};

enum class Bug { None, NormsNotSummed, MicroBatchTwice, BucketLate, RowsTurned, NanInMessage };
constexpr int kBadMicroBatch = 2, kMostMicroBatches = 8; // whose activations arrive with a NaN at stage 1, under NanInMessage

/// Passes everything on, but for the planted bug.
class Spoiled final : public comm::Communicator {
public:
    Spoiled(std::unique_ptr<comm::Communicator> inner, Bug bug, std::size_t norms) : m_inner(std::move(inner)), m_bug(bug), m_norms(norms) {}
    [[nodiscard]] int rank() const override { return m_inner->rank(); }
    [[nodiscard]] int size() const override { return m_inner->size(); }
    [[nodiscard]] std::unique_ptr<Communicator> split(int colour, int key) const override {
        return std::make_unique<Spoiled>(m_inner->split(colour, key), m_bug, m_norms);
    }
    void allReduce(std::span<float> data, comm::Reduce op) override {
        if (m_bug != Bug::NormsNotSummed || data.size() != m_norms) {
            m_inner->allReduce(data, op);
        }
    }
    void allReduce(std::span<double> data, comm::Reduce op) override { m_inner->allReduce(data, op); }
    void reduceScatter(std::span<const float> in, std::span<float> out) override { m_inner->reduceScatter(in, out); }
    [[nodiscard]] int startReduceScatter(std::span<const float> in, std::span<float> out) override { // gradients
        m_late = m_late == nullptr ? in.data() : m_late;
        if (m_bug != Bug::BucketLate || in.data() != m_late) {
            return m_inner->startReduceScatter(in, out);
        }
        std::swap(m_before, m_now); // the first bucket of a backward as it was a step ago
        m_now.assign(in.begin(), in.end());
        m_before.resize(in.size());
        return m_inner->startReduceScatter(m_before, out);
    }
    [[nodiscard]] int startAllGather(std::span<const float> in, std::span<float> out) override { return m_inner->startAllGather(in, out); }
    void finish(int ticket) override { m_inner->finish(ticket); }
    void progress() override { m_inner->progress(); }
    void reduceScatter(std::span<const double> in, std::span<double> out) override { m_inner->reduceScatter(in, out); }
    void allGather(std::span<const float> in, std::span<float> out) override {
        m_inner->allGather(in, out);
        if (m_bug == Bug::RowsTurned && m_inner->size() > 1) { // every rank's rows one position further: RoPE turns them wrongly
            std::rotate(out.begin(), out.end() - 16, out.end());
        }
    }
    void allGather(std::span<const double> in, std::span<double> out) override { m_inner->allGather(in, out); }
    void broadcast(std::span<std::byte> data, int root) override { m_inner->broadcast(data, root); }
    void send(std::span<const std::byte> data, int to, int tag) override { m_inner->send(data, to, tag); }
    void recv(std::span<std::byte> data, int from, int tag) override {
        m_inner->recv(data, from, tag);
        const bool isForward = tag == parallel::messageTag({parallel::ActionKind::Forward, 0, 0}); // in the micro-batches' order
        if (m_bug == Bug::NanInMessage && rank() == 1 && isForward && m_received++ % kMostMicroBatches == kBadMicroBatch) {
            const float nan = std::nanf("");
            std::ranges::copy(std::as_bytes(std::span(&nan, 1)), data.begin());
        }
    }
    [[nodiscard]] int post(std::span<const std::byte> data, int to, int tag) override { return m_inner->post(data, to, tag); }
    void wait(int ticket) override { m_inner->wait(ticket); }
    void barrier() override { m_inner->barrier(); }

private:
    std::unique_ptr<comm::Communicator> m_inner;
    Bug m_bug;
    std::size_t m_norms;
    int m_received = 0;
    const float* m_late = nullptr;
    std::vector<float> m_before, m_now;
};

config::RunConfig configOf(int tensor, int pipeline, int data, bool sequence, int chunks, std::int64_t accumulation) {
    config::RunConfig config;
    config.name = "mesh";
    config.steps = kSteps;
    config.model = {.layers = kLayers, .hiddenSize = 16, .attentionHeads = 4, .ffnHiddenSize = 24, .vocabSize = kVocab, .contextLength = kLength};
    config.model.standardDeviation = config.model.matrixStandardDeviation = 0.2;
    config.model.inputMult = 1.3;
    config.model.outputMult = 0.9;
    config.optimizer.weightDecay = 0.1;
    config.batch = {.sequences = kSequences, .microSequences = kSequences / data / accumulation};
    config.parallel.tensor = tensor;
    config.parallel.pipeline = pipeline;
    config.parallel.data = data;
    config.parallel.sequence = sequence;
    config.parallel.chunks = chunks;
    config.parallel.schedule = chunks > 1 ? "interleaved" : "1f1b";
    return config;
}

struct Trained {
    std::vector<double> losses, norms, evaluated;
    std::map<std::string, std::string> blame; // of the first step that was skipped
    bool replicasAgree = true;
    std::string failure;
};

void trainRank(const config::RunConfig& config, comm::Communicator& world, Bug bug, Trained& result, std::mutex& mutex) {
    try {
        const parallel::Mesh mesh(*parallel::MeshShape::make(config.parallel, world.size()), world);
        const auto model = model::makeCpuModel(config.model, config.microSequences(), 1, train::PipelineRunner::placement(config, mesh));
        TestSampler sampler(bug == Bug::MicroBatchTwice);
        train::StepEngine engine(config, *model, sampler, mesh, 1);
        model->initialise(7);
        engine.adoptParameters();
        Trained own;
        for (std::int64_t step = 1; step <= kSteps; ++step) {
            const train::StepOutcome outcome = engine.run(step, {.vector = 2e-2, .matrix = 1e-2}, 1.0);
            own.losses.push_back(outcome.loss);
            own.norms.push_back(outcome.gradNorm);
            if (outcome.skipped) {
                own.blame = outcome.blameFacts;
                own.losses.clear();
                break;
            }
            own.replicasAgree &= engine.replicasAgree();
        }
        std::vector<std::int32_t> inputs(kLength), targets(kLength);
        TestSampler().fill(99, 0, inputs, targets);
        std::vector<float> nats(kLength);
        engine.evaluate(inputs, targets, nats);
        own.evaluated.assign(nats.begin(), nats.end());
        const std::lock_guard lock(mutex);
        own.replicasAgree &= result.replicasAgree;
        own.failure = result.failure;
        if (!result.losses.empty() && result.losses != own.losses) {
            own.failure = "two ranks report different losses";
        }
        result = own;
    } catch (const std::exception& error) {
        const std::lock_guard lock(mutex);
        result.failure = error.what();
    }
}

Trained trainMesh(const config::RunConfig& config, Bug bug = Bug::None) {
    auto ranks = comm::makeThreadCommunicators(config.parallel.ranks());
    std::size_t norms = 0;
    for (const auto& info : model::parameterLayout(config.model, model::parallelShape(config, 0, 0))) {
        norms += info.replicatedOverTensor() ? static_cast<std::size_t>(info.size) : 0;
    }
    Trained result;
    std::mutex mutex;
    std::vector<std::thread> threads;
    for (auto& rank : ranks) {
        threads.emplace_back([&, own = std::unique_ptr<comm::Communicator>(new Spoiled(std::move(rank), bug, norms))] {
            trainRank(config, *own, bug, result, mutex);
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    return result;
}

double largestError(const std::vector<double>& values, const std::vector<double>& expected) {
    double largest = values.size() == expected.size() ? 0 : 1e9;
    for (std::size_t i = 0; i < std::min(values.size(), expected.size()); ++i) {
        const double error = std::abs(values[i] - expected[i]) / std::abs(expected[i]);
        largest = error > largest || std::isnan(error) ? error : largest;
    }
    return largest;
}

} // namespace

class TestParallelTrain : public QObject {
    Q_OBJECT

private slots:
    void initTestCase() {
        m_single = trainMesh(configOf(1, 1, 1, false, 1, 1));
        QVERIFY2(m_single.failure.empty(), m_single.failure.c_str());
        QVERIFY2(m_single.losses.back() < m_single.losses.front() - 0.05, // it learns
                 qPrintable(QString("%1 %2").arg(m_single.losses.front()).arg(m_single.losses.back())));
    }
    void meshes();
    void unevenLayersAndRecomputation();
    void bucketsChangeNothing();
    void recomputationIsExact();
    void plantedBugsAreCaught();
    void theMicroBatchOfABadMessageIsNamed();

private:
    void compare(const config::RunConfig& config, const QByteArray& what) {
        const Trained trained = trainMesh(config);
        QVERIFY2(trained.failure.empty(), what + ": " + trained.failure.c_str());
        const std::pair<const char*, double> figures[] = {{"losses", largestError(trained.losses, m_single.losses)},
                                                          {"norms", largestError(trained.norms, m_single.norms) / 10},
                                                          {"tokens' losses", largestError(trained.evaluated, m_single.evaluated) / 10}};
        for (const auto& [figure, error] : figures) { // each on its own: std::max loses a NaN
            QVERIFY2(std::isfinite(error) && error < kBound, what + ": " + figure + " off by " + QByteArray::number(error));
            m_worst = std::max(m_worst, error);
        }
        QVERIFY2(trained.replicasAgree, what + ": norms differ over the tensor ranks");
    }
    Trained m_single;
    double m_worst = 0;
};

void TestParallelTrain::meshes() {
    constexpr std::int64_t bucketSizes[] = {64, 3000, 1 << 20}; // of three: not in step with the accumulations
    int meshes = 0;
    for (const int tensor : {1, 2, 4}) {
        for (const int pipeline : {1, 2, 4}) {
            for (const int data : {1, 2, 4}) {
                for (const bool sequence : {false, true}) {
                    for (const int chunks : {1, 2, 3, 4}) {
                        if (tensor * pipeline * data > 8 || (sequence && tensor == 1) || pipeline * chunks > kLayers ||
                            (chunks > 2 && sequence != (tensor > 1))) {
                            continue;
                        }
                        // accumulation 1, 2, 4, 8 in turn; interleaved needs a multiple of the stages
                        std::int64_t accumulation = std::int64_t{1} << meshes++ % 4;
                        accumulation = std::min<std::int64_t>(chunks > 1 ? std::max<std::int64_t>(accumulation, pipeline) : accumulation,
                                                              kSequences / data);
                        config::RunConfig config = configOf(tensor, pipeline, data, sequence, chunks, accumulation);
                        config.parallel.bucketBytes = bucketSizes[static_cast<std::size_t>(meshes) % std::size(bucketSizes)];
                        compare(config, QByteArray("tensor %1 pipeline %2 data %3 sequence %4 chunks %5 accumulation %6")
                                    .replace("%1", QByteArray::number(tensor))
                                    .replace("%2", QByteArray::number(pipeline))
                                    .replace("%3", QByteArray::number(data))
                                    .replace("%4", sequence ? "on" : "off")
                                    .replace("%5", QByteArray::number(chunks))
                                    .replace("%6", QByteArray::number(static_cast<qlonglong>(accumulation))));
                        if (QTest::currentTestFailed()) {
                            return;
                        }
                    }
                }
            }
        }
    }
    qInfo("%d meshes, worst error %g", meshes, m_worst);
}

void TestParallelTrain::unevenLayersAndRecomputation() {
    config::RunConfig config = configOf(2, 2, 1, true, 2, 4);
    config.parallel.layers = {1, 4, 3, 1};
    compare(config, "uneven layers");
    for (const char* recompute : {"selective", "full"}) {
        config.parallel.recompute = recompute;
        compare(config, recompute);
    }
}

/// What is computed again is the same to the bit.
void TestParallelTrain::recomputationIsExact() {
    for (const bool sequence : {false, true}) {
        config::RunConfig config = configOf(2, 2, 1, sequence, 1, 4);
        const Trained none = trainMesh(config);
        for (const char* recompute : {"selective", "full"}) {
            config.parallel.recompute = recompute;
            const Trained again = trainMesh(config);
            QCOMPARE(again.failure, std::string());
            QCOMPARE(again.losses, none.losses);
            QCOMPARE(again.norms, none.norms);
        }
    }
}

/// Many buckets and few, on models cut in every way, with and without padded ends: the same sums in the same order.
void TestParallelTrain::bucketsChangeNothing() {
    struct Cut {
        int tensor, pipeline, data;
        bool sequence;
        int chunks;
        std::int64_t accumulation;
    };
    for (const Cut& cut : {Cut{1, 1, 4, false, 1, 2}, Cut{2, 1, 2, true, 1, 1}, Cut{1, 2, 2, false, 2, 4}, Cut{1, 2, 4, false, 1, 2}}) {
        Trained first;
        for (const std::int64_t bytes : {1 << 28, 64, 2000, 10'000}) {
            config::RunConfig config = configOf(cut.tensor, cut.pipeline, cut.data, cut.sequence, cut.chunks, cut.accumulation);
            config.parallel.bucketBytes = bytes;
            const Trained trained = trainMesh(config);
            QVERIFY2(trained.failure.empty(), trained.failure.c_str());
            first = first.losses.empty() ? trained : first;
            // The norm adds the shards' squares in another order, in double: at most its last bits differ, and through them the clipping's.
            QCOMPARE(trained.losses[0], first.losses[0]);
            QVERIFY(largestError(trained.norms, first.norms) < 1e-6);
            QVERIFY(largestError(trained.losses, first.losses) < 1e-6);
        }
    }
    const auto many = train::cutBuckets(1000, 64, 3);
    QCOMPARE(many.size(), std::size_t{21}); // 16 elements a rank
    QCOMPARE(many.back().to, 1008);
    QCOMPARE(train::cutBuckets(1000, 64, 1).size(), std::size_t{1});
}

void TestParallelTrain::plantedBugsAreCaught() {
    for (const Bug bug : {Bug::NormsNotSummed, Bug::MicroBatchTwice, Bug::BucketLate, Bug::RowsTurned}) {
        const Trained trained = trainMesh(configOf(2, 1, 2, true, 1, 2), bug);
        QVERIFY2(trained.failure.empty(), trained.failure.c_str());
        const double error = largestError(trained.losses, m_single.losses);
        qInfo("bug %d: off by %g", static_cast<int>(bug), error);
        QVERIFY2(error > 4 * kBound, qPrintable(QString("bug %1 is off by %2 only").arg(static_cast<int>(bug)).arg(error)));
    }
}

/// Micro-batches of a pipeline overlap: backward of one stands between forwards of others.
void TestParallelTrain::theMicroBatchOfABadMessageIsNamed() {
    for (const int chunks : {1, 2, 3}) {
        const Trained trained = trainMesh(configOf(1, 2, 1, false, chunks, kMostMicroBatches), Bug::NanInMessage);
        QVERIFY2(trained.failure.empty(), trained.failure.c_str());
        QVERIFY(!trained.blame.empty());
        QCOMPARE(trained.blame.at("micro_batch"), std::to_string(kBadMicroBatch));
        QCOMPARE(trained.blame.at("rank"), std::string("1"));
        QCOMPARE(trained.blame.at("stage"), std::string("1"));
        QCOMPARE(trained.blame.at("direction"), std::string("forward"));
        QVERIFY2(trained.blame.at("tensor").ends_with(".ffn.down"), trained.blame.at("tensor").c_str()); // what came in
    }
}

QTEST_GUILESS_MAIN(TestParallelTrain)
#include "tst_parallel_train.moc"
