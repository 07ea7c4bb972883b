// SPDX-License-Identifier: Apache-2.0
// One rank, steered: what each command does, when, and what is said about it.
#include <QtTest>

#include <cmath>

#include "trainer_rig.h"

using namespace telehelm;
using namespace telehelm::tests;
using ipc::CommandKind;
using ipc::EventKind;

class TrainCommandsTest : public QObject {
    Q_OBJECT

    QTemporaryDir m_dir;
    config::RunConfig m_config;
    RecordingLink m_plain; // 20 steps that nobody disturbed
    Training m_plainRun;

    std::filesystem::path folder(const char* name) const { return m_dir.path().toStdString() + "/" + name; }
    static std::vector<double> losses(const RecordingLink& link) { return link.values("train/loss"); }

private slots:
    void initTestCase() {
        makeTinyCorpus(folder("corpus"));
        m_config = parsed(tinyConfig(folder("corpus")));
        m_plainRun = runTraining(m_config, folder("plain"), m_plain);
        QVERIFY(m_plainRun.end.finished);
    }

    void learns() {
        const std::vector<double> loss = losses(m_plain);
        QCOMPARE(loss.size(), std::size_t{20});
        QVERIFY2(std::abs(loss.front() - std::log(272.0)) < 0.2, "an untrained model knows nothing");
        QVERIFY2(loss.back() < loss.front() - 1.5, qPrintable(QString::number(loss.back())));
    }

    void emitsWhatWasAgreed() {
        for (const char* name :
             {"train/loss", "train/grad_norm", "optim/lr", "optim/matrix_lr", "perf/tokens_per_s", "perf/step_ms"}) {
            QCOMPARE(m_plain.values(name).size(), std::size_t{20});
        }
        QCOMPARE(m_plain.values("rank/0/step_ms").size(), std::size_t{3}); // steps 1, 10, 20
        QCOMPARE(m_plain.values("mixture/Code/target"), (std::vector<double>{0.3, 0.3, 0.3}));
        double achieved = 0;
        for (const char* domain : {"WebText", "Code", "Book"}) {
            achieved += m_plain.values(std::string("mixture/") + domain + "/actual").back();
            QCOMPARE(m_plain.values(std::string("bpb/") + domain).size(), std::size_t{2}); // steps 10, 20
        }
        QVERIFY(std::abs(achieved - 1.0) < 1e-9);
        QCOMPARE(m_plain.values("bpb").size(), std::size_t{2});
        const ipc::Point last = m_plain.points.at("train/loss").back();
        QCOMPARE(last.step, 20);
        QCOMPARE(last.tokens, 20 * 6 * 32);
        const auto started = m_plain.eventsOf(EventKind::AttemptStarted);
        QCOMPARE(started.size(), std::size_t{1});
        QCOMPARE(started[0].facts.at("tokens_per_step"), std::string("192"));
        QVERIFY(std::stod(started[0].facts.at("unigram_entropy")) > 2.0);
    }

    void bpbIsNatsOverBits() {
        // The tiny corpus' Code and Book are ASCII: a target is a byte, but for separators, which stand for none.
        const double loss = m_plain.values("valid/loss/Code").back();
        const double bpb = m_plain.values("bpb/Code").back();
        QVERIFY(bpb >= loss / std::log(2.0) && bpb < 1.05 * loss / std::log(2.0));
        const double weighted = 0.6 * m_plain.values("bpb/WebText").back() + 0.3 * bpb + 0.1 * m_plain.values("bpb/Book").back();
        QVERIFY(std::abs(weighted - m_plain.values("bpb").back()) < 1e-9);
    }

    void pauseIsExact() {
        RecordingLink link;
        link.plan(7, command("p", CommandKind::Pause));
        link.plan(7, command("again", CommandKind::Pause), 2);
        link.plan(7, command("r", CommandKind::Resume), 4);
        const Training run = runTraining(m_config, folder("pause"), link);
        QVERIFY(link.pausedPolls >= 4);
        QCOMPARE(link.outcome("p"), std::string("applied 8: Held before step 8 on all ranks."));
        QCOMPARE(link.outcome("again"), std::string("applied 8: Already held before step 8."));
        QCOMPARE(link.outcome("r"), std::string("applied 8: Resumes with step 8."));
        QCOMPARE(losses(link), losses(m_plain)); // bits, not nearly
        QVERIFY(run.parameters == m_plainRun.parameters);
    }

    void pauseWaitsForItsStep() {
        RecordingLink link;
        ipc::Command pause = command("p", CommandKind::Pause);
        pause.atStep = 12;
        link.plan(3, pause);
        ipc::Command late = command("late", CommandKind::Pause);
        late.atStep = 2;
        link.plan(3, late);
        link.plan(11, command("r", CommandKind::Resume), 1);
        runTraining(m_config, folder("pauseAt"), link);
        QCOMPARE(link.outcome("p"), std::string("applied 12: Held before step 12 on all ranks."));
        QCOMPARE(link.outcome("late"), std::string("rejected -1: Step 2 has been trained; the earliest pause is before step 4."));
        QCOMPARE(losses(link), losses(m_plain));
    }

    void resumeOfARunningRunIsRefused() {
        RecordingLink link;
        link.plan(2, command("r", CommandKind::Resume));
        runTraining(m_config, folder("resume"), link);
        QCOMPARE(link.outcome("r"), std::string("rejected -1: The run is not paused."));
    }

    void pausedRunsObey() {
        RecordingLink link;
        link.plan(4, command("p", CommandKind::Pause));
        link.plan(4, command("c", CommandKind::Checkpoint), 1);
        link.plan(4, command("s", CommandKind::Stop), 30);
        const Training run = runTraining(m_config, folder("obey"), link);
        QVERIFY(!run.end.finished);
        QCOMPARE(run.end.step, 4);
        QCOMPARE(link.outcome("c"), std::string("applied 4: Saved as a1-step-00000004."));
        QCOMPARE(link.outcome("s"), std::string("applied 4: Stopped by command after step 4."));
    }

    void stopsWithAndWithoutACheckpoint() {
        for (const bool save : {true, false}) {
            RecordingLink link;
            ipc::Command stop = command("s", CommandKind::Stop);
            stop.saveCheckpoint = save;
            link.plan(7, stop);
            link.plan(7, command("c", CommandKind::Restart));
            const auto dir = folder(save ? "stopSave" : "stopPlain");
            const Training run = runTraining(m_config, dir, link);
            QCOMPARE(run.end.step, 7);
            QCOMPARE(link.outcome("s"), std::string("applied 7: Stopped by command after step 7."));
            QVERIFY(link.outcome("c").starts_with("rejected"));
            QCOMPARE(std::filesystem::exists(dir / "a1-step-00000007"), save);
            QVERIFY(std::filesystem::exists(dir / "a1-step-00000005"));
        }
    }

    void aSignalSavesAndStops() {
        RecordingLink link;
        const Training run = runTraining(m_config, folder("signal"), link, 1, [&](train::TrainerOptions& options) {
            options.stopRequested = [&link] { return link.values("train/loss").size() >= 6; };
        });
        QCOMPARE(run.end.step, 6);
        QCOMPARE(run.end.text, std::string("Stopped by a signal after step 6."));
        QVERIFY(std::filesystem::exists(folder("signal") / "a1-step-00000006" / "manifest.json"));
    }

    void mixtureChangesAtItsStep() {
        RecordingLink link;
        ipc::Command mixture = command("m", CommandKind::SetMixture);
        mixture.mixture = {{"Book", 1.0}};
        mixture.atStep = 11;
        link.plan(4, mixture);
        runTraining(m_config, folder("mixture"), link);
        QCOMPARE(link.outcome("m"), std::string("applied 11: In force from step 11 on."));
        const auto changed = link.eventsOf(EventKind::MixtureChanged);
        QCOMPARE(changed.size(), std::size_t{1});
        QCOMPARE(changed[0].step, 11);
        QCOMPARE(changed[0].tokens, link.points.at("train/loss")[10].tokens);
        QCOMPARE(changed[0].facts.at("share/Book"), std::string("1.000000"));
        const auto before = losses(m_plain);
        const auto after = losses(link);
        QVERIFY(std::equal(before.begin(), before.begin() + 10, after.begin()));
        QVERIFY(before[10] != after[10]);
        QCOMPARE(link.values("mixture/Book/target"), (std::vector<double>{0.1, 0.1, 1.0}));
        QCOMPARE(link.values("mixture/Book/actual").back(), 1.0);
        const auto manifest = train::readManifest(folder("mixture") / "a1-step-00000020");
        QVERIFY(manifest);
        QCOMPARE(manifest->mixtureHistory.size(), std::size_t{2});
        QCOMPARE(manifest->mixtureHistory[1].step, 11);
    }

    void wrongMixturesAreRefused_data() {
        QTest::addColumn<QString>("domain");
        QTest::addColumn<double>("share");
        QTest::addColumn<int>("atStep");
        QTest::addColumn<QString>("says");
        QTest::newRow("unknown") << "Poetry" << 0.4 << -1
                                 << "rejected -1: the corpus has no domain \"Poetry\"; it has WebText, Code, Book.";
        QTest::newRow("sum") << "Book" << 0.3 << -1 << "rejected -1: the shares add up to 90 %, not to 100 %.";
        QTest::newRow("negative") << "Book" << -0.4 << -1 << "rejected -1: Book: a share must not be negative.";
        QTest::newRow("past") << "Book" << 0.4 << 5
                              << "rejected -1: Step 5 has been trained; the earliest step for a new mixture is 6.";
    }
    void wrongMixturesAreRefused() {
        QFETCH(QString, domain);
        QFETCH(double, share);
        QFETCH(int, atStep);
        QFETCH(QString, says);
        RecordingLink link;
        ipc::Command mixture = command("m", CommandKind::SetMixture);
        mixture.mixture = {{"WebText", 0.6}, {domain.toStdString(), share}};
        mixture.atStep = atStep;
        link.plan(5, mixture);
        runTraining(m_config, folder("refused"), link, 1, [](train::TrainerOptions& options) { options.lastStep = 7; });
        QCOMPARE(QString::fromStdString(link.outcome("m")), says);
        QVERIFY(link.eventsOf(EventKind::MixtureChanged).empty());
        std::filesystem::remove_all(folder("refused"));
    }

    void utilisationRefersToTheMeasuredPeak() {
        RecordingLink link;
        runTraining(m_config, folder("mfu"), link, 1, [](train::TrainerOptions& options) { options.calibrate = true; });
        const auto started = link.eventsOf(EventKind::AttemptStarted).at(0).facts;
        const double perToken = m_config.model.flopsPerToken();
        QCOMPARE(std::stod(started.at("flops_per_token")), perToken);
        QCOMPARE(started.at("sgemm_calibration").substr(0, 5), std::string("sgemm"));
        double peak = std::stod(started.at("sgemm_gflops"));
        for (const ipc::Event& note : link.eventsOf(EventKind::Note))
            if (note.facts.contains("sgemm_gflops")) // told again only because it is higher
                peak = std::max(peak, std::stod(note.facts.at("sgemm_gflops")));
        const auto mfu = link.values("perf/mfu"), speed = link.values("perf/tokens_per_s");
        QCOMPARE(mfu.size(), std::size_t{20});
        for (std::size_t i = 0; i < mfu.size(); ++i) {
            QVERIFY2(mfu[i] > 0 && mfu[i] <= 1, qPrintable(QString::number(mfu[i])));
            QVERIFY(mfu[i] * peak * 1e9 * 1.06 > perToken * speed[i]); // never against a peak above those that were told
        }
    }

    void learningRateScales() {
        RecordingLink link;
        ipc::Command scale = command("l", CommandKind::SetLrScale);
        scale.lrScale = 0.5;
        link.plan(10, scale);
        ipc::Command wrong = command("w", CommandKind::SetLrScale);
        wrong.lrScale = -1;
        link.plan(12, wrong);
        runTraining(m_config, folder("scale"), link);
        QCOMPARE(link.outcome("l"), std::string("applied 11: Both learning rates are scaled by 0.5 from step 11 on."));
        QVERIFY(link.outcome("w").starts_with("rejected -1: A learning-rate scale of -1 is out of range"));
        const auto before = m_plain.values("optim/lr");
        const auto after = link.values("optim/lr");
        for (std::size_t i = 0; i < before.size(); ++i) {
            QCOMPARE(after[i], i < 10 ? before[i] : 0.5 * before[i]);
        }
    }

    void openCommandsAreAnsweredAtTheEnd() {
        RecordingLink link;
        ipc::Command pause = command("p", CommandKind::Pause);
        pause.atStep = 500;
        link.plan(1, pause);
        runTraining(m_config, folder("open"), link);
        QCOMPARE(link.outcome("p"), std::string("rejected -1: The run has ended: Reached the last step, 20."));
    }
};

QTEST_GUILESS_MAIN(TrainCommandsTest)
#include "tst_train_commands.moc"
