// SPDX-License-Identifier: GPL-3.0-or-later
// The window against a real daemon and a real training run: the mouse pauses, resumes, re-mixes, restarts and stops it, and both the
// audit log and the trainer show it. One test function a step, in order: each begins where the one before has left the run.
#include <QDoubleSpinBox>
#include <QLabel>
#include <QPlainTextEdit>
#include <QProcess>
#include <QPushButton>
#include <QSettings>
#include <QSignalSpy>
#include <QSpinBox>
#include <QStandardPaths>
#include <QTableView>
#include <QTemporaryDir>
#include <QTest>

#include "data/corpus_writer.h"
#include "dialogs/command_dialog.h"
#include "main_window/main_window.h"
#include "models/mixture_model.h"
#include "session/local_daemon.h"
#include "telehelm/ipc/control_client.h"

using namespace telehelm;
using namespace telehelm::app;

namespace {

constexpr int kPatience = 90'000; // ms; two busy cores are slow
const QString kRun = QStringLiteral("gui-live");

std::string config(const std::string& corpus) {
    return "name = \"gui-live\"\nsteps = 1_000_000\n[model]\nlayers = 2\nhidden_size = 64\nattention_heads = 2\nffn_hidden_size = 128\nvocab_size = 272\n"
           "context_length = 64\nstandard_deviation = 0.02\nmatrix_standard_deviation = 0.05\n[optimizer]\nlearning_rate = 0.003\nmatrix_learning_rate = 0.003\n"
           "minimum_learning_rate = 0.0003\nclip_grad = 1.0\n[batch]\nsequences = 16\nmicro_sequences = 8\n[validation]\nevery_steps = 200\nsequences_per_domain = 2\n"
           "[checkpoint]\nevery_steps = 50\nkeep_last = 40\n[parallel]\ndata = 1\n[data]\nseed = 7\ncorpus = \"" +
           corpus + "\"\n[data.mixture]\nWebText = 60.0\nCode = 30.0\nBook = 10.0\n";
}

Result<void> writeCorpus(const std::filesystem::path& dir) {
    auto writer = data::CorpusWriter::create(dir);
    if (!writer) {
        return tl::unexpected(writer.error());
    }
    for (const auto& [domain, words] : {std::pair("WebText", "the quick brown fox, 敏捷的狐狸 "), std::pair("Code", "for (int i = 0; i < n; ++i) sum += a[i] * "),
                                        std::pair("Book", "And it came to pass, in the year ")}) {
        if (auto begun = writer->beginDomain(domain, "en", 5); !begun) {
            return begun;
        }
        for (int i = 0; i < 120; ++i) {
            std::string text = std::string("no. ") + std::to_string(i) + "\n";
            for (int line = 0; line < 12; ++line) {
                text += words + std::to_string((i * 7 + line * 3) % 23) + "\n";
            }
            if (auto added = writer->add(text); !added) {
                return tl::unexpected(added.error());
            }
        }
    }
    return writer->finish();
}

} // namespace

class TestGuiLive : public QObject {
    Q_OBJECT
private slots:
    void initTestCase();
    void pauseHolds();
    void resumeGoesOn();
    void mixtureIsTrained();
    void restartForks();
    void auditTellsAll();
    void stopEnds();
    void cleanupTestCase();

private:
    template <typename T>
    T* part(const char* name) const {
        return m_window->findChild<T*>(QString::fromLatin1(name));
    }
    CommandDialog* dialog() const { return m_window->findChild<CommandDialog*>(); }
    const ipc::AttemptInfo& attempt() const { return *m_session->run(kRun)->newest(); }
    /// As the daemon itself tells it, not as the window believes.
    ipc::RunInfo truth() const { return m_client->getRun(kRun.toStdString()).value_or(ipc::RunInfo()); }
    ipc::Command lastOf(ipc::CommandKind kind) const {
        for (const auto& command : m_client->listCommands({}).value_or(std::vector<ipc::Command>())) {
            if (command.kind == kind) {
                return command;
            }
        }
        return {};
    }
    double newestOf(const char* series, qint64 from) const;
    void clickBridge(const char* name);
    void confirm(const char* reason);
    void typeShare(int row, const char* percent);

    QTemporaryDir m_dir;
    QProcess m_daemon;
    std::unique_ptr<ipc::ControlApi> m_client;
    std::unique_ptr<ThemeController> m_theme;
    std::unique_ptr<QSettings> m_settings;
    std::unique_ptr<Session> m_session;
    std::unique_ptr<MainWindow> m_window;
};

void TestGuiLive::initTestCase() {
    QStandardPaths::setTestModeEnabled(true);
    QCoreApplication::setOrganizationName(QStringLiteral("telehelm-test"));
    QCoreApplication::setApplicationName(QStringLiteral("tst_gui_live"));
    const auto corpus = writeCorpus((m_dir.path() + QStringLiteral("/corpus")).toStdString());
    QVERIFY2(corpus.has_value(), corpus ? "" : corpus.error().text().c_str());
    m_daemon.setProcessChannelMode(QProcess::ForwardedErrorChannel);
    m_daemon.start(qEnvironmentVariable("TELEHELM_BIN") + QStringLiteral("/telehelmd"),
                   {QStringLiteral("--state-dir"), m_dir.path(), QStringLiteral("--control"), QStringLiteral("127.0.0.1:0"), QStringLiteral("--live"),
                    QStringLiteral("tcp://127.0.0.1:*"), QStringLiteral("--link"), QStringLiteral("tcp://127.0.0.1:*")});
    QVERIFY2(m_daemon.waitForStarted(), qPrintable(m_daemon.errorString()));
    QTRY_VERIFY_WITH_TIMEOUT(!LocalDaemon::readEntry(m_dir.path()).control.isEmpty(), kPatience);
    const QString address = LocalDaemon::readEntry(m_dir.path()).control;
    m_client = ipc::makeControlClient(address.toStdString());

    m_theme = std::make_unique<ThemeController>();
    m_theme->apply(*qApp);
    m_settings = std::make_unique<QSettings>(m_dir.filePath(QStringLiteral("settings.ini")), QSettings::IniFormat);
    m_session = std::make_unique<Session>();
    m_session->setOperatorName(QStringLiteral("操作员-1"));
    m_window = std::make_unique<MainWindow>(*m_session, *m_theme, *m_settings, SessionLinks::real());
    m_window->resize(1600, 1000);
    m_window->show();
    m_session->open(address);
    QTRY_COMPARE_WITH_TIMEOUT(m_session->controlLink().state, LinkState::Up, kPatience);
    ipc::StartRequest start;
    start.configToml = config((m_dir.path() + QStringLiteral("/corpus")).toStdString());
    start.configPath = "gui-live.toml";
    start.author = "test";
    start.commandId = ipc::newUuid();
    m_session->startRun(start);
    QTRY_VERIFY_WITH_TIMEOUT(m_session->run(kRun) != nullptr, kPatience);
    m_session->setFocusedRun(kRun);
    m_window->showPage(Page::Live);
    QTRY_VERIFY_WITH_TIMEOUT(attempt().state == ipc::AttemptState::Running && attempt().step > 60, kPatience); // a checkpoint has been saved
}

double TestGuiLive::newestOf(const char* series, qint64 from) const {
    ipc::SeriesQuery query;
    query.key = {kRun.toStdString(), 0};
    query.names = {series};
    query.from = from;
    query.maxBuckets = 0;
    double last = -1;
    const auto answered = m_client->querySeries(query, [&last](ipc::SeriesSegment&& segment) {
        last = segment.buckets.empty() ? last : segment.buckets.back().last;
        return true;
    });
    return answered ? last : -2;
}

void TestGuiLive::clickBridge(const char* name) {
    QTRY_VERIFY_WITH_TIMEOUT(part<QPushButton>(name) != nullptr && part<QPushButton>(name)->isEnabled(), kPatience);
    QTest::mouseClick(part<QPushButton>(name), Qt::LeftButton);
    QVERIFY(dialog() != nullptr);
}

void TestGuiLive::confirm(const char* reason) {
    if (reason != nullptr) {
        QTest::keyClicks(dialog()->findChild<QPlainTextEdit*>(QStringLiteral("reason")), QString::fromUtf8(reason));
    }
    QTRY_VERIFY_WITH_TIMEOUT(dialog()->actButton()->isEnabled(), kPatience);
    QTest::mouseClick(dialog()->actButton(), Qt::LeftButton);
    QTRY_VERIFY2_WITH_TIMEOUT(dialog() == nullptr || !dialog()->refusal().isEmpty(), "no answer", kPatience);
    QVERIFY2(dialog() == nullptr, qPrintable(dialog() != nullptr ? dialog()->refusal() : QString()));
}

void TestGuiLive::pauseHolds() {
    clickBridge("pauseButton");
    confirm(nullptr);
    QTRY_COMPARE_WITH_TIMEOUT(attempt().state, ipc::AttemptState::Paused, kPatience);
    const qint64 held = truth().newest()->step;
    QTest::qWait(1500); // a running trainer would do dozens of steps in this time
    QCOMPARE(truth().newest()->step, held);
    QCOMPARE(lastOf(ipc::CommandKind::Pause).state, ipc::CommandState::Applied);
}

void TestGuiLive::resumeGoesOn() {
    const qint64 held = truth().newest()->step;
    clickBridge("pauseButton"); // says Resume now
    confirm(nullptr);
    QTRY_COMPARE_WITH_TIMEOUT(attempt().state, ipc::AttemptState::Running, kPatience);
    QTRY_VERIFY_WITH_TIMEOUT(truth().newest()->step > held + 5, kPatience);
    QCOMPARE(lastOf(ipc::CommandKind::Resume).state, ipc::CommandState::Applied);
}

void TestGuiLive::typeShare(int row, const char* percent) {
    auto* table = m_window->findChild<QTableView*>(QStringLiteral("domains"));
    QVERIFY(table != nullptr);
    const QPoint cell = table->visualRect(table->model()->index(row, MixtureModel::New)).center() - QPoint(20, 0);
    QTest::mouseClick(table->viewport(), Qt::LeftButton, {}, cell); // one click opens the spin box
    const auto editor = [table]() -> QDoubleSpinBox* {
        for (auto* box : table->viewport()->findChildren<QDoubleSpinBox*>()) {
            if (box->isVisible()) {
                return box;
            }
        }
        return nullptr;
    };
    QTRY_VERIFY(editor() != nullptr);
    editor()->selectAll();
    QTest::keyClicks(editor(), QString::fromLatin1(percent));
    QTest::keyClick(editor(), Qt::Key_Return);
    QTRY_VERIFY(editor() == nullptr);
    QCOMPARE(table->model()->index(row, MixtureModel::New).data(Qt::EditRole).toDouble(), QString::fromLatin1(percent).toDouble());
}

void TestGuiLive::mixtureIsTrained() {
    m_window->showPage(Page::Mixture);
    auto* table = m_window->findChild<QTableView*>(QStringLiteral("domains"));
    QVERIFY(table != nullptr);
    QTRY_COMPARE_WITH_TIMEOUT(table->model()->rowCount(), 3, kPatience);
    const auto rowOf = [table](const QString& domain) {
        for (int row = 0; row < table->model()->rowCount(); ++row) {
            if (table->model()->index(row, MixtureModel::Domain).data().toString() == domain) {
                return row;
            }
        }
        return -1;
    };
    typeShare(rowOf(QStringLiteral("WebText")), "15");
    typeShare(rowOf(QStringLiteral("Code")), "75");
    auto* apply = part<QPushButton>("applyMixture");
    QTest::keyClicks(apply->parentWidget()->findChild<QPlainTextEdit*>(QStringLiteral("reason")), QStringLiteral("more code from here on"));
    const qint64 at = truth().newest()->step + 60;
    part<QSpinBox>("applyStep")->setValue(static_cast<int>(at));
    QVERIFY2(apply->isEnabled(), qPrintable(apply->accessibleDescription()));
    QTest::mouseClick(apply, Qt::LeftButton);
    QVERIFY(dialog() != nullptr);
    confirm(nullptr);
    QTRY_COMPARE_WITH_TIMEOUT(lastOf(ipc::CommandKind::SetMixture).state, ipc::CommandState::Applied, kPatience);
    QCOMPARE(lastOf(ipc::CommandKind::SetMixture).appliedStep, at);
    // The trainer reads by it.
    QTRY_VERIFY_WITH_TIMEOUT(truth().newest()->step > at + 25, kPatience);
    QCOMPARE(newestOf("mixture/Code/target", at), 0.75);
    QTRY_COMPARE_WITH_TIMEOUT(part<QLabel>("lastOrder")->text().left(7), QStringLiteral("Applied"), kPatience);
}

void TestGuiLive::restartForks() {
    m_window->showPage(Page::Live);
    clickBridge("restartButton");
    QTRY_VERIFY_WITH_TIMEOUT(dialog()->actButton()->text().startsWith(QStringLiteral("Restart from step")), kPatience);
    dialog()->findChild<QDoubleSpinBox*>(QStringLiteral("clip"))->setValue(0.5);
    const qint64 fork = dialog()->actButton()->text().section(QLatin1Char(' '), -1).remove(QLatin1Char(',')).toLongLong();
    QVERIFY(fork > 0 && fork % 50 == 0);
    confirm("try a tighter clip");
    QTRY_COMPARE_WITH_TIMEOUT(truth().attempts.size(), std::size_t{2}, kPatience);
    QTRY_VERIFY_WITH_TIMEOUT(attempt().key.attempt == 2 && attempt().state == ipc::AttemptState::Running && attempt().step > fork + 5, kPatience);
    const ipc::RunInfo run = truth();
    QCOMPARE(run.attempts[0].state, ipc::AttemptState::Superseded);
    QCOMPARE(run.attempts[1].parent, 1U);
    QCOMPARE(run.attempts[1].forkStep, fork);
    QVERIFY2(run.attempts[1].configToml.find("clip_grad = 0.5") != std::string::npos, run.attempts[1].configToml.c_str());
    const ipc::Command order = lastOf(ipc::CommandKind::Restart);
    QCOMPARE(order.state, ipc::CommandState::Applied);
    QCOMPARE(order.newAttempt, 2U);
}

void TestGuiLive::auditTellsAll() {
    for (const auto kind : {ipc::CommandKind::Pause, ipc::CommandKind::Resume, ipc::CommandKind::SetMixture, ipc::CommandKind::Restart}) {
        const ipc::Command order = lastOf(kind);
        QCOMPARE(order.state, ipc::CommandState::Applied);
        QCOMPARE(order.author, std::string("操作员-1"));
        QVERIFY(!order.host.empty());
    }
    QCOMPARE(lastOf(ipc::CommandKind::SetMixture).reason, std::string("more code from here on"));
    QCOMPARE(lastOf(ipc::CommandKind::Restart).reason, std::string("try a tighter clip"));
    m_window->showPage(Page::Audit);
    auto* table = part<QTableView>("auditTable");
    const auto has = [table](const QString& action, const QString& result) {
        for (int row = 0; row < table->model()->rowCount(); ++row) {
            if (table->model()->index(row, 3).data().toString() == action && table->model()->index(row, 4).data().toString() == result) {
                return true;
            }
        }
        return false;
    };
    for (const char* action : {"Pause", "Resume", "Mixture", "Restart"}) {
        QTRY_VERIFY2_WITH_TIMEOUT(has(QString::fromLatin1(action), QStringLiteral("applied")), action, kPatience);
    }
}

void TestGuiLive::stopEnds() {
    m_window->showPage(Page::Live);
    clickBridge("stopButton");
    confirm("the test has seen enough");
    QTRY_COMPARE_WITH_TIMEOUT(attempt().state, ipc::AttemptState::Stopped, kPatience);
    QVERIFY(!m_client->listCheckpoints(kRun.toStdString())->empty());
    QCOMPARE(m_client->listCheckpoints(kRun.toStdString())->front().step, truth().newest()->step); // "Save a checkpoint first" was on
}

void TestGuiLive::cleanupTestCase() {
    m_window.reset();
    if (m_client != nullptr) {
        m_client->shutdown(true);
    }
    m_session.reset();
    m_daemon.waitForFinished(20'000);
    if (m_daemon.state() != QProcess::NotRunning) {
        m_daemon.kill();
        m_daemon.waitForFinished();
    }
}

QTEST_MAIN(TestGuiLive)
#include "tst_gui_live.moc"
