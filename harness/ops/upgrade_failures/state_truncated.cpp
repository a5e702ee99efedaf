// state-truncated: between saving and loading the state file loses its end, as on a full or broken disk. QEMU can't
// know when it saves, and the new process finds out when it loads.
#include <fmt/format.h>

#include <filesystem>

#include "ops/upgrade_failures/upgrade_failure.h"

namespace migsoak::ops {

namespace {

// A state without RAM has a few hundred KiB; the first sections alone are longer than this.
constexpr std::uintmax_t kKeptBytes = 16 << 10;

void truncate_file(const std::string& path) {
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  if (!error && size > kKeptBytes) std::filesystem::resize_file(path, kKeptBytes, error);
}

}  // namespace

UpgradeFailure upgrade_failure_state_truncated() {
  UpgradeFailure failure;
  failure.name = "state-truncated";
  failure.summary = "the state file loses its end between saving and loading";
  failure.process_orders = {ProcessOrder::afterwards, ProcessOrder::in_place};
  // In place nobody comes between saving and loading but what is exec'ed: a shell that truncates and then becomes QEMU.
  failure.sabotage_machine = [](hypervisor::MachineSpec& next, ProcessOrder order,
                                const std::string& state_file) -> base::Result<void> {
    if (order != ProcessOrder::in_place) return {};
    const std::string script = fmt::format("truncate -s '<{}' -- \"$0\" && exec \"$@\"", kKeptBytes);
    next.wrapper.insert(next.wrapper.begin(), {"/bin/sh", "-c", script, state_file});
    return {};
  };
  failure.sabotage_saved_state = truncate_file;
  return failure;
}

}  // namespace migsoak::ops
