// SPDX-License-Identifier: GPL-3.0-or-later
// Strip plots under one x axis (design.md, section 6): envelope, smoothed line, references, bands, event flags, linked crosshair.
// The only door to QCustomPlot: callers hand over plain values and never see its types. GUI thread only.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <QString>
#include <QWidget>

#include "plots/plot_types.h"
#include "theme/theme.h"

namespace telehelm::app::plots {

class PlotStack : public QWidget {
    Q_OBJECT
public:
    PlotStack(ThemeController& theme, std::vector<StripSpec> strips, bool eventLane, QWidget* parent = nullptr);
    PlotStack(ThemeController& theme, std::vector<StripSpec> strips, bool eventLane, const StackOptions& options,
              QWidget* parent = nullptr);
    ~PlotStack() override;

    void setCurves(int strip, std::vector<Curve> curves); // replots within 100 ms
    void setReferences(int strip, std::vector<ReferenceLine> references);
    void setBands(int strip, std::vector<Band> bands);
    void setGaps(std::vector<Gap> gaps);
    void setFlags(std::vector<Flag> flags);
    void setTitleNotes(int strip, std::vector<TitleNote> notes);
    void setTitleText(int strip, const QString& title, const QString& unit = {});
    /// A second scale at the right: right value = left value × factor. 0: none.
    void setRightScale(int strip, double factor, ValueFormat format);
    /// Said in the middle of a strip that has no points.
    void setEmptyText(int strip, const QString& headline, const QString& sentence);
    void setXKind(XKind kind);
    void setXRange(double from, double to);
    void setLogY(int strip, bool on);
    [[nodiscard]] bool logY(int strip) const;
    void setEnvelopeVisible(bool on);
    void setReferencesVisible(bool on);
    void setFlagsVisible(bool on);
    void setStale(bool on); // value tags with dashed outline
    /// Curves of other runs drop to 35 %; empty: all alike. A curve belongs to the run that its id starts with.
    void setHighlightedRun(const QString& run);
    void resetY();
    [[nodiscard]] std::pair<double, double> xRange() const;
    [[nodiscard]] std::pair<double, double> yRange(int strip) const;
    [[nodiscard]] int plotWidthPx() const;         // of the axis rectangle: how many buckets to ask for
    [[nodiscard]] QRect plotRect(int strip) const; // of the axis rectangle, in the canvas
    [[nodiscard]] QWidget* canvas() const;         // for tests that click and grab

    // Crosshair: linked plots pass it on to each other; setCursor() does not emit cursorMoved().
    void setCursor(double x);
    [[nodiscard]] double cursor() const;
    void moveCursorBySamples(int samples);                                     // emits cursorMoved()
    [[nodiscard]] std::vector<CurveValue> valuesAt(int strip, double x) const; // NaN: newest

    // Alt+drag measures; Esc or the next click ends it.
    [[nodiscard]] std::optional<Measurement> measurement() const;
    void setSpanWords(std::function<Span(double from, double to)> words); // default: along the x axis alone

    /// As if the user had entered it: a fixed y range of a strip; from ≥ to: automatic again.
    void setYRange(int strip, double from, double to);
    [[nodiscard]] bool hasAutomaticY(int strip) const;
    [[nodiscard]] QString title(int strip) const;

    // Zoom history; each user zoom goes on it.
    void zoomX(double factor);
    void zoomTo(double from, double to); // as if the user had done it
    void back();
    void forward();
    [[nodiscard]] bool canGoBack() const;
    [[nodiscard]] bool canGoForward() const;

    [[nodiscard]] bool savePng(const QString& path);
    [[nodiscard]] bool saveSvg(const QString& path);
    [[nodiscard]] bool savePdf(const QString& path);
    void replotNow(); // tests and screenshots

signals:
    void xRangeChanged(double from, double to); // by the user: zoom, pan, rectangle
    void cursorMoved(double x);                 // NaN when it leaves
    void flagClicked(qint64 id);
    void resetRequested();
    void exportRequested(const QString& format); // "png", "svg", "csv"
    void rangeRequested(int strip);              // "Set range…"
    void noteRequested(double x);                // "Add a note…"
    void historyChanged();
    void replotted(); // all of it has been drawn anew; the frame follows with the next paint
    void plotWidthChanged();

protected:
    void keyPressEvent(QKeyEvent* event) override;
    void showEvent(QShowEvent* event) override;

private:
    struct Private;
    std::unique_ptr<Private> d;
};

} // namespace telehelm::app::plots
