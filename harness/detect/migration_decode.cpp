#include "detect/migration_decode.h"

#include <fmt/format.h>

#include <regex>

#include "base/text.h"
#include "detect/config_documents.h"
#include "pci/load_rule.h"

namespace migsoak::detect {

namespace {

constexpr std::size_t kLineBytesMax = 600;  // std::regex recurses per character

// One line alone, so without images: what the masks tell.
std::optional<DecodedError> config_space(const std::string& line) {
  const auto error = pci::parse_bad_config_data(line);
  if (!error) return std::nullopt;
  const unsigned offset = static_cast<unsigned>(error->offset);
  const unsigned refused = error->refused();
  std::string bits;
  for (unsigned bit = 0; bit < 8; ++bit) {
    if ((refused >> bit & 1) != 0) bits += fmt::format("{}{}", bits.empty() ? "" : ", ", bit + 8 * (offset % 4));
  }
  DecodedError decoded;
  decoded.kind = "config-space";
  const pci::ConfigImage plain(offset < pci::kConventionalBytes ? pci::kConventionalBytes : pci::kExtendedBytes);
  const std::string field = offset < 0x40    ? pci::field_at(plain, offset).name
                            : offset < 0x100 ? "capability"
                                             : "extended capability";
  decoded.identity = fmt::format("{} byte {}", field, offset);
  decoded.words = fmt::format(
      "PCI config space, {} (byte 0x{:02x}): the source holds 0x{:02x}, the destination 0x{:02x}; "
      "bit {} is not writable there",
      field, offset, error->read, error->device, bits.empty() ? "?" : bits);
  // The lowest writable bit of a BAR is its size; the higher bytes of a register say nothing of it.
  if (offset >= 0x10 && offset < 0x28 && offset % 4 == 0 && error->wmask != 0) {
    const unsigned size = error->wmask & ~(error->wmask - 1u);
    decoded.words += fmt::format(" (its {} is 0x{:x} bytes; the source's must be smaller)", field, size);
    decoded.fields["destination_bar_bytes"] = size;
  }
  decoded.fields["offset"] = offset;
  decoded.fields["field"] = field;
  decoded.fields["source"] = error->read;
  decoded.fields["destination"] = error->device;
  decoded.fields["refused_bits"] = refused;
  return decoded;
}

std::optional<DecodedError> features(const std::string& line) {
  const auto error = pci::parse_unsupported_features(line);
  if (!error) return std::nullopt;
  // The device stands in the same text only in newer builds' error descriptions.
  const std::string device = device_in_error(line);
  const std::string type = device.empty() ? "" : pci::virtio_type_of(device);
  std::string bits, names;
  for (int bit = 0; bit < 64; ++bit) {
    if ((error->missing() >> bit & 1) == 0) continue;
    const std::string name = pci::virtio_feature_name(bit, type);
    const bool known = name.rfind("VIRTIO_", 0) == 0 || name.rfind("VHOST_", 0) == 0;
    bits += fmt::format("{}{}", bits.empty() ? "" : ", ", bit);
    names += fmt::format("{}bit {}{}", names.empty() ? "" : ", ", bit, known ? " (" + name + ")" : "");
  }
  DecodedError decoded;
  decoded.kind = "virtio-features";
  decoded.identity = "virtio features " + bits;
  decoded.words =
      names.empty()
          // QEMU 11.1 prints what is left of the guest's features after it took away what it refuses
          // (hw/virtio/virtio.c, virtio_set_features_nocheck). Seen with VIRTIO_BLK_F_SIZE_MAX of vhost-user-blk.
          ? fmt::format(
                "virtio features: the destination refuses a bit that it does not name; of the guest's features it "
                "accepts {:#x}, it offers {:#x}",
                error->offered_by_stream, error->allowed)
          : fmt::format("virtio features: the guest negotiated {} on the source, which the destination does not offer",
                        names);
  decoded.fields = {{"source", fmt::format("{:x}", error->offered_by_stream)},
                    {"allowed", fmt::format("{:x}", error->allowed)},
                    {"missing_bits", bits}};
  return decoded;
}

std::optional<DecodedError> virtqueue_size(const std::string& line) {
  const auto error = pci::parse_ring_too_large(line);
  if (!error) return std::nullopt;
  DecodedError decoded;
  decoded.kind = "virtqueue-size";
  decoded.identity = "virtqueue size";
  decoded.words = pci::explain(*error);
  decoded.fields = {{"queue", std::to_string(error->queue)},
                    {"source", std::to_string(error->size)},
                    {"destination", std::to_string(error->size_max)}};
  return decoded;
}

// QEMU migration/ram.c and softmmu/physmem.c; "Length mismatch" before 2.4. The source's size comes first.
std::optional<DecodedError> ram_size(const std::string& line) {
  static const std::regex kPattern(
      "(?:Size|Length) mismatch: ([^ ]{1,250}): 0x([0-9a-f]{1,16}) (?:in )?!= 0x([0-9a-f]{1,16})");
  std::smatch match;
  if (!std::regex_search(line, match, kPattern)) return std::nullopt;
  const std::string block = match[1].str();
  const std::uint64_t source = std::stoull(match[2].str(), nullptr, 16);
  const std::uint64_t destination = std::stoull(match[3].str(), nullptr, 16);
  const bool rom = block.find(".rom") != std::string::npos || block.find("/rom@") == 0;
  DecodedError decoded;
  decoded.kind = "ram-size";
  decoded.identity = "size of RAM block " + unfolded(block);
  decoded.words = fmt::format("RAM block {} has {:#x} bytes on the source and {:#x} on the destination; {}", block,
                              source, destination,
                              rom ? "it is firmware: the two ends load another file (romfile, romsize, -bios)"
                                  : "-m or its memory backend sets the size");
  decoded.fields = {{"block", block}, {"source_bytes", source}, {"destination_bytes", destination}};
  return decoded;
}

std::optional<DecodedError> ram_block(const std::string& line) {
  static const std::regex kPattern("Unknown ramblock \"([^\"]{1,250})\", cannot accept migration");
  std::smatch match;
  if (!std::regex_search(line, match, kPattern)) return std::nullopt;
  const std::string block = match[1].str();
  DecodedError decoded;
  decoded.kind = "ram-block";
  decoded.identity = "RAM block " + unfolded(block);
  decoded.words = fmt::format(
      "RAM block {} is on the source only: the destination lacks the device or memory it belongs to", block);
  decoded.fields = {{"block", block}};
  return decoded;
}

std::optional<DecodedError> machine_type(const std::string& line) {
  static const std::regex kPattern("Machine type received is '([^']{0,100})' and local is '([^']{0,100})'");
  std::smatch match;
  if (!std::regex_search(line, match, kPattern)) return std::nullopt;
  DecodedError decoded;
  decoded.kind = "machine-type";
  decoded.identity = unfolded(match[1].str() + " " + match[2].str());
  decoded.words = fmt::format("machine type {} on the source, {} on the destination", match[1].str(), match[2].str());
  decoded.fields = {{"source", match[1].str()}, {"destination", match[2].str()}};
  return decoded;
}

std::optional<DecodedError> blocked(const std::string& line) {
  static const std::regex kPattern("State blocked by non-migratable device '([^']{1,250})'");
  std::smatch match;
  if (!std::regex_search(line, match, kPattern)) return std::nullopt;
  DecodedError decoded;
  decoded.kind = "blocked";
  decoded.device = match[1].str();
  decoded.identity = "blocked by " + unfolded(decoded.device);
  decoded.words = "this device cannot be migrated, and no migration can begin while the source has it";
  decoded.of_source = true;
  return decoded;
}

std::optional<DecodedError> disks_kept(const std::string& line) {
  static const std::regex kPattern("bdrv_inactivate_all\\(\\) failed(?: \\((-?[0-9]{1,5})\\))?");
  std::smatch match;
  if (!std::regex_search(line, match, kPattern)) return std::nullopt;
  DecodedError decoded;
  decoded.kind = "disks-kept";
  decoded.identity = "bdrv_inactivate_all";
  decoded.words =
      "the source could not give up its disks at the switch-over: something beside the guest writes to one (an export, "
      "a block job), or a flush failed";
  if (match[1].matched) decoded.fields = {{"error", std::stoll(match[1].str())}};
  decoded.of_source = true;
  return decoded;
}

std::optional<DecodedError> unknown_section(const std::string& line) {
  static const std::regex kPattern("Unknown savevm section or instance '([^']{1,250})' (-?[0-9]{1,12})");
  std::smatch match;
  if (!std::regex_search(line, match, kPattern)) return std::nullopt;
  DecodedError decoded;
  decoded.kind = "vmstate";
  decoded.device = match[1].str();
  decoded.identity = "unknown section " + unfolded(decoded.device);
  decoded.words = fmt::format("the source has this device (instance {}), the destination does not", match[2].str());
  decoded.fields = {{"section", decoded.device}, {"instance", match[2].str()}};
  return decoded;
}

// A section that the destination reads with more or with fewer fields than the source wrote.
std::optional<DecodedError> section_footer(const std::string& line) {
  static const std::regex kPattern("Missing section footer for ([^ ]{1,250})");
  std::smatch match;
  if (!std::regex_search(line, match, kPattern)) return std::nullopt;
  struct Board {
    std::string_view name, device, property;
  };
  // hw/acpi/ich9.c, hw/acpi/piix4.c.
  static constexpr Board kBoards[] = {
      {"ICH9LPC", "ICH9 LPC bridge of the q35 board", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support"},
      {"piix4_pm", "PIIX4 power management of the pc board", "PIIX4_PM.x-not-migrate-acpi-index"}};
  DecodedError decoded;
  decoded.kind = "vmstate";
  decoded.device = match[1].str();
  decoded.identity = "section footer " + unfolded(decoded.device);
  decoded.words = "the source wrote this section with other fields than the destination reads";
  decoded.fields = {{"section", decoded.device}};
  for (const Board& board : kBoards) {
    const std::size_t name = decoded.device.rfind('/');
    if (decoded.device.substr(name == std::string::npos ? 0 : name + 1) != board.name) continue;
    decoded.words += fmt::format(
        "; it is the {}, which holds the state of CPU, memory and PCI hotplug: compare maxcpus of -smp, slots and "
        "maxmem "
        "of -m, and -global {}",
        board.device, board.property);
    decoded.fields["board_device"] = std::string(board.device);
    decoded.fields["options"] = {"-smp maxcpus", "-m slots", "-m maxmem", fmt::format("-global {}", board.property)};
  }
  return decoded;
}

// What the end sees that the other end left in the lurch.
std::optional<DecodedError> cut_footer(const std::string& line) {
  if (line.find("Read section footer failed") == std::string::npos) return std::nullopt;
  DecodedError decoded;
  decoded.kind = "connection";
  decoded.identity = "section footer";
  decoded.words = "the stream ended within a section; the cause is on the other end";
  return decoded;
}

// Of a disk that went away: libvirt's words, or QEMU's, if libvirt had looked a moment before.
std::optional<DecodedError> disk_missing(const std::string& line) {
  static const std::regex words("(Cannot access storage file|Could not open) '[^']{1,250}': No such file or directory");
  std::smatch match;
  if (!std::regex_search(line, match, words)) return std::nullopt;
  DecodedError decoded;
  decoded.kind = "no-disk";
  decoded.identity = "no disk";
  decoded.words = match[0].str();
  decoded.of_environment = true;
  return decoded;
}

// libvirt's words for a QEMU that ended before it had answered: which of the two depends on the moment. Behind them
// stand the last lines of that QEMU's log, joined (hypervisor/libvirt_call.cpp).
std::optional<DecodedError> ended_at_start(const std::string& line) {
  constexpr std::string_view kBetween = " | ";
  constexpr std::size_t kSaidMax = 300;
  for (const std::string_view words :
       {"process exited while connecting to monitor: ", "qemu unexpectedly closed the monitor: "}) {
    const std::size_t at = line.find(words);
    if (at == std::string::npos) continue;
    std::string said;
    for (std::string_view rest = std::string_view(line).substr(at + words.size()); !rest.empty();) {
      const std::string_view one = rest.substr(0, rest.find(kBetween));
      rest.remove_prefix(std::min(one.size() + kBetween.size(), rest.size()));
      if (one.empty() || one.find(": warning: ") != std::string_view::npos) continue;
      said += (said.empty() ? "" : std::string(kBetween)) + std::string(one);
    }
    DecodedError decoded;
    decoded.kind = "start";
    decoded.identity = "ended at its start: " + said;
    decoded.words =
        "its QEMU ended at its start: " + base::printable(said.empty() ? "it said nothing" : said, kSaidMax);
    return decoded;
  }
  return std::nullopt;
}

}  // namespace

std::string device_in_error(const std::string& line) {
  static const std::regex kPattern("of device '([^']{1,200})'");
  std::smatch match;
  const std::string bounded = line.substr(0, kLineBytesMax);
  return std::regex_search(bounded, match, kPattern) ? match[1].str() : "";
}

std::optional<DecodedError> decode_migration_error(const std::string& line) {
  const std::string bounded = line.substr(0, kLineBytesMax);
  for (const auto decode : {&config_space, &features, &virtqueue_size, &ram_size, &ram_block, &machine_type, &blocked,
                            &disks_kept, &disk_missing, &unknown_section, &section_footer, &cut_footer}) {
    if (auto decoded = decode(bounded)) return decoded;
  }
  // One that refused the guest's state ended as well; what it refused is known by now.
  if (auto decoded = ended_at_start(line)) return decoded;
  struct Plain {
    const char *text, *kind;
    bool of_environment = false;
  };
  static const Plain kPlain[] = {
      {"error while loading state", "vmstate"},
      {"Unknown savevm section", "vmstate"},
      {"Missing section footer", "vmstate"},
      {"Address already in use", "port-taken", true},
      {"No space left on device", "no-space", true},
      {"Cannot access storage file", "no-disk", true},      // libvirt's, of the destination
      {"already exists with uuid", "domain-exists", true},  // libvirt's; no domain but the guest's is the run's
      {"Connection refused", "connection"},
      {"Connection reset", "connection"},
      {"Broken pipe", "connection"},
      {"Unable to write to socket", "connection"},
  };
  for (const Plain& one : kPlain) {
    if (bounded.find(one.text) == std::string::npos) continue;
    DecodedError plain;
    plain.kind = one.kind;
    plain.of_environment = one.of_environment;
    plain.of_source = line.starts_with("save: ");  // into the file that the destination would have loaded
    return plain;
  }
  return std::nullopt;
}

}  // namespace migsoak::detect
