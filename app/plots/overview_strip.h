// SPDX-License-Identifier: GPL-3.0-or-later
// The whole run in 82 px: curve, pennants, and the window that the plots above show, to drag and to resize. GUI thread only.
#pragma once

#include <vector>

#include <QWidget>

#include "plots/strip.h"

namespace telehelm::app::plots {

class OverviewStrip : public QWidget {
    Q_OBJECT
public:
    OverviewStrip(ThemeController& theme, QWidget* parent = nullptr);

    void setCurves(std::vector<Curve> curves);
    void setFlags(std::vector<Flag> flags);
    void setXKind(XKind kind);
    void setExtent(double from, double to); // of the whole run
    void setWindow(double from, double to); // does not emit
    [[nodiscard]] std::pair<double, double> window() const { return {m_from, m_to}; }
    [[nodiscard]] int plotWidthPx() const { return width(); }

    [[nodiscard]] QSize sizeHint() const override { return {800, 82}; }
    [[nodiscard]] QSize minimumSizeHint() const override { return {200, 82}; }

signals:
    void windowChanged(double from, double to); // by the user

protected:
    void paintEvent(QPaintEvent* event) override;
    void mousePressEvent(QMouseEvent* event) override;
    void mouseMoveEvent(QMouseEvent* event) override;
    void mouseReleaseEvent(QMouseEvent* event) override;
    void keyPressEvent(QKeyEvent* event) override;

private:
    enum class Drag { None, Move, Left, Right, New };
    void restyle();
    void layoutFrame();
    void paintAxes(QPainter& painter) const;
    void paintPennants(QPainter& painter) const;
    void paintWindow(QPainter& painter) const;
    void moveWindow(double from, double to); // by the user
    [[nodiscard]] QRectF windowRect() const;
    [[nodiscard]] Drag partAt(const QPointF& position) const;
    void describe();

    ThemeController& m_theme;
    Strip m_strip;
    Look m_look;
    std::vector<Flag> m_flags;
    double m_from = 0, m_to = 1;
    Drag m_drag = Drag::None;
    double m_dragX = 0, m_dragFrom = 0, m_dragTo = 0;
};

} // namespace telehelm::app::plots
