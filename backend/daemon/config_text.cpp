// SPDX-License-Identifier: Apache-2.0
#include "daemon/config_text.h"

#include <regex>
#include <sstream>
#include <vector>

namespace telehelm::daemon {

std::string tomlQuoted(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\')
            out += '\\';
        out += c;
    }
    return out + "\"";
}

std::string setTomlKey(std::string_view text, const std::string& table, const std::string& key, const std::string& value) {
    const std::regex header(R"(^\s*\[\s*([^\[\]]+?)\s*\]\s*(#.*)?$)");
    const std::regex assignment("^(\\s*" + key + "\\s*=\\s*)(\"[^\"]*\"|[^#\\s]+)(.*)$");
    std::vector<std::string> lines;
    std::istringstream in{std::string(text)};
    for (std::string line; std::getline(in, line);)
        lines.push_back(line);
    std::string current;
    std::size_t insertAt = std::string::npos;
    bool done = false;
    for (std::size_t i = 0; i < lines.size() && !done; ++i) {
        std::smatch match;
        if (std::regex_match(lines[i], match, header)) {
            current = match[1];
            if (current == table)
                insertAt = i + 1;
        } else if (current == table && std::regex_match(lines[i], match, assignment)) {
            lines[i] = match[1].str() + value + match[3].str();
            done = true;
        }
    }
    if (!done && insertAt != std::string::npos)
        lines.insert(lines.begin() + static_cast<std::ptrdiff_t>(insertAt), key + " = " + value);
    else if (!done)
        lines.insert(lines.end(), {"", "[" + table + "]", key + " = " + value});
    std::string out;
    for (const std::string& line : lines)
        out += line + "\n";
    return out;
}

} // namespace telehelm::daemon
