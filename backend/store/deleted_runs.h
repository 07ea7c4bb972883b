// SPDX-License-Identifier: Apache-2.0
// Deleted runs: marked in one small transaction, purged in many. Free functions in a transaction of `db`; throw SqlError.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "store/sqlite.h"
#include "telehelm/ipc/types.h"

namespace telehelm::store {

/// From here on nothing of the run is found any more; its rows are left for purgeSome(). Fills the record's attempts and points; returns
/// the attempts' ids.
[[nodiscard]] std::vector<std::int64_t> markDeleted(Database& db, ipc::DeletedRun& record);
/// Takes some rows of a deleted run away, a millisecond's work or two; false when there are none. Series of which nothing is left: to `gone`.
[[nodiscard]] bool purgeSome(Database& db, std::vector<std::int64_t>& gone);
/// An attempt that purgeSome() works on.
[[nodiscard]] std::optional<std::int64_t> attemptToPurge(Database& db);
[[nodiscard]] std::vector<ipc::DeletedRun> selectDeletedRuns(Database& db); // oldest first

} // namespace telehelm::store
