// SPDX-License-Identifier: Apache-2.0
// A small corpus out of a large one, for machines and tests to which the large one does not go.
#pragma once

#include <cstdint>
#include <filesystem>

#include "telehelm/ipc/result.h"

namespace telehelm::data {

/// Copies whole documents of each domain of the corpus in `from`, spread evenly over it, until their training tokens are about
/// `tokensPerDomain` (to one document; all of a smaller domain). Held-out documents stay held out and are thinned as much; sources
/// and licences are kept. `to` as in CorpusWriter::create. Reads the chosen documents alone.
[[nodiscard]] Result<void> sliceCorpus(const std::filesystem::path& from, const std::filesystem::path& to, std::int64_t tokensPerDomain);

} // namespace telehelm::data
