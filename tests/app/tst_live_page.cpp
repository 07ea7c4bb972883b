// SPDX-License-Identifier: GPL-3.0-or-later
// The live page on a session in the test's own process.
#include <random>

#include <QApplication>
#include <QCheckBox>
#include <QLabel>
#include <QLineEdit>
#include <QPushButton>
#include <QSignalSpy>
#include <QSplitter>
#include <QTest>
#include <QToolButton>

#include "dialogs/scrim.h"
#include "fake_daemon.h"
#include "pages/bpb_panel.h"
#include "pages/live_flags.h"
#include "pages/live_page.h"
#include "pages/plot_toolbar.h"
#include "plots/overview_strip.h"
#include "plots/plot_stack.h"
#include "plots/value_text.h"

using namespace telehelm;
using namespace telehelm::app;
using namespace telehelm::app::testing;

namespace {

constexpr std::array kDomains{"WebText",          "Code",           "Book",           "WorldKnowledge", "QA",
                              "ClassicalChinese", "Profession-Law", "Profession-Math"};

std::unique_ptr<FakeDaemon> makeDaemon() {
    auto daemon = std::make_unique<FakeDaemon>();
    ipc::RunInfo& run = daemon->run;
    run.clipGrad = 1.0;
    run.learningRate = 3e-3;
    run.minimumLearningRate = 3e-4;
    run.lrSchedule = "cosine";
    for (const char* domain : kDomains)
        run.domains.push_back({domain, "en", 1'000'000, 0, 0.125});
    return daemon;
}

void train(FakeDaemon& daemon, std::int64_t from, std::int64_t to, std::uint32_t attempt = 1) {
    static std::mt19937 random(5);
    std::normal_distribution<double> noise(0, 0.08);
    for (std::int64_t step = from; step <= to; ++step) {
        const double base = 2.2 + 3.4 * std::exp(-static_cast<double>(step) / 120);
        const auto point = [step](double value) { return std::vector{FakeDaemon::pointAt(step, value)}; };
        std::vector<ipc::SeriesBlock> blocks{{"train/loss", point(base + noise(random) + (step == 420 ? 1.1 : 0))},
                                             {"train/grad_norm", point(0.4 * std::exp(noise(random) * 3))},
                                             {"perf/tokens_per_s", point(step % 100 ? 11'800 + 200 * noise(random) : 9'000)},
                                             {"perf/mfu", point((step % 100 ? 11'800 : 9'000) * 3.2e-5)},
                                             {"perf/step_ms", point(340)},
                                             {"optim/lr", point(3e-3 * (0.1 + 0.9 * std::cos(static_cast<double>(step) / 700)))}};
        if (step % 50 == 0) {
            blocks.push_back({"valid/loss", point(base)});
            blocks.push_back({"bpb", point(base / 2.2)});
            for (const char* domain : kDomains)
                blocks.push_back({std::string("bpb/") + domain, point(base / 2.2 + noise(random))});
            ipc::Event saved;
            saved.id = static_cast<std::int64_t>(daemon.events.size()) + 1;
            saved.key = {"main", attempt};
            saved.kind = ipc::EventKind::CheckpointSaved;
            saved.step = step;
            saved.wallUs = FakeDaemon::pointAt(step, 0).wallUs;
            saved.text = "Checkpoint saved";
            std::lock_guard lock(daemon.mutex);
            daemon.events.push_back(saved);
        }
        daemon.emitPoints(attempt, std::move(blocks));
    }
}

void addEvent(FakeDaemon& daemon, std::int64_t step, ipc::EventKind kind, ipc::Severity severity, const char* text) {
    ipc::Event event;
    event.id = static_cast<std::int64_t>(daemon.events.size()) + 1;
    event.key = {"main", kind == ipc::EventKind::AttemptStarted ? 2U : 1U};
    event.kind = kind;
    event.severity = severity;
    event.step = step;
    event.wallUs = FakeDaemon::pointAt(step, 0).wallUs;
    event.text = text;
    daemon.events.push_back(event);
}

struct Opened {
    std::unique_ptr<FakeDaemon> daemon;
    std::unique_ptr<ThemeController> theme = std::make_unique<ThemeController>();
    std::unique_ptr<Session> session;
    std::unique_ptr<LivePage> page;

    explicit Opened(std::unique_ptr<FakeDaemon> made) : daemon(std::move(made)) {
        theme->apply(*qApp);
        session = std::make_unique<Session>(fakeLinks(*daemon));
        page = std::make_unique<LivePage>(*theme, *session);
        page->resize(1290, 676);
        page->show();
        session->open("test");
    }
    [[nodiscard]] bool hasSteps(std::size_t count) const {
        const auto values = page->stack()->valuesAt(0, NAN);
        return !values.empty() && values.front().x >= static_cast<double>(count);
    }
};

void save(QWidget& widget, const char* name) {
    const QString folder = qEnvironmentVariable("TELEHELM_SCREENSHOTS");
    if (!folder.isEmpty())
        QVERIFY(widget.grab().save(folder + QLatin1Char('/') + QLatin1String(name)));
}

} // namespace

class TestLivePage : public QObject {
    Q_OBJECT

private slots:
    void saysThatNoRunIsOpen();
    void saysWhatItWaitsFor();
    void followsTheNewestStep();
    void panningEndsFollowAndCountsSteps();
    void axisSwitchKeepsTheZoom();
    void rangeFieldZooms();
    void rangeDialogSetsBothAxes();
    void keysActOnTheFocusedPlots();
    void cursorValuesCoverAllSeries();
    void eventsBecomeFlags();
    void referencesComeFromTheTables();
    void smoothingSliderIsLinearInLogHalfLife();
    void looksLikeTheDesign_data();
    void looksLikeTheDesign();
};

void TestLivePage::saysThatNoRunIsOpen() {
    ThemeController theme;
    FakeDaemon daemon;
    Session session(fakeLinks(daemon)); // not opened
    LivePage page(theme, session);
    page.show();
    bool said = false;
    for (const QLabel* label : page.findChildren<QLabel*>())
        said = said || (label->isVisible() && label->text() == "No run is open");
    QVERIFY(said);
}

void TestLivePage::saysWhatItWaitsFor() {
    auto daemon = makeDaemon();
    daemon->run.validationEvery = 50;
    train(*daemon, 1, 20);
    daemon->run.attempts.front().step = 20;
    const Opened opened(std::move(daemon));
    QTRY_VERIFY(opened.hasSteps(20));
    opened.page->bpb()->stack(BpbLanguage::English)->replotNow();
    save(*opened.page, "appa-live-waiting.png");
    QVERIFY(opened.page->bpb()->stack(BpbLanguage::English)->valuesAt(0, NAN).empty());
}

void TestLivePage::followsTheNewestStep() {
    auto daemon = makeDaemon();
    train(*daemon, 1, 200);
    const Opened opened(std::move(daemon));
    QTRY_VERIFY(opened.hasSteps(200));
    QVERIFY(opened.page->isFollowing());
    QTRY_VERIFY(opened.page->stack()->xRange().second >= 200);
    train(*opened.daemon, 201, 300);
    QTRY_VERIFY(opened.hasSteps(300));
    QTRY_VERIFY(opened.page->stack()->xRange().second >= 300);
    QCOMPARE(opened.page->stack()->xRange().first, 0.0);
    opened.page->stack()->zoomTo(200, 310); // narrower, the newest step still in view
    QVERIFY(opened.page->isFollowing());
    train(*opened.daemon, 301, 400);
    QTRY_VERIFY(opened.page->stack()->xRange().second >= 400);
    const auto [from, to] = opened.page->stack()->xRange();
    QVERIFY(std::abs((to - from) - 110) < 1e-6);
}

void TestLivePage::panningEndsFollowAndCountsSteps() {
    auto daemon = makeDaemon();
    train(*daemon, 1, 200);
    const Opened opened(std::move(daemon));
    QTRY_VERIFY(opened.hasSteps(200));
    QSignalSpy following(opened.page.get(), &LivePage::followingChanged);
    opened.page->stack()->zoomTo(50, 100);
    QCOMPARE(following.count(), 1);
    QVERIFY(!opened.page->isFollowing());
    train(*opened.daemon, 201, 230);
    QTRY_COMPARE(opened.page->toolbar()->follow()->text(), "30 new steps, Follow");
    QCOMPARE(opened.page->stack()->xRange(), (std::pair{50.0, 100.0}));
    opened.page->toolbar()->follow()->click();
    QTRY_VERIFY(opened.page->isFollowing());
    QTRY_VERIFY(opened.page->stack()->xRange().second >= 230);
    QCOMPARE(opened.page->toolbar()->follow()->text(), "Follow");
}

void TestLivePage::axisSwitchKeepsTheZoom() {
    auto daemon = makeDaemon();
    train(*daemon, 1, 500);
    const Opened opened(std::move(daemon));
    QTRY_VERIFY(opened.hasSteps(500));
    QTest::qWait(150); // the overview's answer too: it knows how axes belong together
    opened.page->stack()->zoomTo(100, 200);
    opened.page->stack()->setFocus();
    QTest::keyClick(opened.page->stack(), Qt::Key_2);
    QCOMPARE(opened.page->stack()->xRange(), (std::pair{100.0 * 512, 200.0 * 512}));
    QTRY_VERIFY(!opened.page->stack()->valuesAt(0, 150 * 512).empty() &&
                opened.page->stack()->valuesAt(0, 150 * 512).front().x == 150 * 512);
    QTest::keyClick(opened.page->stack(), Qt::Key_3);
    QCOMPARE(opened.page->stack()->xRange().first, static_cast<double>(FakeDaemon::pointAt(100, 0).wallUs));
    QTest::keyClick(opened.page->stack(), Qt::Key_1);
    const auto [from, to] = opened.page->stack()->xRange();
    QVERIFY(std::abs(from - 100) < 0.01 && std::abs(to - 200) < 0.01);
}

void TestLivePage::rangeFieldZooms() {
    auto daemon = makeDaemon();
    train(*daemon, 1, 500);
    const Opened opened(std::move(daemon));
    QTRY_VERIFY(opened.hasSteps(500));
    auto* field = opened.page->toolbar()->findChild<QLineEdit*>();
    field->setFocus();
    field->selectAll();
    QTest::keyClicks(field, "0.1k - 250");
    QTest::keyClick(field, Qt::Key_Return);
    QCOMPARE(opened.page->stack()->xRange(), (std::pair{100.0, 250.0}));
    QCOMPARE(field->text(), QString::fromUtf8("100 – 250"));
    field->selectAll();
    QTest::keyClicks(field, "rubbish");
    QTest::keyClick(field, Qt::Key_Return);
    QCOMPARE(opened.page->stack()->xRange(), (std::pair{100.0, 250.0}));
    QVERIFY(!plots::readRange(plots::XKind::Step, "5 - 3", 0));
    QCOMPARE(*plots::readRange(plots::XKind::Step, "29,500-44,500", 0), (std::pair{29500.0, 44500.0}));
    QCOMPARE(*plots::readRange(plots::XKind::Tokens, "1.2 B – 1 T", 0), (std::pair{1.2e9, 1e12}));
}

void TestLivePage::rangeDialogSetsBothAxes() {
    auto daemon = makeDaemon();
    train(*daemon, 1, 500);
    const Opened opened(std::move(daemon));
    QTRY_VERIFY(opened.hasSteps(500));
    plots::PlotStack* stack = opened.page->stack();
    emit stack->rangeRequested(0);
    auto* dialog = Scrim::openDialog(opened.page.get());
    QVERIFY(dialog != nullptr);
    auto* act = dialog->findChild<QPushButton*>("act");
    dialog->findChild<QLineEdit*>("rangeX")->setText("100 - ");
    QVERIFY(!act->isEnabled());
    dialog->findChild<QLineEdit*>("rangeX")->setText("100 - 200");
    dialog->findChild<QCheckBox*>("automaticY")->setChecked(false);
    dialog->findChild<QLineEdit*>("rangeLow")->setText("3");
    dialog->findChild<QLineEdit*>("rangeHigh")->setText("2");
    QVERIFY(!act->isEnabled()); // upside down
    dialog->findChild<QLineEdit*>("rangeLow")->setText("1");
    QVERIFY(act->isEnabled());
    QTest::mouseClick(act, Qt::LeftButton);
    stack->replotNow();
    QCOMPARE(stack->xRange(), (std::pair{100.0, 200.0}));
    QCOMPARE(stack->yRange(0), (std::pair{1.0, 2.0}));
    QSignalSpy note(opened.page.get(), &LivePage::noteAsked);
    emit stack->noteRequested(150.2);
    QCOMPARE(note.count(), 1);
    QCOMPARE(note[0][0].toLongLong(), 150);
}

void TestLivePage::keysActOnTheFocusedPlots() {
    auto daemon = makeDaemon();
    train(*daemon, 1, 100);
    const Opened opened(std::move(daemon));
    QTRY_VERIFY(opened.hasSteps(100));
    plots::PlotStack* stack = opened.page->stack();
    opened.page->activateWindow();
    stack->setFocus();
    QTest::keyClick(stack, Qt::Key_L);
    QVERIFY(stack->logY(0));
    QTest::keyClick(stack, Qt::Key_E);
    QVERIFY(!opened.page->toolbar()->envelope()->isChecked());
    stack->zoomTo(10, 20);
    stack->zoomTo(12, 15);
    QTest::keyClick(stack, Qt::Key_Z, Qt::ControlModifier);
    QCOMPARE(stack->xRange(), (std::pair{10.0, 20.0}));
    QTest::keyClick(stack, Qt::Key_R);
    QVERIFY(opened.page->isFollowing());
}

void TestLivePage::cursorValuesCoverAllSeries() {
    auto daemon = makeDaemon();
    train(*daemon, 1, 100);
    const double expected = daemon->truth[{1, "train/loss"}][49].value;
    const Opened opened(std::move(daemon));
    QTRY_VERIFY(opened.hasSteps(100));
    QSignalSpy values(opened.page.get(), &LivePage::cursorValues);
    opened.page->goToStep(50);
    const auto hash = values.back().front().value<QHash<QString, double>>();
    QCOMPARE(hash.value("train/loss"), expected);
    for (const char* name :
         {"train/grad_norm", "perf/tokens_per_s", "optim/lr", "perf/mfu", "valid/loss", "bpb/WebText", "bpb/ClassicalChinese"})
        QVERIFY2(hash.contains(name), name);
}

void TestLivePage::eventsBecomeFlags() {
    auto daemon = makeDaemon();
    addEvent(*daemon, 10, ipc::EventKind::MixtureChanged, ipc::Severity::Info, "Mixture changed");
    addEvent(*daemon, 20, ipc::EventKind::AttemptStarted, ipc::Severity::Info, "Attempt 2 started");
    addEvent(*daemon, 30, ipc::EventKind::RankFailed, ipc::Severity::Critical, "Rank 1 died");
    addEvent(*daemon, 40, ipc::EventKind::CheckpointSaved, ipc::Severity::Info, "Checkpoint");
    addEvent(*daemon, -1, ipc::EventKind::Note, ipc::Severity::Info, "No step");
    addEvent(*daemon, 50, ipc::EventKind::WatchVerdict, ipc::Severity::Benign, "Loss spike at step 50");
    const ThemeController theme;
    const auto flags = flagsOf(daemon->events, daemon->run, plots::XKind::Tokens, theme.theme());
    QCOMPARE(flags.size(), std::size_t(5));
    QCOMPARE(flags[0].letter, QLatin1Char('M'));
    QCOMPARE(flags[0].x, 10.0 * 512);
    QCOMPARE(flags[1].letter, QLatin1Char('R'));
    QVERIFY(flags[2].filled && flags[2].colour == theme.theme().crit);
    QVERIFY(flags[3].letter.isNull());
    QCOMPARE(flags[4].letter, QLatin1Char('S'));
    QCOMPARE(flags[4].colour, theme.theme().ok);
}

void TestLivePage::referencesComeFromTheTables() {
    const auto tables = ReferenceTables::load();
    QVERIFY(tables.has_value());
    const auto lines = tables->bpb(BpbLanguage::English, "webtext");
    QCOMPARE(lines.size(), std::size_t(4));
    QCOMPARE(lines[0].label, "Llama2");
    QCOMPARE(lines[0].value, 0.592);
    QCOMPARE(lines[3].value, 0.562);
    QCOMPARE(tables->bpb(BpbLanguage::Chinese, "classical_chinese")[3].value, 0.949);
    const auto english = bpbCells(BpbLanguage::English, {"QA", "WebText", "Odd", "Code", "Profession-Law"});
    QCOMPARE(english.size(), std::size_t(4)); // Law is told in Chinese only
    QCOMPARE(english[0].domain, "WebText");
    QCOMPARE(english[2].column, "stackexchange");
    QVERIFY(english[3].column.isEmpty());
    const auto chinese = bpbCells(BpbLanguage::Chinese, {"Profession-Law", "Book"});
    QCOMPARE(chinese[1].column, "professional");
    QCOMPARE(chinese.back().series(), "bpb");
    QVERIFY(!ReferenceTables::parse("nonsense", "nonsense"));
}

void TestLivePage::smoothingSliderIsLinearInLogHalfLife() {
    QCOMPARE(smoothingAt(0), 0.0);
    QVERIFY(std::abs(smoothingAt(1) - 0.999) < 1e-12);
    QVERIFY(std::abs(halfLife(0.99) - 68.97) < 0.01);
    const double a = std::log(halfLife(smoothingAt(0.4))), b = std::log(halfLife(smoothingAt(0.6))),
                 c = std::log(halfLife(smoothingAt(0.8)));
    QVERIFY(std::abs((b - a) - (c - b)) < 1e-9);
    QVERIFY(std::abs(smoothingAt(positionOf(0.95)) - 0.95) < 1e-9);
}

void TestLivePage::looksLikeTheDesign_data() {
    QTest::addColumn<bool>("dark");
    QTest::newRow("dark") << true;
    QTest::newRow("light") << false;
}

void TestLivePage::looksLikeTheDesign() {
    QFETCH(bool, dark);
    auto daemon = makeDaemon();
    addEvent(*daemon, 150, ipc::EventKind::MixtureChanged, ipc::Severity::Info, "Mixture changed");
    addEvent(*daemon, 300, ipc::EventKind::AttemptStarted, ipc::Severity::Info, "Attempt 2 started");
    addEvent(*daemon, 420, ipc::EventKind::WatchVerdict, ipc::Severity::Benign, "Loss spike at step 420");
    addEvent(*daemon, 560, ipc::EventKind::RankFailed, ipc::Severity::Critical, "Rank 1 died");
    train(*daemon, 1, 600);
    Opened opened(std::move(daemon));
    opened.theme->setChoice(dark ? ThemeChoice::Dark : ThemeChoice::Light);
    opened.theme->apply(*qApp);
    QTRY_VERIFY(opened.hasSteps(600));
    QTest::qWait(300);
    opened.page->goToStep(420);
    if (!dark)
        opened.page->bpb()->setLanguage(BpbLanguage::Chinese);
    QTest::qWait(200);
    save(*opened.page, dark ? "appa-live-dark.png" : "appa-live-light.png");
    const QImage image = opened.page->grab().toImage();
    QCOMPARE(image.size(), QSize(1290, 676));
    // The run's colour is on every strip, and the page has the theme's ground.
    for (int strip = 0; strip < 4; ++strip) {
        const QRect plot =
            opened.page->stack()->plotRect(strip).translated(opened.page->stack()->canvas()->mapTo(opened.page.get(), QPoint()));
        int blue = 0;
        for (int x = plot.left(); x < plot.right(); x += 2)
            for (int y = plot.top(); y < plot.bottom(); ++y)
                blue += image.pixelColor(x, y) == opened.theme->theme().slot(0);
        QVERIFY2(blue > 20, qPrintable(QString::number(strip)));
    }
    QVERIFY(opened.page->overview()->accessibleName().startsWith("Whole run, window 0"));
    const QList<int> sizes = opened.page->splitter()->sizes();
    QVERIFY(std::abs(static_cast<double>(sizes[0]) / sizes[1] - 858.0 / 426) < 0.06);
}

QTEST_MAIN(TestLivePage)
#include "tst_live_page.moc"
