#include "pci/virtio_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>

namespace migsoak::pci {

namespace {

constexpr bool kZero = true, kNone = false;
constexpr std::size_t kMacBytes = 6;
constexpr std::size_t kConfigBytesMax = 256;

constexpr VirtioConfigField kConfigFields[] = {
#define VIRTIO_CONFIG(type, structure, field, offset, bytes, absent, property, kind, reason) \
  {type, structure, field, offset, bytes, absent, property, ConfigFieldKind::kind, reason},
#include "pci/virtio_config.def"
#undef VIRTIO_CONFIG
};

struct TypeNumber {
  std::uint16_t transitional;  // 0: it has no such id
  std::uint16_t number;        // of the type: 0x1040 less than a modern device's id
  std::string_view type;
};
constexpr TypeNumber kTypeNumbers[] = {
    {0x1000, 1, "net"},     {0x1001, 2, "blk"},  {0x1003, 3, "serial"}, {0x1005, 4, "rng"},
    {0x1002, 5, "balloon"}, {0x1004, 8, "scsi"}, {0x1009, 9, "9p"},     {0, 16, "gpu"},
    {0, 18, "input"},       {0, 19, "vsock"},    {0, 20, "crypto"},     {0, 23, "iommu"},
    {0, 24, "mem"},         {0, 25, "sound"},    {0, 26, "fs"},         {0, 27, "pmem"},
};

bool is_of_type(const VirtioConfigField& field, std::string_view type) {
  return field.type == (type == "vga" ? "gpu" : type);  // virtio-vga is a virtio-gpu with a VGA in front
}

}  // namespace

std::string VirtioConfigField::name() const {
  return fmt::format("{}.{}", structure, field);
}

std::vector<VirtioConfigField> virtio_config_fields(std::string_view type) {
  std::vector<VirtioConfigField> fields;
  for (const VirtioConfigField& field : kConfigFields) {
    if (is_of_type(field, type)) fields.push_back(field);
  }
  return fields;
}

std::vector<VirtioConfigField> virtio_config_fields() {
  return {std::begin(kConfigFields), std::end(kConfigFields)};
}

std::vector<VirtioConfigAccess> virtio_config_accesses(std::string_view type) {
  std::vector<VirtioConfigAccess> accesses;
  for (const VirtioConfigField& field : virtio_config_fields(type)) {
    for (std::size_t done = 0; done < field.bytes;) {
      const std::size_t left = field.bytes - done;
      const int width = left >= 4 ? 4 : left >= 2 ? 2 : 1;
      accesses.push_back({field.offset + done, width});
      done += static_cast<std::size_t>(width);
    }
  }
  return accesses;
}

VirtioConfigBytes virtio_config_bytes(std::string_view type, const std::vector<std::uint32_t>& answers) {
  VirtioConfigBytes bytes;
  const auto accesses = virtio_config_accesses(type);
  for (std::size_t i = 0; i < std::min(accesses.size(), answers.size()); ++i) {
    const auto width = static_cast<std::size_t>(accesses[i].bytes);
    bytes.resize(std::max(bytes.size(), accesses[i].offset + width), 0xff);
    for (std::size_t at = 0; at < width; ++at) {
      bytes[accesses[i].offset + at] = static_cast<std::uint8_t>(answers[i] >> (8 * at));
    }
  }
  return bytes;
}

std::string to_hex(const VirtioConfigBytes& bytes) {
  std::string digits;
  for (const std::uint8_t byte : bytes) digits += fmt::format("{:02x}", byte);
  return digits;
}

VirtioConfigBytes virtio_config_from_hex(std::string_view digits) {
  if (digits.size() % 2 != 0 || digits.size() > 2 * kConfigBytesMax) return {};
  VirtioConfigBytes bytes(digits.size() / 2);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const char* begin = digits.data() + 2 * i;
    const auto [end, error] = std::from_chars(begin, begin + 2, bytes[i], 16);
    if (error != std::errc() || end != begin + 2) return {};
  }
  return bytes;
}

std::optional<std::string> virtio_config_value(const VirtioConfigField& field, const VirtioConfigBytes& bytes) {
  if (field.offset + field.bytes > bytes.size()) return std::nullopt;
  const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(field.offset);
  const auto end = begin + static_cast<std::ptrdiff_t>(field.bytes);
  if (std::all_of(begin, end, [](std::uint8_t byte) { return byte == 0xff; })) return std::nullopt;
  if (field.zero_is_absent && std::all_of(begin, end, [](std::uint8_t byte) { return byte == 0; })) return std::nullopt;
  if (field.bytes == kMacBytes) {
    return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", begin[0], begin[1], begin[2], begin[3], begin[4],
                       begin[5]);
  }
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < field.bytes; ++i) value |= static_cast<std::uint64_t>(begin[i]) << (8 * i);
  return std::to_string(value);
}

std::string virtio_type_of_device(std::uint16_t vendor, std::uint16_t device) {
  constexpr std::uint16_t kVendor = 0x1af4, kModernIds = 0x1040;
  if (vendor != kVendor) return "";
  for (const TypeNumber& entry : kTypeNumbers) {
    if (device == kModernIds + entry.number || (entry.transitional != 0 && device == entry.transitional)) {
      return std::string(entry.type);
    }
  }
  return "";
}

}  // namespace migsoak::pci
