// SPDX-License-Identifier: Apache-2.0
#include "store/sqlite.h"

#include <sqlite3.h>

#include "store/glob.h"

namespace telehelm::store {
namespace {

[[noreturn]] void raise(sqlite3* db, const std::string& what) {
    const int code = db ? sqlite3_extended_errcode(db) : SQLITE_NOMEM;
    throw SqlError(code, what + ": " + (db ? sqlite3_errmsg(db) : "out of memory"));
}

// As it lies in the page: sqlite3_value_text would copy it to put a 0 behind it.
std::string_view textOf(sqlite3_value* value) {
    const auto* bytes = static_cast<const char*>(sqlite3_value_blob(value));
    return {bytes ? bytes : "", bytes ? static_cast<std::size_t>(sqlite3_value_bytes(value)) : 0};
}

// name_matches(glob, name) in SQL: so a million names are searched without leaving SQLite.
void nameMatches(sqlite3_context* context, int, sqlite3_value** values) {
    sqlite3_result_int(context, matches(textOf(values[0]), textOf(values[1])) ? 1 : 0);
}

std::string uriPath(const std::string& path) {
    std::string escaped;
    for (const char c : path)
        escaped += c == '%' ? "%25" : c == '?' ? "%3f" : c == '#' ? "%23" : std::string(1, c);
    return escaped;
}

} // namespace

bool SqlError::isDamage() const {
    return (m_code & 0xff) == SQLITE_CORRUPT || (m_code & 0xff) == SQLITE_NOTADB || m_code == SQLITE_IOERR_SHORT_READ;
}

Error toError(const SqlError& error, const std::string& context) {
    switch (error.code() & 0xff) {
    case SQLITE_FULL:
        return {ErrorCode::ResourceExhausted, "the disk is full; free some space (nothing that was acknowledged is lost)", context};
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
        return {ErrorCode::FailedPrecondition,
                "the store cannot be written; check the folder's owner and permissions (" + std::string(error.what()) + ")", context};
    case SQLITE_IOERR:
        return {ErrorCode::ResourceExhausted,
                "reading or writing failed; is the disk full or failing? (" + std::string(error.what()) + ")", context};
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return {ErrorCode::DataLoss,
                "the store is damaged (" + std::string(error.what()) +
                    "); `telehelmd check` names what is, `telehelmd check --repair` makes again what can be made again",
                context};
    default:
        return {ErrorCode::Internal, error.what(), context};
    }
}

Rows::~Rows() {
    if (m_statement) {
        sqlite3_reset(m_statement);
        sqlite3_clear_bindings(m_statement);
    }
}

bool Rows::next() {
    const int code = sqlite3_step(m_statement);
    if (code == SQLITE_ROW)
        return true;
    if (code != SQLITE_DONE)
        raise(sqlite3_db_handle(m_statement), sqlite3_sql(m_statement));
    return false;
}

std::int64_t Rows::integer(int column) const { return sqlite3_column_int64(m_statement, column); }
double Rows::real(int column) const { return sqlite3_column_double(m_statement, column); }
bool Rows::isNull(int column) const { return sqlite3_column_type(m_statement, column) == SQLITE_NULL; }

std::string Rows::text(int column) const {
    const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(m_statement, column));
    return bytes ? std::string(bytes, static_cast<std::size_t>(sqlite3_column_bytes(m_statement, column))) : std::string();
}

std::string_view Rows::blob(int column) const {
    const auto* bytes = static_cast<const char*>(sqlite3_column_blob(m_statement, column));
    return {bytes, bytes ? static_cast<std::size_t>(sqlite3_column_bytes(m_statement, column)) : 0};
}

Database::Database(const std::filesystem::path& file, Mode mode) {
    const int flags = mode == Mode::ReadWrite   ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
                      : mode == Mode::Immutable ? SQLITE_OPEN_READONLY | SQLITE_OPEN_URI
                                                : SQLITE_OPEN_READONLY;
    const std::string name = mode == Mode::Immutable ? "file:" + uriPath(file.string()) + "?immutable=1" : file.string();
    if (sqlite3_open_v2(name.c_str(), &m_db, flags | SQLITE_OPEN_NOMUTEX, nullptr) != SQLITE_OK) {
        const SqlError error(m_db ? sqlite3_extended_errcode(m_db) : SQLITE_NOMEM, m_db ? sqlite3_errmsg(m_db) : "out of memory");
        sqlite3_close(m_db);
        throw error;
    }
    sqlite3_busy_timeout(m_db, 10'000);
    sqlite3_create_function_v2(m_db, "name_matches", 2, SQLITE_UTF8 | SQLITE_DETERMINISTIC, nullptr, nameMatches, nullptr, nullptr, nullptr);
}

Database::~Database() {
    for (auto& [sql, statement] : m_statements)
        sqlite3_finalize(statement);
    sqlite3_close(m_db);
}

void Database::execute(const std::string& sql) {
    if (sqlite3_exec(m_db, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK)
        raise(m_db, sql.substr(0, 80));
}

std::int64_t Database::lastInsertId() const { return sqlite3_last_insert_rowid(m_db); }
std::int64_t Database::changes() const { return sqlite3_changes64(m_db); }

sqlite3_stmt* Database::prepared(const char* sql) {
    auto [it, isNew] = m_statements.try_emplace(sql, nullptr);
    if (isNew && sqlite3_prepare_v3(m_db, sql, -1, SQLITE_PREPARE_PERSISTENT, &it->second, nullptr) != SQLITE_OK) {
        m_statements.erase(it);
        raise(m_db, sql);
    }
    return it->second;
}

void Database::bind(sqlite3_stmt* statement, int at, std::int64_t value) {
    if (sqlite3_bind_int64(statement, at, value) != SQLITE_OK)
        raise(m_db, "bind");
}

void Database::bind(sqlite3_stmt* statement, int at, const std::string& value) {
    if (sqlite3_bind_text(statement, at, value.data(), static_cast<int>(value.size()), SQLITE_TRANSIENT) != SQLITE_OK)
        raise(m_db, "bind");
}

void Database::bind(sqlite3_stmt* statement, int at, const std::optional<std::string>& value) {
    if (value)
        bind(statement, at, *value);
    else if (sqlite3_bind_null(statement, at) != SQLITE_OK)
        raise(m_db, "bind");
}

void Database::bind(sqlite3_stmt* statement, int at, Blob value) {
    // The bytes outlive the statement's run: query() and run() are called with them alive.
    if (sqlite3_bind_blob(statement, at, value.bytes.data(), static_cast<int>(value.bytes.size()), SQLITE_STATIC) != SQLITE_OK)
        raise(m_db, "bind");
}

Transaction::Transaction(Database& db) : m_db(db) { m_db.execute("BEGIN IMMEDIATE"); }

Transaction::~Transaction() {
    if (!m_open)
        return;
    try {
        m_db.execute("ROLLBACK");
    } catch (const SqlError&) {
        // SQLite has rolled back by itself after a full disk or an I/O error; there is nothing left to undo.
    }
}

void Transaction::commit() {
    m_db.execute("COMMIT");
    m_open = false;
}

} // namespace telehelm::store
