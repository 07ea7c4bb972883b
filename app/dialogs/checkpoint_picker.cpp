// SPDX-License-Identifier: GPL-3.0-or-later
#include "dialogs/checkpoint_picker.h"

#include <algorithm>

#include <QHeaderView>
#include <QLabel>
#include <QTableView>
#include <QVBoxLayout>

#include "models/text_format.h"
#include "widgets/curve_chart.h"
#include "widgets/delegates.h"
#include "widgets/panel.h"

namespace telehelm::app {

CheckpointPicker::CheckpointPicker(Session& session, ThemeController& theme, const QString& run, std::optional<qint64> wantedStep, QWidget* parent)
    : QWidget(parent), m_session(session), m_theme(theme), m_run(run), m_wantedStep(wantedStep) {
    m_chart = new CurveChart(theme, this);
    m_chart->setEmptyText(tr("Loading the loss…"));
    m_chart->setAccessibleName(tr("Training loss with checkpoints"));
    buildTable();
    m_why = makeLabel(theme, TextRole::Body, "secondary", tr("Asking the daemon for checkpoints…"), this);
    m_why->setWordWrap(true);
    m_remark = makeLabel(theme, TextRole::Caption, "quiet", {}, this);
    m_remark->setWordWrap(true);
    auto* all = new QVBoxLayout(this);
    all->setContentsMargins(14, 14, 14, 12);
    all->setSpacing(9);
    all->addWidget(makeLabel(theme, TextRole::Section, "", tr("1. Checkpoint"), this));
    all->addWidget(m_chart, 3);
    all->addWidget(m_table, 5);
    all->addWidget(m_why);
    all->addWidget(m_remark);
    connect(&m_model, &CheckpointsModel::chosenChanged, this, &CheckpointPicker::showChosen);
    connect(m_chart, &CurveChart::tickClicked, this, [this](int row) { m_model.choose(row); });
    connect(&session, &Session::checkpointsFetched, this, [this](JobId job, const std::vector<ipc::CheckpointInfo>& checkpoints) {
        if (job == m_checkpointJob) {
            checkpointsCame(checkpoints);
        }
    });
    connect(&session, &Session::seriesFetched, this, [this](JobId job, const std::vector<ipc::SeriesSegment>& segments) {
        if (job == m_lossJob) {
            lossCame(segments);
        }
    });
    connect(&session, &Session::jobFailed, this, [this](JobId job, const Error& error) {
        if (job == m_lossJob && job != 0) {
            m_chart->setEmptyText(tr("The loss could not be read: %1").arg(QString::fromStdString(error.text())));
        } else if (job == m_checkpointJob && job != 0) {
            m_checkpointJob = 0;
            m_why->setText(tr("The checkpoints could not be listed: %1").arg(QString::fromStdString(error.text())));
            setRole(m_why, "crit");
            emit chosenChanged();
        }
    });
    m_checkpointJob = session.fetchCheckpoints(run);
}

void CheckpointPicker::buildTable() {
    m_table = new QTableView(this);
    m_table->setObjectName(QStringLiteral("checkpoints"));
    m_table->setAccessibleName(tr("Checkpoints"));
    m_table->setModel(&m_model);
    setUpTable(m_table, m_theme, 26);
    m_table->setStyleSheet(QStringLiteral("QTableView { border: 1px solid %1; }").arg(m_theme.theme().line.name()));
    m_table->setItemDelegate(new CellDelegate(
        m_theme,
        [this](const QModelIndex& index) {
            CellDelegate::Look look;
            const int column = index.column();
            look.font = column == CheckpointsModel::Condition ? TextRole::TableText : TextRole::TableNumber;
            look.bold = column == CheckpointsModel::Step;
            look.severity = index.data(CheckpointsModel::SeverityRole).toInt();
            if (column == CheckpointsModel::Saved) {
                look.colour = m_theme.theme().tx2;
            } else if (column == CheckpointsModel::Condition) {
                look.colour = m_theme.theme().tx2;
            }
            return look;
        },
        this));
    auto* radio = new MarkDelegate(m_theme, MarkDelegate::Shape::Radio, this);
    m_table->setItemDelegateForColumn(CheckpointsModel::Chosen, radio);
    connect(m_table, &QTableView::clicked, this, [this](const QModelIndex& index) { m_model.choose(index.row()); });
    connect(m_table->selectionModel(), &QItemSelectionModel::currentRowChanged, this, [this](const QModelIndex& current) { m_model.choose(current.row()); });
    const int widths[] = {34, 68, 108, 66, 80};
    for (int column = 0; column < 5; ++column) {
        m_table->setColumnWidth(column, widths[column]);
    }
}

void CheckpointPicker::checkpointsCame(const std::vector<ipc::CheckpointInfo>& checkpoints) {
    m_checkpointJob = 0;
    m_model.setCheckpoints(checkpoints, m_wantedStep);
    ipc::SeriesQuery query;
    query.key = {m_run.toStdString(), 0};
    query.names = {ipc::series::kTrainLoss};
    query.maxBuckets = 420;
    query.smoothing = 0.9;
    const auto oldest = std::min_element(checkpoints.begin(), checkpoints.end(), [](const auto& a, const auto& b) { return a.step < b.step; });
    if (oldest != checkpoints.end()) {
        const ipc::RunInfo* run = m_session.run(m_run);
        const qint64 newest = run != nullptr && run->newest() != nullptr ? run->newest()->step : oldest->step;
        query.from = std::max<qint64>(1, oldest->step - std::max<qint64>(5, (newest - oldest->step) / 5));
    }
    m_lossJob = m_session.fetchSeries(query);
}

void CheckpointPicker::lossCame(const std::vector<ipc::SeriesSegment>& segments) {
    CurveChart::Points points;
    m_wall.clear();
    for (const auto& segment : segments) {
        for (const auto& bucket : segment.superseded ? std::vector<ipc::Bucket>() : segment.buckets) {
            points.x.push_back(double(bucket.lastStep));
            points.y.push_back(bucket.smoothed);
            const bool finite = bucket.min <= bucket.max;
            points.lo.push_back(finite ? bucket.min : bucket.smoothed);
            points.hi.push_back(finite ? bucket.max : bucket.smoothed);
            m_wall.emplace_back(bucket.lastStep, bucket.lastWallUs);
        }
    }
    m_chart->setEmptyText(tr("No loss has been recorded yet."));
    m_chart->setPoints(std::move(points));
    showChosen();
}

qint64 CheckpointPicker::wallUsAt(qint64 step) const {
    const auto at = std::lower_bound(m_wall.begin(), m_wall.end(), std::pair<qint64, qint64>(step, 0));
    if (at == m_wall.end()) {
        return 0;
    }
    if (at == m_wall.begin() || at->first == step) {
        return at->second;
    }
    const auto before = at - 1;
    return before->second + (at->second - before->second) * (step - before->first) / std::max<qint64>(1, at->first - before->first);
}

void CheckpointPicker::runMoved() { showChosen(); }

void CheckpointPicker::showChosen() {
    std::vector<double> ticks;
    for (const auto& checkpoint : m_model.checkpoints()) {
        ticks.push_back(double(checkpoint.step));
    }
    m_chart->setTicks(std::move(ticks), m_model.chosenRow());
    const ipc::RunInfo* run = m_session.run(m_run);
    const ipc::CheckpointInfo* chosen = m_model.chosen();
    if (chosen != nullptr && run != nullptr && run->newest() != nullptr) {
        const qint64 newest = run->newest()->step;
        m_chart->setMark(CurveChart::Mark{double(chosen->step), tr("restart at %1").arg(text::count(chosen->step)), true});
        const qint64 lost = std::max<qint64>(0, newest - chosen->step);
        m_chart->setDiscarded(CurveChart::Stretch{double(chosen->step), double(newest), tr("discarded: %1 steps").arg(text::count(lost))});
        if (m_table->currentIndex().row() != m_model.chosenRow()) {
            m_table->setCurrentIndex(m_model.index(m_model.chosenRow(), CheckpointsModel::Step));
        }
    } else {
        m_chart->setMark(std::nullopt);
        m_chart->setDiscarded(std::nullopt);
    }
    explain();
    emit chosenChanged();
}

void CheckpointPicker::explain() {
    const auto& all = m_model.checkpoints();
    if (all.empty()) {
        if (m_checkpointJob == 0) {
            m_why->setText(tr("This run has no checkpoint yet. Save one, or wait for the first, before you restart it."));
            m_remark->clear();
        }
        return;
    }
    const int row = m_model.suggestedRow();
    if (row < 0) {
        m_why->setText(tr("No verified checkpoint fits the advice; choose one yourself."));
    } else {
        const QString step = text::count(all[static_cast<std::size_t>(row)].step);
        m_why->setText(m_wantedStep ? tr("Step %1 is suggested because it is the newest verified checkpoint at or before step %2.").arg(step, text::count(*m_wantedStep))
                                    : tr("Step %1 is suggested because it is the newest verified checkpoint.").arg(step));
    }
    double bytes = 0;
    for (const auto& checkpoint : all) {
        bytes += double(checkpoint.bytes);
    }
    m_remark->setText(tr("%1, newest first, %2 together. The line is smoothed, the band is minimum and maximum.").arg(text::counted(static_cast<qint64>(all.size()), tr("checkpoint"), tr("checkpoints")), text::bytes(bytes)));
}

} // namespace telehelm::app
