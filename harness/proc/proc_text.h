// Reading and parsing the text files of /proc. Internal to proc.
#pragma once

#include <sys/types.h>

#include <charconv>
#include <string>
#include <string_view>

#include "base/result.h"

namespace migsoak::proc {

// No file of /proc that we read is longer in earnest; a hostile one (maps of a fuzzer) is refused, not swallowed.
inline constexpr std::size_t kProcTextBytesMax = 64 << 20;

// The whole file `name` below the directory `directory` (or AT_FDCWD); `bytes_max` and more is an Error.
// An error while reading (ESRCH: the process ended meanwhile) is of kind subject.
base::Result<std::string> read_at(int directory, const std::string& name, std::size_t bytes_max);
// /proc/PID/<name>
base::Result<std::string> read_process_file(pid_t pid, const std::string& name);

// kind subject: "process 123 is gone (fd: No such process)"; kind environment for want of permission.
tl::unexpected<base::Error> process_gone(pid_t pid, const std::string& what, int errno_value);

// The whole of `text` as a number, else `fallback`.
template <typename Number>
Number number_or(std::string_view text, Number fallback, int base = 10) {
  Number value{};
  const auto [rest, trouble] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return trouble == std::errc() && rest == text.data() + text.size() ? value : fallback;
}

// Takes the next line off `text`, without its newline.
inline std::string_view take_line(std::string_view& text) {
  const std::size_t newline = text.find('\n');
  const std::string_view line = text.substr(0, newline);
  text.remove_prefix(newline == std::string_view::npos ? text.size() : newline + 1);
  return line;
}
// Takes the next word (separated by spaces or tabs) off `text`; empty at its end.
inline std::string_view take_word(std::string_view& text) {
  const std::size_t start = text.find_first_not_of(" \t");
  if (start == std::string_view::npos) {
    text = {};
    return {};
  }
  const std::size_t end = text.find_first_of(" \t", start);
  const std::string_view word = text.substr(start, end == std::string_view::npos ? end : end - start);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end);
  return word;
}

}  // namespace migsoak::proc
