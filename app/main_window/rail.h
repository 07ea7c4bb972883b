// SPDX-License-Identifier: GPL-3.0-or-later
// The pages at the left edge: icon over word, one chosen, settings at the bottom. GUI thread only.
#pragma once

#include <map>

#include <QAbstractButton>
#include <QWidget>

#include "theme/theme.h"

class QButtonGroup;
class QVBoxLayout;

namespace telehelm::app {

class RailButton : public QAbstractButton {
    Q_OBJECT
public:
    RailButton(ThemeController& theme, const char* icon, const QString& word, QWidget* parent);
    void setBadge(int severity); // ipc::Severity as a number; 0: none
    [[nodiscard]] QSize sizeHint() const override { return {60, 52}; }

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    ThemeController& m_theme;
    const char* m_icon;
    int m_badge = 0;
};

class Rail : public QWidget {
    Q_OBJECT
public:
    Rail(ThemeController& theme, QWidget* parent = nullptr);
    RailButton* addPage(int page, const char* icon, const QString& word);
    RailButton* addAtBottom(const char* icon, const QString& word); // not a page: only clicked()
    void setCurrent(int page); // < 0: none
    void setPagesEnabled(bool on);
    [[nodiscard]] RailButton* button(int page) const;

signals:
    void pageChosen(int page);

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    ThemeController& m_theme;
    QVBoxLayout *m_top, *m_bottom;
    QButtonGroup* m_group;
};

} // namespace telehelm::app
