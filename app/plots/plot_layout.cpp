// SPDX-License-Identifier: GPL-3.0-or-later
// Building of a stack and what happens around each replot.
#include <array>
#include <cmath>

#include "plots/paint_curves.h"
#include "plots/paint_guides.h"
#include "plots/paint_measurement.h"
#include "plots/plot_stack_p.h"
#include "plots/value_text.h"

namespace telehelm::app::plots {

namespace {

constexpr int kReplotMs = 100; // data redraws at most ten times a second
constexpr std::array kLayers{"bands", "crosshair", "references", "envelopes", "curves", "flags", "tags", "cursor"};

double scaled(const ThemeController& controller, double px) {
    return px * controller.textScale() / 100.0;
}

} // namespace

void PlotStack::Private::build(std::vector<StripSpec> specs, bool withLane, const StackOptions& stackOptions) {
    options = stackOptions;
    hasLane = withLane;
    look.smallMultiples = options.smallMultiples;
    for (StripSpec& spec : specs) {
        strips.emplace_back();
        strips.back().spec = std::move(spec);
    }
    canvas = new Canvas(&q);
    canvas->setObjectName(QStringLiteral("plotCanvas"));
    canvas->setFocusPolicy(Qt::NoFocus);
    canvas->plotLayout()->clear();
    canvas->plotLayout()->setRowSpacing(0);
    canvas->plotLayout()->setColumnSpacing(0);
    canvas->plotLayout()->setMargins({0, 0, 0, 0});
    leftGroup = new QCPMarginGroup(canvas);
    rightGroup = new QCPMarginGroup(canvas);
    addLayers();
    if (hasLane)
        addLane();
    for (std::size_t i = 0; i < strips.size(); ++i)
        addStrip(static_cast<int>(i));
    addPainters();
    connectInput();
    QObject::connect(canvas, &QCustomPlot::beforeReplot, &q, [this] { beforeReplot(); });
    QObject::connect(canvas, &QCustomPlot::afterReplot, &q, &PlotStack::replotted);
    QObject::connect(canvas, &QCustomPlot::afterLayout, &q, [this] { afterLayout(); });
    replotTimer.setSingleShot(true);
    QObject::connect(&replotTimer, &QTimer::timeout, &q, [this] { canvas->replot(QCustomPlot::rpQueuedRefresh); });
    sinceReplot.start();
    restyle();
}

/// From below: background, grid, bands, crosshair, references, envelopes, curves, main, axes, flags, tags, cursor. The crosshair
/// lies under the data so that it cannot cover a spike; it and the words that follow it have buffers of their own.
void PlotStack::Private::addLayers() {
    QCPLayer* below = canvas->layer(QStringLiteral("grid"));
    for (const char* name : kLayers) {
        canvas->addLayer(QLatin1String(name), below, QCustomPlot::limAbove);
        below = canvas->layer(QLatin1String(name));
        if (below->name() == QLatin1String("curves"))
            below = canvas->layer(QStringLiteral("axes"));
    }
    canvas->layer(QStringLiteral("crosshair"))->setMode(QCPLayer::lmBuffered);
    canvas->layer(QStringLiteral("cursor"))->setMode(QCPLayer::lmBuffered);
}

void PlotStack::Private::addLane() {
    laneRect = new QCPAxisRect(canvas, false);
    laneRect->setLayer(QStringLiteral("background"));
    laneRect->setAutoMargins(QCP::msLeft | QCP::msRight);
    laneRect->setMarginGroup(QCP::msLeft, leftGroup);
    laneRect->setMarginGroup(QCP::msRight, rightGroup);
    canvas->plotLayout()->addElement(0, 0, laneRect);
}

void PlotStack::Private::addStrip(int index) {
    Axes made;
    made.rect = new QCPAxisRect(canvas, true);
    made.rect->setupFullAxesBox(false);
    made.rect->setLayer(QStringLiteral("background"));
    for (QCPAxis* axis : made.rect->axes()) {
        axis->setLayer(QStringLiteral("axes"));
        axis->grid()->setLayer(QStringLiteral("grid"));
    }
    made.rect->setAutoMargins(QCP::msLeft | QCP::msRight);
    if (options.columns == 1) {
        made.rect->setMarginGroup(QCP::msLeft, leftGroup);
        made.rect->setMarginGroup(QCP::msRight, rightGroup);
    }
    const int row = index / options.columns + (hasLane ? 1 : 0), column = index % options.columns;
    canvas->plotLayout()->addElement(row, column, made.rect);
    canvas->plotLayout()->setRowStretchFactor(row, std::max(0.01, strips[static_cast<std::size_t>(index)].spec.heightShare));
    Strip& strip = strips[static_cast<std::size_t>(index)];
    made.x = QSharedPointer<SiTicker>::create([this](double x, double step) { return xTickText(look.kind, x, step); });
    made.y = QSharedPointer<SiTicker>::create(
        [format = strip.spec.format](double value, double step) { return yTickText(format, value, step); });
    made.right = QSharedPointer<SiTicker>::create([this, index](double value, double step) {
        return yTickText(strips[static_cast<std::size_t>(index)].rightFormat, value, step);
    });
    made.rect->axis(QCPAxis::atBottom)->setTicker(made.x);
    made.rect->axis(QCPAxis::atLeft)->setTicker(made.y);
    made.rect->axis(QCPAxis::atRight)->setTicker(made.right);
    axes.push_back(made);
}

void PlotStack::Private::addPainters() {
    const auto everywhere = [this] { return QRectF(canvas->viewport()); };
    for (std::size_t i = 0; i < strips.size(); ++i)
        addStripPainters(static_cast<int>(i));
    if (hasLane)
        new PaintedLayer(canvas, QStringLiteral("flags"), everywhere,
                         [this](QPainter& painter) { paintLane(painter, lane, look, flags, marks); });
    new PaintedLayer(canvas, QStringLiteral("cursor"), everywhere, [this](QPainter& painter) {
        for (const Strip& strip : strips)
            paintTitle(painter, strip, look, cursor, options.smallMultiples);
        if (hasLane && !std::isnan(cursor) && cursor >= from && cursor <= to)
            paintStepLabel(painter, lane, look, cursor);
        if (measured && measured->strip >= 0)
            paintMeasurement(painter, strips[static_cast<std::size_t>(measured->strip)], look, *measured,
                             spanWords ? spanWords(measured->fromX, measured->toX)
                                       : Span{spanText(look.kind, measured->toX - measured->fromX), 0});
        if (drag == Drag::Rectangle) {
            painter.setPen(QPen(look.theme.accent, 1));
            QColor fill = look.theme.accent;
            fill.setAlphaF(0.15F);
            painter.setBrush(fill);
            painter.drawRect(QRectF(dragStart, dragNow).normalized());
        }
    });
}

void PlotStack::Private::addStripPainters(int index) {
    const auto strip = [this, index]() -> const Strip& { return strips[static_cast<std::size_t>(index)]; };
    const auto inside = [strip] { return strip().frame.rect; };
    const auto everywhere = [this] { return QRectF(canvas->viewport()); };
    const auto add = [this](const char* layer, PaintedLayer::Clip clip, PaintedLayer::Paint paint) {
        new PaintedLayer(canvas, QLatin1String(layer), std::move(clip), std::move(paint));
    };
    add("bands", inside, [this, strip, index](QPainter& painter) {
        paintBands(painter, strip());
        paintGaps(painter, strip(), look, gaps, index == 0);
    });
    add("crosshair", inside, [this, strip](QPainter& painter) {
        if (std::isnan(cursor))
            return;
        painter.setPen(QPen(look.theme.tx2, 1, Qt::DotLine, Qt::FlatCap));
        const double px = std::floor(strip().frame.xPx(cursor)) + 0.5;
        painter.drawLine(QPointF(px, strip().frame.rect.top()), QPointF(px, strip().frame.rect.bottom()));
    });
    add("references", inside, [this, strip](QPainter& painter) {
        if (look.flags)
            paintPoles(painter, strip(), flags);
        paintReferences(painter, strip(), look);
    });
    add("envelopes", inside, [this, strip](QPainter& painter) { paintEnvelopes(painter, strip(), look); });
    add("curves", inside, [this, strip](QPainter& painter) { paintLines(painter, strip(), look, gaps); });
    add("tags", everywhere, [this, strip](QPainter& painter) {
        paintMarks(painter, strip(), look);
        paintValueTags(painter, strip(), look);
        paintEmptyText(painter, strip(), look);
    });
    add("cursor", inside, [this, strip](QPainter& painter) {
        for (const Curve& curve : strip().curves) {
            const CurveValue value = readCurve(curve, cursor);
            if (std::isnan(cursor) || !curve.focused || curve.validation || curve.superseded || !std::isfinite(value.value))
                continue;
            painter.setRenderHint(QPainter::Antialiasing);
            painter.setPen(QPen(look.theme.tx, 1.4));
            painter.setBrush(look.theme.plot);
            painter.drawEllipse(QPointF(strip().frame.xPx(value.x), strip().frame.yPx(value.value)), 3.6, 3.6);
        }
    });
}

void PlotStack::Private::restyle() {
    look.theme = controller.theme();
    look.title = controller.font(TextRole::PlotTitle);
    look.caption = controller.font(TextRole::Caption);
    look.captionNumber = controller.font(TextRole::CaptionNumber);
    look.number = controller.font(TextRole::TableNumber);
    canvas->setBackground(QBrush(look.theme.window));
    const int titleHeight = static_cast<int>(scaled(controller, options.smallMultiples ? 21 : 23));
    const int labels = static_cast<int>(scaled(controller, 20));
    const auto count = strips.size(), columns = static_cast<std::size_t>(options.columns);
    for (std::size_t i = 0; i < count; ++i) {
        const bool lastRow = options.smallMultiples || i + columns >= count;
        Axes& made = axes[i];
        made.rect->setMinimumMargins(QMargins(static_cast<int>(scaled(controller, options.leftMargin)), titleHeight,
                                              static_cast<int>(scaled(controller, options.rightMargin)), 4));
        made.rect->setMargins(QMargins(0, titleHeight, 0, options.smallMultiples ? labels : 4));
        styleAxes(made, strips[i], lastRow);
    }
    canvas->plotLayout()->setMargins({0, 0, 0, options.smallMultiples ? 0 : labels - 4});
    if (laneRect) {
        const int height = static_cast<int>(scaled(controller, 22));
        laneRect->setMinimumMargins(QMargins(static_cast<int>(scaled(controller, options.leftMargin)), 0,
                                             static_cast<int>(scaled(controller, options.rightMargin)), 0));
        laneRect->setMinimumSize(10, height);
        laneRect->setMaximumSize(QWIDGETSIZE_MAX, height);
    }
    if (canDraw())
        canvas->replot(QCustomPlot::rpQueuedReplot);
}

void PlotStack::Private::styleAxes(Axes& made, const Strip& strip, bool lastRow) {
    made.rect->setBackground(QBrush(look.theme.plot));
    for (QCPAxis* axis : made.rect->axes()) {
        const bool right = axis->axisType() == QCPAxis::atRight;
        axis->setBasePen(QPen(look.theme.line, 1));
        axis->setTickPen(Qt::NoPen);
        axis->setSubTickPen(Qt::NoPen);
        axis->setTickLength(0, 0);
        axis->setSubTickLength(0, 0);
        axis->setTickLabelFont(look.captionNumber);
        axis->setTickLabelColor(look.theme.tx3);
        axis->setTickLabelPadding(axis->orientation() == Qt::Horizontal ? 4 : 6);
        axis->setTickLabels(axis->axisType() == QCPAxis::atLeft || (axis->axisType() == QCPAxis::atBottom && lastRow) ||
                            (right && strip.rightFactor > 0));
        axis->grid()->setPen(QPen(look.theme.grid, 1));
        axis->grid()->setZeroLinePen(Qt::NoPen);
        axis->grid()->setVisible(axis->axisType() == QCPAxis::atLeft || axis->axisType() == QCPAxis::atBottom);
    }
}

void PlotStack::Private::beforeReplot() {
    for (std::size_t i = 0; i < strips.size(); ++i)
        updateStripRange(i);
    sinceReplot.restart();
}

void PlotStack::Private::updateStripRange(std::size_t index) {
    Strip& strip = strips[index];
    Axes& made = axes[index];
    strip.frame.from = from;
    strip.frame.to = to;
    strip.frame.logY = strip.spec.logY;
    if (strip.autoY)
        std::tie(strip.frame.yLow, strip.frame.yHigh) = automaticY(strip, from, to, look.references);
    QCPAxis *left = made.rect->axis(QCPAxis::atLeft), *right = made.rect->axis(QCPAxis::atRight);
    const auto scale = strip.spec.logY ? QCPAxis::stLogarithmic : QCPAxis::stLinear;
    left->setScaleType(scale);
    right->setScaleType(scale);
    left->setRange(strip.frame.yLow, strip.frame.yHigh);
    const double factor = strip.rightFactor > 0 ? strip.rightFactor : 1;
    right->setRange(strip.frame.yLow * factor, strip.frame.yHigh * factor);
    right->setTickLabels(strip.rightFactor > 0);
    made.rect->axis(QCPAxis::atBottom)->setRange(from, to);
    made.rect->axis(QCPAxis::atTop)->setRange(from, to);
    strip.tickUnit = 1;
    if (strip.spec.format == ValueFormat::LearningRate && !strip.empty() && strip.frame.yHigh > 0)
        strip.tickUnit = std::pow(10.0, std::floor(std::log10(strip.frame.yHigh)));
    made.y->setUnit(strip.tickUnit);
    made.y->setLog(strip.spec.logY);
    made.right->setLog(strip.spec.logY);
    made.x->setTimeAxis(look.kind == XKind::WallTime);
    updateTickCounts(index);
}

/// Ticks are made before the layout, so the plot's size comes from the canvas and the shares.
void PlotStack::Private::updateTickCounts(std::size_t index) {
    const Strip& strip = strips[index];
    Axes& made = axes[index];
    const double margins = scaled(controller, options.leftMargin + options.rightMargin);
    const double width = canvas->viewport().width() / static_cast<double>(options.columns) - margins;
    double shares = 0;
    for (std::size_t i = 0; i < strips.size(); i += static_cast<std::size_t>(options.columns))
        shares += strips[i].spec.heightShare;
    const double around = scaled(controller, options.smallMultiples ? 0 : hasLane ? 42 : 20);
    const double height = (canvas->viewport().height() - around) * strip.spec.heightShare / shares - made.rect->margins().top() -
                          made.rect->margins().bottom();
    made.y->setTickCount(std::clamp(static_cast<int>(height / scaled(controller, strip.spec.logY          ? 22
                                                                                 : options.smallMultiples ? 24
                                                                                 : height < 110           ? 16
                                                                                                          : 28)),
                                    2, 8));
    made.right->setTickCount(made.y->tickCount());
    made.y->setTopRoom(std::clamp(4 / height, 0.0, 0.2));
    made.right->setTopRoom(made.y->topRoom());
    made.x->setWhole(look.kind == XKind::Step);
    const double labelPx = scaled(controller, look.kind == XKind::WallTime ? 110 : options.smallMultiples ? 62 : 95);
    made.x->setTickCount(std::clamp(static_cast<int>(width / labelPx), 1, 12));
}

void PlotStack::Private::afterLayout() {
    for (std::size_t i = 0; i < strips.size(); ++i) {
        strips[i].frame.rect = QRectF(axes[i].rect->rect());
        strips[i].outer = QRectF(axes[i].rect->outerRect());
    }
    if (laneRect) {
        lane = strips.empty() ? Frame{} : strips.front().frame;
        lane.rect = QRectF(laneRect->rect());
    }
    marks = mergeFlags(flags, lane);
    const int width = strips.empty() ? 0 : axes.front().rect->width();
    if (width != knownWidth) {
        knownWidth = width;
        QMetaObject::invokeMethod(&q, &PlotStack::plotWidthChanged, Qt::QueuedConnection);
    }
}

void PlotStack::Private::scheduleReplot() {
    if (replotTimer.isActive() || !q.isVisible()) // showEvent() draws what came meanwhile
        return;
    replotTimer.start(static_cast<int>(std::clamp<qint64>(kReplotMs - sinceReplot.elapsed(), 0, kReplotMs)));
}

void PlotStack::Private::replotCursor() {
    if (!canDraw())
        return; // showEvent() draws all of it
    canvas->layer(QStringLiteral("crosshair"))->replot();
    canvas->layer(QStringLiteral("cursor"))->replot();
}

/// "Loss plot, step 29,500 to step 44,500, train 1.900"
void PlotStack::Private::describe() {
    QStringList sentences;
    for (const Strip& strip : strips) {
        QString sentence = tr("%1 plot, %2 to %3").arg(strip.spec.title, xText(look.kind, from), xText(look.kind, to));
        for (const Curve& curve : strip.curves)
            if (!curve.superseded && !curve.x.empty())
                sentence +=
                    QStringLiteral(", %1 %2").arg(curve.label, valueText(strip.spec.format, readCurve(curve, cursor).value));
        sentences << sentence;
    }
    q.setAccessibleName(sentences.join(QStringLiteral("; ")));
}

} // namespace telehelm::app::plots
