// The JSON adapter: nlohmann::json under one name, and parsing that never throws.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/text.h"

namespace migsoak::base {

using Json = nlohmann::json;

// Nesting deeper than this is refused (hostile input could exhaust the stack). Units: levels.
inline constexpr int kJsonDepthMax = 64;

Result<Json> parse_json(std::string_view text);

// One line; bytes that are not UTF-8 are replaced, so that dumping can't fail on hostile text.
std::string dump_json(const Json& value);

// The value under `key` when it is there and has the type, else `fallback`.
template <typename T>
T json_get(const Json& object, std::string_view key, T fallback) {
  if (!object.is_object()) return fallback;
  const auto it = object.find(key);
  if (it == object.end()) return fallback;
  if constexpr (std::is_same_v<T, bool>) {
    return it->is_boolean() ? it->template get<bool>() : fallback;
  } else if constexpr (std::is_arithmetic_v<T>) {
    return it->is_number() ? it->template get<T>() : fallback;
  } else if constexpr (std::is_same_v<T, std::string>) {
    return it->is_string() ? it->template get<std::string>() : fallback;
  } else {
    return *it;
  }
}

// The text under `key`, of a document that anybody may have written: printable, one line, bounded; empty when it is not
// there or no text.
std::string json_text(const Json& object, std::string_view key, std::size_t bytes_max = kPrintableBytesMax);

}  // namespace migsoak::base
