// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace telehelm::store {

/// True when `glob` matches the whole name: `*` is any text, `/` included, `?` one character, all else itself.
[[nodiscard]] bool matches(std::string_view glob, std::string_view name);
[[nodiscard]] inline bool hasGlob(std::string_view name) { return name.find_first_of("*?") != std::string_view::npos; }
/// What every name that it matches begins with.
[[nodiscard]] inline std::string_view literalPrefix(std::string_view glob) { return glob.substr(0, glob.find_first_of("*?")); }

} // namespace telehelm::store
