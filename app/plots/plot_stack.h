// SPDX-License-Identifier: GPL-3.0-or-later
// Strip plots under one x axis (design.md, section 6): envelope, smoothed line, references, bands, event flags, linked crosshair.
// The only door to QCustomPlot: callers hand over plain values and never see its types. GUI thread only.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include <QString>
#include <QWidget>

#include "theme/theme.h"

namespace telehelm::app::plots {

enum class XKind { Step, Tokens, WallTime };
enum class ValueFormat { Loss, GradNorm, LearningRate, Count, Percent, Bpb };

/// One curve of one strip. x ascends; every vector has x's length (lo/hi may be empty: no envelope). NaN or Inf in y, lo or hi is
/// drawn as a critical mark at the top, never swallowed.
struct Curve {
    QString id;    // "run/series", stable
    QString label; // short, for the title
    int slot = 0;  // run colour
    bool focused = true;
    bool validation = false; // dotted with hollow circles
    bool superseded = false; // dotted at 60 %
    std::vector<double> x, y, lo, hi;
    std::vector<double> nonFiniteX;
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
    QChar letter;        // 'M', 'R', '×', 'S', …; null: a checkpoint's 3 px square
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

class PlotStack : public QWidget {
    Q_OBJECT
public:
    PlotStack(ThemeController& theme, std::vector<StripSpec> strips, bool eventLane, QWidget* parent = nullptr);
    ~PlotStack() override;

    void setCurves(int strip, std::vector<Curve> curves); // replots within 100 ms
    void setReferences(int strip, std::vector<ReferenceLine> references);
    void setBands(int strip, std::vector<Band> bands);
    void setGaps(std::vector<Gap> gaps);
    void setFlags(std::vector<Flag> flags);
    void setXKind(XKind kind);
    void setXRange(double from, double to);
    void setLogY(int strip, bool on);
    void setEnvelopeVisible(bool on);
    void setReferencesVisible(bool on);
    void setFlagsVisible(bool on);
    void setStale(bool on); // value tags with dashed outline
    void resetY();
    [[nodiscard]] std::pair<double, double> xRange() const;
    [[nodiscard]] int plotWidthPx() const; // of the axis rectangle: how many buckets to ask for
    [[nodiscard]] QWidget* canvas() const; // for tests that click and grab

signals:
    void xRangeChanged(double from, double to); // by the user: zoom, pan, rectangle
    void cursorMoved(double x);                 // NaN when it leaves
    void flagClicked(qint64 id);
    void resetRequested();

private:
    struct Private;
    std::unique_ptr<Private> d;
};

} // namespace telehelm::app::plots
