// SPDX-License-Identifier: GPL-3.0-or-later
// Asks history what each mixture change did: the gradient norm around it, and how fast each domain's BPB has fallen since the last.
// GUI thread only.
#pragma once

#include <map>
#include <vector>

#include <QObject>

#include "models/mixture_changes_model.h"
#include "session/session.h"
#include "widgets/curve_chart.h"

namespace telehelm::app {

class MixtureEffects : public QObject {
    Q_OBJECT
public:
    struct Progress {
        QString domain;
        double perToken = 0; // BPB per token; negative: it falls
    };
    explicit MixtureEffects(Session& session, QObject* parent = nullptr);
    /// `changes` newest first; a later call makes the answers of earlier ones stale.
    void ask(const QString& run, const std::vector<MixtureChange>& changes);

signals:
    void normsKnown(int row, double before, double after);
    void lastChangeCurve(const telehelm::app::CurveChart::Points& points, double step, double before, double after); // means NaN: unknown
    void progressKnown(const std::vector<telehelm::app::MixtureEffects::Progress>& progress);
    void failed(const QString& why);

private:
    struct NormJob {
        int row = 0;
        qint64 step = 0, window = 0;
    };
    void normCame(const NormJob& job, const std::vector<ipc::SeriesSegment>& segments);
    void progressCame(const std::vector<ipc::SeriesSegment>& segments);
    Session& m_session;
    std::map<JobId, NormJob> m_normJobs;
    JobId m_progressJob = 0;
};

} // namespace telehelm::app
