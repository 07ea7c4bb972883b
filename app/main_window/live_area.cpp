// SPDX-License-Identifier: GPL-3.0-or-later
#include "main_window/live_area.h"

#include <QTabBar>

#include "pages/live_page.h"

namespace telehelm::app {
namespace {
constexpr int kLeftWidth = 256, kRunsHeight = 152, kSeriesHeight = 470, kEventsHeight = 211;
constexpr int kCollapseBelow = 1280 - 60; // of the window, the rail taken off
} // namespace

LiveArea::LiveArea(Session& session, ThemeController& theme, RunSlots& runSlots, MessagesModel& messages, QWidget* parent)
    : QMainWindow(parent), m_session(session), m_slots(runSlots), m_runs(runSlots) {
    setWindowFlags(Qt::Widget); // an inner window: part of the page stack
    setContextMenuPolicy(Qt::NoContextMenu);
    setDockOptions(QMainWindow::AllowTabbedDocks | QMainWindow::AllowNestedDocks);
    setCorner(Qt::BottomLeftCorner, Qt::BottomDockWidgetArea);
    m_page = new LivePage(session, theme, this);
    setCentralWidget(m_page);
    m_runsDock = new RunsDock(session, theme, m_runs, runSlots, this);
    m_seriesDock = new SeriesDock(session, theme, m_series, this);
    m_eventsDock = new EventsDock(session, theme, messages, this);
    for (QDockWidget* dock : {static_cast<QDockWidget*>(m_runsDock), static_cast<QDockWidget*>(m_seriesDock)}) {
        dock->setMinimumWidth(200);
        dock->setAllowedAreas(Qt::LeftDockWidgetArea | Qt::RightDockWidgetArea);
    }
    connectModels();
    connectPage();
    restoreDefaultLayout();
}

void LiveArea::restoreDefaultLayout() {
    for (QDockWidget* dock : {static_cast<QDockWidget*>(m_runsDock), static_cast<QDockWidget*>(m_seriesDock), static_cast<QDockWidget*>(m_eventsDock)}) {
        dock->setFloating(false);
        dock->show();
    }
    addDockWidget(Qt::LeftDockWidgetArea, m_runsDock);
    addDockWidget(Qt::LeftDockWidgetArea, m_seriesDock);
    splitDockWidget(m_runsDock, m_seriesDock, Qt::Vertical);
    addDockWidget(Qt::BottomDockWidgetArea, m_eventsDock);
    resizeDocks({m_runsDock}, {kLeftWidth}, Qt::Horizontal);
    resizeDocks({m_runsDock, m_seriesDock}, {kRunsHeight, kSeriesHeight}, Qt::Vertical);
    resizeDocks({m_eventsDock}, {kEventsHeight}, Qt::Vertical);
}

void LiveArea::connectModels() {
    connect(&m_session, &Session::runsChanged, this, [this] { m_runs.setRuns(m_session.runs()); });
    connect(&m_session, &Session::runChanged, this, [this](const QString& run) {
        if (const auto* info = m_session.run(run))
            m_runs.updateRun(*info);
        refreshRun(run);
    });
    connect(&m_session, &Session::liveLinkChanged, this, [this] { m_runs.setStale(m_session.liveLink().state == LinkState::Down); });
    connect(&m_session, &Session::focusedRunChanged, this, &LiveArea::refreshRun);
    connect(&m_session, &Session::newsArrived, this, [this](const std::vector<ipc::News>& news) {
        for (const auto& item : news)
            m_series.takeNews(item.batch);
    });
    m_runs.setRuns(m_session.runs());
    refreshRun(m_session.focusedRun());
}

void LiveArea::refreshRun(const QString& run) {
    if (run != m_session.focusedRun())
        return;
    const auto* info = m_session.run(run);
    m_series.setRun(run, run.isEmpty() ? 0 : m_slots.slotOf(run), info != nullptr ? info->domains : std::vector<ipc::DomainInfo>{});
}

void LiveArea::connectPage() {}

void LiveArea::resizeEvent(QResizeEvent* event) {
    QMainWindow::resizeEvent(event);
    const bool narrow = width() < kCollapseBelow;
    if (!m_shown || narrow == m_collapsed)
        return;
    // Narrow: Runs and Series share one place as tabs at the edge; wide: one above the other.
    m_collapsed = narrow;
    if (narrow) {
        m_runsDock->hide();
        m_seriesDock->hide();
    } else {
        m_runsDock->show();
        m_seriesDock->show();
    }
}

void LiveArea::showEvent(QShowEvent* event) {
    QMainWindow::showEvent(event);
    m_shown = true;
}

} // namespace telehelm::app
