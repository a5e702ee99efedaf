#include "compat/config_access.h"

#include <algorithm>

#include "pci/fields.h"

namespace migsoak::compat {

namespace {

constexpr std::uint32_t kConfigAddress = 0xcf8, kConfigData = 0xcfc;
constexpr std::uint32_t kEcamBase = 0xb0000000;
constexpr std::size_t kCommand = 0x04, kBusNumbers = 0x18, kIoLimits = 0x1c, kMemoryLimits = 0x20, kIoUpper = 0x30;
constexpr std::size_t kPciExpressBar = 0x60;  // of q35's host bridge
constexpr std::uint32_t kDecodeAll = 0x7;     // I/O, memory, bus master

struct Hazard {
  int kind;  // 0 header, 1 capability, 2 extended capability
  std::uint16_t id;
  std::size_t offset;
  std::uint32_t mask;
  const char* reason;
};

constexpr Hazard kNotWritten[] = {
#define NOT_WRITTEN(kind, id, offset, mask, reason) {kind, id, offset, mask, reason},
#define VOLATILE(kind, id, offset, mask, reason)
#include "compat/hazards.def"
#undef VOLATILE
#undef NOT_WRITTEN
};
constexpr Hazard kVolatile[] = {
#define NOT_WRITTEN(kind, id, offset, mask, reason)
#define VOLATILE(kind, id, offset, mask, reason) {kind, id, offset, mask, reason},
#include "compat/hazards.def"
#undef VOLATILE
#undef NOT_WRITTEN
};

// Does the hazard lie in this dword? A virtio vendor capability counts only when it is the PCI cfg one.
bool lies_at(const Hazard& hazard, std::size_t offset, const std::vector<pci::Capability>& capabilities) {
  if (hazard.kind == 0) return hazard.offset == offset;
  return std::any_of(capabilities.begin(), capabilities.end(), [&](const pci::Capability& capability) {
    constexpr int kVirtioPciCfg = 5;
    if (hazard.id == 0x09 && capability.virtio_cfg_type != kVirtioPciCfg) return false;
    return capability.extended == (hazard.kind == 2) && capability.id == hazard.id &&
           capability.offset + hazard.offset == offset;
  });
}

template <std::size_t N>
std::uint32_t hazard_bits(const Hazard (&hazards)[N], std::size_t offset,
                          const std::vector<pci::Capability>& capabilities, std::string* reason) {
  std::uint32_t bits = 0;
  for (const Hazard& hazard : hazards) {
    if (!lies_at(hazard, offset, capabilities)) continue;
    bits |= hazard.mask;
    if (reason != nullptr) *reason = hazard.reason;
  }
  return bits;
}

}  // namespace

void ConfigPoint::write(QtestScript& script, std::size_t offset, int width, std::uint32_t value) const {
  const auto at = static_cast<std::uint32_t>(offset);
  if (chipset == Chipset::q35) {
    script.write(width, std::uint64_t{kEcamBase} + (std::uint32_t{bus} << 20) + (std::uint32_t{devfn} << 12) + at,
                 value);
    return;
  }
  script.out(4, kConfigAddress, 0x80000000u | std::uint32_t{bus} << 16 | std::uint32_t{devfn} << 8 | (at & ~3u));
  script.out(width, kConfigData + (at & 3u), value);
}

std::size_t ConfigPoint::read(QtestScript& script, std::size_t offset) const {
  const auto at = static_cast<std::uint32_t>(offset);
  if (chipset == Chipset::q35) {
    return script.read(4, std::uint64_t{kEcamBase} + (std::uint32_t{bus} << 20) + (std::uint32_t{devfn} << 12) + at);
  }
  script.out(4, kConfigAddress, 0x80000000u | std::uint32_t{bus} << 16 | std::uint32_t{devfn} << 8 | (at & ~3u));
  return script.in(4, kConfigData);
}

ConfigPoint point_of(const Layout& layout, const PlacedDevice& device) {
  return {layout.chipset(), device.bus, device.devfn};
}

base::Result<void> prepare_access(ProbeVm& vm, const Layout& layout, base::Deadline deadline) {
  QtestScript script;
  const auto open_bridge = [&](std::uint8_t devfn, std::uint32_t bus, std::uint32_t memory, std::uint32_t limit) {
    const ConfigPoint bridge{layout.chipset(), 0, devfn};
    bridge.write(script, kBusNumbers, 4, bus << 16 | bus << 8);
    bridge.write(script, kIoLimits, 2, 0x00f0);  // no I/O: base above limit
    bridge.write(script, kMemoryLimits, 4, (limit & 0xfff00000u) | memory >> 16);
    bridge.write(script, kMemoryLimits + 4, 4, 0x0000fff0);  // no prefetchable window
    bridge.write(script, kCommand, 2, kDecodeAll);
  };
  if (layout.chipset() == Chipset::q35) {
    script.out(4, kConfigAddress, 0x80000000u | kPciExpressBar);
    script.out(4, kConfigData, kEcamBase | 1u);
  }
  if (layout.bridge_devfn() != 0 && !layout.devices().empty()) {
    const auto& last = layout.devices().back();
    const ConfigPoint bridge{layout.chipset(), 0, layout.bridge_devfn()};
    open_bridge(layout.bridge_devfn(), 1, layout.devices().front().memory_window,
                last.memory_window + kMemoryWindowBytes - 1);
    // Conventional devices behind the bridge have I/O BARs: all the windows, in steps of 4 KiB.
    const std::uint32_t io_end = last.io_window + kIoWindowBytes - 1;
    bridge.write(script, kIoLimits, 2, (io_end >> 8 & 0xf0u) << 8 | (layout.devices().front().io_window >> 8 & 0xf0u));
    bridge.write(script, kIoUpper, 4, 0);
  }
  for (const PlacedDevice& device : layout.devices()) {
    if (device.port_devfn == 0) continue;
    open_bridge(device.port_devfn, device.bus, device.memory_window, device.memory_window + kMemoryWindowBytes - 1);
  }
  if (script.empty()) return {};
  MIGSOAK_TRY(vm.run(script, deadline));
  return {};
}

base::Result<std::vector<pci::ConfigImage>> read_images(ProbeVm& vm, const Layout& layout, base::Deadline deadline) {
  const bool ecam = layout.chipset() == Chipset::q35;
  QtestScript script;
  std::vector<std::size_t> first;
  for (const PlacedDevice& device : layout.devices()) {
    if (ecam) {
      const auto address =
          std::uint64_t{kEcamBase} + (std::uint32_t{device.bus} << 20) + (std::uint32_t{device.devfn} << 12);
      first.push_back(script.read_block(address, pci::kExtendedBytes));
      continue;
    }
    const ConfigPoint point = point_of(layout, device);
    first.push_back(script.count() + 1);  // each read is an address write and a data read
    for (std::size_t offset = 0; offset < pci::kConventionalBytes; offset += 4) point.read(script, offset);
  }
  MIGSOAK_ASSIGN(const QtestAnswers answers, vm.run(script, deadline));
  std::vector<pci::ConfigImage> images;
  for (const std::size_t start : first) {
    if (ecam) {
      images.emplace_back(answers.block(start, pci::kExtendedBytes));
      continue;
    }
    pci::ConfigImage image(pci::kConventionalBytes);
    for (std::size_t i = 0; i < pci::kConventionalBytes / 4; ++i) image.set_u32(4 * i, answers.number(start + 2 * i));
    images.push_back(std::move(image));
  }
  return images;
}

std::vector<WritableDword> writable_dwords(const pci::ConfigImage& image) {
  const auto capabilities = pci::capabilities(image);
  std::vector<WritableDword> dwords;
  const auto add = [&](std::size_t offset) {
    dwords.push_back({offset, ~hazard_bits(kNotWritten, offset, capabilities, nullptr)});
  };
  for (std::size_t offset = 0; offset < pci::kConventionalBytes; offset += 4) {
    if (offset != kCommand) add(offset);
  }
  for (const pci::Capability& capability : capabilities) {
    if (!capability.extended) continue;
    const std::size_t end = std::min(capability.offset + std::max<std::size_t>(capability.length, 4), image.size());
    for (std::size_t offset = capability.offset & ~std::size_t{3}; offset < end; offset += 4) add(offset);
  }
  add(kCommand);
  return dwords;
}

std::uint32_t volatile_bits(const pci::ConfigImage& image, std::size_t offset, std::string* reason) {
  return hazard_bits(kVolatile, offset, pci::capabilities(image), reason);
}

base::Result<std::vector<pci::ConfigImage>> read_masks(ProbeVm& vm, const Layout& layout,
                                                       const std::vector<pci::ConfigImage>& images,
                                                       base::Deadline deadline) {
  struct Probe {
    std::size_t device, offset, ones, zeros;
  };
  QtestScript script;
  std::vector<Probe> probes;
  for (std::size_t i = 0; i < layout.devices().size(); ++i) {
    const ConfigPoint point = point_of(layout, layout.devices()[i]);
    // No decoding meanwhile: each BAR write would rebuild the memory map.
    point.write(script, kCommand, 2, 0);
    for (const WritableDword& dword : writable_dwords(images[i])) {
      if (dword.allowed == 0) continue;
      point.write(script, dword.offset, 4, dword.allowed);
      const std::size_t ones = point.read(script, dword.offset);
      point.write(script, dword.offset, 4, 0);
      const std::size_t zeros = point.read(script, dword.offset);
      // Put back, or the device stays deaf (power state, bus numbers).
      point.write(script, dword.offset, 4, images[i].u32(dword.offset) & dword.allowed);
      probes.push_back({i, dword.offset, ones, zeros});
    }
  }
  MIGSOAK_ASSIGN(const QtestAnswers answers, vm.run(script, deadline));
  std::vector<pci::ConfigImage> masks;
  for (const auto& image : images) masks.emplace_back(image.size());
  for (const Probe& probe : probes) {
    masks[probe.device].set_u32(probe.offset, answers.number(probe.ones) ^ answers.number(probe.zeros));
  }
  return masks;
}

}  // namespace migsoak::compat
