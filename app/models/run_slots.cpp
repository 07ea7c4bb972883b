// SPDX-License-Identifier: GPL-3.0-or-later
#include "models/run_slots.h"

#include <algorithm>

#include <QSettings>

namespace telehelm::app {

RunSlots::RunSlots(QSettings& settings, QObject* parent) : QObject(parent), m_settings(settings) {}

QString RunSlots::key(const QString& run) const {
    // A slash in a run's name must not open a group of settings.
    return QStringLiteral("runSlots/") + QString::fromLatin1(run.toUtf8().toPercentEncoding());
}

void RunSlots::setRuns(const QStringList& runs) {
    std::erase_if(m_slots, [&](const auto& entry) { return !runs.contains(entry.first); });
    // Those that have a slot from an earlier session first, so that no newcomer takes it.
    for (const auto& run : runs)
        if (m_settings.contains(key(run)))
            (void)slotOf(run);
    for (const auto& run : runs)
        (void)slotOf(run);
}

int RunSlots::slotOf(const QString& run) {
    if (const auto it = m_slots.find(run); it != m_slots.end())
        return it->second;
    const auto taken = [this](int slot) {
        return std::any_of(m_slots.begin(), m_slots.end(), [slot](const auto& entry) { return entry.second == slot; });
    };
    bool stored = false;
    int slot = m_settings.value(key(run)).toInt(&stored);
    if (!stored || slot < 0 || taken(slot))
        for (slot = 0; taken(slot);)
            ++slot;
    m_settings.setValue(key(run), slot);
    m_slots.emplace(run, slot);
    return slot;
}

void RunSlots::setHidden(const QString& run, bool hidden) {
    if (hidden == m_hidden.contains(run))
        return;
    if (hidden)
        m_hidden.insert(run);
    else
        m_hidden.remove(run);
    emit hiddenChanged(run);
}

} // namespace telehelm::app
