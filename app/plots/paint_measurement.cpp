// SPDX-License-Identifier: GPL-3.0-or-later
#include "plots/paint_measurement.h"

#include <algorithm>
#include <cmath>

#include <QFontMetricsF>
#include <QObject>

#include "plots/value_text.h"

namespace telehelm::app::plots {

namespace {

constexpr double kPadding = 6;

QString signedText(ValueFormat format, double value) {
    const QString size = valueText(format, std::abs(value));
    return value < 0 ? QChar(0x2212) + size : QLatin1Char('+') + size;
}

QString signedPercent(double share) {
    return (share < 0 ? QChar(0x2212) : QChar('+')) + QString::number(std::abs(share) * 100, 'f', 1) + QStringLiteral(" %");
}

} // namespace

QStringList measurementText(const Strip& strip, const Measurement& measured, const Span& span) {
    const double difference = measured.toY - measured.fromY;
    QString change = QObject::tr("difference %1").arg(signedText(strip.spec.format, difference));
    if (measured.fromY != 0)
        change += QStringLiteral(" (%1)").arg(signedPercent(difference / std::abs(measured.fromY)));
    QStringList lines{span.text, change};
    if (span.steps > 0)
        lines << QObject::tr("slope %1 per 100 steps").arg(signedText(strip.spec.format, difference / span.steps * 100));
    return lines;
}

void paintMeasurement(QPainter& painter, const Strip& strip, const Look& look, const Measurement& measured, const Span& span) {
    const QRectF& rect = strip.frame.rect;
    const QPointF from(strip.frame.xPx(measured.fromX), strip.frame.yPx(measured.fromY)),
        to(strip.frame.xPx(measured.toX), strip.frame.yPx(measured.toY));
    painter.save();
    painter.setRenderHint(QPainter::Antialiasing);
    painter.setClipRect(rect);
    painter.setPen(QPen(look.theme.accent, 1, Qt::DashLine));
    for (const QPointF& end : {from, to})
        painter.drawLine(QPointF(end.x(), rect.top()), QPointF(end.x(), rect.bottom()));
    painter.setPen(QPen(look.theme.accent, 1.6));
    painter.drawLine(from, to);
    painter.setBrush(look.theme.plot);
    for (const QPointF& end : {from, to})
        painter.drawEllipse(end, 3.6, 3.6);
    painter.setFont(look.captionNumber);
    const QFontMetricsF metrics(look.captionNumber);
    const QStringList lines = measurementText(strip, measured, span);
    double width = 0;
    for (const QString& line : lines)
        width = std::max(width, metrics.horizontalAdvance(line));
    const QSizeF size(width + 2 * kPadding, metrics.height() * static_cast<double>(lines.size()) + 2 * kPadding - 2);
    const double right = to.x() + 8;
    const double left = right + size.width() <= rect.right() ? right : std::max(rect.left() + 2, from.x() - 8 - size.width());
    const QRectF box(QPointF(left, std::max(rect.top() + 3, std::min(to.y() - size.height() / 2, rect.bottom() - size.height() - 3))), size);
    painter.setPen(QPen(look.theme.accent, 1));
    painter.setBrush(look.theme.raised);
    painter.drawRoundedRect(box, 3, 3);
    painter.setPen(look.theme.tx);
    painter.drawText(box.adjusted(kPadding, kPadding - 1, -kPadding, 0), Qt::AlignLeft | Qt::AlignTop, lines.join(QLatin1Char('\n')));
    painter.restore();
}

} // namespace telehelm::app::plots
