// SPDX-License-Identifier: GPL-3.0-or-later
#include "theme/telehelm_style.h"

#include <QPainter>
#include <QStyleFactory>
#include <QStyleOption>

namespace telehelm::app {

TelehelmStyle::TelehelmStyle(const ThemeController& theme) : QProxyStyle(QStringLiteral("Fusion")), m_theme(&theme) {}

void TelehelmStyle::drawGlyph(const char* name, const QStyleOption& option, QPainter& painter, int size) const {
    QRect box(0, 0, size, size);
    box.moveCenter(option.rect.center());
    const bool enabled = option.state.testFlag(State_Enabled);
    m_theme->icon(name).paint(&painter, box, Qt::AlignCenter, enabled ? QIcon::Normal : QIcon::Disabled);
}

void TelehelmStyle::drawCheckBox(const QStyleOption& option, QPainter& painter) const {
    const auto& t = m_theme->theme();
    const bool enabled = option.state.testFlag(State_Enabled);
    const bool on = option.state.testFlag(State_On) || option.state.testFlag(State_NoChange);
    painter.save();
    painter.setRenderHint(QPainter::Antialiasing);
    QRectF box(0, 0, 13, 13);
    box.moveCenter(QRectF(option.rect).center());
    painter.setPen(QPen(!enabled ? t.line2 : on ? t.accent : t.ctl, 1));
    painter.setBrush(on && enabled ? t.accentFill : t.inset);
    painter.drawRoundedRect(box, 2, 2);
    painter.restore();
    if (option.state.testFlag(State_On))
        drawGlyph("check", option, painter, 11);
    else if (option.state.testFlag(State_NoChange))
        drawGlyph("minus", option, painter, 11);
}

void TelehelmStyle::drawRadio(const QStyleOption& option, QPainter& painter) const {
    const auto& t = m_theme->theme();
    const bool enabled = option.state.testFlag(State_Enabled);
    const bool on = option.state.testFlag(State_On);
    painter.save();
    painter.setRenderHint(QPainter::Antialiasing);
    const QPointF centre = QRectF(option.rect).center();
    painter.setPen(QPen(!enabled ? t.line2 : on ? t.accent : t.ctl, 1));
    painter.setBrush(on && enabled ? t.accentFill : t.inset);
    painter.drawEllipse(centre, 6.5, 6.5);
    if (on) {
        painter.setPen(Qt::NoPen);
        painter.setBrush(enabled ? t.accent : t.txDis);
        painter.drawEllipse(centre, 3, 3);
    }
    painter.restore();
}

void TelehelmStyle::drawPrimitive(PrimitiveElement element, const QStyleOption* option, QPainter* painter,
                                  const QWidget* widget) const {
    if (m_theme.isNull())
        return QProxyStyle::drawPrimitive(element, option, painter, widget);
    switch (element) {
    case PE_IndicatorCheckBox:
    case PE_IndicatorItemViewItemCheck: return drawCheckBox(*option, *painter);
    case PE_IndicatorRadioButton: return drawRadio(*option, *painter);
    case PE_IndicatorBranch:
        if (option->state.testFlag(State_Children))
            drawGlyph(option->state.testFlag(State_Open) ? "down" : "right", *option, *painter, 12);
        return;
    case PE_IndicatorArrowDown:
    case PE_IndicatorSpinDown: return drawGlyph("down", *option, *painter, 10);
    case PE_IndicatorArrowUp:
    case PE_IndicatorSpinUp: return drawGlyph("up", *option, *painter, 10);
    case PE_IndicatorArrowRight: return drawGlyph("right", *option, *painter, 10);
    default: return QProxyStyle::drawPrimitive(element, option, painter, widget);
    }
}

int TelehelmStyle::pixelMetric(PixelMetric metric, const QStyleOption* option, const QWidget* widget) const {
    switch (metric) {
    case PM_IndicatorWidth:
    case PM_IndicatorHeight:
    case PM_ExclusiveIndicatorWidth:
    case PM_ExclusiveIndicatorHeight: return 15;
    case PM_SmallIconSize:
    case PM_ButtonIconSize:
    case PM_TabBarIconSize:
    case PM_ListViewIconSize: return 16;
    case PM_DockWidgetSeparatorExtent: return 1;
    case PM_DockWidgetFrameWidth: return 0;
    default: return QProxyStyle::pixelMetric(metric, option, widget);
    }
}

int TelehelmStyle::styleHint(StyleHint hint, const QStyleOption* option, const QWidget* widget, QStyleHintReturn* data) const {
    switch (hint) {
    case SH_ToolTip_WakeUpDelay: return 500;
    case SH_DialogButtonLayout: return 0;
    case SH_UnderlineShortcut: return 0;
    default: return QProxyStyle::styleHint(hint, option, widget, data);
    }
}

} // namespace telehelm::app
