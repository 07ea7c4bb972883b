// SPDX-License-Identifier: GPL-3.0-or-later
// Ticks, grid and frame of the small painted charts; the strip plots have their own in app/plots. GUI thread only.
#pragma once

#include <vector>

#include <QRectF>
#include <QString>

#include "theme/theme.h"

class QPainter;

namespace telehelm::app {

struct AxisRange {
    double from = 0, to = 1;
    [[nodiscard]] double share(double value) const { return (value - from) / (to - from); }
};

/// Round values inside the range, about `wanted` of them.
[[nodiscard]] std::vector<double> niceTicks(const AxisRange& range, int wanted);
/// "29k", "500 B", "0.25"
[[nodiscard]] QString tickText(double value, double spacing);

/// A chart's plot rectangle with its scales.
struct ChartFrame {
    QRectF rect;
    AxisRange x, y;
    [[nodiscard]] double px(double value) const { return rect.left() + x.share(value) * rect.width(); }
    [[nodiscard]] double py(double value) const { return rect.bottom() - y.share(value) * rect.height(); }

    void paintBackground(QPainter& painter, const ThemeController& theme, const std::vector<double>& xTicks, const std::vector<double>& yTicks) const;
    void paintLabels(QPainter& painter, const ThemeController& theme, const std::vector<double>& xTicks, const std::vector<double>& yTicks, bool xTokens) const;
};

/// One sentence in the middle of an empty chart.
void paintEmptyText(QPainter& painter, const ThemeController& theme, const QRectF& rect, const QString& text);

} // namespace telehelm::app
