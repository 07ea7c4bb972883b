// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/audit_details.h"

#include <algorithm>
#include <cmath>

#include <QClipboard>
#include <QGridLayout>
#include <QGuiApplication>
#include <QHBoxLayout>
#include <QLabel>
#include <QPushButton>
#include <QVBoxLayout>

#include "models/text_format.h"
#include "pages/step_means.h"
#include "widgets/diff_view.h"
#include "widgets/panel.h"

namespace telehelm::app {

namespace {

struct Measure {
    const char* series;
    const char* name;
    double scale;
    int decimals;
    const char* unit;
    bool relative; // change in percent, else as a difference
};

constexpr Measure kMeasures[] = {
    {ipc::series::kTokensPerS, QT_TRANSLATE_NOOP("AuditDetails", "Throughput, tokens/s"), 1, 0, "", true},
    {ipc::series::kStepMs, QT_TRANSLATE_NOOP("AuditDetails", "Step time"), 1e-3, 3, " s", true},
    {ipc::series::kTrainLoss, QT_TRANSLATE_NOOP("AuditDetails", "Loss, mean"), 1, 3, "", false},
    {ipc::series::kGradNorm, QT_TRANSLATE_NOOP("AuditDetails", "Gradient norm"), 1, 3, "", true},
};

const char* iconOf(const AuditEntry& entry) {
    if (!entry.command) {
        return entry.severity == ipc::Severity::Critical ? "failure" : entry.event && entry.event->kind == ipc::EventKind::CheckpointSaved ? "checkpoint" : "log";
    }
    switch (entry.command->kind) {
    case ipc::CommandKind::Pause: return "pause";
    case ipc::CommandKind::Resume: return "play";
    case ipc::CommandKind::Stop: return "stop";
    case ipc::CommandKind::Checkpoint: return "checkpoint";
    case ipc::CommandKind::SetMixture: return "mixture";
    case ipc::CommandKind::SetLrScale: return "trend";
    case ipc::CommandKind::Restart: return "restart";
    }
    return "log";
}

QString after(qint64 fromUs, qint64 toUs) {
    const double ms = double(toUs - fromUs) / 1000.0;
    return ms < 1000 ? QStringLiteral("%1 ms").arg(std::llround(std::max(0.0, ms))) : text::duration(ms / 1000.0);
}

} // namespace

AuditDetails::AuditDetails(Session& session, ThemeController& theme, QWidget* parent) : QWidget(parent), m_session(session), m_theme(theme) {
    m_all = new QWidget(this);
    m_icon = new QLabel(m_all);
    m_title = makeLabel(theme, TextRole::Section, "", {}, m_all);
    m_title->setWordWrap(true);
    auto* head = new QHBoxLayout;
    head->setSpacing(8);
    head->addWidget(m_icon);
    head->addWidget(m_title, 1);
    m_facts = new QWidget(m_all);
    m_factGrid = new QGridLayout(m_facts);
    m_factGrid->setContentsMargins(0, 0, 0, 0);
    m_factGrid->setVerticalSpacing(6);
    m_factGrid->setColumnMinimumWidth(0, 110);
    m_factGrid->setColumnStretch(1, 1);
    m_reasonHead = makeLabel(theme, TextRole::Section, "", tr("Reason"), m_all);
    m_reason = makeLabel(theme, TextRole::Body, "", {}, m_all);
    m_reason->setWordWrap(true);
    m_reason->setTextInteractionFlags(Qt::TextSelectableByMouse);
    m_diffHead = makeLabel(theme, TextRole::Section, "", tr("Config changes"), m_all);
    m_diff = new DiffView(theme, m_all);
    m_effectHead = makeLabel(theme, TextRole::Section, "", {}, m_all);
    m_effectNone = makeLabel(theme, TextRole::Body, "quiet", {}, m_all);
    m_effectNone->setWordWrap(true);
    buildEffect();
    m_show = makeButton(theme, "", "live", tr("Show on plots"), m_all);
    m_show->setObjectName(QStringLiteral("showOnPlots"));
    m_copy = makeButton(theme, "", "copy", tr("Copy entry"), m_all);
    m_copy->setObjectName(QStringLiteral("copyEntry"));
    auto* buttons = new QHBoxLayout;
    buttons->setSpacing(8);
    buttons->addWidget(m_show);
    buttons->addWidget(m_copy);
    buttons->addStretch(1);
    auto* column = new QVBoxLayout(m_all);
    column->setContentsMargins(16, 12, 16, 12);
    column->setSpacing(6);
    column->addLayout(head);
    column->addSpacing(4);
    column->addWidget(m_facts);
    for (QWidget* part : {static_cast<QWidget*>(m_reasonHead), static_cast<QWidget*>(m_reason), static_cast<QWidget*>(m_diffHead), static_cast<QWidget*>(m_diff),
                          static_cast<QWidget*>(m_effectHead), m_effect, static_cast<QWidget*>(m_effectNone)}) {
        if (part == m_reasonHead || part == m_diffHead || part == m_effectHead) {
            column->addSpacing(8);
        }
        column->addWidget(part);
    }
    column->addStretch(1);
    column->addLayout(buttons);
    m_empty = makeLabel(theme, TextRole::Body, "quiet", tr("Choose an entry to see who gave it, why, and what happened after it."), this);
    static_cast<QLabel*>(m_empty)->setWordWrap(true);
    static_cast<QLabel*>(m_empty)->setAlignment(Qt::AlignCenter);
    static_cast<QLabel*>(m_empty)->setMargin(24);
    auto* outer = new QVBoxLayout(this);
    outer->setContentsMargins(0, 0, 0, 0);
    outer->addWidget(m_all);
    outer->addWidget(m_empty);
    connect(m_show, &QPushButton::clicked, this, [this] {
        if (m_entry) {
            const auto& key = m_entry->command ? m_entry->command->key : m_entry->event->key;
            emit showOnPlots(QString::fromStdString(key.run), m_entry->step);
        }
    });
    connect(m_copy, &QPushButton::clicked, this, [this] { QGuiApplication::clipboard()->setText(asText()); });
    connect(&session, &Session::seriesFetched, this, [this](JobId job, const std::vector<ipc::SeriesSegment>& segments) {
        if (job == m_job) {
            effectCame(segments);
        }
    });
    connect(&session, &Session::jobFailed, this, [this](JobId job, const Error& error) {
        if (job == m_job && job != 0) {
            m_effectNone->setText(tr("The measures could not be read: %1").arg(QString::fromStdString(error.text())));
        }
    });
    clear();
}

void AuditDetails::buildEffect() {
    m_effect = new QWidget(m_all);
    auto* grid = new QGridLayout(m_effect);
    grid->setContentsMargins(8, 0, 8, 0);
    grid->setHorizontalSpacing(12);
    grid->setVerticalSpacing(0);
    const QString heads[] = {tr("Measure"), tr("Before"), tr("After"), tr("Change")};
    for (int column = 0; column < 4; ++column) {
        auto* label = makeLabel(m_theme, TextRole::Caption, "quiet", heads[column], m_effect);
        label->setMinimumHeight(25);
        label->setAlignment(Qt::AlignVCenter | (column == 0 ? Qt::AlignLeft : Qt::AlignRight));
        grid->addWidget(label, 0, column);
    }
    grid->setColumnStretch(0, 2);
    for (int row = 0; row < 4; ++row) {
        auto* line = new QFrame(m_effect);
        line->setObjectName(QStringLiteral("hairline"));
        grid->addWidget(line, 2 * row + 1, 0, 1, 4);
        QLabel* cells[4];
        for (int column = 0; column < 4; ++column) {
            const bool word = column == 0;
            cells[column] = makeLabel(m_theme, word ? TextRole::TableText : TextRole::TableNumber, column == 1 || word ? "secondary" : "",
                                      word ? tr(kMeasures[row].name) : QString(), m_effect);
            cells[column]->setMinimumHeight(25);
            cells[column]->setAlignment(Qt::AlignVCenter | (word ? Qt::AlignLeft : Qt::AlignRight));
            grid->addWidget(cells[column], 2 * row + 2, column);
        }
        m_rows[static_cast<std::size_t>(row)] = {cells[0], cells[1], cells[2], cells[3]};
    }
}

void AuditDetails::clear() {
    m_entry.reset();
    m_job = 0;
    m_all->hide();
    m_empty->show();
}

void AuditDetails::addFact(const QString& name, const QString& value) {
    if (value.isEmpty()) {
        return;
    }
    const int row = m_factGrid->rowCount();
    m_factGrid->addWidget(makeLabel(m_theme, TextRole::TableText, "quiet", name, m_facts), row, 0, Qt::AlignTop);
    auto* label = makeLabel(m_theme, TextRole::TableNumber, "", value, m_facts);
    label->setWordWrap(true);
    label->setTextInteractionFlags(Qt::TextSelectableByMouse);
    m_factGrid->addWidget(label, row, 1);
    m_factLines << name + QStringLiteral(": ") + value;
}

void AuditDetails::setEntry(const AuditEntry& entry) {
    m_entry = entry;
    m_empty->hide();
    m_all->show();
    m_icon->setPixmap(m_theme.icon(iconOf(entry), m_theme.theme().tx).pixmap(16, 16));
    m_title->setText(entry.step >= 0 ? tr("%1 at step %2").arg(entry.action, text::count(entry.step)) : tr("%1, %2").arg(entry.action, entry.result));
    while (QLayoutItem* item = m_factGrid->takeAt(0)) {
        delete item->widget();
        delete item;
    }
    m_factLines.clear();
    showFacts(entry);
    const QString reason = entry.command ? QString::fromStdString(entry.command->reason) : entry.why;
    m_reasonHead->setText(entry.command ? tr("Reason") : tr("What happened"));
    m_reason->setText(reason.isEmpty() ? tr("None was given.") : reason);
    setRole(m_reason, reason.isEmpty() ? "quiet" : "");
    std::vector<DiffLine> diff;
    if (entry.command) {
        diff = parseDiff(QString::fromStdString(entry.command->diff));
    }
    m_diffHead->setVisible(!diff.empty());
    m_diff->setVisible(!diff.empty());
    m_diff->setLines(std::move(diff));
    m_diff->fitHeight(220);
    m_show->setEnabled(entry.step >= 0);
    askEffect();
}

void AuditDetails::showFacts(const AuditEntry& entry) {
    addFact(tr("Who"), entry.host.isEmpty() ? entry.who : tr("%1 from %2").arg(entry.who, entry.host));
    addFact(tr("When"), text::utcLong(entry.wallUs));
    addFact(tr("Result"), entry.result);
    if (!entry.command) {
        for (const auto& [name, value] : entry.event->facts) {
            addFact(QString::fromStdString(name), QString::fromStdString(value));
        }
        return;
    }
    const ipc::Command& command = *entry.command;
    if (command.acceptedUs > 0) {
        addFact(tr("Accepted"), tr("after %1 by %2").arg(after(command.requestedUs, command.acceptedUs), QString::fromStdString(m_session.hello().program)));
    }
    if (command.endedUs > 0 && command.state == ipc::CommandState::Applied) {
        addFact(tr("In effect"), tr("%1 after the order").arg(after(command.requestedUs, command.endedUs)));
    }
    if (command.restart) {
        addFact(tr("Checkpoint"), tr("step %1 of attempt %2").arg(text::count(command.restart->checkpointStep)).arg(command.restart->checkpointAttempt));
    }
    addFact(tr("New attempt"), command.newAttempt > 0 ? QString::number(command.newAttempt) : QString());
    addFact(tr("Outcome"), QString::fromStdString(command.outcome));
    addFact(tr("Command id"), QString::fromStdString(command.id));
}

void AuditDetails::askEffect() {
    const AuditEntry& entry = *m_entry;
    const std::string runName = entry.command ? entry.command->key.run : entry.event->key.run;
    const ipc::RunInfo* run = m_session.run(QString::fromStdString(runName));
    const qint64 newest = run != nullptr && run->newest() != nullptr ? run->newest()->step : 0;
    const bool refused = entry.command && entry.command->state != ipc::CommandState::Applied;
    const bool possible = entry.step > 0 && newest > entry.step && !refused;
    m_window = std::clamp<qint64>(newest - entry.step, 1, 1000);
    m_effectHead->setText(possible ? tr("Effect in the next %1 steps").arg(text::count(m_window)) : tr("Effect"));
    m_effect->setVisible(possible);
    m_effectNone->setVisible(!possible);
    m_effectNone->setText(refused          ? tr("It was not applied, so nothing changed.")
                          : entry.step < 0 ? tr("This entry is not tied to a step.")
                                           : tr("No step has been trained after it yet."));
    for (auto& row : m_rows) {
        for (QLabel* label : {row.before, row.after, row.change}) {
            label->setText(QStringLiteral("…"));
        }
    }
    m_job = 0;
    if (possible) {
        ipc::SeriesQuery query;
        query.key = {runName, 0};
        for (const auto& measure : kMeasures) {
            query.names.emplace_back(measure.series);
        }
        query.from = std::max<qint64>(1, entry.step - m_window);
        query.to = entry.step + m_window;
        query.maxBuckets = 0;
        m_job = m_session.fetchSeries(query);
    }
}

void AuditDetails::effectCame(const std::vector<ipc::SeriesSegment>& segments) {
    const QString none(QChar(0x2013));
    for (std::size_t i = 0; i < m_rows.size(); ++i) {
        const Measure& measure = kMeasures[i];
        const MeanPair means = meansAround(segments, measure.series, m_entry->step, m_window);
        const auto shown = [&](const std::optional<double>& value) {
            return !value ? none : measure.decimals == 0 ? text::count(std::llround(*value)) : text::fixed(*value * measure.scale, measure.decimals) + QLatin1String(measure.unit);
        };
        m_rows[i].before->setText(shown(means.before));
        m_rows[i].after->setText(shown(means.after));
        m_rows[i].change->setText(!means.before || !means.after ? none
                                  : measure.relative            ? text::change(*means.before, *means.after)
                                                                : text::withSign((*means.after - *means.before) * measure.scale, 3));
    }
}

QString AuditDetails::asText() const {
    if (!m_entry) {
        return {};
    }
    QStringList lines{m_title->text()};
    lines += m_factLines;
    lines << m_reasonHead->text() + QStringLiteral(": ") + m_reason->text();
    if (m_entry->command && !m_entry->command->diff.empty()) {
        lines << m_diffHead->text() + QLatin1Char(':') << QString::fromStdString(m_entry->command->diff);
    }
    return lines.join(QLatin1Char('\n'));
}

} // namespace telehelm::app
