// StrayReaper: without a PID namespace the orphans of a run become the harness's children, and wait for it when they
// end. A libvirtd that has ended a QEMU waits until its pid is gone, so they may not wait for long. Internal to
// hypervisor.
#pragma once

#include <memory>

#include "proc/containment.h"
#include "proc/reactor.h"

namespace migsoak::hypervisor {

class StrayReaper {
 public:
  // Borrows both. Looks now and then while the Reactor runs; in a PID namespace it has nothing to do.
  StrayReaper(proc::Reactor& reactor, proc::Containment& containment);
  ~StrayReaper();
  StrayReaper(const StrayReaper&) = delete;
  StrayReaper& operator=(const StrayReaper&) = delete;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace migsoak::hypervisor
