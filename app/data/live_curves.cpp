// SPDX-License-Identifier: GPL-3.0-or-later
#include "data/live_curves.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace telehelm::app {

namespace {

constexpr double kOpen = std::numeric_limits<double>::infinity();
constexpr int kWindowMs = 60; // a wheel turn is one question
constexpr int kChangedMs = 50;
constexpr int kRetryMs = 2000;
constexpr std::size_t kLongTail = 256;
constexpr std::size_t kLostTail = 8192; // live points kept while the window looks elsewhere
constexpr std::size_t kReceivedSteps = 20000;
constexpr std::size_t kGaps = 50;
constexpr double kMargin = 0.5; // asked beyond each border, in window widths: panning finds its curve there

ipc::Point firstPoint(const ipc::TelemetryBatch& batch) {
    ipc::Point first{std::numeric_limits<std::int64_t>::max(), 0, 0, 0};
    for (const ipc::SeriesBlock& block : batch.series)
        for (const ipc::Point& point : block.points)
            if (point.step < first.step)
                first = point;
    return first;
}

std::int64_t clampToInt(double value) {
    constexpr double kLimit = 9e18;
    return static_cast<std::int64_t>(std::clamp(value, -kLimit, kLimit));
}

} // namespace

LiveCurves::LiveCurves(Session& session, std::vector<std::string> names, QObject* parent)
    : QObject(parent), m_session(session), m_names(std::move(names)), m_to(kOpen) {
    for (auto [timer, ms] : {std::pair(&m_windowTimer, kWindowMs),
                             {&m_changedTimer, kChangedMs},
                             {&m_retryTimer, kRetryMs},
                             {&m_repairTimer, kRetryMs}}) {
        timer->setSingleShot(true);
        timer->setInterval(ms);
    }
    connect(&m_windowTimer, &QTimer::timeout, this, &LiveCurves::askWhereNeeded);
    connect(&m_changedTimer, &QTimer::timeout, this, &LiveCurves::changed);
    connect(&m_retryTimer, &QTimer::timeout, this, &LiveCurves::askWhereNeeded);
    connect(&m_repairTimer, &QTimer::timeout, this, [this] { askRepairs(true); });
    connectSession();
}

void LiveCurves::connectSession() {
    connect(&m_session, &Session::newsArrived, this, &LiveCurves::takeNews);
    connect(&m_session, &Session::seriesFetched, this, &LiveCurves::takeAnswer);
    connect(&m_session, &Session::jobFailed, this, [this](JobId job) { takeFailure(job); });
    connect(&m_session, &Session::gapFound, this, [this](const QString& run) {
        if (const auto it = m_runs.find(run.toStdString()); it != m_runs.end()) {
            it->second.gapOpen = true;
            ask(it->first);
        }
    });
    connect(&m_session, &Session::runChanged, this, [this](const QString& run) {
        const auto it = m_runs.find(run.toStdString());
        const ipc::RunInfo* info = m_session.run(run);
        if (it == m_runs.end() || !info || info->attempts.size() == it->second.attempts)
            return;
        const bool restarted = it->second.attempts > 0;
        it->second.attempts = info->attempts.size();
        if (restarted)
            ask(it->first); // what was effective may be superseded now
    });
    connect(&m_session, &Session::controlLinkChanged, this, [this] {
        if (m_session.controlLink().state == LinkState::Up)
            askWhereNeeded();
    });
}

void LiveCurves::setRuns(const QStringList& runs) {
    std::map<std::string, RunState> kept;
    for (const QString& run : runs) {
        auto node = m_runs.extract(run.toStdString());
        if (!node.empty())
            kept.insert(std::move(node));
        else if (const auto [it, added] = kept.try_emplace(run.toStdString()); added)
            if (const ipc::RunInfo* info = m_session.run(run))
                it->second.attempts = info->attempts.size();
    }
    m_runs = std::move(kept);
    std::erase_if(m_pending, [this](const auto& pending) { return !m_runs.contains(pending.second.run); });
    askWhereNeeded();
    touch();
}

void LiveCurves::setAxis(ipc::Axis axis) {
    if (std::exchange(m_axis, axis) != axis)
        askAll();
}

void LiveCurves::setSmoothing(double weight) {
    if (std::exchange(m_smoothing, weight) != weight)
        askAll();
}

void LiveCurves::setMaxBuckets(int buckets) {
    buckets = std::max(64, buckets);
    if (std::exchange(m_maxBuckets, buckets) < buckets)
        m_windowTimer.start();
}

void LiveCurves::setWindow(double from, double to) {
    m_from = from;
    m_to = to;
    if (!m_windowTimer.isActive())
        m_windowTimer.start();
}

bool LiveCurves::matches(const std::string& name) const {
    return std::any_of(m_names.begin(), m_names.end(), [&](const std::string& pattern) {
        return pattern.ends_with("/*") ? name.starts_with(pattern.substr(0, pattern.size() - 1)) : name == pattern;
    });
}

double LiveCurves::along(const ipc::Point& point) const {
    return static_cast<double>(m_axis == ipc::Axis::Step     ? point.step
                               : m_axis == ipc::Axis::Tokens ? point.tokens
                                                             : point.wallUs);
}

double LiveCurves::newestAlong(const RunState& state) const {
    return state.newest.attempt > 0 ? along(state.newest.point) : 0;
}

// ---------------------------------------------------------------- questions

LiveCurves::Window LiveCurves::wanted(const RunState& state) const {
    const double newest = newestAlong(state);
    const double end = std::isinf(m_to) ? std::max(newest, m_from + 1) : m_to;
    const double room = (end - m_from) * kMargin;
    Window window{m_from - room, end + room, false};
    window.openEnd = std::isinf(m_to) || newest <= window.to;
    if (window.openEnd)
        window.to = kOpen;
    return window;
}

/// Whether what was answered still serves the window: it lies inside, and is as fine as the pixels want it.
bool LiveCurves::enough(const RunState& state) const {
    if (!state.answered)
        return false;
    const double newest = newestAlong(state);
    const double end = std::isinf(m_to) ? newest : m_to;
    if (m_from < state.answered->from || (!state.answered->openEnd && end > state.answered->to))
        return false;
    const bool sampled =
        std::any_of(state.tracks.begin(), state.tracks.end(), [](const auto& track) { return track.second.sampled(); });
    return !sampled || (end - m_from) * 2 >= state.span;
}

void LiveCurves::askWhereNeeded() {
    for (auto& [run, state] : m_runs)
        if (!enough(state) || state.again || state.gapOpen)
            ask(run);
}

void LiveCurves::askAll() {
    for (auto& [run, state] : m_runs)
        ask(run);
}

void LiveCurves::ask(const std::string& run) {
    RunState& state = m_runs.at(run);
    if (state.job != 0) {
        state.again = true;
        return;
    }
    state.again = false;
    state.gapAsked = state.gapOpen;
    const Window window = wanted(state);
    ipc::SeriesQuery query;
    query.key.run = run;
    query.names = m_names;
    query.axis = m_axis;
    query.from = clampToInt(std::floor(window.from));
    query.to = window.openEnd ? std::numeric_limits<std::int64_t>::max() : clampToInt(std::ceil(window.to));
    query.maxBuckets = static_cast<std::uint32_t>(m_maxBuckets * (1 + 2 * kMargin));
    query.smoothing = m_smoothing;
    query.includeSuperseded = true;
    state.job = m_session.fetchSeries(query);
    const double newest = newestAlong(state);
    m_pending[state.job] = {run, window, (std::isinf(m_to) ? newest : m_to) - m_from, m_smoothing, m_axis, std::nullopt};
}

/// A hole is counted when the step after it is over too: then nothing of it is still on its way. `all`: nothing more has come.
void LiveCurves::askRepairs(bool all) {
    for (auto& [run, state] : m_runs)
        for (NewsGap& gap : state.gaps)
            if (!gap.asked && (all || state.newestLive.point.step > gap.after.step)) {
                gap.asked = true;
                askRepair(run, gap);
            }
}

/// All points of the steps around a hole, raw: what is there and did not come live was missed.
void LiveCurves::askRepair(const std::string& run, const NewsGap& hole) {
    ipc::SeriesQuery query;
    query.key.run = run;
    query.names = {"*"};
    // Late points have steps from before the hole; their time lies in it all the same.
    query.axis = hole.askedByTime ? ipc::Axis::WallTime : ipc::Axis::Step;
    query.from = hole.askedByTime ? hole.before.wallUs : hole.before.step;
    query.to = hole.askedByTime ? hole.after.wallUs : hole.after.step;
    query.maxBuckets = 0;
    query.includeSuperseded = true;
    m_pending[m_session.fetchSeries(query)] = {run, {}, 0, 0, ipc::Axis::Step, hole.id};
}

// ---------------------------------------------------------------- answers

void LiveCurves::takeAnswer(JobId job, const std::vector<ipc::SeriesSegment>& segments) {
    const auto node = m_pending.extract(job);
    if (node.empty())
        return; // another one's, or of a run that is no longer shown
    const Pending& pending = node.mapped();
    RunState& state = m_runs.at(pending.run);
    if (pending.gap)
        return takeRepair(pending.run, *pending.gap, segments);
    state.job = 0;
    if (pending.axis == m_axis && pending.smoothing == m_smoothing)
        takeHistory(state, pending, segments);
    else
        state.again = true;
    if (state.again || !enough(state))
        ask(pending.run);
}

void LiveCurves::takeHistory(RunState& state, const Pending& pending, const std::vector<ipc::SeriesSegment>& segments) {
    std::map<std::string, std::vector<ipc::SeriesSegment>> byName;
    for (const ipc::SeriesSegment& segment : segments)
        byName[segment.name].push_back(segment);
    for (auto& [name, track] : state.tracks)
        byName.try_emplace(name);
    for (auto& [name, parts] : byName) {
        SeriesTrack& track = state.tracks[name];
        track.setHistory(std::move(parts), pending.window.openEnd);
        if (const auto* latest = track.latest(); latest && state.newest.before(*latest))
            state.newest = *latest;
    }
    const bool first = !state.answered;
    state.answered = pending.window;
    // The first question knows no newest point; its answer tells how wide the view was.
    state.span = first && pending.span <= 1 && state.newest.attempt > 0 ? newestAlong(state) - m_from : pending.span;
    const bool counting = std::any_of(state.gaps.begin(), state.gaps.end(), [](const NewsGap& gap) { return !gap.closed; });
    if (state.gapAsked && !state.again && !counting)
        settleGap(state, 0);
    else if (state.gapAsked && !state.again)
        state.gapOpen = state.gapAsked = false; // takeRepair() settles it
    touch();
}

void LiveCurves::takeRepair(const std::string& run, quint64 id, const std::vector<ipc::SeriesSegment>& segments) {
    RunState& state = m_runs.at(run);
    const auto found = std::find_if(state.gaps.begin(), state.gaps.end(), [id](const NewsGap& gap) { return gap.id == id; });
    if (found == state.gaps.end())
        return;
    NewsGap& gap = *found;
    std::map<std::int64_t, quint32> stored;
    for (const ipc::SeriesSegment& segment : segments)
        for (const ipc::Bucket& bucket : segment.buckets)
            stored[bucket.lastStep] += static_cast<quint32>(bucket.count);
    quint64 there = 0;
    for (const auto& [step, count] : stored) {
        quint32& received = state.received[step];
        there += gap.askedByTime ? count : count > received ? count - received : 0;
        received = std::max(received, count); // a hole beside this one does not count it again
    }
    gap.repaired = gap.missed ? std::min(*gap.missed, std::max(gap.repaired, there)) : there;
    if (gap.missed && gap.repaired < *gap.missed && !gap.askedByTime) {
        gap.askedByTime = true;
        return askRepair(run, gap);
    }
    gap.closed = true;
    settleGap(state, gap.repaired, gap.missed.value_or(gap.repaired) - gap.repaired);
    emit gapsChanged();
}

void LiveCurves::settleGap(RunState& state, quint64 repaired, quint64 lost) {
    state.gapOpen = state.gapAsked = false;
    if (m_countsRepairs)
        m_session.noteRepaired(repaired, lost);
}

void LiveCurves::takeFailure(JobId job) {
    const auto node = m_pending.extract(job);
    if (node.empty())
        return;
    RunState& state = m_runs.at(node.mapped().run);
    if (node.mapped().gap) {
        for (NewsGap& gap : state.gaps)
            gap.asked = gap.asked && gap.id != *node.mapped().gap;
        return m_repairTimer.start();
    }
    state.job = 0;
    state.again = true;
    m_retryTimer.start();
}

// ---------------------------------------------------------------- news

void LiveCurves::takeNews(const std::vector<ipc::News>& news) {
    int steps = 0;
    bool any = false;
    for (const ipc::News& item : news) {
        const auto verdict = m_ledger.see(item); // of every run: numbers count per run
        const auto it = m_runs.find(item.batch.key.run);
        if (it == m_runs.end() || (item.batch.series.empty() && verdict.missedPoints.value_or(0) == 0))
            continue;
        const std::int64_t before = it->second.newest.point.step;
        takeFrame(it->second, item, verdict);
        steps += static_cast<int>(std::max<std::int64_t>(0, it->second.newest.point.step - before));
        any = true;
    }
    if (!any)
        return;
    askRepairs(false);
    for (auto& [run, state] : m_runs) {
        std::size_t longest = 0;
        for (const auto& [name, track] : state.tracks)
            longest = std::max(longest, track.tailSize());
        const bool open = state.answered && state.answered->openEnd;
        if (open && longest > std::max<std::size_t>(kLongTail, static_cast<std::size_t>(m_maxBuckets) / 2) && state.job == 0)
            ask(run);
        else if (!open && state.answered && longest > kLostTail && state.job == 0)
            for (auto& [name, track] : state.tracks)
                track.dropTail();
    }
    if (steps > 0)
        emit newSteps(steps);
    touch();
}

void LiveCurves::takeFrame(RunState& state, const ipc::News& news, const ipc::NewsLedger::Verdict& verdict) {
    const bool holdsNoPoint = verdict.missedPoints && *verdict.missedPoints == 0; // but an event, say
    if (m_countsRepairs && !holdsNoPoint && (verdict.order == ipc::NewsOrder::Hole || verdict.order == ipc::NewsOrder::NewEpoch))
        openGap(state, news, verdict.missedPoints);
    if (m_countsRepairs)
        noteReceived(state, news.batch);
    const std::uint32_t attempt = news.batch.key.attempt;
    for (const ipc::SeriesBlock& block : news.batch.series) {
        const bool drawn = matches(block.name);
        for (const ipc::Point& point : block.points) {
            if (drawn)
                state.tracks[block.name].append(attempt, point);
            if (state.newestLive.before({attempt, point}))
                state.newestLive = {attempt, point};
        }
    }
    if (state.newest.before(state.newestLive))
        state.newest = state.newestLive;
}

/// History may be ahead of the news: the hole begins where the news ended.
void LiveCurves::openGap(RunState& state, const ipc::News& news, std::optional<quint64> missed) {
    const SeriesTrack::TailPoint& before = state.newestLive;
    ipc::Point after = firstPoint(news.batch);
    if (news.batch.series.empty()) // a beat, or an event: the last points are the missing ones
        after = {before.point.step, before.point.tokens, news.publishedUs, 0};
    else if (before.attempt != news.batch.key.attempt || after.step < before.point.step)
        return;                                                  // another attempt began meanwhile: history alone can tell
    if (state.gaps.size() >= kGaps && state.gaps.front().closed) // what is not counted yet stays
        state.gaps.erase(state.gaps.begin());
    NewsGap gap;
    gap.id = ++m_lastGap;
    gap.before = before.point;
    gap.after = after;
    gap.missed = missed;
    state.gaps.push_back(gap);
    m_repairTimer.start();
    emit gapsChanged();
}

void LiveCurves::noteReceived(RunState& state, const ipc::TelemetryBatch& batch) {
    for (const ipc::SeriesBlock& block : batch.series)
        for (const ipc::Point& point : block.points)
            ++state.received[point.step];
    while (state.received.size() > kReceivedSteps)
        state.received.erase(state.received.begin());
}

void LiveCurves::touch() {
    if (!m_changedTimer.isActive())
        m_changedTimer.start();
}

// ---------------------------------------------------------------- what is known

std::vector<CurveData> LiveCurves::curves(const QString& run, const std::string& name) const {
    return curvesOn(run, name, m_axis);
}

std::vector<CurveData> LiveCurves::curvesOn(const QString& run, const std::string& name, ipc::Axis axis) const {
    const auto it = m_runs.find(run.toStdString());
    if (it == m_runs.end())
        return {};
    const auto track = it->second.tracks.find(name);
    return track == it->second.tracks.end() ? std::vector<CurveData>{} : track->second.curves(axis, m_smoothing);
}

std::vector<std::string> LiveCurves::names(const QString& run) const {
    std::vector<std::string> names;
    if (const auto it = m_runs.find(run.toStdString()); it != m_runs.end())
        for (const auto& [name, track] : it->second.tracks)
            if (track.latest())
                names.push_back(name);
    return names;
}

const ipc::Point* LiveCurves::latest(const QString& run, const std::string& name) const {
    const auto it = m_runs.find(run.toStdString());
    if (it == m_runs.end())
        return nullptr;
    const auto track = it->second.tracks.find(name);
    const SeriesTrack::TailPoint* latest = track == it->second.tracks.end() ? nullptr : track->second.latest();
    return latest ? &latest->point : nullptr;
}

double LiveCurves::newestX(const QString& run) const {
    const auto it = m_runs.find(run.toStdString());
    return it == m_runs.end() || it->second.newest.attempt == 0 ? std::nan("") : newestAlong(it->second);
}

const std::vector<NewsGap>& LiveCurves::gaps(const QString& run) const {
    static const std::vector<NewsGap> none;
    const auto it = m_runs.find(run.toStdString());
    return it == m_runs.end() ? none : it->second.gaps;
}

bool LiveCurves::loading(const QString& run) const {
    const auto it = m_runs.find(run.toStdString());
    return it != m_runs.end() && !it->second.answered;
}

} // namespace telehelm::app
