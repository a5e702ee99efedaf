// Internal to record: reading typed fields of a JSON object with one error line that names the key.
#pragma once

#include <optional>
#include <string>

#include "base/json.h"

namespace migsoak::record {

template <typename T>
bool read_field(const base::Json& json, const char* key, T& out) {
  const auto it = json.find(key);
  if (it == json.end()) return true;  // absent: keep the default
  if constexpr (std::is_same_v<T, bool>) {
    if (!it->is_boolean()) return false;
  } else if constexpr (std::is_integral_v<T>) {
    if (!it->is_number_integer()) return false;
  } else if constexpr (std::is_floating_point_v<T>) {
    if (!it->is_number()) return false;
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (!it->is_string()) return false;
  }
  if constexpr (std::is_same_v<T, base::Json>) {
    out = *it;
  } else {
    out = it->template get<T>();
  }
  return true;
}
template <typename T>
bool read_field(const base::Json& json, const char* key, std::optional<T>& out) {
  if (!json.contains(key)) return true;
  T value{};
  if (!read_field(json, key, value)) return false;
  out = value;
  return true;
}

inline tl::unexpected<base::Error> wrong_field(const char* what) {
  return base::fail(base::ErrorKind::bad_input, std::string("malformed ") + what);
}

}  // namespace migsoak::record
