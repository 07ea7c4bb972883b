// SPDX-License-Identifier: GPL-3.0-or-later
// Ctrl+K: type a part of a name, Enter does it. GUI thread only.
#pragma once

#include "dialogs/run_dialogs.h"
#include "dialogs/scrim.h"

class QLineEdit;
class QListView;
class QSortFilterProxyModel;
class QStandardItemModel;

namespace telehelm::app {

class CommandPalette : public ScrimDialog {
    Q_OBJECT
public:
    CommandPalette(ThemeController& theme, std::vector<PaletteEntry> entries, std::function<void(qint64)> goToStep);
    [[nodiscard]] QSize wantedSize() const override { return {560, 420}; }
    [[nodiscard]] bool atTop() const override { return true; }

protected:
    bool eventFilter(QObject* watched, QEvent* event) override;

private:
    void search(const QString& text);
    void choose(const QModelIndex& index);

    std::vector<PaletteEntry> m_entries;
    std::function<void(qint64)> m_goToStep;
    QStandardItemModel* m_model;
    QSortFilterProxyModel* m_proxy;
    QLineEdit* m_input;
    QListView* m_list;
    std::optional<qint64> m_step; // typed, offered as the first line
};

} // namespace telehelm::app
