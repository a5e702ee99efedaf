// DeviceControl: plugging into and unplugging from a running machine. A driver may do so in its own way.
#pragma once

#include <string>

#include "base/deadline.h"
#include "base/result.h"
#include "hypervisor/machine_spec.h"

namespace migsoak::hypervisor {

class DeviceControl {
 public:
  virtual ~DeviceControl() = default;
  // Makes the backends and adds the device. kind subject: QEMU refused (its words are the message; no backend is left);
  // other kinds as QMP's.
  virtual base::Result<void> plug(const DeviceSpec& device, base::Deadline deadline) = 0;
  // Asks for the unplug; the guest decides when. kind subject: QEMU refused.
  virtual base::Result<void> request_unplug(const std::string& id, base::Deadline deadline) = 0;
  // It was announced that the device is gone.
  virtual bool unplugged(const std::string& id) const = 0;
  // Still in the machine's device tree.
  virtual base::Result<bool> has_device(const std::string& id, base::Deadline deadline) = 0;
  // What the device was made of, after it is gone.
  virtual base::Result<void> drop_backends(const DeviceSpec& device, base::Deadline deadline) = 0;
};

}  // namespace migsoak::hypervisor
