// SPDX-License-Identifier: GPL-3.0-or-later
// Painting of a strip's data: envelope, lines, marks of what is not finite or out of range, value tags.
#pragma once

#include <QPainter>

#include "plots/strip.h"

namespace telehelm::app::plots {

void paintEnvelopes(QPainter& painter, const Strip& strip, const Look& look);
void paintLines(QPainter& painter, const Strip& strip, const Look& look, const std::vector<Gap>& gaps);
/// Critical marks at the top for NaN and Inf; triangles at the border for values beyond it.
void paintMarks(QPainter& painter, const Strip& strip, const Look& look);
/// Newest value as a flag-shaped tag on the right axis.
void paintValueTags(QPainter& painter, const Strip& strip, const Look& look);

} // namespace telehelm::app::plots
