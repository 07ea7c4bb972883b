// SPDX-License-Identifier: GPL-3.0-or-later
// Painting of what surrounds the data: bands, gaps, reference lines, flag poles, titles, empty texts.
#pragma once

#include <QPainter>

#include "plots/strip.h"

namespace telehelm::app::plots {

void paintBands(QPainter& painter, const Strip& strip);
void paintGaps(QPainter& painter, const Strip& strip, const Look& look, const std::vector<Gap>& gaps, bool withLabels);
void paintReferences(QPainter& painter, const Strip& strip, const Look& look);
void paintPoles(QPainter& painter, const Strip& strip, const std::vector<Flag>& flags);
void paintEmptyText(QPainter& painter, const Strip& strip, const Look& look);
/// Name (bold), unit (quiet), then per curve swatch, label and value at `cursor` (NaN: newest).
void paintTitle(QPainter& painter, const Strip& strip, const Look& look, double cursor, bool compact);

} // namespace telehelm::app::plots
