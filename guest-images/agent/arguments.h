// The words of a line, a command's arguments ("key=value" words), and the answer to those that make no sense.
#pragma once

#include <stdlib.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "json_text.h"

namespace migsoak::agent {

// What stands between the spaces of a line.
inline std::vector<std::string> words_of(const std::string& line) {
  std::vector<std::string> words;
  std::size_t start = 0;
  while (start < line.size()) {
    const std::size_t end = std::min(line.find(' ', start), line.size());
    if (end > start) words.push_back(line.substr(start, end - start));
    start = end + 1;
  }
  return words;
}

using Arguments = std::map<std::string, std::string>;

inline std::string text_argument(const Arguments& arguments, const char* key, const char* fallback = "") {
  const auto it = arguments.find(key);
  return it == arguments.end() ? fallback : it->second;
}
inline std::uint64_t number_argument(const Arguments& arguments, const char* key, std::uint64_t fallback) {
  const auto it = arguments.find(key);
  return it == arguments.end() ? fallback : strtoull(it->second.c_str(), nullptr, 10);
}
inline std::int64_t milliseconds_argument(const Arguments& arguments, const char* key, std::uint64_t fallback_ms) {
  constexpr std::uint64_t kDayMs = 86'400'000;
  const std::uint64_t value_ms = number_argument(arguments, key, fallback_ms);
  return static_cast<std::int64_t>(value_ms < kDayMs ? value_ms : kDayMs) * 1'000'000;  // in nanoseconds
}
// Is `item` one of a comma-separated list? Everything is when the list is empty.
inline bool listed(const std::string& list, const std::string& item) {
  return list.empty() || ("," + list + ",").find("," + item + ",") != std::string::npos;
}

inline std::string refuse(const std::string& why) {
  return JsonObject().boolean("ok", false).text("error", why).str();
}

}  // namespace migsoak::agent
