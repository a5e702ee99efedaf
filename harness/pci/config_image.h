// ConfigImage: the configuration space of one PCI function as bytes, 256 of them or, through ECAM, 4096 (PCI Local Bus
// 3.0 section 6.1, PCI Express Base section 7.2). Also used for masks of the same shape: bit set = property holds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace migsoak::pci {

inline constexpr std::size_t kConventionalBytes = 256;
inline constexpr std::size_t kExtendedBytes = 4096;

class ConfigImage {
 public:
  ConfigImage() = default;
  // All zero. `size`: kConventionalBytes or kExtendedBytes.
  explicit ConfigImage(std::size_t size) : bytes_(size, 0) {}
  explicit ConfigImage(std::vector<std::uint8_t> bytes) : bytes_(std::move(bytes)) {}

  std::size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }
  bool extended() const { return bytes_.size() > kConventionalBytes; }
  // A function that is not there reads all ones.
  bool present() const { return !empty() && u16(0) != 0xffff; }

  // Little-endian; bytes beyond the end read as 0xff.
  std::uint8_t u8(std::size_t offset) const { return offset < bytes_.size() ? bytes_[offset] : 0xff; }
  std::uint16_t u16(std::size_t offset) const {
    return static_cast<std::uint16_t>(u8(offset) | static_cast<unsigned>(u8(offset + 1)) << 8);
  }
  std::uint32_t u32(std::size_t offset) const {
    return u16(offset) | static_cast<std::uint32_t>(u16(offset + 2)) << 16;
  }
  // Outside the image: ignored.
  void set_u8(std::size_t offset, std::uint8_t value) {
    if (offset < bytes_.size()) bytes_[offset] = value;
  }
  void set_u16(std::size_t offset, std::uint16_t value) {
    set_u8(offset, static_cast<std::uint8_t>(value));
    set_u8(offset + 1, static_cast<std::uint8_t>(value >> 8));
  }
  void set_u32(std::size_t offset, std::uint32_t value) {
    set_u16(offset, static_cast<std::uint16_t>(value));
    set_u16(offset + 2, static_cast<std::uint16_t>(value >> 16));
  }

  const std::vector<std::uint8_t>& bytes() const { return bytes_; }
  bool operator==(const ConfigImage&) const = default;

 private:
  std::vector<std::uint8_t> bytes_;
};

// Lower-case hex digits; zeros at the end are cut off (from_hex puts them back), as most of an extended image is zero.
std::string to_hex(const ConfigImage& image);
// Kind bad_input: not hex, an odd number of digits, more than `size` bytes, or a size that no image has.
base::Result<ConfigImage> from_hex(std::string_view digits, std::size_t size);

// What the bytes of the standard header say (PCI Local Bus 3.0, 6.1 and 6.2.5).
enum class BarKind { io, mem32, mem64, rom };
std::string_view to_string(BarKind kind);  // "I/O" "memory" "64-bit memory" "ROM"

struct Bar {
  int index = 0;  // 0..5; 6: the expansion ROM
  std::size_t offset = 0;
  BarKind kind = BarKind::mem32;
  bool prefetchable = false;
  std::uint64_t address = 0;  // flag bits taken off
  std::uint64_t size = 0;     // bytes; 0: unknown, no mask was given
};
inline constexpr int kRomBar = 6;

// Type 0 has six BARs and the ROM at 0x30, type 1 (a bridge) two and the ROM at 0x38.
bool is_bridge(const ConfigImage& image);
// "BAR0", "expansion ROM"; offset of the register, also for the upper half of a 64-bit BAR.
std::string bar_name(int index);
// BARs that are implemented as far as can be told: with `writable` (a mask read from a build) those with writable bits,
// without it those whose register is not zero.
std::vector<Bar> bars(const ConfigImage& image, const ConfigImage* writable = nullptr);
// The register of BAR `index` and its size by the mask of writable bits: the lowest writable address bit. 0: none.
std::uint64_t bar_size(const ConfigImage& image, const ConfigImage& writable, int index);

}  // namespace migsoak::pci
