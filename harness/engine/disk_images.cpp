#include "engine/disk_images.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "base/unique_fd.h"
#include "engine/target_spec.h"
#include "hypervisor/device_type.h"

namespace migsoak::engine {

DiskImages::~DiskImages() {
  std::error_code ignored;
  for (const std::string& path : paths_) std::filesystem::remove(path, ignored);
}

base::Result<void> DiskImages::make(const Scenario& scenario) {
  for (const DeviceScenario& device : scenario.devices) {
    if (!hypervisor::needs_image(device.type)) continue;
    const TargetScenario* target = scenario.find_target(device.target);
    MIGSOAK_TRY(make_one(device.id, target != nullptr ? target->size_bytes : device.size_bytes));
  }
  for (const hypervisor::DeviceSpec& disk : pluggable_disks(scenario)) {
    MIGSOAK_TRY(make_one(disk.id, scenario.hotplug.size_bytes));
  }
  return {};
}

base::Result<void> DiskImages::make_one(const std::string& device_id, std::uint64_t bytes) {
  const std::string& path = paths_.emplace_back(image_path(run_dir_, device_id));
  const base::UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd.valid() || ::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
    return base::fail_errno("can't create the disk image " + path, errno);
  }
  return {};
}

}  // namespace migsoak::engine
