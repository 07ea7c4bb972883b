// SPDX-License-Identifier: GPL-3.0-or-later
#include "main_window/live_area.h"

#include <utility>

#include <QTimer>

#include "pages/live_page.h"

namespace telehelm::app {
namespace {
constexpr int kLeftWidth = 256, kRunsHeight = 152, kSeriesHeight = 470, kEventsHeight = 211, kLowEventsHeight = 108;
constexpr qint64 kZoomSteps = 20; // around an event, before the page adds its margins
constexpr int kLowBelow = 680; // of the page
constexpr int kCollapseBelow = 1280 - 60; // of the window, the rail taken off
} // namespace

LiveArea::LiveArea(Session& session, ThemeController& theme, RunSlots& runSlots, MessagesModel& messages, QWidget* parent)
    : QMainWindow(parent), m_session(session), m_slots(runSlots), m_runs(runSlots) {
    setWindowFlags(Qt::Widget); // an inner window: part of the page stack
    setContextMenuPolicy(Qt::NoContextMenu);
    setDockOptions(QMainWindow::AllowTabbedDocks | QMainWindow::AllowNestedDocks);
    setCorner(Qt::BottomLeftCorner, Qt::BottomDockWidgetArea);
    m_page = new LivePage(theme, session, this);
    m_page->setMinimumWidth(640); // the toolbar may be cut before the docks are
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
    sizeDocks();
}

void LiveArea::sizeDocks() {
    resizeDocks({m_runsDock}, {kLeftWidth}, Qt::Horizontal);
    resizeDocks({m_runsDock, m_seriesDock}, {kRunsHeight, kSeriesHeight}, Qt::Vertical);
    resizeDocks({m_eventsDock}, {m_low ? kLowEventsHeight : kEventsHeight}, Qt::Vertical);
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

void LiveArea::connectPage() {
    connect(m_page, &LivePage::cursorValues, &m_series, &SeriesModel::setAtCursor);
    connect(m_page, &LivePage::flagClicked, m_eventsDock, &EventsDock::selectEvent);
    connect(&m_series, &SeriesModel::hiddenChanged, m_page, &LivePage::setSeriesHidden);
    connect(m_eventsDock, &EventsDock::zoomAsked, m_page, [this](qint64 step) { m_page->zoomToSteps(step - kZoomSteps, step + kZoomSteps); });
    connect(m_runsDock, &RunsDock::hovered, m_page, &LivePage::setHighlightedRun);
    connect(&m_slots, &RunSlots::hiddenChanged, this, &LiveArea::showRuns);
    connect(&m_session, &Session::runsChanged, this, &LiveArea::showRuns);
    connect(&m_session, &Session::focusedRunChanged, this, [this](const QString& run) {
        m_slots.setHidden(run, false);
        showRuns();
    });
    connect(&m_session, &Session::liveLinkChanged, this, [this] { m_page->setStale(m_session.liveLink().state == LinkState::Down); });
    showRuns();
}

/// The focused run and those that live are drawn; ended ones come hidden, until the operator shows them.
void LiveArea::showRuns() {
    std::vector<ShownRun> shown;
    for (const auto& info : m_session.runs()) {
        const auto run = QString::fromStdString(info.run);
        if (!m_seen.contains(run)) {
            m_seen.insert(run);
            const bool live = info.newest() != nullptr && ipc::isLive(info.newest()->state);
            if (!live && run != m_session.focusedRun())
                m_slots.setHidden(run, true); // comes back here by hiddenChanged()
        }
        if (!m_slots.isHidden(run) || run == m_session.focusedRun())
            shown.push_back({run, m_slots.slotOf(run)});
    }
    m_page->setShownRuns(std::move(shown));
}

void LiveArea::showSeries(const QString& series) {
    m_series.setHidden(series, false);
    m_seriesDock->select(series);
}

void LiveArea::restoreLayout(const QByteArray& state) {
    m_layout = state; // for the first show, where that is still to come
    if (m_shown)
        restoreState(state);
}

void LiveArea::resizeEvent(QResizeEvent* event) {
    QMainWindow::resizeEvent(event);
    if (m_shown)
        fit();
}

/// What a small window leaves out.
void LiveArea::fit() {
    if (m_low != (height() < kLowBelow)) {
        m_low = !m_low;
        resizeDocks({m_eventsDock}, {m_low ? kLowEventsHeight : kEventsHeight}, Qt::Vertical);
    }
    const bool narrow = width() < kCollapseBelow;
    if (narrow == m_collapsed)
        return;
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
    if (std::exchange(m_shown, true))
        return;
    // Docks take sizes only once the window has its own.
    QTimer::singleShot(0, this, [this] {
        if (m_layout.isEmpty() || !restoreState(m_layout))
            sizeDocks();
        fit();
    });
}

} // namespace telehelm::app
