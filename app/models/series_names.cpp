// SPDX-License-Identifier: GPL-3.0-or-later
// How series are called and how their values are written.
#include <cmath>

#include "models/series_model.h"
#include "models/text_format.h"

namespace telehelm::app {
namespace {

QString compactCount(double value) {
    const double size = std::abs(value);
    if (size >= 1e9)
        return text::fixed(value / 1e9, 2) + QStringLiteral("B");
    if (size >= 1e6)
        return text::fixed(value / 1e6, 2) + QStringLiteral("M");
    if (size >= 1e3)
        return text::fixed(value / 1e3, 1) + QStringLiteral("k");
    return text::fixed(value, size >= 100 || value == std::floor(value) ? 0 : 2);
}

QString milliseconds(double ms) {
    return ms >= 1000 ? text::fixed(ms / 1000, 2) + QStringLiteral(" s") : text::fixed(ms, ms >= 100 ? 0 : 1) + QStringLiteral(" ms");
}

/// "rank/<r>/<name>": what a rank did with its time; short, for the list is narrow.
QString rankSeriesLabel(const QString& name) {
    static const std::map<QString, QString> known{
        {QStringLiteral("step_ms"), SeriesModel::tr("step time")},
        {QStringLiteral("memory_bytes"), SeriesModel::tr("memory")},
        {QStringLiteral("forward_ms"), SeriesModel::tr("forward")},
        {QStringLiteral("backward_ms"), SeriesModel::tr("backward")},
        {QStringLiteral("comm_tensor_ms"), SeriesModel::tr("TP comm.")},
        {QStringLiteral("comm_data_ms"), SeriesModel::tr("DP comm.")},
        {QStringLiteral("comm_pipeline_ms"), SeriesModel::tr("PP comm.")},
        {QStringLiteral("bubble_ms"), SeriesModel::tr("bubble")},
        {QStringLiteral("sync_ms"), SeriesModel::tr("waiting")},
        {QStringLiteral("optimizer_ms"), SeriesModel::tr("optimizer")},
        {QStringLiteral("data_ms"), SeriesModel::tr("data")},
    };
    const auto it = known.find(name);
    return it == known.end() ? name : it->second;
}

} // namespace

QString seriesValue(const QString& series, double value) {
    if (std::isnan(value))
        return QStringLiteral("NaN");
    if (std::isinf(value))
        return value > 0 ? QStringLiteral("Inf") : QString(QChar(0x2212)) + QStringLiteral("Inf");
    if (series.startsWith(QLatin1String("optim/")) && series.endsWith(QLatin1String("lr")))
        return text::learningRate(value);
    if (series.endsWith(QLatin1String("_ms")))
        return milliseconds(value);
    if (series == QLatin1String("perf/mfu") || series.startsWith(QLatin1String("mixture/")))
        return text::fixed(value * 100, 1) + QStringLiteral(" %");
    if (series.endsWith(QLatin1String("_bytes")))
        return text::bytes(value);
    if (series.startsWith(QLatin1String("perf/")) || series == QLatin1String("train/skipped_steps"))
        return compactCount(value);
    return text::fixed(value, 3);
}

QString seriesLabel(const QString& series) {
    static const std::map<QString, QString> known{
        {QStringLiteral("train/loss"), SeriesModel::tr("loss")},
        {QStringLiteral("train/grad_norm"), SeriesModel::tr("gradient norm")},
        {QStringLiteral("train/skipped_steps"), SeriesModel::tr("skipped steps")},
        {QStringLiteral("optim/lr"), SeriesModel::tr("learning rate")},
        {QStringLiteral("optim/matrix_lr"), SeriesModel::tr("matrix rate")},
        {QStringLiteral("perf/tokens_per_s"), SeriesModel::tr("tokens/s")},
        {QStringLiteral("perf/mfu"), SeriesModel::tr("MFU")},
        {QStringLiteral("perf/step_ms"), SeriesModel::tr("step time")},
        {QStringLiteral("perf/rank_skew"), SeriesModel::tr("rank skew")},
        {QStringLiteral("memory/planned_bytes"), SeriesModel::tr("memory plan")},
        {QStringLiteral("memory/allocated_bytes"), SeriesModel::tr("allocated")},
        {QStringLiteral("memory/peak_rss_bytes"), SeriesModel::tr("peak memory")},
        {QStringLiteral("valid/loss"), SeriesModel::tr("loss")},
        {QStringLiteral("bpb"), SeriesModel::tr("BPB weighted")},
    };
    if (const auto it = known.find(series); it != known.end())
        return it->second;
    const auto parts = series.split(QLatin1Char('/'));
    if (parts.size() == 2 && parts[0] == QLatin1String("bpb"))
        return SeriesModel::tr("BPB %1").arg(parts[1]);
    if (parts.size() == 3 && parts[0] == QLatin1String("valid"))
        return parts[2];
    if (parts.size() == 3 && parts[0] == QLatin1String("mixture"))
        return parts[2] == QLatin1String("target") ? SeriesModel::tr("%1 target").arg(parts[1]) : parts[1];
    if (parts.size() == 3 && parts[0] == QLatin1String("rank"))
        return SeriesModel::tr("%1 %2").arg(parts[1], rankSeriesLabel(parts[2]));
    return series;
}

} // namespace telehelm::app
