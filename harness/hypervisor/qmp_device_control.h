// QmpDeviceControl: over QMP, with the parts that the command line of the other end names (hypervisor/device_type.h),
// in the shape that QMP wants. For drivers whose QEMU nobody else manages.
#pragma once

#include "hypervisor/device_control.h"
#include "qmp/monitor.h"

namespace migsoak::hypervisor {

class QmpDeviceControl : public DeviceControl {
 public:
  // Borrows it.
  explicit QmpDeviceControl(qmp::Monitor& qmp) : qmp_(qmp) {}
  base::Result<void> plug(const DeviceSpec& device, base::Deadline deadline) override;
  base::Result<void> request_unplug(const std::string& id, base::Deadline deadline) override;
  bool unplugged(const std::string& id) const override;
  base::Result<bool> has_device(const std::string& id, base::Deadline deadline) override;
  base::Result<void> drop_backends(const DeviceSpec& device, base::Deadline deadline) override;

 private:
  qmp::Monitor& qmp_;
};

}  // namespace migsoak::hypervisor
