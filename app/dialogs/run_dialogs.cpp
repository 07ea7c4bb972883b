// SPDX-License-Identifier: GPL-3.0-or-later
#include "dialogs/run_dialogs.h"

#include "dialogs/command_palette.h"
#include "dialogs/pause_dialog.h"
#include "dialogs/restart_dialog.h"
#include "dialogs/stop_dialog.h"

namespace telehelm::app {

namespace {

/// One at a time: true when another is open, which then comes to the front.
bool anotherIsOpen(QWidget* parent) {
    ScrimDialog* open = Scrim::openDialog(parent);
    if (open != nullptr) {
        open->parentWidget()->raise();
        open->setFocus(Qt::OtherFocusReason);
    }
    return open != nullptr;
}

} // namespace

void openPauseDialog(QWidget* parent, Session& session, ThemeController& theme, const QString& run) {
    if (!anotherIsOpen(parent)) {
        Scrim::open(parent, new PauseDialog(session, theme, run, false), theme);
    }
}

void openResumeDialog(QWidget* parent, Session& session, ThemeController& theme, const QString& run) {
    if (!anotherIsOpen(parent)) {
        Scrim::open(parent, new PauseDialog(session, theme, run, true), theme);
    }
}

void openStopDialog(QWidget* parent, Session& session, ThemeController& theme, const QString& run) {
    if (!anotherIsOpen(parent)) {
        Scrim::open(parent, new StopDialog(session, theme, run), theme);
    }
}

void openRestartDialog(QWidget* parent, Session& session, ThemeController& theme, const QString& run, std::optional<qint64> suggestedStep) {
    if (!anotherIsOpen(parent)) {
        Scrim::open(parent, new RestartDialog(session, theme, run, suggestedStep), theme);
    }
}

void openCommandPalette(QWidget* parent, ThemeController& theme, std::vector<PaletteEntry> entries, std::function<void(qint64)> goToStep) {
    if (!anotherIsOpen(parent)) {
        Scrim::open(parent, new CommandPalette(theme, std::move(entries), std::move(goToStep)), theme);
    }
}

} // namespace telehelm::app
