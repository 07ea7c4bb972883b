// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "store/sqlite.h"

namespace telehelm::store {

/// From version 1 to 2, in a transaction: lists read one row a series, logged points know their index and have a checksum,
/// commits are counted, what is damaged can be set aside.
void migrateToVersion2(Database& db);

} // namespace telehelm::store
