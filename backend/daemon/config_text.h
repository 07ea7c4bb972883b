// SPDX-License-Identifier: Apache-2.0
// Single keys of a config text that a start may have to set; everything else stays as it was written.
#pragma once

#include <string>
#include <string_view>

namespace telehelm::daemon {

/// Sets `key = value` in [table] (the value as TOML text); adds key and table where they are missing.
[[nodiscard]] std::string setTomlKey(std::string_view text, const std::string& table, const std::string& key, const std::string& value);

/// A TOML basic string.
[[nodiscard]] std::string tomlQuoted(std::string_view text);

} // namespace telehelm::daemon
