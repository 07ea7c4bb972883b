// SPDX-License-Identifier: GPL-3.0-or-later
// The plain values that go into a plot: no QCustomPlot, no widgets.
#pragma once

#include <limits>
#include <vector>

#include <QColor>
#include <QString>

namespace telehelm::app::plots {

/// x of every curve, band, gap and flag is in this unit: steps, tokens, or microseconds since 1970 (UTC).
enum class XKind { Step, Tokens, WallTime };
enum class ValueFormat { Loss, GradNorm, LearningRate, Count, Percent, Bpb };

/// One curve of one strip. x ascends; every vector has x's length (lo/hi/raw may be empty: no envelope, raw = y). NaN or Inf in
/// y, lo or hi is drawn as a critical mark at the top, never swallowed.
struct Curve {
    QString id;    // "run/series", stable
    QString label; // short, for the title
    int slot = 0;  // run colour
    bool focused = true;
    bool validation = false; // dotted with hollow circles
    bool superseded = false; // dotted at 60 %
    std::vector<double> x, y, lo, hi;
    std::vector<double> nonFiniteX;
    std::vector<double> raw; // the unsmoothed value of each sample: what the cursor reads
};

struct ReferenceLine {
    QString label;
    double value = 0;
    int dash = 0; // 0 Llama2-70B, 1 Llama3-70B, 2 Qwen1.5-72B, 3 Tele-FLM 52B
};

struct Band {
    double from = 0, to = 0;
    QColor colour;
};

struct Gap {
    double from = 0, to = 0;
    QString label;
    bool repaired = false;
};

struct Flag {
    qint64 id = 0;
    double x = 0;
    QChar letter; // 'M', 'R', '×', 'S', …; null: a checkpoint's 3 px square
    QColor colour;
    bool filled = false; // critical
    QString text;        // tooltip and accessible name
};

struct StripSpec {
    QString title, unit;
    ValueFormat format = ValueFormat::Loss;
    bool logY = false;
    double heightShare = 1;
    bool valueTag = false; // newest value on the right axis
};

/// More words in a strip's title, e.g. {"clip at", "1.0", ""}.
struct TitleNote {
    QString label, value, quiet;
};

/// How the strips are arranged: one column under an event lane (default), or small multiples with an x axis each.
struct StackOptions {
    int columns = 1;
    int leftMargin = 54, rightMargin = 50; // px at 100 % text size; grow where a label needs more
    bool smallMultiples = false;           // short titles, x axis under each plot
};

/// What a curve says at one x.
struct CurveValue {
    QString id, label;
    double x = 0; // of the sample that was found
    double value = 0, smoothed = 0, min = 0, max = 0;
    bool latest = false; // no cursor: the newest sample
};

/// Two points of one strip, as Alt+drag marks them: on the focused curve where there is one, else where the pointer was.
struct Measurement {
    int strip = -1;
    double fromX = 0, toX = 0, fromY = 0, toY = 0; // fromX < toX
};

/// What lies between two x: in words ("120 steps, 245.8 k tokens, 4 min 2 s"), and how many steps, for the slope (0: not known).
struct Span {
    QString text;
    double steps = 0;
};

inline constexpr double kNoCursor = std::numeric_limits<double>::quiet_NaN();

} // namespace telehelm::app::plots
