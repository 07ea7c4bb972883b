// SPDX-License-Identifier: GPL-3.0-or-later
// The lane above the strips: flags with letters, checkpoints as squares, the crosshair's step label.
#pragma once

#include <QPainter>

#include "plots/strip.h"

namespace telehelm::app::plots {

inline constexpr double kMergePx = 18; // flags closer than this become "+3"
inline constexpr double kFlagWidth = 16, kFlagHeight = 13;

struct LaneMark {
    double px = 0;          // pole of the first of them
    std::vector<int> flags; // indices into the flags, in order of x
    int chief = 0;          // the one whose colour and id stand for all: a critical one if there is one
};

/// Flags with a letter in the frame, from left to right, merged where they would cover each other.
[[nodiscard]] std::vector<LaneMark> mergeFlags(const std::vector<Flag>& flags, const Frame& lane);

/// The mark under a canvas position; nullptr when there is none.
[[nodiscard]] const LaneMark* markAt(const std::vector<LaneMark>& marks, const Frame& lane, const QPointF& position);

void paintLane(QPainter& painter, const Frame& lane, const Look& look, const std::vector<Flag>& flags,
               const std::vector<LaneMark>& marks);
void paintStepLabel(QPainter& painter, const Frame& lane, const Look& look, double cursor);

} // namespace telehelm::app::plots
