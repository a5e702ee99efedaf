// Machine: one running QEMU process, driven directly. Owns the child, its QMP client and the paths of its sockets.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/deadline.h"
#include "base/result.h"
#include "hypervisor/machine_spec.h"
#include "proc/child_process.h"
#include "proc/containment.h"
#include "proc/reactor.h"
#include "qmp/client.h"

namespace migsoak::hypervisor {

class Machine {
 public:
  // Spawns it and returns at once; wait_ready() tells when QMP answers.
  static base::Result<std::unique_ptr<Machine>> spawn(proc::Reactor& reactor, proc::Containment& containment,
                                                      MachineSpec spec);
  // The process of `old` has exec'ed, or is about to, into the machine that `next` describes (cpr-exec; its argv was
  // command_line(next), and `next` has an instance name, so sockets, of its own). Takes the child over: `old` is left
  // without a process, not alive(), to be destroyed; its child(), qemu_pid(), quit() and kill() must not be called.
  // Returns at once, like spawn(). kind subject: it has ended already, and `old` still has it.
  static base::Result<std::unique_ptr<Machine>> take_over(proc::Reactor& reactor, Machine& old, MachineSpec next);
  ~Machine();  // kills and reaps what is left, removes its sockets

  // QMP greeting read, capabilities negotiated, migration capabilities/parameters set (events on; max-bandwidth
  // unlimited). kind subject: it exited first (message holds status and last lines). kind timeout: it never answered.
  base::Result<void> wait_ready(base::Deadline deadline);
  bool ready() const;  // non-blocking

  const MachineSpec& spec() const;
  proc::ChildProcess& child();
  const proc::ChildProcess& child() const;
  // Host pid of QEMU itself: with a wrapper that forks, the descendant whose executable is spec().qemu; else the
  // child's.
  pid_t qemu_pid() const;
  qmp::Client& qmp();
  std::string agent_socket() const;
  std::string console_socket() const;
  bool alive() const;

  // QMP quit, without waiting: quit() then only waits.
  void begin_quit();
  // QMP quit, then waits for the exit; SIGKILL when it does not come by the deadline (kind timeout, still reaped).
  base::Result<proc::ExitStatus> quit(base::Deadline deadline);
  void kill();  // SIGKILL and reap

 private:
  struct Impl;
  explicit Machine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// "auto" -> "kvm" when a guest really came up on KVM on this host since its last boot (remembered in
// $XDG_CACHE_HOME/migsoak/accel.json keyed by boot id, QEMU path and version), else "tcg".
// `version`: what the probe's QEMU says of itself, in full.
base::Result<std::string> resolve_accel(proc::Reactor& reactor, proc::Containment& containment,
                                        const std::string& accel, const MachineSpec& probe, const std::string& version,
                                        base::Deadline deadline);

}  // namespace migsoak::hypervisor
