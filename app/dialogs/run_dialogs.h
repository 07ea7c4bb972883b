// SPDX-License-Identifier: GPL-3.0-or-later
// The dialogs that steer a run (design.md, section 13). Each opens over the window of `parent` on a scrim, one at a time: while
// one is open, a second call brings the first to the front. None of them blocks; they delete themselves. GUI thread only.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include <QIcon>
#include <QString>

class QWidget;

namespace telehelm::app {

class Session;
class ThemeController;

void openPauseDialog(QWidget* parent, Session& session, ThemeController& theme, const QString& run);
void openResumeDialog(QWidget* parent, Session& session, ThemeController& theme, const QString& run);
void openStopDialog(QWidget* parent, Session& session, ThemeController& theme, const QString& run);
/// `suggestedStep`: the checkpoint at or before it is chosen when the dialog opens (an alert's advice).
void openRestartDialog(QWidget* parent, Session& session, ThemeController& theme, const QString& run,
                       std::optional<qint64> suggestedStep = std::nullopt);

/// One line of the command palette.
struct PaletteEntry {
    QString text;              // "Pause…", "train/loss", "demo"
    QString hint;              // "Action", "Series", "Run", or the shortcut
    QIcon icon;
    std::function<void()> run; // called after the palette has closed
};
/// Ctrl+K. `goToStep` is offered for "go to 41210" (empty: not offered).
void openCommandPalette(QWidget* parent, ThemeController& theme, std::vector<PaletteEntry> entries,
                        std::function<void(qint64)> goToStep = {});

} // namespace telehelm::app
