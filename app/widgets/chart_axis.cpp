// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/chart_axis.h"

#include <cmath>

#include <QFontMetricsF>
#include <QPainter>

#include "models/text_format.h"

namespace telehelm::app {

std::vector<double> niceTicks(const AxisRange& range, int wanted) {
    const double span = range.to - range.from;
    if (!(span > 0) || wanted < 1) {
        return {};
    }
    const double rough = span / wanted;
    const double power = std::pow(10.0, std::floor(std::log10(rough)));
    const double lead = rough / power;
    const double spacing = power * (lead < 1.5 ? 1 : lead < 3.5 ? 2 : lead < 7.5 ? 5 : 10);
    std::vector<double> ticks;
    for (double tick = std::ceil(range.from / spacing - 1e-9) * spacing; tick <= range.to + spacing * 1e-9; tick += spacing) {
        ticks.push_back(std::abs(tick) < spacing * 1e-9 ? 0.0 : tick);
    }
    return ticks;
}

QString tickText(double value, double spacing) {
    const double size = std::abs(value);
    if (size >= 10'000 || (size >= 1000 && spacing >= 1000)) {
        const bool million = size >= 1e6;
        const double scale = million ? 1e6 : 1e3;
        const int decimals = spacing > 0 && spacing < scale ? (spacing < scale / 10 ? 2 : 1) : 0;
        return text::fixed(value / scale, decimals) + QLatin1String(million ? "M" : "k");
    }
    const int decimals = spacing >= 1 || spacing <= 0 ? 0 : static_cast<int>(std::ceil(-std::log10(spacing) - 1e-9));
    return spacing >= 1 ? text::count(std::llround(value)) : text::fixed(value, decimals);
}

void ChartFrame::paintBackground(QPainter& painter, const ThemeController& theme, const std::vector<double>& xTicks, const std::vector<double>& yTicks) const {
    const Theme& colours = theme.theme();
    painter.fillRect(rect, colours.plot);
    painter.setRenderHint(QPainter::Antialiasing, false);
    painter.setPen(QPen(colours.grid, 1));
    for (const double tick : xTicks) {
        painter.drawLine(QPointF(std::round(px(tick)), rect.top()), QPointF(std::round(px(tick)), rect.bottom()));
    }
    for (const double tick : yTicks) {
        painter.drawLine(QPointF(rect.left(), std::round(py(tick))), QPointF(rect.right(), std::round(py(tick))));
    }
    painter.setPen(QPen(colours.line, 1));
    painter.setBrush(Qt::NoBrush);
    painter.drawRect(rect);
}

void ChartFrame::paintLabels(QPainter& painter, const ThemeController& theme, const std::vector<double>& xTicks, const std::vector<double>& yTicks, bool xTokens) const {
    painter.setFont(theme.font(TextRole::CaptionNumber));
    painter.setPen(theme.theme().tx3);
    const double xSpacing = xTicks.size() > 1 ? xTicks[1] - xTicks[0] : 0, ySpacing = yTicks.size() > 1 ? yTicks[1] - yTicks[0] : 0.01;
    for (const double tick : xTicks) {
        const QString label = xTokens ? (tick == 0 ? QStringLiteral("0") : text::tokens(tick)) : tickText(tick, xSpacing);
        painter.drawText(QRectF(px(tick) - 50, rect.bottom() + 3, 100, 16), Qt::AlignHCenter | Qt::AlignTop, label);
    }
    for (const double tick : yTicks) {
        painter.drawText(QRectF(rect.left() - 66, py(tick) - 8, 60, 16), Qt::AlignRight | Qt::AlignVCenter, tickText(tick, ySpacing));
    }
}

void paintEmptyText(QPainter& painter, const ThemeController& theme, const QRectF& rect, const QString& text) {
    painter.setFont(theme.font(TextRole::Body));
    painter.setPen(theme.theme().tx3);
    painter.drawText(rect.adjusted(16, 8, -16, -8), Qt::AlignCenter | Qt::TextWordWrap, text);
}

} // namespace telehelm::app
