// SPDX-License-Identifier: Apache-2.0
// Bad steps and slow ranks: found, named, bounded. One rank in this process; the straggler's rule as arithmetic.
#include <QtTest>

#include <cmath>
#include <limits>

#include "model/provenance.h"
#include "train/straggler_watch.h"
#include "trainer_rig.h"

using namespace telehelm;
using namespace telehelm::tests;
namespace fs = std::filesystem;

class FaultsTest : public QObject {
    Q_OBJECT

    QTemporaryDir m_dir;
    std::string m_toml;

    fs::path folder(const std::string& name) const { return m_dir.path().toStdString() + "/" + name; }
    config::RunConfig with(const std::string& extra) const {
        std::string text = m_toml;
        text.replace(text.find("layers = 1"), 10, "layers = 3");
        return parsed(text + extra);
    }

private slots:
    void initTestCase() {
        makeTinyCorpus(folder("corpus"));
        m_toml = tinyConfig(folder("corpus"));
    }

    void nothingHappensUnasked() {
        RecordingLink plain, later;
        const Training one = runTraining(with(""), folder("plain"), plain);
        const Training two = runTraining(with("\n[faults]\nattempt = 2\nnan_step = 5\ndie_step = 7\n"), folder("later"), later);
        QVERIFY(one.parameters == two.parameters);
        QVERIFY(later.eventsOf(ipc::EventKind::StepSkipped).empty());
        for (const ipc::Event& event : later.events) {
            QVERIFY2(event.text.find("FAULT") == std::string::npos, event.text.c_str());
        }
    }

    void aBadStepIsTracedToItsTensor() {
        RecordingLink link;
        const Training training = runTraining(with("\n[faults]\nnan_step = 5\nnan_layer = 1\n"), folder("nan"), link);
        QVERIFY(training.end.finished);
        const auto skipped = link.eventsOf(ipc::EventKind::StepSkipped);
        QCOMPARE(skipped.size(), std::size_t{1});
        QCOMPARE(skipped[0].step, std::int64_t{5});
        const auto& facts = skipped[0].facts;
        QCOMPARE(facts.at("rank"), std::string("0"));
        QCOMPARE(facts.at("stage"), std::string("0"));
        QCOMPARE(facts.at("layer"), std::string("1"));
        QCOMPARE(facts.at("micro_batch"), std::string("0"));
        QCOMPARE(facts.at("tensor"), std::string("layers.1.attention.qkv"));
        QCOMPARE(facts.at("direction"), std::string("forward"));
        QCOMPARE(facts.at("weight_is_bad"), std::string("yes"));
        const auto announced = link.eventsOf(ipc::EventKind::Note);
        QVERIFY(std::ranges::any_of(announced, [](const ipc::Event& event) {
            return event.text.find("FAULT INJECTION IS ON") != std::string::npos && event.severity == ipc::Severity::Warning;
        }));
        for (const float value : training.parameters) {
            QVERIFY(std::isfinite(value));
        }
        QVERIFY(std::isnan(link.values("train/loss").at(4)) && std::isfinite(link.values("train/loss").at(5)));
    }

    /// Wherever a NaN begins, forward or backward, in a layer or outside of all, its rank and tensor are named.
    void everyOriginIsNamed_data() {
        QTest::addColumn<QString>("mesh"); // [parallel]
        QTest::addColumn<int>("rank");
        QTest::addColumn<int>("stage");
        QTest::addColumn<QString>("tensor"); // nan_tensor
        QTest::addColumn<int>("layer");
        QTest::addColumn<int>("microBatch"); // of the backward; −1: forward
        const QString both = "tensor = 2\npipeline = 2\nlayers = [2, 1]\n", sequence = both + "sequence = true\n",
                      full = both + "recompute = \"full\"\n", data = "data = 2\n",
                      chunks = "pipeline = 1\nschedule = \"interleaved\"\nchunks = 3\n",
                      interleaved = "pipeline = 2\nschedule = \"interleaved\"\nchunks = 2\nlayers = [1, 1, 1, 1]\n";
        const auto row = [](const char* name, const QString& mesh, int rank, int stage, const char* tensor, int layer, int microBatch = -1) {
            QTest::newRow(name) << mesh << rank << stage << tensor << layer << microBatch;
        };
        row("embedding", both, 1, 0, "embedding", -1);
        row("embedding, sequence", sequence, 1, 0, "embedding", -1);
        row("embedding of a whole model", data, 1, 0, "embedding", -1);
        row("a sum over tensor ranks", both, 1, 0, "attention.out", 0);
        row("a layer that is handed on", both, 1, 0, "ffn.down", 1);
        row("a layer's norm", both, 3, 1, "ffn.norm", 2);
        row("last norm", both, 3, 1, "norm", 3);
        row("head", both, 3, 1, "head", 3);
        row("head of a whole model", data, 1, 0, "head", 3);
        row("backward, head", both, 3, 1, "head", 3, 2);
        row("backward, last norm", both, 2, 1, "norm", 3, 5);
        row("backward, down", both, 3, 1, "ffn.down", 2, 0);
        row("backward, gate and up, sequence", sequence, 1, 0, "ffn.gate_up", 1, 1);
        row("backward, out, full recomputation", full, 1, 0, "attention.out", 0, 3);
        row("backward, norm", both, 1, 0, "attention.norm", 0, 4);
        row("backward, embedding", both, 1, 0, "embedding", -1, 2);
        row("backward, embedding of a whole model", data, 1, 0, "embedding", -1, 1);
        row("backward, chunks of one stage", chunks, 0, 0, "attention.qkv", 1, 3);
        row("backward, first chunk of two", interleaved, 1, 1, "attention.qkv", 1, 5);
        row("backward, second chunk of two", interleaved, 1, 1, "head", 4, 4);
    }
    void everyOriginIsNamed() {
        QFETCH(QString, mesh);
        QFETCH(int, rank);
        QFETCH(int, stage);
        QFETCH(QString, tensor);
        QFETCH(int, layer);
        QFETCH(int, microBatch);
        const bool isInLayer = tensor.contains('.');
        std::string text = m_toml;
        text.replace(text.find("layers = 1"), 10, mesh.contains("1, 1, 1, 1") ? "layers = 4" : "layers = 3");
        text.replace(text.find("data = 1"), 8, mesh.toStdString());
        text += "\n[faults]\nnan_step = 4\nnan_rank = " + std::to_string(rank) + "\nnan_tensor = \"" + tensor.toStdString() + "\"\n";
        text += isInLayer ? "nan_layer = " + std::to_string(layer) + "\n" : "";
        text += microBatch >= 0 ? "nan_direction = \"backward\"\nnan_micro_batch = " + std::to_string(microBatch) + "\n" : "";
        config::RunConfig config = parsed(text);
        config.steps = 6;
        fs::remove_all(folder("origin"));
        RecordingLink link;
        const Training training = runTraining(config, folder("origin"), link);
        const auto skipped = link.eventsOf(ipc::EventKind::StepSkipped);
        QCOMPARE(skipped.size(), std::size_t{1});
        const auto& facts = skipped[0].facts;
        QVERIFY2(facts.contains("rank"), skipped[0].text.c_str());
        const std::string name = isInLayer ? "layers." + std::to_string(layer) + "." + tensor.toStdString() : tensor.toStdString();
        QCOMPARE(facts.at("tensor"), name);
        QCOMPARE(facts.at("rank"), std::to_string(rank));
        QCOMPARE(facts.at("stage"), std::to_string(stage));
        QCOMPARE(facts.at("layer"), std::to_string(layer));
        QCOMPARE(facts.at("micro_batch"), std::to_string(std::max(microBatch, 0)));
        QCOMPARE(facts.at("direction"), std::string(microBatch < 0 ? "forward" : "backward"));
        QCOMPARE(facts.at("weight_is_bad"), std::string(microBatch < 0 ? "yes" : "no"));
        QVERIFY2(microBatch < 0 || skipped[0].text.find("gradient of " + name) != std::string::npos, skipped[0].text.c_str());
        for (const std::vector<float>& parameters : training.ofAllRanks) {
            QVERIFY(std::ranges::all_of(parameters, [](float value) { return std::isfinite(value); }));
        }
    }

    /// In a backward a later weight comes first, whichever layer it is in and however many lie before it.
    void backwardOriginsAreOrderedOverAllLayers() {
        const config::ModelConfig shape{
            .layers = 25, .hiddenSize = 8, .attentionHeads = 2, .ffnHiddenSize = 8, .vocabSize = 16, .contextLength = 8};
        const auto model = model::makeCpuModel(shape, 1, 1);
        model->initialise(1);
        std::int64_t before = -1;
        const auto& layout = model->layout();
        for (auto weight = layout.rbegin(); weight != layout.rend(); ++weight) {
            float& gradient = model->gradients()[static_cast<std::size_t>(weight->offset + weight->size - 1)];
            gradient = std::numeric_limits<float>::infinity();
            const auto alone = model::firstNonFinite(*model, shape.layers);
            QVERIFY(alone && alone->inBackward);
            QCOMPARE(alone->tensor, weight->name);
            QVERIFY2(alone->position > before && alone->position < 1 << 20, weight->name.c_str());
            before = alone->position;
            float& last = model->gradients()[static_cast<std::size_t>(layout.back().offset)];
            last = std::numeric_limits<float>::quiet_NaN();
            QCOMPARE(model::firstNonFinite(*model, shape.layers)->tensor, std::string("head"));
            last = gradient = 0;
        }
    }

    void aNanThatCannotComeIsRefused() {
        const auto refusal = [this](const std::string& keys) {
            auto config = config::parseRunConfig(m_toml + "\n[faults]\nnan_step = 4\n" + keys, "t.toml");
            return config ? std::string() : config.error().text();
        };
        QCOMPARE(refusal("nan_tensor = \"head\"\n"), std::string());
        QVERIFY(refusal("nan_tensor = \"tail\"\n").find("\"tail\" is not one of embedding|") != std::string::npos);
        QVERIFY(refusal("nan_micro_batch = 1\n").find("only nan_direction = \"backward\" has one of its own") != std::string::npos);
        QVERIFY(refusal("nan_direction = \"backward\"\nnan_micro_batch = 6\n").find("6 is not among the 6 micro-batches") != std::string::npos);
        std::string text = m_toml;
        text.replace(text.find("layers = 1"), 10, "layers = 2");
        text.replace(text.find("data = 1"), 8, "pipeline = 2");
        RecordingLink link;
        try {
            (void)runTraining(parsed(text + "\n[faults]\nnan_step = 4\nnan_tensor = \"head\"\n"), folder("no-head"), link);
            QFAIL("it was taken");
        } catch (const std::runtime_error& error) {
            QVERIFY2(std::string(error.what()).find("nan_rank 0 does not hold nan_tensor head, but embedding, layer 0") != std::string::npos, error.what());
        }
    }

    void tooManyBadStepsEndTheRun() {
        RecordingLink link;
        std::string text = "\n[faults]\nnan_step = 7\nnan_steps = 100\nnan_layer = 2\n";
        config::RunConfig config = with(text);
        config.optimizer.maxSkippedSteps = 4;
        const Training training = runTraining(config, folder("many"), link);
        QVERIFY(!training.end.finished);
        QCOMPARE(training.end.step, std::int64_t{10});
        QVERIFY2(training.end.text.find("4 steps in a row were not finite") != std::string::npos, training.end.text.c_str());
        QVERIFY2(training.end.text.find("after step 6") != std::string::npos, training.end.text.c_str());
        QCOMPARE(link.eventsOf(ipc::EventKind::StepSkipped).size(), std::size_t{4});
        const auto saved = train::listCheckpoints(folder("many"));
        QCOMPARE(saved.front().step, std::int64_t{10});
        QVERIFY(train::verifyCheckpoint(saved.front().path));
        for (const float value : training.parameters) {
            QVERIFY(std::isfinite(value));
        }
        // The count begins again after a good step.
        RecordingLink other;
        config.faults.nanSteps = 3;
        QVERIFY(runTraining(config, folder("few"), other).end.finished);
    }

    void everyRankTellsItsTimes() {
        RecordingLink link;
        (void)runTraining(with("\n[telemetry]\nrank_every_steps = 4\n"), folder("times"), link);
        for (const char* series : {"step_ms", "forward_ms", "backward_ms", "optimizer_ms", "data_ms", "memory_bytes"}) {
            const auto values = link.values(std::string("rank/0/") + series);
            QVERIFY2(values.size() == 6, series); // steps 1, 4, 8, 12, 16, 20
            for (const double value : values) {
                QVERIFY2(value >= 0 && std::isfinite(value), series);
            }
        }
        QVERIFY(link.values("rank/0/forward_ms").front() > 0 && link.values("rank/0/backward_ms").front() > 0);
        QVERIFY(link.values("rank/0/memory_bytes").front() > 1e6);
        for (const char* series : {"comm_tensor_ms", "comm_data_ms", "comm_pipeline_ms", "bubble_ms", "sync_ms"}) {
            QVERIFY2(link.values(std::string("rank/0/") + series).empty(), series); // there is nobody else
        }
    }

    void stragglersComeAndGoWithHysteresis() {
        config::TelemetryConfig rule; // 1.3 times the others in 3 of 5
        train::StragglerWatch watch(rule);
        const std::vector<double> even = {10, 11, 9, 10}, slow = {10, 11, 20, 10};
        QVERIFY(watch.gathered(even).empty());
        QVERIFY(watch.gathered(slow).empty());
        QCOMPARE(watch.skew(), 1.0);
        QVERIFY(watch.gathered(even).empty());
        QVERIFY(watch.gathered(slow).empty());
        const auto began = watch.gathered(slow);
        QCOMPARE(began.size(), std::size_t{1});
        QVERIFY(began[0].began && began[0].rank == 2 && began[0].ratio == 2.0);
        QVERIFY(watch.gathered(slow).empty()); // told once
        int over = 0;
        for (int gather = 0; gather < 10; ++gather) {
            for (const auto& change : watch.gathered(even)) {
                QVERIFY(!change.began && change.rank == 2 && gather >= 2);
                ++over;
            }
        }
        QCOMPARE(over, 1);
        train::StragglerWatch two(rule);
        for (int gather = 0; gather < 2; ++gather) {
            QVERIFY(two.gathered(std::vector<double>{10, 14}).empty());
        }
        QCOMPARE(two.gathered(std::vector<double>{10, 14}).size(), std::size_t{1});
        train::StragglerWatch alone(rule);
        QVERIFY(alone.gathered(std::vector<double>{10}).empty() && alone.skew() == 0);
    }
};

QTEST_GUILESS_MAIN(FaultsTest)
#include "tst_faults.moc"
