// The device configuration of virtio devices (virtio 1.2, 2.5), which lies behind a BAR. A source's BARs are where the
// guest put them, and are read there. A destination's are nowhere: it is read through the capability that shows a piece
// of a BAR in configuration space (4.1.4.9), whose registers the stream replaces, and which get their values back
// before.
#include <algorithm>
#include <optional>

#include "hypervisor/config_reading.h"
#include "pci/fields.h"

namespace migsoak::hypervisor {

namespace {

constexpr int kDeviceConfig = 4, kPciConfig = 5;  // virtio_pci_cap.cfg_type
constexpr std::size_t kCapBar = 4, kCapOffset = 8, kCapLength = 12, kCapData = 16;

// Where the structure lies, by the function's capabilities.
struct DeviceConfigPlace {
  std::string type;
  int bar = 0;
  std::uint32_t offset = 0;
  std::size_t window = 0;  // of the capability that is a window; 0: none
};

std::optional<DeviceConfigPlace> device_config_place(const pci::ConfigImage& image) {
  if (!image.present()) return std::nullopt;
  DeviceConfigPlace place;
  place.type = pci::virtio_type_of_device(image.u16(0), image.u16(2));
  bool found = false;
  for (const pci::Capability& capability : pci::capabilities(image)) {
    if (capability.virtio_cfg_type == kPciConfig) place.window = capability.offset;
    if (capability.virtio_cfg_type != kDeviceConfig) continue;
    found = true;
    place.bar = image.u8(capability.offset + kCapBar);
    place.offset = image.u32(capability.offset + kCapOffset);
  }
  if (!found || pci::virtio_config_accesses(place.type).empty()) return std::nullopt;
  return place;
}

// Lines, and which of their answers are the numbers.
struct DeviceConfigLines {
  std::vector<std::string> lines;
  std::vector<std::size_t> numbers;
};

DeviceConfigLines lines_of_source(const ReadFunction& read, const DeviceConfigPlace& place) {
  DeviceConfigLines made;
  const auto& bars = read.listed.function.bars;
  const auto bar = std::find_if(bars.begin(), bars.end(), [&](const auto& one) { return one.index == place.bar; });
  constexpr std::size_t kCommandRegister = 0x04;
  constexpr unsigned kMemoryDecode = 0x2;
  if (bar == bars.end() || bar->kind == "io" || bar->address == 0) return made;
  if ((read.image.u16(kCommandRegister) & kMemoryDecode) == 0) return made;
  for (const pci::VirtioConfigAccess& access : pci::virtio_config_accesses(place.type)) {
    made.numbers.push_back(made.lines.size());
    made.lines.push_back(read_physical_number(bar->address + place.offset + access.offset, access.bytes));
  }
  return made;
}

DeviceConfigLines lines_of_destination(const ReadFunction& read, const DeviceConfigPlace& place) {
  DeviceConfigLines made;
  if (place.window == 0) return made;
  const auto set = [&](std::size_t reg, std::uint32_t value) {
    made.lines.push_back(write_port(kAddressPort, config_address(read.listed.at, place.window + reg)));
    made.lines.push_back(write_port(kDataPort, value));
  };
  set(kCapBar, static_cast<std::uint32_t>(place.bar));
  int length = 0;
  for (const pci::VirtioConfigAccess& access : pci::virtio_config_accesses(place.type)) {
    set(kCapOffset, place.offset + static_cast<std::uint32_t>(access.offset));
    if (access.bytes != length) set(kCapLength, static_cast<std::uint32_t>(access.bytes));
    length = access.bytes;
    made.lines.push_back(write_port(kAddressPort, config_address(read.listed.at, place.window + kCapData)));
    made.numbers.push_back(made.lines.size());
    made.lines.push_back(read_port(kDataPort));
  }
  // With no length, as out of reset, what is written to the data register goes no further.
  for (const std::size_t reg : {kCapBar, kCapOffset, kCapLength}) set(reg, read.image.u32(place.window + reg));
  if (read.image.u32(place.window + kCapLength) == 0) set(kCapData, read.image.u32(place.window + kCapData));
  return made;
}

}  // namespace

void ConfigReading::Impl::read_device_configs() {
  struct Asked {
    std::size_t function;
    std::string type;
    std::vector<std::size_t> numbers;
  };
  std::vector<Asked> asked;
  std::vector<std::string> lines;
  for (std::size_t i = 0; i < functions.size(); ++i) {
    if (functions[i].image.empty() || !has_turn(functions[i].listed)) continue;
    const auto place = device_config_place(functions[i].image);
    // Through ports the images go by turns, too.
    if (place || method == "ports") memory->last_read[key_of(functions[i].listed)] = number;
    if (!place) continue;
    DeviceConfigLines made =
        destination() ? lines_of_destination(functions[i], *place) : lines_of_source(functions[i], *place);
    for (std::size_t& at : made.numbers) at += lines.size();
    asked.push_back({i, place->type, std::move(made.numbers)});
    lines.insert(lines.end(), made.lines.begin(), made.lines.end());
  }
  if (lines.empty()) return put_back();
  lines.push_back(write_port(kAddressPort, *latch));
  send_lines(lines, [this, asked](const Answers& answers) {
    for (const Asked& one : asked) {
      std::vector<std::uint32_t> values;
      for (const std::size_t at : one.numbers) {
        const auto& answer = answers[at];
        const auto value = !answer         ? std::nullopt
                           : destination() ? parse_port(*answer)
                                           : parse_physical_number(*answer);
        if (!value) break;
        values.push_back(*value);
      }
      if (values.empty() || values.size() != one.numbers.size()) continue;
      functions[one.function].device_config = pci::virtio_config_bytes(one.type, values);
    }
    put_back();
  });
}

}  // namespace migsoak::hypervisor
