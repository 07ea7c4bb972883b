// SPDX-License-Identifier: GPL-3.0-or-later
// Where a strip lies on the canvas and how values become pixels: all that the painters know of axes.
#pragma once

#include <algorithm>
#include <cmath>

#include <QRectF>

namespace telehelm::app::plots {

struct Frame {
    QRectF rect; // of the axis rectangle
    double from = 0, to = 1;
    double yLow = 0, yHigh = 1;
    bool logY = false;

    [[nodiscard]] double xPx(double x) const { return rect.left() + (x - from) / (to - from) * rect.width(); }
    [[nodiscard]] double xAt(double px) const { return from + (px - rect.left()) / rect.width() * (to - from); }
    [[nodiscard]] double yPx(double y) const { return rect.bottom() - fraction(y) * rect.height(); }
    [[nodiscard]] double yAt(double px) const {
        const double f = (rect.bottom() - px) / rect.height();
        return logY ? yLow * std::pow(yHigh / yLow, f) : yLow + f * (yHigh - yLow);
    }

private:
    [[nodiscard]] double fraction(double y) const {
        if (!logY)
            return (y - yLow) / (yHigh - yLow);
        return y > 0 ? std::clamp(std::log(y / yLow) / std::log(yHigh / yLow), -50.0, 50.0) : -50.0; // ≤ 0: below the border
    }
};

} // namespace telehelm::app::plots
