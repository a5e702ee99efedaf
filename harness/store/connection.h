// Internal to store: the connection to one database file, its prepared statements, and one use of such a statement.
#pragma once

#include <SQLiteCpp/SQLiteCpp.h>
#include <sqlite3.h>

#include <compare>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/json.h"
#include "record/manifest.h"
#include "store/sqlite_error.h"

namespace migsoak::store {

// A prepared statement. SQLite's own, not the library's: a column that is read a million times must not cost a
// reference count.
class Statement {
 public:
  Statement(SQLite::Database& db, const char* sql) : db_(db.getHandle()) {
    if (::sqlite3_prepare_v2(db_, sql, -1, &handle_, nullptr) != SQLITE_OK) fail();
  }
  ~Statement() { ::sqlite3_finalize(handle_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  sqlite3_stmt* handle() const { return handle_; }
  [[noreturn]] void fail() const { throw SQLite::Exception(db_, ::sqlite3_extended_errcode(db_)); }

 private:
  sqlite3* db_;
  sqlite3_stmt* handle_ = nullptr;
};

// One use of a prepared statement; resets it at the end, so that no read transaction outlives its query.
class Query {
 public:
  explicit Query(const Statement& statement) : statement_(statement), handle_(statement.handle()) {
    ::sqlite3_reset(handle_);
  }
  ~Query() { ::sqlite3_reset(handle_); }
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;

  // All parameters, in order.
  template <typename... Args>
  Query& bind(const Args&... args) {
    int index = 0;
    (check(put(++index, args)), ...);
    return *this;
  }
  bool step() {
    const int code = ::sqlite3_step(handle_);
    if (code != SQLITE_ROW && code != SQLITE_DONE) statement_.fail();
    return code == SQLITE_ROW;
  }
  void run() {
    while (step()) {
    }
  }

  bool is_null(int column) const { return ::sqlite3_column_type(handle_, column) == SQLITE_NULL; }
  std::int64_t integer(int column) const { return ::sqlite3_column_int64(handle_, column); }
  int small(int column) const { return ::sqlite3_column_int(handle_, column); }
  double real(int column) const { return ::sqlite3_column_double(handle_, column); }
  std::string text(int column) const { return std::string(view(column)); }
  // Valid until the next step.
  std::string_view view(int column) const {
    const auto* bytes = static_cast<const char*>(::sqlite3_column_blob(handle_, column));
    return {bytes, static_cast<std::size_t>(::sqlite3_column_bytes(handle_, column))};
  }

 private:
  int put(int index, std::int64_t value) { return ::sqlite3_bind_int64(handle_, index, value); }
  int put(int index, int value) { return ::sqlite3_bind_int(handle_, index, value); }
  int put(int index, bool value) { return ::sqlite3_bind_int(handle_, index, value ? 1 : 0); }
  // SQLite keeps not-a-number as NULL.
  int put(int index, double value) { return ::sqlite3_bind_double(handle_, index, value); }
  int put(int index, std::string_view value) {
    return ::sqlite3_bind_text64(handle_, index, value.data() == nullptr ? "" : value.data(), value.size(),
                                 SQLITE_TRANSIENT, SQLITE_UTF8);
  }
  int put(int index, const char* value) { return put(index, std::string_view(value)); }
  template <typename T>
  int put(int index, const std::optional<T>& value) {
    return value ? put(index, *value) : ::sqlite3_bind_null(handle_, index);
  }
  void check(int code) const {
    if (code != SQLITE_OK) statement_.fail();
  }

  const Statement& statement_;
  sqlite3_stmt* handle_;
};

// What the writing and the reading half have in common.
struct Connection {
  std::string path;
  record::Manifest manifest;
  bool writable = false;
  int schema = 0;                        // of the file; documents came with 2
  std::int64_t last_process_before = 0;  // the largest process id of earlier sessions
  std::string scratch_directory;         // holds a private copy of the database; removed at the end

  mutable std::mutex mutex;
  std::unique_ptr<SQLite::Database> db;
  // Keyed by the literal's address. Declared after db: statements go first.
  mutable std::unordered_map<const char*, std::unique_ptr<Statement>> statements;

  Connection() = default;
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  const Statement& statement(const char* sql) const;
  // Fills db, schema and manifest, or says what is wrong with the file (open.cpp).
  base::Result<void> open();

  // Runs `work` under the mutex; SQLite's and the library's exceptions become Errors.
  template <typename Work>
  auto guarded(Work&& work) const -> decltype(work()) {
    const std::lock_guard lock(mutex);
    try {
      return work();
    } catch (const SQLite::Exception& exception) {
      return tl::unexpected<base::Error>(error_of(exception, path));
    } catch (const std::exception& exception) {
      return base::fail(base::ErrorKind::environment, "database " + path + ": " + exception.what());
    }
  }

 private:
  base::Result<void> open_as(const std::string& name, int flags);
  base::Result<void> check_schema();
};

// One value of Observation::samples in terms of the dictionaries.
struct SeriesKey {
  std::string subject, metric;
  int lane = 0;
  int ordinal = 0;
  auto operator<=>(const SeriesKey&) const = default;
};

// A key of event details that has a column of its own.
inline constexpr const char* kTookMs = "took_ms";

// A list of integers as JSON; kind bad_input when it is something else.
base::Result<std::vector<std::int64_t>> integers_of(std::string_view text);
// Kind bad_input.
tl::unexpected<base::Error> damaged(const std::string& path, const std::string& what);
// XXH3-64 as SQLite keeps it.
std::int64_t hash_of(const std::string& value);

// JSON that this room wrote, so nested a little deeper than what came in; never throws.
base::Result<base::Json> parse_stored(std::string_view text);

}  // namespace migsoak::store
