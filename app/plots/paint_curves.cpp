// SPDX-License-Identifier: GPL-3.0-or-later
#include "plots/paint_curves.h"

#include <cmath>

#include <QPainterPath>

#include "plots/columns.h"
#include "plots/value_text.h"

namespace telehelm::app::plots {

namespace {

constexpr double kFarPx = 16000; // keeps the rasteriser away from overflow

double clampPx(double px) {
    return std::clamp(px, -kFarPx, kFarPx);
}

QColor runColour(const Look& look, const Curve& curve, double opacity) {
    QColor colour = look.theme.slot(curve.slot);
    colour.setAlphaF(static_cast<float>(opacity * emphasis(look, curve)));
    return colour;
}

QPen linePen(const Look& look, const Curve& curve) {
    QPen pen(runColour(look, curve, curve.superseded ? 0.6 : 1.0), curve.validation ? 1.0 : curve.focused ? 2.0 : 1.4);
    pen.setJoinStyle(Qt::RoundJoin);
    pen.setCapStyle(Qt::RoundCap);
    if (look.smallMultiples && !curve.superseded) {
        pen.setWidthF(curve.focused ? 1.6 : 1.2); // nothing but validation there: no need to tell it apart
    } else if (curve.superseded || curve.validation) {
        pen.setCapStyle(Qt::FlatCap);
        pen.setWidthF(curve.validation ? 1.0 : 1.4);
        pen.setDashPattern({2 / pen.widthF(), 2 / pen.widthF()});
    } else if (curve.slot >= 16) {
        pen.setDashPattern({2, 2.5});
    } else if (curve.slot >= 8) {
        pen.setDashPattern({7, 3});
    }
    return pen;
}

bool inRepairedGap(double x, const std::vector<Gap>& gaps) {
    return std::any_of(gaps.begin(), gaps.end(), [x](const Gap& gap) { return gap.repaired && x > gap.from && x <= gap.to; });
}

bool isDense(const std::vector<Column>& columns) {
    return columns.size() > 2 && columns.back().px - columns.front().px < 4.0 * static_cast<double>(columns.size());
}

/// Runs of columns without a break, handed to `draw` as polylines.
template <typename Draw> void forEachStretch(const std::vector<Column>& columns, const Frame& frame, Draw draw) {
    QPolygonF line;
    for (const Column& column : columns) {
        if (std::isnan(column.y)) {
            if (!line.isEmpty())
                draw(line);
            line.clear();
            continue;
        }
        line << QPointF(clampPx(column.px), clampPx(frame.yPx(column.y)));
    }
    if (!line.isEmpty())
        draw(line);
}

void drawStretch(QPainter& painter, const QPolygonF& line) {
    if (line.size() == 1)
        painter.drawEllipse(line.front(), 1, 1); // a first sample is a point already
    else
        painter.drawPolyline(line);
}

void paintCircles(QPainter& painter, const std::vector<Column>& columns, const Strip& strip, const Look& look,
                  const Curve& curve) {
    painter.setPen(QPen(runColour(look, curve, curve.superseded ? 0.6 : 1.0), 1.2));
    painter.setBrush(look.theme.plot);
    double lastPx = -100;
    for (const Column& column : columns) {
        if (std::isnan(column.y) || column.px - lastPx < 5.5)
            continue; // circles do not pile up; the line goes through all
        painter.drawEllipse(QPointF(column.px, clampPx(strip.frame.yPx(column.y))), 2.3, 2.3);
        lastPx = column.px;
    }
}

void paintLine(QPainter& painter, const Strip& strip, const Look& look, const Curve& curve, const std::vector<Gap>& gaps) {
    std::vector<Column> columns = toColumns(curve, strip.frame);
    painter.setBrush(Qt::NoBrush);
    painter.setPen(linePen(look, curve));
    if (isDense(columns)) { // joins cannot be seen there, and round ones cost most of a replot
        QPen pen = painter.pen();
        pen.setJoinStyle(Qt::BevelJoin);
        pen.setCapStyle(Qt::FlatCap);
        painter.setPen(pen);
    }
    if (gaps.empty()) {
        forEachStretch(columns, strip.frame, [&](const QPolygonF& line) { drawStretch(painter, line); });
    } else {
        // What history repaired is dotted: once with the rest blanked, once the other way round.
        std::vector<Column> repaired = columns;
        for (std::size_t i = 0; i < columns.size(); ++i)
            (inRepairedGap(strip.frame.xAt(columns[i].px), gaps) ? columns[i] : repaired[i]).y = NAN;
        forEachStretch(columns, strip.frame, [&](const QPolygonF& line) { drawStretch(painter, line); });
        QPen dotted = linePen(look, curve);
        dotted.setCapStyle(Qt::FlatCap);
        dotted.setDashPattern({1, 1.5});
        painter.setPen(dotted);
        forEachStretch(repaired, strip.frame, [&](const QPolygonF& line) { drawStretch(painter, line); });
        columns = toColumns(curve, strip.frame);
    }
    if (curve.validation && (curve.focused || !look.smallMultiples))
        paintCircles(painter, columns, strip, look, curve);
}

void fillArea(QPainter& painter, QPolygonF upper, const QPolygonF& lower, const QColor& fill) {
    for (auto it = lower.crbegin(); it != lower.crend(); ++it)
        upper << *it;
    painter.setPen(Qt::NoPen);
    painter.setBrush(fill);
    painter.drawPolygon(upper);
}

void fillBars(QPainter& painter, const std::vector<Column>& columns, const Frame& frame, const QColor& fill) {
    painter.setRenderHint(QPainter::Antialiasing, false);
    for (const Column& column : columns)
        if (!std::isnan(column.lo)) {
            const double top = clampPx(std::floor(frame.yPx(column.hi))), bottom = clampPx(std::ceil(frame.yPx(column.lo)));
            painter.fillRect(QRectF(std::floor(column.px), top, 1, std::max(1.0, bottom - top)), fill);
        }
    painter.setRenderHint(QPainter::Antialiasing);
}

void paintEnvelope(QPainter& painter, const Strip& strip, const Look& look, const Curve& curve) {
    const std::vector<Column> columns = toColumns(curve, strip.frame);
    const QColor fill = runColour(look, curve, curve.focused ? 0.26 : 0.15);
    const bool bars = columns.size() > 2 && columns[2].px - columns[1].px == 1.0; // one bar a pixel is exact, and much cheaper
    if (bars)
        fillBars(painter, columns, strip.frame, fill);
    QPolygonF upper, lower;
    const auto flush = [&] {
        if (upper.size() > 1) {
            if (!bars)
                fillArea(painter, upper, lower, fill);
            painter.setBrush(Qt::NoBrush);
            painter.setPen(QPen(runColour(look, curve, curve.focused ? 0.55 : 0.20), 0.5));
            painter.drawPolyline(upper);
            painter.drawPolyline(lower);
        }
        upper.clear();
        lower.clear();
    };
    for (const Column& column : columns) {
        if (std::isnan(column.lo)) {
            flush();
            continue;
        }
        upper << QPointF(clampPx(column.px), clampPx(strip.frame.yPx(column.hi)));
        lower << QPointF(clampPx(column.px), clampPx(strip.frame.yPx(column.lo)));
    }
    flush();
}

void paintNonFinite(QPainter& painter, const Strip& strip, const Look& look, const Curve& curve) {
    const double top = strip.frame.rect.top() + 1;
    double lastPx = -100;
    painter.setPen(Qt::NoPen);
    painter.setBrush(look.theme.critSolid);
    for (double x : curve.nonFiniteX) {
        if (x < strip.frame.from || x > strip.frame.to)
            continue;
        const double px = strip.frame.xPx(x);
        painter.fillRect(QRectF(px - 0.5, top, 1, 14), look.theme.crit);
        if (px - lastPx < 6)
            continue;
        lastPx = px;
        painter.drawPolygon(
            QPolygonF{{px - 3.5, top}, {px + 3.5, top}, {px + 3.5, top + 5}, {px, top + 8.5}, {px - 3.5, top + 5}});
    }
}

/// The farthest value beyond a border, per border: one triangle with its words.
void paintClipped(QPainter& painter, const Strip& strip, const Look& look, const Curve& curve, bool above) {
    const Frame& frame = strip.frame;
    const auto [first, last] = visibleSamples(curve, frame.from, frame.to);
    double worst = above ? frame.yHigh : frame.yLow;
    std::size_t at = last;
    for (std::size_t i = first; i < last; ++i) {
        if (curve.x[i] < frame.from || curve.x[i] > frame.to)
            continue;
        const double value = curve.lo.empty() || !look.envelope ? curve.y[i] : above ? curve.hi[i] : curve.lo[i];
        if (std::isfinite(value) && (above ? value > worst : value < worst)) {
            worst = value;
            at = i;
        }
    }
    if (at == last)
        return;
    const double px = std::clamp(frame.xPx(curve.x[at]), frame.rect.left() + 5, frame.rect.right() - 5);
    const double edge = above ? frame.rect.top() + 1 : frame.rect.bottom() - 1, tail = above ? edge + 6 : edge - 6;
    painter.setPen(Qt::NoPen);
    painter.setBrush(runColour(look, curve, 1));
    painter.drawPolygon(QPolygonF{{px, edge}, {px - 4, tail}, {px + 4, tail}});
    if (!curve.focused)
        return;
    const QString text = QObject::tr("%1 at %2, clipped").arg(valueText(strip.spec.format, worst), xText(look.kind, curve.x[at]));
    painter.setFont(look.caption);
    const double width = painter.fontMetrics().horizontalAdvance(text);
    const double left = px + 8 + width > frame.rect.right() ? px - 8 - width : px + 8;
    const QPointF baseline(left, above ? edge + 9 : edge - 2);
    QPainterPath halo; // the curve may run under the words
    halo.addText(baseline, painter.font(), text);
    painter.strokePath(halo, QPen(look.theme.plot, 3, Qt::SolidLine, Qt::RoundCap, Qt::RoundJoin));
    painter.setPen(look.theme.tx2);
    painter.drawText(baseline, text);
}

void paintTag(QPainter& painter, const Strip& strip, const Look& look, const Curve& curve) {
    const double value = curve.y.back();
    const double y = std::clamp(strip.frame.yPx(value), strip.frame.rect.top() + 7, strip.frame.rect.bottom() - 7);
    const QString text = valueText(strip.spec.format, value);
    painter.setFont(look.number);
    const double left = strip.frame.rect.right() + 3, width = painter.fontMetrics().horizontalAdvance(text) + 5;
    const QPolygonF tag{{left, y}, {left + 6, y - 8}, {left + 6 + width, y - 8}, {left + 6 + width, y + 8}, {left + 6, y + 8}};
    const QColor colour = look.theme.slot(curve.slot);
    painter.setPen(look.stale ? QPen(colour, 1, Qt::DashLine) : QPen(Qt::NoPen));
    painter.setBrush(look.stale ? QBrush(Qt::NoBrush) : QBrush(colour));
    painter.drawPolygon(tag);
    const bool darkText = look.theme.dark || curve.slot % 8 == 1 || curve.slot % 8 == 2;
    painter.setPen(look.stale        ? look.theme.tx2
                   : look.theme.dark ? look.theme.plot
                   : darkText        ? look.theme.tx
                                     : QColor(Qt::white));
    painter.drawText(QRectF(left + 5, y - 8, width, 16), Qt::AlignCenter, text);
}

} // namespace

void paintEnvelopes(QPainter& painter, const Strip& strip, const Look& look) {
    if (!look.envelope)
        return;
    painter.setRenderHint(QPainter::Antialiasing);
    for (bool focused : {false, true}) // the focused run lies on top
        for (const Curve& curve : strip.curves)
            if (curve.focused == focused && !curve.superseded && !curve.lo.empty())
                paintEnvelope(painter, strip, look, curve);
}

void paintLines(QPainter& painter, const Strip& strip, const Look& look, const std::vector<Gap>& gaps) {
    painter.setRenderHint(QPainter::Antialiasing);
    for (bool focused : {false, true})
        for (const Curve& curve : strip.curves)
            if (curve.focused == focused && !curve.x.empty())
                paintLine(painter, strip, look, curve, gaps);
}

void paintMarks(QPainter& painter, const Strip& strip, const Look& look) {
    painter.setRenderHint(QPainter::Antialiasing);
    for (const Curve& curve : strip.curves) {
        if (curve.superseded)
            continue;
        paintClipped(painter, strip, look, curve, true);
        paintClipped(painter, strip, look, curve, false);
        paintNonFinite(painter, strip, look, curve);
    }
}

void paintValueTags(QPainter& painter, const Strip& strip, const Look& look) {
    if (!strip.spec.valueTag)
        return;
    painter.setRenderHint(QPainter::Antialiasing);
    for (const Curve& curve : strip.curves)
        if (curve.focused && !curve.validation && !curve.superseded && !curve.y.empty() && std::isfinite(curve.y.back()))
            paintTag(painter, strip, look, curve);
}

} // namespace telehelm::app::plots
