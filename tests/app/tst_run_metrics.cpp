// SPDX-License-Identifier: GPL-3.0-or-later
// What the bridge strip writes: values with units, time left, ages.
#include <cmath>

#include <QTest>

#include "models/run_metrics.h"

using namespace telehelm;
using namespace telehelm::app;

namespace {

constexpr std::int64_t kNow = 1'700'000'000'000'000;

ipc::RunInfo bigRun(ipc::AttemptState state = ipc::AttemptState::Running) {
    ipc::RunInfo run;
    run.run = "teleflm-52b-main";
    run.parameters = 52'850'000'000;
    run.device = "896 × A800 80 GB";
    run.tensorParallel = 4;
    run.pipelineParallel = 2;
    run.dataParallel = 112;
    run.totalSteps = 363'304;
    run.totalTokens = 2'000'000'000'000;
    run.minimumLearningRate = 1.5e-5;
    run.lrSchedule = "cosine";
    run.clipGrad = 1;
    ipc::AttemptInfo attempt;
    attempt.key = {run.run, 1};
    attempt.state = state;
    attempt.step = 44'310;
    attempt.tokens = 243'900'000'000;
    run.attempts.push_back(attempt);
    return run;
}

RunMetrics metricsAt(std::int64_t wallUs) {
    RunMetrics metrics;
    ipc::TelemetryBatch batch;
    const auto put = [&](const char* name, double value) { batch.series.push_back({name, {{44'310, 0, wallUs, value}}}); };
    put("train/loss", 1.9);
    put("train/grad_norm", 0.272);
    put("optim/lr", 1.471e-4);
    put("perf/tokens_per_s", 352'400);
    put("perf/mfu", 0.432);
    put("perf/step_ms", 15'620);
    put("rank/7/step_ms", 15'000);
    put("rank/431/step_ms", 16'000);
    metrics.takeBatch(batch);
    return metrics;
}

QString line(const ReadoutText& text) { return QStringList{text.label, text.value, text.unit, text.sub}.join(QStringLiteral(" | ")); }

} // namespace

class TestRunMetrics : public QObject {
    Q_OBJECT
private slots:
    void readoutsAreWrittenAsDesigned() {
        const auto readouts = readoutsOf(bigRun(), metricsAt(kNow), kNow);
        QStringList lines;
        for (const auto& readout : readouts)
            lines << line(readout);
        QCOMPARE(lines[0], QStringLiteral("Step | 44,310 | of 363,304 | "));
        QCOMPARE(qRound(readouts[0].progress * 1000), 122);
        QVERIFY2(lines[1].startsWith(QStringLiteral("Tokens | 243.9 | B | of 2")), qPrintable(lines[1]));
        QCOMPARE(lines[2], QStringLiteral("Train loss | 1.900 |  | nats per token"));
        QCOMPARE(lines[3], QStringLiteral("Gradient norm | 0.272 |  | clip at 1.0"));
        QCOMPARE(lines[4], QStringLiteral("Learning rate | 1.471e-4 |  | cosine to 1.5e-5"));
        QVERIFY2(lines[5].startsWith(QStringLiteral("Throughput | 352.4 | k tokens/s | 393")), qPrintable(lines[5]));
        QCOMPARE(lines[6], QStringLiteral("MFU | 43.2 | % | of measured peak"));
        QCOMPARE(lines[7], QStringLiteral("Step time | 15.62 | s | slowest: rank 431"));
        QVERIFY2(lines[8].startsWith(QStringLiteral("Time left | 57 d 16 h |  | until ")), qPrintable(lines[8]));
    }
    void withoutPointsThereAreDashes() {
        const auto readouts = readoutsOf(bigRun(), RunMetrics(), kNow);
        for (const auto id : {ReadoutId::Loss, ReadoutId::GradNorm, ReadoutId::LearningRate, ReadoutId::Mfu, ReadoutId::StepTime, ReadoutId::TimeLeft})
            QCOMPARE(readouts[static_cast<std::size_t>(id)].value, QStringLiteral("–"));
    }
    void anEndedRunHasNoTimeLeft() {
        const auto readouts = readoutsOf(bigRun(ipc::AttemptState::Stopped), metricsAt(kNow), kNow);
        QCOMPARE(readouts[static_cast<std::size_t>(ReadoutId::TimeLeft)].value, QStringLiteral("–"));
    }
    void valuesAge() {
        const auto metrics = metricsAt(kNow);
        const auto age = [&](double seconds, ipc::AttemptState state = ipc::AttemptState::Running) {
            return ageOf(bigRun(state), metrics, kNow + static_cast<std::int64_t>(seconds * 1e6)).age;
        };
        QCOMPARE(age(20), Age::Fresh); // a step takes 15.6 s
        QCOMPARE(age(32), Age::Old);
        QCOMPARE(age(79), Age::Stale);
        QCOMPARE(age(1000, ipc::AttemptState::Paused), Age::Fresh); // a held run does not age
    }
    void aNotFiniteLossIsShown() {
        RunMetrics metrics;
        ipc::TelemetryBatch batch;
        batch.series.push_back({"train/loss", {{1, 0, kNow, std::nan("")}}});
        metrics.takeBatch(batch);
        QCOMPARE(readoutsOf(bigRun(), metrics, kNow)[static_cast<std::size_t>(ReadoutId::Loss)].value, QStringLiteral("NaN"));
    }
    void historyNeverReplacesNews() {
        auto metrics = metricsAt(kNow);
        ipc::SeriesInfo old;
        old.name = "train/loss";
        old.lastStep = 10;
        old.latest = 7;
        metrics.takeSeries({old});
        QCOMPARE(metrics.latest("train/loss")->value, 1.9);
    }
};

QTEST_GUILESS_MAIN(TestRunMetrics)
#include "tst_run_metrics.moc"
