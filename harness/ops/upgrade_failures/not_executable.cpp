// not-executable: the new executable may not be executed. A file of our own, since nothing that is installed is sure to
// have no execute bit at all, which is what also stops root.
#include <fcntl.h>

#include <cerrno>

#include "base/unique_fd.h"
#include "ops/upgrade_failures/upgrade_failure.h"

namespace migsoak::ops {

namespace {

std::string inert_file(const hypervisor::MachineSpec& next) {
  return next.run_dir + "/" + next.instance + ".inert";
}

}  // namespace

UpgradeFailure upgrade_failure_not_executable() {
  UpgradeFailure failure;
  failure.name = "not-executable";
  failure.summary = "the new executable has no execute permission";
  failure.sabotage_machine = [](hypervisor::MachineSpec& next, ProcessOrder, const std::string&) -> base::Result<void> {
    const std::string path = inert_file(next);
    const base::UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    if (!fd.valid()) return base::fail_errno("can't make " + path, errno);
    next.wrapper.clear();  // it would be executable
    next.qemu = path;
    return {};
  };
  failure.traces = [](const hypervisor::MachineSpec& next) { return std::vector<std::string>{inert_file(next)}; };
  return failure;
}

}  // namespace migsoak::ops
