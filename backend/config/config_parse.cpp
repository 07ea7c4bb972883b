// SPDX-License-Identifier: Apache-2.0
// TOML text → RunConfig by way of the schema.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>

#include <toml++/toml.h>

#include "config/config_schema.h"

namespace telehelm::config {
namespace {

std::string label(std::string_view table, std::string_view key) {
    return table.empty() ? std::string(key) : "[" + std::string(table) + "] " + std::string(key);
}

std::string number(double value) {
    std::ostringstream text;
    text.precision(12);
    text << value;
    return text.str();
}

class Reader final : public KeyPlaces {
public:
    Reader(const toml::table& root, std::string_view path) : m_root(root), m_path(path) {}

    Result<RunConfig> read() {
        if (auto known = checkNames(); !known) {
            return tl::unexpected(known.error());
        }
        RunConfig config;
        for (const Key& key : schema()) {
            if (auto filled = fill(key, config); !filled) {
                return tl::unexpected(filled.error());
            }
        }
        if (auto sound = checkTogether(config, *this); !sound) {
            return tl::unexpected(sound.error());
        }
        return config;
    }

    std::string place(std::string_view table, std::string_view key) const override {
        const toml::node* node = find(table, key);
        if (node == nullptr && !table.empty()) {
            node = m_root.get(table);
        }
        return node == nullptr ? m_path : place(*node);
    }

private:
    std::string place(const toml::node& node) const { return m_path + ":" + std::to_string(node.source().begin.line); }
    std::string place(const toml::key& key) const { return m_path + ":" + std::to_string(key.source().begin.line); }

    const toml::node* find(std::string_view table, std::string_view key) const {
        if (table.empty()) {
            return m_root.get(key);
        }
        const toml::node* node = m_root.get(table);
        return node != nullptr && node->is_table() ? node->as_table()->get(key) : nullptr;
    }

    static bool isTable(std::string_view name) {
        return std::ranges::any_of(schema(), [&](const Key& key) { return key.table == name && !name.empty(); });
    }
    static bool isKey(std::string_view table, std::string_view name) {
        return std::ranges::any_of(schema(), [&](const Key& key) { return key.table == table && key.name == name; });
    }

    Result<void> checkNames() const {
        for (const auto& [key, node] : m_root) {
            if (isTable(key.str())) {
                if (!node.is_table()) {
                    return fail(ErrorCode::InvalidArgument,
                                std::string(key.str()) + ": must be a table: write [" + std::string(key.str()) + "]", place(key));
                }
                if (auto known = checkTable(key.str(), *node.as_table()); !known) {
                    return known;
                }
            } else if (!isKey("", key.str())) {
                return node.is_table() ? unknownTable(key) : unknownKey("", key);
            }
        }
        return {};
    }

    Result<void> checkTable(std::string_view table, const toml::table& entries) const {
        for (const auto& [key, node] : entries) {
            if (!isKey(table, key.str())) {
                return unknownKey(table, key);
            }
        }
        return {};
    }

    Result<void> unknownTable(const toml::key& key) const {
        const std::string nearest = nearestTable(key.str());
        std::string text = "[" + std::string(key.str()) + "]: unknown table; ";
        text += nearest.empty() ? "valid ones: model, optimizer, schedule, batch, data, parallel, validation, checkpoint, resume, "
                                  "telemetry, faults, restart_policy"
                                : "did you mean [" + nearest + "]?";
        return fail(ErrorCode::InvalidArgument, std::move(text), place(key));
    }

    Result<void> unknownKey(std::string_view table, const toml::key& key) const {
        const std::string nearest = nearestKey(table, key.str());
        std::string text = label(table, key.str()) + ": unknown key; ";
        if (!nearest.empty()) {
            text += "did you mean " + nearest + "?";
        } else {
            text += "valid ones:";
            for (const Key& valid : schema()) {
                text += valid.table == table ? " " + std::string(valid.name) : "";
            }
        }
        return fail(ErrorCode::InvalidArgument, std::move(text), place(key));
    }

    Result<void> fill(const Key& key, RunConfig& config) const {
        const Slot slot = key.slot(config);
        const toml::node* node = find(key.table, key.name);
        if (node == nullptr) {
            if (!key.required) {
                return {};
            }
            return fail(ErrorCode::InvalidArgument,
                        label(key.table, key.name) + ": missing; it must be given (" + expected(key, slot) + ")",
                        place(key.table, key.name));
        }
        return std::visit([&](auto* field) { return store(key, *node, slot, field); }, slot);
    }

    Result<void> store(const Key& key, const toml::node& node, const Slot& slot, bool* field) const {
        const auto value = node.value_exact<bool>();
        if (!value) {
            return wrongType(key, node, slot);
        }
        *field = *value;
        return {};
    }

    Result<void> store(const Key& key, const toml::node& node, const Slot& slot, std::vector<std::int64_t>* field) const {
        if (!node.is_array()) {
            return wrongType(key, node, slot);
        }
        for (const toml::node& entry : *node.as_array()) {
            std::int64_t number = 0;
            if (auto stored = store(key, entry, slot, &number); !stored) {
                return stored;
            }
            field->push_back(number);
        }
        return {};
    }

    Result<void> store(const Key& key, const toml::node& node, const Slot& slot, std::integral auto* field) const {
        const auto value = node.value_exact<std::int64_t>();
        if (!value) {
            return wrongType(key, node, slot);
        }
        if (static_cast<double>(*value) < key.low || static_cast<double>(*value) > key.high) {
            return outOfRange(key, node, slot, std::to_string(*value));
        }
        *field = static_cast<std::remove_pointer_t<decltype(field)>>(*value);
        return {};
    }

    Result<void> store(const Key& key, const toml::node& node, const Slot& slot, double* field) const {
        if (!node.is_number()) {
            return wrongType(key, node, slot);
        }
        const double value = *node.value<double>();
        if (!std::isfinite(value) || value < key.low || value > key.high) {
            return outOfRange(key, node, slot, number(value));
        }
        *field = value;
        return {};
    }

    Result<void> store(const Key& key, const toml::node& node, const Slot& slot, std::string* field) const {
        if (!node.is_string()) {
            return wrongType(key, node, slot);
        }
        *field = *node.value_exact<std::string>();
        if (!key.choices.empty() && ("|" + std::string(key.choices) + "|").find("|" + *field + "|") == std::string::npos) {
            return fail(ErrorCode::InvalidArgument,
                        label(key.table, key.name) + ": \"" + *field + "\" is not one of " + std::string(key.choices),
                        place(node));
        }
        return {};
    }

    Result<void> store(const Key& key, const toml::node& node, const Slot& slot, std::map<std::string, double>* field) const {
        if (!node.is_table()) {
            return wrongType(key, node, slot);
        }
        const std::string table = std::string(key.table) + "." + std::string(key.name);
        for (const auto& [domain, share] : *node.as_table()) {
            if (!share.is_number()) {
                return fail(ErrorCode::InvalidArgument, label(table, domain.str()) + ": must be a percentage, as in 12.5",
                            place(domain));
            }
            const double percent = *share.value<double>();
            if (!(percent >= key.low && percent <= key.high)) {
                return fail(ErrorCode::InvalidArgument,
                            label(table, domain.str()) + ": " + number(percent) + " is out of range; a share is 0 to 100 percent",
                            place(domain));
            }
            (*field)[std::string(domain.str())] = percent;
        }
        return {};
    }

    static std::string expected(const Key& key, const Slot& slot) {
        if (std::holds_alternative<std::string*>(slot)) {
            return key.choices.empty() ? "text in quotes" : "one of " + std::string(key.choices);
        }
        if (std::holds_alternative<std::map<std::string, double>*>(slot)) {
            return "a table of percent per domain that adds up to 100";
        }
        if (std::holds_alternative<bool*>(slot)) {
            return "true or false";
        }
        if (std::holds_alternative<std::vector<std::int64_t>*>(slot)) {
            return "a list of whole numbers from " + number(key.low) + " to " + number(key.high) + ", as in [8, 8]";
        }
        const std::string kind = std::holds_alternative<double*>(slot) ? "a number" : "a whole number";
        return key.high >= 1e9 ? kind + " of at least " + number(key.low)
                               : kind + " from " + number(key.low) + " to " + number(key.high);
    }

    Result<void> wrongType(const Key& key, const toml::node& node, const Slot& slot) const {
        std::ostringstream type;
        type << node.type();
        return fail(ErrorCode::InvalidArgument,
                    label(key.table, key.name) + ": wrong type (" + type.str() + "); must be " + expected(key, slot),
                    place(node));
    }

    Result<void> outOfRange(const Key& key, const toml::node& node, const Slot& slot, const std::string& value) const {
        return fail(ErrorCode::InvalidArgument,
                    label(key.table, key.name) + ": " + value + " is out of range; must be " + expected(key, slot), place(node));
    }

    const toml::table& m_root;
    const std::string m_path;
};

} // namespace

Result<RunConfig> parseRunConfig(std::string_view text, std::string_view path) {
    try {
        const toml::table root = toml::parse(text, path);
        return Reader(root, path).read();
    } catch (const toml::parse_error& error) {
        return fail(ErrorCode::InvalidArgument, "not valid TOML: " + std::string(error.description()),
                    std::string(path) + ":" + std::to_string(error.source().begin.line));
    }
}

Result<RunConfig> loadRunConfig(const std::filesystem::path& path) {
    std::error_code status;
    if (std::filesystem::is_directory(path, status)) {
        return fail(ErrorCode::InvalidArgument, "is a folder; name the TOML file", path.string());
    }
    std::ifstream file(path, std::ios::binary);
    if (!file) {
        return fail(ErrorCode::NotFound, "cannot open the config; give the path of a TOML file such as configs/demo_cpu.toml",
                    path.string());
    }
    std::stringstream text;
    text << file.rdbuf();
    return parseRunConfig(text.str(), path.string());
}

} // namespace telehelm::config
