#include "store/sqlite_error.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/statvfs.h>

#include <filesystem>

#include "base/text.h"

namespace migsoak::store {

std::string free_space(const std::string& path) {
  const std::string directory = std::filesystem::path(path).parent_path().string();
  struct statvfs info {};
  if (::statvfs(directory.empty() ? "." : directory.c_str(), &info) != 0) return "unknown";
  return fmt::format("{} KiB", static_cast<unsigned long long>(info.f_bavail) * info.f_frsize / 1024);
}

base::Error error_of(const SQLite::Exception& exception, const std::string& path) {
  using base::ErrorKind;
  const std::string file = base::printable(path);
  const std::string said = base::printable(exception.what());
  const auto make = [](ErrorKind kind, std::string message) { return base::Error{kind, std::move(message), {}}; };
  switch (exception.getErrorCode()) {
    case SQLITE_FULL:
      return make(ErrorKind::environment,
                  fmt::format("disk full: cannot write {} (free there: {})", file, free_space(path)));
    case SQLITE_IOERR:
      return make(ErrorKind::environment, fmt::format("I/O error on {}: {} (code {}, free there: {})", file, said,
                                                      exception.getExtendedErrorCode(), free_space(path)));
    case SQLITE_CORRUPT: return make(ErrorKind::bad_input, fmt::format("database {} is damaged: {}", file, said));
    case SQLITE_NOTADB: return make(ErrorKind::bad_input, fmt::format("{} is not an SQLite database", file));
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return make(ErrorKind::environment, fmt::format("database {} is locked by another process", file));
    case SQLITE_READONLY:
    case SQLITE_PERM: return make(ErrorKind::environment, fmt::format("database {} cannot be written: {}", file, said));
    case SQLITE_CANTOPEN:
      return make(ErrorKind::environment,
                  fmt::format("cannot open {}: {} (free there: {})", file, said, free_space(path)));
    default:
      return make(ErrorKind::environment,
                  fmt::format("database {}: {} (code {})", file, said, exception.getExtendedErrorCode()));
  }
}

}  // namespace migsoak::store
