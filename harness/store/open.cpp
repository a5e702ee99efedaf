// Creating a database, and opening one that may be damaged, foreign, left by a killed run, or on read-only media.
#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/text.h"
#include "base/unique_fd.h"
#include "store/impl.h"
#include "store/schema.h"

namespace migsoak::store {

namespace {

constexpr int kBusyMs = 10'000;  // a report and a run may wait for each other's checkpoint

tl::unexpected<base::Error> bad(std::string message) {
  return base::fail(base::ErrorKind::bad_input, std::move(message));
}

void remove_database(const std::string& path) {
  std::error_code ignored;
  for (const char* suffix : {"", "-journal", "-wal", "-shm"}) std::filesystem::remove(path + suffix, ignored);
}

// Of SQLite's own making, "file:" URIs need these escaped (https://sqlite.org/uri.html, section 3.1).
std::string uri_of(const std::string& path, const char* parameters) {
  std::string escaped;
  for (const char c : path) {
    if (c == '%' || c == '?' || c == '#') {
      escaped += fmt::format("%{:02x}", static_cast<unsigned char>(c));
    } else {
      escaped += c;
    }
  }
  return "file:" + escaped + parameters;
}

base::Result<void> check_file(const std::string& path) {
  const std::string shown = base::printable(path);
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return bad("no database at " + shown);
    return bad(fmt::format("database {} cannot be read: {}", shown, std::strerror(errno)));
  }
  if (S_ISDIR(info.st_mode)) return bad(shown + " is a directory, not a database");
  if (!S_ISREG(info.st_mode)) return bad(shown + " is not a file");
  // SQLite reads the header, not we: closing a descriptor of our own would drop the locks that another connection of
  // this process holds (https://sqlite.org/howtocorrupt.html, section 2.2).
  if (info.st_size == 0) return bad(shown + " is empty, not a migsoak database");
  if (::access(path.c_str(), R_OK) != 0) {
    return bad(fmt::format("database {} cannot be read: {}", shown, std::strerror(errno)));
  }
  return {};
}

}  // namespace

Connection::~Connection() {
  statements.clear();
  db.reset();
  if (!scratch_directory.empty()) {
    std::error_code ignored;
    std::filesystem::remove_all(scratch_directory, ignored);
  }
}

const Statement& Connection::statement(const char* sql) const {
  auto& slot = statements[sql];
  if (!slot) slot = std::make_unique<Statement>(*db, sql);
  return *slot;
}

base::Result<void> Connection::check_schema() {
  const std::string shown = base::printable(path);
  const int application = db->execAndGet("PRAGMA application_id").getInt();
  const int version = db->execAndGet("PRAGMA user_version").getInt();
  if (application != kApplicationId) return bad(shown + " is an SQLite database, but not one of migsoak's");
  if (version > kSchemaVersion) {
    return bad(fmt::format("{} was written by a newer migsoak (schema {}, this one reads up to {})", shown, version,
                           kSchemaVersion));
  }
  if (version < 1) return bad(fmt::format("{} has schema {}, which no migsoak wrote", shown, version));
  for (const char* table :
       {"run", "run_end", "text", "sample_set", "iteration", "interruption", "process", "process_end", "series",
        "sample", "descriptor", "descriptor_death", "event", "finding", "exclusion"}) {
    Query found(statement("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?"));
    if (!found.bind(std::string(table)).step()) {
      return bad(fmt::format("database {} is damaged: table {} is missing", shown, table));
    }
  }
  if (version < kSchemaVersion && writable) {  // an old run goes on, or is judged: what is missing is made
    statements.clear();                        // an open one would lock the table that it has looked at
    SQLite::Transaction transaction(*db, SQLite::TransactionBehavior::IMMEDIATE);
    if (version < 2) db->exec(kSchema2Sql);
    db->exec(kSchema3Sql);
    transaction.commit();
  }
  schema = writable ? kSchemaVersion : version;
  for (const auto& [table, since] : {std::pair("document_set", 2), {"document_list", 2}, {"process_again", 3}}) {
    Query found(statement("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?"));
    if (schema >= since && !found.bind(std::string(table)).step()) {
      return bad(fmt::format("database {} is damaged: table {} is missing", shown, table));
    }
  }
  if (writable) last_process_before = db->execAndGet("SELECT coalesce(max(id), 0) FROM process").getInt64();
  Query row(statement("SELECT manifest FROM run"));
  if (!row.step()) return bad("database " + shown + " is damaged: it has no run");
  MIGSOAK_ASSIGN(const base::Json json, parse_stored(row.text(0)), "database " + shown + ", manifest");
  MIGSOAK_ASSIGN(manifest, record::manifest_from_json(json), "database " + shown);
  return {};
}

namespace {

void configure(SQLite::Database& db) {
  db.exec("PRAGMA foreign_keys = ON");
  db.exec("PRAGMA synchronous = NORMAL");  // WAL: a killed process loses nothing, a power cut the last iterations
  db.exec("PRAGMA journal_size_limit = 4194304");
}

}  // namespace

namespace {

// Gives the finished file its name, unless somebody has taken it.
base::Result<void> publish(const std::string& made, const std::string& path) {
  int reason = ::link(made.c_str(), path.c_str()) == 0 ? 0 : errno;
  if (reason == EPERM || reason == EOPNOTSUPP) {  // a file system without hard links
    reason = ::access(path.c_str(), F_OK) == 0 ? EEXIST : ::rename(made.c_str(), path.c_str()) == 0 ? 0 : errno;
  }
  if (reason == EEXIST) return bad("database " + base::printable(path) + " exists already");
  if (reason != 0) return base::fail_errno("cannot create database " + base::printable(path), reason);
  return {};
}

}  // namespace

base::Result<std::unique_ptr<Store>> Store::create(const std::string& path, const record::Manifest& manifest) {
  const std::string shown = base::printable(path);
  if (::access(path.c_str(), F_OK) == 0) return bad("database " + shown + " exists already");
  // Made under a name of its own: however early the run is killed, `path` is a whole database or not there.
  const std::string temporary = fmt::format("{}.new-{}", path, ::getpid());
  remove_database(temporary);
  base::UniqueFd reserved(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!reserved.valid()) {
    const int reason = errno;
    if (reason == ENOENT || reason == ENOTDIR) return bad("no directory for the database " + shown);
    return base::fail_errno("cannot create database " + shown, reason);
  }
  reserved.reset();
  auto impl = std::make_unique<Impl>();
  Connection& connection = impl->connection;
  connection.path = path;
  connection.manifest = manifest;
  connection.writable = true;
  connection.schema = kSchemaVersion;
  bool published = false;
  base::Result<void> made = connection.guarded([&]() -> base::Result<void> {
    connection.db =
        std::make_unique<SQLite::Database>(temporary, SQLite::OPEN_READWRITE | SQLite::OPEN_NOMUTEX, kBusyMs);
    {
      // Before WAL, so that the file itself is complete.
      SQLite::Transaction transaction(*connection.db);
      connection.db->exec(kSchemaSql);
      connection.db->exec(kSchema2Sql);
      connection.db->exec(kSchema3Sql);
      Query(connection.statement("INSERT INTO run (id, run, scenario, seed, iterations_planned, started_unix_ms, "
                                 "migsoak_version, manifest) VALUES (1, ?, ?, ?, ?, ?, ?, ?)"))
          .bind(manifest.run, manifest.scenario, std::to_string(manifest.seed), manifest.iterations_planned,
                manifest.started_unix_ms, manifest.migsoak_version, base::dump_json(record::to_json(manifest)))
          .run();
      transaction.commit();
    }
    connection.statements.clear();
    connection.db.reset();
    MIGSOAK_TRY(publish(temporary, path));
    published = true;
    connection.db = std::make_unique<SQLite::Database>(path, SQLite::OPEN_READWRITE | SQLite::OPEN_NOMUTEX, kBusyMs);
    connection.db->exec("PRAGMA journal_mode = WAL");
    configure(*connection.db);
    return {};
  });
  if (!made) impl.reset();
  remove_database(temporary);
  if (!made) {
    if (published) remove_database(path);
    return tl::unexpected<base::Error>(std::move(made.error()));
  }
  return std::unique_ptr<Store>(new Store(std::move(impl)));
}

namespace {

bool is_damage(const SQLite::Exception& exception) {
  return exception.getErrorCode() == SQLITE_CORRUPT || exception.getErrorCode() == SQLITE_NOTADB;
}

}  // namespace

base::Result<void> Connection::open_as(const std::string& name, int flags) {
  statements.clear();
  // Our own mutex is held around each use; SQLite's would be taken for each column of each row.
  db = std::make_unique<SQLite::Database>(name, flags | SQLite::OPEN_NOMUTEX, kBusyMs);
  if ((flags & SQLite::OPEN_READWRITE) != 0) configure(*db);
  if (!writable) db->exec("PRAGMA query_only = ON");
  return check_schema();
}

// A reader opens for writing where it may: SQLite then tidies up after a killed run (recovers and empties the -wal
// file). Where that fails (read-only or full file system): for reading; as a last resort `immutable`, which ignores the
// -wal file, so the two are copied first when that holds something.
base::Result<void> Connection::open() {
  const bool may_write =
      ::access(path.c_str(), W_OK) == 0 && ::access(std::filesystem::absolute(path).parent_path().c_str(), W_OK) == 0;
  if (writable && !may_write)
    return base::fail_errno("database " + base::printable(path) + " cannot be written", errno);
  for (const int flags : {SQLite::OPEN_READWRITE, SQLite::OPEN_READONLY}) {
    if (flags == SQLite::OPEN_READWRITE && !may_write) continue;
    try {
      return open_as(path, flags);
    } catch (const SQLite::Exception& exception) {
      // Without a -shm file to be had: CANTOPEN, READONLY or IOERR, by version of SQLite.
      if (writable || is_damage(exception)) throw;
    }
  }
  std::error_code missing;
  const auto wal_bytes = std::filesystem::file_size(path + "-wal", missing);
  if (missing || wal_bytes == 0) {
    return open_as(uri_of(path, "?immutable=1"), SQLite::OPEN_READONLY | SQLite::OPEN_URI);
  }
  std::string scratch = std::filesystem::temp_directory_path() / "migsoak-read-XXXXXX";
  if (::mkdtemp(scratch.data()) == nullptr) return base::fail_errno("cannot create " + scratch, errno);
  scratch_directory = scratch;
  const std::string copy = scratch + "/copy.db";
  for (const char* suffix : {"", "-wal"}) {
    std::filesystem::copy_file(path + suffix, copy + suffix);
    std::filesystem::permissions(copy + suffix, std::filesystem::perms::owner_write,
                                 std::filesystem::perm_options::add);
  }
  return open_as(copy, SQLite::OPEN_READWRITE);
}

base::Result<std::unique_ptr<Store>> Store::open(const std::string& path, bool writable) {
  MIGSOAK_TRY(check_file(path));
  auto impl = std::make_unique<Impl>();
  Connection& connection = impl->connection;
  connection.path = path;
  connection.writable = writable;
  base::Result<void> opened = connection.guarded([&] { return connection.open(); });
  if (!opened) return tl::unexpected<base::Error>(std::move(opened.error()));
  return std::unique_ptr<Store>(new Store(std::move(impl)));
}

}  // namespace migsoak::store
