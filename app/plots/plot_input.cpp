// SPDX-License-Identifier: GPL-3.0-or-later
// Mouse, wheel and zoom history of a stack (design.md, section 8).
#include <algorithm>
#include <cmath>

#include <QApplication>
#include <QClipboard>
#include <QMenu>

#include "plots/plot_stack_p.h"
#include "plots/value_text.h"

namespace telehelm::app::plots {

namespace {

constexpr double kWheelZoom = 0.85;
constexpr double kThinPx = 12;     // a lower rectangle zooms x only
constexpr qint64 kGestureMs = 600; // wheel steps closer than this are one step of the history

} // namespace

void PlotStack::Private::connectInput() {
    canvas->onPress = [this](QMouseEvent& event) { press(event); };
    canvas->onMove = [this](QMouseEvent& event) { move(event); };
    canvas->onRelease = [this](QMouseEvent& event) { release(event); };
    canvas->onDoubleClick = [this](QMouseEvent& event) { doubleClick(event); };
    canvas->onWheel = [this](QWheelEvent& event) { wheel(event); };
    canvas->onLeave = [this] { moveCursor(kNoCursor); };
    canvas->onToolTip = [this](const QPoint& position) { return toolTipAt(position); };
}

int PlotStack::Private::stripAt(const QPointF& position) const {
    for (std::size_t i = 0; i < strips.size(); ++i)
        if (strips[i].frame.rect.contains(position))
            return static_cast<int>(i);
    return -1;
}

QString PlotStack::Private::toolTipAt(const QPoint& position) const {
    if (!hasLane || !lane.rect.adjusted(0, 0, 0, 4).contains(position))
        return {};
    const LaneMark* mark = markAt(marks, lane, position);
    if (!mark || !look.flags)
        return {};
    QStringList lines;
    for (int index : mark->flags)
        lines << flags[static_cast<std::size_t>(index)].text;
    return lines.mid(0, 12).join(QLatin1Char('\n'));
}

void PlotStack::Private::press(QMouseEvent& event) {
    q.setFocus(Qt::MouseFocusReason);
    dragStart = dragNow = event.position();
    dragStrip = stripAt(dragStart);
    dragView = view();
    if (event.button() == Qt::RightButton)
        return contextMenu(event.position().toPoint());
    endMeasure();
    drag = event.button() != Qt::LeftButton                                  ? Drag::None
           : dragStrip >= 0 && event.modifiers().testFlag(Qt::ShiftModifier) ? Drag::Rectangle
           : dragStrip >= 0 && event.modifiers().testFlag(Qt::AltModifier)   ? Drag::Measure
                                                                             : Drag::Press;
}

void PlotStack::Private::move(QMouseEvent& event) {
    dragNow = event.position();
    if (drag == Drag::Press && dragStrip >= 0 && (dragNow - dragStart).manhattanLength() >= QApplication::startDragDistance()) {
        drag = Drag::Pan;
        remember(dragView);
    }
    if (drag == Drag::Pan)
        return pan(dragNow);
    if (drag == Drag::Rectangle)
        return replotCursor();
    if (drag == Drag::Measure)
        return measureTo(dragNow);
    const int at = stripAt(dragNow);
    const Frame* frame = at >= 0 ? &strips[static_cast<std::size_t>(at)].frame : nullptr;
    if (!frame && options.columns == 1 && !strips.empty() && dragNow.x() >= strips.front().frame.rect.left() &&
        dragNow.x() <= strips.front().frame.rect.right())
        frame = &strips.front().frame; // between the strips the crosshair stays
    moveCursor(frame ? frame->xAt(dragNow.x()) : kNoCursor);
}

void PlotStack::Private::release(QMouseEvent& event) {
    const Drag was = std::exchange(drag, Drag::None);
    dragNow = event.position();
    if (was == Drag::Rectangle)
        return zoomToRectangle();
    if (was != Drag::Press || !hasLane || !look.flags)
        return;
    if (const LaneMark* mark = markAt(marks, lane, dragNow))
        emit q.flagClicked(flags[static_cast<std::size_t>(mark->chief)].id);
}

void PlotStack::Private::pan(const QPointF& position) {
    const Frame& frame = strips[static_cast<std::size_t>(dragStrip)].frame;
    const double shift = (dragStart.x() - position.x()) / frame.rect.width() * (dragView.to - dragView.from);
    Strip& strip = strips[static_cast<std::size_t>(dragStrip)];
    if (const auto& range = dragView.y[static_cast<std::size_t>(dragStrip)]; range && !strip.autoY) {
        Frame before = frame;
        std::tie(before.yLow, before.yHigh) = *range;
        const double dy = position.y() - dragStart.y();
        strip.frame.yLow = before.yAt(before.rect.bottom() - (-dy));
        strip.frame.yHigh = before.yAt(before.rect.top() + dy);
        if (strip.frame.yLow > strip.frame.yHigh)
            std::swap(strip.frame.yLow, strip.frame.yHigh);
    }
    userRange(dragView.from + shift, dragView.to + shift);
}

void PlotStack::Private::zoomToRectangle() {
    const QRectF box = QRectF(dragStart, dragNow).normalized();
    Strip& strip = strips[static_cast<std::size_t>(dragStrip)];
    if (box.width() < 4)
        return replotCursor();
    remember(dragView);
    const Frame frame = strip.frame;
    if (box.height() >= kThinPx) {
        strip.autoY = false;
        strip.frame.yLow = frame.yAt(std::min(box.bottom(), frame.rect.bottom()));
        strip.frame.yHigh = frame.yAt(std::max(box.top(), frame.rect.top()));
    }
    userRange(frame.xAt(std::max(box.left(), frame.rect.left())), frame.xAt(std::min(box.right(), frame.rect.right())));
}

/// Both ends snap to the focused curve of the strip where it has samples there.
void PlotStack::Private::measureTo(const QPointF& position) {
    const Strip& strip = strips[static_cast<std::size_t>(dragStrip)];
    const auto curve = std::find_if(strip.curves.begin(), strip.curves.end(), [](const Curve& each) {
        return each.focused && !each.superseded && !each.validation && !each.x.empty();
    });
    const auto pointAt = [&](const QPointF& px) {
        const double x = strip.frame.xAt(std::clamp(px.x(), strip.frame.rect.left(), strip.frame.rect.right()));
        if (curve == strip.curves.end())
            return std::pair(x, strip.frame.yAt(std::clamp(px.y(), strip.frame.rect.top(), strip.frame.rect.bottom())));
        const CurveValue value = readCurve(*curve, x);
        return std::pair(value.x, value.smoothed);
    };
    auto first = pointAt(dragStart), second = pointAt(position);
    if (second.first < first.first)
        std::swap(first, second);
    measured.reset();
    if (first.first < second.first)
        measured = Measurement{dragStrip, first.first, second.first, first.second, second.second};
    replotCursor();
}

void PlotStack::Private::endMeasure() {
    if (std::exchange(measured, std::nullopt))
        replotCursor();
}

void PlotStack::Private::doubleClick(QMouseEvent& event) {
    drag = Drag::None;
    const QPointF at = event.position();
    if (hasLane && lane.rect.contains(at))
        return;
    for (Strip& strip : strips) {
        if (!strip.outer.contains(at))
            continue;
        remember(view());
        strip.autoY = true;
        if (at.x() >= strip.frame.rect.left()) // the left axis resets itself alone
            emit q.resetRequested();
        canvas->replot(QCustomPlot::rpQueuedReplot);
        return;
    }
    if (!strips.empty() && at.y() > strips.back().frame.rect.bottom())
        emit q.resetRequested();
}

void PlotStack::Private::wheel(QWheelEvent& event) {
    const double steps = (event.angleDelta().y() != 0 ? event.angleDelta().y() : event.angleDelta().x()) / 120.0;
    const int at = stripAt(event.position());
    event.accept();
    if (steps == 0 || at < 0)
        return;
    remember(view(), true);
    const Frame& frame = strips[static_cast<std::size_t>(at)].frame;
    if (event.modifiers().testFlag(Qt::ControlModifier))
        return zoomYAt(at, std::pow(kWheelZoom, steps), event.position().y());
    if (event.modifiers().testFlag(Qt::ShiftModifier)) {
        const double shift = -steps * 0.1 * (to - from);
        return userRange(from + shift, to + shift);
    }
    zoomXAt(std::pow(kWheelZoom, steps), frame.xAt(event.position().x()));
}

void PlotStack::Private::zoomXAt(double factor, double centre) {
    userRange(centre - (centre - from) * factor, centre + (to - centre) * factor);
}

void PlotStack::Private::zoomYAt(int index, double factor, double px) {
    Strip& strip = strips[static_cast<std::size_t>(index)];
    const Frame frame = strip.frame;
    strip.autoY = false;
    strip.frame.yLow = frame.yAt(px + (frame.rect.bottom() - px) * factor);
    strip.frame.yHigh = frame.yAt(px - (px - frame.rect.top()) * factor);
    canvas->replot(QCustomPlot::rpQueuedReplot);
}

QString PlotStack::Private::valuesText(int strip) const {
    QStringList values;
    for (const CurveValue& value : q.valuesAt(strip, cursor))
        values << QStringLiteral("%1\t%2\t%3").arg(xText(look.kind, value.x), value.label, QString::number(value.value, 'g', 9));
    return values.join(QLatin1Char('\n'));
}

void PlotStack::Private::contextMenu(const QPoint& position) {
    const int at = stripAt(position);
    if (at < 0)
        return;
    const double x = strips[static_cast<std::size_t>(at)].frame.xAt(position.x());
    const QString values = valuesText(at);
    auto* menu = new QMenu(&q);
    menu->setObjectName(QStringLiteral("plotMenu"));
    menu->setAttribute(Qt::WA_DeleteOnClose);
    menu->addAction(tr("Copy value"), &q, [values] { QApplication::clipboard()->setText(values); })->setEnabled(!values.isEmpty());
    menu->addAction(tr("Copy image"), &q, [this] { QApplication::clipboard()->setPixmap(canvas->toPixmap()); });
    menu->addSeparator();
    for (const char* format : {"png", "svg", "csv"})
        menu->addAction(tr("Save as %1…").arg(QString::fromLatin1(format).toUpper()), &q,
                        [this, format] { emit q.exportRequested(QString::fromLatin1(format)); });
    menu->addSeparator();
    QAction* log = menu->addAction(tr("Log axis"), &q, [this, at](bool on) { q.setLogY(at, on); });
    log->setCheckable(true);
    log->setChecked(strips[static_cast<std::size_t>(at)].spec.logY);
    menu->addAction(tr("Set range…"), &q, [this, at] { emit q.rangeRequested(at); });
    menu->addAction(tr("Reset"), &q, [this] {
        remember(view());
        q.resetY();
        emit q.resetRequested();
    });
    menu->addSeparator();
    menu->addAction(tr("Add a note…"), &q, [this, x] { emit q.noteRequested(x); });
    menu->popup(canvas->mapToGlobal(position));
}

void PlotStack::Private::moveCursor(double x) {
    if (x == cursor || (std::isnan(x) && std::isnan(cursor)))
        return;
    cursor = x;
    replotCursor();
    emit q.cursorMoved(x);
}

View PlotStack::Private::view() const {
    View now{from, to, {}};
    for (const Strip& strip : strips)
        now.y.push_back(strip.autoY ? std::nullopt : std::optional(std::pair(strip.frame.yLow, strip.frame.yHigh)));
    return now;
}

void PlotStack::Private::show(const View& wanted) {
    for (std::size_t i = 0; i < strips.size() && i < wanted.y.size(); ++i) {
        strips[i].autoY = !wanted.y[i];
        if (wanted.y[i])
            std::tie(strips[i].frame.yLow, strips[i].frame.yHigh) = *wanted.y[i];
    }
    userRange(wanted.from, wanted.to);
    emit q.historyChanged();
}

void PlotStack::Private::userRange(double newFrom, double newTo) {
    const double least = look.kind == XKind::Step ? 2 : look.kind == XKind::Tokens ? 10 : 1e3;
    if (newTo - newFrom < least) {
        const double middle = (newFrom + newTo) / 2;
        newFrom = middle - least / 2;
        newTo = middle + least / 2;
    }
    from = newFrom;
    to = newTo;
    describe();
    canvas->replot(QCustomPlot::rpQueuedReplot);
    emit q.xRangeChanged(from, to);
}

void PlotStack::Private::remember(const View& before, bool oneGesture) {
    const bool goesOn = oneGesture && lastGesture.isValid() && lastGesture.elapsed() < kGestureMs;
    lastGesture.start();
    if (!goesOn)
        history.leave(before);
    if (!oneGesture)
        lastGesture.invalidate();
    emit q.historyChanged();
}

} // namespace telehelm::app::plots
