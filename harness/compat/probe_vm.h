// ProbeVm: a machine without a guest (hypervisor::GuestlessSpec), of 16 MiB, that lives for one probe. Whatever is done
// to it harms nobody. A source is saved once (its block devices are inactive afterwards); a destination is loaded once.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/result.h"
#include "compat/qtest_port.h"
#include "fleet/fleet.h"
#include "hypervisor/driver.h"
#include "proc/containment.h"
#include "proc/reactor.h"
#include "qmp/monitor.h"

namespace migsoak::compat {

// Where throwaway VMs live; one per thread. Borrows everything.
struct CompatHost {
  proc::Reactor& reactor;
  proc::Containment& containment;
  hypervisor::Driver& driver;
  std::string run_dir;
  std::string name;  // distinguishes the sockets of this thread's VMs
  int named = 0;

  std::string next_name() { return name + std::to_string(named++); }
};

class ProbeVm {
 public:
  // Starts it and returns at once. `hardware`: RAM and devices, as options of QEMU. `incoming`: waits for load().
  static base::Result<std::unique_ptr<ProbeVm>> start(CompatHost& lab, const fleet::Build& build,
                                                      const std::string& machine, std::vector<std::string> hardware,
                                                      bool incoming);
  ~ProbeVm();  // ends it, removes its sockets

  // kind subject: it ended first; the message is its last word, lines() all it said. kind timeout: it never answered.
  base::Result<void> wait_ready(base::Deadline deadline);
  // Its whole migration stream. kind subject: QEMU refused, or failed; the message says why.
  base::Result<std::string> save(base::Deadline deadline);
  // Hands the stream over without waiting for the outcome.
  base::Result<void> begin_load(std::string stream, base::Deadline deadline);
  struct Loaded {
    bool good = false;
    std::vector<std::string> lines;  // of a refusal, as QEMU said them
    std::string status;              // of a refusal: how the process ended
  };
  base::Result<Loaded> wait_loaded(base::Deadline deadline);

  qmp::Monitor& qmp();
  base::Result<QtestAnswers> run(const QtestScript& script, base::Deadline deadline);
  // What QEMU said, without its warnings.
  std::vector<std::string> lines() const;

 private:
  struct Impl;
  explicit ProbeVm(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace migsoak::compat
