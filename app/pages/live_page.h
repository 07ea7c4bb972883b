// SPDX-License-Identifier: GPL-3.0-or-later
// The live page (design.md, sections 3, 6, 8): toolbar, strips, bits per byte, overview. GUI thread only.
#pragma once

#include <optional>
#include <vector>

#include <QHash>
#include <QSet>
#include <QTimer>
#include <QWidget>

#include "data/live_curves.h"
#include "plots/plot_types.h"
#include "session/session.h"
#include "theme/theme.h"

class QLabel;
class QSplitter;
class QStackedLayout;
class QTabBar;

namespace telehelm::app::plots {
class OverviewStrip;
class PlotStack;
} // namespace telehelm::app::plots

namespace telehelm::app {

class BpbPanel;
class PlotToolbar;

/// A run that the plots draw, in its colour.
struct ShownRun {
    QString run;
    int slot = 0;
    bool operator==(const ShownRun&) const = default;
};

class LivePage : public QWidget {
    Q_OBJECT
public:
    LivePage(ThemeController& theme, Session& session, QWidget* parent = nullptr);

    /// Which runs are drawn; the focused one always is. Without this: the focused run alone, in the first colour.
    void setShownRuns(std::vector<ShownRun> runs);
    void setSeriesHidden(const QString& series, bool hidden); // "train/loss"
    void setHighlightedRun(const QString& run);               // empty: none
    void setStale(bool on);                                   // the live stream is down
    void zoomToSteps(qint64 from, qint64 to);                 // with 50 % on both sides
    [[nodiscard]] qint64 stepAt(double x) const;              // of the x axis as it is
    [[nodiscard]] qint64 cursorStep() const;                  // −1: no crosshair
    void goToStep(qint64 step);                               // into view, crosshair on it
    void setFollowing(bool on);
    [[nodiscard]] QString run() const { return m_run; }
    [[nodiscard]] const LiveCurves& curves() const { return m_curves; }
    [[nodiscard]] bool isFollowing() const { return m_following; }

    [[nodiscard]] plots::PlotStack* stack() const { return m_stack; }
    [[nodiscard]] BpbPanel* bpb() const { return m_bpb; }
    [[nodiscard]] PlotToolbar* toolbar() const { return m_toolbar; }
    [[nodiscard]] plots::OverviewStrip* overview() const { return m_overview; }
    [[nodiscard]] QSplitter* splitter() const { return m_splitter; } // its state belongs to the window's layout

signals:
    void flagClicked(qint64 eventId);
    /// Series of the focused run → value at the crosshair; empty when the crosshair is away.
    void cursorValues(const QHash<QString, double>& values);
    void followingChanged(bool on);
    void exportFailed(const QString& sentence);
    void noteAsked(qint64 step);

protected:
    void resizeEvent(QResizeEvent* event) override;

private:
    void build();
    void buildPlots();
    void connectToolbar();
    void connectPlots();
    void connectSession();
    void addKeys();

    void runChosen(); // another run is focused
    void runMoved();  // its facts changed
    void showCurves();
    void showOverview();
    void showFlags();
    void showGaps();
    void showNotes();
    void showEmptyTexts();
    [[nodiscard]] std::vector<plots::Curve> curvesOf(const QString& series, bool smoothed, bool envelope) const;
    void setXKind(plots::XKind kind);
    void setRange(double from, double to);  // everywhere
    void userRange(double from, double to); // the user chose it: Follow may end
    void followNewest();
    void resetAll();
    void arrange();
    void updateBuckets();
    void moveCursor(double x);
    void connectMenus();
    void openRange(plots::PlotStack& stack, int strip);
    [[nodiscard]] plots::Span spanOf(double from, double to) const;
    void exportAs(const QString& format, plots::PlotStack& stack);
    bool writeExport(const QString& format, const QString& path, plots::PlotStack& stack);
    [[nodiscard]] QString csvOfView() const;
    [[nodiscard]] std::pair<double, double> wholeRun() const;
    [[nodiscard]] double convert(double x, plots::XKind from, plots::XKind to) const;
    [[nodiscard]] const ipc::RunInfo* focused() const;

    ThemeController& m_theme;
    Session& m_session;
    LiveCurves m_curves, m_whole; // of the window, of the overview
    std::vector<ShownRun> m_shown;
    QSet<QString> m_hidden;
    QString m_run;
    plots::XKind m_kind = plots::XKind::Step;
    double m_from = 0, m_to = 100;
    bool m_following = true;
    std::optional<double> m_span; // followed window's width; none: the whole run
    int m_missedSteps = 0;
    QTimer m_flagTimer; // a burst of events is one redraw

    QStackedLayout* m_pages = nullptr;
    QLabel* m_noRun = nullptr;
    PlotToolbar* m_toolbar = nullptr;
    QWidget* m_plots = nullptr;
    QTabBar* m_tabs = nullptr;
    QSplitter* m_splitter = nullptr;
    plots::PlotStack* m_stack = nullptr;
    BpbPanel* m_bpb = nullptr;
    plots::OverviewStrip* m_overview = nullptr;
};

} // namespace telehelm::app
