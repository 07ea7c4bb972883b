// SPDX-License-Identifier: Apache-2.0
// The whole trainer on every mesh: exact resume, resharding, commands, bad steps, each rank's times. Ranks are threads of this program.
//
// The bound. Meshes differ by the order of fp32 sums; what Adam makes of that in a dozen steps moves a loss by a few 1e-6 of itself
// (printed). Each planted mistake (a mixture one step late, moments of another tensor) moves it by 1e-3 or more.
#include <QtTest>

#include <cmath>

#include <nlohmann/json.hpp>

#include "train/checkpoint_store.h"
#include "train/file_io.h"
#include "trainer_rig.h"

using namespace telehelm;
using namespace telehelm::tests;
using ipc::CommandKind;
using ipc::EventKind;
namespace fs = std::filesystem;

namespace {

constexpr double kBound = 5e-5;
constexpr std::int64_t kSteps = 12, kSaved = 6;

struct MeshCase {
    int tensor, pipeline, data;
    bool sequence;
    int chunks;
    [[nodiscard]] std::string text() const {
        return "tp" + std::to_string(tensor) + "pp" + std::to_string(pipeline) + "dp" + std::to_string(data) + (sequence ? "sp" : "") +
               (chunks > 1 ? "c" + std::to_string(chunks) : "");
    }
};
constexpr MeshCase kAlone{1, 1, 1, false, 1};
const std::vector<MeshCase> kMeshes = {kAlone,
                                       {2, 1, 1, true, 1},
                                       {1, 2, 1, false, 1},
                                       {1, 1, 2, false, 1},
                                       {2, 2, 1, true, 1},
                                       {2, 1, 2, false, 1},
                                       {1, 2, 2, false, 2},
                                       {4, 2, 1, true, 2},
                                       {2, 2, 2, true, 1},
                                       {4, 1, 1, true, 1},
                                       {1, 4, 1, false, 1},
                                       {1, 1, 4, false, 1},
                                       {4, 1, 2, false, 2},
                                       {2, 4, 1, true, 1},
                                       {1, 4, 2, false, 1},
                                       {2, 1, 4, true, 1},
                                       {1, 2, 4, false, 2}}; // all of up to 8 ranks

double largestError(const std::vector<double>& values, const std::vector<double>& expected) {
    double largest = values.size() == expected.size() ? 0 : 1e9;
    for (std::size_t i = 0; i < std::min(values.size(), expected.size()); ++i) {
        const double error = std::abs(values[i] - expected[i]) / std::abs(expected[i]);
        largest = std::isnan(values[i]) && std::isnan(expected[i]) ? largest : error > largest || std::isnan(error) ? error : largest;
    }
    return largest;
}

void replace(std::string& text, const std::string& from, const std::string& to) {
    text.replace(text.find(from), from.size(), to);
}

} // namespace

class MeshTrainerTest : public QObject {
    Q_OBJECT

    QTemporaryDir m_dir;
    std::string m_toml;
    double m_worst = 0;

    fs::path folder(const std::string& name) const { return m_dir.path().toStdString() + "/" + name; }
    config::RunConfig on(const MeshCase& mesh, const std::string& extra = {}) const {
        std::string text = m_toml + extra;
        replace(text, "[parallel]\ndata = 1",
                "[parallel]\ntensor = " + std::to_string(mesh.tensor) + "\npipeline = " + std::to_string(mesh.pipeline) +
                    "\ndata = " + std::to_string(mesh.data) + "\nsequence = " + (mesh.sequence ? "true" : "false") +
                    "\nchunks = " + std::to_string(mesh.chunks) + "\nschedule = \"" + (mesh.chunks > 1 ? "interleaved" : "1f1b") + "\"");
        return parsed(text);
    }
    void compare(const RecordingLink& link, const std::vector<double>& expected, const std::string& what) {
        const double error = largestError(link.values("train/loss"), expected);
        m_worst = std::max(m_worst, error);
        QVERIFY2(error < kBound, (what + ": off by " + std::to_string(error)).c_str());
    }
    void editManifest(const fs::path& checkpoint, const std::string& one, const std::string& other) const {
        auto json = nlohmann::ordered_json::parse(*train::readWhole(checkpoint / "manifest.json"));
        for (auto& tensor : json["tensors"]) {
            tensor["name"] = tensor["name"] == one ? other : tensor["name"] == other ? one : tensor["name"].get<std::string>();
        }
        QVERIFY(train::writeWhole(checkpoint / "manifest.json", json.dump()));
    }

private slots:
    void initTestCase() {
        makeTinyCorpus(folder("corpus"));
        m_toml = tinyConfig(folder("corpus"));
        replace(m_toml, "steps = 20", "steps = " + std::to_string(kSteps));
        replace(m_toml, "layers = 1", "layers = 4");
        replace(m_toml, "hidden_size = 32", "hidden_size = 16");
        replace(m_toml, "attention_heads = 2", "attention_heads = 4");
        replace(m_toml, "context_length = 32", "context_length = 16");
        replace(m_toml, "sequences = 6", "sequences = 8");
        replace(m_toml, "every_steps = 10", "every_steps = 0");
        replace(m_toml, "every_steps = 5", "every_steps = " + std::to_string(kSaved));
    }

    /// From every mesh to every mesh; to the same one bit for bit.
    void everyMeshResumesEveryOther() {
        std::vector<double> alone;
        for (const MeshCase& from : kMeshes) {
            RecordingLink whole;
            const Training unbroken = runTraining(on(from), folder(from.text()), whole);
            const std::vector<double> losses = whole.values("train/loss");
            alone = alone.empty() ? losses : alone;
            compare(whole, alone, from.text());
            const fs::path checkpoint = folder(from.text()) / train::checkpointName(1, kSaved);
            for (const MeshCase& to : kMeshes) {
                const std::string what = from.text() + " -> " + to.text();
                RecordingLink rest;
                const Training training =
                    runTraining(on(to, "\n[resume]\ncheckpoint = \"" + checkpoint.string() + "\"\n"), folder("resumed"), rest, 2);
                const std::vector<double> tail(losses.begin() + kSaved, losses.end());
                compare(rest, tail, what);
                if (from.text() == to.text()) {
                    QVERIFY2(rest.values("train/loss") == tail && training.ofAllRanks == unbroken.ofAllRanks, what.c_str());
                }
                fs::remove_all(folder("resumed"));
                if (QTest::currentTestFailed()) {
                    return;
                }
            }
        }
        qInfo("%zu meshes, each to each: worst error %g", kMeshes.size(), m_worst);
        // Planted: two layers' moments exchanged.
        const fs::path checkpoint = folder(kMeshes[4].text()) / train::checkpointName(1, kSaved);
        editManifest(checkpoint, "adam.m/layers.0.attention.qkv", "adam.m/layers.3.attention.qkv");
        RecordingLink wrong;
        (void)runTraining(on(kMeshes[3], "\n[resume]\ncheckpoint = \"" + checkpoint.string() + "\"\n"), folder("wrong"), wrong, 2);
        const double error = largestError(wrong.values("train/loss"), {alone.begin() + kSaved, alone.end()});
        QVERIFY2(error > 4 * kBound, qPrintable(QString::number(error)));
    }

    /// Pause, mixture, learning rate and checkpoint, each at its step: what one rank makes of them, every mesh makes.
    void commandsActOnAllRanksAtTheSameStep() {
        const auto steered = [&](const MeshCase& mesh, std::int64_t mixtureStep, RecordingLink& link) {
            link.plan(3, command("pause", CommandKind::Pause));
            link.plan(3, command("resume", CommandKind::Resume), 3);
            ipc::Command mixture = command("mixture", CommandKind::SetMixture);
            mixture.mixture = {{"Book", 0.9}, {"Code", 0.1}};
            mixture.atStep = mixtureStep;
            link.plan(4, mixture);
            ipc::Command scale = command("scale", CommandKind::SetLrScale);
            scale.lrScale = 0.25;
            link.plan(8, scale);
            link.plan(9, command("save", CommandKind::Checkpoint));
            ipc::Command stop = command("stop", CommandKind::Stop);
            stop.saveCheckpoint = false;
            link.plan(11, stop);
            return runTraining(on(mesh), folder("steered-" + mesh.text()), link);
        };
        RecordingLink alone;
        (void)steered(kAlone, 7, alone);
        const std::vector<double> losses = alone.values("train/loss");
        QCOMPARE(losses.size(), std::size_t{11});
        for (const MeshCase& mesh : kMeshes) {
            RecordingLink link;
            const Training training = mesh.text() == kAlone.text() ? Training{} : steered(mesh, 7, link);
            if (training.ofAllRanks.empty()) {
                continue;
            }
            compare(link, losses, mesh.text());
            QCOMPARE(link.outcome("pause"), std::string("applied 4: Held before step 4 on all ranks."));
            QCOMPARE(link.outcome("resume"), std::string("applied 4: Resumes with step 4."));
            QCOMPARE(link.outcome("mixture"), std::string("applied 7: In force from step 7 on."));
            QCOMPARE(link.outcome("scale"), alone.outcome("scale"));
            QCOMPARE(link.outcome("save"), std::string("applied 9: Saved as a1-step-00000009."));
            QCOMPARE(link.outcome("stop"), std::string("applied 11: Stopped by command after step 11."));
            QVERIFY(train::verifyCheckpoint(folder("steered-" + mesh.text()) / train::checkpointName(1, 9)));
        }
        RecordingLink late; // what a rank that acts a step later would do to the loss
        (void)steered({1, 2, 1, false, 1}, 8, late);
        QVERIFY(largestError(late.values("train/loss"), losses) > 4 * kBound);
    }

    /// A restart with another mixture and rate, from a checkpoint of another mesh.
    void restartsChangeTheSameOnEveryMesh() {
        RecordingLink whole;
        (void)runTraining(on({2, 1, 2, true, 1}), folder("before"), whole);
        const std::string resume = "\n[resume]\ncheckpoint = \"" + (folder("before") / train::checkpointName(1, kSaved)).string() +
                                   "\"\ntake = \"lr_scale mixture\"\n";
        std::vector<double> losses;
        for (const MeshCase& mesh : kMeshes) {
            config::RunConfig config = on(mesh, resume);
            config.optimizer.lrScale = 0.5;
            config.data.mixture = {{"WebText", 10.0}, {"Code", 90.0}};
            RecordingLink link;
            (void)runTraining(config, folder("restarted"), link, 2);
            losses = losses.empty() ? link.values("train/loss") : losses;
            compare(link, losses, mesh.text());
            QCOMPARE(link.eventsOf(EventKind::MixtureChanged).size(), std::size_t{1});
            QCOMPARE(link.eventsOf(EventKind::MixtureChanged)[0].step, kSaved + 1);
            fs::remove_all(folder("restarted"));
        }
        const std::vector<double> unchanged = whole.values("train/loss");
        QVERIFY(largestError(losses, {unchanged.begin() + kSaved, unchanged.end()}) > 1e-3);
    }

    /// What no weight's shape shows.
    void anotherModelIsToldOrRefused() {
        const fs::path checkpoint = folder("settings") / train::checkpointName(1, kSaved);
        RecordingLink first, second, third;
        (void)runTraining(on(kAlone), folder("settings"), first);
        config::RunConfig config = on(kMeshes[4], "\n[resume]\ncheckpoint = \"" + checkpoint.string() + "\"\n");
        (void)runTraining(config, folder("settings2"), second, 2);
        config.model.ropeTheta = 50;
        config.model.inputMult = 1.5;
        (void)runTraining(config, folder("settings3"), third, 3);
        const auto told = [](const RecordingLink& link) {
            std::string text;
            for (const ipc::Event& event : link.eventsOf(EventKind::Note)) {
                text += event.text.starts_with("The config changes") ? event.text : "";
            }
            return text;
        };
        QCOMPARE(told(second), std::string());
        QCOMPARE(told(third), std::string("The config changes what the checkpoint was trained with: [model] input_mult 1 → 1.5, "
                                          "[model] rope_theta 10000 → 50. The config's values are in force."));
        QVERIFY(largestError(third.values("train/loss"), second.values("train/loss")) > 1e-3); // they do
        config.model.attentionHeads = 8; // the same shapes, another model
        RecordingLink none;
        try {
            (void)runTraining(config, folder("settings4"), none, 4);
            QFAIL("another number of heads was taken");
        } catch (const std::runtime_error& error) {
            const std::string text = error.what();
            QVERIFY2(text.find("has 4 attention heads, but the config's [model] attention_heads is 8") != std::string::npos, error.what());
        }
    }

    void badStepsAreNamedOnEveryMesh_data() {
        QTest::addColumn<int>("mesh");
        QTest::addColumn<int>("rank");
        QTest::addColumn<int>("layer");
        QTest::addColumn<int>("stage");
        QTest::newRow("tensor rank 1") << 1 << 1 << 2 << 0;
        QTest::newRow("stage 1") << 2 << 1 << 3 << 1;
        QTest::newRow("data rank 1") << 3 << 1 << 0 << 0;
        QTest::newRow("tensor 1, stage 1") << 4 << 3 << 3 << 1; // layers 0 to 2 are stage 0's: the head counts
        QTest::newRow("tensor 1, data 1") << 5 << 3 << 3 << 0;
        QTest::newRow("second chunk of stage 0") << 6 << 0 << 2 << 0;
        QTest::newRow("all axes") << 8 << 7 << 3 << 1;
    }
    void badStepsAreNamedOnEveryMesh() {
        QFETCH(int, mesh);
        QFETCH(int, rank);
        QFETCH(int, layer);
        QFETCH(int, stage);
        const MeshCase& at = kMeshes[static_cast<std::size_t>(mesh)];
        const auto fault = [&](int on) {
            return "\n[faults]\nnan_step = 5\nnan_steps = 2\nnan_rank = " + std::to_string(on) + "\nnan_layer = " + std::to_string(layer) + "\n";
        };
        fs::remove_all(folder("nan-alone"));
        fs::remove_all(folder("nan"));
        RecordingLink alone, link;
        (void)runTraining(this->on(kAlone, fault(0)), folder("nan-alone"), alone);
        const Training training = runTraining(this->on(at, fault(rank)), folder("nan"), link);
        compare(link, alone.values("train/loss"), at.text()); // skipped by all or by none
        const auto skipped = link.eventsOf(EventKind::StepSkipped);
        QCOMPARE(skipped.size(), std::size_t{2});
        QCOMPARE(link.values("train/skipped_steps"), (std::vector<double>{1, 2}));
        for (std::size_t i = 0; i < 2; ++i) {
            QCOMPARE(skipped[i].step, static_cast<std::int64_t>(5 + i));
            const auto& facts = skipped[i].facts;
            QCOMPARE(facts.at("rank"), std::to_string(rank));
            QCOMPARE(facts.at("stage"), std::to_string(stage));
            QCOMPARE(facts.at("layer"), std::to_string(layer));
            QCOMPARE(facts.at("micro_batch"), std::string("0"));
            QCOMPARE(facts.at("tensor"), "layers." + std::to_string(layer) + ".attention.qkv");
            QCOMPARE(facts.at("direction"), std::string("forward"));
            QCOMPARE(facts.at("weight_is_bad"), std::string("yes"));
        }
        for (const std::vector<float>& parameters : training.ofAllRanks) {
            QVERIFY(std::ranges::all_of(parameters, [](float value) { return std::isfinite(value); }));
        }
    }

    /// A fault on a layer that the rank does not hold would never come, and its test would prove nothing.
    void aFaultThatCannotComeIsRefused() {
        RecordingLink link;
        try {
            (void)runTraining(on(kMeshes[4], "\n[faults]\nnan_step = 5\nnan_rank = 3\nnan_layer = 0\n"), folder("no-fault"), link);
            QFAIL("it was taken");
        } catch (const std::runtime_error& error) {
            const std::string text = error.what();
            QVERIFY2(text.find("nan_rank 3 does not hold nan_layer 0") != std::string::npos, error.what());
        }
    }

    void aReplicaThatDriftsEndsTheRun() {
        const MeshCase mesh{2, 1, 1, true, 1};
        const std::string drift = "\n[faults]\ndrift_step = 6\ndrift_rank = 1\n";
        for (const std::int64_t every : {std::int64_t{1}, std::int64_t{3}, std::int64_t{5}, config::ParallelConfig().checkReplicasEvery}) {
            RecordingLink link;
            try {
                config::RunConfig config = on(mesh, drift);
                config.steps = every + 10;
                config.parallel.checkReplicasEvery = every;
                (void)runTraining(config, folder("drift-" + std::to_string(every)), link);
                QFAIL("it went on");
            } catch (const std::runtime_error& error) {
                const std::string text = error.what();
#ifdef NDEBUG
                const std::int64_t step = (6 + every - 1) / every * every; // the next one that is checked
#else
                const std::int64_t step = 6;
#endif
                QVERIFY2(text.find("after step " + std::to_string(step) + " layers.0.attention.norm is not the same on rank 0 (tensor 0) and rank 1 "
                                   "(tensor 1); the run must not go on ([parallel] check_replicas_every)") != std::string::npos,
                         error.what());
            }
        }
    }

    void tooManyBadStepsStopEveryRank() {
        config::RunConfig config = on(kMeshes[8], "\n[faults]\nnan_step = 4\nnan_steps = 100\nnan_rank = 5\nnan_layer = 3\n");
        config.optimizer.maxSkippedSteps = 3;
        RecordingLink link;
        const Training training = runTraining(config, folder("many"), link);
        QVERIFY(!training.end.finished);
        QCOMPARE(training.end.step, std::int64_t{6});
        QVERIFY2(training.end.text.find("3 steps in a row were not finite") != std::string::npos, training.end.text.c_str());
        QCOMPARE(link.eventsOf(EventKind::StepSkipped).size(), std::size_t{3});
        QVERIFY(train::verifyCheckpoint(folder("many") / train::checkpointName(1, 6)));
        const auto critical = link.eventsOf(EventKind::Note);
        QVERIFY(std::ranges::any_of(critical, [](const ipc::Event& event) { return event.severity == ipc::Severity::Critical; }));
    }

    /// A slow rank's own work shows in its own series, the waiting for it in those of its neighbours on each axis.
    void everyRanksTimesAreMeasured() {
        constexpr int kSlowMs = 80;
        const MeshCase mesh{2, 2, 2, true, 1};
        RecordingLink link;
        (void)runTraining(on(mesh, "\n[telemetry]\nrank_every_steps = 1\nstraggler_ratio = 6.0\n[faults]\nslow_rank = 0\nslow_ms = " +
                                       std::to_string(kSlowMs) + "\nslow_steps = 4\n"),
                          folder("times"), link);
        const auto slow = [&](int rank, const std::string& name) { // the least of the slow steps
            const auto values = link.values("rank/" + std::to_string(rank) + "/" + name);
            return values.size() == kSteps ? *std::min_element(values.begin(), values.begin() + 4) : -1;
        };
        for (int rank = 0; rank < 8; ++rank) {
            const auto at = [&](const char* name, std::size_t step) { return link.values("rank/" + std::to_string(rank) + "/" + name).at(step); };
            for (std::size_t step = 0; step < kSteps; ++step) {
                double held = 0;
                for (const char* name : {"comm_tensor_ms", "comm_data_ms", "comm_pipeline_ms", "bubble_ms", "sync_ms"}) {
                    QVERIFY2(at(name, step) > 0, name);
                    held += at(name, step);
                }
                const double work = at("forward_ms", step) + at("backward_ms", step) + at("optimizer_ms", step) + at("data_ms", step);
                QVERIFY(std::abs(work - at("step_ms", step)) < 1e-6 && at("forward_ms", step) > 0 && at("optimizer_ms", step) > 0);
                if (rank == 0) {
                    QVERIFY(work + held <= link.values("perf/step_ms").at(step)); // no time is counted twice
                }
            }
        }
        QVERIFY(slow(0, "backward_ms") >= kSlowMs && slow(0, "step_ms") >= kSlowMs);
        QVERIFY2(slow(1, "comm_tensor_ms") > kSlowMs / 2.0, qPrintable(QString::number(slow(1, "comm_tensor_ms"))));
        QVERIFY2(slow(4, "bubble_ms") > kSlowMs / 2.0, qPrintable(QString::number(slow(4, "bubble_ms"))));
        QVERIFY2(slow(2, "comm_data_ms") + slow(2, "sync_ms") > kSlowMs / 2.0, qPrintable(QString::number(slow(2, "comm_data_ms"))));
        std::vector<std::string> told;
        for (const ipc::Event& event : link.eventsOf(EventKind::Note)) {
            if (event.facts.contains("straggler")) {
                told.push_back(event.facts.at("straggler") + " " + event.facts.at("rank"));
            }
        }
        QCOMPARE(told, (std::vector<std::string>{"begins 0", "over 0"}));
        QCOMPARE(link.values("perf/rank_skew").size(), static_cast<std::size_t>(kSteps));
        QVERIFY(link.values("perf/rank_skew").front() > 6);
    }

    void validationIsTheSameOnEveryMesh() {
        std::vector<double> loss, bpb;
        for (const MeshCase& mesh : kMeshes) {
            config::RunConfig config = on(mesh);
            config.validation.everySteps = kSaved;
            RecordingLink link;
            (void)runTraining(config, folder("valid"), link, 1, [](train::TrainerOptions& options) { options.lastStep = kSaved; });
            loss = loss.empty() ? link.values("valid/loss") : loss;
            bpb = bpb.empty() ? link.values("bpb/Code") : bpb;
            QVERIFY(loss.size() == 1 && bpb.size() == 1);
            QVERIFY2(largestError(link.values("valid/loss"), loss) < kBound, mesh.text().c_str());
            QVERIFY2(largestError(link.values("bpb/Code"), bpb) < kBound, mesh.text().c_str());
            fs::remove_all(folder("valid"));
        }
    }
};

QTEST_GUILESS_MAIN(MeshTrainerTest)
#include "tst_mesh_trainer.moc"
