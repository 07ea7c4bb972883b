// SPDX-License-Identifier: GPL-3.0-or-later
// Building of the live page, and how the range, the crosshair and Follow move. What the plots show: live_page_data.cpp.
#include "pages/live_page.h"

#include <cmath>
#include <limits>

#include <QLabel>
#include <QPointer>
#include <QShortcut>
#include <QSplitter>
#include <QStackedLayout>
#include <QTabBar>
#include <QToolButton>
#include <QVBoxLayout>

#include "dialogs/range_dialog.h"
#include "pages/bpb_panel.h"
#include "pages/plot_toolbar.h"
#include "plots/overview_strip.h"
#include "plots/plot_stack.h"
#include "plots/value_text.h"

namespace telehelm::app {

using plots::PlotStack;
using plots::ValueFormat;
using plots::XKind;

namespace {

constexpr double kDefaultSmoothing = 0.9;
constexpr double kOverviewSmoothing = 0.9;
constexpr int kFlagMs = 100;
constexpr int kNarrow = 1440 - 60 - 256; // of the window, without rail and left docks
constexpr double kOpen = std::numeric_limits<double>::infinity();

std::vector<std::string> liveNames() {
    namespace s = ipc::series;
    return {s::kTrainLoss,    s::kValidLoss, s::kGradNorm, s::kTokensPerS, s::kMfu,
            s::kLearningRate, s::kStepMs,    s::kBpb,      "bpb/*",        "valid/loss/*"};
}

} // namespace

LivePage::LivePage(ThemeController& theme, Session& session, QWidget* parent)
    : QWidget(parent), m_theme(theme), m_session(session), m_curves(session, liveNames()),
      m_whole(session, {ipc::series::kTrainLoss}) {
    m_curves.setCountsRepairs(true);
    m_curves.setSmoothing(kDefaultSmoothing);
    m_whole.setSmoothing(kOverviewSmoothing);
    m_flagTimer.setSingleShot(true);
    m_flagTimer.setInterval(kFlagMs);
    build();
    connectToolbar();
    connectPlots();
    connectMenus();
    connectSession();
    addKeys();
    m_toolbar->setSmoothing(kDefaultSmoothing);
    m_toolbar->setFollowing(true);
    runChosen();
}

void LivePage::build() {
    m_pages = new QStackedLayout(this);
    m_noRun = new QLabel(tr("No run is open"), this);
    m_noRun->setAlignment(Qt::AlignCenter);
    m_noRun->setFont(m_theme.font(TextRole::Section));
    auto* body = new QWidget(this);
    auto* layout = new QVBoxLayout(body);
    layout->setContentsMargins(0, 0, 0, 0);
    layout->setSpacing(0);
    m_toolbar = new PlotToolbar(m_theme, body);
    layout->addWidget(m_toolbar);
    buildPlots();
    layout->addWidget(m_plots, 1);
    m_pages->addWidget(m_noRun);
    m_pages->addWidget(body);
}

void LivePage::buildPlots() {
    m_plots = new QWidget(this);
    auto* layout = new QVBoxLayout(m_plots);
    layout->setContentsMargins(0, 0, 0, 0);
    layout->setSpacing(0);
    std::vector<plots::StripSpec> strips{
        {tr("Loss"), tr("nats/token"), ValueFormat::Loss, false, 41, true},
        {tr("Gradient norm"), {}, ValueFormat::GradNorm, true, 23.5, true},
        {tr("Throughput"), tr("tokens/s · right axis MFU"), ValueFormat::Count, false, 20, false},
        {tr("Learning rate"), {}, ValueFormat::LearningRate, false, 15.5, false}};
    m_stack = new PlotStack(m_theme, std::move(strips), true);
    m_bpb = new BpbPanel(m_theme);
    m_splitter = new QSplitter(Qt::Horizontal, m_plots);
    m_splitter->setHandleWidth(1);
    m_splitter->addWidget(m_stack);
    m_splitter->addWidget(m_bpb);
    m_splitter->setStretchFactor(0, 858);
    m_splitter->setStretchFactor(1, 426);
    m_splitter->setSizes({858, 426});
    m_overview = new plots::OverviewStrip(m_theme, m_plots);
    m_tabs = new QTabBar(m_plots);
    m_tabs->addTab(tr("Training"));
    m_tabs->addTab(tr("Bits per byte"));
    m_tabs->setDrawBase(false);
    m_tabs->setAccessibleName(tr("Plots"));
    m_tabs->hide();
    connect(m_tabs, &QTabBar::currentChanged, this, &LivePage::arrange);
    layout->addWidget(m_tabs);
    layout->addWidget(m_splitter, 1);
    auto* line = new QFrame(m_plots);
    line->setObjectName(QStringLiteral("hairline"));
    layout->addWidget(line);
    layout->addWidget(m_overview);
}

void LivePage::connectToolbar() {
    connect(m_toolbar, &PlotToolbar::xKindChosen, this, &LivePage::setXKind);
    connect(m_toolbar, &PlotToolbar::smoothingChanged, &m_curves, &LiveCurves::setSmoothing);
    connect(m_toolbar, &PlotToolbar::envelopeToggled, m_stack, &PlotStack::setEnvelopeVisible);
    connect(m_toolbar, &PlotToolbar::eventsToggled, this, [this](bool on) {
        m_stack->setFlagsVisible(on);
        m_bpb->setFlagsVisible(on);
    });
    connect(m_toolbar, &PlotToolbar::referencesToggled, this, [this](bool on) {
        m_stack->setReferencesVisible(on);
        m_bpb->setReferencesVisible(on);
    });
    connect(m_toolbar, &PlotToolbar::logYToggled, this, [this](bool on) { m_stack->setLogY(0, on); });
    connect(m_toolbar, &PlotToolbar::backClicked, m_stack, &PlotStack::back);
    connect(m_toolbar, &PlotToolbar::forwardClicked, m_stack, &PlotStack::forward);
    connect(m_toolbar, &PlotToolbar::resetClicked, this, &LivePage::resetAll);
    connect(m_toolbar, &PlotToolbar::rangeEntered, m_stack, &PlotStack::zoomTo);
    connect(m_toolbar, &PlotToolbar::followToggled, this, &LivePage::setFollowing);
    connect(m_toolbar, &PlotToolbar::exportRequested, this, [this](const QString& format) { exportAs(format, *m_stack); });
}

/// What a plot's own menu asks for.
void LivePage::connectMenus() {
    const auto note = [this](double x) { emit noteAsked(stepAt(x)); };
    const auto span = [this](double from, double to) { return spanOf(from, to); };
    connect(m_stack, &PlotStack::exportRequested, this, [this](const QString& format) { exportAs(format, *m_stack); });
    connect(m_stack, &PlotStack::rangeRequested, this, [this](int strip) { openRange(*m_stack, strip); });
    connect(m_stack, &PlotStack::noteRequested, this, note);
    m_stack->setSpanWords(span);
    connect(m_bpb, &BpbPanel::exportRequested, this, [this](const QString& format) { exportAs(format, *m_bpb->stack(m_bpb->language())); });
    connect(m_bpb, &BpbPanel::rangeRequested, this, [this](int strip) { openRange(*m_bpb->stack(m_bpb->language()), strip); });
    connect(m_bpb, &BpbPanel::noteRequested, this, note);
    m_bpb->setSpanWords(span);
}

void LivePage::openRange(PlotStack& stack, int strip) {
    const PlotRanges ranges{plots::rangeText(m_kind, m_from, m_to), stack.yRange(strip), stack.hasAutomaticY(strip), stack.logY(strip)};
    const QPointer<PlotStack> plot(&stack);
    openRangeDialog(
        this, m_theme, stack.title(strip), ranges, [this](const QString& x) { return plots::readRange(m_kind, x, m_to).has_value(); },
        [this, plot, strip, before = ranges.x](const QString& x, std::optional<std::pair<double, double>> y) {
            if (plot)
                plot->setYRange(strip, y ? y->first : 0, y ? y->second : 0);
            if (const auto range = plots::readRange(m_kind, x, m_to); range && x != before)
                m_stack->zoomTo(range->first, range->second);
        });
}

void LivePage::connectPlots() {
    connect(m_stack, &PlotStack::xRangeChanged, this, &LivePage::userRange);
    connect(m_stack, &PlotStack::historyChanged, this,
            [this] { m_toolbar->setHistory(m_stack->canGoBack(), m_stack->canGoForward()); });
    connect(m_stack, &PlotStack::plotWidthChanged, this, &LivePage::updateBuckets);
    connect(m_stack, &PlotStack::cursorMoved, this, &LivePage::moveCursor);
    connect(m_stack, &PlotStack::flagClicked, this, &LivePage::flagClicked);
    connect(m_stack, &PlotStack::resetRequested, this, &LivePage::resetAll);
    connect(m_bpb, &BpbPanel::xRangeChanged, m_stack, &PlotStack::zoomTo);
    connect(m_bpb, &BpbPanel::cursorMoved, this, [this](double x) {
        m_stack->setCursor(x);
        moveCursor(x);
    });
    connect(m_bpb, &BpbPanel::flagClicked, this, &LivePage::flagClicked);
    connect(m_bpb, &BpbPanel::resetRequested, this, &LivePage::resetAll);
    connect(m_overview, &plots::OverviewStrip::windowChanged, this, [this](double from, double to) {
        setFollowing(false); // also when the window touches the newest step
        setRange(from, to);
    });
}

void LivePage::connectSession() {
    connect(&m_session, &Session::focusedRunChanged, this, &LivePage::runChosen);
    connect(&m_session, &Session::runChanged, this, [this](const QString& run) {
        if (run == m_run)
            runMoved();
    });
    connect(&m_session, &Session::runsChanged, this, &LivePage::runMoved);
    connect(&m_session, &Session::eventAdded, this, [this] { m_flagTimer.start(); });
    connect(&m_flagTimer, &QTimer::timeout, this, &LivePage::showFlags);
    connect(&m_theme, &ThemeController::changed, this, [this] {
        m_noRun->setFont(m_theme.font(TextRole::Section));
        showFlags();
    });
    connect(&m_curves, &LiveCurves::changed, this, &LivePage::showCurves);
    connect(&m_curves, &LiveCurves::gapsChanged, this, &LivePage::showGaps);
    connect(&m_curves, &LiveCurves::newSteps, this, [this](int steps) {
        if (m_following)
            return;
        m_missedSteps += steps;
        m_toolbar->setFollowing(false, m_missedSteps);
    });
    connect(&m_whole, &LiveCurves::changed, this, &LivePage::showOverview);
}

/// Single letters act only while a plot has the focus.
void LivePage::addKeys() {
    const auto key = [this](const QKeySequence& keys, auto action) {
        auto* shortcut = new QShortcut(keys, m_plots);
        shortcut->setContext(Qt::WidgetWithChildrenShortcut);
        connect(shortcut, &QShortcut::activated, this, action);
    };
    key(Qt::Key_F, [this] { setFollowing(!m_following); });
    key(Qt::Key_R, [this] { resetAll(); });
    key(Qt::Key_1, [this] { setXKind(XKind::Step); });
    key(Qt::Key_2, [this] { setXKind(XKind::Tokens); });
    key(Qt::Key_3, [this] { setXKind(XKind::WallTime); });
    key(Qt::Key_L, [this] { m_toolbar->logY()->toggle(); });
    key(Qt::Key_E, [this] { m_toolbar->envelope()->toggle(); });
    key(Qt::Key_V, [this] { m_toolbar->events()->toggle(); });
    key(Qt::Key_G, [this] { m_toolbar->references()->toggle(); });
    key(Qt::Key_BracketLeft, [this] { m_toolbar->stepSmoothing(-1); });
    key(Qt::Key_BracketRight, [this] { m_toolbar->stepSmoothing(1); });
    key(QKeySequence::Undo, [this] { m_stack->back(); });
    key(QKeySequence(Qt::CTRL | Qt::Key_Y), [this] { m_stack->forward(); });
    key(Qt::Key_Space,
        [this] { setSeriesHidden(QStringLiteral("train/loss"), !m_hidden.contains(QStringLiteral("train/loss"))); });
}

// ---------------------------------------------------------------- ranges

std::pair<double, double> LivePage::wholeRun() const {
    const ipc::RunInfo* run = focused();
    const double newest = m_curves.newestX(m_run);
    double from = 0, least = 10;
    if (m_kind == XKind::Tokens && run)
        least = 10.0 * static_cast<double>(std::max<qint64>(1, run->tokensPerStep));
    if (m_kind == XKind::WallTime) {
        from = run && !run->attempts.empty() ? static_cast<double>(run->attempts.front().startedUs) : 0;
        least = 60e6;
    }
    const double to = std::isnan(newest) ? from + least : std::max(newest, from + least);
    return {from, to + (to - from) * 0.015}; // a little air before the newest step
}

void LivePage::setRange(double from, double to) {
    m_from = from;
    m_to = to;
    m_stack->setXRange(from, to);
    m_bpb->setXRange(from, to);
    m_overview->setWindow(from, to);
    m_toolbar->setRange(m_kind, from, to);
    m_curves.setWindow(from, m_following ? kOpen : to);
}

/// A range that keeps the newest step in view goes on following with its width.
void LivePage::userRange(double from, double to) {
    const double newest = m_curves.newestX(m_run);
    const bool atEnd = m_following && !std::isnan(newest) && to >= newest && from < newest;
    if (atEnd)
        m_span = to - from;
    else if (m_following)
        setFollowing(false);
    setRange(from, to);
}

void LivePage::setFollowing(bool on) {
    if (on && !m_following)
        m_span = m_to - m_from; // follows with the width that was looked at
    const bool changed = m_following != on;
    m_following = on;
    m_missedSteps = 0;
    m_toolbar->setFollowing(on);
    m_curves.setWindow(m_from, on ? kOpen : m_to);
    if (on)
        followNewest();
    if (changed)
        emit followingChanged(on);
}

void LivePage::followNewest() {
    const auto [from, to] = wholeRun();
    if (!m_span || *m_span >= to - from)
        return setRange(from, to);
    setRange(to - *m_span, to);
}

void LivePage::resetAll() {
    m_stack->resetY();
    m_bpb->resetY();
    setFollowing(true);
    m_span.reset();
    followNewest();
}

void LivePage::zoomToSteps(qint64 from, qint64 to) {
    const double room = std::max(10.0, static_cast<double>(to - from) * 0.5);
    m_stack->zoomTo(convert(static_cast<double>(from) - room, XKind::Step, m_kind),
                    convert(static_cast<double>(to) + room, XKind::Step, m_kind));
}

qint64 LivePage::stepAt(double x) const {
    return std::max<qint64>(0, std::llround(convert(x, m_kind, XKind::Step)));
}

qint64 LivePage::cursorStep() const {
    return std::isnan(m_stack->cursor()) ? -1 : stepAt(m_stack->cursor());
}

void LivePage::goToStep(qint64 step) {
    const double x = convert(static_cast<double>(step), XKind::Step, m_kind);
    if (x < m_from || x > m_to)
        m_stack->zoomTo(x - (m_to - m_from) / 2, x + (m_to - m_from) / 2);
    m_stack->setCursor(x);
    moveCursor(x);
}

/// Zoom is kept across a switch of the axis.
void LivePage::setXKind(XKind kind) {
    if (kind == m_kind)
        return;
    const double from = convert(m_from, m_kind, kind), to = convert(m_to, m_kind, kind);
    if (m_span)
        m_span = to - from;
    m_kind = kind;
    const auto axis = kind == XKind::Step ? ipc::Axis::Step : kind == XKind::Tokens ? ipc::Axis::Tokens : ipc::Axis::WallTime;
    m_stack->setXKind(kind);
    m_bpb->setXKind(kind);
    m_overview->setXKind(kind);
    m_toolbar->setXKind(kind);
    moveCursor(plots::kNoCursor);
    m_stack->setCursor(plots::kNoCursor);
    m_curves.setAxis(axis);
    m_whole.setAxis(axis);
    m_whole.setWindow(wholeRun().first, kOpen);
    setRange(from, to);
    showCurves();
    showOverview();
    showFlags();
    showGaps();
}

void LivePage::updateBuckets() {
    m_curves.setMaxBuckets(2 * m_stack->plotWidthPx());
    m_whole.setMaxBuckets(2 * m_overview->plotWidthPx());
}

void LivePage::resizeEvent(QResizeEvent* event) {
    QWidget::resizeEvent(event);
    arrange();
    updateBuckets();
}

/// Too narrow for both side by side: strips and bits per byte share the place as tabs.
void LivePage::arrange() {
    const bool narrow = width() < kNarrow;
    m_tabs->setVisible(narrow);
    m_stack->setVisible(!narrow || m_tabs->currentIndex() == 0);
    m_bpb->setVisible(!narrow || m_tabs->currentIndex() == 1);
}

void LivePage::setStale(bool on) {
    m_stack->setStale(on);
    m_bpb->setStale(on);
    m_toolbar->setStale(on);
}

void LivePage::setHighlightedRun(const QString& run) {
    m_stack->setHighlightedRun(run);
    m_bpb->setHighlightedRun(run);
}

} // namespace telehelm::app
