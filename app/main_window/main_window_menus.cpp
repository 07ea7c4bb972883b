// SPDX-License-Identifier: GPL-3.0-or-later
// Menus, shortcuts and the command palette of the main window.
#include <QActionGroup>
#include <QApplication>
#include <QDateTime>
#include <QHBoxLayout>
#include <QLabel>
#include <QMenuBar>
#include <QMessageBox>
#include <QTimer>

#include "dialogs/help_dialog.h"
#include "main_window/bridge_strip.h"
#include "main_window/events_dock.h"
#include "main_window/live_area.h"
#include "main_window/main_window.h"
#include "main_window/toast_bar.h"
#include "pages/live_page.h"
#include "widgets/panel.h"

namespace telehelm::app {
namespace {

const std::pair<const char*, ThemeChoice> kThemes[] = {
    {QT_TRANSLATE_NOOP("MainWindow", "Dark"), ThemeChoice::Dark},
    {QT_TRANSLATE_NOOP("MainWindow", "Light"), ThemeChoice::Light},
    {QT_TRANSLATE_NOOP("MainWindow", "Follow system"), ThemeChoice::System},
};

} // namespace

QAction* MainWindow::addAction(QMenu* menu, const QString& text, const QString& shortcut, std::function<void()> act, const char* icon) {
    auto* action = menu->addAction(text);
    if (!shortcut.isEmpty())
        action->setShortcut(QKeySequence(shortcut));
    if (icon != nullptr) {
        const auto tint = [this, action, icon] { action->setIcon(m_theme.icon(icon)); };
        tint();
        connect(&m_theme, &ThemeController::changed, action, tint);
    }
    connect(action, &QAction::triggered, this, [act = std::move(act)] { act(); });
    return action;
}

void MainWindow::buildMenus() {
    menuBar()->setFixedHeight(27);
    menuBar()->setFont(m_theme.font(TextRole::Body));
    auto* file = menuBar()->addMenu(tr("File"));
    addAction(file, tr("Connect…"), QStringLiteral("Ctrl+Shift+C"), [this] { showPage(Page::Start); }, "plug");
    addAction(file, tr("Start the demo run"), {}, [this] { emit demoAsked(0); }, "play");
    addAction(file, tr("Reconnect now"), QStringLiteral("F5"), [this] { m_session.reconnectNow(); });
    addAction(file, tr("Connection details…"), {}, [this] { openConnectionDetails(); }, "server");
    file->addSeparator();
    addAction(file, tr("Save a picture of the window…"), {}, [this] { savePicture(); }, "export");
    addAction(file, tr("Settings…"), QStringLiteral("Ctrl+,"), [this] { openSettings(); }, "settings");
    file->addSeparator();
    addAction(file, tr("Quit"), QStringLiteral("Ctrl+Q"), [this] { close(); });
    buildRunMenu();
    buildViewMenu();
    buildPlotsMenu();
    buildWindowMenu();
    auto* help = menuBar()->addMenu(tr("Help"));
    addAction(help, tr("Mouse and keys…"), QStringLiteral("F1"), [this] { openHelpDialog(this, m_theme); }, "help");
    addAction(help, tr("Every action…"), QStringLiteral("Ctrl+K"), [this] { openPalette(); }, "search");
    addAction(help, tr("About Telehelm"), {}, [this] { openAbout(); });
    buildMenuCorners();
}

void MainWindow::buildRunMenu() {
    auto* menu = menuBar()->addMenu(tr("Run"));
    m_pause = addAction(menu, tr("Pause…"), QStringLiteral("Ctrl+Shift+P"), [this] { openPauseDialog(this, m_session, m_theme, run()); }, "pause");
    m_resume = addAction(menu, tr("Resume…"), QStringLiteral("Ctrl+Shift+U"), [this] { openResumeDialog(this, m_session, m_theme, run()); }, "play");
    m_checkpoint = addAction(menu, tr("Save a checkpoint now"), {}, [this] { checkpointNow(); }, "checkpoint");
    menu->addSeparator();
    m_restart = addAction(menu, tr("Restart…"), QStringLiteral("Ctrl+Shift+R"), [this] { openRestartDialog(this, m_session, m_theme, run()); }, "restart");
    m_stop = addAction(menu, tr("Stop…"), QStringLiteral("Ctrl+Shift+S"), [this] { openStopDialog(this, m_session, m_theme, run()); }, "stop");
    menu->addSeparator();
    addAction(menu, tr("Change the mixture"), {}, [this] { showPage(Page::Mixture); }, "mixture");
}

void MainWindow::buildViewMenu() {
    auto* menu = menuBar()->addMenu(tr("View"));
    for (QDockWidget* dock : {static_cast<QDockWidget*>(m_live->runsDock()), static_cast<QDockWidget*>(m_live->seriesDock()), static_cast<QDockWidget*>(m_live->eventsDock())})
        menu->addAction(dock->toggleViewAction());
    addAction(menu, tr("Messages"), {}, [this] {
        showPage(Page::Live);
        m_live->eventsDock()->showTab(2);
    });
    addAction(menu, tr("Find a series"), QStringLiteral("Ctrl+F"), [this] {
        showPage(Page::Live);
        m_live->seriesDock()->find();
    }, "search");
    addAction(menu, tr("Next event"), QStringLiteral("F8"), [this] { m_live->eventsDock()->stepSelection(1); });
    addAction(menu, tr("Previous event"), QStringLiteral("Shift+F8"), [this] { m_live->eventsDock()->stepSelection(-1); });
    menu->addSeparator();
    auto* themes = menu->addMenu(tr("Theme"));
    auto* group = new QActionGroup(this);
    for (const auto& [word, choice] : kThemes) {
        auto* action = addAction(themes, tr(word), {}, [this, choice = choice] {
            auto settings = loadSettings();
            settings.theme = choice;
            saveSettings(settings);
            m_theme.setChoice(choice);
        });
        action->setCheckable(true);
        group->addAction(action);
        const auto check = [this, action, choice = choice] { action->setChecked(m_theme.choice() == choice); };
        check();
        connect(&m_theme, &ThemeController::changed, action, check);
    }
    auto* full = addAction(menu, tr("Full screen"), QStringLiteral("F11"), [this] { setWindowState(windowState() ^ Qt::WindowFullScreen); });
    full->setCheckable(true);
}

void MainWindow::buildPlotsMenu() {
    auto* menu = menuBar()->addMenu(tr("Plots"));
    auto* follow = addAction(menu, tr("Follow the newest step"), {}, [this] { m_live->page()->setFollowing(!m_live->page()->isFollowing()); }, "follow");
    follow->setCheckable(true);
    follow->setChecked(m_live->page()->isFollowing());
    connect(m_live->page(), &LivePage::followingChanged, follow, &QAction::setChecked);
    addAction(menu, tr("Go to the newest step"), {}, [this] {
        if (const auto* info = m_session.run(run()); info != nullptr && info->newest() != nullptr)
            goToStep({}, info->newest()->step);
    }, "fwd");
    menu->addSeparator();
    m_note = addAction(menu, tr("Add a note…"), {}, [this] {
        const auto* info = m_session.run(run());
        const qint64 cursor = m_live->page()->cursorStep();
        openNote(cursor >= 0 ? cursor : info != nullptr && info->newest() != nullptr ? info->newest()->step : 0);
    }, "note");
}

void MainWindow::buildWindowMenu() {
    auto* menu = menuBar()->addMenu(tr("Window"));
    const std::pair<QString, Page> pages[] = {{tr("Live"), Page::Live}, {tr("Mixture"), Page::Mixture}, {tr("Audit"), Page::Audit}};
    int number = 0;
    for (const auto& [word, page] : pages)
        m_pageActions.push_back(addAction(menu, word, QStringLiteral("Ctrl+%1").arg(++number), [this, page = page] { showPage(page); }));
    menu->addSeparator();
    addAction(menu, tr("Restore layout"), {}, [this] { m_live->restoreDefaultLayout(); }, "layout");
}

void MainWindow::buildMenuCorners() {
    auto* logo = new QLabel(menuBar());
    logo->setPixmap(windowIcon().pixmap(18, 18));
    logo->setContentsMargins(12, 0, 8, 0);
    menuBar()->setCornerWidget(logo, Qt::TopLeftCorner);
    auto* right = new QWidget(menuBar());
    auto* row = new QHBoxLayout(right);
    row->setContentsMargins(0, 0, 12, 0);
    row->setSpacing(6);
    auto* icon = new QLabel(right);
    const auto tint = [this, icon] { icon->setPixmap(m_theme.icon("server").pixmap(13, 13)); };
    tint();
    connect(&m_theme, &ThemeController::changed, icon, tint);
    m_server = makeLabel(m_theme, TextRole::TableText, "secondary", {}, right);
    m_operator = makeLabel(m_theme, TextRole::TableText, "secondary", {}, right);
    m_operator->setText(tr("Operator <b>%1</b>").arg(m_session.operatorName().toHtmlEscaped()));
    m_clock = makeLabel(m_theme, TextRole::TableNumber, "secondary", {}, right);
    right->setObjectName(QStringLiteral("menuCorner"));
    right->setFixedHeight(26);
    row->addWidget(icon);
    row->addWidget(m_server);
    row->addSpacing(10);
    row->addWidget(m_operator);
    row->addSpacing(10);
    row->addWidget(m_clock);
    refreshClock();
    layoutCorner();
    auto* timer = new QTimer(this);
    connect(timer, &QTimer::timeout, this, &MainWindow::refreshClock);
    timer->start(500);
}

void MainWindow::refreshClock() {
    const auto width = m_clock->sizeHint().width();
    m_clock->setText(QDateTime::currentDateTimeUtc().toString(QStringLiteral("yyyy-MM-dd HH:mm:ss")) + QStringLiteral(" UTC"));
    if (m_clock->sizeHint().width() != width)
        layoutCorner();
}

/// A menu bar measures its corner once; what has grown since needs another look.
void MainWindow::layoutCorner() {
    auto* right = menuBar()->findChild<QWidget*>(QStringLiteral("menuCorner"), Qt::FindDirectChildrenOnly);
    if (right == nullptr)
        return;
    right->setFixedWidth(right->sizeHint().width());
    menuBar()->setCornerWidget(right, Qt::TopRightCorner);
}

void MainWindow::refreshActions() {
    const auto whyNotLive = m_bridge->whyNoControl(true), whyNot = m_bridge->whyNoControl(false);
    const auto* info = m_session.run(run());
    const bool paused = info != nullptr && info->newest() != nullptr && info->newest()->state == ipc::AttemptState::Paused;
    m_pause->setEnabled(whyNotLive.isEmpty() && !paused);
    m_resume->setEnabled(whyNotLive.isEmpty() && paused);
    m_checkpoint->setEnabled(whyNotLive.isEmpty());
    m_stop->setEnabled(whyNotLive.isEmpty());
    m_restart->setEnabled(whyNot.isEmpty());
    m_note->setEnabled(info != nullptr && m_session.controlLink().state == LinkState::Up);
}

void MainWindow::openPalette() {
    std::vector<PaletteEntry> entries;
    for (const auto* top : menuBar()->actions()) {
        if (top->menu() == nullptr)
            continue;
        for (auto* action : top->menu()->actions())
            if (!action->isSeparator() && action->menu() == nullptr && action->isEnabled())
                entries.push_back({action->text(), action->shortcut().isEmpty() ? top->text() : action->shortcut().toString(QKeySequence::NativeText),
                                   action->icon(), [action] { action->trigger(); }});
    }
    for (const auto& info : m_session.runs()) {
        const auto name = QString::fromStdString(info.run);
        entries.push_back({name, tr("Run"), {}, [this, name] { m_session.setFocusedRun(name); }});
    }
    for (const auto& series : m_live->series().seriesNames())
        entries.push_back({series, tr("Series"), {}, [this, series] {
                               showPage(Page::Live);
                               m_live->showSeries(series);
                           }});
    openCommandPalette(this, m_theme, std::move(entries), [this](qint64 step) { goToStep({}, step); });
}

void MainWindow::openAbout() {
    QMessageBox box(this);
    box.setWindowTitle(tr("About Telehelm"));
    box.setIconPixmap(windowIcon().pixmap(48, 48));
    box.setText(tr("<b>Telehelm %1</b><br>Watch and steer language-model pre-training runs.").arg(QCoreApplication::applicationVersion()));
    box.setInformativeText(tr("The window is free software under the GNU General Public License, version 3 or later; the backend under the Apache License 2.0. "
                              "It uses Qt, QCustomPlot, gRPC and ZeroMQ."));
    box.exec();
}

} // namespace telehelm::app
