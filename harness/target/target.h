// Target: a vhost-user backend process that serves devices of QEMUs. What is special about its kind: target_kind.h.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/result.h"
#include "proc/child_process.h"
#include "proc/containment.h"
#include "proc/reactor.h"
#include "target/target_kind.h"
#include "target/target_spec.h"

namespace migsoak::target {

enum class StopHow {
  graceful,  // as its kind asks it to end: SIGTERM, mostly
  kill,      // SIGKILL
};

class Target {
 public:
  virtual ~Target() = default;  // kills and reaps, removes its sockets
  // Configured, and listening on all its sockets. kind subject: it ended first (status and last lines in the message),
  // or refused to be configured; kind timeout: it never listened.
  virtual base::Result<void> wait_ready(base::Deadline deadline) = 0;
  // Where a QEMU in this slot meets it for this device.
  virtual const Endpoint& connect(const std::string& device, const std::string& slot) const = 0;
  // The files of its sockets.
  virtual std::vector<std::string> sockets() const = 0;
  // May a third QEMU be connected beside source and destination? (false: the next destination is not raised early)
  virtual bool has_spare_slots() const = 0;
  virtual proc::ChildProcess& child() = 0;
  virtual const TargetSpec& spec() const = 0;
  virtual const TargetKind& kind() const = 0;
  // Host pid of the target itself (behind a wrapper that forks: the descendant), as Machine::qemu_pid().
  virtual pid_t pid() const = 0;
  // It ends by itself when its QEMU goes.
  virtual bool ends_with_client() const = 0;
  // What it counts itself; empty where its kind has no such figures.
  virtual base::Result<Figures> statistics(base::Deadline deadline) = 0;
  // Asks it to end, SIGKILL after grace; reaped.
  virtual proc::ExitStatus stop(std::chrono::milliseconds grace) = 0;

  // A restart in steps: begin_stop(), stopped() until it holds, start_again(), wait_ready(). A second begin_stop(), by
  // SIGKILL, ends one that does not end when asked.
  virtual void begin_stop(StopHow how) = 0;
  virtual bool stopped() = 0;
  // A new process with the same command line, sockets and limits; precondition stopped(). child() and pid() are the new
  // one's from here on; the log goes on. On an error the old ones stay, ended.
  virtual base::Result<void> start_again() = 0;
};

base::Result<std::unique_ptr<Target>> start_target(proc::Reactor& reactor, proc::Containment& containment,
                                                   TargetSpec spec);
// Of a kind that stands in no catalogue; `kind` is borrowed.
base::Result<std::unique_ptr<Target>> start_target(proc::Reactor& reactor, proc::Containment& containment,
                                                   const TargetKind& kind, TargetSpec spec);

// What start_target runs, its wrapper included; starts nothing, needs no image.
base::Result<std::vector<std::string>> command_line(const TargetSpec& spec);

// Where a QEMU in this slot will meet the target that start_target makes of the spec.
base::Result<Endpoint> endpoint_of(const TargetSpec& spec, const std::string& device, const std::string& slot);

// What start_target would refuse as bad input (socket paths too long among it); starts nothing, needs no image.
base::Result<void> check_target(const TargetSpec& spec);

}  // namespace migsoak::target
