// SPDX-License-Identifier: GPL-3.0-or-later
#include "dialogs/loss_boxes.h"

#include <algorithm>
#include <map>

#include <QHBoxLayout>
#include <QLabel>
#include <QPointer>
#include <QTimer>
#include <QVBoxLayout>

#include "models/text_format.h"
#include "widgets/panel.h"

namespace telehelm::app {

qint64 commonStep(const ipc::RunInfo& run, const ipc::CheckpointInfo& checkpoint) {
    const auto find = [&run](std::uint32_t attempt) {
        const auto at = std::find_if(run.attempts.begin(), run.attempts.end(), [attempt](const auto& a) { return a.key.attempt == attempt; });
        return at == run.attempts.end() ? nullptr : &*at;
    };
    std::map<std::uint32_t, qint64> lineage; // attempt → last step of it that the newest lineage has
    const auto* attempt = run.newest();
    for (qint64 last = attempt != nullptr ? attempt->step : 0; attempt != nullptr; attempt = attempt->parent == 0 ? nullptr : find(attempt->parent)) {
        lineage[attempt->key.attempt] = last;
        last = std::min<qint64>(last, attempt->forkStep);
    }
    qint64 step = checkpoint.step;
    for (const auto* own = find(checkpoint.key.attempt); own != nullptr; own = own->parent == 0 ? nullptr : find(own->parent)) {
        if (const auto at = lineage.find(own->key.attempt); at != lineage.end()) {
            return std::min(step, at->second);
        }
        step = std::min<qint64>(step, own->forkStep);
    }
    return 0;
}

LossBoxes::LossBoxes(ThemeController& theme, QWidget* parent) : QFrame(parent), m_theme(theme) {
    setObjectName(QStringLiteral("lossBoxes"));
    auto* row = new QHBoxLayout(this);
    row->setContentsMargins(0, 0, 0, 0);
    row->setSpacing(0);
    const QString names[] = {tr("Steps"), tr("Tokens"), tr("Wall time"), tr("Rank hours")};
    for (std::size_t i = 0; i < m_boxes.size(); ++i) {
        auto* cell = new QFrame(this);
        cell->setObjectName(i + 1 < m_boxes.size() ? QStringLiteral("lossCell") : QStringLiteral("lossLast"));
        m_boxes[i] = {makeLabel(theme, TextRole::Caption, "secondary", names[i], cell), makeLabel(theme, TextRole::Readout, "", {}, cell),
                      makeLabel(theme, TextRole::Caption, "secondary", {}, cell)};
        auto* column = new QVBoxLayout(cell);
        column->setContentsMargins(12, 7, 8, 7);
        column->setSpacing(0);
        column->addWidget(m_boxes[i].name);
        column->addWidget(m_boxes[i].value);
        column->addWidget(m_boxes[i].remark);
        row->addWidget(cell, 1);
    }
    connect(&theme, &ThemeController::changed, this, &LossBoxes::restyle);
    restyle();
    clear();
}

void LossBoxes::restyle() {
    const Theme& colours = m_theme.theme();
    setStyleSheet(QStringLiteral("QFrame#lossBoxes { background: %1; border: 1px solid %2; } QFrame#lossCell { border: none; border-right: 1px solid %2; } QFrame#lossLast { border: none; }")
                      .arg(colours.critFill.name(), colours.crit.name()));
    for (auto& box : m_boxes) {
        QFont font = m_theme.font(TextRole::Readout);
        font.setPixelSize(std::max(11, font.pixelSize() - 1));
        box.value->setFont(font);
    }
}

void LossBoxes::clear() {
    m_filled = false;
    for (auto& box : m_boxes) {
        box.value->setText(QString(QChar(0x2013)));
        box.remark->setText(QStringLiteral(" "));
    }
}

void LossBoxes::set(std::size_t index, const QString& value, const QString& remark) {
    auto& box = m_boxes[index];
    box.remark->setText(remark);
    if (box.value->text() == value) {
        return;
    }
    box.value->setText(value);
    if (m_filled && box.value->property("underlined").isNull()) { // the run moved on: said once
        box.value->setProperty("underlined", true);
        QFont font = box.value->font();
        font.setUnderline(true);
        box.value->setFont(font);
        QTimer::singleShot(2500, box.value, [label = box.value] {
            QFont plain = label->font();
            plain.setUnderline(false);
            label->setFont(plain);
        });
    }
}

void LossBoxes::setLoss(const RestartLoss& loss) {
    set(0, text::count(loss.steps()), tr("%1 to %2").arg(text::count(loss.keptStep), text::count(loss.newestStep)));
    set(1, text::tokens(double(loss.tokens)), loss.tokensSoFar > 0 ? tr("%1 of all so far").arg(text::share(double(loss.tokens) / double(loss.tokensSoFar))) : QStringLiteral(" "));
    const bool known = loss.wallSeconds >= 0;
    const double hours = loss.wallSeconds / 3600.0 * loss.ranks;
    set(2, known ? text::duration(loss.wallSeconds) : QString(QChar(0x2013)), loss.sinceUs > 0 ? tr("since %1").arg(text::utcShort(loss.sinceUs)) : QStringLiteral(" "));
    set(3, known ? (hours >= 100 ? text::count(qint64(hours)) : text::fixed(hours, hours >= 10 ? 1 : hours >= 0.1 ? 2 : 3)) : QString(QChar(0x2013)), text::counted(loss.ranks, tr("rank"), tr("ranks")));
    m_filled = true;
}

} // namespace telehelm::app
