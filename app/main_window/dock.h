// SPDX-License-Identifier: GPL-3.0-or-later
// A dock with the design's 27 px title bar: title or tabs at the left, small buttons at the right, float and close. GUI thread only.
#pragma once

#include <QDockWidget>

#include "theme/theme.h"

class QHBoxLayout;
class QTabBar;
class QToolButton;

namespace telehelm::app {

/// A flat button with one of the project's icons; follows theme changes.
QToolButton* makeIconButton(ThemeController& theme, const char* icon, const QString& tip, QWidget* parent);

class Dock : public QDockWidget {
    Q_OBJECT
public:
    /// `floatAndClose`: shows the two buttons (the left docks keep theirs in the View menu, as in the design).
    Dock(ThemeController& theme, const QString& objectName, const QString& title, bool floatAndClose, QWidget* parent);
    /// Buttons and labels stand left of float and close.
    void addToTitle(QWidget* widget);
    /// Replaces the title's word by a tab bar.
    QTabBar* useTabs(const QStringList& titles);

private:
    ThemeController& m_theme;
    QHBoxLayout* m_row;
    QWidget* m_title;
    QHBoxLayout* m_extras;
};

} // namespace telehelm::app
