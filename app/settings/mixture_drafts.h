// SPDX-License-Identifier: GPL-3.0-or-later
// Mixtures that an operator is working on, kept per run until applied. GUI thread only.
#pragma once

#include <optional>

#include <QString>

#include "telehelm/ipc/types.h"

namespace telehelm::app {

[[nodiscard]] std::optional<ipc::Mixture> loadMixtureDraft(const QString& run);
void saveMixtureDraft(const QString& run, const ipc::Mixture& mixture);
void forgetMixtureDraft(const QString& run);

} // namespace telehelm::app
