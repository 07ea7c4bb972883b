// SPDX-License-Identifier: GPL-3.0-or-later
#include <algorithm>

#include <QPainter>
#include <QPainterPath>

#include "main_window/bridge_strip.h"

namespace telehelm::app {
namespace {
constexpr int kLeft = 14, kNameX = 30, kChipGap = 8, kRight = 12;
constexpr int kNameY = 17, kFirstY = 35, kSecondY = 51;
} // namespace

RunBlock::RunBlock(ThemeController& theme, QWidget* parent) : QWidget(parent), m_theme(theme) {
    setSizePolicy(QSizePolicy::Fixed, QSizePolicy::Expanding);
    connect(&theme, &ThemeController::changed, this, qOverload<>(&QWidget::update));
}

void RunBlock::show(const QString& name, Lamp lamp, const QString& state, const std::array<QString, 2>& facts) {
    if (name == m_name && lamp == m_lamp && state == m_state && facts == m_facts)
        return;
    m_name = name;
    m_lamp = lamp;
    m_state = state;
    m_facts = facts;
    setAccessibleName(tr("Run %1, %2, %3, %4").arg(name, state, facts[0], facts[1]));
    const QFontMetrics section(m_theme.font(TextRole::Section)), caption(m_theme.font(TextRole::Caption));
    m_width = std::clamp(std::max({kNameX + section.horizontalAdvance(name) + kChipGap + caption.horizontalAdvance(state) + 14 + kRight,
                                   kLeft + caption.horizontalAdvance(facts[0]) + kRight, kLeft + caption.horizontalAdvance(facts[1]) + kRight}),
                         220, 330);
    updateGeometry();
    update();
}

QSize RunBlock::sizeHint() const { return {m_width, 66}; }

void RunBlock::paintLamp(QPainter& painter, const QPointF& centre) const {
    const auto& t = m_theme.theme();
    painter.setPen(Qt::NoPen);
    switch (m_lamp) {
    case Lamp::Running:
        painter.setBrush(t.ok);
        painter.drawEllipse(centre, 4.5, 4.5);
        break;
    case Lamp::Paused:
        painter.setBrush(t.warn);
        painter.drawRect(QRectF(centre.x() - 4, centre.y() - 4, 8, 8));
        break;
    case Lamp::Failed: {
        QPolygonF octagon;
        for (const auto& [x, y] : {std::pair(-2.0, -5.0), {2.0, -5.0}, {5.0, -2.0}, {5.0, 2.0}, {2.0, 5.0}, {-2.0, 5.0}, {-5.0, 2.0}, {-5.0, -2.0}})
            octagon << centre + QPointF(x, y);
        painter.setBrush(t.crit);
        painter.drawPolygon(octagon);
        break;
    }
    case Lamp::Unknown:
    case Lamp::Finished:
        painter.setBrush(Qt::NoBrush);
        painter.setPen(QPen(m_lamp == Lamp::Unknown ? t.tx3 : t.tx, m_lamp == Lamp::Unknown ? 2 : 1.4));
        painter.drawEllipse(centre, 4, 4);
        break;
    }
}

void RunBlock::paintEvent(QPaintEvent*) {
    QPainter painter(this);
    painter.setRenderHint(QPainter::Antialiasing);
    const auto& t = m_theme.theme();
    painter.fillRect(QRect(width() - 1, 0, 1, height()), t.line);
    paintLamp(painter, QPointF(kLeft + 5, kNameY));
    const QFontMetrics section(m_theme.font(TextRole::Section)), caption(m_theme.font(TextRole::Caption));
    const int chipWidth = m_state.isEmpty() ? 0 : caption.horizontalAdvance(m_state) + 14;
    const auto name = section.elidedText(m_name, Qt::ElideMiddle, width() - kNameX - chipWidth - kChipGap - kRight);
    painter.setFont(m_theme.font(TextRole::Section));
    painter.setPen(t.tx);
    painter.drawText(QRect(kNameX, kNameY - 12, width(), 24), Qt::AlignVCenter, name);
    painter.setFont(m_theme.font(TextRole::Caption));
    if (chipWidth > 0) {
        const QRectF chip(kNameX + section.horizontalAdvance(name) + kChipGap + 0.5, kNameY - 9.5, chipWidth, 18);
        painter.setPen(t.line2);
        painter.setBrush(t.raised);
        painter.drawRoundedRect(chip, 3, 3);
        painter.setPen(t.tx2);
        painter.drawText(chip, Qt::AlignCenter, m_state);
    }
    painter.setPen(t.tx2);
    for (const auto& [middle, text] : {std::pair(kFirstY, m_facts[0]), {kSecondY, m_facts[1]}})
        painter.drawText(QRect(kLeft, middle - 10, width() - kLeft - 8, 20), Qt::AlignVCenter,
                         caption.elidedText(text, Qt::ElideRight, width() - kLeft - 8));
}

} // namespace telehelm::app
