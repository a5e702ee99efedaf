#include "compat/layout.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace migsoak::compat {
using base::ErrorKind;

namespace {

// I/O ports above the chipset's own (0x600..0xcff) and below ACPI's (0xae00..0xb1ff).
constexpr std::uint32_t kIoWindowsStart = 0x1000;
// Above q35's ECAM window at 0xb0000000, below the I/O APIC.
constexpr std::uint32_t kMemoryWindowsStart = 0xc0000000;
constexpr std::uint8_t kPcFirstSlot = 2;   // 0 host bridge, 1 PIIX3
constexpr std::uint8_t kQ35FirstSlot = 1;  // 0 host bridge, 31 ICH9

constexpr std::uint8_t devfn_of(unsigned slot, unsigned function) {
  return static_cast<std::uint8_t>(slot << 3 | function);
}

void add_properties(const hypervisor::Properties& more, hypervisor::Properties& into) {
  into.insert(into.end(), more.begin(), more.end());
}

const std::string& properties_of(const DevicePair& device, Side side) {
  return side == Side::from ? device.properties_from : device.properties_to;
}

}  // namespace

std::string_view to_string(Placement placement) {
  switch (placement) {
    case Placement::root: return "root";
    case Placement::root_port: return "root-port";
    case Placement::bridge: return "bridge";
  }
  return "?";
}

base::Result<Placement> parse_placement(std::string_view word) {
  for (const Placement placement : {Placement::root, Placement::root_port, Placement::bridge}) {
    if (to_string(placement) == word) return placement;
  }
  const std::string near = base::nearest_name(word, {"root", "root-port", "bridge"});
  return base::fail(ErrorKind::bad_input,
                    fmt::format("no placement '{}'{}; there are: root, root-port, bridge", base::printable(word),
                                near.empty() ? "" : ", did you mean '" + near + "'?"));
}

base::Result<Chipset> chipset_of(std::string_view machine) {
  const std::string_view type = machine.substr(0, machine.find(','));
  if (type == "q35" || type.starts_with("pc-q35")) return Chipset::q35;
  if (type == "pc" || type.starts_with("pc-i440fx") || type.starts_with("pc-1.") || type.starts_with("pc-0.")) {
    return Chipset::pc;
  }
  return base::fail(ErrorKind::bad_input,
                    fmt::format("compat knows the machine types pc and q35, versioned or not, and not '{}'",
                                base::printable(machine)));
}

base::Result<Layout> Layout::make(std::string machine, Placement placement, const std::vector<DevicePair>& devices) {
  Layout layout;
  MIGSOAK_ASSIGN(layout.chipset_, chipset_of(machine));
  layout.machine_ = std::move(machine);
  layout.placement_ = placement;
  const bool q35 = layout.chipset_ == Chipset::q35;
  if (placement == Placement::root_port && !q35) {
    return base::fail(ErrorKind::bad_input, "placement root-port needs a q35 machine: pc has no PCI Express");
  }
  const std::uint8_t first_slot = q35 ? kQ35FirstSlot : kPcFirstSlot;
  if (placement == Placement::bridge) layout.bridge_devfn_ = devfn_of(first_slot, 0);
  for (std::size_t i = 0; i < devices.size() && i < kDevicesPerVm; ++i) {
    const auto number = static_cast<unsigned>(i);
    PlacedDevice placed;
    placed.device = devices[i];
    placed.index = i;
    placed.io_window = kIoWindowsStart + number * kIoWindowBytes;
    placed.memory_window = kMemoryWindowsStart + number * kMemoryWindowBytes;
    if (placement == Placement::root_port) {
      placed.bus = static_cast<std::uint8_t>(number + 1);
      placed.port_devfn = devfn_of(first_slot + number / 8, number % 8);
      placed.path = fmt::format("0000:00:{:02x}.{:x}:00.0", placed.port_devfn >> 3, placed.port_devfn & 7);
    } else if (placement == Placement::bridge) {
      placed.bus = 1;
      placed.devfn = devfn_of(number + 1, 0);
      placed.path = fmt::format("0000:00:{:02x}.0:{:02x}.0", first_slot, number + 1);
    } else {
      placed.devfn = devfn_of(first_slot + number, 0);
      placed.path = fmt::format("0000:00:{:02x}.0", first_slot + number);
    }
    layout.devices_.push_back(std::move(placed));
  }
  return layout;
}

bool Layout::needs_vhost_exports() const {
  return std::any_of(devices_.begin(), devices_.end(),
                     [](const PlacedDevice& placed) { return needs_vhost_export(placed.device.driver); });
}

std::string Layout::machine() const {
  return machine_ + (needs_vhost_exports() ? ",memory-backend=ram" : "");
}

base::Result<std::vector<std::string>> Layout::hardware(Side side, const VhostSockets& sockets) const {
  // maxmem: memory devices (virtio-mem, virtio-pmem) want address space for themselves.
  std::vector<std::string> words{"-m", "16M,slots=4,maxmem=4G"};
  if (needs_vhost_exports()) {
    words.insert(words.end(), {"-object", "memory-backend-memfd,id=ram,size=16M,share=on"});
  }
  if (placement_ == Placement::bridge) {
    hypervisor::DeviceSpec bridge;
    bridge.id = "bridge";
    bridge.address = hypervisor::slot_name(bridge_devfn_ >> 3);
    hypervisor::DeviceParts parts;
    parts.frontend = pci_frontend(chipset_ == Chipset::q35 ? "pcie-pci-bridge" : "pci-bridge", bridge);
    if (chipset_ == Chipset::pc) parts.frontend.emplace_back("chassis_nr", 1);
    MIGSOAK_TRY(append_arguments(parts, words));
  }
  for (const PlacedDevice& placed : devices_) MIGSOAK_TRY(append_device(placed, side, sockets, words));
  return words;
}

base::Result<void> Layout::append_device(const PlacedDevice& placed, Side side, const VhostSockets& sockets,
                                         std::vector<std::string>& words) const {
  hypervisor::DeviceSpec device;
  device.id = placed.id();
  device.address = hypervisor::slot_name(placed.devfn >> 3);
  device.bus = placement_ == Placement::bridge ? "bridge" : chipset_ == Chipset::q35 ? "pcie.0" : "pci.0";
  if (placement_ == Placement::root_port) {
    hypervisor::DeviceSpec port;
    port.id = fmt::format("port{}", placed.index);
    port.address = fmt::format("{:#x}.{:#x}", placed.port_devfn >> 3, placed.port_devfn & 7);
    device.bus = port.id;
    hypervisor::DeviceParts parts;
    // Above the numbers that devices.def gives to ports which are looked at themselves.
    parts.frontend = hypervisor::root_port_frontend(port, static_cast<std::int64_t>(placed.index) + 100);
    parts.frontend.emplace_back("multifunction", true);
    MIGSOAK_TRY(append_arguments(parts, words));
  }
  const std::string& own = properties_of(placed.device, side);
  if (const auto socket = sockets.find(device.id); socket != sockets.end()) device.socket_path = socket->second;
  hypervisor::DeviceParts parts = backends_for(placed.device.driver, own, placed.index, device.socket_path);
  hypervisor::Properties frontend;
  if (const auto controller = controller_of(placed.device.driver)) {
    hypervisor::DeviceSpec at = device;
    at.id = fmt::format("c{}", placed.index);
    parts.backends.push_back({"device", at.id, pci_frontend(std::string(controller->driver), at)});
    add_properties(properties_in(controller->properties), parts.backends.back().properties);
    frontend = {{"driver", placed.device.driver}, {"id", device.id}};
    frontend.emplace_back("bus", at.id + std::string(controller->bus));
  } else {
    frontend = pci_frontend(placed.device.driver, device);
  }
  add_properties(parts.frontend, frontend);
  add_properties(properties_in(own), frontend);
  parts.frontend = std::move(frontend);
  return append_arguments(parts, words);
}

std::size_t Layout::device_in_load_error(const std::vector<std::string>& lines) const {
  std::size_t found = kNone;
  for (const std::string& line : lines) {
    for (const PlacedDevice& placed : devices_) {
      // Followed by '/', or by the end of the word: "0000:00:05.0" is also the beginning of what sits behind a bridge.
      for (auto at = line.find(placed.path); at != std::string::npos; at = line.find(placed.path, at + 1)) {
        const auto end = at + placed.path.size();
        if (end == line.size() || line[end] != ':') found = placed.index;
      }
    }
  }
  return found;
}

std::size_t Layout::device_in_start_error(const std::vector<std::string>& lines) const {
  for (auto line = lines.rbegin(); line != lines.rend(); ++line) {
    for (const PlacedDevice& placed : devices_) {
      for (const char* kind : {"id=d", "id=n", "node-name=n"}) {
        const std::string id = fmt::format("{}{}", kind, placed.index);
        const auto at = line->find(id);
        if (at == std::string::npos) continue;
        const auto end = at + id.size();
        if (end == line->size() || (*line)[end] < '0' || (*line)[end] > '9') return placed.index;
      }
    }
  }
  return kNone;
}

std::string device_text(const DevicePair& device, Side side) {
  const std::string& properties = properties_of(device, side);
  return properties.empty() ? device.driver : device.driver + "," + properties;
}

}  // namespace migsoak::compat
