// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/curve_chart.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <QMouseEvent>
#include <QPainter>
#include <QPainterPath>

namespace telehelm::app {

namespace {

constexpr double kLeft = 46, kRight = 10, kTop = 8, kBottom = 22;

/// The middle 99 % decide, so that one spike does not flatten the curve; it is then clipped, with a mark at the top.
AxisRange yRange(const CurveChart::Points& points) {
    std::vector<double> values;
    for (std::size_t i = 0; i < points.x.size(); ++i) {
        for (const double value : {points.lo[i], points.hi[i], points.y[i]}) {
            if (std::isfinite(value)) {
                values.push_back(value);
            }
        }
    }
    if (values.empty()) {
        return {0, 1};
    }
    std::sort(values.begin(), values.end());
    const auto at = [&](double share) { return values[static_cast<std::size_t>(share * double(values.size() - 1))]; };
    const double low = at(0.002), high = at(0.995);
    const double pad = std::max((high - low) * 0.12, std::max(std::abs(high), 1e-6) * 0.005);
    return {low - pad, high + pad};
}

/// What falls into one pixel column: least, greatest, last.
struct Column {
    double x = 0, y = 0, lo = 0, hi = 0;
};

std::vector<Column> columns(const CurveChart::Points& points, const ChartFrame& frame) {
    std::vector<Column> all;
    for (std::size_t i = 0; i < points.x.size(); ++i) {
        const double x = std::round(frame.px(points.x[i]));
        if (all.empty() || all.back().x != x) {
            all.push_back({x, points.y[i], std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()});
        }
        Column& column = all.back();
        column.y = std::isfinite(column.y) ? points.y[i] : column.y; // one broken point marks the column
        if (std::isfinite(points.lo[i]) && std::isfinite(points.hi[i])) {
            column.lo = std::min(column.lo, points.lo[i]);
            column.hi = std::max(column.hi, points.hi[i]);
        }
    }
    return all;
}

} // namespace

CurveChart::CurveChart(ThemeController& theme, QWidget* parent) : QWidget(parent), m_theme(theme) {
    connect(&theme, &ThemeController::changed, this, qOverload<>(&QWidget::update));
}

void CurveChart::setPoints(Points points) {
    m_points = std::move(points);
    if (m_points.lo.size() != m_points.x.size()) {
        m_points.lo = m_points.y;
    }
    if (m_points.hi.size() != m_points.x.size()) {
        m_points.hi = m_points.y;
    }
    update();
}

void CurveChart::setMark(std::optional<Mark> mark) {
    m_mark = std::move(mark);
    update();
}

void CurveChart::setDiscarded(std::optional<Stretch> stretch) {
    m_discarded = std::move(stretch);
    update();
}

void CurveChart::setMeans(std::vector<Mean> means) {
    m_means = std::move(means);
    update();
}

void CurveChart::setTicks(std::vector<double> steps, int chosen) {
    m_ticks = std::move(steps);
    m_chosenTick = chosen;
    update();
}

void CurveChart::setEmptyText(const QString& text) {
    m_emptyText = text;
    update();
}

ChartFrame CurveChart::frame() const {
    ChartFrame frame;
    frame.rect = QRectF(kLeft, kTop, width() - kLeft - kRight, height() - kTop - kBottom);
    frame.y = yRange(m_points);
    frame.x = m_points.x.empty() ? AxisRange{0, 1} : AxisRange{m_points.x.front(), std::max(m_points.x.back(), m_points.x.front() + 1)};
    return frame;
}

void CurveChart::paintEvent(QPaintEvent*) {
    QPainter painter(this);
    const ChartFrame frame = this->frame();
    if (m_points.x.empty()) {
        frame.paintBackground(painter, m_theme, {}, {});
        paintEmptyText(painter, m_theme, frame.rect, m_emptyText);
        return;
    }
    const auto xTicks = niceTicks(frame.x, std::max(2, int(frame.rect.width() / 90)));
    const auto yTicks = niceTicks(frame.y, std::max(2, int(frame.rect.height() / 45)));
    frame.paintBackground(painter, m_theme, xTicks, yTicks);
    frame.paintLabels(painter, m_theme, xTicks, yTicks, false);
    painter.setClipRect(frame.rect);
    paintDiscarded(painter, frame);
    painter.setRenderHint(QPainter::Antialiasing);
    paintCurve(painter, frame);
    paintMeans(painter, frame);
    painter.setClipping(false);
    paintTicks(painter, frame);
    paintMark(painter, frame);
}

void CurveChart::paintDiscarded(QPainter& painter, const ChartFrame& frame) const {
    if (!m_discarded) {
        return;
    }
    const Theme& colours = m_theme.theme();
    QRectF area(QPointF(frame.px(m_discarded->from), frame.rect.top()), QPointF(frame.px(m_discarded->to), frame.rect.bottom()));
    area = area.intersected(frame.rect);
    QColor tint = colours.crit;
    tint.setAlphaF(0.07f);
    painter.fillRect(area, tint);
    painter.save();
    painter.setClipRect(area);
    painter.setRenderHint(QPainter::Antialiasing);
    tint.setAlphaF(0.38f);
    painter.setPen(QPen(tint, 1));
    for (double x = area.left() - area.height(); x < area.right(); x += 7) {
        painter.drawLine(QPointF(x, area.bottom()), QPointF(x + area.height(), area.top()));
    }
    painter.restore();
}

void CurveChart::paintCurve(QPainter& painter, const ChartFrame& frame) const {
    const QColor colour = m_theme.theme().slot(0);
    QPolygonF outline, lower;
    QPainterPath line;
    bool open = false;
    std::vector<double> broken, clipped;
    for (const Column& column : columns(m_points, frame)) {
        if (column.lo <= column.hi) {
            outline << QPointF(column.x, frame.py(column.hi));
            lower << QPointF(column.x, frame.py(column.lo));
        }
        if (column.hi > frame.y.to) {
            clipped.push_back(column.x);
        }
        if (!std::isfinite(column.y)) {
            broken.push_back(column.x);
            open = false;
            continue;
        }
        const QPointF point(column.x, frame.py(column.y));
        open ? line.lineTo(point) : line.moveTo(point);
        open = true;
    }
    std::reverse(lower.begin(), lower.end());
    outline += lower;
    QColor fill = colour;
    fill.setAlphaF(0.26f);
    painter.setBrush(fill);
    fill.setAlphaF(0.55f);
    painter.setPen(QPen(fill, 0.5));
    painter.drawPolygon(outline);
    painter.setBrush(Qt::NoBrush);
    painter.setPen(QPen(colour, 2, Qt::SolidLine, Qt::RoundCap, Qt::RoundJoin));
    painter.drawPath(line);
    painter.setPen(Qt::NoPen);
    painter.setBrush(colour);
    for (const double x : clipped) { // goes on above the plot
        painter.drawPolygon(QPolygonF({{x - 3, frame.rect.top() + 6}, {x + 3, frame.rect.top() + 6}, {x, frame.rect.top() + 1}}));
    }
    painter.setPen(QPen(m_theme.theme().crit, 2));
    for (const double x : broken) {
        painter.drawLine(QPointF(x, frame.rect.top()), QPointF(x, frame.rect.top() + 7));
    }
}

void CurveChart::paintMeans(QPainter& painter, const ChartFrame& frame) const {
    painter.setFont(m_theme.font(TextRole::Caption));
    const bool markAtRight = m_mark && frame.px(m_mark->x) > frame.rect.center().x() + 20; // its label would meet the right mean's
    for (const auto& mean : m_means) {
        const double y = frame.py(mean.value);
        painter.setPen(QPen(m_theme.theme().tx, 1, Qt::DashLine));
        painter.drawLine(QPointF(frame.px(mean.from), y), QPointF(frame.px(mean.to), y));
        const QRectF place(frame.rect.left() + 8, frame.rect.top() + (mean.atRight && !markAtRight ? 4 : 26), frame.rect.width() - 16, 18);
        painter.drawText(place, Qt::AlignVCenter | (mean.atRight ? Qt::AlignRight : Qt::AlignLeft), mean.label);
    }
}

void CurveChart::paintTicks(QPainter& painter, const ChartFrame& frame) const {
    for (std::size_t i = 0; i < m_ticks.size(); ++i) {
        const double x = frame.px(m_ticks[i]);
        if (x < frame.rect.left() - 1 || x > frame.rect.right() + 1) {
            continue;
        }
        const double y = frame.rect.bottom();
        painter.setPen(Qt::NoPen);
        painter.setBrush(static_cast<int>(i) == m_chosenTick ? m_theme.theme().accent : m_theme.theme().tx2);
        painter.drawPolygon(QPolygonF({{x - 4, y - 7}, {x + 4, y - 7}, {x, y}}));
    }
}

void CurveChart::paintMark(QPainter& painter, const ChartFrame& frame) const {
    const Theme& colours = m_theme.theme();
    painter.setFont(m_theme.font(TextRole::Caption));
    const QFontMetricsF metrics(painter.font());
    if (m_discarded && !m_discarded->label.isEmpty()) {
        const double left = std::max(frame.rect.left(), frame.px(m_discarded->from));
        const double textWidth = metrics.horizontalAdvance(m_discarded->label) + 12;
        QRectF place(left, frame.rect.top() + 3, frame.rect.right() - left, 18);
        if (textWidth < place.width()) {
            place = QRectF(place.center().x() - textWidth / 2, place.top(), textWidth, 18);
            painter.fillRect(place, colours.plot);
            painter.setPen(colours.tx);
            painter.drawText(place, Qt::AlignCenter, m_discarded->label);
        }
    }
    if (!m_mark) {
        return;
    }
    const double x = std::clamp(frame.px(m_mark->x), frame.rect.left(), frame.rect.right());
    painter.setPen(QPen(m_mark->boxed ? colours.accent : colours.slot(0), m_mark->boxed ? 2 : 1.4));
    painter.drawLine(QPointF(x, frame.rect.top()), QPointF(x, frame.rect.bottom()));
    if (m_mark->boxed) {
        painter.setFont(m_theme.font(TextRole::CaptionNumber));
    }
    const double boxWidth = QFontMetricsF(painter.font()).horizontalAdvance(m_mark->label) + 18;
    const bool leftSide = x - boxWidth - 6 > frame.rect.left();
    const QRectF box(leftSide ? x - boxWidth - 6 : x + 6, frame.rect.top() + 4 + (leftSide || !m_discarded ? 0 : 22), boxWidth, 18);
    if (m_mark->boxed) {
        painter.setPen(Qt::NoPen);
        painter.setBrush(colours.accent);
        painter.drawRoundedRect(box, 2, 2);
        painter.setPen(colours.dark ? colours.window : colours.onSolid);
    } else {
        painter.setPen(colours.accent);
    }
    painter.drawText(box, Qt::AlignCenter, m_mark->label);
}

void CurveChart::mousePressEvent(QMouseEvent* event) {
    const ChartFrame frame = this->frame();
    int nearest = -1;
    double distance = 12;
    for (std::size_t i = 0; i < m_ticks.size(); ++i) {
        const double off = std::abs(frame.px(m_ticks[i]) - event->position().x());
        if (off < distance) {
            distance = off;
            nearest = static_cast<int>(i);
        }
    }
    if (nearest >= 0 && !m_points.x.empty()) {
        emit tickClicked(nearest);
    }
}

} // namespace telehelm::app
