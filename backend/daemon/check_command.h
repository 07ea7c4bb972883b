// SPDX-License-Identifier: Apache-2.0
// telehelmd check: looks a store over, in words for an operator.
#pragma once

#include <filesystem>
#include <iosfwd>

namespace telehelm::daemon {

struct CheckArguments {
    std::filesystem::path stateDir;
    bool repair = false;
    bool json = false;
};

/// Findings and summary to `out`, progress and errors to `err`. 0: whole, or all is mended; 1: damaged; 3: cannot be checked.
[[nodiscard]] int runCheck(const CheckArguments& arguments, std::ostream& out, std::ostream& err);

} // namespace telehelm::daemon
