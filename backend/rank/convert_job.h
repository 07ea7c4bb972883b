// SPDX-License-Identifier: Apache-2.0
// What telehelm-rank does instead of training: a checkpoint to Hugging Face's format, or one from it.
#pragma once

#include "rank/rank_options.h"

namespace telehelm::rank {

/// Prints what was done or why not; the exit code. Main thread of a single process.
[[nodiscard]] int runConvertJob(const RankOptions& options, int ranks);

} // namespace telehelm::rank
