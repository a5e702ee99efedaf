// Internal to pci: every named register of one image, with the bits that the specifications let software write.
#pragma once

#include <cstdint>
#include <vector>

#include "pci/fields.h"

namespace migsoak::pci {

// Of which list a capability is: the one at 0x34 or the one at 0x100.
enum class CapabilityList { plain, extended };

inline constexpr std::uint16_t kMsiCapability = 0x05;

struct FieldRow {
  Field field;
  std::uint64_t writable = 0;  // little-endian over the field's bytes
  bool bar = false;
};
// Sorted by offset. Registers that lie beyond the image are left out; the first one to claim a byte has it.
std::vector<FieldRow> field_rows(const ConfigImage& image);

}  // namespace migsoak::pci
