// memory: a DIMM. Where it lies in the guest is pinned by its slot: QEMU would take the first gap, which depends on
// what was plugged before.
#include "hypervisor/device_type.h"

namespace migsoak::hypervisor {

std::uint64_t dimm_address(const DeviceSpec& device) {
  // Hotpluggable memory begins at the next GiB above 4 GiB when RAM fits below it (hw/i386/pc.c, pc_memory_init).
  constexpr std::uint64_t kFirstDimm = 4ull << 30;
  return kFirstDimm + static_cast<std::uint64_t>(number_of(device.address)) * kDimmBytes;
}

base::Result<DeviceParts> parts_of_memory(const DeviceSpec& device) {
  DeviceParts parts;
  const std::string object = device.id + "-mem";
  const auto slot = number_of(device.address);
  // As the machine's own RAM: a vhost-user target must be able to map it.
  parts.backends.push_back(
      {"object",
       object,
       {{"qom-type", "memory-backend-memfd"}, {"id", object}, {"size", kDimmBytes}, {"share", true}}});
  parts.frontend = {{"driver", "pc-dimm"}, {"id", device.id}, {"memdev", object}, {"slot", slot}};
  parts.frontend.emplace_back("addr", dimm_address(device));
  MIGSOAK_TRY(append_properties(device, {}, parts.frontend));
  return parts;
}

}  // namespace migsoak::hypervisor
