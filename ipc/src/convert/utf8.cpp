// SPDX-License-Identifier: Apache-2.0
#include "convert/convert.h"

namespace telehelm::ipc {
namespace {

bool continues(std::string_view text, std::size_t at) {
    return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80;
}

// Length of the valid sequence that starts at `at`, 0 when there is none (RFC 3629: no overlong forms, no surrogates).
std::size_t sequenceLength(std::string_view text, std::size_t at) {
    const auto lead = static_cast<unsigned char>(text[at]);
    const unsigned char next = at + 1 < text.size() ? static_cast<unsigned char>(text[at + 1]) : 0;
    if (lead < 0x80)
        return 1;
    if (lead >= 0xc2 && lead <= 0xdf)
        return continues(text, at + 1) ? 2 : 0;
    if (lead >= 0xe0 && lead <= 0xef) {
        const bool wrong = (lead == 0xe0 && next < 0xa0) || (lead == 0xed && next >= 0xa0);
        return !wrong && continues(text, at + 1) && continues(text, at + 2) ? 3 : 0;
    }
    if (lead >= 0xf0 && lead <= 0xf4) {
        const bool wrong = (lead == 0xf0 && next < 0x90) || (lead == 0xf4 && next >= 0x90);
        return !wrong && continues(text, at + 1) && continues(text, at + 2) && continues(text, at + 3) ? 4 : 0;
    }
    return 0;
}

} // namespace

std::string mendUtf8(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t length = sequenceLength(text, at);
        if (length == 0) {
            out += "\xef\xbf\xbd";
            ++at;
        } else {
            out.append(text, at, length);
            at += length;
        }
    }
    return out;
}

} // namespace telehelm::ipc
