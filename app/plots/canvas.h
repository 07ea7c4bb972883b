// SPDX-License-Identifier: GPL-3.0-or-later
// QCustomPlot as a canvas: its own mouse handling is left out, and painters come as functions on named layers.
#pragma once

#include <functional>

#include <qcustomplot.h>

namespace telehelm::app::plots {

class Canvas : public QCustomPlot {
public:
    explicit Canvas(QWidget* parent) : QCustomPlot(parent) { setMouseTracking(true); }

    std::function<void(QMouseEvent&)> onPress, onMove, onRelease, onDoubleClick;
    std::function<void(QWheelEvent&)> onWheel;
    std::function<void()> onLeave;
    std::function<QString(const QPoint&)> onToolTip;

protected:
    void mousePressEvent(QMouseEvent* event) override { onPress(*event); }
    void mouseMoveEvent(QMouseEvent* event) override { onMove(*event); }
    void mouseReleaseEvent(QMouseEvent* event) override { onRelease(*event); }
    void mouseDoubleClickEvent(QMouseEvent* event) override { onDoubleClick(*event); }
    void wheelEvent(QWheelEvent* event) override { onWheel(*event); }
    void leaveEvent(QEvent*) override { onLeave(); }
    void resizeEvent(QResizeEvent* event) override {
        if (!event->size().isEmpty()) // a painter has nothing to begin on
            QCustomPlot::resizeEvent(event);
    }
    bool event(QEvent* event) override {
        if (event->type() != QEvent::ToolTip)
            return QCustomPlot::event(event);
        auto* help = static_cast<QHelpEvent*>(event);
        QToolTip::showText(help->globalPos(), onToolTip(help->pos()), this);
        return true;
    }
    [[nodiscard]] QSize minimumSizeHint() const override { return {80, 60}; }
};

/// Draws by a function; lives as long as the canvas.
class PaintedLayer : public QCPLayerable {
public:
    using Paint = std::function<void(QPainter&)>;
    using Clip = std::function<QRectF()>;
    PaintedLayer(Canvas* canvas, const QString& layer, Clip clip, Paint paint)
        : QCPLayerable(canvas, layer), m_clip(std::move(clip)), m_paint(std::move(paint)) {}

protected:
    // QCPLayer moves the rectangle up by one pixel before it clips.
    [[nodiscard]] QRect clipRect() const override { return m_clip().toAlignedRect().adjusted(0, 1, 1, 2); }
    void applyDefaultAntialiasingHint(QCPPainter*) const override {}
    void draw(QCPPainter* painter) override { m_paint(*painter); }

private:
    Clip m_clip;
    Paint m_paint;
};

} // namespace telehelm::app::plots
