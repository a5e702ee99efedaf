// Device catalogue: what a PCI device type needs to be made in a throwaway VM. Facts in devices.def.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "hypervisor/device_type.h"

namespace migsoak::compat {

// One device as both sides get it: the same type, properties each its own.
struct DevicePair {
  std::string driver;
  std::string properties_from, properties_to;  // "discard=off,write-zeroes=off"; empty: the build's defaults
  bool asked_for = false;                      // by the user, rather than taken from the builds' lists
};

// "virtio-blk-pci,discard=off". Kind bad_input: empty, no key=value, or a property that compat chooses itself.
base::Result<DevicePair> parse_device(std::string_view text);
// `from` and `to` as given to --device-from and --device-to. Kind bad_input when they are not the same type.
base::Result<DevicePair> parse_device_pair(std::string_view from, std::string_view to);

// Why this type can't be made here; empty when it can.
std::string unfit_reason(std::string_view driver);

// "discard=off,write-zeroes=off" as parse_device() has accepted it.
hypervisor::Properties properties_in(std::string_view text);

// The backends of device number `index`, and for its frontend the properties that this type asks for, those that point
// to them among them; not those that the user names. `socket`: of a vhost-user device.
hypervisor::DeviceParts backends_for(std::string_view driver, std::string_view user_properties, std::size_t index,
                                     const std::string& socket);
bool needs_vhost_export(std::string_view driver);

// Where a device that is no PCI function sits: its controller's driver, and the bus as seen from the controller's id.
struct Controller {
  std::string_view driver;
  std::string_view properties;
  std::string_view bus;  // ".0"
};
std::optional<Controller> controller_of(std::string_view driver);

// What a guest reads of such a device by a command: visible_properties.def.
struct VisibleProperty {
  std::string_view property, what;
};
std::vector<VisibleProperty> visible_properties(std::string_view driver);

// Is there a virtio device behind the PCI function, vhost-user or not?
bool is_virtio(std::string_view driver);

}  // namespace migsoak::compat
