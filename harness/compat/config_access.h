// ConfigAccess: configuration space of the devices in a throwaway VM: cf8/cfc on pc (PCI Local Bus 3.0, 3.2.2.3.2),
// ECAM on q35 (PCI Express Base, 7.2.2; Intel Q35 datasheet 5.1.17, PCIEXBAR). Writes at will: for throwaway VMs only.
#pragma once

#include <cstdint>
#include <vector>

#include "base/deadline.h"
#include "base/result.h"
#include "compat/layout.h"
#include "compat/probe_vm.h"
#include "pci/config_image.h"

namespace migsoak::compat {

// A dword that an extreme writes, and the bits of it that may be written (hazards.def).
struct WritableDword {
  std::size_t offset = 0;
  std::uint32_t allowed = 0xffffffff;
};

// A configuration access as part of a script.
struct ConfigPoint {
  Chipset chipset;
  std::uint8_t bus, devfn;

  void write(QtestScript& script, std::size_t offset, int width, std::uint32_t value) const;
  std::size_t read(QtestScript& script, std::size_t offset) const;  // a dword
};
ConfigPoint point_of(const Layout& layout, const PlacedDevice& device);

// ECAM on, bus numbers and windows of the ports and bridges in front of the devices. Once per VM; a destination does
// not need it once it has loaded a source that had it.
base::Result<void> prepare_access(ProbeVm& vm, const Layout& layout, base::Deadline deadline);

// All devices' configuration space, in the layout's order: 256 bytes on pc, 4096 on q35.
base::Result<std::vector<pci::ConfigImage>> read_images(ProbeVm& vm, const Layout& layout, base::Deadline deadline);

// Masks of writable bits: what differs between all ones and all zeros written. Leaves the devices changed.
base::Result<std::vector<pci::ConfigImage>> read_masks(ProbeVm& vm, const Layout& layout,
                                                       const std::vector<pci::ConfigImage>& images,
                                                       base::Deadline deadline);

// The dwords extremes are written to: the header, all of the first 256 bytes, and the extended capabilities. The
// command register comes last, so that addresses take effect at once and together.
std::vector<WritableDword> writable_dwords(const pci::ConfigImage& image);

// Bits that may differ after a good load, of the dword at `offset`; 0: none. `reason` is set when there are some.
std::uint32_t volatile_bits(const pci::ConfigImage& image, std::size_t offset, std::string* reason);

}  // namespace migsoak::compat
