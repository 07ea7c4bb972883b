// SPDX-License-Identifier: Apache-2.0
// The readable text of an HTML page.
#pragma once

#include <string>
#include <string_view>

namespace telehelm::data {

/// Blocks become paragraphs, list items lines with “- ”, table rows lines with “ | ” between cells; <pre> keeps its lines.
/// Scripts, styles, navigation, tables of contents, indexes, headers and footers of the page are left out, by element, role and
/// well-known class names.
[[nodiscard]] std::string htmlToText(std::string_view html);

} // namespace telehelm::data
