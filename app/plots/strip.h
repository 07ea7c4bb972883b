// SPDX-License-Identifier: GPL-3.0-or-later
// One strip's data and the look that all painters of a stack share.
#pragma once

#include <vector>

#include <QFont>
#include <QString>

#include "plots/frame.h"
#include "plots/plot_types.h"
#include "theme/theme.h"

namespace telehelm::app::plots {

struct Strip {
    StripSpec spec;
    Frame frame;  // as of the last layout
    QRectF outer; // with title and margins
    std::vector<Curve> curves;
    std::vector<ReferenceLine> references;
    std::vector<Band> bands;
    std::vector<TitleNote> notes;
    QString emptyHeadline, emptySentence;
    double rightFactor = 0;
    ValueFormat rightFormat = ValueFormat::Percent;
    bool autoY = true;
    double tickUnit = 1; // learning rate: the power of ten that ticks are divided by

    [[nodiscard]] bool empty() const;
};

struct Look {
    Theme theme;
    QFont title, caption, captionNumber, number;
    bool envelope = true, references = true, flags = true, stale = false, smallMultiples = false;
    QString highlightedRun;
    XKind kind = XKind::Step;
};

/// Opacity of a curve under the highlight: 1, or 0.35 for other runs.
[[nodiscard]] double emphasis(const Look& look, const Curve& curve);

/// Reads a curve at x (NaN: its newest sample).
[[nodiscard]] CurveValue readCurve(const Curve& curve, double x);

/// The automatic y range of a strip: every visible value with 6 % of room, near references included.
[[nodiscard]] std::pair<double, double> automaticY(const Strip& strip, double from, double to, bool withReferences);

} // namespace telehelm::app::plots
