// SPDX-License-Identifier: GPL-3.0-or-later
#include "models/messages_model.h"

#include <QDateTime>

#include "models/events_model.h"

namespace telehelm::app {
namespace {
constexpr std::size_t kMost = 1000;
}

void MessagesModel::add(Message message) {
    if (m_messages.size() >= kMost) {
        const int last = rowCount() - 1;
        beginRemoveRows({}, last, last);
        m_messages.erase(m_messages.begin());
        endRemoveRows();
    }
    beginInsertRows({}, 0, 0);
    m_messages.push_back(std::move(message));
    endInsertRows();
}

int MessagesModel::rowCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : static_cast<int>(m_messages.size()); }
int MessagesModel::columnCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : ColumnCount; }

QVariant MessagesModel::data(const QModelIndex& index, int role) const {
    if (!checkIndex(index, CheckIndexOption::IndexIsValid | CheckIndexOption::ParentIsInvalid))
        return {};
    const auto& message = m_messages[m_messages.size() - 1 - static_cast<std::size_t>(index.row())];
    if (role == SeverityRole)
        return static_cast<int>(message.severity);
    if (role == Qt::AccessibleTextRole && index.column() == Severity)
        return severityText(message.severity);
    if (role != Qt::DisplayRole && role != Qt::ToolTipRole)
        return {};
    if (index.column() == When)
        return QDateTime::fromMSecsSinceEpoch(message.wallUs / 1000, Qt::UTC).toString(QStringLiteral("HH:mm:ss"));
    return index.column() == Text ? message.text : QString();
}

QVariant MessagesModel::headerData(int section, Qt::Orientation orientation, int role) const {
    if (orientation != Qt::Horizontal || role != Qt::DisplayRole)
        return {};
    return section == When ? tr("When") : section == Text ? tr("Message") : QString();
}

} // namespace telehelm::app
