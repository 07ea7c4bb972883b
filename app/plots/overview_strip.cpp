// SPDX-License-Identifier: GPL-3.0-or-later
#include "plots/overview_strip.h"

#include <cmath>

#include <QKeyEvent>
#include <QMouseEvent>
#include <QPainter>

#include "plots/paint_curves.h"
#include "plots/value_text.h"

namespace telehelm::app::plots {

namespace {

constexpr double kHandleWidth = 7, kHandleHeight = 18;
constexpr double kTitleLeft = 8;
constexpr double kGrip = 12;         // half of a hit target
constexpr double kStartShare = 0.03; // of the run, whose values may be clipped: a first loss would flatten all others

double niceStep(double span, int count) {
    const double rough = span / std::max(1, count), unit = std::pow(10.0, std::floor(std::log10(rough)));
    for (double factor : {1.0, 2.0, 5.0, 10.0})
        if (factor * unit >= rough)
            return factor * unit;
    return 10 * unit;
}

} // namespace

OverviewStrip::OverviewStrip(ThemeController& theme, QWidget* parent) : QWidget(parent), m_theme(theme) {
    setFocusPolicy(Qt::StrongFocus);
    setMouseTracking(true);
    setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
    m_strip.spec.logY = true;
    m_strip.frame.logY = true;
    connect(&theme, &ThemeController::changed, this, &OverviewStrip::restyle);
    restyle();
}

void OverviewStrip::restyle() {
    m_look.theme = m_theme.theme();
    m_look.caption = m_theme.font(TextRole::Caption);
    m_look.captionNumber = m_theme.font(TextRole::CaptionNumber);
    setFixedHeight(82 * m_theme.textScale() / 100);
    update();
}

void OverviewStrip::setCurves(std::vector<Curve> curves) {
    m_strip.curves = std::move(curves);
    update();
}

void OverviewStrip::setFlags(std::vector<Flag> flags) {
    m_flags = std::move(flags);
    update();
}

void OverviewStrip::setXKind(XKind kind) {
    m_look.kind = kind;
    describe();
    update();
}

void OverviewStrip::setExtent(double from, double to) {
    m_strip.frame.from = from;
    m_strip.frame.to = std::max(to, from + 1);
    update();
}

void OverviewStrip::setWindow(double from, double to) {
    m_from = from;
    m_to = to;
    describe();
    update();
}

void OverviewStrip::describe() {
    setAccessibleName(tr("Whole run, window %1").arg(rangeText(m_look.kind, m_from, m_to)));
}

void OverviewStrip::layoutFrame() {
    Frame& frame = m_strip.frame;
    const double scale = m_theme.textScale() / 100.0;
    frame.rect = QRectF(rect()).adjusted(54 * scale, 14 * scale, -12, -18 * scale);
    const double settled = frame.from + (frame.to - frame.from) * kStartShare;
    auto [low, high] = automaticY(m_strip, settled, frame.to, false);
    const double lowest = automaticY(m_strip, frame.from, frame.to, false).first;
    frame.yLow = std::min(low, lowest);
    frame.yHigh = std::max(high, frame.yLow * 1.05);
}

void OverviewStrip::paintEvent(QPaintEvent*) {
    layoutFrame();
    QPainter painter(this);
    painter.fillRect(rect(), m_look.theme.window);
    painter.fillRect(m_strip.frame.rect, m_look.theme.plot);
    paintAxes(painter);
    painter.save();
    painter.setClipRect(m_strip.frame.rect);
    paintEnvelopes(painter, m_strip, m_look);
    paintLines(painter, m_strip, m_look, {});
    paintMarks(painter, m_strip, m_look);
    painter.restore();
    paintPennants(painter);
    paintWindow(painter);
}

void OverviewStrip::paintAxes(QPainter& painter) const {
    const Frame& frame = m_strip.frame;
    painter.setPen(QPen(m_look.theme.line, 1));
    painter.setBrush(Qt::NoBrush);
    painter.drawRect(frame.rect);
    painter.setFont(m_look.caption);
    painter.setPen(m_look.theme.tx3);
    painter.drawText(QRectF(kTitleLeft, 0, 200, frame.rect.top()), Qt::AlignLeft | Qt::AlignVCenter, tr("Whole run"));
    painter.setFont(m_look.captionNumber);
    const double step = m_look.kind == XKind::WallTime
                            ? (frame.to - frame.from) / 6
                            : niceStep(frame.to - frame.from, static_cast<int>(frame.rect.width() / 110));
    for (double x = std::ceil(frame.from / step) * step; x <= frame.to; x += step) {
        const double px = std::round(frame.xPx(x)) + 0.5;
        painter.setPen(m_look.theme.grid);
        painter.drawLine(QPointF(px, frame.rect.top() + 1), QPointF(px, frame.rect.bottom() - 1));
        painter.setPen(m_look.theme.tx3);
        painter.drawText(QRectF(px - 60, frame.rect.bottom() + 2, 120, 14), Qt::AlignCenter, xTickText(m_look.kind, x, step));
    }
    const double yStep = niceStep(frame.yHigh - frame.yLow, 4);
    double lastPx = 1e9;
    for (double y = std::ceil(frame.yLow / yStep) * yStep; y <= frame.yHigh; y += yStep) {
        const double px = frame.yPx(y);
        if (lastPx - px < 12)
            continue; // a log axis crowds its labels at the top
        lastPx = px;
        painter.drawText(QRectF(0, px - 7, frame.rect.left() - 6, 14), Qt::AlignRight | Qt::AlignVCenter,
                         QString::number(y, 'f',
                                         yStep >= 1     ? 0
                                         : yStep >= 0.1 ? 1
                                                        : 2));
    }
}

void OverviewStrip::paintPennants(QPainter& painter) const {
    const Frame& frame = m_strip.frame;
    painter.setRenderHint(QPainter::Antialiasing, false);
    const double titleRight = kTitleLeft + QFontMetricsF(m_look.caption).horizontalAdvance(tr("Whole run")) + 6;
    for (const Flag& flag : m_flags) {
        if (flag.letter.isNull() || flag.x < frame.from || flag.x > frame.to)
            continue;
        const double px = std::round(frame.xPx(flag.x)) + 0.5, top = frame.rect.top() - 11;
        const bool underTitle = px < titleRight;
        QColor pole = flag.colour;
        pole.setAlphaF(0.55F);
        painter.setPen(QPen(pole, 1));
        painter.drawLine(QPointF(px, underTitle ? frame.rect.top() : top), QPointF(px, frame.rect.bottom()));
        if (underTitle)
            continue; // its flag would stand in the words; the event lane has it
        painter.setPen(Qt::NoPen);
        painter.setBrush(flag.colour);
        painter.drawPolygon(QPolygonF{{px, top}, {px + 6, top}, {px + 4, top + 3}, {px + 6, top + 6}, {px, top + 6}});
    }
}

QRectF OverviewStrip::windowRect() const {
    const Frame& frame = m_strip.frame;
    const auto inside = [&](double x) { return std::clamp(frame.xPx(x), frame.rect.left(), frame.rect.right()); };
    return {QPointF(inside(m_from), frame.rect.top() - 1), QPointF(inside(m_to), frame.rect.bottom() + 1)};
}

void OverviewStrip::paintWindow(QPainter& painter) const {
    const QRectF box = windowRect(), plot = m_strip.frame.rect;
    QColor veil = m_look.theme.window;
    veil.setAlphaF(0.35F);
    painter.fillRect(QRectF(plot.topLeft(), QPointF(box.left(), plot.bottom())), veil);
    painter.fillRect(QRectF(QPointF(box.right(), plot.top()), plot.bottomRight()), veil);
    painter.setRenderHint(QPainter::Antialiasing);
    painter.setPen(QPen(m_look.theme.accent, hasFocus() ? 2 : 1.4));
    painter.setBrush(Qt::NoBrush);
    painter.drawRect(box);
    painter.setPen(Qt::NoPen);
    painter.setBrush(m_look.theme.accent);
    for (double x : {box.left(), box.right()})
        painter.drawRoundedRect(QRectF(x - kHandleWidth / 2, box.center().y() - kHandleHeight / 2, kHandleWidth, kHandleHeight),
                                2, 2);
}

OverviewStrip::Drag OverviewStrip::partAt(const QPointF& position) const {
    const QRectF box = windowRect();
    const double toLeft = std::abs(position.x() - box.left()), toRight = std::abs(position.x() - box.right());
    const double grip = std::min(kGrip, box.width() / 3 + 4);
    if (std::min(toLeft, toRight) <= grip)
        return toLeft < toRight ? Drag::Left : Drag::Right;
    return position.x() > box.left() && position.x() < box.right() ? Drag::Move : Drag::New;
}

void OverviewStrip::mousePressEvent(QMouseEvent* event) {
    if (event->button() != Qt::LeftButton)
        return;
    m_drag = partAt(event->position());
    m_dragX = m_strip.frame.xAt(event->position().x());
    m_dragFrom = m_from;
    m_dragTo = m_to;
}

void OverviewStrip::mouseMoveEvent(QMouseEvent* event) {
    const double x = m_strip.frame.xAt(event->position().x()), shift = x - m_dragX;
    const double least = (m_strip.frame.to - m_strip.frame.from) / 500;
    switch (m_drag) {
    case Drag::None: {
        const Drag part = partAt(event->position());
        setCursor(part == Drag::Move ? Qt::SizeAllCursor : part == Drag::New ? Qt::ArrowCursor : Qt::SizeHorCursor);
        return;
    }
    case Drag::Move:
        return moveWindow(m_dragFrom + shift, m_dragTo + shift);
    case Drag::Left:
        return moveWindow(std::min(m_dragFrom + shift, m_dragTo - least), m_dragTo);
    case Drag::Right:
        return moveWindow(m_dragFrom, std::max(m_dragTo + shift, m_dragFrom + least));
    case Drag::New:
        if (std::abs(shift) > least)
            moveWindow(std::min(x, m_dragX), std::max(x, m_dragX));
    }
}

/// A click beside the window brings it there.
void OverviewStrip::mouseReleaseEvent(QMouseEvent* event) {
    const Drag was = std::exchange(m_drag, Drag::None);
    const double x = m_strip.frame.xAt(event->position().x());
    if (was == Drag::New && m_from == m_dragFrom && m_to == m_dragTo)
        moveWindow(x - (m_to - m_from) / 2, x + (m_to - m_from) / 2);
}

void OverviewStrip::keyPressEvent(QKeyEvent* event) {
    const double shift = (m_to - m_from) * (event->modifiers().testFlag(Qt::ShiftModifier) ? 0.5 : 0.1);
    if (event->key() == Qt::Key_Left)
        moveWindow(m_from - shift, m_to - shift);
    else if (event->key() == Qt::Key_Right)
        moveWindow(m_from + shift, m_to + shift);
    else
        QWidget::keyPressEvent(event);
}

void OverviewStrip::moveWindow(double from, double to) {
    setWindow(from, to);
    emit windowChanged(from, to);
}

} // namespace telehelm::app::plots
