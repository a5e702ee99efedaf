// RealQemu: a fixture that runs real QEMU processes in a contained run directory. Without a guest: firmware only.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>

#include "hypervisor/driver.h"
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
  base::Result<std::unique_ptr<Machine>> spawn(MachineSpec spec) { return driver().start(std::move(spec)); }
  Driver& driver() {
    if (driver_ == nullptr) driver_ = make_driver(reactor_);
    return *driver_;
  }
  std::unique_ptr<Driver> make_driver(proc::Reactor& reactor) {
    return find_driver_kind("direct")->make(reactor, *containment_);
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
  std::unique_ptr<Driver> driver_;
};

}  // namespace migsoak::hypervisor
