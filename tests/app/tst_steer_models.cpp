// SPDX-License-Identifier: GPL-3.0-or-later
// The models behind steering: mixture arithmetic, audit log, checkpoints, config diffs.
#include <numeric>

#include <QAbstractItemModelTester>
#include <QSignalSpy>
#include <QTest>

#include "models/audit_model.h"
#include "models/checkpoints_model.h"
#include "models/config_diff.h"
#include "models/mixture_changes_model.h"
#include "models/mixture_model.h"
#include "models/text_format.h"
#include "pages/step_means.h"
#include "scripted_daemon.h"

using namespace telehelm;
using namespace telehelm::app;

namespace {

/// A table as text: a row a line, cells by " | ".
QString printed(const QAbstractItemModel& model) {
    QStringList lines;
    for (int row = 0; row < model.rowCount(); ++row) {
        QStringList cells;
        for (int column = 0; column < model.columnCount(); ++column) {
            cells << model.index(row, column).data().toString();
        }
        lines << cells.join(QStringLiteral(" | "));
    }
    return lines.join(QLatin1Char('\n'));
}

ipc::RunInfo smallRun() {
    ipc::RunInfo run;
    run.run = "demo";
    run.tokensPerStep = 1000;
    run.totalTokens = 1'000'000;
    run.totalSteps = 1000;
    ipc::AttemptInfo attempt;
    attempt.key = {"demo", 1};
    attempt.state = ipc::AttemptState::Running;
    attempt.step = 500;
    attempt.tokens = 500'000;
    run.attempts = {attempt};
    run.domains = {{"Web", "en", 400'000, 300'000, 0.6}, {"Code", "code", 200'000, 150'000, 0.3}, {"Book", "zh", 0, 50'000, 0.1}};
    return run;
}

} // namespace

class TestSteerModels : public QObject {
    Q_OBJECT
private slots:
    void hundredthsAddUp();
    void mixtureTable();
    void normaliseKeepsLocks();
    void normaliseRefuses();
    void draftSurvivesNews();
    void auditPrinted();
    void auditFilters();
    void auditUpsert();
    void csvQuotes();
    void checkpointChoice();
    void restartDiffs();
    void scaleInForceAtACheckpoint();
    void mixtureHistory();
    void meansSplitAtTheStep();
    void formats();
};

void TestSteerModels::hundredthsAddUp() {
    for (const auto& shares : std::vector<std::vector<double>>{{1, 1, 1}, {0.752, 0.0981, 0.0717, 0.0287, 0.0212, 0.0283}, {1e-9, 1, 1}, {7, 7, 7, 7, 7, 7, 7}}) {
        const auto parts = hundredths(shares);
        QCOMPARE(std::accumulate(parts.begin(), parts.end(), qint64{0}), kWholeMixture);
        for (std::size_t i = 0; i < shares.size(); ++i) { // nobody gets more than a hundredth too much
            const double exact = shares[i] / std::accumulate(shares.begin(), shares.end(), 0.0) * double(kWholeMixture);
            QVERIFY(std::abs(double(parts[i]) - exact) < 1.0);
        }
    }
    QCOMPARE(hundredths({0, 0}), (std::vector<qint64>{0, 0}));
}

void TestSteerModels::mixtureTable() {
    MixtureModel model;
    QAbstractItemModelTester tester(&model, QAbstractItemModelTester::FailureReportingMode::QtTest);
    model.setRun(smallRun(), 501);
    QVERIFY(model.setData(model.index(0, MixtureModel::New), 50.0, Qt::EditRole));
    QVERIFY(model.setData(model.index(1, MixtureModel::New), 40.0, Qt::EditRole));
    QCOMPARE(printed(model), QStringLiteral(" | Web | en | 60.00 | 50.00 | −10.00 |  | 300 k | 0.75 | 1.38\n"
                                            " | Code | code | 30.00 | 40.00 | +10.00 |  | 150 k | 0.75 | 1.75\n"
                                            " | Book | zh | 10.00 | 10.00 | 0.00 |  | 50 k | – | –"));
    QCOMPARE(model.total(), kWholeMixture);
    QCOMPARE(model.draft().at("Code"), 0.4);
    QVERIFY(!model.setData(model.index(0, MixtureModel::New), -1.0, Qt::EditRole));
    QVERIFY(!model.setData(model.index(0, MixtureModel::New), 100.5, Qt::EditRole));
    QVERIFY(!model.setData(model.index(0, MixtureModel::New), QStringLiteral("much"), Qt::EditRole));
    QVERIFY(!model.setData(model.index(0, MixtureModel::Current), 1.0, Qt::EditRole));
    model.resetToCurrent();
    QVERIFY(!model.isChanged());
}

void TestSteerModels::normaliseKeepsLocks() {
    MixtureModel model;
    model.setRun(smallRun(), 501);
    model.setData(model.index(0, MixtureModel::New), 33.33, Qt::EditRole);
    model.setData(model.index(2, MixtureModel::New), 17.77, Qt::EditRole);
    model.setLocked(2, true);
    QVERIFY(model.normalise());
    QCOMPARE(model.total(), kWholeMixture);
    QCOMPARE(model.newHundredths(2), 1777); // locked: as typed
    QCOMPARE(model.newHundredths(0), std::llround(8223.0 * 3333 / 6333));
    QVERIFY(!(model.flags(model.index(2, MixtureModel::New)) & Qt::ItemIsEditable));
    QVERIFY(!model.setData(model.index(2, MixtureModel::New), 5.0, Qt::EditRole));
    model.lockChanged();
    QVERIFY(model.isLocked(0) && model.isLocked(1) && model.isLocked(2));
}

void TestSteerModels::normaliseRefuses() {
    MixtureModel model;
    model.setRun(smallRun(), 501);
    model.setData(model.index(0, MixtureModel::New), 90.0, Qt::EditRole);
    model.setLocked(0, true);
    model.setLocked(1, true);
    QString why;
    QVERIFY(!model.normalise(&why));
    QVERIFY2(why.contains(QStringLiteral("120.00 %")), qPrintable(why));
    model.setLocked(1, false);
    model.setData(model.index(1, MixtureModel::New), 0.0, Qt::EditRole);
    model.setData(model.index(2, MixtureModel::New), 0.0, Qt::EditRole);
    QVERIFY(model.normalise()); // nothing to scale: equal parts of what is left
    QCOMPARE(model.newHundredths(1), 500);
    QCOMPARE(model.newHundredths(2), 500);
}

void TestSteerModels::draftSurvivesNews() {
    MixtureModel model;
    ipc::RunInfo run = smallRun();
    model.setRun(run, 501);
    model.setData(model.index(0, MixtureModel::New), 55.0, Qt::EditRole);
    QSignalSpy resets(&model, &QAbstractItemModel::modelReset);
    run.domains[0].target = 0.5; // another operator's change came in between
    run.domains[1].target = 0.4;
    run.attempts[0].step = 510;
    model.setRun(run, 520);
    QCOMPARE(resets.count(), 0);
    QCOMPARE(model.newHundredths(0), 5500); // typed here: stays
    QCOMPARE(model.newHundredths(1), 4000); // untouched: follows
    QCOMPARE(model.currentHundredths(0), 5000);
}

void TestSteerModels::auditPrinted() {
    app::test::ScriptedDaemon daemon;
    fillBigRun(daemon);
    AuditModel model;
    QAbstractItemModelTester tester(&model, QAbstractItemModelTester::FailureReportingMode::QtTest);
    std::vector<AuditEntry> entries;
    for (const auto& command : daemon.commands) {
        entries.push_back(auditEntry(command));
    }
    for (const auto& event : daemon.events) {
        if (auto entry = auditEntry(event)) {
            entries.push_back(*entry);
        }
    }
    model.setEntries(std::move(entries));
    QCOMPARE(printed(model), QStringLiteral("Nov 19 12:23 | 37,000 | telehelmd | Checkpoint | saved | Checkpoint of step 37,000 saved and verified\n"
                                            "Nov 18 20:43 | 33,240 | operator-1 | Restart | applied | 更换 NCCL 网络配置，修复跨机房通信抖动\n"
                                            "Nov 18 20:43 | 33,240 | operator-1 | Pause | applied | Save first, then change the network settings\n"
                                            "Nov 18 09:05 | 30,500 | operator-1 | Mixture | applied | 提高代码和知识类数据比例，按第二阶段计划执行\n"
                                            "Nov 18 02:22 | 28,836 | viewer-1 | Stop | refused | The token of viewer-1 allows reading only\n"
                                            "Nov 16 03:08 | 17,500 | telehelmd | Rank | failed | Rank 612 failed (signal 9)\n"
                                            "Nov 13 02:13 | 0 | telehelmd | Start | attempt 1 started | Attempt 1 of teleflm-52b-main started"));
    QCOMPARE(model.number(0), 7);
    QCOMPARE(model.index(4, AuditModel::Result).data(AuditModel::SeverityRole).toInt(), int(ipc::Severity::Critical));
}

void TestSteerModels::auditFilters() {
    app::test::ScriptedDaemon daemon;
    fillBigRun(daemon);
    AuditModel model;
    AuditFilter filter;
    filter.setSourceModel(&model);
    QAbstractItemModelTester tester(&filter, QAbstractItemModelTester::FailureReportingMode::QtTest);
    std::vector<AuditEntry> entries;
    for (const auto& command : daemon.commands) {
        entries.push_back(auditEntry(command));
    }
    entries.push_back(*auditEntry(daemon.events[1]));
    model.setEntries(std::move(entries));
    QCOMPARE(filter.rowCount(), 5);
    filter.setCategory(AuditCategory::Mixture);
    QCOMPARE(filter.rowCount(), 1);
    filter.setCategory(AuditCategory::Automatic);
    QCOMPARE(filter.index(0, AuditModel::Action).data().toString(), QStringLiteral("Rank"));
    filter.setCategory(AuditCategory::RunControl);
    filter.setAuthor(QStringLiteral("viewer-1"));
    QCOMPARE(filter.rowCount(), 1);
    filter.setAuthor({});
    filter.setSearch(QStringLiteral("网络"));
    QCOMPARE(filter.rowCount(), 1);
    filter.setSearch(QStringLiteral("nowhere"));
    QCOMPARE(filter.rowCount(), 0);
}

void TestSteerModels::auditUpsert() {
    AuditModel model;
    QAbstractItemModelTester tester(&model, QAbstractItemModelTester::FailureReportingMode::QtTest);
    ipc::Command command;
    command.id = "a";
    command.requestedUs = 2'000'000;
    command.state = ipc::CommandState::Accepted;
    model.upsert(auditEntry(command));
    command.id = "b";
    command.requestedUs = 1'000'000;
    model.upsert(auditEntry(command));
    QCOMPARE(model.entry(0).key, QStringLiteral("command/a"));
    command.id = "a";
    command.requestedUs = 2'000'000;
    command.state = ipc::CommandState::Applied;
    model.upsert(auditEntry(command));
    QCOMPARE(model.rowCount(), 2);
    QCOMPARE(model.entry(0).result, QStringLiteral("applied"));
}

void TestSteerModels::csvQuotes() {
    AuditModel model;
    ipc::Command command;
    command.id = "a";
    command.author = "o";
    command.reason = "one, \"two\"";
    model.upsert(auditEntry(command));
    QCOMPARE(tableAsCsv(model), QStringLiteral("When,Step,Who,Action,Result,Why\r\n–,–,o,Pause,requested,\"one, \"\"two\"\"\"\r\n"));
}

void TestSteerModels::checkpointChoice() {
    app::test::ScriptedDaemon daemon;
    fillBigRun(daemon);
    CheckpointsModel model;
    QAbstractItemModelTester tester(&model, QAbstractItemModelTester::FailureReportingMode::QtTest);
    model.setCheckpoints(daemon.checkpoints, std::nullopt);
    QCOMPARE(model.chosen()->step, 44'000);
    model.setCheckpoints(daemon.checkpoints, 43'700); // 43,500 is damaged: the one before
    QCOMPARE(model.chosen()->step, 43'000);
    QCOMPARE(model.index(1, CheckpointsModel::Condition).data().toString(), QStringLiteral("damaged: tensor layers.3.ffn.up: checksum differs"));
    QVERIFY(!model.choose(1));
    QCOMPARE(model.chosen()->step, 43'000);
    QSignalSpy changed(&model, &CheckpointsModel::chosenChanged);
    QVERIFY(model.choose(0));
    QCOMPARE(changed.count(), 1);
    QCOMPARE(model.index(2, CheckpointsModel::Condition).data().toString(), QStringLiteral("verified, suggested"));
}

void TestSteerModels::restartDiffs() {
    const QString toml = QStringLiteral("name = \"x\"\n[optimizer]\nlearning_rate = 1e-3 # of all\nclip_grad = 1.0 # norm\n[data]\nseed = 7\n[data.mixture]\nWeb = 60.0\n\"Code\" = 40.0\n");
    QCOMPARE(tomlValue(toml, QStringLiteral("optimizer"), QStringLiteral("clip_grad")), QStringLiteral("1.0"));
    QCOMPARE(tomlNumber(toml, QStringLiteral("data"), QStringLiteral("seed")), 7.0);
    QVERIFY(!tomlValue(toml, QStringLiteral("data"), QStringLiteral("clip_grad")));
    ipc::RestartOptions options;
    options.clipGrad = 0.8;
    options.lrScale = 0.5;
    options.dataSeed = 7; // the same: no change
    options.mixture = ipc::Mixture{{"Web", 0.55}, {"Code", 0.45}};
    const auto lines = restartDiff(toml, options, QStringLiteral("/runs/x/checkpoints/a1-step-00000200"));
    QCOMPARE(diffText(lines), QStringLiteral("[optimizer]\n+   lr_scale = 0.5\n-   clip_grad = 1.0\n+   clip_grad = 0.8\n"
                                             "[data.mixture]\n-   Code = 40.00\n+   Code = 45.00\n-   Web = 60.00\n+   Web = 55.00\n"
                                             "[resume]\n+   checkpoint = \"/runs/x/checkpoints/a1-step-00000200\"\n+   take = \"lr_scale seed mixture\""));
    QCOMPARE(changedSettings(lines), 6);
    // A second restart: the keys are there now, and nothing is taken but the checkpoint's own values.
    const QString again = toml + QStringLiteral("[resume]\ntake = \"seed\"\ncheckpoint = \"/a\"\n");
    QCOMPARE(diffText(restartDiff(again, {}, QStringLiteral("/b"))),
             QStringLiteral("[resume]\n-   checkpoint = \"/a\"\n+   checkpoint = \"/b\"\n-   take = \"seed\"\n+   take = \"none\""));
    QCOMPARE(parseDiff(QStringLiteral("[data]\n-seed = 1\n+seed = 2\n")), (std::vector<DiffLine>{{QLatin1Char(' '), "[data]"}, {QLatin1Char('-'), "seed = 1"}, {QLatin1Char('+'), "seed = 2"}}));
}

void TestSteerModels::scaleInForceAtACheckpoint() {
    ipc::RunInfo run;
    run.run = "x";
    run.attempts.resize(3);
    for (std::uint32_t i = 0; i < 3; ++i)
        run.attempts[i].key = {"x", i + 1};
    run.attempts[0].configToml = "[optimizer]\nlr_scale = 0.8\n";
    run.attempts[1].configToml = "[optimizer]\nlr_scale = 0.8\n[resume]\ntake = \"none\"\n";
    run.attempts[1].parent = 1;
    run.attempts[1].forkStep = 200;
    run.attempts[2].configToml = "[optimizer]\nlr_scale = 0.1\n[resume]\ntake = \"lr_scale seed\"\n";
    run.attempts[2].parent = 2;
    run.attempts[2].forkStep = 300;
    ipc::Command order;
    order.kind = ipc::CommandKind::SetLrScale;
    order.state = ipc::CommandState::Applied;
    order.key = {"x", 1};
    order.lrScale = 0.5;
    order.appliedStep = 150;
    ipc::Command refused = order;
    refused.state = ipc::CommandState::Rejected;
    refused.lrScale = 9;
    refused.appliedStep = 160;
    const std::vector<ipc::Command> orders{refused, order};
    QCOMPARE(lrScaleAt(run, orders, 1, 149), 0.8);
    QCOMPARE(lrScaleAt(run, orders, 1, 150), 0.5);
    QCOMPARE(lrScaleAt(run, orders, 2, 250), 0.5); // taken over from the checkpoint of step 200
    QCOMPARE(lrScaleAt(run, orders, 3, 350), 0.1); // the restart gave its own
    QCOMPARE(lrScaleAt(run, {}, 2, 250), 0.8);
}

void TestSteerModels::mixtureHistory() {
    app::test::ScriptedDaemon daemon;
    fillBigRun(daemon);
    MixtureChangesModel model;
    QAbstractItemModelTester tester(&model, QAbstractItemModelTester::FailureReportingMode::QtTest);
    model.setChanges(mixtureChanges(daemon.run, daemon.commands));
    model.setNorms(0, 0.19, 0.235);
    QCOMPARE(printed(model), QStringLiteral("30,500 | Nov 18 09:12 | operator-1 | mix-0030500 | WebText −2.00, Code +0.91, QA +0.52, WorldKnowledge +0.27, others +0.30 | "
                                            "0.190 → 0.235 (+24 %) | 提高代码和知识类数据比例，按第二阶段计划执行\n"
                                            "0 | Nov 13 02:13 | – | mix-0000000 | initial mixture | – | Run start"));
    QVERIFY(model.index(0, MixtureChangesModel::GradNorm).data(MixtureChangesModel::ShiftedRole).toBool());
}

void TestSteerModels::meansSplitAtTheStep() {
    ipc::SeriesSegment segment;
    segment.name = ipc::series::kGradNorm;
    for (int step = 1; step <= 20; ++step) {
        ipc::Bucket bucket;
        bucket.firstStep = bucket.lastStep = step;
        bucket.sum = step < 11 ? 1 : 3;
        bucket.count = 1;
        if (step == 12) { // a NaN: counted, but not finite
            bucket.sum = 0;
            bucket.nonFinite = 1;
        }
        segment.buckets.push_back(bucket);
    }
    auto means = meansAround({segment}, ipc::series::kGradNorm, 11, 5);
    QCOMPARE(*means.before, 1.0);
    QCOMPARE(*means.after, 3.0);
    segment.superseded = true;
    means = meansAround({segment}, ipc::series::kGradNorm, 11, 5);
    QVERIFY(!means.before && !means.after);
}

void TestSteerModels::formats() {
    QCOMPARE(text::count(44310), QStringLiteral("44,310"));
    QCOMPARE(text::tokens(243.9e9), QStringLiteral("243.9 B"));
    QCOMPARE(text::tokens(341e6), QStringLiteral("341 M"));
    QCOMPARE(text::tokens(999.96e6), QStringLiteral("1.0 B"));
    QCOMPARE(text::duration(26 * 3600 + 25 * 60), QStringLiteral("26 h 25 min"));
    QCOMPARE(text::duration(12), QStringLiteral("12 s"));
    QCOMPARE(text::duration(57.0 * 86400 + 16 * 3600), QStringLiteral("57 d 16 h"));
    QCOMPARE(text::withSign(-3.2, 2), QStringLiteral("−3.20"));
    QCOMPARE(text::withSign(-0.001, 2), QStringLiteral("0.00"));
    QCOMPARE(text::learningRate(1.471e-4), QStringLiteral("1.471e-4"));
    QCOMPARE(text::fixed(std::nan(""), 2), QStringLiteral("–"));
    QCOMPARE(text::change(0.19, 0.235), QStringLiteral("+24 %"));
}

QTEST_GUILESS_MAIN(TestSteerModels)
#include "tst_steer_models.moc"
