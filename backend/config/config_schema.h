// SPDX-License-Identifier: Apache-2.0
// Every key that a config may have, as a table: where it goes, whether it must be there, what range it has.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "config/run_config.h"

namespace telehelm::config {

/// The field that a key fills.
using Slot = std::variant<bool*, std::int64_t*, std::int32_t*, std::uint64_t*, double*, std::string*,
                          std::map<std::string, double>*, std::vector<std::int64_t>*>;

struct Key {
    std::string_view table; // "" = the top of the file
    std::string_view name;
    Slot (*slot)(RunConfig&);
    bool required;
    double low, high;         // numbers, and those of a list: the range, both ends included
    std::string_view choices; // strings: "cpu|cuda"; "" = any
};

[[nodiscard]] std::span<const Key> schema();
/// The valid table nearest to a wrong one; "" when none is near.
[[nodiscard]] std::string nearestTable(std::string_view wrong);
/// The valid key of `table` nearest to a wrong one (else one of another table, as "[table] key"); "" when none is near.
[[nodiscard]] std::string nearestKey(std::string_view table, std::string_view wrong);
/// Insertions, deletions and replacements that make `a` of `b`.
[[nodiscard]] std::size_t editDistance(std::string_view a, std::string_view b);

/// Rules that bind several keys together; `where` gives the context ("file:line") of a key.
class KeyPlaces {
public:
    virtual ~KeyPlaces() = default;
    [[nodiscard]] virtual std::string place(std::string_view table, std::string_view key) const = 0;
};
[[nodiscard]] Result<void> checkTogether(const RunConfig& config, const KeyPlaces& places);

} // namespace telehelm::config
