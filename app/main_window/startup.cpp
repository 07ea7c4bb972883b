// SPDX-License-Identifier: GPL-3.0-or-later
#include "main_window/startup.h"

#include <cstdio>

#include <QApplication>
#include <QTimer>

#include "main_window/banner_bar.h"
#include "main_window/toast_bar.h"
#include "models/runs_model.h"
#include "pages/first_start_page.h"

namespace telehelm::app {
namespace {

constexpr int kConnectTimeoutMs = 20'000;

void say(FILE* where, const QString& sentence) {
    std::fprintf(where, "telehelm: %s\n", qUtf8Printable(sentence));
    std::fflush(where);
}

} // namespace

Startup::Startup(const CommandLine& line, Session& session, MainWindow& window, QObject* parent)
    : QObject(parent), m_line(line), m_session(session), m_window(window), m_daemon(line.stateDir), m_demo(session), m_demoWanted(line.demo) {
    m_demo.setConfig(line.config);
    connect(&m_daemon, &LocalDaemon::ready, this, &Startup::daemonReady);
    connect(&m_daemon, &LocalDaemon::failed, this, &Startup::daemonFailed);
    connect(&window, &MainWindow::connectAsked, this, &Startup::connectTo);
    connect(&window, &MainWindow::demoAsked, this, &Startup::startDemo);
    connect(&window, &MainWindow::startDaemonAsked, this, [this] { m_daemon.find(); });
    connect(&session, &Session::controlLinkChanged, this, [this] {
        if (m_line.verbose)
            logLinks();
        // The list of runs must be there before the demo is started: it may live already.
        if (m_demoWanted && m_session.controlLink().state == LinkState::Up)
            QTimer::singleShot(300, this, [this] {
                if (std::exchange(m_demoWanted, false))
                    startDemo(m_line.ranks);
            });
    });
    connect(&session, &Session::liveLinkChanged, this, [this] {
        if (m_line.verbose)
            logLinks();
    });
    connect(&session, &Session::runsChanged, this, &Startup::runsCame);
    connect(&session, &Session::focusedRunChanged, this, [this](const QString& run) { // after the window, which shows Live by then
        if (m_line.page && !run.isEmpty() && !std::exchange(m_pageShown, true))
            m_window.showPage(*m_line.page);
    });
    connect(&m_demo, &DemoStarter::progress, this, [this](const QString& sentence) {
        m_window.startPage()->showDemoProgress(sentence);
        if (m_line.verbose)
            say(stderr, sentence);
    });
    connect(&m_demo, &DemoStarter::failed, this, [this](const QString& sentence) {
        m_window.startPage()->showDemoFailure(sentence);
        complain(sentence);
    });
    connect(&m_demo, &DemoStarter::started, this, [this](const QString& run) {
        m_window.startPage()->showDemoProgress({});
        m_session.setFocusedRun(run);
        m_window.showPage(m_line.page.value_or(Page::Live));
        if (!m_line.stopOnExit)
            m_window.notify(ipc::Severity::Info, tr("The run %1 and its daemon go on when this window is closed. Stop ends the run.").arg(run));
    });
}

void Startup::begin() {
    scheduleScreenshot();
    if (m_line.quitAfterMs >= 0)
        QTimer::singleShot(m_line.quitAfterMs, &m_window, &QWidget::close);
    if (m_line.server.isEmpty())
        m_daemon.find();
    else
        connectTo(m_line.server);
}

void Startup::connectTo(const QString& address) {
    m_window.startPage()->setAddress(address);
    m_window.banner()->setLocalDaemon(!m_localAddress.isEmpty() && address == m_localAddress);
    m_session.open(address);
    QTimer::singleShot(kConnectTimeoutMs, this, [this, address] {
        if (m_session.address() == address && m_session.controlLink().state != LinkState::Up)
            complain(tr("No answer from %1: %2. The window keeps trying.").arg(address, m_session.controlLink().text));
    });
}

/// Started again at the address that it had, the session goes on where it was.
void Startup::daemonReady(const QString& address) {
    m_localAddress = address;
    if (m_session.address() != address)
        return connectTo(address);
    m_window.banner()->setLocalDaemon(true);
    m_window.banner()->startEnded();
    m_session.reconnectNow();
}

void Startup::startDemo(int ranks) {
    if (m_session.controlLink().state == LinkState::Up) {
        m_demo.start(ranks);
        return;
    }
    m_demoWanted = true; // once connected
    m_window.startPage()->showDemoProgress(tr("Starting the daemon of this computer…"));
    if (m_session.address().isEmpty())
        m_daemon.find();
}

void Startup::runsCame() {
    if (!m_line.run.isEmpty() && !m_wantedRunFound && m_session.run(m_line.run) != nullptr) {
        m_wantedRunFound = true;
        m_session.setFocusedRun(m_line.run);
    }
}

void Startup::daemonFailed(const QString& sentence) {
    m_window.startPage()->showDemoProgress({});
    m_window.banner()->startEnded();
    complain(sentence);
}

void Startup::complain(const QString& sentence) {
    say(stderr, sentence);
    m_window.notify(ipc::Severity::Critical, sentence);
    m_exitCode = 1;
}

void Startup::scheduleScreenshot() {
    if (!m_line.screenshot.isEmpty())
        QTimer::singleShot(m_line.screenshotAfterMs, this, &Startup::takeScreenshot);
}

void Startup::takeScreenshot() {
    const auto picture = m_window.grab();
    if (!picture.save(m_line.screenshot, "PNG")) {
        say(stderr, tr("The picture could not be written to %1.").arg(m_line.screenshot));
        m_exitCode = 1;
    } else {
        say(stdout, tr("wrote %1 (%2 × %3)").arg(m_line.screenshot).arg(picture.width()).arg(picture.height()));
    }
    if (!m_line.run.isEmpty() && !m_wantedRunFound) {
        say(stderr, tr("There is no run named “%1” on %2.").arg(m_line.run, m_session.address()));
        m_exitCode = 1;
    }
    if (m_line.quitAfterScreenshot)
        m_window.close();
}

void Startup::logLinks() {
    static const char* const kStates[] = {"off", "connecting", "up", "down"};
    const auto& control = m_session.controlLink();
    const auto& live = m_session.liveLink();
    const auto line = tr("control %1 %2, live %3 %4").arg(QString::fromLatin1(kStates[static_cast<int>(control.state)]), control.text,
                                                          QString::fromLatin1(kStates[static_cast<int>(live.state)]), live.text);
    if (std::exchange(m_lastLog, line) != line)
        say(stderr, line);
}

bool Startup::stopDaemon(const QString& address) {
    const auto stopped = SessionLinks::real().control(address.toStdString())->shutdown(true);
    if (!stopped)
        say(stderr, tr("The daemon at %1 was not stopped: %2").arg(address, QString::fromStdString(stopped.error().text())));
    return stopped.has_value();
}

int Startup::finish(int exitCode) {
    const auto address = m_session.address();
    const auto* run = m_session.run(m_session.focusedRun());
    const bool lives = run != nullptr && run->newest() != nullptr && ipc::isLive(run->newest()->state);
    if (m_line.stopOnExit && !address.isEmpty()) {
        if (!stopDaemon(address))
            return 1;
    } else if (lives) {
        say(stdout, tr("the run %1 goes on (step %2). “telehelmctl stop %1” ends it, “telehelm” shows it again.").arg(QString::fromStdString(run->run)).arg(run->newest()->step));
    }
    return exitCode != 0 ? exitCode : m_exitCode;
}

} // namespace telehelm::app
