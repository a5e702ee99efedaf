#include "hypervisor/device_type.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace migsoak::hypervisor {
using base::ErrorKind;

namespace {

bool is_property_name(const std::string& name) {
  constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
  return !name.empty() && name.find_first_not_of(kAllowed) == std::string::npos;
}

base::Result<std::string> render_value(const base::Json& value) {
  if (value.is_string()) {
    const auto text = value.get<std::string>();
    if (text.find('\0') != std::string::npos) return base::fail(ErrorKind::bad_input, "holds a NUL byte");
    return escape_commas(text);
  }
  if (value.is_boolean()) return std::string(value.get<bool>() ? "on" : "off");
  if (value.is_number_unsigned()) return std::to_string(value.get<std::uint64_t>());
  if (value.is_number_integer()) return std::to_string(value.get<std::int64_t>());
  return base::fail(ErrorKind::bad_input, "must be a string, an integer or true/false, not " +
                                              std::string(value.is_number() ? "a fraction" : value.type_name()));
}

}  // namespace

std::string escape_commas(std::string_view value) {
  std::string escaped;
  for (const char c : value) escaped.append(c == ',' ? 2 : 1, c);
  return escaped;
}

base::Result<std::string> render_properties(const DeviceSpec& device, const std::vector<std::string>& reserved) {
  std::string rendered;
  for (const auto& [name, value] : device.props) {
    const std::string where = fmt::format("device {}: property '{}'", device.id, base::printable(name, 80));
    if (!is_property_name(name)) return base::fail(ErrorKind::bad_input, where + " is no property name");
    if (std::find(reserved.begin(), reserved.end(), name) != reserved.end()) {
      return base::fail(ErrorKind::bad_input, where + " is set by migsoak and can't be given");
    }
    auto text = render_value(value);
    if (!text) return base::fail(ErrorKind::bad_input, where + " " + text.error().message);
    rendered += "," + name + "=" + *text;
  }
  return rendered;
}

}  // namespace migsoak::hypervisor
