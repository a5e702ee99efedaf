// RealQemu: a fixture that runs real QEMU processes in a contained run directory. Without a guest: firmware only.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>

#include "hypervisor/machine.h"
#include "proc/contained_test.h"

namespace migsoak::hypervisor {

// Generous: a deadline of a test is for hangs, not for speed.
inline base::Deadline soon() {
  return base::Deadline::in(std::chrono::seconds(30));
}

class RealQemu : public proc::ContainedTest {
 protected:
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

  proc::Reactor reactor_;
};

}  // namespace migsoak::hypervisor
