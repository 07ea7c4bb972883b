// SPDX-License-Identifier: GPL-3.0-or-later
// The parts of the mixture page, put together; what they do is in mixture_page.cpp.
#include <QHBoxLayout>
#include <QHeaderView>
#include <QLabel>
#include <QPushButton>
#include <QTableView>
#include <QVBoxLayout>

#include "pages/mixture_apply_box.h"
#include "pages/mixture_page.h"
#include "pages/page_header.h"
#include "settings/mixture_drafts.h"
#include "widgets/curve_chart.h"
#include "widgets/delegates.h"
#include "widgets/epoch_chart.h"
#include "widgets/mixture_table.h"
#include "widgets/panel.h"
#include "widgets/share_bars.h"

namespace telehelm::app {

QWidget* MixturePage::buildHeader() {
    m_header = new PageHeader(m_theme, tr("Data mixture"), this);
    m_chip = makeLabel(m_theme, TextRole::Caption, "", tr("Draft, not applied"), m_header);
    const auto restyle = [this] {
        m_chip->setStyleSheet(QStringLiteral("QLabel { background: %1; color: %2; border-radius: 3px; padding: 2px 8px; }")
                                  .arg(m_theme.theme().infoFill.name(), m_theme.theme().info.name()));
    };
    restyle();
    connect(&m_theme, &ThemeController::changed, m_chip, restyle);
    m_header->left()->addWidget(m_chip, 0, Qt::AlignVCenter);
    m_revert = makeButton(m_theme, "flat", "", tr("Revert draft"), m_header);
    m_revert->setObjectName(QStringLiteral("revertDraft"));
    m_revert->setToolTip(tr("Throws the draft away, the saved one too."));
    auto* exportButton = makeButton(m_theme, "", "export", tr("Export"), m_header);
    exportButton->setToolTip(tr("Saves the table of domains as CSV."));
    m_header->right()->addWidget(m_revert);
    m_header->right()->addWidget(exportButton);
    connect(m_revert, &QPushButton::clicked, this, [this] {
        m_model.resetToCurrent();
        forgetMixtureDraft(m_run);
    });
    connect(exportButton, &QPushButton::clicked, this, &MixturePage::exportCsv);
    return m_header;
}

QWidget* MixturePage::buildDomains() {
    m_domains = new Panel(m_theme, tr("Domains"), this);
    m_domains->setRemark(tr("Locked rows keep their share when you normalise"));
    m_table = new MixtureTable(m_model, m_theme, false, m_domains);
    m_normalise = makeButton(m_theme, "", "", tr("Normalise to 100 %"), m_domains);
    m_normalise->setObjectName(QStringLiteral("normalise"));
    m_lock = makeButton(m_theme, "", "", tr("Lock changed rows"), m_domains);
    m_reset = makeButton(m_theme, "", "", tr("Reset to current"), m_domains);
    m_hint = makeLabel(m_theme, TextRole::Caption, "quiet", {}, m_domains);
    m_hint->setTextFormat(Qt::RichText);
    m_hint->setAlignment(Qt::AlignRight | Qt::AlignVCenter);
    m_hint->setWordWrap(true);
    auto* buttons = new QHBoxLayout;
    buttons->setContentsMargins(12, 8, 12, 8);
    buttons->setSpacing(8);
    buttons->addWidget(m_normalise);
    buttons->addWidget(m_lock);
    buttons->addWidget(m_reset);
    buttons->addWidget(m_hint, 1);
    m_table->setSizePolicy(QSizePolicy::Preferred, QSizePolicy::Maximum); // the total stands right under the last domain
    m_domains->setSizePolicy(QSizePolicy::Preferred, QSizePolicy::Maximum);
    m_domains->content()->addWidget(m_table, 1);
    m_domains->content()->addLayout(buttons);
    connect(m_normalise, &QPushButton::clicked, this, [this] {
        QString why;
        if (!m_model.normalise(&why)) {
            m_hint->setText(why);
        }
    });
    connect(m_lock, &QPushButton::clicked, &m_model, &MixtureModel::lockChanged);
    connect(m_reset, &QPushButton::clicked, &m_model, &MixtureModel::resetToCurrent);
    return m_domains;
}

QWidget* MixturePage::buildChanges() {
    m_earlier = new Panel(m_theme, tr("Earlier changes"), this);
    m_changesTable = new QTableView(m_earlier);
    m_changesTable->setAccessibleName(tr("Earlier changes of the mixture"));
    m_changesTable->setModel(&m_changes);
    setUpTable(m_changesTable, m_theme, 28);
    m_changesTable->setSelectionMode(QAbstractItemView::NoSelection);
    m_changesTable->setFocusPolicy(Qt::NoFocus);
    m_changesTable->verticalHeader()->setSectionResizeMode(QHeaderView::ResizeToContents);
    m_changesTable->setMinimumHeight(58);
    m_changesTable->setItemDelegate(new CellDelegate(
        m_theme,
        [this](const QModelIndex& index) {
            using C = MixtureChangesModel;
            CellDelegate::Look look;
            const int column = index.column();
            const bool words = column == C::Who || column == C::What || column == C::Reason;
            look.font = words ? TextRole::TableText : TextRole::TableNumber;
            look.wrap = column == C::What || column == C::Reason;
            look.bold = column == C::Step;
            look.padding = 10;
            look.colour = index.data(C::ShiftedRole).toBool() ? m_theme.theme().warn : column == C::Step || column == C::GradNorm ? m_theme.theme().tx : m_theme.theme().tx2;
            return look;
        },
        this));
    const int widths[] = {68, 106, 92, 108, 228, 180};
    for (int column = 0; column < 6; ++column) {
        m_changesTable->setColumnWidth(column, widths[column]);
    }
    m_noChanges = makeLabel(m_theme, TextRole::Body, "quiet", tr("No mixture is known yet."), m_earlier);
    m_noChanges->setAlignment(Qt::AlignCenter);
    m_earlier->content()->addWidget(m_changesTable, 1);
    m_earlier->content()->addWidget(m_noChanges, 1);
    return m_earlier;
}

QWidget* MixturePage::buildProjection() {
    auto* row = new QWidget(this);
    auto* epochs = new Panel(m_theme, tr("Times each domain is read"), row);
    epochs->setRemark(tr("epochs; solid with the draft, dotted without it"));
    m_epochs = new EpochChart(m_theme, epochs);
    epochs->content()->addWidget(m_epochs, 1);
    m_progressPanel = new Panel(m_theme, tr("Validation progress"), row);
    m_progress = new ValueBars(m_theme, m_progressPanel);
    m_progress->setEmptyText(tr("No validation is known yet."));
    m_progressPanel->content()->addWidget(m_progress, 1);
    auto* layout = new QHBoxLayout(row);
    layout->setContentsMargins(0, 0, 0, 0);
    layout->setSpacing(1);
    layout->addWidget(epochs, 606);
    layout->addWidget(m_progressPanel, 405);
    return row;
}

QWidget* MixturePage::buildRight() {
    auto* column = new QWidget(this);
    auto* shares = new Panel(m_theme, tr("Share of tokens"), column);
    shares->setRemark(tr("log scale"));
    shares->titleBar()->addWidget(new ShareLegend(m_theme, shares));
    m_shares = new ShareBars(m_theme, shares);
    shares->content()->addWidget(m_shares, 1);
    m_normPanel = new Panel(m_theme, tr("Gradient norm at the last change"), column);
    m_norm = new CurveChart(m_theme, m_normPanel);
    m_norm->setAccessibleName(tr("Gradient norm around the last change of the mixture"));
    m_normPanel->content()->addWidget(m_norm, 1);
    auto* apply = new Panel(m_theme, tr("Apply"), column);
    m_apply = new MixtureApplyBox(m_session, m_theme, m_model, apply);
    apply->content()->addWidget(m_apply);
    auto* layout = new QVBoxLayout(column);
    layout->setContentsMargins(0, 0, 0, 0);
    layout->setSpacing(1);
    layout->addWidget(shares, 290);
    layout->addWidget(m_normPanel, 226);
    layout->addWidget(apply, 0);
    return column;
}

} // namespace telehelm::app
