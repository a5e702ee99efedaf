#include "detect/config_compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <set>

#include "base/text.h"
#include "detect/catalog.h"
#include "pci/fields.h"
#include "pci/virtio_config.h"

namespace migsoak::detect {

namespace {

constexpr std::size_t kCapabilitiesFrom = 0x40;
constexpr std::size_t kCapabilityPointer = 0x34;
constexpr std::size_t kNumberBytesMax = 8;

const record::ConfigBar* bar_of(const record::ConfigFunction& function, int index) {
  for (const record::ConfigBar& bar : function.bars) {
    if (bar.index == index) return &bar;
  }
  return nullptr;
}

std::string bar_kind_words(const record::ConfigBar& bar) {
  if (bar.index == pci::kRomBar) return "ROM";
  return bar.kind == "io" ? "I/O" : bar.kind == "mem64" ? "64-bit memory" : "memory";
}

std::string bar_reading(const Reading& reading, const record::ConfigBar* bar) {
  if (bar == nullptr) return reading.role + " has none";
  std::string words = fmt::format("{} {:#x} bytes", reading.role, bar->size);
  if (bar->address != 0) words += fmt::format(" at {:#x}", bar->address);
  return words;
}

std::vector<ConfigDifference> different_bars(const Reading& first, const Reading& second) {
  std::vector<ConfigDifference> found;
  for (int index = 0; index <= pci::kRomBar; ++index) {
    const record::ConfigBar* a = bar_of(*first.function, index);
    const record::ConfigBar* b = bar_of(*second.function, index);
    if ((a == nullptr && b == nullptr) || (a != nullptr && b != nullptr && a->size == b->size && a->kind == b->kind)) {
      continue;
    }
    ConfigDifference difference;
    difference.field = pci::bar_name(index);
    difference.offset = index == pci::kRomBar ? 0x30 : 0x10 + 4 * static_cast<std::size_t>(index);
    const std::string kind_a = a != nullptr ? bar_kind_words(*a) : "", kind_b = b != nullptr ? bar_kind_words(*b) : "";
    const std::string kind = kind_a.empty() || kind_a == kind_b ? kind_b
                             : kind_b.empty()                   ? kind_a
                                                                : kind_a + "/" + kind_b;
    difference.words = fmt::format("{}{}: {}, {}", difference.field, index == pci::kRomBar ? "" : " " + kind,
                                   bar_reading(first, a), bar_reading(second, b));
    difference.evidence = {{"bar", index}};
    if (a != nullptr) difference.evidence["source_bytes"] = a->size;
    if (a != nullptr) difference.evidence["source_address"] = a->address;
    if (b != nullptr) difference.evidence["destination_bytes"] = b->size;
    found.push_back(std::move(difference));
  }
  return found;
}

std::vector<std::string> capability_names(const pci::ConfigImage& image, bool with_extended, bool with_offsets) {
  std::vector<std::string> names;
  for (const pci::Capability& capability : pci::capabilities(image)) {
    if (capability.extended && !with_extended) continue;
    names.push_back(with_offsets ? fmt::format("{} at {:#x}", capability.name, capability.offset) : capability.name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> only_in(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  std::vector<std::string> out;
  std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(out));
  return out;
}

// A capability more or less, or one that lies elsewhere, shifts what is behind it: told once, not byte by byte.
bool different_capabilities(const Reading& first, const Reading& second, const pci::ConfigImage& a,
                            const pci::ConfigImage& b, std::vector<ConfigDifference>& into) {
  const bool extended = a.extended() && b.extended();
  for (const bool with_offsets : {false, true}) {
    const auto names_a = capability_names(a, extended, with_offsets),
               names_b = capability_names(b, extended, with_offsets);
    if (names_a == names_b) continue;
    const auto only_a = only_in(names_a, names_b), only_b = only_in(names_b, names_a);
    ConfigDifference difference;
    difference.field = "capabilities";
    difference.offset = kCapabilityPointer;
    std::vector<std::string> words;
    if (!only_a.empty()) words.push_back(fmt::format("{} has {}", first.role, base::join(only_a, ", ")));
    if (!only_b.empty()) words.push_back(fmt::format("{} has {}", second.role, base::join(only_b, ", ")));
    difference.words = fmt::format("capabilities: {}, which the other does not have", base::join(words, "; "));
    if (with_offsets) difference.words = fmt::format("capabilities: {}", base::join(words, "; "));
    difference.evidence = {{"source_only", only_a}, {"destination_only", only_b}};
    into.push_back(std::move(difference));
    return true;
  }
  return false;
}

std::uint64_t number_at(const pci::ConfigImage& image, const pci::Field& field) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < std::min(field.length, kNumberBytesMax); ++i) {
    value |= static_cast<std::uint64_t>(image.u8(field.offset + i)) << (8 * i);
  }
  return value;
}

std::string bits_of(std::uint64_t mask) {
  std::vector<std::string> bits;
  for (int bit = 0; bit < 64; ++bit) {
    if ((mask >> bit & 1) != 0) bits.push_back(std::to_string(bit));
  }
  return fmt::format("bit{} {}", bits.size() == 1 ? "" : "s", base::join(bits, ", "));
}

// "blk" for "1af4:1001".
std::string virtio_type(const std::string& device) {
  unsigned vendor = 0, number = 0;
  const std::size_t colon = device.find(':');
  if (colon == std::string::npos) return "";
  const char* begin = device.data();
  const char* end = begin + device.size();
  const bool good = std::from_chars(begin, begin + colon, vendor, 16).ec == std::errc() &&
                    std::from_chars(begin + colon + 1, end, number, 16).ec == std::errc();
  if (!good) return "";
  return pci::virtio_type_of_device(static_cast<std::uint16_t>(vendor), static_cast<std::uint16_t>(number));
}

}  // namespace

std::uint64_t ConfigCompare::volatile_bits(const std::string& field, std::uint64_t differing) {
  for (const VolatileConfig& entry : volatile_config()) {
    if (entry.field != field || !excluded(gate_, entry.name)) continue;
    if ((differing & entry.bits) != 0) ++held_back_[entry.name];
    return entry.bits;
  }
  return 0;
}

void ConfigCompare::compare_bytes(const Reading& first, const Reading& second, CompareAs as,
                                  std::vector<ConfigDifference>& into) {
  if (first.function->size == second.function->size && first.function->bytes == second.function->bytes) return;
  const auto a = image_of(*first.function), b = image_of(*second.function);
  if (!a || !b || *a == *b) return;
  const bool other_layout = different_capabilities(first, second, *a, *b, into);
  const pci::ConfigImage writable = writable_of(*second.function, *b);
  std::set<std::string> told;  // BARs that differ in size
  for (const ConfigDifference& difference : into) told.insert(difference.field);
  const std::size_t size = std::min(a->size(), b->size());
  for (std::size_t i = 0; i < size;) {
    if (a->u8(i) == b->u8(i)) {
      ++i;
      continue;
    }
    const pci::Field field = pci::field_at(*b, i);
    i = field.offset + field.length;
    const std::string bar = field.name.substr(0, field.name.find(','));
    if (told.count(bar) > 0) continue;
    if (other_layout && (field.offset >= kCapabilitiesFrom || field.offset == kCapabilityPointer)) continue;
    const std::uint64_t guests = as == CompareAs::time_pristine ? 0 : number_at(writable, field);
    const std::uint64_t value_a = number_at(*a, field), value_b = number_at(*b, field);
    std::uint64_t differing = (value_a ^ value_b) & ~guests;
    // What a port says of its link and slot follows from what is plugged in behind it at the time.
    const bool topology = pci::is_bridge(*b) && (field.name == "PCIe slot status" || field.name == "PCIe link status");
    if (as != CompareAs::sides && topology) continue;
    if (differing != 0) differing &= ~volatile_bits(field.name, differing);
    if (differing == 0) continue;
    ConfigDifference difference;
    difference.field = field.name;
    difference.offset = field.offset;
    const auto digits = static_cast<int>(2 + 2 * std::min(field.length, kNumberBytesMax));
    difference.words = fmt::format("{} (byte {:#04x}): {} {:#0{}x}, {} {:#0{}x}: {} read-only", field.name,
                                   field.offset, first.role, value_a, digits, second.role, value_b, digits,
                                   bits_of(differing) + (std::has_single_bit(differing) ? " is" : " are"));
    difference.evidence = {{"source", fmt::format("{:#x}", value_a)},
                           {"destination", fmt::format("{:#x}", value_b)},
                           {"differing_bits", fmt::format("{:#x}", differing)},
                           {"writable", fmt::format("{:#x}", number_at(writable, field))},
                           {"mask", second.function->writable.empty() ? "by specification" : "probed"}};
    into.push_back(std::move(difference));
  }
}

std::vector<ConfigDifference> ConfigCompare::compare_device_config(const Reading& source, const Reading& destination) {
  std::vector<ConfigDifference> found;
  if (source.function->device_config == destination.function->device_config) return found;
  const auto a = pci::virtio_config_from_hex(source.function->device_config);
  const auto b = pci::virtio_config_from_hex(destination.function->device_config);
  if (a.empty() || b.empty() || a == b) return found;
  for (const auto& field : pci::virtio_config_fields(virtio_type(source.function->device))) {
    // A field on one side only comes with a feature of that side only, which the guest has not accepted.
    const auto value_a = pci::virtio_config_value(field, a), value_b = pci::virtio_config_value(field, b);
    if (!value_a || !value_b || value_a == value_b) continue;
    const std::string name = field.name();
    if (field.kind != pci::ConfigFieldKind::fixed && excluded(gate_, name)) {
      ++held_back_[name];
      continue;
    }
    ConfigDifference difference;
    difference.field = name;
    difference.offset = field.offset;
    const std::string property(field.property);
    difference.words =
        fmt::format("{}{}: {} {}, {} {}: after the load the guest reads another value", name,
                    property.empty() ? "" : " (" + property + ")", source.role, *value_a, destination.role, *value_b);
    difference.evidence = {{"source", *value_a}, {"destination", *value_b}, {"field", name}, {"offset", field.offset}};
    if (!property.empty()) difference.evidence["property"] = property;
    found.push_back(std::move(difference));
  }
  return found;
}

std::vector<ConfigDifference> ConfigCompare::compare(const Reading& first, const Reading& second, CompareAs as) {
  std::vector<ConfigDifference> found = different_bars(first, second);
  compare_bytes(first, second, as, found);
  for (ConfigDifference& difference : found) {
    difference.evidence["field"] = difference.field;
    difference.evidence["offset"] = difference.offset;
  }
  return found;
}

}  // namespace migsoak::detect
