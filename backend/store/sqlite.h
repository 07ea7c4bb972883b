// SPDX-License-Identifier: Apache-2.0
// A thin owner of one SQLite connection and its prepared statements.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "telehelm/ipc/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace telehelm::store {

/// The database refused: disk full, read-only, damaged. Thrown inside the store, turned into an Error at its public methods.
class SqlError : public std::runtime_error {
public:
    SqlError(int code, const std::string& text) : std::runtime_error(text), m_code(code) {}
    [[nodiscard]] int code() const { return m_code; }
    [[nodiscard]] bool isDamage() const; // pages of the file that cannot be right

private:
    int m_code;
};

/// The Error that an operator should read for it.
[[nodiscard]] Error toError(const SqlError& error, const std::string& context);

/// Bytes that go into a BLOB column (text binds as TEXT).
struct Blob {
    std::string_view bytes;
};

/// A running query; resets its statement when it goes.
class Rows {
public:
    explicit Rows(sqlite3_stmt* statement) : m_statement(statement) {}
    Rows(Rows&& other) noexcept : m_statement(other.m_statement) { other.m_statement = nullptr; }
    Rows(const Rows&) = delete;
    Rows& operator=(const Rows&) = delete;
    Rows& operator=(Rows&&) = delete;
    ~Rows();

    bool next(); // false at the end
    [[nodiscard]] std::int64_t integer(int column) const;
    [[nodiscard]] double real(int column) const;
    [[nodiscard]] bool isNull(int column) const;
    [[nodiscard]] std::string text(int column) const;
    [[nodiscard]] std::string_view blob(int column) const; // valid until next()

private:
    sqlite3_stmt* m_statement;
};

/// One thread at a time.
class Database {
public:
    /// Immutable: read without locks and without a -wal or -shm, as on a disk that nobody can write.
    enum class Mode { ReadWrite, ReadOnly, Immutable };
    Database(const std::filesystem::path& file, Mode mode);
    ~Database();
    Database(const Database&) = delete;
    Database& operator=(const Database&) = delete;

    /// One or more statements without parameters.
    void execute(const std::string& sql);

    template <typename... Args>
    Rows query(const char* sql, const Args&... args) {
        sqlite3_stmt* statement = prepared(sql);
        int at = 0;
        (bind(statement, ++at, args), ...);
        return Rows(statement);
    }
    /// Runs a statement to its end.
    template <typename... Args>
    void run(const char* sql, const Args&... args) {
        Rows rows = query(sql, args...);
        while (rows.next()) {
        }
    }
    [[nodiscard]] std::int64_t lastInsertId() const;
    [[nodiscard]] std::int64_t changes() const; // rows that the last INSERT, UPDATE or DELETE changed

private:
    sqlite3_stmt* prepared(const char* sql);
    void bind(sqlite3_stmt* statement, int at, std::int64_t value);
    void bind(sqlite3_stmt* statement, int at, std::uint64_t value) { bind(statement, at, static_cast<std::int64_t>(value)); }
    void bind(sqlite3_stmt* statement, int at, std::int32_t value) { bind(statement, at, std::int64_t{value}); }
    void bind(sqlite3_stmt* statement, int at, std::uint32_t value) { bind(statement, at, std::int64_t{value}); }
    void bind(sqlite3_stmt* statement, int at, const std::string& value);
    void bind(sqlite3_stmt* statement, int at, const std::optional<std::string>& value); // nullopt: NULL
    void bind(sqlite3_stmt* statement, int at, Blob value);

    sqlite3* m_db = nullptr;
    std::unordered_map<std::string, sqlite3_stmt*> m_statements;
};

/// BEGIN IMMEDIATE … COMMIT; rolls back when it goes without commit().
class Transaction {
public:
    explicit Transaction(Database& db);
    ~Transaction();
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;
    void commit();

private:
    Database& m_db;
    bool m_open = true;
};

} // namespace telehelm::store
