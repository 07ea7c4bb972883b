// SPDX-License-Identifier: GPL-3.0-or-later
// Runs, series, events and messages, each under QAbstractItemModelTester and printed as text.
#include <limits>

#include <QAbstractItemModelTester>
#include <QSettings>
#include <QSignalSpy>
#include <QTemporaryDir>
#include <QTest>

#include "models/events_model.h"
#include "models/messages_model.h"
#include "models/runs_model.h"
#include "models/series_model.h"

using namespace telehelm;
using namespace telehelm::app;

namespace {

QString printed(const QAbstractItemModel& model, const QModelIndex& parent = {}, const QString& indent = {}) {
    QString out;
    for (int row = 0; row < model.rowCount(parent); ++row) {
        QStringList cells;
        for (int column = 0; column < model.columnCount(parent); ++column)
            cells << model.index(row, column, parent).data().toString();
        out += indent + cells.join(QStringLiteral(" | ")) + QLatin1Char('\n');
        out += printed(model, model.index(row, 0, parent), indent + QStringLiteral("  "));
    }
    return out;
}

ipc::RunInfo run(const char* name, ipc::AttemptState state, std::int64_t created = 1) {
    ipc::RunInfo info;
    info.run = name;
    info.createdUs = created;
    ipc::AttemptInfo attempt;
    attempt.key = {name, 1};
    attempt.state = state;
    info.attempts.push_back(attempt);
    return info;
}

ipc::TelemetryBatch batch(const char* run, std::vector<std::pair<const char*, double>> values, std::int64_t step) {
    ipc::TelemetryBatch batch;
    batch.key = {run, 1};
    for (const auto& [name, value] : values)
        batch.series.push_back({name, {{step, step * 10, step, value}}});
    return batch;
}

std::vector<ipc::SeriesInfo> lossHistory() {
    ipc::SeriesInfo info;
    info.key = {"demo", 1};
    info.name = "train/loss";
    info.points = 10;
    info.firstStep = 1;
    info.lastStep = 10;
    info.latest = 2.5;
    return {info};
}

ipc::Event happened(std::int64_t id, ipc::Severity severity, std::int64_t wallUs, const char* text, const char* run = "demo") {
    ipc::Event e;
    e.id = id;
    e.key = {run, 1};
    e.severity = severity;
    e.wallUs = wallUs;
    e.step = id * 10;
    e.text = text;
    return e;
}

} // namespace

class TestLiveModels : public QObject {
    Q_OBJECT
private slots:
    void init() {
        m_dir = std::make_unique<QTemporaryDir>();
        m_settings = std::make_unique<QSettings>(m_dir->filePath(QStringLiteral("s.ini")), QSettings::IniFormat);
    }
    void slotsAreTheLowestFreeOnesAndKept();
    void slotsComeBackInALaterSession();
    void runsSayWhatTheyDo();
    void seriesStandInTheirGroups();
    void seriesFollowNewsAndCursor();
    void olderNewsNeverReplaceNewer();
    void eventsAreNewestFirstAndFiltered();
    void anEventWithAKnownIdReplacesItsRow();
    void messagesAreNewestFirst();

private:
    std::unique_ptr<QTemporaryDir> m_dir;
    std::unique_ptr<QSettings> m_settings;
};

void TestLiveModels::slotsAreTheLowestFreeOnesAndKept() {
    RunSlots runSlots(*m_settings);
    const QStringList nine{"a", "b", "c", "d", "e", "f", "g", "h", "i"};
    runSlots.setRuns(nine);
    for (int i = 0; i < nine.size(); ++i)
        QCOMPARE(runSlots.slotOf(nine[i]), i);
    QCOMPARE(RunSlots::colourOf(runSlots.slotOf("i")), 0);
    QCOMPARE(RunSlots::dashOf(runSlots.slotOf("i")), 1);
    runSlots.setRuns({"a", "c"}); // b's slot is free for a newcomer
    runSlots.setRuns({"a", "c", "new"});
    QCOMPARE(runSlots.slotOf("c"), 2);
    QCOMPARE(runSlots.slotOf("new"), 1);
    runSlots.setHidden("a", true);
    QCOMPARE(runSlots.slotOf("a"), 0); // hiding never recolours
}

void TestLiveModels::slotsComeBackInALaterSession() {
    {
        RunSlots runSlots(*m_settings);
        runSlots.setRuns({"first", "with/slash"});
    }
    RunSlots later(*m_settings);
    later.setRuns({"newcomer", "with/slash"});
    QCOMPARE(later.slotOf("with/slash"), 1);
    QCOMPARE(later.slotOf("newcomer"), 0);
}

void TestLiveModels::runsSayWhatTheyDo() {
    RunSlots runSlots(*m_settings);
    RunsModel model(runSlots);
    QAbstractItemModelTester tester(&model, QAbstractItemModelTester::FailureReportingMode::QtTest);
    model.setRuns({run("main", ipc::AttemptState::Running), run("pilot", ipc::AttemptState::Stopped)});
    QCOMPARE(printed(model), QStringLiteral("main | live\npilot | stopped\n"));
    QSignalSpy changed(&model, &QAbstractItemModel::dataChanged);
    model.updateRun(run("main", ipc::AttemptState::Running));
    QCOMPARE(changed.count(), 0); // progress alone changes no cell
    model.updateRun(run("main", ipc::AttemptState::Paused));
    QCOMPARE(changed.count(), 1);
    model.updateRun(run("pilot", ipc::AttemptState::Running));
    model.setStale(true);
    runSlots.setHidden("main", true);
    QCOMPARE(printed(model), QStringLiteral("main | hidden\npilot | stale\n"));
    model.setRuns({});
    QCOMPARE(model.rowCount(), 0);
}

void TestLiveModels::seriesStandInTheirGroups() {
    SeriesModel model;
    QAbstractItemModelTester tester(&model, QAbstractItemModelTester::FailureReportingMode::QtTest);
    ipc::DomainInfo poems{"ClassicalChinese", "zh", 0, 0, 0}, web{"WebText", "en, zh", 0, 0, 0};
    model.setRun("demo", 0, {poems, web});
    model.takeNews(batch("demo", {{"perf/mfu", 0.4321}, {"bpb/WebText", 0.6}, {"optim/lr", 1.471e-4}, {"train/loss", 1.9}}, 5));
    model.takeNews(batch("demo", {{"bpb/ClassicalChinese", 0.9}, {"bpb", 0.7}, {"perf/tokens_per_s", 352'400}, {"rank/1/step_ms", 1562},
                                    {"memory/peak_rss_bytes", 2.147e8}}, 5));
    model.takeNews(batch("other", {{"train/loss", 7}}, 6));
    QCOMPARE(printed(model), QStringLiteral("Training |  | \n"
                                            "  loss | – | 1.900\n"
                                            "  learning rate | – | 1.471e-4\n"
                                            "  tokens/s | – | 352.4k\n"
                                            "Validation |  | \n"
                                            "  BPB weighted | – | 0.700\n"
                                            "BPB, 1 domain |  | \n"
                                            "  BPB WebText | – | 0.600\n"
                                            "Chinese BPB, 1 domain |  | \n"
                                            "  BPB ClassicalChinese | – | 0.900\n"
                                            "System |  | \n"
                                            "  MFU | – | 43.2 %\n"
                                            "  peak memory | – | 215 MB\n"
                                            "Ranks |  | \n"
                                            "  1 step time | – | 1.56 s\n"));
    model.setRun("other", 1, {});
    QCOMPARE(model.rowCount(), 0);
}

void TestLiveModels::seriesFollowNewsAndCursor() {
    SeriesModel model;
    QAbstractItemModelTester tester(&model, QAbstractItemModelTester::FailureReportingMode::QtTest);
    model.setRun("demo", 3, {});
    model.setSeries(lossHistory());
    model.takeNews(batch("demo", {{"train/loss", std::numeric_limits<double>::quiet_NaN()}}, 11));
    const auto loss = model.indexOf("train/loss");
    QCOMPARE(loss.siblingAtColumn(SeriesModel::Latest).data().toString(), QStringLiteral("NaN"));
    model.setAtCursor({{"train/loss", 2.271}});
    QCOMPARE(loss.siblingAtColumn(SeriesModel::AtCursor).data().toString(), QStringLiteral("2.271"));
    model.setAtCursor({});
    QCOMPARE(loss.siblingAtColumn(SeriesModel::AtCursor).data().toString(), QStringLiteral("–"));
    QSignalSpy hidden(&model, &SeriesModel::hiddenChanged);
    model.setHidden("train/loss", true);
    model.setHidden("train/loss", true);
    QCOMPARE(hidden.count(), 1);
    QVERIFY(loss.data(SeriesModel::HiddenRole).toBool());
    QCOMPARE(loss.data(SeriesModel::SlotRole).toInt(), 3);
}

void TestLiveModels::olderNewsNeverReplaceNewer() {
    SeriesModel model;
    model.setRun("demo", 0, {});
    model.takeNews(batch("demo", {{"train/loss", 2.0}}, 20));
    model.setSeries(lossHistory()); // an answer overtaken by the news
    QCOMPARE(model.indexOf("train/loss").siblingAtColumn(SeriesModel::Latest).data().toString(), QStringLiteral("2.000"));
}

void TestLiveModels::eventsAreNewestFirstAndFiltered() {
    EventsModel model;
    QAbstractItemModelTester tester(&model, QAbstractItemModelTester::FailureReportingMode::QtTest);
    EventsFilter filter;
    filter.setSourceModel(&model);
    QAbstractItemModelTester filterTester(&filter, QAbstractItemModelTester::FailureReportingMode::QtTest);
    model.setEvents({happened(1, ipc::Severity::Info, 100, "one"), happened(2, ipc::Severity::Critical, 200, "two")});
    model.add(happened(4, ipc::Severity::Warning, 400, "four", "pilot"));
    model.add(happened(3, ipc::Severity::Benign, 300, "three")); // came late, stands in its place
    QStringList texts;
    for (int row = 0; row < model.rowCount(); ++row)
        texts << model.index(row, EventsModel::Text).data().toString();
    QCOMPARE(texts.join(' '), QStringLiteral("four three two one"));
    filter.setRun("demo");
    QCOMPARE(filter.rowCount(), 3);
    filter.setLeast(ipc::Severity::Warning);
    QCOMPARE(filter.rowCount(), 1);
    QCOMPARE(filter.index(0, EventsModel::Step).data().toString(), QStringLiteral("20"));
}

void TestLiveModels::anEventWithAKnownIdReplacesItsRow() {
    EventsModel model;
    model.add(happened(1, ipc::Severity::Info, 100, "first"));
    model.add(happened(1, ipc::Severity::Critical, 100, "worse"));
    QCOMPARE(model.rowCount(), 1);
    QCOMPARE(model.event(0).text, std::string("worse"));
}

void TestLiveModels::messagesAreNewestFirst() {
    MessagesModel model;
    QAbstractItemModelTester tester(&model, QAbstractItemModelTester::FailureReportingMode::QtTest);
    for (int i = 0; i < 1010; ++i)
        model.add({i, ipc::Severity::Info, QString::number(i)});
    QCOMPARE(model.rowCount(), 1000);
    QCOMPARE(model.index(0, MessagesModel::Text).data().toString(), QStringLiteral("1009"));
    QCOMPARE(model.index(999, MessagesModel::Text).data().toString(), QStringLiteral("10"));
}

QTEST_GUILESS_MAIN(TestLiveModels)
#include "tst_live_models.moc"
