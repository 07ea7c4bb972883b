// SPDX-License-Identifier: GPL-3.0-or-later
// Darkens a window under a dialog, takes its mouse, and holds the dialog in the middle: not a native sheet, so that it looks alike
// under every window manager and stands in a grab of the window. GUI thread only.
#pragma once

#include <QDialog>
#include <QPointer>
#include <QWidget>

#include "theme/theme.h"

namespace telehelm::app {

/// A dialog that lives in a Scrim. Esc cancels; Tab stays inside.
class ScrimDialog : public QDialog {
    Q_OBJECT
public:
    explicit ScrimDialog(ThemeController& theme);
    [[nodiscard]] virtual QSize wantedSize() const { return sizeHint(); }
    [[nodiscard]] virtual bool atTop() const { return false; } // the palette hangs under the top edge

protected:
    bool focusNextPrevChild(bool next) override;
    ThemeController& m_theme;

private:
    void restyle();
};

class Scrim : public QWidget {
    Q_OBJECT
public:
    /// The dialog that is open over the window of `parent`, or null.
    [[nodiscard]] static ScrimDialog* openDialog(QWidget* parent);
    /// Opens `dialog` over the window of `parent`; both are deleted when it is done. One at a time: callers ask openDialog() first.
    static void open(QWidget* parent, ScrimDialog* dialog, ThemeController& theme);

protected:
    void paintEvent(QPaintEvent* event) override;
    void mousePressEvent(QMouseEvent* event) override;
    bool eventFilter(QObject* watched, QEvent* event) override;

private:
    Scrim(QWidget* window, ScrimDialog* dialog, ThemeController& theme);
    void place();
    ThemeController& m_theme;
    ScrimDialog* m_dialog;
    QPointer<QWidget> m_focusBefore;
};

} // namespace telehelm::app
