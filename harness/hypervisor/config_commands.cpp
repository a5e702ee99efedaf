#include "hypervisor/config_commands.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string_view>

#include "base/text.h"

namespace migsoak::hypervisor {

namespace {

constexpr std::size_t kFunctionsMax = 1024;
constexpr int kDepthMax = 8;
constexpr std::size_t kIdBytesMax = 200;

// "0x1234" at the front of `text`, which is moved on. QEMU 5.2 prints a zero without "0x" (printf's "%#0*x").
std::optional<std::uint64_t> take_hex(std::string_view& text) {
  if (text.substr(0, 2) == "0x") text.remove_prefix(2);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

bool is_space(char c) {
  return c == ' ' || c == '\r' || c == '\n' || c == '\t';
}

// Addresses that QEMU has not mapped come as -1.
std::uint64_t address_of(const base::Json& region) {
  const auto found = region.find("address");
  if (found == region.end() || !found->is_number_integer()) return 0;
  const auto value = found->get<std::uint64_t>();
  return value == ~0ULL ? 0 : value;
}

void take_regions(const base::Json& device, record::ConfigFunction& into) {
  const base::Json regions = base::json_get(device, "regions", base::Json::array());
  for (const base::Json& region : regions) {
    record::ConfigBar bar;
    bar.index = base::json_get(region, "bar", -1);
    if (bar.index < 0 || bar.index > 6) continue;
    const bool io = base::json_get<std::string>(region, "type", "") == "io";
    bar.kind = io ? "io" : base::json_get(region, "mem_type_64", false) ? "mem64" : "mem";
    bar.address = address_of(region);
    bar.size = base::json_get<std::uint64_t>(region, "size", 0);
    into.bars.push_back(bar);
  }
  std::sort(into.bars.begin(), into.bars.end(), [](const auto& a, const auto& b) { return a.index < b.index; });
}

bool take_devices(const base::Json& devices, const std::string& bus_path, int depth,
                  std::vector<ListedFunction>& into) {
  if (!devices.is_array() || depth > kDepthMax || into.size() + devices.size() > kFunctionsMax) return false;
  for (const base::Json& device : devices) {
    if (!device.is_object()) return false;
    ListedFunction listed;
    listed.depth = depth;
    listed.at = {base::json_get(device, "bus", -1), base::json_get(device, "slot", -1),
                 base::json_get(device, "function", -1)};
    const base::Json id = base::json_get(device, "id", base::Json::object());
    if (listed.at.bus < 0 || listed.at.bus > 255 || listed.at.slot < 0 || listed.at.slot > 31 ||
        listed.at.function < 0 || listed.at.function > 7) {
      return false;
    }
    record::ConfigFunction& function = listed.function;
    function.address = fmt::format("0000:{:02x}:{:02x}.{:x}", listed.at.bus, listed.at.slot, listed.at.function);
    function.path = fmt::format("{}:{:02x}.{:x}", bus_path, listed.at.slot, listed.at.function);
    function.id = base::json_text(device, "qdev_id", kIdBytesMax);
    function.device = fmt::format("{:04x}:{:04x}", base::json_get(id, "vendor", 0), base::json_get(id, "device", 0));
    take_regions(device, function);
    const base::Json bridge = base::json_get(device, "pci_bridge", base::Json());
    listed.bridge = bridge.is_object();
    if (listed.bridge) {
      listed.secondary_bus = base::json_get(base::json_get(bridge, "bus", base::Json::object()), "secondary", 0);
    }
    const std::string path = function.path;
    into.push_back(std::move(listed));
    const base::Json children = base::json_get(bridge, "devices", base::Json::array());
    if (!take_devices(children, path, depth + 1, into)) return false;
  }
  return true;
}

}  // namespace

std::uint32_t config_address(PciLocation at, std::size_t offset) {
  return 0x80000000u | static_cast<std::uint32_t>(at.bus) << 16 | static_cast<std::uint32_t>(at.slot) << 11 |
         static_cast<std::uint32_t>(at.function) << 8 | (static_cast<std::uint32_t>(offset) & 0xfc);
}

std::uint64_t ecam_address(std::uint64_t base, PciLocation at) {
  return base + (static_cast<std::uint64_t>(at.bus) << 20 | static_cast<std::uint64_t>(at.slot) << 15 |
                 static_cast<std::uint64_t>(at.function) << 12);
}

std::uint64_t ecam_base(std::uint32_t low, std::uint32_t high) {
  const unsigned length = low >> 1 & 3;
  const std::uint32_t mask = length == 0 ? 0xf0000000 : length == 1 ? 0xf8000000 : 0xfc000000;
  return (low & mask) | static_cast<std::uint64_t>(high) << 32;
}

std::string write_port(std::uint16_t port, std::uint32_t value) {
  return fmt::format("o /w {:#x} {:#x}", port, value);
}
std::string read_port(std::uint16_t port) {
  return fmt::format("i /w {:#x}", port);
}
std::string read_physical(std::uint64_t address, std::size_t words) {
  return fmt::format("xp /{}xw {:#x}", words, address);
}
std::string read_physical_number(std::uint64_t address, int bytes) {
  return fmt::format("xp /1x{} {:#x}", bytes == 1 ? 'b' : bytes == 2 ? 'h' : 'w', address);
}

std::optional<std::uint32_t> parse_port(const base::Json& answer) {
  if (!answer.is_string()) return std::nullopt;
  const std::string text = answer.get<std::string>();
  const std::size_t equals = text.find("] = ");
  if (text.rfind("port", 0) != 0 || equals == std::string::npos) return std::nullopt;
  std::string_view rest = std::string_view(text).substr(equals + 4);
  const auto value = take_hex(rest);
  if (!value || *value > 0xffffffff) return std::nullopt;
  return static_cast<std::uint32_t>(*value);
}

std::vector<std::uint8_t> parse_physical(const base::Json& answer) {
  if (!answer.is_string()) return {};
  const std::string text = answer.get<std::string>();
  std::vector<std::uint8_t> bytes;
  std::string_view rest = text;
  bool at_line_start = true;
  while (!rest.empty()) {
    if (is_space(rest.front())) {
      at_line_start = at_line_start || rest.front() == '\n';
      rest.remove_prefix(1);
      continue;
    }
    if (at_line_start) {
      const std::size_t colon = rest.find(':');
      if (colon == std::string_view::npos) return {};
      rest.remove_prefix(colon + 1);
      at_line_start = false;
      continue;
    }
    const auto word = take_hex(rest);
    if (!word || *word > 0xffffffff) return {};
    for (int i = 0; i < 4; ++i) bytes.push_back(static_cast<std::uint8_t>(*word >> (8 * i)));
  }
  return bytes;
}

std::optional<std::uint32_t> parse_physical_number(const base::Json& answer) {
  if (!answer.is_string()) return std::nullopt;
  const std::string text = answer.get<std::string>();
  const std::size_t colon = text.find(": 0x");
  if (colon == std::string::npos) return std::nullopt;
  std::string_view rest = std::string_view(text).substr(colon + 2);
  const auto value = take_hex(rest);
  if (!value || *value > 0xffffffff) return std::nullopt;
  return static_cast<std::uint32_t>(*value);
}

base::Result<std::vector<ListedFunction>> parse_query_pci(const base::Json& answer) {
  std::vector<ListedFunction> found;
  bool good = answer.is_array();
  if (good) {
    for (const base::Json& bus : answer) {
      // QEMU hw/pci/pci.c, pcibus_get_dev_path(): a path begins with the number of its root bus.
      const std::string path = fmt::format("0000:{:02x}", base::json_get(bus, "bus", 0) & 0xff);
      good = good && take_devices(base::json_get(bus, "devices", base::Json::array()), path, 0, found);
    }
  }
  if (!good) return base::fail(base::ErrorKind::subject, "query-pci answered what it may not");
  return found;
}

}  // namespace migsoak::hypervisor
