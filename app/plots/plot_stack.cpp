// SPDX-License-Identifier: GPL-3.0-or-later
#include "plots/plot_stack.h"

#include <cmath>

#include <QKeyEvent>
#include <QSvgGenerator>
#include <QVBoxLayout>

#include "plots/columns.h"
#include "plots/plot_stack_p.h"

namespace telehelm::app::plots {

PlotStack::PlotStack(ThemeController& theme, std::vector<StripSpec> strips, bool eventLane, QWidget* parent)
    : PlotStack(theme, std::move(strips), eventLane, StackOptions{}, parent) {}

PlotStack::PlotStack(ThemeController& theme, std::vector<StripSpec> strips, bool eventLane, const StackOptions& options,
                     QWidget* parent)
    : QWidget(parent), d(std::make_unique<Private>(*this, theme)) {
    setFocusPolicy(Qt::StrongFocus);
    d->build(std::move(strips), eventLane, options);
    auto* layout = new QVBoxLayout(this);
    layout->setContentsMargins(0, 0, 0, 0);
    layout->addWidget(d->canvas);
    connect(&theme, &ThemeController::changed, this, [this] { d->restyle(); });
}

PlotStack::~PlotStack() {
    delete d->canvas; // before the data that its painters and its mouse handlers look at
}

void PlotStack::setCurves(int strip, std::vector<Curve> curves) {
    d->strips.at(static_cast<std::size_t>(strip)).curves = std::move(curves);
    d->describe();
    d->scheduleReplot();
}

void PlotStack::setReferences(int strip, std::vector<ReferenceLine> references) {
    d->strips.at(static_cast<std::size_t>(strip)).references = std::move(references);
    d->scheduleReplot();
}

void PlotStack::setBands(int strip, std::vector<Band> bands) {
    d->strips.at(static_cast<std::size_t>(strip)).bands = std::move(bands);
    d->scheduleReplot();
}

void PlotStack::setGaps(std::vector<Gap> gaps) {
    d->gaps = std::move(gaps);
    d->scheduleReplot();
}

void PlotStack::setFlags(std::vector<Flag> flags) {
    d->flags = std::move(flags);
    d->marks.clear(); // indices into the old ones; the next layout merges anew
    d->scheduleReplot();
}

void PlotStack::setTitleNotes(int strip, std::vector<TitleNote> notes) {
    d->strips.at(static_cast<std::size_t>(strip)).notes = std::move(notes);
    d->scheduleReplot();
}

void PlotStack::setTitleText(int strip, const QString& title, const QString& unit) {
    Strip& target = d->strips.at(static_cast<std::size_t>(strip));
    target.spec.title = title;
    target.spec.unit = unit;
    d->describe();
    d->scheduleReplot();
}

void PlotStack::setRightScale(int strip, double factor, ValueFormat format) {
    Strip& target = d->strips.at(static_cast<std::size_t>(strip));
    target.rightFactor = factor;
    target.rightFormat = format;
    d->scheduleReplot();
}

void PlotStack::setEmptyText(int strip, const QString& headline, const QString& sentence) {
    Strip& target = d->strips.at(static_cast<std::size_t>(strip));
    target.emptyHeadline = headline;
    target.emptySentence = sentence;
    d->scheduleReplot();
}

void PlotStack::setXKind(XKind kind) {
    d->look.kind = kind;
    d->describe();
    d->scheduleReplot();
}

void PlotStack::setXRange(double from, double to) {
    if (!(to > from) || !std::isfinite(from) || !std::isfinite(to))
        return;
    d->from = from;
    d->to = to;
    d->describe();
    d->scheduleReplot();
}

void PlotStack::setLogY(int strip, bool on) {
    Strip& target = d->strips.at(static_cast<std::size_t>(strip));
    target.spec.logY = on;
    target.autoY = true;
    d->scheduleReplot();
}

bool PlotStack::logY(int strip) const {
    return d->strips.at(static_cast<std::size_t>(strip)).spec.logY;
}

void PlotStack::setEnvelopeVisible(bool on) {
    d->look.envelope = on;
    d->scheduleReplot();
}

void PlotStack::setReferencesVisible(bool on) {
    d->look.references = on;
    d->scheduleReplot();
}

void PlotStack::setFlagsVisible(bool on) {
    d->look.flags = on;
    d->scheduleReplot();
}

void PlotStack::setStale(bool on) {
    d->look.stale = on;
    d->scheduleReplot();
}

void PlotStack::setHighlightedRun(const QString& run) {
    if (d->look.highlightedRun == run)
        return;
    d->look.highlightedRun = run;
    d->scheduleReplot();
}

void PlotStack::resetY() {
    for (Strip& strip : d->strips)
        strip.autoY = true;
    d->scheduleReplot();
}

std::pair<double, double> PlotStack::xRange() const {
    return {d->from, d->to};
}

std::pair<double, double> PlotStack::yRange(int strip) const {
    const Frame& frame = d->strips.at(static_cast<std::size_t>(strip)).frame;
    return {frame.yLow, frame.yHigh};
}

int PlotStack::plotWidthPx() const {
    return d->axes.empty() ? 0 : std::max(0, d->axes.front().rect->width());
}

QRect PlotStack::plotRect(int strip) const {
    return d->axes.at(static_cast<std::size_t>(strip)).rect->rect();
}

QWidget* PlotStack::canvas() const {
    return d->canvas;
}

void PlotStack::setCursor(double x) {
    if (x == d->cursor || (std::isnan(x) && std::isnan(d->cursor)))
        return;
    d->cursor = x;
    d->replotCursor();
}

double PlotStack::cursor() const {
    return d->cursor;
}

void PlotStack::moveCursorBySamples(int samples) {
    for (const Strip& strip : d->strips)
        for (const Curve& curve : strip.curves) {
            if (!curve.focused || curve.superseded || curve.validation || curve.x.empty())
                continue;
            const auto at = static_cast<qint64>(std::isnan(d->cursor) ? curve.x.size() - 1 : nearestSample(curve.x, d->cursor));
            const auto last = static_cast<qint64>(curve.x.size()) - 1;
            d->moveCursor(curve.x[static_cast<std::size_t>(std::clamp<qint64>(at + samples, 0, last))]);
            return;
        }
}

std::vector<CurveValue> PlotStack::valuesAt(int strip, double x) const {
    std::vector<CurveValue> values;
    for (const Curve& curve : d->strips.at(static_cast<std::size_t>(strip)).curves)
        if (!curve.superseded && !curve.x.empty())
            values.push_back(readCurve(curve, x));
    return values;
}

std::optional<Measurement> PlotStack::measurement() const {
    return d->measured;
}

void PlotStack::setSpanWords(std::function<Span(double, double)> words) {
    d->spanWords = std::move(words);
}

void PlotStack::setYRange(int strip, double from, double to) {
    d->remember(d->view());
    Strip& target = d->strips.at(static_cast<std::size_t>(strip));
    target.autoY = !(from < to) || !std::isfinite(from) || !std::isfinite(to);
    if (!target.autoY)
        std::tie(target.frame.yLow, target.frame.yHigh) = std::pair(from, to);
    d->scheduleReplot();
}

bool PlotStack::hasAutomaticY(int strip) const {
    return d->strips.at(static_cast<std::size_t>(strip)).autoY;
}

QString PlotStack::title(int strip) const {
    return d->strips.at(static_cast<std::size_t>(strip)).spec.title;
}

void PlotStack::zoomX(double factor) {
    d->remember(d->view(), true);
    d->zoomXAt(factor, std::isnan(d->cursor) ? (d->from + d->to) / 2 : d->cursor);
}

void PlotStack::zoomTo(double from, double to) {
    d->remember(d->view());
    d->userRange(from, to);
}

void PlotStack::back() {
    if (const auto view = d->history.back(d->view()))
        d->show(*view);
}

void PlotStack::forward() {
    if (const auto view = d->history.forward(d->view()))
        d->show(*view);
}

bool PlotStack::canGoBack() const {
    return d->history.canGoBack();
}
bool PlotStack::canGoForward() const {
    return d->history.canGoForward();
}

bool PlotStack::savePng(const QString& path) {
    return d->canvas->savePng(path, d->canvas->width(), d->canvas->height(), 2.0);
}

bool PlotStack::saveSvg(const QString& path) {
    QSvgGenerator generator;
    generator.setFileName(path);
    generator.setSize(d->canvas->size());
    generator.setViewBox(QRect(QPoint(), d->canvas->size()));
    generator.setTitle(QStringLiteral("Telehelm"));
    QCPPainter painter;
    if (!painter.begin(&generator))
        return false;
    d->canvas->toPainter(&painter, d->canvas->width(), d->canvas->height());
    return painter.end();
}

bool PlotStack::savePdf(const QString& path) {
    return d->canvas->savePdf(path, d->canvas->width(), d->canvas->height());
}

void PlotStack::replotNow() {
    d->canvas->replot(QCustomPlot::rpImmediateRefresh);
}

void PlotStack::keyPressEvent(QKeyEvent* event) {
    const int stride = event->modifiers().testFlag(Qt::ShiftModifier) ? 10 : 1;
    switch (event->key()) {
    case Qt::Key_Left:
        return moveCursorBySamples(-stride);
    case Qt::Key_Right:
        return moveCursorBySamples(stride);
    case Qt::Key_Plus:
    case Qt::Key_Equal:
        return zoomX(0.8);
    case Qt::Key_Minus:
        return zoomX(1.25);
    case Qt::Key_Escape:
        if (d->measured)
            return d->endMeasure();
        [[fallthrough]];
    default:
        QWidget::keyPressEvent(event);
    }
}

void PlotStack::showEvent(QShowEvent* event) {
    QWidget::showEvent(event);
    d->canvas->replot(QCustomPlot::rpQueuedReplot);
}

} // namespace telehelm::app::plots
