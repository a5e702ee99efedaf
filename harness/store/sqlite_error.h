// SQLite's result codes as Errors with the right kind and a line a person understands.
#pragma once

#include <string>

#include "base/result.h"

namespace SQLite {  // NOLINT(readability-identifier-naming): the library's own name
class Exception;
}

namespace migsoak::store {

// kind bad_input: damaged or no database. kind environment: disk full, I/O error, locked, out of memory.
base::Error error_of(const SQLite::Exception& exception, const std::string& path);

// Bytes an unprivileged writer may still write where `path` lies, as text; "unknown" when nobody can tell.
std::string free_space(const std::string& path);

}  // namespace migsoak::store
