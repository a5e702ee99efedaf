#include "pci/config_image.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace migsoak::pci {

namespace {

constexpr std::size_t kHeaderType = 0x0e;
constexpr std::size_t kFirstBar = 0x10;
constexpr std::size_t kRomOfPlain = 0x30;
constexpr std::size_t kRomOfBridge = 0x38;
constexpr std::uint32_t kIoFlag = 0x1, kIoAddress = ~0x3u;
constexpr std::uint32_t kMemoryTypeMask = 0x6, kMemory64 = 0x4, kPrefetchable = 0x8, kMemoryAddress = ~0xfu;
constexpr std::uint32_t kRomAddress = ~0x7ffu;

int digit_of(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::size_t bar_offset(const ConfigImage& image, int index) {
  if (index == kRomBar) return is_bridge(image) ? kRomOfBridge : kRomOfPlain;
  return kFirstBar + 4 * static_cast<std::size_t>(index);
}

// The BAR at `index` as its register says, size left open.
Bar bar_at(const ConfigImage& image, int index) {
  Bar bar;
  bar.index = index;
  bar.offset = bar_offset(image, index);
  const std::uint32_t value = image.u32(bar.offset);
  if (index == kRomBar) {
    bar.kind = BarKind::rom;
    bar.address = value & kRomAddress;
  } else if ((value & kIoFlag) != 0) {
    bar.kind = BarKind::io;
    bar.address = value & kIoAddress;
  } else {
    bar.kind = (value & kMemoryTypeMask) == kMemory64 ? BarKind::mem64 : BarKind::mem32;
    bar.prefetchable = (value & kPrefetchable) != 0;
    bar.address = value & kMemoryAddress;
    if (bar.kind == BarKind::mem64) bar.address |= static_cast<std::uint64_t>(image.u32(bar.offset + 4)) << 32;
  }
  return bar;
}

}  // namespace

std::string to_hex(const ConfigImage& image) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::size_t used = image.size();
  while (used > 0 && image.u8(used - 1) == 0) --used;
  std::string out;
  out.reserve(2 * used);
  for (std::size_t i = 0; i < used; ++i) {
    out += kDigits[image.u8(i) >> 4];
    out += kDigits[image.u8(i) & 0xf];
  }
  return out;
}

base::Result<ConfigImage> from_hex(std::string_view digits, std::size_t size) {
  if (size != kConventionalBytes && size != kExtendedBytes) {
    return base::fail(base::ErrorKind::bad_input, fmt::format("a config image of {} bytes", size));
  }
  if (digits.size() % 2 != 0 || digits.size() > 2 * size) {
    return base::fail(base::ErrorKind::bad_input,
                      fmt::format("{} hex digits for a config image of {} bytes", digits.size(), size));
  }
  ConfigImage image(size);
  for (std::size_t i = 0; i < digits.size(); i += 2) {
    if (digits[i] == '0' && digits[i + 1] == '0') continue;  // most of an image
    const int high = digit_of(digits[i]), low = digit_of(digits[i + 1]);
    if (high < 0 || low < 0) {
      return base::fail(base::ErrorKind::bad_input,
                        "a config image is not hex: " + base::printable(digits.substr(i, 2)));
    }
    image.set_u8(i / 2, static_cast<std::uint8_t>(high << 4 | low));
  }
  return image;
}

std::string_view to_string(BarKind kind) {
  switch (kind) {
    case BarKind::io: return "I/O";
    case BarKind::mem32: return "memory";
    case BarKind::mem64: return "64-bit memory";
    case BarKind::rom: return "ROM";
  }
  return "?";
}

bool is_bridge(const ConfigImage& image) {
  return image.present() && (image.u8(kHeaderType) & 0x7f) == 1;
}

std::string bar_name(int index) {
  return index == kRomBar ? "expansion ROM" : fmt::format("BAR{}", index);
}

std::uint64_t bar_size(const ConfigImage& image, const ConfigImage& writable, int index) {
  const Bar bar = bar_at(image, index);
  const std::uint32_t low = writable.u32(bar.offset);
  switch (bar.kind) {
    case BarKind::io: return (low & kIoAddress) & -(low & kIoAddress);
    case BarKind::mem32: return (low & kMemoryAddress) & -(low & kMemoryAddress);
    case BarKind::rom: return (low & kRomAddress) & -(low & kRomAddress);
    case BarKind::mem64: {
      const std::uint64_t mask = (low & kMemoryAddress) | static_cast<std::uint64_t>(writable.u32(bar.offset + 4))
                                                              << 32;
      return mask & -mask;
    }
  }
  return 0;
}

std::vector<Bar> bars(const ConfigImage& image, const ConfigImage* writable) {
  std::vector<Bar> found;
  if (!image.present()) return found;
  const int count = is_bridge(image) ? 2 : 6;
  for (int index = 0; index < count; ++index) {
    Bar bar = bar_at(image, index);
    if (writable != nullptr) {
      bar.size = bar_size(image, *writable, index);
      if (bar.size == 0) continue;
    } else if (image.u32(bar.offset) == 0) {
      continue;
    }
    found.push_back(bar);
    if (bar.kind == BarKind::mem64) ++index;  // its upper half
  }
  Bar rom = bar_at(image, kRomBar);
  if (writable != nullptr) rom.size = bar_size(image, *writable, kRomBar);
  if (rom.size != 0 || (writable == nullptr && rom.address != 0)) found.push_back(rom);
  return found;
}

}  // namespace migsoak::pci
