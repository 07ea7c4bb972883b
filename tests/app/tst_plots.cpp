// SPDX-License-Identifier: GPL-3.0-or-later
// Plots: nothing that was measured may disappear between the values and the pixels.
#include <cmath>
#include <random>

#include <QApplication>
#include <QMenu>
#include <QSignalSpy>
#include <QTemporaryDir>
#include <QTest>
#include <QWheelEvent>

#include "plots/columns.h"
#include "plots/event_lane.h"
#include "plots/paint_measurement.h"
#include "plots/plot_stack.h"
#include "plots/strip.h"
#include "plots/value_text.h"
#include "plots/zoom_history.h"

using namespace telehelm::app;
using namespace telehelm::app::plots;

namespace {

Curve lossCurve(std::size_t count, double level = 2.0) {
    Curve curve;
    curve.id = "main/train/loss";
    curve.label = "train";
    std::mt19937 random(7);
    std::uniform_real_distribution<double> noise(-0.05, 0.05);
    for (std::size_t i = 0; i < count; ++i) {
        const double value = level + noise(random);
        curve.x.push_back(static_cast<double>(i + 1));
        curve.y.push_back(level);
        curve.raw.push_back(value);
        curve.lo.push_back(value);
        curve.hi.push_back(value);
    }
    return curve;
}

void spike(Curve& curve, std::size_t at, double value) {
    curve.raw[at] = curve.lo[at] = curve.hi[at] = value;
}

std::vector<StripSpec> liveStrips() {
    return {{"Loss", "nats/token", ValueFormat::Loss, false, 41, true},
            {"Gradient norm", "", ValueFormat::GradNorm, true, 23.5, true},
            {"Throughput", "tokens/s · right axis MFU", ValueFormat::Count, false, 20, false},
            {"Learning rate", "", ValueFormat::LearningRate, false, 15.5, false}};
}

QImage picture(PlotStack& stack) {
    stack.replotNow();
    return stack.canvas()->grab().toImage();
}

/// Pixels in a column range of the strip's upper part that are neither plot colour nor grid.
int inkAbove(const QImage& image, const QRect& plot, const Theme& theme, int px, int reach, int top, int bottom) {
    int ink = 0;
    for (int x = std::max(plot.left() + 1, px - reach); x <= std::min(plot.right() - 1, px + reach); ++x)
        for (int y = top; y < bottom; ++y) {
            const QColor colour = image.pixelColor(x, y);
            if (colour != theme.plot && colour != theme.grid && colour != theme.line)
                ++ink;
        }
    return ink;
}

void save(const QImage& image, const char* name) {
    const QString folder = qEnvironmentVariable("TELEHELM_SCREENSHOTS");
    if (!folder.isEmpty())
        QVERIFY(image.save(folder + QLatin1Char('/') + QLatin1String(name)));
}

} // namespace

class TestPlots : public QObject {
    Q_OBJECT

private slots:
    void columnsKeepMinAndMax();
    void spikeOfOneSampleIsPainted_data();
    void spikeOfOneSampleIsPainted();
    void nanIsMarkedAtTheTop();
    void nanDoesNotBlankItsPixel();
    void valueAtCursorIsTheSampleItself();
    void cursorFollowsTheMouseAndKeys();
    void mouseMovesDoNotReplotTheData();
    void flagsMergeWhenCloserThan18Px();
    void clickOnAFlagNamesIt();
    void zoomHistoryGoesBackAndForward();
    void wheelZoomsAtTheCursor();
    void thinRectangleZoomsXOnly();
    void altDragMeasures();
    void menuOffersWhatTheDesignSays();
    void aHiddenStackDrawsNothing();
    void doubleClickAsksForAReset();
    void dataReplotsAtMostTenTimesASecond();
    void automaticRangeShowsOurCurveFirst();
    void ticksAndReadoutsAreWrittenAsDesigned();
    void exportsAreWritten();
    void looksLikeTheDesign();

private:
    static std::unique_ptr<PlotStack> shown(std::vector<StripSpec> specs, bool lane, QSize size = {860, 560}) {
        static ThemeController theme;
        auto stack = std::make_unique<PlotStack>(theme, std::move(specs), lane);
        stack->resize(size);
        stack->show();
        return QTest::qWaitForWindowExposed(stack.get()) ? std::move(stack) : nullptr;
    }
};

void TestPlots::columnsKeepMinAndMax() {
    Curve curve = lossCurve(1'000'000);
    spike(curve, 654'321, 9.0);
    curve.lo[654'400] = 0.1;
    const Frame frame{QRectF(0, 0, 800, 300), 1, 1e6, 0, 10, false};
    const std::vector<Column> columns = toColumns(curve, frame);
    QVERIFY(columns.size() <= 4 * 800);
    double low = 1e9, high = -1e9;
    for (const Column& column : columns) {
        low = std::min(low, column.lo);
        high = std::max(high, column.hi);
    }
    QCOMPARE(high, 9.0);
    QCOMPARE(low, 0.1);
}

void TestPlots::spikeOfOneSampleIsPainted_data() {
    QTest::addColumn<int>("at");
    for (int at : {1, 333'333, 500'000, 777'777, 999'998})
        QTest::newRow(qPrintable(QString::number(at))) << at;
}

void TestPlots::spikeOfOneSampleIsPainted() {
    QFETCH(int, at);
    ThemeController theme;
    PlotStack stack(theme, {{"Loss", "nats/token", ValueFormat::Loss, false, 1, false}}, false);
    stack.resize(860, 300);
    stack.setXRange(1, 1e6);
    Curve curve = lossCurve(1'000'000);
    spike(curve, static_cast<std::size_t>(at), 4.0);
    stack.setCurves(0, {curve});
    const QImage image = picture(stack);
    save(image, "appa-spike.png");
    const QRect plot = stack.plotRect(0);
    const int px = plot.left() + static_cast<int>((at + 1) / 1e6 * plot.width());
    // All the way from just above the noise band up to just under the peak there is ink in the spike's columns …
    const auto [yLow, yHigh] = stack.yRange(0);
    const auto yPx = [&, low = yLow, high = yHigh](double y) {
        return plot.bottom() - static_cast<int>((y - low) / (high - low) * plot.height());
    };
    for (int y = yPx(3.85); y < yPx(2.25); ++y)
        QVERIFY2(inkAbove(image, plot, theme.theme(), px, 2, y, y + 1) > 0, qPrintable(QString("row %1").arg(y)));
    // … and none beside it.
    const int beside = px > plot.center().x() ? px - 40 : px + 40;
    QCOMPARE(inkAbove(image, plot, theme.theme(), beside, 2, yPx(3.5), yPx(3.4)), 0);
}

void TestPlots::nanIsMarkedAtTheTop() {
    ThemeController theme;
    PlotStack stack(theme, {{"Loss", "", ValueFormat::Loss, false, 1, false}}, false);
    stack.resize(860, 300);
    stack.setXRange(1, 100'000);
    Curve curve = lossCurve(100'000);
    curve.raw[40'000] = curve.lo[40'000] = curve.hi[40'000] = NAN;
    curve.nonFiniteX = {40'001};
    stack.setCurves(0, {curve});
    const QImage image = picture(stack);
    save(image, "appa-nan.png");
    const QRect plot = stack.plotRect(0);
    const int px = plot.left() + static_cast<int>(0.4 * plot.width());
    bool critical = false;
    for (int x = px - 3; x <= px + 3; ++x)
        for (int y = plot.top() + 1; y < plot.top() + 8; ++y)
            critical =
                critical || image.pixelColor(x, y) == theme.theme().critSolid || image.pixelColor(x, y) == theme.theme().crit;
    QVERIFY(critical);
}

void TestPlots::nanDoesNotBlankItsPixel() {
    Curve curve = lossCurve(10'000);
    for (std::size_t i = 0; i < curve.x.size(); i += 10) // the first sample of every column is NaN
        curve.y[i] = curve.lo[i] = curve.hi[i] = NAN;
    const Frame frame{QRectF(0, 0, 1000, 300), 0.5, 10'000.5, 0, 10, false};
    for (const Column& column : toColumns(curve, frame)) {
        QVERIFY(std::isfinite(column.y));
        QVERIFY(std::isfinite(column.lo) && column.lo <= column.hi);
    }
}

void TestPlots::valueAtCursorIsTheSampleItself() {
    const auto stack = shown(liveStrips(), true);
    Curve curve = lossCurve(2000);
    spike(curve, 1209, 2.271);
    stack->setCurves(0, {curve});
    stack->setXRange(1, 2000);
    QCOMPARE(stack->valuesAt(0, 1210.3).front().value, 2.271);
    QCOMPARE(stack->valuesAt(0, 1210.3).front().x, 1210.0);
    QCOMPARE(stack->valuesAt(0, 1210.3).front().smoothed, 2.0);
    QCOMPARE(stack->valuesAt(0, -5).front().x, 1.0);
    QCOMPARE(stack->valuesAt(0, NAN).front().x, 2000.0);
    QVERIFY(stack->valuesAt(0, NAN).front().latest);
}

void TestPlots::cursorFollowsTheMouseAndKeys() {
    const auto stack = shown(liveStrips(), true);
    stack->setCurves(0, {lossCurve(2000)});
    stack->setXRange(0, 2000);
    stack->replotNow();
    QSignalSpy moved(stack.get(), &PlotStack::cursorMoved);
    const QRect plot = stack->plotRect(1);
    QTest::mouseMove(stack->canvas(), plot.center());
    QTRY_COMPARE(moved.count(), 1);
    QVERIFY(std::abs(moved.back().front().toDouble() - 1000) < 4);
    QTest::keyClick(stack.get(), Qt::Key_Right);
    QTest::keyClick(stack.get(), Qt::Key_Right, Qt::ShiftModifier);
    QCOMPARE(moved.count(), 3);
    const double first = moved[1].front().toDouble();
    QCOMPARE(first, std::round(first));
    QCOMPARE(moved.back().front().toDouble(), first + 10);
}

void TestPlots::mouseMovesDoNotReplotTheData() {
    const auto stack = shown(liveStrips(), true);
    stack->setCurves(0, {lossCurve(2000)});
    stack->setXRange(0, 2000);
    stack->replotNow();
    QTest::qWait(200);
    QSignalSpy spy(stack->canvas(), SIGNAL(afterReplot()));
    const QRect plot = stack->plotRect(0);
    for (int i = 0; i < 50; ++i)
        QTest::mouseMove(stack->canvas(), plot.topLeft() + QPoint(20 + i * 5, 20));
    QTest::qWait(50);
    QCOMPARE(spy.count(), 0);
}

void TestPlots::flagsMergeWhenCloserThan18Px() {
    const Frame lane{QRectF(0, 0, 1000, 22), 0, 1000, 0, 1, false}; // one pixel a step
    const auto flag = [](qint64 id, double x, bool filled = false) { return Flag{id, x, 'S', Qt::green, filled, "spike"}; };
    std::vector<Flag> flags{flag(1, 100), flag(2, 117.9), flag(3, 118.1), flag(4, 120, true), flag(5, 500), flag(6, 2000)};
    flags.push_back({7, 119, QChar(), Qt::gray, false, "checkpoint"}); // squares are never merged
    const std::vector<LaneMark> marks = mergeFlags(flags, lane);
    QCOMPARE(marks.size(), std::size_t(3));
    QCOMPARE(marks[0].flags, (std::vector<int>{0, 1}));
    QCOMPARE(marks[1].flags, (std::vector<int>{2, 3}));
    QCOMPARE(marks[1].chief, 3); // the critical one stands for all
    QCOMPARE(marks[2].flags, (std::vector<int>{4}));
}

void TestPlots::clickOnAFlagNamesIt() {
    const auto stack = shown(liveStrips(), true);
    stack->setXRange(0, 1000);
    stack->setFlags({{42, 500, 'M', Qt::cyan, false, "Mixture changed"}});
    stack->replotNow();
    QSignalSpy clicked(stack.get(), &PlotStack::flagClicked);
    const QRect plot = stack->plotRect(0);
    QTest::mouseClick(stack->canvas(), Qt::LeftButton, {}, {plot.left() + plot.width() / 2 + 8, 8});
    QCOMPARE(clicked.count(), 1);
    QCOMPARE(clicked.front().front().toLongLong(), 42);
    QTest::mouseClick(stack->canvas(), Qt::LeftButton, {}, {plot.left() + 40, 8});
    QCOMPARE(clicked.count(), 1);
}

void TestPlots::zoomHistoryGoesBackAndForward() {
    ZoomHistory history;
    QVERIFY(!history.canGoBack());
    history.leave({0, 100, {}});
    history.leave({10, 50, {}});
    const View now{20, 30, {}};
    const auto first = history.back(now);
    QCOMPARE(first->from, 10.0);
    QVERIFY(history.canGoForward());
    QCOMPARE(history.forward(*first)->from, 20.0);
    QVERIFY(history.back(now));
    history.leave({1, 2, {}}); // a new step drops what lay ahead
    QVERIFY(!history.canGoForward());

    const auto stack = shown(liveStrips(), true);
    stack->setXRange(0, 1000);
    stack->zoomTo(100, 200);
    stack->zoomTo(150, 160);
    stack->back();
    QCOMPARE(stack->xRange(), (std::pair{100.0, 200.0}));
    stack->back();
    QCOMPARE(stack->xRange(), (std::pair{0.0, 1000.0}));
    QVERIFY(!stack->canGoBack());
    stack->forward();
    QCOMPARE(stack->xRange(), (std::pair{100.0, 200.0}));
}

void TestPlots::wheelZoomsAtTheCursor() {
    const auto stack = shown(liveStrips(), true);
    stack->setXRange(0, 1000);
    stack->replotNow();
    QSignalSpy changed(stack.get(), &PlotStack::xRangeChanged);
    const QRect plot = stack->plotRect(0);
    const QPointF at(plot.left() + plot.width() * 0.25, plot.center().y());
    QWheelEvent in(at, stack->canvas()->mapToGlobal(at), {}, {0, 120}, Qt::NoButton, Qt::NoModifier, Qt::NoScrollPhase, false);
    QApplication::sendEvent(stack->canvas(), &in);
    QCOMPARE(changed.count(), 1);
    const auto [from, to] = stack->xRange();
    QVERIFY(std::abs((to - from) - 850) < 1e-6);
    QVERIFY(std::abs(from + 0.25 * (to - from) - 250) < 2); // the step under the mouse stays where it is
    QWheelEvent pan(at, stack->canvas()->mapToGlobal(at), {}, {0, -120}, Qt::NoButton, Qt::ShiftModifier, Qt::NoScrollPhase,
                    false);
    QApplication::sendEvent(stack->canvas(), &pan);
    QVERIFY(stack->xRange().first > from);
    stack->back(); // both belong to one gesture
    QCOMPARE(stack->xRange(), (std::pair{0.0, 1000.0}));
}

void TestPlots::thinRectangleZoomsXOnly() {
    const auto stack = shown(liveStrips(), true);
    stack->setXRange(0, 1000);
    stack->setCurves(0, {lossCurve(1000)});
    stack->replotNow();
    const QRect plot = stack->plotRect(0);
    const QPoint start(plot.left() + plot.width() / 4, plot.center().y()),
        end(plot.left() + plot.width() / 2, plot.center().y() + 6);
    QTest::mousePress(stack->canvas(), Qt::LeftButton, Qt::ShiftModifier, start);
    QTest::mouseMove(stack->canvas(), end);
    QTest::mouseRelease(stack->canvas(), Qt::LeftButton, Qt::ShiftModifier, end);
    QVERIFY(std::abs(stack->xRange().first - 250) < 3 && std::abs(stack->xRange().second - 500) < 3);
    QVERIFY(stack->canGoBack());
}

void TestPlots::altDragMeasures() {
    const auto stack = shown(liveStrips(), true);
    stack->setXRange(0, 1000);
    Curve falling = lossCurve(1000);
    for (std::size_t i = 0; i < falling.x.size(); ++i)
        falling.y[i] = 4 - 0.002 * falling.x[i];
    stack->setCurves(0, {falling});
    stack->replotNow();
    const QRect plot = stack->plotRect(0);
    const QPoint start(plot.left() + plot.width() / 2, plot.top() + 5), end(plot.left() + plot.width() / 4, plot.bottom() - 5);
    const QImage before = picture(*stack);
    QTest::mousePress(stack->canvas(), Qt::LeftButton, Qt::AltModifier, start);
    QMouseEvent drag(QEvent::MouseMove, end, stack->canvas()->mapToGlobal(end), Qt::NoButton, Qt::LeftButton, Qt::AltModifier);
    QApplication::sendEvent(stack->canvas(), &drag);
    QTest::mouseRelease(stack->canvas(), Qt::LeftButton, Qt::AltModifier, end);
    QCOMPARE(stack->xRange(), (std::pair{0.0, 1000.0})); // measuring moves nothing
    const auto measured = stack->measurement();
    QVERIFY(measured.has_value()); // stays to be read
    QVERIFY(std::abs(measured->fromX - 250) < 3 && std::abs(measured->toX - 500) < 3); // from left to right
    QVERIFY(std::abs(measured->fromY - 3.5) < 0.01 && std::abs(measured->toY - 3.0) < 0.01); // on the curve
    QVERIFY(picture(*stack) != before);
    Strip strip;
    strip.spec.format = ValueFormat::Loss;
    QCOMPARE(measurementText(strip, {0, 250, 500, 3.5, 3.0}, {"250 steps", 250}),
             (QStringList{"250 steps", QString::fromUtf8("difference −0.500 (−14.3 %)"), QString::fromUtf8("slope −0.200 per 100 steps")}));
    QTest::keyClick(stack.get(), Qt::Key_Escape);
    QVERIFY(!stack->measurement());
}

void TestPlots::menuOffersWhatTheDesignSays() {
    const auto stack = shown(liveStrips(), true);
    stack->setXRange(0, 1000);
    stack->setCurves(0, {lossCurve(1000)});
    stack->replotNow();
    QSignalSpy exports(stack.get(), &PlotStack::exportRequested), ranges(stack.get(), &PlotStack::rangeRequested),
        notes(stack.get(), &PlotStack::noteRequested);
    const QRect plot = stack->plotRect(0);
    QTest::mouseClick(stack->canvas(), Qt::RightButton, {}, {plot.left() + plot.width() / 2, plot.center().y()});
    auto* menu = stack->findChild<QMenu*>("plotMenu");
    QVERIFY(menu != nullptr);
    QStringList words;
    for (auto* action : menu->actions()) {
        if (action->isSeparator() || action->text() == "Copy image" || action->text() == "Reset")
            continue;
        words << action->text();
        QVERIFY2(action->isEnabled(), qPrintable(action->text()));
        action->trigger();
    }
    QCOMPARE(words, (QStringList{"Copy value", "Save as PNG…", "Save as SVG…", "Save as CSV…", "Log axis", "Set range…", "Add a note…"}));
    QCOMPARE(exports.count(), 3);
    QCOMPARE(exports[2][0].toString(), QStringLiteral("csv"));
    QCOMPARE(ranges.count(), 1);
    QCOMPARE(notes.count(), 1);
    QVERIFY(std::abs(notes[0][0].toDouble() - 500) < 3);
    QVERIFY(stack->logY(0));
    menu->close();
    stack->setLogY(0, false);
    stack->setYRange(0, 1, 3);
    stack->replotNow();
    QCOMPARE(stack->yRange(0), (std::pair{1.0, 3.0}));
    QVERIFY(!stack->hasAutomaticY(0));
    stack->setYRange(0, 0, 0);
    QVERIFY(stack->hasAutomaticY(0));
}

void TestPlots::aHiddenStackDrawsNothing() {
    static ThemeController theme;
    PlotStack stack(theme, liveStrips(), true);
    QTest::failOnWarning(QRegularExpression("QPainter")); // a painter on nothing
    stack.resize(0, 0);
    stack.setCurves(0, {lossCurve(10)});
    stack.setCursor(5);
    stack.setXRange(0, 10);
    stack.canvas()->resize(0, 40);
    theme.setChoice(ThemeChoice::Light);
    theme.setChoice(ThemeChoice::Dark);
    QTest::qWait(150);
}

void TestPlots::doubleClickAsksForAReset() {
    const auto stack = shown(liveStrips(), true);
    stack->setXRange(0, 1000);
    stack->replotNow();
    QSignalSpy reset(stack.get(), &PlotStack::resetRequested);
    QTest::mouseDClick(stack->canvas(), Qt::LeftButton, {}, stack->plotRect(0).center());
    QCOMPARE(reset.count(), 1);
    QTest::mouseDClick(stack->canvas(), Qt::LeftButton, {}, {10, stack->plotRect(0).center().y()}); // y axis alone
    QCOMPARE(reset.count(), 1);
}

void TestPlots::dataReplotsAtMostTenTimesASecond() {
    const auto stack = shown(liveStrips(), true);
    stack->replotNow();
    QTest::qWait(250);
    QSignalSpy replots(stack->canvas(), SIGNAL(afterReplot()));
    QElapsedTimer timer;
    timer.start();
    while (timer.elapsed() < 1000) {
        stack->setCurves(0, {lossCurve(50)});
        QTest::qWait(5);
    }
    QVERIFY(replots.count() >= 1);
    QVERIFY2(replots.count() <= timer.elapsed() / 100 + 2, qPrintable(QString::number(replots.count())));
}

void TestPlots::automaticRangeShowsOurCurveFirst() {
    Strip strip;
    strip.spec.format = ValueFormat::Bpb;
    Curve curve = lossCurve(100, 3.0);
    strip.curves = {curve};
    strip.references = {{"Llama2", 0.592, 0}, {"Near", 2.95, 1}};
    auto [low, high] = automaticY(strip, 1, 100, true);
    QVERIFY(low > 2.5 && high < 3.5); // far references do not flatten us
    QVERIFY(low < 2.95);
    strip.curves.front().hi[50] = INFINITY;
    std::tie(low, high) = automaticY(strip, 1, 100, true);
    QVERIFY(std::isfinite(low) && std::isfinite(high));
}

void TestPlots::ticksAndReadoutsAreWrittenAsDesigned() {
    QCOMPARE(xTickText(XKind::Step, 30'000, 2'000), "30k");
    QCOMPARE(xTickText(XKind::Step, 2'500, 500), "2.5k");
    QCOMPARE(xTickText(XKind::Step, 400, 200), "400");
    QCOMPARE(xTickText(XKind::Tokens, 165e9, 5e9), "165 B");
    QCOMPARE(xTickText(XKind::Tokens, 1.2e12, 1e11), "1.2 T");
    QCOMPARE(xText(XKind::Step, 41'210), "step 41,210");
    QCOMPARE(xTickText(XKind::WallTime, 1'700'000'000e6, 600e6), "22:13");
    QCOMPARE(valueText(ValueFormat::Loss, 1.9), "1.900");
    QCOMPARE(valueText(ValueFormat::LearningRate, 1.471e-4), "1.471e-4");
    QCOMPARE(valueText(ValueFormat::Count, 366'000), "366.0k");
    QCOMPARE(valueText(ValueFormat::Percent, 0.449), "44.9 %");
    QCOMPARE(yTickText(ValueFormat::Loss, 2, 1), "2.0");
    QCOMPARE(yTickText(ValueFormat::Count, 370'000, 20'000), "370k");
    QCOMPARE(groupedText(-1234567), QString::fromUtf8("−1,234,567"));
}

void TestPlots::exportsAreWritten() {
    const auto stack = shown(liveStrips(), true);
    stack->setCurves(0, {lossCurve(1000)});
    QTemporaryDir folder;
    QVERIFY(stack->savePng(folder.filePath("a.png")));
    QCOMPARE(QImage(folder.filePath("a.png")).width(), stack->canvas()->width() * 2);
    QVERIFY(stack->saveSvg(folder.filePath("a.svg")));
    QFile svg(folder.filePath("a.svg"));
    QVERIFY(svg.open(QIODevice::ReadOnly));
    QVERIFY(svg.readAll().contains("<path"));
    QVERIFY(stack->savePdf(folder.filePath("a.pdf")));
    QVERIFY(QFileInfo(folder.filePath("a.pdf")).size() > 1000);
}

void TestPlots::looksLikeTheDesign() {
    ThemeController theme;
    PlotStack stack(theme, liveStrips(), true);
    stack.resize(858, 556);
    stack.setXRange(29'500, 44'500);
    Curve loss, pilot, valid, norm, speed, rate;
    std::mt19937 random(3);
    std::normal_distribution<double> noise(0, 0.045);
    const auto add = [](Curve& curve, double x, double y, double raw) {
        curve.x.push_back(x);
        curve.y.push_back(y);
        curve.raw.push_back(raw);
        curve.lo.push_back(raw);
        curve.hi.push_back(raw);
    };
    double ema = 1.9;
    for (int step = 29'500; step <= 44'310; ++step) {
        const double base = 1.9 - 0.06 * (step - 29'500) / 15'000.0;
        const double raw = base + noise(random) + (step == 41'210 ? 0.42 : 0);
        ema = 0.99 * ema + 0.01 * raw;
        add(loss, step, ema, raw);
        add(norm, step, step < 30'500 ? 0.19 : 0.235, (step < 30'500 ? 0.19 : 0.235) * (1 + noise(random) * 3));
        add(speed, step, 366'000, step % 500 ? 366'000 : 330'000);
        add(rate, step, 1.487e-4 - (step - 29'500) * 1.2e-10, 1.487e-4);
        if (step < 36'180)
            add(pilot, step, base + 0.04, base + 0.04 + noise(random));
        if (step % 500 == 0) {
            valid.x.push_back(step);
            valid.y.push_back(base);
        }
    }
    for (Curve* curve : {&loss, &norm, &speed, &rate})
        curve->label = "main", curve->id = "main/x";
    loss.label = "train";
    pilot.label = "pilot train", pilot.id = "pilot/x", pilot.slot = 1, pilot.focused = false;
    valid.label = "validation", valid.validation = true, valid.id = "main/valid";
    rate.lo.clear(), rate.hi.clear(), rate.raw.clear();
    loss.nonFiniteX = {33'000};
    stack.setCurves(0, {loss, valid, pilot});
    stack.setCurves(1, {norm});
    stack.setCurves(2, {speed});
    stack.setCurves(3, {rate});
    stack.setRightScale(2, 0.449 / 366'000, ValueFormat::Percent);
    stack.setBands(0, {{43'110, 44'310, theme.theme().crit}});
    const Theme& t = theme.theme();
    std::vector<Flag> flags{{1, 30'500, 'M', t.info, false, "Mixture"},
                            {2, 33'300, 'R', t.tx2, false, "Restart"},
                            {3, 36'800, 'S', t.ok, false, "Spike"},
                            {4, 43'110, 'L', t.crit, true, "Loss rising"},
                            {5, 43'150, 'G', t.warn, false, "Norm"}};
    for (int step = 29'500; step < 44'310; step += 500)
        flags.push_back({1000 + step, double(step), QChar(), t.tx2, false, "Checkpoint"});
    stack.setFlags(flags);
    stack.setGaps({{38'000, 38'300, "12 s gap, 22,104 samples repaired from history", true}});
    stack.show();
    picture(stack);
    stack.setCursor(41'210);
    const QImage image = picture(stack);
    save(image, "appa-stack-dark.png");
    QCOMPARE(image.pixelColor(stack.plotRect(0).left() - 3, 100), t.window);
    QVERIFY(stack.accessibleName().startsWith("Loss plot, step 29,500 to step 44,500, train"));
    for (int i = 1; i < 4; ++i) {
        QCOMPARE(stack.plotRect(i).left(), stack.plotRect(0).left());
        QCOMPARE(stack.plotRect(i).right(), stack.plotRect(0).right());
    }
    QCOMPARE(stack.plotRect(0).left(), 54);
    QBENCHMARK {
        stack.replotNow();
    } // 74,000 samples on four strips; the budget is 8 ms, nothing depends on it here
}

QTEST_MAIN(TestPlots)
#include "tst_plots.moc"
