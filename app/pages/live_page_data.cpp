// SPDX-License-Identifier: GPL-3.0-or-later
// What the plots of the live page show: curves, flags, notes, empty texts, values at the crosshair, exports.
#include <algorithm>
#include <cmath>

#include <QFileDialog>
#include <QPointer>
#include <QSaveFile>
#include <QSplitter>
#include <QStackedLayout>
#include <QTextStream>

#include "pages/bpb_panel.h"
#include "pages/live_flags.h"
#include "pages/live_page.h"
#include "pages/plot_toolbar.h"
#include "plots/columns.h"
#include "plots/overview_strip.h"
#include "plots/plot_stack.h"
#include "plots/value_text.h"

namespace telehelm::app {

using plots::Curve;
using plots::XKind;

namespace {

enum Strip { kLoss, kNorm, kThroughput, kRate };
constexpr qint64 kSeenGapUs = 2'000'000; // shorter gaps are hatched without words

double alongOf(const ipc::Point& point, XKind kind) {
    return static_cast<double>(kind == XKind::Step ? point.step : kind == XKind::Tokens ? point.tokens : point.wallUs);
}

QString plainRate(double value) {
    if (value <= 0)
        return QStringLiteral("0");
    const int exponent = static_cast<int>(std::floor(std::log10(value) + 1e-9));
    return QStringLiteral("%1e%2").arg(value / std::pow(10.0, exponent), 0, 'g', 3).arg(exponent);
}

QString inAbout(double seconds) {
    if (seconds < 90)
        return QObject::tr("in about %1 s").arg(std::max(1, static_cast<int>(std::lround(seconds))));
    if (seconds < 5400)
        return QObject::tr("in about %1 min").arg(static_cast<int>(std::lround(seconds / 60)));
    return QObject::tr("in about %1 h").arg(static_cast<int>(std::lround(seconds / 3600)));
}

} // namespace

const ipc::RunInfo* LivePage::focused() const {
    return m_session.run(m_run);
}

void LivePage::setShownRuns(std::vector<ShownRun> runs) {
    m_shown = std::move(runs);
    runChosen();
}

void LivePage::runChosen() {
    const bool another = m_run != m_session.focusedRun();
    m_run = m_session.focusedRun();
    QStringList runs;
    for (const ShownRun& shown : m_shown)
        runs << shown.run;
    if (!m_run.isEmpty() && !runs.contains(m_run))
        runs.prepend(m_run);
    m_curves.setRuns(runs);
    m_whole.setRuns(m_run.isEmpty() ? QStringList() : QStringList{m_run});
    m_pages->setCurrentIndex(m_run.isEmpty() ? 0 : 1);
    if (another) {
        setFollowing(true);
        m_span.reset();
        m_stack->resetY();
    }
    runMoved();
    showCurves();
    showOverview();
    showFlags();
    showGaps();
}

void LivePage::runMoved() {
    const ipc::RunInfo* run = focused();
    if (!run)
        return;
    std::vector<QString> domains;
    for (const ipc::DomainInfo& domain : run->domains)
        domains.push_back(QString::fromStdString(domain.name));
    m_bpb->setDomains(domains);
    showNotes();
    showEmptyTexts();
}

std::vector<Curve> LivePage::curvesOf(const QString& series, bool smoothed, bool envelope) const {
    std::vector<Curve> curves;
    if (m_hidden.contains(series))
        return curves;
    std::vector<ShownRun> runs = m_shown;
    if (std::none_of(runs.begin(), runs.end(), [this](const ShownRun& run) { return run.run == m_run; }))
        runs.insert(runs.begin(), {m_run, 0});
    std::stable_partition(runs.begin(), runs.end(),
                          [this](const ShownRun& run) { return run.run == m_run; }); // first in the titles
    for (const ShownRun& run : runs)
        for (CurveData& data : m_curves.curves(run.run, series.toStdString())) {
            Curve curve;
            curve.id = run.run + QLatin1Char('/') + series;
            curve.label = run.run;
            curve.slot = run.slot;
            curve.focused = run.run == m_run;
            curve.superseded = data.superseded;
            curve.x = std::move(data.x);
            curve.y = smoothed ? std::move(data.y) : data.raw;
            if (envelope) {
                curve.lo = std::move(data.lo);
                curve.hi = std::move(data.hi);
            }
            curve.raw = std::move(data.raw);
            curve.nonFiniteX = std::move(data.nonFiniteX);
            curves.push_back(std::move(curve));
        }
    return curves;
}

void LivePage::showCurves() {
    if (m_following)
        followNewest();
    std::vector<Curve> loss = curvesOf(QStringLiteral("train/loss"), true, true);
    for (Curve& curve : loss)
        curve.label = curve.focused ? tr("train") : tr("%1 train").arg(curve.label);
    for (Curve& curve : curvesOf(QStringLiteral("valid/loss"), false, false)) {
        if (!curve.focused || curve.x.empty())
            continue;
        curve.validation = true;
        curve.label = tr("validation");
        loss.insert(loss.begin() + std::min<std::ptrdiff_t>(1, std::ssize(loss)), std::move(curve));
    }
    m_stack->setCurves(kLoss, std::move(loss));
    m_stack->setCurves(kNorm, curvesOf(QStringLiteral("train/grad_norm"), true, true));
    m_stack->setCurves(kThroughput, curvesOf(QStringLiteral("perf/tokens_per_s"), true, true));
    m_stack->setCurves(kRate, curvesOf(QStringLiteral("optim/lr"), false, false));
    const ipc::Point* mfu = m_curves.latest(m_run, ipc::series::kMfu);
    const ipc::Point* speed = m_curves.latest(m_run, ipc::series::kTokensPerS);
    const bool proportional = mfu && speed && speed->value > 0 && mfu->value > 0 && mfu->step == speed->step;
    if (proportional)
        m_stack->setRightScale(kThroughput, mfu->value / speed->value, plots::ValueFormat::Percent);
    m_bpb->setCurves([this](const QString& series) {
        std::vector<Curve> curves = curvesOf(series, false, false);
        for (Curve& curve : curves)
            curve.validation = true;
        return curves;
    });
    showEmptyTexts();
}

void LivePage::showOverview() {
    const auto [from, to] = wholeRun();
    m_overview->setExtent(from, to);
    std::vector<Curve> curves;
    for (CurveData& data : m_whole.curves(m_run, ipc::series::kTrainLoss)) {
        Curve curve;
        curve.id = m_run + QStringLiteral("/train/loss");
        const auto shown = std::find_if(m_shown.begin(), m_shown.end(), [this](const ShownRun& run) { return run.run == m_run; });
        curve.slot = shown == m_shown.end() ? 0 : shown->slot;
        curve.superseded = data.superseded;
        curve.x = std::move(data.x);
        curve.y = std::move(data.y);
        curve.lo = std::move(data.lo);
        curve.hi = std::move(data.hi);
        curve.nonFiniteX = std::move(data.nonFiniteX);
        curves.push_back(std::move(curve));
    }
    m_overview->setCurves(std::move(curves));
    m_whole.setWindow(from, std::numeric_limits<double>::infinity());
}

void LivePage::showFlags() {
    const ipc::RunInfo* run = focused();
    const std::vector<plots::Flag> flags =
        run ? flagsOf(m_session.events(), *run, m_kind, m_theme.theme()) : std::vector<plots::Flag>{};
    m_stack->setFlags(flags);
    m_bpb->setFlags(flags);
    m_overview->setFlags(flags);
}

void LivePage::showGaps() {
    std::vector<plots::Gap> gaps;
    for (const NewsGap& gap : m_curves.gaps(m_run)) {
        const qint64 longUs = gap.after.wallUs - gap.before.wallUs;
        QString label;
        if (longUs >= kSeenGapUs)
            label = gap.closed ? tr("%1 s gap, %2 samples repaired from history")
                                     .arg(longUs / 1'000'000)
                                     .arg(plots::groupedText(static_cast<qint64>(gap.repaired)))
                               : tr("%1 s gap").arg(longUs / 1'000'000);
        gaps.push_back({alongOf(gap.before, m_kind), alongOf(gap.after, m_kind), label, gap.closed});
    }
    m_stack->setGaps(std::move(gaps));
}

void LivePage::showNotes() {
    const ipc::RunInfo& run = *focused();
    std::vector<plots::TitleNote> clip, schedule;
    if (run.clipGrad > 0)
        clip.push_back({tr("clip at"), QString::number(run.clipGrad, 'f', 1), {}});
    if (run.learningRate > 0)
        schedule.push_back({tr("schedule"), QString::fromStdString(run.lrSchedule),
                            tr("peak %1, floor %2").arg(plainRate(run.learningRate), plainRate(run.minimumLearningRate))});
    m_stack->setTitleNotes(kNorm, std::move(clip));
    m_stack->setTitleNotes(kRate, std::move(schedule));
}

void LivePage::showEmptyTexts() {
    const ipc::RunInfo* run = focused();
    if (!run)
        return;
    const bool loading = m_curves.loading(m_run);
    const QString headline = loading ? tr("Loading history") : tr("No points yet");
    const QString sentence =
        loading ? tr("The backend is asked for the steps of %1.").arg(m_run) : tr("The first step has not finished.");
    for (int strip : {kLoss, kNorm, kThroughput, kRate})
        m_stack->setEmptyText(strip, strip == kLoss ? headline : QString(), sentence);
    const qint64 step = run->newest() ? run->newest()->step : 0;
    QString first;
    if (run->validationEvery > 0) {
        const qint64 next = (step / run->validationEvery + 1) * run->validationEvery;
        first = tr("The first evaluation is at step %1").arg(plots::groupedText(next));
        if (const ipc::Point* stepMs = m_curves.latest(m_run, ipc::series::kStepMs))
            first += tr(", %1").arg(inAbout(static_cast<double>(next - step) * stepMs->value / 1000));
        first += QLatin1Char('.');
    }
    m_bpb->setEmptyText(loading ? headline : tr("No validation points yet"), loading ? QString() : first);
}

void LivePage::setSeriesHidden(const QString& series, bool hidden) {
    if (hidden)
        m_hidden.insert(series);
    else
        m_hidden.remove(series);
    showCurves();
}

void LivePage::moveCursor(double x) {
    m_bpb->setCursor(x);
    QHash<QString, double> values;
    if (!std::isnan(x)) {
        const QString prefix = m_run + QLatin1Char('/');
        const auto take = [&](const QString& id, double value) {
            if (id.startsWith(prefix))
                values.insert(id.mid(prefix.size()), value);
        };
        for (int strip : {kLoss, kNorm, kThroughput, kRate})
            for (const plots::CurveValue& value : m_stack->valuesAt(strip, x))
                take(value.id, value.value);
        m_bpb->valuesAt(x, take);
        for (const char* name : {ipc::series::kMfu, ipc::series::kStepMs}) {
            const auto curves = m_curves.curves(m_run, name);
            if (!curves.empty() && !curves.front().x.empty())
                values.insert(QLatin1String(name), curves.front().raw[plots::nearestSample(curves.front().x, x)]);
        }
    }
    emit cursorValues(values);
}

/// Along the loss curve, which has a step, a token count and a time for each sample; beyond its ends at its mean pace.
double LivePage::convert(double x, XKind from, XKind to) const {
    if (from == to)
        return x;
    const auto along = [this](XKind kind) {
        const auto axis = kind == XKind::Step ? ipc::Axis::Step : kind == XKind::Tokens ? ipc::Axis::Tokens : ipc::Axis::WallTime;
        auto curves = m_whole.curvesOn(m_run, ipc::series::kTrainLoss, axis);
        return curves.empty() ? std::vector<double>{} : std::move(curves.front().x);
    };
    const std::vector<double> source = along(from), target = along(to);
    if (source.size() < 2 || source.size() != target.size())
        return to == m_kind ? x : wholeRun().first;
    auto i = static_cast<std::size_t>(std::upper_bound(source.begin(), source.end(), x) - source.begin());
    std::size_t low = i == 0 ? 0 : i - 1, high = i;
    if (i == 0 || i >= source.size()) {
        low = 0;
        high = source.size() - 1;
    }
    const double width = source[high] - source[low];
    return width > 0 ? target[low] + (x - source[low]) / width * (target[high] - target[low]) : target[low];
}

// ---------------------------------------------------------------- export

/// "120 steps, 245.8 k tokens, 4 min 2 s", along the loss curve.
plots::Span LivePage::spanOf(double from, double to) const {
    QStringList words;
    double steps = 0;
    for (const XKind kind : {XKind::Step, XKind::Tokens, XKind::WallTime}) {
        const double width = convert(to, m_kind, kind) - convert(from, m_kind, kind);
        if (kind == XKind::Step)
            steps = width;
        if (width > 0)
            words << plots::spanText(kind, width);
    }
    return {words.join(QStringLiteral(", ")), steps};
}

void LivePage::exportAs(const QString& format, plots::PlotStack& stack) {
    const QPointer<plots::PlotStack> plot(&stack);
    auto* dialog = new QFileDialog(this, tr("Save the plots"), QStringLiteral("%1.%2").arg(m_run, format),
                                   tr("%1 files (*.%2)").arg(format.toUpper(), format));
    dialog->setAttribute(Qt::WA_DeleteOnClose);
    dialog->setAcceptMode(QFileDialog::AcceptSave);
    dialog->setDefaultSuffix(format);
    connect(dialog, &QFileDialog::fileSelected, this, [this, format, plot](const QString& path) {
        if (!plot || !writeExport(format, path, *plot))
            emit exportFailed(tr("%1 could not be written. Choose another folder or free some space.").arg(path));
    });
    dialog->open();
}

bool LivePage::writeExport(const QString& format, const QString& path, plots::PlotStack& stack) {
    if (format == QLatin1String("png"))
        return stack.savePng(path);
    if (format == QLatin1String("svg"))
        return stack.saveSvg(path);
    if (format == QLatin1String("pdf"))
        return stack.savePdf(path);
    QSaveFile file(path);
    return file.open(QIODevice::WriteOnly) && file.write(csvOfView().toUtf8()) >= 0 && file.commit();
}

QString LivePage::csvOfView() const {
    QString text;
    QTextStream out(&text);
    out << "run,series,"
        << (m_kind == XKind::Step     ? "step"
            : m_kind == XKind::Tokens ? "tokens"
                                      : "wall_us")
        << ",value,smoothed,min,max\n";
    out.setRealNumberPrecision(12);
    QStringList runs{m_run};
    for (const ShownRun& shown : m_shown)
        if (shown.run != m_run)
            runs << shown.run;
    for (const QString& run : runs)
        for (const std::string& name : m_curves.names(run)) {
            const auto curves = m_curves.curves(run, name);
            for (std::size_t i = 0; !curves.empty() && i < curves.front().x.size(); ++i) {
                const CurveData& curve = curves.front();
                if (curve.x[i] >= m_from && curve.x[i] <= m_to)
                    out << run << ',' << QString::fromStdString(name) << ',' << static_cast<qint64>(curve.x[i]) << ','
                        << curve.raw[i] << ',' << curve.y[i] << ',' << curve.lo[i] << ',' << curve.hi[i] << '\n';
            }
        }
    return text;
}

} // namespace telehelm::app
