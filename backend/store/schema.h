// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "store/sqlite.h"

namespace telehelm::store {

inline constexpr int kSchemaVersion = 3;

/// Refuses what is no store of Telehelm, or a newer one; the version that it has.
[[nodiscard]] Result<int> schemaVersion(Database& db, const std::string& context);
/// Makes the tables of a new file, migrates those of an older one, refuses those of a newer one.
[[nodiscard]] Result<void> prepareSchema(Database& db, const std::string& context);
/// The same for a file that cannot be written: an older one is refused, too.
[[nodiscard]] Result<void> requireSchema(Database& db, const std::string& context);

} // namespace telehelm::store
