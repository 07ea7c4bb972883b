// SPDX-License-Identifier: Apache-2.0
// Every mesh trains as one rank does. Each figure of each run has its own bound (mesh_rig.h).
//
// Every mesh of up to 8 ranks runs 1F1B with 1, 2, 3, 5 and 8 micro-batches, fewer than its stages among them, and each number of
// chunks with one count of micro-batches: over the meshes, every count that the schedule allows. TELEHELM_SOAK=1: every
// mesh with every count.
#include <QtTest>

#include <cmath>
#include <set>

#include "mesh_rig.h"

using namespace telehelm;
using namespace telehelm::tests;

namespace {

constexpr int kBadMicroBatch = 2, kMostMicroBatches = 8;

bool isLong() {
    return qEnvironmentVariableIntValue("TELEHELM_SOAK") != 0;
}

/// Micro-batches that a schedule takes: interleaved, multiples of the stages.
std::vector<std::int64_t> countsFor(int pipeline, int chunks) {
    std::vector<std::int64_t> counts;
    for (std::int64_t count = 1; count <= kMostMicroBatches; ++count) {
        if (chunks == 1 || count % pipeline == 0) {
            counts.push_back(count);
        }
    }
    return counts;
}

/// Those that `chunks` chunks run with on a mesh; `turn`: the mesh's place among those with as many stages.
std::vector<std::int64_t> chosenCounts(int pipeline, int chunks, std::size_t turn) {
    const std::vector<std::int64_t> all = countsFor(pipeline, chunks);
    if (isLong()) {
        return all;
    }
    if (chunks == 1) {
        return {1, 2, 3, 5, 8};
    }
    return {all[(turn + static_cast<std::size_t>(chunks)) % all.size()]};
}

/// Stage 1 gets the activations of one micro-batch with a NaN in them.
class NanInMessage final : public Passing {
public:
    using Passing::Passing;
    void recv(std::span<std::byte> data, int from, int tag) override {
        Passing::recv(data, from, tag);
        const bool isForward = tag == parallel::messageTag({parallel::ActionKind::Forward, 0, 0}); // in the micro-batches' order
        if (rank() == 1 && isForward && m_received++ % kMostMicroBatches == kBadMicroBatch) {
            const float nan = std::nanf("");
            std::ranges::copy(std::as_bytes(std::span(&nan, 1)), data.begin());
        }
    }

private:
    std::unique_ptr<Communicator> around(std::unique_ptr<Communicator> inner) const override {
        return std::make_unique<NanInMessage>(std::move(inner));
    }
    int m_received = 0;
};

} // namespace

class TestParallelTrain : public QObject {
    Q_OBJECT

private slots:
    void oneRankLearns() {
        const Trained& alone = this->alone(configOf({.accumulation = kMostMicroBatches}));
        QVERIFY2(alone.failure.empty(), alone.failure.c_str());
        QVERIFY2(alone.losses.back() < alone.losses.front() - 0.05,
                 qPrintable(QString("%1 %2").arg(alone.losses.front()).arg(alone.losses.back())));
    }
    void meshes_data();
    void meshes();
    void everyCountRuns();
    void unevenLayersAndRecomputation();
    void bucketsChangeNothing();
    void recomputationIsExact();
    void theMicroBatchOfABadMessageIsNamed();
    void cleanupTestCase() {
        for (const auto& [figure, error] : m_worst) {
            qInfo("%d runs, %s: worst error %.2g of the bound", m_runs, figure.c_str(), error / kBound);
        }
    }

private:
    const Trained& alone(const config::RunConfig& config) {
        const auto [place, isNew] = m_alone.try_emplace({config.model.layers, config.batch.sequences});
        if (isNew) {
            place->second = trainMesh(aloneLike(config));
        }
        return place->second;
    }
    void compare(const config::RunConfig& config, const QByteArray& what) {
        const Trained& expected = alone(config);
        const Trained trained = trainMesh(config);
        QVERIFY2(trained.failure.empty(), what + ": " + trained.failure.c_str());
        const std::pair<const char*, double> figures[] = {
            {"losses", largestError(trained.losses, expected.losses)},
            {"norms", largestError(trained.norms, expected.norms) / 10},
            {"tokens' losses", largestError(trained.evaluated, expected.evaluated) / 10}};
        for (const auto& [figure, error] : figures) { // each on its own: std::max loses a NaN
            QVERIFY2(std::isfinite(error) && error < kBound, what + ": " + figure + " off by " + QByteArray::number(error));
            m_worst[figure] = std::max(m_worst[figure], error);
        }
        QVERIFY2(trained.replicasAgree, what + ": norms differ over the tensor ranks");
        ++m_runs;
    }
    std::map<std::pair<std::int64_t, std::int64_t>, Trained> m_alone; // by layers and sequences
    std::map<std::pair<int, int>, std::set<std::int64_t>> m_seen;     // counts of micro-batches by stages and chunks
    std::map<std::string, double> m_worst;
    int m_runs = 0;
};

void TestParallelTrain::meshes_data() {
    QTest::addColumn<int>("mesh");
    QTest::addColumn<int>("turn");
    const std::vector<Cut> meshes = allMeshes();
    std::map<int, int> turns; // by stages
    for (int mesh = 0; mesh < static_cast<int>(meshes.size()); ++mesh) {
        const Cut& cut = meshes[static_cast<std::size_t>(mesh)];
        QTest::addRow("tensor %d, pipeline %d, data %d%s", cut.tensor, cut.pipeline, cut.data, cut.sequence ? ", sequence" : "")
            << mesh << turns[cut.pipeline]++;
    }
}

void TestParallelTrain::meshes() {
    constexpr std::int64_t bucketSizes[] = {64, 3000, 1 << 20}; // of three: not in step with the counts
    QFETCH(int, mesh);
    QFETCH(int, turn);
    Cut cut = allMeshes()[static_cast<std::size_t>(mesh)];
    for (cut.chunks = 1; cut.chunks <= 4; ++cut.chunks) {
        for (const std::int64_t count : chosenCounts(cut.pipeline, cut.chunks, static_cast<std::size_t>(turn))) {
            cut.accumulation = count;
            config::RunConfig config = configOf(cut);
            config.parallel.bucketBytes = bucketSizes[static_cast<std::size_t>(m_runs) % std::size(bucketSizes)];
            compare(config, QByteArray::fromStdString(cut.text()));
            if (QTest::currentTestFailed()) {
                return;
            }
            m_seen[{cut.pipeline, cut.chunks}].insert(count);
        }
    }
}

/// The choice leaves no count out that an interleaved schedule takes.
void TestParallelTrain::everyCountRuns() {
    if (m_seen.size() < 12) {
        QSKIP("some meshes were not run");
    }
    for (const auto& [at, seen] : m_seen) {
        const std::vector<std::int64_t> all = countsFor(at.first, at.second);
        QVERIFY2(at.second == 1 || std::set(all.begin(), all.end()) == seen,
                 qPrintable(QString("%1 stages, %2 chunks").arg(at.first).arg(at.second)));
    }
}

void TestParallelTrain::unevenLayersAndRecomputation() {
    for (Cut cut : std::vector<Cut>{{2, 2, 1, true, 2, 4, {1, 4, 3, 1}},
                                    {1, 4, 1, false, 1, 3, {4, 1, 1, 3}},
                                    {1, 4, 2, false, 2, 4, {1, 1, 2, 1, 1, 1, 1, 1}},
                                    {1, 2, 4, false, 3, 2, {2, 1, 1, 3, 1, 1}},
                                    {1, 2, 2, false, 1, 5, {2, 7}},
                                    {2, 1, 2, false, 2, 3, {8, 1}},
                                    {2, 4, 1, true, 1, 2, {1, 1, 6, 1}},
                                    {4, 2, 1, false, 1, 1, {6, 3}},
                                    {4, 1, 2, true, 3, 1, {1, 3, 5}},
                                    {2, 2, 2, true, 1, 3, {3, 6}}}) {
        for (const char* recompute : {"none", "selective", "full"}) {
            cut.recompute = recompute;
            compare(configOf(cut), QByteArray::fromStdString(cut.text()));
            if (QTest::currentTestFailed()) {
                return;
            }
        }
    }
}

/// What is computed again is the same to the bit.
void TestParallelTrain::recomputationIsExact() {
    for (Cut cut :
         std::vector<Cut>{{2, 2, 1, false, 1, 4}, {2, 2, 1, true, 1, 4}, {1, 4, 1, false, 2, 4}, {2, 1, 4, true, 1, 2}}) {
        const Trained none = trainMesh(configOf(cut));
        for (const char* recompute : {"selective", "full"}) {
            cut.recompute = recompute;
            const Trained again = trainMesh(configOf(cut));
            QCOMPARE(again.failure, std::string());
            QCOMPARE(again.losses, none.losses);
            QCOMPARE(again.norms, none.norms);
        }
    }
}

/// Many buckets and few, on models cut in every way, with and without padded ends: the same sums in the same order.
void TestParallelTrain::bucketsChangeNothing() {
    for (const Cut& cut :
         std::vector<Cut>{{1, 1, 4, false, 1, 2}, {2, 1, 2, true, 1, 1}, {1, 2, 2, false, 2, 4}, {1, 2, 4, false, 1, 2}}) {
        Trained first;
        for (const std::int64_t bytes : {1 << 28, 64, 2000, 10'000}) {
            config::RunConfig config = configOf(cut);
            config.parallel.bucketBytes = bytes;
            const Trained trained = trainMesh(config);
            QVERIFY2(trained.failure.empty(), trained.failure.c_str());
            first = first.losses.empty() ? trained : first;
            // The norm adds the shards' squares in another order, in double: at most its last bits differ, and through them the
            // clipping's.
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

/// Micro-batches of a pipeline overlap: backward of one stands between forwards of others.
void TestParallelTrain::theMicroBatchOfABadMessageIsNamed() {
    const Between spoils{.world = [](auto inner) { return std::make_unique<NanInMessage>(std::move(inner)); }};
    for (const int chunks : {1, 2, 3}) {
        const Trained trained = trainMesh(configOf({.pipeline = 2, .chunks = chunks, .accumulation = kMostMicroBatches}), spoils);
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
