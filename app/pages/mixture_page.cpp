// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/mixture_page.h"

#include <algorithm>
#include <cmath>

#include <QFileDialog>
#include <QHBoxLayout>
#include <QLabel>
#include <QPushButton>
#include <QScrollArea>
#include <QTableView>

#include "models/audit_model.h"
#include "models/text_format.h"
#include "pages/mixture_apply_box.h"
#include "pages/page_header.h"
#include "settings/mixture_drafts.h"
#include "widgets/curve_chart.h"
#include "widgets/epoch_chart.h"
#include "widgets/mixture_table.h"
#include "widgets/panel.h"
#include "widgets/share_bars.h"

namespace telehelm::app {

namespace {

/// Its widget fills it down to the widget's minimum height. (A resizable QScrollArea would ask for the preferred height where labels wrap.)
class FillingScrollArea : public QScrollArea {
public:
    using QScrollArea::QScrollArea;

protected:
    void resizeEvent(QResizeEvent* event) override {
        widget()->resize(viewport()->width(), std::max(viewport()->height(), widget()->minimumHeight()));
        QScrollArea::resizeEvent(event);
    }
};

} // namespace

MixturePage::MixturePage(Session& session, ThemeController& theme, QWidget* parent)
    : QWidget(parent), m_session(session), m_theme(theme), m_effects(session) {
    setObjectName(QStringLiteral("page"));
    auto* left = new QVBoxLayout;
    left->setSpacing(1);
    left->addWidget(buildDomains());
    left->addWidget(buildChanges(), 2);
    left->addWidget(buildProjection(), 3);
    auto* parts = new QWidget(this);
    parts->setMinimumHeight(800); // a smaller window scrolls
    auto* row = new QHBoxLayout(parts);
    row->setContentsMargins(0, 0, 0, 0);
    row->setSpacing(1);
    row->addLayout(left, 1011);
    row->addWidget(buildRight(), 529);
    auto* scroll = new FillingScrollArea(this);
    scroll->setFrameShape(QFrame::NoFrame);
    scroll->setWidget(parts);
    auto* all = new QVBoxLayout(this);
    all->setContentsMargins(0, 0, 0, 0);
    all->setSpacing(0);
    all->addWidget(buildHeader());
    all->addWidget(scroll, 1);
    m_refresh.setSingleShot(true);
    m_refresh.setInterval(250);
    m_askAgain.setSingleShot(true);
    m_askAgain.setInterval(2000); // the validation points of all domains come within moments
    connectParts();
    runChosen();
}

void MixturePage::connectParts() {
    connect(&m_session, &Session::focusedRunChanged, this, &MixturePage::runChosen);
    connect(&m_session, &Session::runsChanged, this, &MixturePage::runChosen);
    connect(&m_session, &Session::runChanged, this, [this](const QString& run) {
        if (run == m_session.focusedRun() && !m_refresh.isActive()) {
            m_refresh.start();
        }
    });
    connect(&m_session, &Session::commandChanged, this, [this](const ipc::Command& command) {
        if (QString::fromStdString(command.key.run) == m_session.focusedRun()) {
            reloadChanges();
        }
    });
    connect(&m_refresh, &QTimer::timeout, this, &MixturePage::runMoved);
    connect(&m_askAgain, &QTimer::timeout, this, &MixturePage::showEffects);
    connect(&m_session, &Session::newsArrived, this, [this](const std::vector<ipc::News>& news) {
        const auto isValidation = [](const ipc::SeriesBlock& block) { return block.name.starts_with("bpb/"); };
        for (const ipc::News& item : news)
            if (QString::fromStdString(item.batch.key.run) == m_run && std::any_of(item.batch.series.begin(), item.batch.series.end(), isValidation))
                m_askAgain.start();
    });
    connect(&m_model, &MixtureModel::draftChanged, this, &MixturePage::draftChanged);
    connect(m_apply, &MixtureApplyBox::applyStepChanged, &m_model, &MixtureModel::setApplyStep);
    connect(m_apply, &MixtureApplyBox::saveDraftRequested, this, [this] {
        saveMixtureDraft(m_run, m_model.draft());
        m_hint->setText(tr("The draft is kept for %1 on this computer.").arg(m_run));
    });
    connect(m_apply, &MixtureApplyBox::applied, this, [this] { forgetMixtureDraft(m_run); });
    connect(&m_effects, &MixtureEffects::normsKnown, this, [this](int row, double before, double after) {
        if (row < m_changes.rowCount()) {
            m_changes.setNorms(row, before, after);
        }
    });
    connect(&m_effects, &MixtureEffects::progressKnown, this, &MixturePage::showProgress);
    connect(&m_effects, &MixtureEffects::failed, this, [this](const QString& why) { m_norm->setEmptyText(tr("History could not be read: %1").arg(why)); });
    connect(&m_effects, &MixtureEffects::lastChangeCurve, this, [this](const CurveChart::Points& points, double step, double before, double after) {
        m_norm->setPoints(points);
        m_norm->setMark(CurveChart::Mark{step, tr("mixture changed"), false});
        std::vector<CurveChart::Mean> means;
        if (std::isfinite(before) && !points.x.empty()) {
            means.push_back({points.x.front(), step, before, tr("mean %1").arg(text::fixed(before, 3)), false});
        }
        if (std::isfinite(after) && !points.x.empty()) {
            const QString moved = text::change(before, after);
            means.push_back({step, points.x.back(), after, moved.isEmpty() ? tr("mean %1").arg(text::fixed(after, 3)) : tr("mean %1 (%2)").arg(text::fixed(after, 3), moved), true});
        }
        m_norm->setMeans(std::move(means));
    });
}

void MixturePage::showEvent(QShowEvent* event) {
    QWidget::showEvent(event);
    runMoved();
    showEffects();
}

void MixturePage::runChosen() {
    const bool another = m_session.focusedRun() != m_run;
    m_run = m_session.focusedRun();
    if (run() == nullptr) {
        m_model.clear();
        m_apply->setRun({});
    } else {
        m_apply->setRun(m_run);
        m_model.setRun(*run(), m_apply->applyStep());
        if (const auto draft = another ? loadMixtureDraft(m_run) : std::nullopt) {
            m_model.setDraft(*draft);
        }
    }
    reloadChanges();
    draftChanged();
}

void MixturePage::runMoved() {
    if (run() == nullptr || m_run != m_session.focusedRun()) {
        runChosen();
        return;
    }
    const bool knewDomains = m_model.rowCount() > 0;
    m_model.setRun(*run(), m_apply->applyStep());
    m_apply->runMoved();
    if (!knewDomains && m_model.rowCount() > 0) {
        if (const auto draft = loadMixtureDraft(m_run)) {
            m_model.setDraft(*draft);
        }
    }
    if (m_changes.rowCount() == 0) {
        reloadChanges();
    }
}

void MixturePage::reloadChanges() {
    auto changes = run() != nullptr ? mixtureChanges(*run(), m_session.commands()) : std::vector<MixtureChange>();
    m_earlier->setCount(static_cast<int>(changes.size()));
    m_changesTable->setVisible(!changes.empty());
    m_noChanges->setVisible(changes.empty());
    if (changes.empty()) {
        m_header->setRemark(run() == nullptr ? tr("No run is open.") : QString());
    } else {
        const MixtureChange& active = changes.front();
        const QString mixture = QStringLiteral("<b style=\"font-family: 'JetBrains Mono'\">%1</b>").arg(active.id());
        m_header->setRemark(active.before.empty() ? tr("Active: %1, since the start of the run").arg(mixture)
                                                  : tr("Active: %1, applied at step %2 by %3").arg(mixture, text::count(active.step), active.who.toHtmlEscaped()));
    }
    const auto& shown = m_changes.changes();
    const bool same = shown.size() == changes.size() && std::equal(shown.begin(), shown.end(), changes.begin(), [](const auto& a, const auto& b) {
                          return a.step == b.step && a.wallUs == b.wallUs && a.after == b.after;
                      });
    if (!same) {
        m_changes.setChanges(std::move(changes));
        showEffects();
    }
}

void MixturePage::showEffects() {
    if (!isVisible() || run() == nullptr) {
        return;
    }
    const auto& changes = m_changes.changes();
    const bool changed = !changes.empty() && changes.front().step > 1;
    m_normPanel->setTitle(changed ? tr("Gradient norm at the last change, step %1").arg(text::count(changes.front().step)) : tr("Gradient norm at the last change"));
    if (!changed) {
        m_norm->setPoints({});
        m_norm->setMark(std::nullopt);
        m_norm->setMeans({});
    }
    m_norm->setEmptyText(changed ? tr("No gradient norm is known around the change yet.") : tr("The mixture has not changed since the run started."));
    m_progressPanel->setTitle(changed ? tr("Validation progress since step %1").arg(text::count(changes.front().step)) : tr("Validation progress since the start"));
    m_effects.ask(m_run, changes);
}

void MixturePage::showProgress(const std::vector<MixtureEffects::Progress>& progress) {
    const double total = run() != nullptr ? double(run()->totalTokens) : 0;
    const double unit = total > 0 ? std::pow(10.0, std::floor(std::log10(total)) - 2) : 1e6; // a hundredth of the run, roughly
    std::vector<ValueBars::Row> rows;
    for (const auto& domain : progress) {
        rows.push_back({domain.domain, domain.perToken * unit, text::fixed(domain.perToken * unit, 4)});
    }
    QString amount = text::tokens(unit);
    amount.replace(QStringLiteral(".00 "), QStringLiteral(" ")).replace(QStringLiteral(".0 "), QStringLiteral(" "));
    m_progress->setEmptyText(tr("Two validations since the change are needed; the run validates every %1 steps.").arg(run() != nullptr ? text::count(run()->validationEvery) : QString()));
    m_progress->setRows(std::move(rows), tr("BPB per %1 tokens, longer is faster progress").arg(amount));
}

void MixturePage::draftChanged() {
    const bool changed = m_model.isChanged();
    m_chip->setVisible(changed);
    m_revert->setEnabled(changed);
    m_reset->setEnabled(changed);
    m_lock->setEnabled(changed);
    m_normalise->setEnabled(m_model.rowCount() > 0 && m_model.total() != kWholeMixture);
    m_domains->setCount(m_model.rowCount());
    std::vector<ShareBars::Row> shares;
    std::vector<EpochChart::Row> epochs;
    int worst = -1;
    for (int row = 0; row < m_model.rowCount(); ++row) {
        const QString name = QString::fromStdString(m_model.domain(row).name);
        shares.push_back({name, double(m_model.currentHundredths(row)) / 100.0, double(m_model.newHundredths(row)) / 100.0});
        const double end = m_model.epochsAtEnd(row, true), endCurrent = m_model.epochsAtEnd(row, false), done = m_model.epochsDone(row);
        if (std::isfinite(end) && std::isfinite(done)) {
            const double trained = double(std::max<std::int64_t>(1, m_model.domain(row).trainTokens));
            const double soon = (m_model.tokensAtApply() - double(run() != nullptr && run()->newest() != nullptr ? run()->newest()->tokens : 0)) *
                                double(m_model.currentHundredths(row)) / double(kWholeMixture) / trained;
            epochs.push_back({name, done, done + std::max(0.0, soon), end, endCurrent, m_model.newHundredths(row) != m_model.currentHundredths(row)});
            worst = end > MixtureModel::kManyEpochs && (worst < 0 || end > m_model.epochsAtEnd(worst, true)) ? row : worst;
        }
    }
    m_shares->setRows(std::move(shares));
    const double now = run() != nullptr && run()->newest() != nullptr ? double(run()->newest()->tokens) : 0;
    m_epochs->setRows(std::move(epochs), now, m_model.tokensAtApply(), m_model.tokensAtEnd());
    m_hint->setText(worst < 0 ? QString()
                              : tr("%1 would be read <span style=\"color:%3\">%2</span> times by the end of the run; above 4 epochs repeated data helps little")
                                    .arg(QString::fromStdString(m_model.domain(worst).name), m_model.index(worst, MixtureModel::EpochsAtEnd).data().toString(), m_theme.theme().warn.name()));
}

void MixturePage::exportCsv() {
    const QString path = QFileDialog::getSaveFileName(this, tr("Export the mixture"), m_run + QStringLiteral("-mixture.csv"), tr("CSV files (*.csv)"));
    if (!path.isEmpty()) {
        saveTextFile(this, path, tableAsCsv(m_model));
    }
}

} // namespace telehelm::app
