// DeviceType: how one type of device becomes QEMU arguments. One file per type, one line in devices.def.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "hypervisor/machine_spec.h"

namespace migsoak::hypervisor {

struct DeviceType {
  std::string name;  // in scenarios
  // Appends this device's backend and frontend to argv. `address` is its PCI slot, "0x4".
  base::Result<void> (*append_arguments)(const DeviceSpec& device, const std::string& address,
                                         std::vector<std::string>& argv);
};

const std::vector<DeviceType>& device_types();

// QEMU's option syntax doubles commas inside values (qemu-options, "QemuOpts").
std::string escape_commas(std::string_view value);

// ",key=value" for every property. Kind bad_input for values that are no QEMU property (null, list, object, fraction)
// and for names in `reserved`, which the harness sets itself.
base::Result<std::string> render_properties(const DeviceSpec& device, const std::vector<std::string>& reserved);

#define DEVICE(name, function)                                                               \
  base::Result<void> append_##function(const DeviceSpec& device, const std::string& address, \
                                       std::vector<std::string>& argv);
#include "hypervisor/devices.def"
#undef DEVICE

}  // namespace migsoak::hypervisor
