// SPDX-License-Identifier: GPL-3.0-or-later
#include "dialogs/command_palette.h"

#include <QKeyEvent>
#include <QLineEdit>
#include <QListView>
#include <QPainter>
#include <QRegularExpression>
#include <QSortFilterProxyModel>
#include <QStandardItemModel>
#include <QStyledItemDelegate>
#include <QTimer>
#include <QVBoxLayout>

#include "models/text_format.h"

namespace telehelm::app {

namespace {

constexpr int kEntryRole = Qt::UserRole + 1, kHintRole = Qt::UserRole + 2;

class PaletteDelegate : public QStyledItemDelegate {
public:
    PaletteDelegate(ThemeController& theme, QObject* parent) : QStyledItemDelegate(parent), m_theme(theme) {}
    void paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const override {
        painter->save();
        const Theme& colours = m_theme.theme();
        const bool selected = option.state.testFlag(QStyle::State_Selected);
        if (selected) {
            painter->fillRect(option.rect, colours.accentFill);
        }
        const QRect place = option.rect.adjusted(14, 0, -14, 0);
        index.data(Qt::DecorationRole).value<QIcon>().paint(painter, QRect(place.left(), place.center().y() - 7, 16, 16));
        painter->setFont(m_theme.font(TextRole::Body));
        painter->setPen(selected ? colours.accentTx : colours.tx);
        painter->drawText(place.adjusted(26, 0, -140, 0), Qt::AlignVCenter, index.data().toString());
        painter->setFont(m_theme.font(TextRole::Caption));
        painter->setPen(selected ? colours.accentTx : colours.tx3);
        painter->drawText(place, Qt::AlignVCenter | Qt::AlignRight, index.data(kHintRole).toString());
        painter->restore();
    }
    QSize sizeHint(const QStyleOptionViewItem&, const QModelIndex&) const override { return {200, 30}; }

private:
    ThemeController& m_theme;
};

/// Every word typed must occur somewhere in the line.
class WordsFilter : public QSortFilterProxyModel {
public:
    using QSortFilterProxyModel::QSortFilterProxyModel;
    void setWords(const QString& text) {
        m_words = text.split(QLatin1Char(' '), Qt::SkipEmptyParts);
        invalidateFilter();
    }

protected:
    bool filterAcceptsRow(int row, const QModelIndex& parent) const override {
        const QModelIndex index = sourceModel()->index(row, 0, parent);
        const QString line = index.data().toString() + QLatin1Char(' ') + index.data(kHintRole).toString();
        for (const QString& word : m_words) {
            if (!line.contains(word, Qt::CaseInsensitive)) {
                return false;
            }
        }
        return true;
    }

private:
    QStringList m_words;
};

} // namespace

CommandPalette::CommandPalette(ThemeController& theme, std::vector<PaletteEntry> entries, std::function<void(qint64)> goToStep)
    : ScrimDialog(theme), m_entries(std::move(entries)), m_goToStep(std::move(goToStep)) {
    setAccessibleName(tr("Command palette"));
    m_model = new QStandardItemModel(this);
    for (std::size_t i = 0; i < m_entries.size(); ++i) {
        auto* item = new QStandardItem(m_entries[i].icon, m_entries[i].text);
        item->setData(static_cast<int>(i), kEntryRole);
        item->setData(m_entries[i].hint, kHintRole);
        item->setEditable(false);
        m_model->appendRow(item);
    }
    m_proxy = new WordsFilter(this);
    m_proxy->setSourceModel(m_model);
    m_input = new QLineEdit(this);
    m_input->setObjectName(QStringLiteral("paletteInput"));
    m_input->setFont(theme.font(TextRole::Body));
    m_input->setAccessibleName(tr("Search for an action, run or series"));
    m_input->setPlaceholderText(m_goToStep ? tr("Action, run, series, or “go to 41210”") : tr("Action, run or series"));
    m_input->setMinimumHeight(34);
    m_input->installEventFilter(this);
    m_list = new QListView(this);
    m_list->setObjectName(QStringLiteral("paletteList"));
    m_list->setAccessibleName(tr("Matches"));
    m_list->setFocusPolicy(Qt::NoFocus);
    m_list->setModel(m_proxy);
    m_list->setItemDelegate(new PaletteDelegate(theme, this));
    auto* all = new QVBoxLayout(this);
    all->setContentsMargins(10, 10, 10, 10);
    all->setSpacing(8);
    all->addWidget(m_input);
    all->addWidget(m_list, 1);
    connect(m_input, &QLineEdit::textChanged, this, &CommandPalette::search);
    connect(m_list, &QListView::clicked, this, &CommandPalette::choose);
    m_input->setFocus();
    search({});
}

void CommandPalette::search(const QString& text) {
    static const QRegularExpression step(QStringLiteral("^\\s*(?:go\\s*to\\s*|step\\s*)?([0-9][0-9,]*)\\s*$"), QRegularExpression::CaseInsensitiveOption);
    if (m_step) {
        m_model->removeRow(0);
        m_step.reset();
    }
    const auto match = step.match(text);
    if (m_goToStep && match.hasMatch()) {
        m_step = match.captured(1).remove(QLatin1Char(',')).toLongLong();
        auto* item = new QStandardItem(m_theme.icon("fwd"), tr("Go to step %1").arg(text::count(*m_step)));
        item->setData(-1, kEntryRole);
        item->setData(text, kHintRole);
        m_model->insertRow(0, item);
    }
    static_cast<WordsFilter*>(m_proxy)->setWords(text);
    m_list->setCurrentIndex(m_proxy->index(0, 0));
}

void CommandPalette::choose(const QModelIndex& index) {
    if (!index.isValid()) {
        return;
    }
    const int entry = index.data(kEntryRole).toInt();
    std::function<void()> act = entry >= 0 ? m_entries[static_cast<std::size_t>(entry)].run : [go = m_goToStep, step = m_step.value_or(0)] { go(step); };
    accept();
    if (act) {
        QTimer::singleShot(0, parentWidget() != nullptr ? parentWidget()->window() : nullptr, std::move(act));
    }
}

bool CommandPalette::eventFilter(QObject* watched, QEvent* event) {
    if (watched == m_input && event->type() == QEvent::KeyPress) {
        const auto* key = static_cast<QKeyEvent*>(event);
        const int row = m_list->currentIndex().row(), rows = m_proxy->rowCount();
        switch (key->key()) {
        case Qt::Key_Down: m_list->setCurrentIndex(m_proxy->index(std::min(row + 1, rows - 1), 0)); return true;
        case Qt::Key_Up: m_list->setCurrentIndex(m_proxy->index(std::max(row - 1, 0), 0)); return true;
        case Qt::Key_Return:
        case Qt::Key_Enter: choose(m_list->currentIndex()); return true;
        case Qt::Key_Escape: reject(); return true;
        default: break;
        }
    }
    return ScrimDialog::eventFilter(watched, event);
}

} // namespace telehelm::app
