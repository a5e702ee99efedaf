// RealQemu: a fixture that runs real QEMU processes in a contained run directory. Without a guest: firmware only.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>

#include "hypervisor/machine.h"
#include "proc/run_dir.h"

namespace migsoak::hypervisor {

// Generous: a deadline of a test is for hangs, not for speed.
inline base::Deadline soon() {
  return base::Deadline::in(std::chrono::seconds(30));
}

class RealQemu : public ::testing::Test {
 protected:
  void SetUp() override {
    auto run_dir = proc::RunDir::create("test");
    ASSERT_TRUE(run_dir) << run_dir.error().describe();
    run_dir_ = std::move(*run_dir);
    auto containment = proc::Containment::start({"test", run_dir_->path(), ""});
    ASSERT_TRUE(containment) << containment.error().describe();
    containment_ = std::move(*containment);
  }

  MachineSpec spec(const std::string& instance, bool incoming = false) const {
    MachineSpec spec;
    spec.side = instance;
    spec.qemu = "qemu-system-x86_64";
    spec.memory_bytes = 64u << 20;
    spec.incoming = incoming;
    spec.run_dir = run_dir_->path();
    spec.instance = instance;
    return spec;
  }
  base::Result<std::unique_ptr<Machine>> spawn(MachineSpec spec) {
    return Machine::spawn(reactor_, *containment_, std::move(spec));
  }
  // Fails the test and returns null when it does not come up.
  std::unique_ptr<Machine> raise(MachineSpec spec) {
    auto machine = spawn(std::move(spec));
    if (!machine) {
      ADD_FAILURE() << machine.error().describe();
      return nullptr;
    }
    if (auto ready = (*machine)->wait_ready(soon()); !ready) {
      ADD_FAILURE() << ready.error().describe();
      return nullptr;
    }
    return std::move(*machine);
  }
  static std::string run_state(Machine& machine) {
    const auto status = machine.qmp().execute("query-status", base::Json::object(), soon());
    return status ? base::json_get<std::string>(*status, "status", "?") : status.error().describe();
  }

  // Reversed at the end: processes first, then what contains them.
  std::unique_ptr<proc::RunDir> run_dir_;
  std::unique_ptr<proc::Containment> containment_;
  proc::Reactor reactor_;
};

}  // namespace migsoak::hypervisor
