// SPDX-License-Identifier: Apache-2.0
// A restart's overrides, written into the config's own text: untouched lines and comments stay as they are.
#include <algorithm>
#include <array>
#include <charconv>
#include <sstream>
#include <vector>

#include <toml++/toml.h>

#include "config/run_config.h"

namespace telehelm::config {
namespace {

std::string tomlString(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            out += '\\';
        }
        out += c;
    }
    return out + "\"";
}

/// The shortest text that reads back as the same number, always recognisable as a float.
std::string decimal(double value) {
    std::array<char, 32> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
    std::string text(digits.data(), end);
    return text.find_first_of(".e") == std::string::npos ? text + ".0" : text;
}

/// Text as lines; every edit parses it again, so positions are never stale. A config has a few dozen lines.
class Text {
public:
    explicit Text(std::string_view toml) {
        std::istringstream stream{std::string(toml)};
        for (std::string line; std::getline(stream, line);) {
            m_lines.push_back(line);
        }
    }

    std::string str() const {
        std::string out;
        for (const std::string& line : m_lines) {
            out += line + "\n";
        }
        return out;
    }

    /// `path` = tables and key, as in {"data", "seed"}.
    void set(const std::vector<std::string>& path, const std::string& value) {
        const std::string text = str();
        const toml::table root = toml::parse(text);
        if (const toml::node* node = find(root, path); node != nullptr) {
            replace(node->source(), value);
            return;
        }
        const std::string table = joined(path);
        const std::size_t header = headerLine(table);
        if (header == m_lines.size()) {
            m_lines.insert(m_lines.end(), {"", "[" + table + "]"});
            m_lines.push_back(path.back() + " = " + value);
        } else {
            m_lines.insert(m_lines.begin() + static_cast<std::ptrdiff_t>(header) + 1, path.back() + " = " + value);
        }
    }

    void setMixture(const std::map<std::string, double>& percent) {
        const std::string text = str();
        const toml::table root = toml::parse(text);
        const toml::node* node = find(root, {"data", "mixture"});
        const toml::table* mixture = node != nullptr ? node->as_table() : nullptr;
        if (mixture != nullptr && mixture->is_inline()) {
            replace(mixture->source(), inlineTable(percent));
            return;
        }
        std::vector<std::size_t> dropped;
        if (mixture != nullptr) {
            for (const auto& [domain, share] : *mixture) {
                if (!percent.contains(std::string(domain.str()))) {
                    dropped.push_back(domain.source().begin.line - 1);
                }
            }
        }
        std::sort(dropped.rbegin(), dropped.rend());
        for (const std::size_t line : dropped) {
            m_lines.erase(m_lines.begin() + static_cast<std::ptrdiff_t>(line));
        }
        for (const auto& [domain, share] : percent) {
            set({"data", "mixture", domain}, decimal(share));
        }
    }

private:
    static const toml::node* find(const toml::table& root, const std::vector<std::string>& path) {
        const toml::node* node = &root;
        for (const std::string& name : path) {
            node = node->is_table() ? node->as_table()->get(name) : nullptr;
            if (node == nullptr) {
                return nullptr;
            }
        }
        return node;
    }

    static std::string joined(const std::vector<std::string>& path) {
        std::string table;
        for (std::size_t i = 0; i + 1 < path.size(); ++i) {
            table += (i == 0 ? "" : ".") + path[i];
        }
        return table;
    }

    static std::string inlineTable(const std::map<std::string, double>& percent) {
        std::string out = "{ ";
        for (const auto& [domain, share] : percent) {
            out += (out.size() > 2 ? ", " : "") + domain + " = " + decimal(share);
        }
        return out + " }";
    }

    /// Line of "[table]"; the number of lines when there is none.
    std::size_t headerLine(const std::string& table) const {
        for (std::size_t i = 0; i < m_lines.size(); ++i) {
            std::string bare;
            for (const char c : m_lines[i].substr(0, m_lines[i].find('#'))) {
                if (c != ' ' && c != '\t' && c != '\r') {
                    bare += c;
                }
            }
            if (bare == "[" + table + "]") {
                return i;
            }
        }
        return m_lines.size();
    }

    /// toml++ counts columns in code points, from 1.
    static std::size_t byteOffset(const std::string& line, std::size_t column) {
        std::size_t offset = 0;
        for (std::size_t seen = 1; offset < line.size() && seen < column; ++seen) {
            for (++offset; offset < line.size() && (static_cast<unsigned char>(line[offset]) & 0xC0U) == 0x80U;) {
                ++offset;
            }
        }
        return offset;
    }

    void replace(const toml::source_region& region, const std::string& value) {
        const std::size_t first = region.begin.line - 1;
        const std::size_t last = region.end.line - 1;
        const std::string head = m_lines[first].substr(0, byteOffset(m_lines[first], region.begin.column));
        const std::string tail = m_lines[last].substr(byteOffset(m_lines[last], region.end.column));
        m_lines[first] = head + value + tail;
        m_lines.erase(m_lines.begin() + static_cast<std::ptrdiff_t>(first) + 1,
                      m_lines.begin() + static_cast<std::ptrdiff_t>(last) + 1);
    }

    std::vector<std::string> m_lines;
};

std::string takes(const ConfigOverrides& overrides) {
    std::string words = overrides.lrScale ? " lr_scale" : "";
    words += overrides.dataSeed ? " seed" : "";
    words += overrides.skipBatches ? " skip_batches" : "";
    words += overrides.mixturePercent ? " mixture" : "";
    return words.empty() ? "none" : words.substr(1);
}

RunConfig wanted(RunConfig config, const ConfigOverrides& overrides) {
    if (overrides.resumeCheckpoint) {
        config.resume = {.checkpoint = *overrides.resumeCheckpoint, .take = takes(overrides)};
    }
    config.optimizer.lrScale = overrides.lrScale.value_or(config.optimizer.lrScale);
    config.optimizer.clipGrad = overrides.clipGrad.value_or(config.optimizer.clipGrad);
    config.data.seed = overrides.dataSeed.value_or(config.data.seed);
    config.data.skipBatches = overrides.skipBatches.value_or(config.data.skipBatches);
    config.data.mixture = overrides.mixturePercent.value_or(config.data.mixture);
    return config;
}

void edit(Text& text, const ConfigOverrides& overrides) {
    if (overrides.lrScale) {
        text.set({"optimizer", "lr_scale"}, decimal(*overrides.lrScale));
    }
    if (overrides.clipGrad) {
        text.set({"optimizer", "clip_grad"}, decimal(*overrides.clipGrad));
    }
    if (overrides.skipBatches) {
        text.set({"data", "skip_batches"}, std::to_string(*overrides.skipBatches));
    }
    if (overrides.dataSeed) {
        text.set({"data", "seed"}, std::to_string(*overrides.dataSeed));
    }
    if (overrides.mixturePercent) {
        text.setMixture(*overrides.mixturePercent);
    }
    if (overrides.resumeCheckpoint) {
        text.set({"resume", "take"}, tomlString(takes(overrides)));
        text.set({"resume", "checkpoint"}, tomlString(*overrides.resumeCheckpoint));
    }
}

} // namespace

Result<std::string> applyOverrides(std::string_view toml, const ConfigOverrides& overrides) {
    const Result<RunConfig> before = parseRunConfig(toml, "config");
    if (!before) {
        return tl::unexpected(before.error());
    }
    Text text(toml);
    try {
        edit(text, overrides);
    } catch (const toml::parse_error& error) {
        return fail(ErrorCode::InvalidArgument,
                    "this config's layout cannot be edited (" + std::string(error.description()) +
                        "); write each table as [table] with one key a line",
                    "config");
    }
    const Result<RunConfig> after = parseRunConfig(text.str(), "restart's config");
    if (!after) {
        return tl::unexpected(after.error());
    }
    if (*after != wanted(*before, overrides)) {
        return fail(ErrorCode::InvalidArgument,
                    "this config's layout cannot be edited; write each table as [table] with one key a line", "config");
    }
    return text.str();
}

} // namespace telehelm::config
