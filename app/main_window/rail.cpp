// SPDX-License-Identifier: GPL-3.0-or-later
#include "main_window/rail.h"

#include <QButtonGroup>
#include <QPainter>
#include <QVBoxLayout>

#include "widgets/panel.h"

namespace telehelm::app {

RailButton::RailButton(ThemeController& theme, const char* icon, const QString& word, QWidget* parent)
    : QAbstractButton(parent), m_theme(theme), m_icon(icon) {
    setText(word);
    setAccessibleName(word);
    setFixedSize(sizeHint());
    setAttribute(Qt::WA_Hover);
    setFocusPolicy(Qt::TabFocus);
    connect(&theme, &ThemeController::changed, this, qOverload<>(&QWidget::update));
}

void RailButton::setBadge(int severity) {
    if (std::exchange(m_badge, severity) != severity)
        update();
}

void RailButton::paintEvent(QPaintEvent*) {
    QPainter painter(this);
    const auto& t = m_theme.theme();
    if (isChecked()) {
        painter.fillRect(rect(), t.raised);
        painter.fillRect(QRect(0, 0, 3, height()), t.accent);
    } else if (underMouse() && isEnabled()) {
        painter.fillRect(rect(), t.hover);
    }
    const QColor colour = !isEnabled() ? t.txDis : isChecked() ? t.tx : t.tx2;
    m_theme.icon(m_icon, colour).paint(&painter, QRect(width() / 2 - 9, 9, 18, 18));
    painter.setFont(m_theme.font(TextRole::Caption));
    painter.setPen(colour);
    painter.drawText(QRect(0, 29, width(), 18), Qt::AlignCenter, text());
    if (m_badge > 0)
        painter.drawPixmap(width() / 2 + 9, 5, severityPixmap(m_theme, m_badge, 12));
    if (hasFocus()) {
        painter.setPen(QPen(t.accent, 2));
        painter.drawRect(rect().adjusted(2, 2, -2, -2));
    }
}

Rail::Rail(ThemeController& theme, QWidget* parent) : QWidget(parent), m_theme(theme), m_group(new QButtonGroup(this)) {
    setFixedWidth(60);
    auto* all = new QVBoxLayout(this);
    all->setContentsMargins(0, 0, 0, 4);
    all->setSpacing(0);
    m_top = new QVBoxLayout;
    m_bottom = new QVBoxLayout;
    for (auto* part : {m_top, m_bottom}) {
        part->setContentsMargins(0, 0, 0, 0);
        part->setSpacing(0);
    }
    all->addLayout(m_top);
    all->addStretch(1);
    all->addLayout(m_bottom);
    m_group->setExclusive(true);
    connect(m_group, &QButtonGroup::idClicked, this, &Rail::pageChosen);
    connect(&theme, &ThemeController::changed, this, qOverload<>(&QWidget::update));
}

RailButton* Rail::addPage(int page, const char* icon, const QString& word) {
    auto* button = new RailButton(m_theme, icon, word, this);
    button->setCheckable(true);
    m_group->addButton(button, page);
    m_top->addWidget(button);
    return button;
}

RailButton* Rail::addAtBottom(const char* icon, const QString& word) {
    auto* button = new RailButton(m_theme, icon, word, this);
    m_bottom->addWidget(button);
    return button;
}

RailButton* Rail::button(int page) const { return static_cast<RailButton*>(m_group->button(page)); }

void Rail::setCurrent(int page) {
    if (auto* chosen = m_group->button(page)) {
        chosen->setChecked(true);
        return;
    }
    m_group->setExclusive(false);
    for (auto* button : m_group->buttons())
        button->setChecked(false);
    m_group->setExclusive(true);
}

void Rail::setPagesEnabled(bool on) {
    for (auto* button : m_group->buttons())
        button->setEnabled(on);
}

void Rail::paintEvent(QPaintEvent*) {
    QPainter painter(this);
    painter.fillRect(rect(), m_theme.theme().panel);
    painter.fillRect(QRect(width() - 1, 0, 1, height()), m_theme.theme().line);
}

} // namespace telehelm::app
