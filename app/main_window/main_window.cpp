// SPDX-License-Identifier: GPL-3.0-or-later
#include "main_window/main_window.h"

#include <QAccessible>
#include <QApplication>
#include <QCloseEvent>
#include <QFileDialog>
#include <QLabel>
#include <QSettings>
#include <QStackedWidget>
#include <QTimer>
#include <QVBoxLayout>

#include "dialogs/note_dialog.h"
#include "dialogs/settings_dialog.h"
#include "main_window/banner_bar.h"
#include "main_window/bridge_strip.h"
#include "main_window/connection_details.h"
#include "main_window/live_area.h"
#include "main_window/rail.h"
#include "main_window/status_strip.h"
#include "main_window/toast_bar.h"
#include "models/text_format.h"
#include "pages/audit_page.h"
#include "pages/first_start_page.h"
#include "pages/live_page.h"
#include "pages/mixture_page.h"

namespace telehelm::app {

MainWindow::MainWindow(Session& session, ThemeController& theme, QSettings& settings, const SessionLinks& links, QWidget* parent)
    : QMainWindow(parent), m_session(session), m_theme(theme), m_settings(settings), m_slots(settings), m_openedUs(ipc::nowUs()) {
    setWindowTitle(tr("Telehelm"));
    setWindowIcon(QIcon(QStringLiteral(":/icons/telehelm.svg")));
    setMinimumSize(1180, 720);
    setContextMenuPolicy(Qt::NoContextMenu);
    buildPages(links);
    buildFrame();
    buildMenus();
    connectParts();
    connectSession();
    showPage(Page::Start);
    resize(1600, 1000);
}

MainWindow::~MainWindow() = default;

void MainWindow::buildPages(const SessionLinks& links) {
    m_stack = new QStackedWidget(this);
    m_live = new LiveArea(m_session, m_theme, m_slots, m_messages, m_stack);
    m_mixture = new MixturePage(m_session, m_theme, m_stack);
    m_audit = new AuditPage(m_session, m_theme, m_stack);
    m_start = new FirstStartPage(m_session, m_theme, m_settings, links, m_stack);
    for (QWidget* page : {static_cast<QWidget*>(m_live), static_cast<QWidget*>(m_mixture), static_cast<QWidget*>(m_audit), static_cast<QWidget*>(m_start)})
        m_stack->addWidget(page); // in the order of enum Page
}

void MainWindow::buildFrame() {
    m_bridge = new BridgeStrip(m_session, m_theme, this);
    m_rail = new Rail(m_theme, this);
    m_rail->addPage(static_cast<int>(Page::Live), "live", tr("Live"));
    m_rail->addPage(static_cast<int>(Page::Mixture), "mixture", tr("Mixture"));
    m_rail->addPage(static_cast<int>(Page::Audit), "audit", tr("Audit"));
    auto* settings = m_rail->addAtBottom("settings", tr("Settings"));
    connect(settings, &QAbstractButton::clicked, this, &MainWindow::openSettings);
    m_banner = new BannerBar(m_session, m_theme, this);
    m_status = new StatusStrip(m_session, m_theme, this);
    setStatusBar(m_status);
    auto* centre = new QWidget(this);
    auto* column = new QVBoxLayout(centre);
    column->setContentsMargins(0, 0, 0, 0);
    column->setSpacing(0);
    column->addWidget(m_bridge);
    auto* row = new QHBoxLayout;
    row->setSpacing(0);
    row->addWidget(m_rail);
    auto* right = new QVBoxLayout;
    right->setSpacing(0);
    right->addWidget(m_banner);
    right->addWidget(m_stack, 1);
    row->addLayout(right, 1);
    column->addLayout(row, 1);
    setCentralWidget(centre);
    m_toasts = new ToastBar(m_theme, m_messages, this);
}

void MainWindow::connectParts() {
    connect(m_rail, &Rail::pageChosen, this, [this](int page) { showPage(static_cast<Page>(page)); });
    connect(m_bridge, &BridgeStrip::pauseAsked, this, [this] { openPauseDialog(this, m_session, m_theme, run()); });
    connect(m_bridge, &BridgeStrip::resumeAsked, this, [this] { openResumeDialog(this, m_session, m_theme, run()); });
    connect(m_bridge, &BridgeStrip::restartAsked, this, [this] { openRestartDialog(this, m_session, m_theme, run()); });
    connect(m_bridge, &BridgeStrip::stopAsked, this, [this] { openStopDialog(this, m_session, m_theme, run()); });
    connect(m_banner, &BannerBar::detailsAsked, this, &MainWindow::openConnectionDetails);
    connect(m_banner, &BannerBar::startAsked, this, &MainWindow::startDaemonAsked);
    connect(m_banner, &BannerBar::backAgain, this, [this](const QString& sentence) {
        m_messages.add({ipc::nowUs(), ipc::Severity::Benign, sentence});
    });
    connect(m_start, &FirstStartPage::connectAsked, this, &MainWindow::connectAsked);
    connect(m_start, &FirstStartPage::demoAsked, this, &MainWindow::demoAsked);
    connect(m_live->runsDock(), &RunsDock::addRunAsked, this, [this] { showPage(Page::Start); });
    connect(m_live->eventsDock(), &EventsDock::restartAsked, this,
            [this](qint64 step) { openRestartDialog(this, m_session, m_theme, run(), std::max<qint64>(0, step - 1)); });
    connect(m_live->eventsDock(), &EventsDock::auditPageAsked, this, [this] { showPage(Page::Audit); });
    connect(m_live->page(), &LivePage::followingChanged, m_status, &StatusStrip::setFollowing);
    connect(m_live->page(), &LivePage::exportFailed, this, [this](const QString& sentence) { notify(ipc::Severity::Critical, sentence); });
    connect(m_live->page(), &LivePage::noteAsked, this, &MainWindow::openNote);
    connect(m_audit, &AuditPage::showOnPlots, this, &MainWindow::goToStep);
}

void MainWindow::connectSession() {
    connect(&m_session, &Session::focusedRunChanged, this, [this](const QString& name) {
        setWindowTitle(name.isEmpty() ? tr("Telehelm") : tr("%1 – Telehelm").arg(name));
        if (!name.isEmpty() && m_current == Page::Start)
            showPage(Page::Live);
        refreshActions();
    });
    connect(&m_session, &Session::runChanged, this, &MainWindow::refreshActions);
    connect(&m_session, &Session::runDeleted, this, [this](const ipc::DeletedRun& deleted, bool wasOpen) {
        if (wasOpen)
            tellDeleted(deleted);
    });
    connect(&m_session, &Session::controlLinkChanged, this, [this] {
        refreshActions();
        m_server->setText(m_session.address());
        layoutCorner();
        if (m_session.controlLink().state == LinkState::Up && m_layoutAddress != m_session.address())
            restoreLayout();
    });
    connect(&m_session, &Session::commandChanged, this, &MainWindow::commandMoved);
    connect(&m_session, &Session::eventAdded, this, [this](const ipc::Event& event) {
        if (event.severity != ipc::Severity::Critical || event.wallUs < m_openedUs)
            return;
        const auto sentence = QString::fromStdString(event.text);
        notify(ipc::Severity::Critical, sentence);
        m_rail->button(static_cast<int>(Page::Live))->setBadge(static_cast<int>(ipc::Severity::Critical));
        QAccessibleEvent alert(this, QAccessible::Alert);
        QAccessible::updateAccessibility(&alert);
    });
}

void MainWindow::showPage(Page page) {
    m_current = page;
    m_stack->setCurrentIndex(static_cast<int>(page));
    m_rail->setCurrent(page == Page::Start ? -1 : static_cast<int>(page));
    m_bridge->setVisible(page != Page::Start || !run().isEmpty());
    if (page == Page::Live)
        m_rail->button(static_cast<int>(Page::Live))->setBadge(0);
    refreshActions();
}

void MainWindow::notify(ipc::Severity severity, const QString& sentence) { m_toasts->show(severity, sentence); }

void MainWindow::tellDeleted(const ipc::DeletedRun& deleted) {
    const auto name = QString::fromStdString(deleted.run), reason = QString::fromStdString(deleted.reason);
    if (deleted.author.empty())
        return notify(ipc::Severity::Warning, tr("The daemon does not have the run %1 any more.").arg(name));
    const auto sentence = tr("The run %1 was deleted by %2").arg(name, QString::fromStdString(deleted.author));
    notify(ipc::Severity::Warning, reason.isEmpty() ? sentence + QLatin1Char('.') : tr("%1: %2").arg(sentence, reason));
}

/// What became of an order: told once per state, and only of what happened while this window was open.
void MainWindow::commandMoved(const ipc::Command& command) {
    const bool ended = command.state != ipc::CommandState::Requested && command.state != ipc::CommandState::Accepted;
    if (!ended || command.endedUs < m_openedUs || m_told[command.id] == command.state)
        return;
    m_told[command.id] = command.state;
    const bool fine = command.state == ipc::CommandState::Applied;
    QString sentence = QString::fromStdString(command.outcome);
    if (sentence.isEmpty())
        sentence = tr("%1 of %2: %3").arg(QString::fromLatin1(ipc::name(command.kind)), QString::fromStdString(command.key.run), QString::fromLatin1(ipc::name(command.state)));
    ToastAction action;
    if (fine && command.kind == ipc::CommandKind::Pause)
        action = {tr("Resume"), [this] { openResumeDialog(this, m_session, m_theme, run()); }};
    m_toasts->show(fine ? ipc::Severity::Benign : ipc::Severity::Critical, sentence, action);
}

void MainWindow::checkpointNow() {
    ipc::Command command;
    command.kind = ipc::CommandKind::Checkpoint;
    command.key = {run().toStdString(), 0};
    m_session.submit(std::move(command));
    notify(ipc::Severity::Info, tr("A checkpoint of %1 was asked for.").arg(run()));
}

void MainWindow::goToStep(const QString& name, qint64 step) {
    if (!name.isEmpty())
        m_session.setFocusedRun(name);
    showPage(Page::Live);
    m_live->page()->goToStep(step);
}

void MainWindow::openSettings() {
    openSettingsDialog(this, m_theme, loadSettings(), m_session.operatorName(), [this](const Settings& settings) { applySettings(settings); });
}

void MainWindow::applySettings(const Settings& settings) {
    m_theme.setChoice(settings.theme);
    m_theme.setTextScale(settings.textScale);
    m_session.setOperatorName(settings.operatorName);
    m_operator->setText(tr("Operator <b>%1</b>").arg(m_session.operatorName().toHtmlEscaped()));
    layoutCorner();
}

void MainWindow::openNote(qint64 step) {
    if (!run().isEmpty())
        openNoteDialog(this, m_session, m_theme, run(), step);
}

void MainWindow::openConnectionDetails() {
    if (auto* open = Scrim::openDialog(this)) {
        open->raise();
        return;
    }
    Scrim::open(this, new ConnectionDetails(m_session, m_theme), m_theme);
}

void MainWindow::savePicture() {
    const auto picture = grab(); // before the file dialog lies over it
    const auto path = QFileDialog::getSaveFileName(this, tr("Save a picture of the window"), QStringLiteral("telehelm.png"), tr("PNG pictures (*.png)"));
    if (path.isEmpty())
        return;
    if (picture.save(path))
        notify(ipc::Severity::Benign, tr("The picture was saved as %1.").arg(path));
    else
        notify(ipc::Severity::Critical, tr("The picture could not be written to %1. Choose a folder that can be written to.").arg(path));
}

QString MainWindow::layoutKey() const {
    return QStringLiteral("layout/") + QString::fromLatin1(m_layoutAddress.toUtf8().toPercentEncoding()) + QStringLiteral("/live");
}

void MainWindow::saveLayout() {
    m_settings.setValue(QStringLiteral("window/geometry"), saveGeometry());
    if (!m_layoutAddress.isEmpty() && m_live->wasShown()) // sizes of a page never shown mean nothing
        m_settings.setValue(layoutKey(), m_live->saveState());
}

void MainWindow::restoreLayout() {
    saveLayout(); // of the connection before
    m_layoutAddress = m_session.address();
    if (const auto state = m_settings.value(layoutKey()).toByteArray(); !state.isEmpty())
        m_live->restoreLayout(state);
}

void MainWindow::resizeEvent(QResizeEvent* event) {
    QMainWindow::resizeEvent(event);
    m_toasts->place();
}

void MainWindow::closeEvent(QCloseEvent* event) {
    saveLayout();
    if (!m_session.address().isEmpty())
        m_start->remember(m_session.address(), m_session.run(run()));
    QMainWindow::closeEvent(event);
}

} // namespace telehelm::app
