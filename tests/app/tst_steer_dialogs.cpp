// SPDX-License-Identifier: GPL-3.0-or-later
// Dialogs and pages that order something: buttons are on only when the form is complete, the order carries what was chosen, a refusal
// is shown and keeps the dialog open.
#include <QCheckBox>
#include <QDoubleSpinBox>
#include <QLabel>
#include <QLineEdit>
#include <QListView>
#include <QMainWindow>
#include <QPlainTextEdit>
#include <QPushButton>
#include <QRadioButton>
#include <QStandardPaths>
#include <QTableView>
#include <QTest>

#include "dialogs/command_dialog.h"
#include "dialogs/run_dialogs.h"
#include "models/text_format.h"
#include "pages/audit_page.h"
#include "pages/mixture_page.h"
#include "scripted_daemon.h"
#include "settings/mixture_drafts.h"
#include "settings/settings.h"

using namespace telehelm;
using namespace telehelm::app;

namespace {

const QString kRun = QStringLiteral("teleflm-52b-main");

} // namespace

class TestSteerDialogs : public QObject {
    Q_OBJECT
private slots:
    void initTestCase();
    void init();
    void cleanup();
    void pauseIsSent();
    void escapeCancels();
    void oneAtATime();
    void stopNeedsReasonAndName();
    void refusalStays();
    void restartCarriesOverrides();
    void restartScalesTheRate();
    void restartWithoutCheckpoint();
    void mixtureIsApplied();
    void draftIsKept();
    void auditShowsEffect();
    void paletteFindsAndGoes();
    void settingsRoundTrip();

private:
    CommandDialog* dialog() const { return m_window->findChild<CommandDialog*>(); }
    template <typename T>
    T* part(const char* name) const {
        auto* found = dialog() == nullptr ? nullptr : dialog()->findChild<T*>(QString::fromLatin1(name));
        return found;
    }
    void click(QPushButton* button) {
        QVERIFY(button != nullptr);
        QTest::mouseClick(button, Qt::LeftButton);
    }
    ipc::Command lastOrder() {
        const std::lock_guard lock(m_daemon->mutex);
        return m_daemon->received.empty() ? ipc::Command() : m_daemon->received.back();
    }
    std::shared_ptr<test::ScriptedDaemon> m_daemon;
    std::unique_ptr<ThemeController> m_theme;
    std::unique_ptr<Session> m_session;
    std::unique_ptr<QMainWindow> m_window;
};

void TestSteerDialogs::initTestCase() {
    QCoreApplication::setOrganizationName(QStringLiteral("telehelm-test"));
    QCoreApplication::setApplicationName(QStringLiteral("tst_steer_dialogs"));
    QStandardPaths::setTestModeEnabled(true);
}

void TestSteerDialogs::init() {
    forgetMixtureDraft(kRun);
    m_daemon = std::make_shared<test::ScriptedDaemon>();
    fillBigRun(*m_daemon);
    m_theme = std::make_unique<ThemeController>();
    m_session = std::make_unique<Session>(test::scriptedLinks(m_daemon));
    m_session->setOperatorName(QStringLiteral("operator-1"));
    m_session->open(QStringLiteral("scripted"));
    QTRY_VERIFY(m_session->run(kRun) != nullptr);
    QTRY_COMPARE(m_session->controlLink().state, LinkState::Up);
    QTRY_VERIFY(!m_session->commands().empty());
    m_session->setFocusedRun(kRun);
    m_window = std::make_unique<QMainWindow>();
    m_window->resize(1600, 1000);
    m_window->show();
}

void TestSteerDialogs::cleanup() {
    m_window.reset();
    m_session.reset();
    m_theme.reset();
}

void TestSteerDialogs::pauseIsSent() {
    openPauseDialog(m_window.get(), *m_session, *m_theme, kRun);
    QVERIFY(dialog() != nullptr);
    QVERIFY(part<QPushButton>("cancel")->isDefault());
    QVERIFY(dialog()->actButton()->isEnabled()); // a reason is optional
    click(dialog()->actButton());
    QTRY_VERIFY(dialog() == nullptr);
    QCOMPARE(lastOrder().kind, ipc::CommandKind::Pause);
    QCOMPARE(lastOrder().key.run, kRun.toStdString());
    QCOMPARE(lastOrder().author, std::string("operator-1"));
    QVERIFY(!lastOrder().id.empty());
}

void TestSteerDialogs::escapeCancels() {
    openPauseDialog(m_window.get(), *m_session, *m_theme, kRun);
    QTest::keyClick(part<QPlainTextEdit>("reason"), Qt::Key_Escape);
    QTRY_VERIFY(dialog() == nullptr);
    QVERIFY(lastOrder().id.empty());
}

void TestSteerDialogs::oneAtATime() {
    openPauseDialog(m_window.get(), *m_session, *m_theme, kRun);
    openStopDialog(m_window.get(), *m_session, *m_theme, kRun);
    QCOMPARE(m_window->findChildren<CommandDialog*>().size(), 1);
    openResumeDialog(m_window.get(), *m_session, *m_theme, kRun);
    QCOMPARE(m_window->findChildren<CommandDialog*>().size(), 1);
    dialog()->reject();
    QTRY_VERIFY(dialog() == nullptr);
    openResumeDialog(m_window.get(), *m_session, *m_theme, kRun); // the run is running: nothing to resume
    QVERIFY(!dialog()->actButton()->isEnabled());
    QCOMPARE(part<QLabel>("missing")->text(), QStringLiteral("The run is not paused."));
}

void TestSteerDialogs::stopNeedsReasonAndName() {
    openStopDialog(m_window.get(), *m_session, *m_theme, kRun);
    QVERIFY(part<QCheckBox>("saveCheckpoint")->isChecked());
    QVERIFY(!dialog()->actButton()->isEnabled());
    QCOMPARE(part<QLabel>("missing")->text(), QStringLiteral("Reason missing"));
    part<QPlainTextEdit>("reason")->setPlainText(QStringLiteral("too short"));
    QCOMPARE(part<QLabel>("missing")->text(), QStringLiteral("Reason: 3 characters more"));
    part<QPlainTextEdit>("reason")->setPlainText(QStringLiteral("machine room is closing"));
    QVERIFY(dialog()->actButton()->isEnabled());
    QVERIFY(!dialog()->actButton()->isDefault());
    part<QCheckBox>("saveCheckpoint")->setChecked(false);
    QVERIFY(!dialog()->actButton()->isEnabled());
    part<QLineEdit>("typedName")->setText(kRun);
    QVERIFY(dialog()->actButton()->isEnabled());
    click(dialog()->actButton());
    QTRY_VERIFY(dialog() == nullptr);
    QCOMPARE(lastOrder().kind, ipc::CommandKind::Stop);
    QVERIFY(!lastOrder().saveCheckpoint);
    QCOMPARE(lastOrder().reason, std::string("machine room is closing"));
}

void TestSteerDialogs::refusalStays() {
    {
        const std::lock_guard lock(m_daemon->mutex);
        m_daemon->answer = ipc::CommandState::Rejected;
        m_daemon->outcome = "checkpoint 44,500 is being written. Try again in about 40 s.";
    }
    openPauseDialog(m_window.get(), *m_session, *m_theme, kRun);
    click(dialog()->actButton());
    QTRY_COMPARE(dialog()->refusal(), QStringLiteral("Refused: checkpoint 44,500 is being written. Try again in about 40 s."));
    QVERIFY(dialog()->actButton()->isEnabled()); // may be tried again
    {
        const std::lock_guard lock(m_daemon->mutex);
        m_daemon->answer = ipc::CommandState::Accepted;
    }
    click(dialog()->actButton());
    QTRY_VERIFY(dialog() == nullptr);
}

void TestSteerDialogs::restartCarriesOverrides() {
    openRestartDialog(m_window.get(), *m_session, *m_theme, kRun, 38'410);
    QTRY_COMPARE(dialog()->actButton()->text(), QStringLiteral("Restart from step 38,000"));
    QVERIFY(!dialog()->actButton()->isEnabled());
    part<QPlainTextEdit>("reason")->setPlainText(QStringLiteral("loss rising since 43,110"));
    QTRY_VERIFY(dialog()->actButton()->isEnabled());
    part<QDoubleSpinBox>("clip")->setValue(0.8);
    part<QSpinBox>("skipBatches")->setValue(1024);
    auto* table = part<QTableView>("checkpoints");
    const QRect cell = table->visualRect(table->model()->index(6, 1)); // step 40,000
    QTest::mouseClick(table->viewport(), Qt::LeftButton, {}, cell.center());
    QCOMPARE(dialog()->actButton()->text(), QStringLiteral("Restart from step 40,000"));
    click(dialog()->actButton());
    QTRY_VERIFY(dialog() == nullptr);
    const ipc::Command order = lastOrder();
    QCOMPARE(order.kind, ipc::CommandKind::Restart);
    QVERIFY(order.restart.has_value());
    QCOMPARE(order.restart->checkpointStep, 40'000);
    QCOMPARE(order.restart->checkpointAttempt, 1U);
    QCOMPARE(order.restart->clipGrad.value_or(-1), 0.8);
    QCOMPARE(order.restart->skipBatches, 1024);
    QVERIFY(!order.restart->lrScale && !order.restart->dataSeed && !order.restart->mixture); // untouched: kept
}

void TestSteerDialogs::restartScalesTheRate() {
    openRestartDialog(m_window.get(), *m_session, *m_theme, kRun, 38'000);
    auto* rate = part<QDoubleSpinBox>("learningRate");
    QTRY_COMPARE(rate->text(), text::learningRate(1.5e-4 - 38'000 * 5e-10)); // the schedule's value, from history
    rate->setValue(rate->value() / 2);
    QVERIFY(std::abs(part<QDoubleSpinBox>("lrScale")->value() - 0.5) < 1e-3);
    part<QRadioButton>("newSeed")->setChecked(true);
    part<QLineEdit>("seed")->setText(QStringLiteral("99"));
    part<QPlainTextEdit>("reason")->setPlainText(QStringLiteral("another order of the data"));
    click(dialog()->actButton());
    QTRY_VERIFY(dialog() == nullptr);
    QVERIFY(std::abs(lastOrder().restart->lrScale.value_or(0) - 0.5) < 1e-3);
    QCOMPARE(lastOrder().restart->dataSeed.value_or(0), 99U);
    QCOMPARE(lastOrder().restart->skipBatches, 0);
}

void TestSteerDialogs::restartWithoutCheckpoint() {
    {
        const std::lock_guard lock(m_daemon->mutex);
        m_daemon->checkpoints.clear();
    }
    openRestartDialog(m_window.get(), *m_session, *m_theme, kRun);
    part<QPlainTextEdit>("reason")->setPlainText(QStringLiteral("a reason that is long enough"));
    QTRY_COMPARE(part<QLabel>("missing")->text(), QStringLiteral("There is no checkpoint to restart from."));
    QVERIFY(!dialog()->actButton()->isEnabled());
}

void TestSteerDialogs::mixtureIsApplied() {
    MixturePage page(*m_session, *m_theme);
    m_window->setCentralWidget(&page);
    page.show();
    auto* apply = page.findChild<QPushButton*>(QStringLiteral("applyMixture"));
    auto* missing = page.findChild<QLabel*>(QStringLiteral("missing"));
    QTRY_COMPARE(page.model().rowCount(), 11);
    QCOMPARE(missing->text(), QStringLiteral("No share is changed"));
    page.model().setData(page.model().index(1, MixtureModel::New), 12.5, Qt::EditRole);
    QCOMPARE(missing->text(), QStringLiteral("Shares add up to 102.69 %, not 100.00 %"));
    page.model().setLocked(1, true);
    QTest::mouseClick(page.findChild<QPushButton*>(QStringLiteral("normalise")), Qt::LeftButton);
    QCOMPARE(page.model().total(), kWholeMixture);
    QCOMPARE(missing->text(), QStringLiteral("Reason missing"));
    page.findChild<QPlainTextEdit*>(QStringLiteral("reason"))->setPlainText(QStringLiteral("more code in the second half"));
    page.findChild<QSpinBox*>(QStringLiteral("applyStep"))->setValue(44'000);
    QCOMPARE(missing->text(), QStringLiteral("Step 44,000 has passed; choose a later one"));
    page.findChild<QSpinBox*>(QStringLiteral("applyStep"))->setValue(45'000);
    QVERIFY(apply->isEnabled());
    QTest::mouseClick(apply, Qt::LeftButton);
    QVERIFY(dialog() != nullptr);
    click(dialog()->actButton());
    QTRY_VERIFY(dialog() == nullptr);
    const ipc::Command order = lastOrder();
    QCOMPARE(order.kind, ipc::CommandKind::SetMixture);
    QCOMPARE(order.atStep, 45'000);
    QCOMPARE(order.reason, std::string("more code in the second half"));
    double sum = 0;
    for (const auto& [domain, share] : order.mixture) {
        sum += share;
    }
    QVERIFY(std::abs(sum - 1) < 1e-9);
    QCOMPARE(order.mixture.at("Code"), 0.125);
    QTRY_COMPARE(page.findChild<QLabel*>(QStringLiteral("lastOrder"))->text(), QStringLiteral("Accepted: in force from step 45,000 on."));
    m_window->takeCentralWidget();
}

void TestSteerDialogs::draftIsKept() {
    {
        MixturePage page(*m_session, *m_theme);
        page.resize(1500, 880);
        page.show();
        QTRY_COMPARE(page.model().rowCount(), 11);
        page.model().setData(page.model().index(0, MixtureModel::New), 74.2, Qt::EditRole);
        page.model().setData(page.model().index(1, MixtureModel::New), 10.81, Qt::EditRole);
        QTest::mouseClick(page.findChild<QPushButton*>(QStringLiteral("saveDraft")), Qt::LeftButton);
    }
    MixturePage page(*m_session, *m_theme);
    page.resize(1500, 880);
    page.show();
    QTRY_COMPARE(page.model().newHundredths(0), 7420);
    QTest::mouseClick(page.findChild<QPushButton*>(QStringLiteral("revertDraft")), Qt::LeftButton);
    QVERIFY(!page.model().isChanged());
    QVERIFY(!loadMixtureDraft(kRun));
}

void TestSteerDialogs::auditShowsEffect() {
    AuditPage page(*m_session, *m_theme);
    page.resize(1500, 880);
    page.show();
    auto* table = page.findChild<QTableView*>(QStringLiteral("auditTable"));
    QTRY_COMPARE(table->model()->rowCount(), 7);
    table->selectRow(1);
    const auto shows = [&page](const QString& text) {
        for (const auto* label : page.findChildren<QLabel*>()) {
            if (label->text() == text) {
                return true;
            }
        }
        return false;
    };
    QVERIFY(shows(QStringLiteral("Restart at step 33,240")));
    QVERIFY(shows(QStringLiteral("after 41 ms by telehelmd 0.1.0")));
    QTRY_VERIFY(shows(QStringLiteral("+1.2 %")));  // throughput
    QVERIFY(shows(QStringLiteral("−1.2 %")));      // step time
    int shownStep = -1;
    connect(&page, &AuditPage::showOnPlots, this, [&shownStep](const QString&, qint64 step) { shownStep = static_cast<int>(step); });
    QTest::mouseClick(page.findChild<QPushButton*>(QStringLiteral("showOnPlots")), Qt::LeftButton);
    QCOMPARE(shownStep, 33'240);
    ipc::WatchUpdate update;
    update.command = m_session->commands().front();
    update.command->id = "new";
    update.command->requestedUs = ipc::nowUs();
    m_daemon->push(update);
    QTRY_COMPARE(table->model()->rowCount(), 8); // live; the entry that was shown stays shown
    QVERIFY(shows(QStringLiteral("Restart at step 33,240")));
}

void TestSteerDialogs::paletteFindsAndGoes() {
    int paused = 0;
    qint64 step = 0;
    const auto open = [&] {
        openCommandPalette(m_window.get(), *m_theme, {{QStringLiteral("Pause…"), QStringLiteral("Action"), {}, [&] { ++paused; }}, {QStringLiteral("train/loss"), QStringLiteral("Series"), {}, {}}},
                           [&](qint64 to) { step = to; });
        return m_window->findChild<QLineEdit*>(QStringLiteral("paletteInput"));
    };
    QLineEdit* input = open();
    QVERIFY(input != nullptr);
    QTest::keyClicks(input, QStringLiteral("pau"));
    QCOMPARE(m_window->findChild<QListView*>(QStringLiteral("paletteList"))->model()->rowCount(), 1);
    QTest::keyClick(input, Qt::Key_Return);
    QTRY_COMPARE(paused, 1);
    QTRY_VERIFY(m_window->findChild<QLineEdit*>(QStringLiteral("paletteInput")) == nullptr);
    input = open();
    QTest::keyClicks(input, QStringLiteral("go to 41,210"));
    QTest::keyClick(input, Qt::Key_Return);
    QTRY_COMPARE(step, 41'210);
}

void TestSteerDialogs::settingsRoundTrip() {
    const Settings wanted{ThemeChoice::Light, 125, QStringLiteral("赵工"), 0.9};
    saveSettings(wanted);
    QCOMPARE(loadSettings(), wanted);
    saveSettings(Settings());
    QCOMPARE(loadSettings(), Settings());
}

QTEST_MAIN(TestSteerDialogs)
#include "tst_steer_dialogs.moc"
