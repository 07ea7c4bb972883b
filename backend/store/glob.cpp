// SPDX-License-Identifier: Apache-2.0
#include "store/glob.h"

namespace telehelm::store {
namespace {

std::size_t nextCharacter(std::string_view text, std::size_t at) { // UTF-8
    do
        ++at;
    while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80);
    return at;
}

} // namespace

bool matches(std::string_view glob, std::string_view name) {
    std::size_t g = 0, n = 0;
    std::size_t star = std::string_view::npos, mark = 0; // the last `*`, and where the name goes on behind what it took
    while (n < name.size()) {
        if (g < glob.size() && glob[g] == '*') {
            star = ++g;
            mark = n;
        } else if (g < glob.size() && glob[g] == '?') {
            ++g;
            n = nextCharacter(name, n);
        } else if (g < glob.size() && glob[g] == name[n]) {
            ++g;
            ++n;
        } else if (star != std::string_view::npos) {
            g = star;
            n = ++mark;
        } else {
            return false;
        }
    }
    return glob.find_first_not_of('*', g) == std::string_view::npos;
}

} // namespace telehelm::store
