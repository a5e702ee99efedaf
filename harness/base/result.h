// Result<T>: the outcome of anything that can fail for reasons outside the program.
//
// Three kinds of trouble are never mixed (see harness/README.md):
//   programmer error      -> assert/abort, never a Result
//   harness/environment   -> Error, travels up with context
//   the subject's failure -> an Event in the record, not an Error
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

namespace migsoak::base {

enum class ErrorKind {
  bad_input,    // the user's scenario, flag, database or binary; exit status 2
  environment,  // the machine, the file system, a missing package; exit status 3
  timeout,      // a Deadline passed; the caller decides whose fault that is
  interrupted,  // the user asked to stop
  subject,      // QEMU, a target or the guest misbehaved; the caller records it
};

std::string_view to_string(ErrorKind kind);

// One failure. `message` is one line a person understands; `context` grows outwards, innermost first.
struct Error {
  ErrorKind kind = ErrorKind::environment;
  std::string message;
  std::vector<std::string> context;

  Error with_context(std::string what) && {
    context.push_back(std::move(what));
    return std::move(*this);
  }
  // "outermost: inner: message", one line.
  std::string describe() const;
};

// tl::expected, of which no compiler lets a function's answer be dropped unseen: a dropped error is a wrong answer
// later. Where an error changes nothing, `(void)` says so.
template <typename T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;
};

inline tl::unexpected<Error> fail(ErrorKind kind, std::string message) {
  return tl::unexpected<Error>(Error{kind, std::move(message), {}});
}
// errno captured by the caller, so that nothing in between can overwrite it.
tl::unexpected<Error> fail_errno(std::string what, int errno_value);

}  // namespace migsoak::base

#define MIGSOAK_CONCAT_INNER(a, b) a##b
#define MIGSOAK_CONCAT(a, b) MIGSOAK_CONCAT_INNER(a, b)

// MIGSOAK_TRY(expr): returns the error of a Result<void> to the caller, adding `context` to it.
#define MIGSOAK_TRY(expr, ...)                                                                          \
  do {                                                                                                  \
    if (auto migsoak_result_ = (expr); !migsoak_result_)                                                \
      return ::tl::unexpected<::migsoak::base::Error>(                                                  \
          ::migsoak::base::add_context(std::move(migsoak_result_.error()) __VA_OPT__(, ) __VA_ARGS__)); \
  } while (0)

// MIGSOAK_ASSIGN(auto x, expr): declares x from a Result<T>, or returns its error.
#define MIGSOAK_ASSIGN_IMPL(tmp, decl, expr, ...)                                         \
  auto tmp = (expr);                                                                      \
  if (!tmp)                                                                               \
    return ::tl::unexpected<::migsoak::base::Error>(                                      \
        ::migsoak::base::add_context(std::move(tmp.error()) __VA_OPT__(, ) __VA_ARGS__)); \
  decl = std::move(*tmp)
#define MIGSOAK_ASSIGN(decl, expr, ...) \
  MIGSOAK_ASSIGN_IMPL(MIGSOAK_CONCAT(migsoak_tmp_, __LINE__), decl, expr __VA_OPT__(, ) __VA_ARGS__)

namespace migsoak::base {
inline Error add_context(Error&& error) {
  return std::move(error);
}
inline Error add_context(Error&& error, std::string what) {
  return std::move(error).with_context(std::move(what));
}
}  // namespace migsoak::base
