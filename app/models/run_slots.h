// SPDX-License-Identifier: GPL-3.0-or-later
// The colour slot of each run (design.md, section 5): the lowest free one when it comes, kept by run id over sessions. Slot 8 and up
// reuse the colours with another dash. GUI thread only.
#pragma once

#include <map>

#include <QObject>
#include <QSet>
#include <QString>

class QSettings;

namespace telehelm::app {

class RunSlots : public QObject {
    Q_OBJECT
public:
    /// `settings` outlives this.
    explicit RunSlots(QSettings& settings, QObject* parent = nullptr);
    /// Which runs there are now: slots of others are free again for newcomers, until their run comes back.
    void setRuns(const QStringList& runs);
    [[nodiscard]] int slotOf(const QString& run);
    [[nodiscard]] static int colourOf(int slot) { return slot % 8; }
    [[nodiscard]] static int dashOf(int slot) { return slot / 8; } // 0 solid, 1: 7-3, 2 and more: 2-2.5
    [[nodiscard]] bool isHidden(const QString& run) const { return m_hidden.contains(run); }
    void setHidden(const QString& run, bool hidden);

signals:
    void hiddenChanged(const QString& run);

private:
    [[nodiscard]] QString key(const QString& run) const;
    QSettings& m_settings;
    std::map<QString, int> m_slots; // of the runs there are
    QSet<QString> m_hidden;
};

} // namespace telehelm::app
