// SPDX-License-Identifier: GPL-3.0-or-later
#include "settings/mixture_drafts.h"

#include <QSettings>
#include <QVariantMap>

namespace telehelm::app {

namespace {

QString keyOf(const QString& run) { return QStringLiteral("mixture_draft/") + run; }

} // namespace

std::optional<ipc::Mixture> loadMixtureDraft(const QString& run) {
    const QVariantMap stored = QSettings().value(keyOf(run)).toMap();
    if (stored.isEmpty()) {
        return std::nullopt;
    }
    ipc::Mixture mixture;
    for (auto it = stored.begin(); it != stored.end(); ++it) {
        mixture[it.key().toStdString()] = it.value().toDouble();
    }
    return mixture;
}

void saveMixtureDraft(const QString& run, const ipc::Mixture& mixture) {
    QVariantMap stored;
    for (const auto& [domain, share] : mixture) {
        stored[QString::fromStdString(domain)] = share;
    }
    QSettings().setValue(keyOf(run), stored);
}

void forgetMixtureDraft(const QString& run) { QSettings().remove(keyOf(run)); }

} // namespace telehelm::app
