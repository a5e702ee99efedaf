// JsonText: writes one compact JSON object or array into a string. Writing only; the agent never parses JSON.
#pragma once

#include <stdint.h>
#include <stdio.h>

#include <string>
#include <string_view>

namespace migsoak::agent {

inline std::string json_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7f || c == '"' || c == '\\') {
      char escaped[8];
      snprintf(escaped, sizeof escaped, "\\u%04x", byte);
      out += escaped;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

class JsonObject {
 public:
  JsonObject& raw(std::string_view key, std::string_view value) {
    text_ += text_.empty() ? "{" : ",";
    text_ += json_string(key);
    text_ += ':';
    text_ += value;
    return *this;
  }
  JsonObject& text(std::string_view key, std::string_view value) { return raw(key, json_string(value)); }
  JsonObject& number(std::string_view key, std::uint64_t value) { return raw(key, std::to_string(value)); }
  JsonObject& milliseconds(std::string_view key, std::int64_t ns) {
    char value[32];
    snprintf(value, sizeof value, "%.3f", static_cast<double>(ns) / 1e6);
    return raw(key, value);
  }
  JsonObject& boolean(std::string_view key, bool value) { return raw(key, value ? "true" : "false"); }
  JsonObject& hex(std::string_view key, std::uint64_t value) {
    char digits[24];
    snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(value));
    return text(key, digits);
  }
  std::string str() const { return text_.empty() ? "{}" : text_ + "}"; }

 private:
  std::string text_;
};

class JsonArray {
 public:
  void raw(std::string_view value) {
    text_ += text_.empty() ? "[" : ",";
    text_ += value;
  }
  std::string str() const { return text_.empty() ? "[]" : text_ + "]"; }

 private:
  std::string text_;
};

}  // namespace migsoak::agent
