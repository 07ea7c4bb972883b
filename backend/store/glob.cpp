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

// Where the name goes on behind a part of the glob without `*` that begins at `at`; npos: it does not match there.
std::size_t behind(std::string_view part, std::string_view name, std::size_t at) {
    for (const char c : part) {
        if (at >= name.size() || (c != '?' && c != name[at]))
            return std::string_view::npos;
        at = c == '?' ? nextCharacter(name, at) : at + 1;
    }
    return at;
}

// The same behind the first place at or after `at` where it matches.
std::size_t behindFirst(std::string_view part, std::string_view name, std::size_t at) {
    if (part.find('?') == std::string_view::npos) {
        const std::size_t found = name.find(part, at);
        return found == std::string_view::npos ? found : found + part.size();
    }
    for (; at < name.size(); ++at)
        if (const std::size_t end = behind(part, name, at); end != std::string_view::npos)
            return end;
    return std::string_view::npos;
}

bool endsWith(std::string_view part, std::string_view name, std::size_t at) {
    if (part.find('?') == std::string_view::npos)
        return name.size() - at >= part.size() && name.ends_with(part);
    for (; at < name.size(); ++at)
        if (behind(part, name, at) == name.size())
            return true;
    return false;
}

} // namespace

bool matches(std::string_view glob, std::string_view name) {
    std::size_t star = glob.find('*');
    if (star == std::string_view::npos)
        return behind(glob, name, 0) == name.size();
    std::size_t at = behind(glob.substr(0, star), name, 0);
    while (at != std::string_view::npos) {
        const std::size_t part = star + 1;
        star = glob.find('*', part);
        if (star == std::string_view::npos)
            return endsWith(glob.substr(part), name, at);
        at = behindFirst(glob.substr(part, star - part), name, at); // the first place leaves most to the rest
    }
    return false;
}

} // namespace telehelm::store
