#include "hypervisor/device_type.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "base/text.h"

namespace migsoak::hypervisor {
using base::ErrorKind;

namespace {

constexpr std::size_t kSerialBytesMax = 20;  // VIRTIO_BLK_ID_BYTES, virtio 1.2 section 5.2.6

// What QEMU accepts as an id (util/id.c, id_wellformed).
bool is_qemu_id(const std::string& id) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  const auto inner = [&](char c) { return letter(c) || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_'; };
  return !id.empty() && letter(id.front()) && std::all_of(id.begin(), id.end(), inner);
}

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

base::Result<void> append_properties(const DeviceSpec& device, const std::vector<std::string>& reserved,
                                     Properties& into) {
  for (const auto& [name, value] : device.props) {
    const std::string where = fmt::format("device {}: property '{}'", device.id, base::printable(name, 80));
    if (!is_property_name(name)) return base::fail(ErrorKind::bad_input, where + " is no property name");
    const bool ours =
        std::any_of(into.begin(), into.end(), [&key = name](const auto& own) { return own.first == key; });
    if (ours || std::find(reserved.begin(), reserved.end(), name) != reserved.end()) {
      return base::fail(ErrorKind::bad_input, where + " is set by migsoak and can't be given");
    }
    const auto text = render_value(value);
    if (!text) return base::fail(ErrorKind::bad_input, where + " " + text.error().message);
    into.emplace_back(name, value);
  }
  return {};
}

base::Result<DeviceParts> device_parts(const DeviceSpec& device) {
  if (!is_qemu_id(device.id)) {
    return base::fail(ErrorKind::bad_input, fmt::format("device id '{}': must start with a letter and hold only "
                                                        "letters, digits, '-', '.', '_'",
                                                        base::printable(device.id)));
  }
  const DeviceType* type = find_device_type(device.type);
  if (type == nullptr) {
    const std::string near = base::nearest_name(device.type, device_type_names());
    return base::fail(ErrorKind::bad_input,
                      fmt::format("device {}: unknown type '{}'{}", device.id, base::printable(device.type),
                                  near.empty() ? "" : "; did you mean '" + near + "'?"));
  }
  return type->parts(device);
}

base::Result<void> append_arguments(const DeviceParts& parts, std::vector<std::string>& argv) {
  const auto append = [&argv](const std::string& option, const Properties& properties) -> base::Result<void> {
    std::string rendered;
    for (const auto& [name, value] : properties) {
      MIGSOAK_ASSIGN(const std::string text, render_value(value));
      // The first key of these is implied: "-device virtio-blk-pci,…".
      const bool bare = rendered.empty() && option != "blockdev";
      rendered += (rendered.empty() ? "" : ",") + (bare ? text : name + "=" + text);
    }
    argv.push_back("-" + option);
    argv.push_back(std::move(rendered));
    return {};
  };
  for (const Backend& backend : parts.backends) MIGSOAK_TRY(append(backend.option, backend.properties));
  return append("device", parts.frontend);
}

Properties pci_frontend(const std::string& driver, const DeviceSpec& device) {
  Properties frontend = {{"driver", driver}, {"id", device.id}};
  if (!device.bus.empty()) frontend.emplace_back("bus", device.bus);
  frontend.emplace_back("addr", device.address);
  return frontend;
}

std::int64_t number_of(const std::string& address) {
  return std::strtol(address.c_str(), nullptr, 0);
}

std::string mac_of(const DeviceSpec& device) {
  std::uint32_t hash = 2166136261U;  // FNV-1a
  for (const char c : device.id) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
  return fmt::format("52:54:00:{:02x}:{:02x}:{:02x}", hash >> 16 & 0xff, hash >> 8 & 0xff, hash & 0xff);
}

base::Result<void> append_disk_backend(const DeviceSpec& device, DeviceParts& parts) {
  if (device.image_path.empty()) {
    return base::fail(ErrorKind::bad_input, fmt::format("device {}: {} needs a disk image", device.id, device.type));
  }
  if (device.id.size() > kSerialBytesMax) {
    return base::fail(ErrorKind::bad_input,
                      fmt::format("device {}: the id is the disk's serial number and may have at most {} bytes",
                                  base::printable(device.id), kSerialBytesMax));
  }
  // Source and destination have the file open at the same time, so image locking is off and the page cache is bypassed
  // (cache.direct: what one wrote, the other reads).
  const std::string file = device.id + "-file";
  const std::string raw = device.id + "-raw";
  parts.backends.push_back({"blockdev",
                            file,
                            {{"driver", "file"},
                             {"node-name", file},
                             {"filename", device.image_path},
                             {"locking", "off"},
                             {"cache.direct", true},
                             {"discard", "unmap"}}});
  parts.backends.push_back(
      {"blockdev",
       raw,
       {{"driver", "raw"}, {"node-name", raw}, {"file", file}, {"cache.direct", true}, {"discard", "unmap"}}});
  return {};
}

}  // namespace migsoak::hypervisor
