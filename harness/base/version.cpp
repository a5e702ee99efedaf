#include "base/version.h"

#include <charconv>

namespace migsoak::base {

std::vector<int> version_parts(std::string_view version) {
  std::vector<int> parts;
  while (!version.empty()) {
    int number = 0;
    const auto [end, error] = std::from_chars(version.data(), version.data() + version.size(), number);
    if (error != std::errc() || number < 0) break;
    parts.push_back(number);
    version.remove_prefix(static_cast<std::size_t>(end - version.data()));
    if (version.empty() || version.front() != '.') break;
    version.remove_prefix(1);
  }
  return parts;
}

bool older_version(std::string_view a, std::string_view b) {
  return version_parts(a) < version_parts(b);
}

bool is_version_prefix(std::string_view prefix, std::string_view version) {
  return !prefix.empty() && version.substr(0, prefix.size()) == prefix &&
         (version.size() == prefix.size() || version[prefix.size()] == '.');
}

std::string major_minor(std::string_view version) {
  const auto first = version.find('.');
  if (first == std::string_view::npos) return std::string(version);
  return std::string(version.substr(0, version.find('.', first + 1)));
}

}  // namespace migsoak::base
