// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/mixture_effects.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "pages/step_means.h"

namespace telehelm::app {

namespace {

constexpr qint64 kWindow = 1500; // steps on each side, less where another change or the end is nearer
constexpr std::size_t kChangesAsked = 12;

} // namespace

MixtureEffects::MixtureEffects(Session& session, QObject* parent) : QObject(parent), m_session(session) {
    connect(&session, &Session::seriesFetched, this, [this](JobId job, const std::vector<ipc::SeriesSegment>& segments) {
        if (job == m_progressJob) {
            progressCame(segments);
        } else if (const auto at = m_normJobs.find(job); at != m_normJobs.end()) {
            const NormJob norm = at->second;
            m_normJobs.erase(at);
            normCame(norm, segments);
        }
    });
    connect(&session, &Session::jobFailed, this, [this](JobId job, const Error& error) {
        if ((job == m_progressJob && job != 0) || m_normJobs.erase(job) > 0) {
            emit failed(QString::fromStdString(error.text()));
        }
    });
}

void MixtureEffects::ask(const QString& run, const std::vector<MixtureChange>& changes) {
    m_normJobs.clear();
    m_progressJob = 0;
    const ipc::RunInfo* info = m_session.run(run);
    if (info == nullptr || info->newest() == nullptr || changes.empty()) {
        return;
    }
    const qint64 newest = info->newest()->step;
    for (std::size_t i = 0; i < std::min(changes.size(), kChangesAsked); ++i) {
        const qint64 step = changes[i].step;
        if (step <= 1 || step > newest) {
            continue;
        }
        const qint64 previous = i + 1 < changes.size() ? std::max<qint64>(1, changes[i + 1].step) : 1;
        const qint64 next = i > 0 ? changes[i - 1].step : newest + 1;
        const qint64 window = std::clamp<qint64>(std::max(step - previous, next - step), 1, kWindow);
        ipc::SeriesQuery query;
        query.key = {run.toStdString(), 0};
        query.names = {ipc::series::kGradNorm};
        query.from = std::max(previous, step - window);
        query.to = std::min(next - 1, step + window);
        query.maxBuckets = 0; // raw: the edge between before and after is exact
        query.smoothing = 0.95;
        m_normJobs[m_session.fetchSeries(query)] = {static_cast<int>(i), step, window};
    }
    ipc::SeriesQuery bpb;
    bpb.key = {run.toStdString(), 0};
    bpb.names = {"bpb/*"};
    bpb.from = std::max<qint64>(0, changes.front().step);
    bpb.maxBuckets = 400;
    m_progressJob = m_session.fetchSeries(bpb);
}

void MixtureEffects::normCame(const NormJob& job, const std::vector<ipc::SeriesSegment>& segments) {
    const MeanPair means = meansAround(segments, ipc::series::kGradNorm, job.step, job.window + 1);
    if (means.before && means.after) {
        emit normsKnown(job.row, *means.before, *means.after);
    }
    if (job.row != 0) {
        return;
    }
    CurveChart::Points points;
    for (const auto& segment : segments) {
        for (const auto& bucket : segment.superseded ? std::vector<ipc::Bucket>() : segment.buckets) {
            const bool finite = bucket.min <= bucket.max;
            points.x.push_back(double(bucket.lastStep));
            points.y.push_back(bucket.smoothed);
            points.lo.push_back(finite ? bucket.min : std::numeric_limits<double>::quiet_NaN());
            points.hi.push_back(finite ? bucket.max : std::numeric_limits<double>::quiet_NaN());
        }
    }
    const double unknown = std::numeric_limits<double>::quiet_NaN();
    emit lastChangeCurve(points, double(job.step), means.before.value_or(unknown), means.after.value_or(unknown));
}

void MixtureEffects::progressCame(const std::vector<ipc::SeriesSegment>& segments) {
    struct Ends {
        double first = 0, last = 0;
        qint64 firstTokens = -1, lastTokens = -1;
    };
    std::map<QString, Ends> ends;
    for (const auto& segment : segments) {
        if (segment.superseded || segment.name.rfind("bpb/", 0) != 0) {
            continue;
        }
        Ends& end = ends[QString::fromStdString(segment.name).mid(4)];
        for (const auto& bucket : segment.buckets) {
            if (end.firstTokens < 0 && std::isfinite(bucket.first)) {
                end.first = bucket.first;
                end.firstTokens = bucket.firstTokens;
            }
            if (std::isfinite(bucket.last)) {
                end.last = bucket.last;
                end.lastTokens = bucket.lastTokens;
            }
        }
    }
    std::vector<Progress> progress;
    for (const auto& [domain, end] : ends) {
        if (end.firstTokens >= 0 && end.lastTokens > end.firstTokens) {
            progress.push_back({domain, (end.last - end.first) / double(end.lastTokens - end.firstTokens)});
        }
    }
    emit progressKnown(progress);
}

} // namespace telehelm::app
