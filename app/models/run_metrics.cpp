// SPDX-License-Identifier: GPL-3.0-or-later
#include "models/run_metrics.h"

#include <algorithm>
#include <cmath>

#include <QCoreApplication>

#include "models/series_model.h"
#include "models/text_format.h"

namespace telehelm::app {
namespace {

QString tr(const char* text) { return QCoreApplication::translate("Readout", text); }

constexpr double kStepTimeSmoothing = 0.9;

/// "352.4" and "k", for a value whose unit stands small beside it: four figures, so that it visibly moves.
std::pair<QString, QString> scaledCount(double value) {
    for (const auto& [factor, unit] : {std::pair(1e12, "T"), {1e9, "B"}, {1e6, "M"}, {1e3, "k"}})
        if (value >= factor)
            return {text::fixed(value / factor, value < 10 * factor ? 2 : 1), QString::fromLatin1(unit)};
    return {text::fixed(value, 0), {}};
}

QString shortRate(double lr) { // "1.5e-5"
    QString shown = QString::number(lr, 'e', 1);
    const auto e = shown.indexOf(QLatin1Char('e'));
    return e < 0 ? shown : shown.left(e + 1) + QString::number(shown.mid(e + 1).toInt());
}

ReadoutText valueOf(const RunMetrics& metrics, const char* series, const QString& label, const QString& sub) {
    const auto reading = metrics.latest(series);
    return {label, reading ? seriesValue(QString::fromLatin1(series), reading->value) : QStringLiteral("–"), {}, sub, -1};
}

ReadoutText lossText(const RunMetrics& metrics) {
    const auto valid = metrics.latest(ipc::series::kValidLoss);
    return valueOf(metrics, ipc::series::kTrainLoss, tr("Train loss"),
                   valid ? tr("validation %1").arg(text::fixed(valid->value, 3)) : tr("nats per token"));
}

ReadoutText throughputText(const ipc::RunInfo& run, const RunMetrics& metrics) {
    const auto reading = metrics.latest(ipc::series::kTokensPerS);
    if (!reading)
        return {tr("Throughput"), QStringLiteral("–"), tr("tokens/s"), {}, -1};
    const auto [value, unit] = scaledCount(reading->value);
    const int ranks = std::max(1, run.tensorParallel * run.pipelineParallel * run.dataParallel);
    return {tr("Throughput"), value, unit.isEmpty() ? tr("tokens/s") : unit + QLatin1Char(' ') + tr("tokens/s"),
            tr("%1 per rank").arg(text::tokens(reading->value / ranks)), -1};
}

ReadoutText stepTimeText(const RunMetrics& metrics) {
    const auto ms = metrics.stepMs();
    ReadoutText out{tr("Step time"), QStringLiteral("–"), tr("s"), {}, -1};
    if (ms) {
        out.value = *ms >= 1000 ? text::fixed(*ms / 1000, 2) : text::fixed(*ms, *ms >= 100 ? 0 : 1);
        out.unit = *ms >= 1000 ? tr("s") : tr("ms");
    }
    if (const auto slowest = metrics.slowestRank())
        out.sub = tr("slowest: rank %1").arg(slowest->rank);
    return out;
}

ReadoutText timeLeftText(const ipc::RunInfo& run, const ipc::AttemptInfo& attempt, const RunMetrics& metrics, std::int64_t nowUs) {
    ReadoutText out{tr("Time left"), QStringLiteral("–"), {}, {}, -1};
    if (!ipc::isLive(attempt.state) || !metrics.stepMs() || run.totalSteps <= 0)
        return out;
    const double seconds = static_cast<double>(std::max<std::int64_t>(0, run.totalSteps - attempt.step)) * *metrics.stepMs() / 1000.0;
    out.value = text::duration(seconds);
    out.sub = attempt.state == ipc::AttemptState::Paused ? tr("when resumed")
                                                         : tr("until %1").arg(text::utcShort(nowUs + static_cast<std::int64_t>(seconds * 1e6)));
    return out;
}

} // namespace

void RunMetrics::takeSeries(const std::vector<ipc::SeriesInfo>& series) {
    for (const auto& info : series) {
        auto& reading = m_latest[info.name];
        if (info.lastStep >= reading.step)
            reading = {info.latest, info.lastStep, reading.wallUs};
        if (info.name == ipc::series::kStepMs && !m_stepMs && std::isfinite(info.latest))
            m_stepMs = info.latest;
    }
}

void RunMetrics::takeBatch(const ipc::TelemetryBatch& batch) {
    for (const auto& block : batch.series) {
        if (block.points.empty())
            continue;
        const auto& last = block.points.back();
        m_latest[block.name] = {last.value, last.step, last.wallUs};
        m_newestWallUs = std::max(m_newestWallUs, last.wallUs);
        if (block.name != ipc::series::kStepMs)
            continue;
        for (const auto& point : block.points)
            if (std::isfinite(point.value))
                m_stepMs = m_stepMs ? *m_stepMs * kStepTimeSmoothing + point.value * (1 - kStepTimeSmoothing) : point.value;
    }
}

std::optional<RunMetrics::Reading> RunMetrics::latest(const std::string& series) const {
    const auto it = m_latest.find(series);
    return it == m_latest.end() ? std::nullopt : std::optional(it->second);
}

std::optional<RunMetrics::SlowestRank> RunMetrics::slowestRank() const {
    SlowestRank slowest;
    double sum = 0, most = -1;
    int ranks = 0;
    for (auto it = m_latest.lower_bound("rank/"); it != m_latest.end() && it->first.starts_with("rank/"); ++it) {
        if (!it->first.ends_with("/step_ms"))
            continue;
        ++ranks;
        sum += it->second.value;
        if (it->second.value > most) {
            most = it->second.value;
            slowest.rank = QString::fromStdString(it->first).section(QLatin1Char('/'), 1, 1).toInt();
        }
    }
    if (ranks < 2 || sum <= 0)
        return std::nullopt;
    slowest.behind = most / (sum / ranks) - 1;
    return slowest;
}

std::array<ReadoutText, kReadouts> readoutsOf(const ipc::RunInfo& run, const RunMetrics& metrics, std::int64_t nowUs) {
    static const ipc::AttemptInfo none;
    const auto& attempt = run.newest() != nullptr ? *run.newest() : none;
    const auto [tokens, tokensUnit] = scaledCount(static_cast<double>(attempt.tokens));
    const double progress = run.totalSteps > 0 ? std::clamp(static_cast<double>(attempt.step) / static_cast<double>(run.totalSteps), 0.0, 1.0) : -1;
    auto lr = valueOf(metrics, ipc::series::kLearningRate, tr("Learning rate"), {});
    if (!run.lrSchedule.empty())
        lr.sub = tr("%1 to %2").arg(QString::fromStdString(run.lrSchedule), shortRate(run.minimumLearningRate));
    auto mfu = valueOf(metrics, ipc::series::kMfu, tr("MFU"), tr("of measured peak"));
    if (mfu.value.endsWith(QLatin1String(" %"))) {
        mfu.value.chop(2);
        mfu.unit = QStringLiteral("%");
    }
    return {ReadoutText{tr("Step"), text::count(attempt.step), run.totalSteps > 0 ? tr("of %1").arg(text::count(run.totalSteps)) : QString(), {}, progress},
            ReadoutText{tr("Tokens"), tokens, tokensUnit, run.totalTokens > 0 ? tr("of %1").arg(text::tokens(static_cast<double>(run.totalTokens))) : QString(), -1},
            lossText(metrics),
            valueOf(metrics, ipc::series::kGradNorm, tr("Gradient norm"), run.clipGrad > 0 ? tr("clip at %1").arg(text::fixed(run.clipGrad, 1)) : QString()),
            lr,
            throughputText(run, metrics),
            mfu,
            stepTimeText(metrics),
            timeLeftText(run, attempt, metrics, nowUs)};
}

ReadoutAge ageOf(const ipc::RunInfo& run, const RunMetrics& metrics, std::int64_t nowUs) {
    const auto* attempt = run.newest();
    const bool steps = attempt != nullptr && (attempt->state == ipc::AttemptState::Running || attempt->state == ipc::AttemptState::Pausing);
    if (!steps || metrics.newestWallUs() == 0)
        return {};
    const double seconds = static_cast<double>(nowUs - metrics.newestWallUs()) / 1e6;
    const double stepSeconds = std::max(metrics.stepMs().value_or(2000.0) / 1000.0, 1.0); // validation and saving take a second, too
    return {seconds > 5 * stepSeconds ? Age::Stale : seconds > 2 * stepSeconds ? Age::Old : Age::Fresh, seconds};
}

std::array<QString, 2> factsOf(const ipc::RunInfo& run) {
    QStringList first, second;
    if (run.parameters > 0)
        first << tr("%1 parameters").arg(text::tokens(static_cast<double>(run.parameters)));
    if (!run.device.empty())
        first << QString::fromStdString(run.device);
    second << tr("TP %1 × PP %2 × DP %3").arg(run.tensorParallel).arg(run.pipelineParallel).arg(run.dataParallel);
    if (const auto* attempt = run.newest(); attempt != nullptr && attempt->startedUs > 0)
        second << tr("started %1").arg(text::utcShort(attempt->startedUs));
    return {first.join(QStringLiteral(" · ")), second.join(QStringLiteral(" · "))};
}

} // namespace telehelm::app
