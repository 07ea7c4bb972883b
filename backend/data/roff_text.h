// SPDX-License-Identifier: Apache-2.0
// The readable text of a manual page (man and the common part of mdoc).
#pragma once

#include <string>
#include <string_view>

namespace telehelm::data {

/// Paragraphs on one line each, headings on their own, tags of lists before their text; macros and font changes are gone.
/// A page that only refers to another one (.so) gives nothing.
[[nodiscard]] std::string manToText(std::string_view roff);

} // namespace telehelm::data
