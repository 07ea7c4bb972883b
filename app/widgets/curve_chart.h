// SPDX-License-Identifier: GPL-3.0-or-later
// One curve with its min/max envelope, a marked step, a hatched stretch, means and clickable marks at the foot: the small plots of
// the Restart dialog and the mixture page. GUI thread only.
#pragma once

#include <optional>
#include <vector>

#include <QWidget>

#include "widgets/chart_axis.h"

namespace telehelm::app {

class CurveChart : public QWidget {
    Q_OBJECT
public:
    /// x ascends; all of one length. Values that are not finite are marked at the top.
    struct Points {
        std::vector<double> x, y, lo, hi;
    };
    struct Mark {
        double x = 0;
        QString label;
        bool boxed = false; // label on an accent box
    };
    struct Stretch {
        double from = 0, to = 0;
        QString label;
    };
    struct Mean {
        double from = 0, to = 0, value = 0;
        QString label;
        bool atRight = false;
    };

    explicit CurveChart(ThemeController& theme, QWidget* parent = nullptr);
    void setPoints(Points points);
    void setMark(std::optional<Mark> mark);
    void setDiscarded(std::optional<Stretch> stretch); // hatched
    void setMeans(std::vector<Mean> means);
    void setTicks(std::vector<double> steps, int chosen); // triangles at the foot
    void setEmptyText(const QString& text);
    [[nodiscard]] const Points& points() const { return m_points; }
    [[nodiscard]] QSize sizeHint() const override { return {460, 190}; }
    [[nodiscard]] QSize minimumSizeHint() const override { return {200, 90}; }

signals:
    void tickClicked(int index);

protected:
    void paintEvent(QPaintEvent* event) override;
    void mousePressEvent(QMouseEvent* event) override;

private:
    [[nodiscard]] ChartFrame frame() const;
    void paintDiscarded(QPainter& painter, const ChartFrame& frame) const;
    void paintCurve(QPainter& painter, const ChartFrame& frame) const;
    void paintMark(QPainter& painter, const ChartFrame& frame) const;
    void paintMeans(QPainter& painter, const ChartFrame& frame) const;
    void paintTicks(QPainter& painter, const ChartFrame& frame) const;

    ThemeController& m_theme;
    Points m_points;
    std::optional<Mark> m_mark;
    std::optional<Stretch> m_discarded;
    std::vector<Mean> m_means;
    std::vector<double> m_ticks;
    int m_chosenTick = -1;
    QString m_emptyText;
};

} // namespace telehelm::app
