// SPDX-License-Identifier: Apache-2.0
// Texts that come in formats of their own: dictd's dictionaries, fortunes, the Bible of bible-kjv-text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "telehelm/ipc/result.h"

namespace telehelm::data {

/// The entries of a dictd dictionary, in the order of the text; `index` has lines “headword TAB offset TAB length” in base 64.
/// Entries about the dictionary itself (00-database-…) are left out.
[[nodiscard]] Result<std::vector<std::string>> dictionaryEntries(std::string_view text, std::string_view index,
                                                                 const std::string& name);

/// The texts between lines “%”, without terminal colours.
[[nodiscard]] std::vector<std::string> fortunes(std::string_view file);

/// The chapters of bible.data (“EC02Compressed Data File”: windows of 64 KB, each compressed as by compress(1)): “Ge 1”, then a
/// verse a line.
[[nodiscard]] Result<std::vector<std::string>> bibleChapters(std::string_view file, const std::string& name);

/// compress(1)'s LZW with 16 bits and block mode, without the three bytes of its header.
[[nodiscard]] Result<std::string> expandLzw(std::string_view bytes, const std::string& name);

} // namespace telehelm::data
