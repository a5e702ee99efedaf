#include "pci/fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "pci/field_table.h"

namespace migsoak::pci {

namespace {

struct KnownCapability {
  CapabilityList list;
  std::uint16_t id;
  const char* name;
  std::size_t length;
};
const KnownCapability* known_capability(CapabilityList list, std::uint16_t id) {
  static constexpr KnownCapability kTable[] = {
#define CAPABILITY(list, id, name, length) {CapabilityList::list, id, name, length},
#include "pci/capabilities.def"
#undef CAPABILITY
  };
  for (const KnownCapability& known : kTable) {
    if (known.list == list && known.id == id) return &known;
  }
  return nullptr;
}

constexpr std::size_t kHeaderBytes = 0x40;
constexpr std::size_t kStatus = 0x06, kCapabilityPointer = 0x34;
constexpr std::uint16_t kStatusHasList = 0x10;
constexpr std::uint16_t kVendorSpecific = 0x09, kPcie = 0x10;
constexpr std::uint16_t kVirtioVendor = 0x1af4, kRedHatVendor = 0x1b36;

// virtio 1.2, 4.1.4: VIRTIO_PCI_CAP_*.
const char* virtio_cfg_name(int type) {
  static constexpr const char* kNames[] = {
      "", "common cfg", "notify cfg",        "ISR cfg",   "device cfg", "PCI access window",
      "", "",           "shared memory cfg", "vendor cfg"};
  return type >= 1 && type <= 9 ? kNames[type] : "";
}

bool is_virtio(const ConfigImage& image) {
  return image.u16(0) == kVirtioVendor && image.u16(2) >= 0x1000 && image.u16(2) <= 0x107f;
}

void describe_vendor_specific(const ConfigImage& image, Capability& capability) {
  capability.length = std::max<std::size_t>(image.u8(capability.offset + 2), 4);
  const int type = image.u8(capability.offset + 3);
  if (is_virtio(image) && virtio_cfg_name(type)[0] != '\0') {
    capability.virtio_cfg_type = type;
    capability.name = fmt::format("virtio {}", virtio_cfg_name(type));
  } else if (image.u16(0) == kRedHatVendor && is_bridge(image) && type == 1) {
    capability.name = "resource reserve";  // QEMU docs/pcie_pci_bridge.txt: what the firmware is to set aside
  }
}

// PCI Express Base 5.0, 7.5.3: version 1 of the capability ends early for ports that have no slot or root registers.
std::size_t pcie_length(const ConfigImage& image, std::size_t offset) {
  const unsigned version = image.u16(offset + 2) & 0xf;
  if (version >= 2) return 0x3c;
  const unsigned type = image.u16(offset + 2) >> 4 & 0xf;
  return type == 4 || type == 10 ? 0x24 : 0x14;
}

std::size_t msi_length(const ConfigImage& image, std::size_t offset) {
  const std::uint16_t control = image.u16(offset + 2);
  return ((control & 0x80) != 0 ? 14u : 10u) + ((control & 0x100) != 0 ? 10u : 0u);
}

Capability capability_at(const ConfigImage& image, std::size_t offset, bool extended) {
  Capability capability;
  capability.extended = extended;
  capability.offset = offset;
  capability.id = extended ? image.u16(offset) : image.u8(offset);
  const KnownCapability* known =
      known_capability(extended ? CapabilityList::extended : CapabilityList::plain, capability.id);
  capability.name =
      known != nullptr ? known->name : fmt::format("{}capability {:#04x}", extended ? "extended " : "", capability.id);
  capability.length = known != nullptr ? known->length : extended ? 4 : 2;
  if (extended) return capability;
  if (capability.id == kVendorSpecific) describe_vendor_specific(image, capability);
  if (capability.id == kPcie) capability.length = pcie_length(image, offset);
  if (capability.id == kMsiCapability) capability.length = msi_length(image, offset);
  return capability;
}

void walk_plain(const ConfigImage& image, std::vector<Capability>& into, std::string& broken) {
  if ((image.u16(kStatus) & kStatusHasList) == 0) return;
  std::set<std::size_t> seen;
  for (std::size_t at = image.u8(kCapabilityPointer) & ~3u; at != 0; at = image.u8(at + 1) & ~3u) {
    if (at < kHeaderBytes) {
      broken = fmt::format("the capability list points into the header, {:#x}", at);
      return;
    }
    if (!seen.insert(at).second) {
      broken = fmt::format("the capability list loops at {:#x}", at);
      return;
    }
    into.push_back(capability_at(image, at, false));
  }
}

void walk_extended(const ConfigImage& image, std::vector<Capability>& into, std::string& broken) {
  if (!image.extended()) return;
  std::set<std::size_t> seen;
  for (std::size_t at = kConventionalBytes; at != 0; at = image.u16(at + 2) >> 4 & ~3u) {
    // An id of zero (or all ones) with nothing behind it is how an empty list looks.
    if (image.u32(at) == 0 || image.u32(at) == 0xffffffff) return;
    if (at < kConventionalBytes || !seen.insert(at).second) {
      broken =
          fmt::format("the extended capability list {} {:#x}", at < kConventionalBytes ? "points to" : "loops at", at);
      return;
    }
    into.push_back(capability_at(image, at, true));
  }
}

struct FeatureRow {
  std::string_view type;
  int bit;
  const char* name;
};
constexpr FeatureRow kFeatures[] = {
#define VIRTIO_FEATURE(type, bit, name) {type, bit, name},
#include "pci/virtio_features.def"
#undef VIRTIO_FEATURE
};

}  // namespace

std::vector<Capability> capabilities(const ConfigImage& image, std::string* broken) {
  std::vector<Capability> found;
  std::string trouble;
  if (image.present()) {
    walk_plain(image, found, trouble);
    std::string more;
    walk_extended(image, found, more);
    if (trouble.empty()) trouble = more;
  }
  if (broken != nullptr) *broken = trouble;
  return found;
}

Field field_at(const ConfigImage& image, std::size_t offset) {
  const std::vector<FieldRow> rows = field_rows(image);
  for (const FieldRow& row : rows) {
    if (offset >= row.field.offset && offset < row.field.offset + row.field.length) return row.field;
  }
  for (const Capability& capability : capabilities(image)) {
    if (offset >= capability.offset && offset < capability.offset + capability.length) {
      return {fmt::format("{} byte {:#x}", capability.name, offset - capability.offset), offset, 1};
    }
  }
  return {fmt::format("{}byte {:#04x}", offset < kHeaderBytes ? "" : "device-specific ", offset), offset, 1};
}

std::vector<DecodedField> decode(const ConfigImage& image) {
  std::vector<DecodedField> decoded;
  for (const FieldRow& row : field_rows(image)) {
    DecodedField field{row.field, 0};
    for (std::size_t i = 0; i < std::min<std::size_t>(row.field.length, 8); ++i) {
      field.value |= static_cast<std::uint64_t>(image.u8(row.field.offset + i)) << (8 * i);
    }
    decoded.push_back(std::move(field));
  }
  return decoded;
}

ConfigImage specified_writable(const ConfigImage& image, const std::vector<Bar>& sizes) {
  ConfigImage mask(image.size());
  for (std::size_t i = kHeaderBytes; i < image.size(); ++i) mask.set_u8(i, 0xff);
  for (const Capability& capability : capabilities(image)) {
    const std::size_t end = std::min(capability.offset + capability.length, image.size());
    for (std::size_t i = capability.offset; i < end; ++i) mask.set_u8(i, 0);
  }
  for (const FieldRow& row : field_rows(image)) {
    if (row.bar) continue;
    for (std::size_t i = 0; i < std::min<std::size_t>(row.field.length, 8); ++i) {
      mask.set_u8(row.field.offset + i, static_cast<std::uint8_t>(row.writable >> (8 * i)));
    }
  }
  for (const Bar& bar : sizes) {
    if (bar.size == 0) continue;
    const std::uint64_t writable = ~(bar.size - 1);
    const std::size_t offset =
        bar.index == kRomBar ? (is_bridge(image) ? 0x38 : 0x30) : 0x10 + 4 * static_cast<std::size_t>(bar.index);
    // The ROM's lowest bit enables it.
    mask.set_u32(offset, static_cast<std::uint32_t>(writable) | (bar.index == kRomBar ? 1u : 0u));
    if (bar.kind == BarKind::mem64) mask.set_u32(offset + 4, static_cast<std::uint32_t>(writable >> 32));
  }
  return mask;
}

std::string virtio_feature_name(int bit, std::string_view device_type) {
  for (const FeatureRow& row : kFeatures) {
    if (row.bit == bit && (row.type.empty() || row.type == device_type)) return row.name;
  }
  return fmt::format("bit {}", bit);
}

std::vector<std::string> virtio_feature_names(std::uint64_t bits, std::string_view device_type) {
  std::vector<std::string> names;
  for (int bit = 0; bit < 64; ++bit) {
    if ((bits >> bit & 1) != 0) names.push_back(virtio_feature_name(bit, device_type));
  }
  return names;
}

std::string virtio_type_of(std::string_view driver) {
  for (const std::string_view prefix : {"virtio-", "vhost-user-", "vhost-"}) {
    const std::size_t at = driver.rfind(prefix);
    if (at == std::string_view::npos || (at != 0 && driver[at - 1] != '/')) continue;
    std::string_view rest = driver.substr(at + prefix.size());
    // "virtio-blk-pci-transitional" is a blk; "virtio-serial" a serial.
    rest = rest.substr(0, rest.find('-'));
    return std::string(rest == "console" ? "serial" : rest);
  }
  return "";
}

}  // namespace migsoak::pci
