#include "proc/program.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/text.h"

namespace migsoak::proc {

using base::ErrorKind;

namespace {

// Why this file can't be run; empty when it can.
std::string why_not_runnable(const std::string& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) return errno == ENOENT ? "does not exist" : std::strerror(errno);
  if (S_ISDIR(status.st_mode)) return "is a directory: give the program in it";
  if (!S_ISREG(status.st_mode)) return "is not a file";
  if (::access(file.c_str(), X_OK) != 0) return "is not executable";
  return "";
}

std::string absolute(const std::string& file) {
  std::error_code error;
  const std::filesystem::path path = std::filesystem::absolute(file.starts_with("./") ? file.substr(2) : file, error);
  return error ? file : path.string();
}

}  // namespace

std::string search_path() {
  const char* path = std::getenv("PATH");
  return path != nullptr ? path : "/usr/bin:/bin";
}

base::Result<std::string> find_program(const std::string& name, const std::string& path) {
  const std::string shown = "'" + base::printable(name, 200) + "'";
  if (name.empty()) return base::fail(ErrorKind::bad_input, "no program named");
  // The kernel would look for what stands before it.
  if (name.find('\0') != std::string::npos) return base::fail(ErrorKind::bad_input, shown + " has a NUL in its name");
  if (name.find('/') != std::string::npos) {
    const std::string why = why_not_runnable(name);
    if (why.empty()) return absolute(name);
    return base::fail(ErrorKind::bad_input, shown + " " + why);
  }
  std::string passed_over;
  for (const std::string& folder : base::split(path, ':')) {
    const std::string candidate = folder.empty() ? "./" + name : folder + "/" + name;
    const std::string why = why_not_runnable(candidate);
    if (why.empty()) return absolute(candidate);
    struct stat status {};
    const bool is_file = ::stat(candidate.c_str(), &status) == 0 && S_ISREG(status.st_mode);
    if (passed_over.empty() && is_file) passed_over = "; '" + base::printable(candidate, 200) + "' " + why;
  }
  return base::fail(ErrorKind::bad_input, "no " + shown + " in PATH" + passed_over +
                                              ": give a path, or install it (migsoak doctor says how)");
}

std::string without_links(const std::string& path) {
  std::error_code error;
  const std::filesystem::path file = std::filesystem::canonical(path, error);
  return error ? path : file.string();
}

}  // namespace migsoak::proc
