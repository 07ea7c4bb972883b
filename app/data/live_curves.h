// SPDX-License-Identifier: GPL-3.0-or-later
// The curves of a few runs in one window of the x axis: asks history, appends the news at once, asks again when the window, the
// smoothing or the axis changes, when the live tail grows long and when news were missed. GUI thread only; no widgets.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <QObject>
#include <QTimer>

#include "data/series_track.h"
#include "session/session.h"
#include "telehelm/ipc/news_ledger.h"

namespace telehelm::app {

/// Where news were missed, between the last point before and the first one after.
struct NewsGap {
    quint64 id = 0;
    ipc::Point before, after;
    std::optional<quint64> missed; // points that the numbers say are missing
    quint64 repaired = 0;
    bool asked = false;
    bool askedByTime = false; // where the steps around the hole had too few
    bool closed = false; // history has been asked and had what was missing
};

class LiveCurves : public QObject {
    Q_OBJECT
public:
    /// `names`: exact series names and globs that end in "/*".
    LiveCurves(Session& session, std::vector<std::string> names, QObject* parent = nullptr);

    void setRuns(const QStringList& runs);
    void setAxis(ipc::Axis axis);
    /// On the axis; to = infinity: up to the newest point.
    void setWindow(double from, double to);
    void setMaxBuckets(int buckets); // of the window, per series
    void setSmoothing(double weight);
    /// Only one of the views of a page counts repaired samples (and finds gaps), else they would count twice.
    void setCountsRepairs(bool on) { m_countsRepairs = on; }

    [[nodiscard]] ipc::Axis axis() const { return m_axis; }
    [[nodiscard]] double smoothing() const { return m_smoothing; }
    /// The effective curve first, then what restarts discarded.
    [[nodiscard]] std::vector<CurveData> curves(const QString& run, const std::string& name) const;
    /// The same samples along another axis.
    [[nodiscard]] std::vector<CurveData> curvesOn(const QString& run, const std::string& name, ipc::Axis axis) const;
    [[nodiscard]] std::vector<std::string> names(const QString& run) const; // that have points
    [[nodiscard]] const ipc::Point* latest(const QString& run, const std::string& name) const;
    [[nodiscard]] double newestX(const QString& run) const; // NaN: no point yet
    [[nodiscard]] const std::vector<NewsGap>& gaps(const QString& run) const;
    [[nodiscard]] bool loading(const QString& run) const; // the first answer is still out

signals:
    void changed(); // at most 20/s
    void newSteps(int count);
    void gapsChanged();

private:
    struct Window {
        double from = 0, to = 0;
        bool openEnd = true;
    };
    struct RunState {
        std::map<std::string, SeriesTrack> tracks;
        std::optional<Window> answered;    // what the tracks' history covers
        double span = 0;                   // of the view it was asked for
        JobId job = 0;                     // in flight
        bool again = false;                // ask once more after the answer
        bool gapOpen = false;              // noteRepaired() is owed
        bool gapAsked = false;             // and the query in flight will settle it
        SeriesTrack::TailPoint newest;     // of any series; attempt 0: none yet
        SeriesTrack::TailPoint newestLive; // that the news brought
        std::size_t attempts = 0;
        std::map<std::int64_t, quint32> received; // live points per step, to count what a gap lost
        std::vector<NewsGap> gaps;
    };
    struct Pending {
        std::string run;
        Window window;
        double span = 0;
        double smoothing = 0;
        ipc::Axis axis = ipc::Axis::Step;
        std::optional<quint64> gap; // a repair count, not curves
    };

    void connectSession();
    void takeNews(const std::vector<ipc::News>& news);
    void takeFrame(RunState& state, const ipc::News& news, const ipc::NewsLedger::Verdict& verdict);
    void noteReceived(RunState& state, const ipc::TelemetryBatch& batch);
    void takeAnswer(JobId job, const std::vector<ipc::SeriesSegment>& segments);
    void takeHistory(RunState& state, const Pending& pending, const std::vector<ipc::SeriesSegment>& segments);
    void takeRepair(const std::string& run, quint64 gap, const std::vector<ipc::SeriesSegment>& segments);
    void takeFailure(JobId job);
    void ask(const std::string& run);
    void askAll();
    void openGap(RunState& state, const ipc::News& news, std::optional<quint64> missed);
    void askRepairs(bool all);
    void askRepair(const std::string& run, const NewsGap& gap);
    void askWhereNeeded();
    void settleGap(RunState& state, quint64 repaired, quint64 lost = 0);
    [[nodiscard]] bool enough(const RunState& state) const;
    [[nodiscard]] Window wanted(const RunState& state) const;
    [[nodiscard]] bool matches(const std::string& name) const;
    [[nodiscard]] double along(const ipc::Point& point) const;
    [[nodiscard]] double newestAlong(const RunState& state) const; // 0: no point yet
    void touch();

    Session& m_session;
    std::vector<std::string> m_names;
    ipc::Axis m_axis = ipc::Axis::Step;
    double m_from = 0, m_to;
    int m_maxBuckets = 1600;
    double m_smoothing = 0;
    bool m_countsRepairs = false;
    std::map<std::string, RunState> m_runs;
    std::map<JobId, Pending> m_pending;
    quint64 m_lastGap = 0;
    ipc::NewsLedger m_ledger;
    QTimer m_windowTimer, m_changedTimer, m_retryTimer, m_repairTimer;
};

} // namespace telehelm::app
