// SPDX-License-Identifier: GPL-3.0-or-later
// What the window told its operator, newest first; toasts come from here too. GUI thread only.
#pragma once

#include <vector>

#include <QAbstractTableModel>

#include "telehelm/ipc/types.h"

namespace telehelm::app {

struct Message {
    qint64 wallUs = 0;
    ipc::Severity severity = ipc::Severity::Info;
    QString text;
};

class MessagesModel : public QAbstractTableModel {
    Q_OBJECT
public:
    enum Column { Severity, When, Text, ColumnCount };
    enum Role { SeverityRole = Qt::UserRole + 1 };
    using QAbstractTableModel::QAbstractTableModel;
    void add(Message message); // the oldest of more than 1,000 goes

    int rowCount(const QModelIndex& parent = {}) const override;
    int columnCount(const QModelIndex& parent = {}) const override;
    QVariant data(const QModelIndex& index, int role) const override;
    QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

private:
    std::vector<Message> m_messages; // oldest first; row 0 is the last
};

} // namespace telehelm::app
