#include "base/result.h"

#include <cstring>

namespace migsoak::base {

std::string_view to_string(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::bad_input: return "bad input";
    case ErrorKind::environment: return "environment";
    case ErrorKind::timeout: return "timeout";
    case ErrorKind::interrupted: return "interrupted";
    case ErrorKind::subject: return "subject";
  }
  return "?";
}

std::string Error::describe() const {
  std::string line;
  for (auto it = context.rbegin(); it != context.rend(); ++it) {
    line += *it;
    line += ": ";
  }
  return line + message;
}

tl::unexpected<Error> fail_errno(std::string what, int errno_value) {
  return fail(ErrorKind::environment, std::move(what) + ": " + std::strerror(errno_value));
}

}  // namespace migsoak::base
