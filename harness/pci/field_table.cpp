#include "pci/field_table.h"

#include <fmt/format.h>

#include <algorithm>

namespace migsoak::pci {

namespace {

enum class HeaderKind { any, plain, bridge };
struct HeaderRow {
  HeaderKind kind;
  std::size_t offset, length;
  const char* name;
  std::uint64_t writable;
};
constexpr HeaderRow kHeader[] = {
#define HEADER_FIELD(kind, offset, length, name, writable) {HeaderKind::kind, offset, length, name, writable},
#include "pci/header_fields.def"
#undef HEADER_FIELD
};

struct CapabilityRow {
  CapabilityList list;
  std::uint16_t id;
  std::size_t offset, length;
  const char* name;
  std::uint64_t writable;
};
constexpr CapabilityRow kCapabilityFields[] = {
#define CAPABILITY_FIELD(list, id, offset, length, name, writable) \
  {CapabilityList::list, id, offset, length, name, writable},
#include "pci/capability_fields.def"
#undef CAPABILITY_FIELD
};

constexpr int kVirtioNotify = 2, kVirtioPciAccess = 5, kVirtioSharedMemory = 8;

class Table {
 public:
  explicit Table(const ConfigImage& image) : image_(image), taken_(image.size(), false) {}

  void add(std::size_t offset, std::size_t length, std::string name, std::uint64_t writable, bool bar = false) {
    if (offset + length > image_.size()) return;
    for (std::size_t i = offset; i < offset + length; ++i) {
      if (taken_[i]) return;
    }
    std::fill_n(taken_.begin() + static_cast<std::ptrdiff_t>(offset), length, true);
    rows_.push_back({{std::move(name), offset, length}, writable, bar});
  }
  void add_header();
  void add_capability(const Capability& capability);
  void add_msi(const Capability& capability);
  void add_virtio(const Capability& capability);
  std::vector<FieldRow> sorted() {
    std::sort(rows_.begin(), rows_.end(),
              [](const FieldRow& a, const FieldRow& b) { return a.field.offset < b.field.offset; });
    return std::move(rows_);
  }

 private:
  const ConfigImage& image_;
  std::vector<bool> taken_;
  std::vector<FieldRow> rows_;
};

void Table::add_header() {
  const bool bridge = is_bridge(image_);
  const int bar_count = bridge ? 2 : 6;
  for (int index = 0; index < bar_count; ++index) {
    const std::size_t offset = 0x10 + 4 * static_cast<std::size_t>(index);
    const std::uint32_t value = image_.u32(offset);
    add(offset, 4, bar_name(index), 0, true);
    if ((value & 0x7) == 0x4 && index + 1 < bar_count) {  // memory, 64 bits wide
      add(offset + 4, 4, bar_name(index) + ", upper half", 0, true);
      ++index;
    }
  }
  add(bridge ? 0x38 : 0x30, 4, bar_name(kRomBar), 0, true);
  for (const HeaderRow& row : kHeader) {
    if (row.kind == HeaderKind::any || (row.kind == HeaderKind::bridge) == bridge) {
      add(row.offset, row.length, row.name, row.writable);
    }
  }
}

// PCI Local Bus 3.0, 6.8.1: 64-bit addresses and per-vector masks are optional and move what follows.
void Table::add_msi(const Capability& capability) {
  const std::uint16_t control = image_.u16(capability.offset + 2);
  const bool wide = (control & 0x80) != 0, masks = (control & 0x100) != 0;
  std::size_t at = capability.offset + 2;
  const auto next = [&](std::size_t length, const char* name, std::uint64_t writable) {
    add(at, length, fmt::format("{} {}", capability.name, name), writable);
    at += length;
  };
  next(2, "control", 0x0071);
  next(4, "address", 0xffffffff);
  if (wide) next(4, "address, upper half", 0xffffffff);
  next(2, "data", 0xffff);
  if (!masks) return;
  next(2, "extended data", 0xffff);
  next(4, "mask bits", 0xffffffff);
  next(4, "pending bits", 0);
}

// virtio 1.2, 4.1.4: struct virtio_pci_cap and what some types add to it.
void Table::add_virtio(const Capability& capability) {
  const std::size_t base = capability.offset;
  const bool window = capability.virtio_cfg_type == kVirtioPciAccess;  // the driver writes it, to reach through it
  const auto field = [&](std::size_t offset, std::size_t length, const char* name, std::uint64_t writable) {
    add(base + offset, length, fmt::format("{} {}", capability.name, name), writable);
  };
  field(2, 1, "capability length", 0);
  field(3, 1, "type", 0);
  field(4, 1, "BAR", window ? 0xff : 0);
  field(5, 1, "instance id", 0);
  field(8, 4, "offset", window ? 0xffffffff : 0);
  field(12, 4, "length", window ? 0xffffffff : 0);
  if (capability.virtio_cfg_type == kVirtioNotify) field(16, 4, "multiplier", 0);
  if (window) field(16, 4, "data", 0xffffffff);
  if (capability.virtio_cfg_type == kVirtioSharedMemory) {
    field(16, 4, "offset, upper half", 0);
    field(20, 4, "length, upper half", 0);
  }
}

void Table::add_capability(const Capability& capability) {
  if (capability.extended) {
    add(capability.offset, 2, capability.name + " id", 0);
    add(capability.offset + 2, 2, capability.name + " version and next pointer", 0);
  } else {
    add(capability.offset, 1, capability.name + " id", 0);
    add(capability.offset + 1, 1, capability.name + " next pointer", 0);
  }
  if (capability.virtio_cfg_type != 0) return add_virtio(capability);
  if (!capability.extended && capability.id == kMsiCapability) return add_msi(capability);
  for (const CapabilityRow& row : kCapabilityFields) {
    if ((row.list == CapabilityList::extended) != capability.extended || row.id != capability.id) continue;
    if (row.offset + row.length > capability.length) continue;
    add(capability.offset + row.offset, row.length, fmt::format("{} {}", capability.name, row.name), row.writable);
  }
}

}  // namespace

std::vector<FieldRow> field_rows(const ConfigImage& image) {
  Table table(image);
  if (!image.present()) return {};
  table.add_header();
  for (const Capability& capability : capabilities(image)) table.add_capability(capability);
  return table.sorted();
}

}  // namespace migsoak::pci
