// UpgradeMode: two QEMUs of the fleet and one guest's RAM, with the engine's part in a hot upgrade played by the test.
// No guest runs in it but the firmware; a pattern in RAM tells whether it is still the same.
#pragma once

#include <gmock/gmock.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fleet/build_of.h"
#include "hypervisor/real_qemu.h"
#include "ops/modes/mode.h"
#include "ops/told.h"

namespace migsoak::ops {

// Builds go by their versions.
inline constexpr const char* kSystemBuild = "";  // the machine's own, whatever it is
inline constexpr const char* kOldBuild = "10.0";
inline constexpr const char* kNewBuild = "11.1";
enum class Ram { memfd, file };

class UpgradeMode : public hypervisor::RealQemu {
 protected:
  void TearDown() override;

  hypervisor::MachineSpec build_spec(const std::string& build, const std::string& instance, Ram ram);
  // The source: boots, and gets the pattern.
  void start(const std::string& build, Ram ram);
  // The spec of the next machine for this mode, on the RAM that the mode needs.
  hypervisor::MachineSpec next_spec(const std::string& mode, const std::string& build);
  // A whole upgrade or migration, as an engine would do it. A good one makes the destination the source.
  MigrationOutcome upgrade(const std::string& mode, const std::string& build);
  MigrationOutcome upgrade(const std::string& mode, hypervisor::MachineSpec next);
  // upgrade() that must succeed and leave nothing behind, with the pattern where it was.
  void expect_upgrade(const std::string& mode, const std::string& build);

  void write_pattern();
  bool has_pattern();
  std::vector<std::string> files_left() const;
  std::string write_script(const std::string& name, const std::string& text) const;

  std::unique_ptr<hypervisor::Machine> source_, destination_;
  base::Deadline deadline_ = hypervisor::soon();     // of the next upgrade
  std::function<void(MigrationContext&)> sabotage_;  // done to the context of the next upgrade
  std::function<void(Told&)> sabotage_listener_;
  std::function<void(hypervisor::MachineSpec&)> sabotage_exec_;  // and to what the source execs into
  bool tells_exec_ = true;                                       // what it execs into
  Ram ram_ = Ram::memfd;
  int instances_ = 0;
  std::string ram_path_;
  std::string state_file_;  // of the last upgrade
};

// Every test of a build that is not there is skipped, with the reason.
#define NEEDS_BUILD(version) \
  if (!fleet::build_of(version)) GTEST_SKIP() << fleet::missing_build({version})

}  // namespace migsoak::ops
