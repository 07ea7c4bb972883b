// SPDX-License-Identifier: GPL-3.0-or-later
// The whole window off screen over links that a test can cut: what it shows, what its buttons open, what it says when links go.
#include <QLabel>
#include <QPlainTextEdit>
#include <QPushButton>
#include <QSettings>
#include <QSignalSpy>
#include <QSpinBox>
#include <QTableView>
#include <QTemporaryDir>
#include <QTest>
#include <QTreeView>

#include "dialogs/scrim.h"
#include "main_window/banner_bar.h"
#include "main_window/bridge_strip.h"
#include "main_window/live_area.h"
#include "main_window/main_window.h"
#include "main_window/status_strip.h"
#include "main_window/toast_bar.h"
#include "pages/first_start_page.h"
#include "pages/live_page.h"
#include "switchable_backend.h"

using namespace telehelm;
using namespace telehelm::app;
using testing::SwitchableBackend;

namespace {
constexpr int kPatience = 20'000;
}

class TestMainWindow : public QObject {
    Q_OBJECT
private slots:
    void init();
    void cleanup();
    void beginsAtTheStartPage();
    void showsALiveRun();
    void readoutsDropFromTheRight();
    void pauseOpensItsDialog();
    void buttonsFollowTheState();
    void aLostStreamIsSaidAndRepaired();
    void bothLinksLostTurnControlsOff();
    void helpAndNotesOpen();
    void criticalEventsAreToldAndKept();
    void aDeletedRunLeavesTheWindow();
    void theStripGoesOnSayingThatTheRunWasDeleted();
    void testOfAConnectionSaysWhatItFound();
    void bothThemesDrawDifferently();
    void layoutIsKept();

private:
    void openLive() {
        m_session->open("test:1");
        QTRY_COMPARE_WITH_TIMEOUT(m_session->focusedRun(), QStringLiteral("demo"), kPatience);
        QTRY_COMPARE_WITH_TIMEOUT(m_session->liveLink().state, LinkState::Up, kPatience);
        for (int i = 1; i <= 20; ++i)
            m_backend->with([&](auto& b) { b.news.push_back(SwitchableBackend::makeNews("demo", static_cast<std::uint64_t>(i), i)); });
        QTRY_COMPARE_WITH_TIMEOUT(m_session->run("demo")->newest()->step, 20, kPatience);
        m_window->bridge()->refresh();
    }
    QString value(ReadoutId id) const { return m_window->bridge()->readout(id)->text().value; }
    void setState(ipc::AttemptState state) {
        m_backend->with([&](auto& b) { b.updates.push_back({SwitchableBackend::makeRun("demo", state), std::nullopt, std::nullopt}); });
        QTRY_COMPARE_WITH_TIMEOUT(m_session->run("demo")->newest()->state, state, kPatience);
        m_window->bridge()->refresh();
    }
    std::unique_ptr<QTemporaryDir> m_dir;
    std::unique_ptr<SwitchableBackend> m_backend;
    std::unique_ptr<QSettings> m_settings;
    std::unique_ptr<ThemeController> m_theme;
    std::unique_ptr<Session> m_session;
    std::unique_ptr<MainWindow> m_window;
};

void TestMainWindow::init() {
    m_dir = std::make_unique<QTemporaryDir>();
    QSettings::setDefaultFormat(QSettings::IniFormat);
    QSettings::setPath(QSettings::IniFormat, QSettings::UserScope, m_dir->path());
    m_backend = std::make_unique<SwitchableBackend>();
    m_backend->runs = {SwitchableBackend::makeRun("demo")};
    m_settings = std::make_unique<QSettings>(m_dir->filePath("settings.ini"), QSettings::IniFormat);
    m_theme = std::make_unique<ThemeController>();
    m_theme->apply(*qApp);
    m_session = std::make_unique<Session>(testing::linksTo(*m_backend));
    m_window = std::make_unique<MainWindow>(*m_session, *m_theme, *m_settings, testing::linksTo(*m_backend));
    m_window->show();
}

void TestMainWindow::cleanup() {
    m_window.reset();
    m_session.reset();
    m_theme.reset();
}

void TestMainWindow::beginsAtTheStartPage() {
    QCOMPARE(m_window->page(), Page::Start);
    QCOMPARE(m_window->size(), QSize(1600, 1000));
    QCOMPARE(m_window->status()->leftText(), QStringLiteral("Not connected"));
    QSignalSpy asked(m_window.get(), &MainWindow::demoAsked);
    QTest::mouseClick(m_window->startPage()->demoButton(), Qt::LeftButton);
    QCOMPARE(asked.count(), 1);
    QCOMPARE(asked.first().first().toInt(), 2);
    QVERIFY(!m_window->bridge()->isVisible());
}

void TestMainWindow::showsALiveRun() {
    openLive();
    QCOMPARE(m_window->page(), Page::Live);
    QVERIFY(m_window->bridge()->isVisible());
    QCOMPARE(value(ReadoutId::Step), QStringLiteral("20"));
    QCOMPARE(value(ReadoutId::Loss), QStringLiteral("4.800"));
    QCOMPARE(value(ReadoutId::StepTime), QStringLiteral("250"));
    QCOMPARE(m_window->bridge()->runBlock()->stateWord(), QStringLiteral("Running"));
    QCOMPARE(m_window->bridge()->runBlock()->lamp(), Lamp::Running);
    QTRY_VERIFY_WITH_TIMEOUT(m_window->status()->leftText().startsWith("Following live"), kPatience);
    const auto* runs = m_window->live()->runsDock()->view()->model();
    QCOMPARE(runs->index(0, 0).data().toString(), QStringLiteral("demo"));
    QCOMPARE(runs->index(0, 1).data().toString(), QStringLiteral("live"));
    const auto latest = m_window->live()->series().indexOf("train/loss").siblingAtColumn(SeriesModel::Latest);
    QCOMPARE(latest.data().toString(), QStringLiteral("4.800"));
    QCOMPARE(m_window->windowTitle(), QStringLiteral("demo – Telehelm"));
    QTRY_COMPARE_WITH_TIMEOUT(m_window->live()->runsDock()->width(), 256, kPatience);
}

void TestMainWindow::readoutsDropFromTheRight() {
    openLive();
    QVERIFY(m_window->bridge()->readout(ReadoutId::TimeLeft)->isVisible());
    m_window->resize(1180, 720);
    QTRY_VERIFY_WITH_TIMEOUT(!m_window->bridge()->readout(ReadoutId::TimeLeft)->isVisible(), kPatience);
    QVERIFY(!m_window->bridge()->readout(ReadoutId::StepTime)->isVisible());
    QVERIFY(m_window->bridge()->readout(ReadoutId::Loss)->isVisible());
    QCOMPARE(m_window->width(), 1180);
    m_window->resize(1600, 1000);
    QTRY_VERIFY_WITH_TIMEOUT(m_window->bridge()->readout(ReadoutId::TimeLeft)->isVisible(), kPatience);
}

void TestMainWindow::pauseOpensItsDialog() {
    openLive();
    QTest::mouseClick(m_window->bridge()->pauseButton(), Qt::LeftButton);
    QVERIFY(Scrim::openDialog(m_window.get()) != nullptr);
    QCOMPARE(m_backend->submitted.size(), 0U); // a button opens a dialog, never acts at once
}

void TestMainWindow::buttonsFollowTheState() {
    openLive();
    QCOMPARE(m_window->bridge()->pauseButton()->text(), QStringLiteral("Pause"));
    setState(ipc::AttemptState::Pausing);
    QCOMPARE(m_window->bridge()->pauseButton()->text(), QStringLiteral("Pausing after step 20…"));
    QVERIFY(!m_window->bridge()->pauseButton()->isEnabled());
    setState(ipc::AttemptState::Paused);
    QCOMPARE(m_window->bridge()->pauseButton()->text(), QStringLiteral("Resume"));
    QVERIFY(m_window->bridge()->pauseButton()->isEnabled());
    QCOMPARE(m_window->bridge()->runBlock()->lamp(), Lamp::Paused);
    setState(ipc::AttemptState::Failed);
    QVERIFY(!m_window->bridge()->pauseButton()->isEnabled());
    QVERIFY(!m_window->bridge()->stopButton()->isEnabled());
    QVERIFY(m_window->bridge()->restartButton()->isEnabled()); // from a checkpoint it can go on
    QCOMPARE(m_window->bridge()->stopButton()->toolTip(), QStringLiteral("The run is failed."));
    auto imported = SwitchableBackend::makeRun("demo", ipc::AttemptState::Finished);
    imported.origin.emplace().folder = "/mnt/usb/run";
    m_backend->with([&](auto& b) { b.updates.push_back({imported, std::nullopt, std::nullopt}); });
    QTRY_VERIFY_WITH_TIMEOUT(m_session->run("demo")->origin.has_value(), kPatience);
    m_window->bridge()->refresh();
    QVERIFY(!m_window->bridge()->restartButton()->isEnabled()); // its checkpoints are another machine's
    QVERIFY(m_window->bridge()->restartButton()->toolTip().contains("imported from /mnt/usb/run"));
}

void TestMainWindow::aLostStreamIsSaidAndRepaired() {
    openLive();
    m_backend->with([](auto& b) { b.liveUp = false; });
    QTRY_COMPARE_WITH_TIMEOUT(m_window->banner()->text().kind, BannerText::Kind::Warning, kPatience);
    QVERIFY(m_window->banner()->isVisible());
    QVERIFY(m_window->banner()->text().bold.contains("history intact"));
    QVERIFY(m_window->bridge()->pauseButton()->isEnabled()); // control lives
    QTRY_COMPARE_WITH_TIMEOUT(m_window->bridge()->runBlock()->stateWord(), QStringLiteral("Last known"), kPatience);
    QVERIFY(m_window->status()->leftText().startsWith("Live stream lost"));
    m_backend->with([](auto& b) { b.liveUp = true; });
    m_session->reconnectNow();
    QTRY_COMPARE_WITH_TIMEOUT(m_window->banner()->text().kind, BannerText::Kind::Ok, kPatience);
    QVERIFY(m_window->banner()->text().bold.startsWith("Live again."));
    QTRY_COMPARE_WITH_TIMEOUT(m_window->banner()->text().kind, BannerText::Kind::None, kPatience);
}

void TestMainWindow::bothLinksLostTurnControlsOff() {
    openLive();
    m_backend->with([](auto& b) { b.liveUp = b.controlUp = false; });
    QTRY_COMPARE_WITH_TIMEOUT(m_window->banner()->text().kind, BannerText::Kind::Critical, kPatience);
    QVERIFY(m_window->banner()->text().bold.startsWith("Backend not reachable since"));
    m_window->bridge()->refresh();
    for (const auto* button : {m_window->bridge()->pauseButton(), m_window->bridge()->restartButton(), m_window->bridge()->stopButton()}) {
        QVERIFY(!button->isEnabled());
        QVERIFY(button->toolTip().contains("control link"));
    }
    QCOMPARE(value(ReadoutId::Step), QStringLiteral("20")); // what was known stays
    QVERIFY(!m_window->banner()->startButton()->isVisible()); // another computer's daemon
    m_window->banner()->setLocalDaemon(true);
    QVERIFY(m_window->banner()->startButton()->isVisible());
    QSignalSpy asked(m_window.get(), &MainWindow::startDaemonAsked);
    QTest::mouseClick(m_window->banner()->startButton(), Qt::LeftButton);
    QCOMPARE(asked.count(), 1);
    QVERIFY(!m_window->banner()->startButton()->isEnabled()); // once is enough
    m_window->banner()->startEnded();
    QVERIFY(m_window->banner()->startButton()->isEnabled());
    m_backend->with([](auto& b) { b.liveUp = b.controlUp = true; });
    m_session->reconnectNow();
    QTRY_VERIFY_WITH_TIMEOUT(!m_window->banner()->startButton()->isVisible(), kPatience);
}

void TestMainWindow::helpAndNotesOpen() {
    openLive();
    QTest::keyClick(m_window.get(), Qt::Key_F1);
    QTRY_VERIFY_WITH_TIMEOUT(Scrim::openDialog(m_window.get()) != nullptr, kPatience);
    QCOMPARE(Scrim::openDialog(m_window.get())->accessibleName(), QStringLiteral("Mouse and keys"));
    QTest::keyClick(Scrim::openDialog(m_window.get()), Qt::Key_Escape);
    QTRY_VERIFY_WITH_TIMEOUT(Scrim::openDialog(m_window.get()) == nullptr, kPatience);
    emit m_window->live()->page()->noteAsked(17);
    auto* dialog = Scrim::openDialog(m_window.get());
    QVERIFY(dialog != nullptr);
    auto* act = dialog->findChild<QPushButton*>("act");
    QVERIFY(!act->isEnabled()); // a note says something
    QCOMPARE(dialog->findChild<QSpinBox*>("noteStep")->value(), 17);
    dialog->findChild<QPlainTextEdit*>("noteText")->setPlainText("the fan of node 3 was changed");
    QSignalSpy added(m_session.get(), &Session::noteAdded);
    QTest::mouseClick(act, Qt::LeftButton);
    QTRY_COMPARE_WITH_TIMEOUT(added.count(), 1, kPatience);
    const auto note = added[0][1].value<ipc::Event>();
    QCOMPARE(note.text, std::string("the fan of node 3 was changed"));
    QCOMPARE(note.step, 17);
    QCOMPARE(note.kind, ipc::EventKind::Note);
    QCOMPARE(note.key.run, std::string("demo"));
    QTRY_VERIFY_WITH_TIMEOUT(Scrim::openDialog(m_window.get()) == nullptr, kPatience);
}

void TestMainWindow::criticalEventsAreToldAndKept() {
    openLive();
    ipc::Event event;
    event.id = 5;
    event.key = {"demo", 1};
    event.kind = ipc::EventKind::RankFailed;
    event.severity = ipc::Severity::Critical;
    event.step = 18;
    event.wallUs = ipc::nowUs() + 1;
    event.text = "Rank 1 ended with signal 9.";
    m_backend->with([&](auto& b) { b.updates.push_back({std::nullopt, event, std::nullopt}); });
    QTRY_VERIFY_WITH_TIMEOUT(m_window->toasts()->sentences().contains("Rank 1 ended with signal 9."), kPatience);
    const auto* events = m_window->live()->eventsDock()->eventsView()->model();
    QCOMPARE(events->index(0, EventsModel::Text).data().toString(), QStringLiteral("Rank 1 ended with signal 9."));
}

void TestMainWindow::aDeletedRunLeavesTheWindow() {
    openLive();
    ipc::WatchUpdate update;
    update.deleted.emplace();
    update.deleted->run = "demo";
    update.deleted->author = "somebody";
    update.deleted->reason = "its disk is needed";
    m_backend->with([&](auto& b) { b.updates.push_back(update); });
    QTRY_VERIFY_WITH_TIMEOUT(m_window->toasts()->sentences().contains("The run demo was deleted by somebody: its disk is needed"), kPatience);
    QVERIFY(m_session->focusedRun().isEmpty());
    QCOMPARE(m_window->live()->runsDock()->findChild<QAbstractItemView*>()->model()->rowCount(), 0);
    QVERIFY(!m_window->bridge()->whyNoControl(false).isEmpty());
    QVERIFY(!m_window->grab().isNull());
}

void TestMainWindow::theStripGoesOnSayingThatTheRunWasDeleted() {
    openLive();
    auto* strip = m_window->findChild<StatusStrip*>();
    auto* complete = strip->findChild<QLabel*>("statusComplete");
    QVERIFY(complete->isVisible());
    ipc::WatchUpdate update;
    update.deleted.emplace();
    update.deleted->run = "demo";
    update.deleted->author = "somebody";
    update.deleted->deletedUs = ipc::nowUs();
    m_backend->with([&](auto& b) { b.updates.push_back(update); });
    QTRY_COMPARE_WITH_TIMEOUT(strip->leftText(), QStringLiteral("The run demo was deleted by somebody"), kPatience);
    strip->refresh(); // as each quarter of a second
    QCOMPARE(strip->leftText(), QStringLiteral("The run demo was deleted by somebody"));
    QVERIFY(!complete->isVisible()); // of what is gone nothing is complete
    const auto comes = [&](const std::string& name) {
        auto run = SwitchableBackend::makeRun(name, ipc::AttemptState::Finished);
        run.createdUs = ipc::nowUs();
        m_backend->with([&](auto& b) { b.updates.push_back({run, std::nullopt, std::nullopt}); });
        QTRY_VERIFY_WITH_TIMEOUT(m_session->run(QString::fromStdString(name)) != nullptr, kPatience);
    };
    comes("next"); // opened by itself: the operator may still not know
    QTRY_VERIFY_WITH_TIMEOUT(strip->leftText().startsWith("The run demo was deleted by somebody. Now next is open: "), kPatience);
    QVERIFY(complete->isVisible());
    comes("third");
    m_session->setFocusedRun("third");
    QVERIFY2(strip->leftText().startsWith("The run is "), qPrintable(strip->leftText()));
}

void TestMainWindow::testOfAConnectionSaysWhatItFound() {
    QTest::mouseClick(m_window->startPage()->testButton(), Qt::LeftButton);
    QTRY_VERIFY_WITH_TIMEOUT(m_window->startPage()->testResults().contains("telehelmd test"), kPatience);
    m_backend->with([](auto& b) { b.controlUp = false; });
    QTRY_VERIFY_WITH_TIMEOUT(m_window->startPage()->testButton()->isEnabled(), kPatience);
    QTest::mouseClick(m_window->startPage()->testButton(), Qt::LeftButton);
    QTRY_VERIFY_WITH_TIMEOUT(m_window->startPage()->testResults().contains("connection refused"), kPatience);
}

void TestMainWindow::bothThemesDrawDifferently() {
    openLive();
    const auto dark = m_window->grab().toImage().pixelColor(30, 600); // of the rail
    m_theme->setChoice(ThemeChoice::Light);
    m_theme->apply(*qApp);
    const auto light = m_window->grab().toImage().pixelColor(30, 600);
    QCOMPARE(dark, QColor(0x13, 0x19, 0x20));
    QCOMPARE(light, QColor(0xFA, 0xFB, 0xFC));
}

void TestMainWindow::layoutIsKept() {
    openLive();
    m_window->live()->eventsDock()->close();
    m_window->close();
    m_window = std::make_unique<MainWindow>(*m_session, *m_theme, *m_settings, testing::linksTo(*m_backend));
    m_window->show();
    m_session->open("test:1");
    QTRY_COMPARE_WITH_TIMEOUT(m_window->page(), Page::Live, kPatience);
    QTRY_VERIFY_WITH_TIMEOUT(!m_window->live()->eventsDock()->isVisible(), kPatience);
    m_window->live()->restoreDefaultLayout();
    QVERIFY(m_window->live()->eventsDock()->isVisible());
}

QTEST_MAIN(TestMainWindow)
#include "tst_main_window.moc"
