// SPDX-License-Identifier: Apache-2.0
// Bad steps and slow ranks: found, named, bounded. One rank in this process; the straggler's rule as arithmetic.
#include <QtTest>

#include <cmath>

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
