#include "pci/load_rule.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/text.h"

namespace migsoak::pci {

namespace {

constexpr std::size_t kLineShownBytes = 400;
constexpr std::size_t kConfigOffsetMax = kExtendedBytes;

// Takes text apart from left to right; every step fails for good once one has failed.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}

  // Goes on behind the next occurrence of `word`.
  Scanner& find(std::string_view word) {
    const std::size_t at = ok_ ? rest_.find(word) : std::string_view::npos;
    if (at == std::string_view::npos) {
      ok_ = false;
    } else {
      rest_.remove_prefix(at + word.size());
    }
    return *this;
  }
  Scanner& expect(std::string_view word) {
    if (ok_ && rest_.substr(0, word.size()) == word) {
      rest_.remove_prefix(word.size());
    } else {
      ok_ = false;
    }
    return *this;
  }
  Scanner& spaces() {
    while (!rest_.empty() && rest_.front() == ' ') rest_.remove_prefix(1);
    return *this;
  }
  // Digits of the base; not more than `value_max`.
  template <typename T>
  Scanner& number(T& into, int base, std::uint64_t value_max) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value, base);
    if (!ok_ || error != std::errc() || value > value_max) {
      ok_ = false;
      return *this;
    }
    into = static_cast<T>(value);
    rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
    return *this;
  }
  bool ok() const { return ok_; }
  std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

std::string bit_words(std::uint64_t bits, std::size_t byte_in_field) {
  std::vector<std::string> numbers;
  for (std::size_t bit = 0; bit < 8; ++bit) {
    if ((bits >> bit & 1) != 0) numbers.push_back(std::to_string(bit + 8 * byte_in_field));
  }
  if (numbers.empty()) return "no bit is refused";
  return fmt::format("bit{} {} {} not writable there", numbers.size() == 1 ? "" : "s", base::join(numbers, ", "),
                     numbers.size() == 1 ? "is" : "are");
}

// "source 0x40 bytes at 0x1040"
std::string bar_words(const char* role, std::uint64_t size, std::optional<std::uint64_t> address) {
  std::string words = role;
  if (size != 0) words += fmt::format(" {:#x} bytes", size);
  if (address && *address != 0) words += fmt::format(" at {:#x}", *address);
  return words;
}

struct BarOfByte {
  std::string name;
  std::string kind;  // "I/O", empty when nothing tells
  std::optional<std::uint64_t> source_address;
};

// The BAR that holds the byte, by the image that is there.
std::optional<BarOfByte> bar_of_byte(const BadConfigData& error, const ConfigImage* source, const ConfigImage* other) {
  const ConfigImage* image = source != nullptr ? source : other;
  if (image == nullptr) {
    if (error.offset < 0x10 || error.offset >= 0x28) return std::nullopt;
    BarOfByte found{bar_name(static_cast<int>((error.offset - 0x10) / 4)), "", std::nullopt};
    // Bit 0 of the lowest byte: I/O space.
    if (error.offset % 4 == 0) found.kind = (error.device & 1) != 0 ? "I/O" : "memory";
    return found;
  }
  const std::string name = field_at(*image, error.offset).name;
  for (int index = 0; index <= kRomBar; ++index) {
    if (name != bar_name(index) && name != bar_name(index) + ", upper half") continue;
    BarOfByte found{name, "", std::nullopt};
    ConfigImage all_ones(std::vector<std::uint8_t>(image->size(), 0xff));
    for (const Bar& bar : bars(*image, &all_ones)) {
      if (bar.index != index) continue;
      found.kind = to_string(bar.kind);
      if (source != nullptr) found.source_address = bar.address;
    }
    return found;
  }
  return std::nullopt;
}

bool may_be_a_state_element(std::string_view text) {
  return !text.empty() && text.size() <= 120 && text.find(' ') == std::string_view::npos;
}

// "Failed to load virtio-blk:virtio", "Failed to load element of type pci config for config: -22"
std::string element_of(std::string_view line) {
  Scanner scan(line);
  scan.find("Failed to load ");
  if (!scan.ok()) return "";
  std::string_view rest = scan.rest();
  if (rest.substr(0, 16) == "element of type ") return "";
  rest = rest.substr(0, rest.find_first_of(" \r\n"));
  return may_be_a_state_element(rest) ? base::printable(rest) : "";
}

// "error while loading state for instance 0x0 of device '0000:00:0b.0/virtio-blk'"
bool take_device(std::string_view line, LoadError& into) {
  Scanner scan(line);
  scan.find("error while loading state").find("of device '");
  if (!scan.ok()) return false;
  const std::string_view name = scan.rest().substr(0, scan.rest().find('\''));
  const std::size_t slash = name.rfind('/');
  into.section = base::printable(slash == std::string_view::npos ? name : name.substr(slash + 1), 200);
  if (slash != std::string_view::npos) into.path = base::printable(name.substr(0, slash), 200);
  return true;
}

}  // namespace

std::vector<ByteDifference> differences(const ConfigImage& source, const ConfigImage& destination,
                                        const LoadMasks& masks) {
  std::vector<ByteDifference> found;
  const std::size_t size = std::min(source.size(), destination.size());
  for (std::size_t i = 0; i < size; ++i) {
    if (source.u8(i) == destination.u8(i)) continue;
    ByteDifference difference;
    difference.field = field_at(destination, i);
    difference.offset = i;
    difference.source = source.u8(i);
    difference.destination = destination.u8(i);
    difference.writable = masks.writable.empty() ? 0 : masks.writable.u8(i);
    difference.refused =
        refused_bits(difference.source, difference.destination, masks.checked.empty() ? 0xff : masks.checked.u8(i),
                     difference.writable, masks.write_one_to_clear.empty() ? 0 : masks.write_one_to_clear.u8(i));
    found.push_back(std::move(difference));
  }
  return found;
}

std::optional<BadConfigData> parse_bad_config_data(std::string_view line) {
  BadConfigData data;
  Scanner scan(line);
  scan.find("Bad config data: i=0x").number(data.offset, 16, kConfigOffsetMax - 1);
  scan.find("read: ").number(data.read, 16, 0xff);
  scan.find("device: ").number(data.device, 16, 0xff);
  scan.find("cmask: ").number(data.cmask, 16, 0xff);
  scan.find("wmask: ").number(data.wmask, 16, 0xff);
  scan.find("w1cmask:").spaces().number(data.w1cmask, 16, 0xff);
  if (!scan.ok()) return std::nullopt;
  return data;
}

std::optional<UnsupportedFeatures> parse_unsupported_features(std::string_view line) {
  UnsupportedFeatures found;
  Scanner scan(line);
  scan.find("Features 0x").number(found.offered_by_stream, 16, ~0ULL);
  scan.expect(" unsupported. Allowed features: 0x").number(found.allowed, 16, ~0ULL);
  if (!scan.ok()) return std::nullopt;
  return found;
}

std::optional<RingTooLarge> parse_ring_too_large(std::string_view line) {
  RingTooLarge found;
  Scanner scan(line);
  scan.find("VQ ").number(found.queue, 10, 0xffff);
  scan.expect(" vring.num ").number(found.size, 10, 0xffffffff);
  scan.expect(" exceeds allocated max ").number(found.size_max, 10, 0xffffffff);
  if (!scan.ok()) return std::nullopt;
  return found;
}

std::vector<LoadError> parse_load_errors(const std::vector<std::string>& lines) {
  std::vector<LoadError> found;
  LoadError current;
  bool open = false;  // a cause was read, its device not yet
  const auto close = [&] {
    if (open) found.push_back(std::move(current));
    current = LoadError{};
    open = false;
  };
  for (const std::string& line : lines) {
    const auto config = parse_bad_config_data(line);
    const auto features = config ? std::nullopt : parse_unsupported_features(line);
    const auto ring = config || features ? std::nullopt : parse_ring_too_large(line);
    const bool cause = config || features || ring;
    if (cause) {
      // QEMU 11 says in one error description what older builds spread over lines: the same cause may come again.
      if (open && current.config == config && !features && !ring) continue;
      close();
      open = true;
      current.config = config;
      current.features = features;
      current.ring = ring;
    }
    std::string element = element_of(line);
    LoadError with_device;
    const bool device = take_device(line, with_device);
    if (!open) continue;
    if (!element.empty() &&
        std::find(current.elements.begin(), current.elements.end(), element) == current.elements.end()) {
      current.elements.push_back(element);
    }
    if (device) {
      current.path = with_device.path;
      current.section = with_device.section;
    }
    if (cause || device || !element.empty()) current.lines.push_back(base::printable(line, kLineShownBytes));
    if (device) close();
  }
  close();
  return found;
}

std::string explain(const BadConfigData& error, const SideView& source, const SideView& destination) {
  const auto bar = bar_of_byte(error, source.image, destination.image);
  if (bar) {
    std::uint64_t there = destination.bar_size;
    // The lowest writable bit of a BAR is its size, and in the lowest byte it is the size for certain only when set.
    if (there == 0 && error.wmask != 0 && error.offset % 4 == 0) {
      there = static_cast<std::uint64_t>(error.wmask & -error.wmask) << 8 * (error.offset % 4);
    }
    const std::size_t byte = error.offset % 4;
    return fmt::format("{}{}: {}, {}: {}", bar->name, bar->kind.empty() ? "" : " " + bar->kind,
                       bar_words("source", source.bar_size, bar->source_address) +
                           (source.image == nullptr ? fmt::format(" (byte {:#04x})", error.read) : ""),
                       bar_words("destination", there, std::nullopt), bit_words(error.refused(), byte));
  }
  const ConfigImage* image = destination.image != nullptr ? destination.image : source.image;
  Field field{"", error.offset, 1};
  if (image != nullptr) {
    field = field_at(*image, error.offset);
  } else {
    // The header is the same for everybody; for the rest a function without capabilities stands in.
    field =
        field_at(ConfigImage(error.offset < kConventionalBytes ? kConventionalBytes : kExtendedBytes), error.offset);
  }
  return fmt::format("{} (byte {:#04x}): source {:#04x}, destination {:#04x}: {}", field.name, error.offset, error.read,
                     error.device, bit_words(error.refused(), error.offset - field.offset));
}

std::string explain(const UnsupportedFeatures& error, std::string_view device_type) {
  const std::vector<std::string> names = virtio_feature_names(error.missing(), device_type);
  return fmt::format("virtio features: the guest negotiated {} on the source, which the destination does not offer",
                     names.empty() ? "nothing" : base::join(names, ", "));
}

std::string explain(const RingTooLarge& error) {
  return fmt::format(
      "virtqueue {}: the guest set it up with {} entries, the destination allows {} (property queue-size)", error.queue,
      error.size, error.size_max);
}

}  // namespace migsoak::pci
