// SPDX-License-Identifier: GPL-3.0-or-later
// A titled part of a page: 27 px title bar with a count and a quiet remark, and the content under it. GUI thread only.
#pragma once

#include <QFrame>

#include "theme/theme.h"

class QHBoxLayout;
class QLabel;
class QPushButton;
class QVBoxLayout;

namespace telehelm::app {

class Panel : public QFrame {
    Q_OBJECT
public:
    Panel(ThemeController& theme, const QString& title, QWidget* parent = nullptr);
    void setTitle(const QString& title);
    void setCount(int count); // < 0: none
    void setRemark(const QString& remark);
    [[nodiscard]] QVBoxLayout* content() const { return m_content; }
    [[nodiscard]] QHBoxLayout* titleBar() const { return m_titleBar; }

private:
    void restyle();
    ThemeController& m_theme;
    QLabel *m_title, *m_count, *m_remark;
    QHBoxLayout* m_titleBar;
    QVBoxLayout* m_content;
};

/// A label in one of the theme's text roles; `role` is the style sheet's ("secondary", "quiet", "warn", …). Follows theme changes.
QLabel* makeLabel(ThemeController& theme, TextRole textRole, const char* role, const QString& text, QWidget* parent);
/// `kind`: "", "primary", "danger", "dangerSolid", "flat". The icon takes the colour that the text has.
QPushButton* makeButton(ThemeController& theme, const char* kind, const char* icon, const QString& text, QWidget* parent, bool dialogSize = false);
/// Sets the style sheet's property `role` and has it drawn.
void setRole(QWidget* widget, const char* role);
/// A pixmap of a severity's shape, 16 px.
[[nodiscard]] QPixmap severityPixmap(const ThemeController& theme, int severity, int size = 16);

} // namespace telehelm::app
