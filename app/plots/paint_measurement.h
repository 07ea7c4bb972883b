// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QPainter>

#include "plots/strip.h"

namespace telehelm::app::plots {

/// What Alt+drag says, a line each: what lies between, the difference and its share, the slope per 100 steps.
[[nodiscard]] QStringList measurementText(const Strip& strip, const Measurement& measured, const Span& span);
/// The two points, the straight line between them, and the words in a box beside it.
void paintMeasurement(QPainter& painter, const Strip& strip, const Look& look, const Measurement& measured, const Span& span);

} // namespace telehelm::app::plots
