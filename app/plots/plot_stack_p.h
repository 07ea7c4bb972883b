// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QElapsedTimer>
#include <QSharedPointer>
#include <QTimer>

#include "plots/canvas.h"
#include "plots/event_lane.h"
#include "plots/plot_stack.h"
#include "plots/si_ticker.h"
#include "plots/strip.h"
#include "plots/zoom_history.h"

namespace telehelm::app::plots {

struct PlotStack::Private {
    enum class Drag { None, Press, Pan, Rectangle, Measure };
    struct Axes {
        QCPAxisRect* rect = nullptr;
        QSharedPointer<SiTicker> x, y, right;
    };

    Private(PlotStack& stack, ThemeController& theme) : q(stack), controller(theme) {}

    // plot_layout.cpp: building, look, ranges before and after the layout
    void build(std::vector<StripSpec> specs, bool lane, const StackOptions& stackOptions);
    void addLayers();
    void addLane();
    void addStrip(int index);
    void addPainters();
    void addStripPainters(int index);
    void restyle();
    void styleAxes(Axes& axes, const Strip& strip, bool lastRow);
    void beforeReplot();
    void updateStripRange(std::size_t index);
    void updateTickCounts(std::size_t index);
    void afterLayout();
    void scheduleReplot();
    void replotCursor();
    void describe();

    // plot_input.cpp: mouse, wheel, history
    void connectInput();
    void press(QMouseEvent& event);
    void move(QMouseEvent& event);
    void release(QMouseEvent& event);
    void doubleClick(QMouseEvent& event);
    void wheel(QWheelEvent& event);
    void contextMenu(const QPoint& position);
    [[nodiscard]] QString valuesText(int strip) const;
    [[nodiscard]] bool canDraw() const { return q.isVisible() && !canvas->viewport().isEmpty(); }
    void pan(const QPointF& to);
    void zoomToRectangle();
    void measureTo(const QPointF& position);
    void endMeasure();
    void zoomXAt(double factor, double centre);
    void zoomYAt(int strip, double factor, double px);
    [[nodiscard]] int stripAt(const QPointF& position) const; // −1: none
    [[nodiscard]] QString toolTipAt(const QPoint& position) const;
    void moveCursor(double x);

    // views
    [[nodiscard]] View view() const;
    void show(const View& view); // tells the outside
    void userRange(double from, double to);
    void remember(const View& before, bool oneGesture = false);

    PlotStack& q;
    ThemeController& controller;
    StackOptions options;
    Canvas* canvas = nullptr;
    QCPMarginGroup *leftGroup = nullptr, *rightGroup = nullptr;
    QCPAxisRect* laneRect = nullptr;
    std::vector<Axes> axes;
    std::vector<Strip> strips;
    std::vector<Flag> flags;
    std::vector<Gap> gaps;
    Frame lane;
    std::vector<LaneMark> marks;
    Look look;
    double from = 0, to = 1;
    double cursor = kNoCursor;
    bool hasLane = false;
    int knownWidth = 0;

    ZoomHistory history;
    QElapsedTimer lastGesture;
    Drag drag = Drag::None;
    QPointF dragStart, dragNow;
    int dragStrip = -1;
    View dragView;
    std::optional<Measurement> measured;
    std::function<Span(double, double)> spanWords;

    QTimer replotTimer;
    QElapsedTimer sinceReplot;
};

} // namespace telehelm::app::plots
