// Machine: one VM as its users see it: an identity, QMP, the guest's streams, what it says, how it ended. Whose child
// its QEMU is, and by what command line it came to be, is its driver's affair (hypervisor/driver.h).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/deadline.h"
#include "base/result.h"
#include "hypervisor/device_control.h"
#include "hypervisor/machine_spec.h"
#include "proc/child_process.h"
#include "proc/containment.h"
#include "proc/reactor.h"
#include "qmp/monitor.h"
#include "record/plan.h"

namespace migsoak::hypervisor {

struct ProcessIdentity {
  pid_t pid = 0;
  std::int64_t start_ticks = 0;  // /proc/PID/stat field 22 at birth
};

// A migration that a driver does by itself, from the start of the destination's process to the end of the source's.
// It runs beside the lane; one that is not over when it goes is aborted.
class DrivenMigration {
 public:
  DrivenMigration() = default;
  virtual ~DrivenMigration() = default;
  DrivenMigration(const DrivenMigration&) = delete;
  DrivenMigration& operator=(const DrivenMigration&) = delete;

  // The destination's process is there: Driver::start() of its spec takes it.
  virtual bool has_destination() const = 0;
  virtual bool over() const = 0;
  // Once it is over. kind subject: it failed, in the driver's words.
  virtual base::Result<void> result() const = 0;
  virtual void abort() = 0;  // without waiting
  // Asks that the guest go on at the destination now, whatever of its memory is still to come; without waiting. Again,
  // while nothing has come of it: it may have been too early.
  virtual void start_postcopy() {}
  // What the driver itself has counted of one that completed, named as the harness's metrics are; empty: not told.
  virtual std::vector<std::pair<std::string, double>> figures(base::Deadline deadline) = 0;
};

class Machine {
 public:
  Machine() = default;
  virtual ~Machine() = default;  // ends what is left of it, removes its sockets
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  virtual const MachineSpec& spec() const = 0;
  // QMP answers, and QEMU is set up for migrations (events on; max-bandwidth unlimited). kind subject: it ended first
  // (message holds status and last lines). kind timeout: it never answered.
  virtual base::Result<void> wait_ready(base::Deadline deadline) = 0;
  virtual bool ready() const = 0;  // non-blocking

  // The process that it is on record: QEMU, or the wrapper around it.
  virtual ProcessIdentity process() const = 0;
  // Host pid of QEMU itself.
  virtual pid_t qemu_pid() const = 0;

  virtual qmp::Monitor& qmp() = 0;
  virtual DeviceControl& devices() = 0;
  // Unix sockets that serve the guest's serial ports.
  virtual std::string agent_socket() const = 0;
  virtual std::string console_socket() const = 0;
  // The one that serves qtest, of a machine without a guest (GuestlessSpec); empty: it has a guest.
  virtual std::string qtest_socket() const { return ""; }

  // Output lines since the last call (printable, bounded), and how much was dropped.
  virtual std::vector<std::string> take_lines() = 0;
  virtual std::uint64_t take_dropped_bytes() = 0;
  virtual std::vector<std::string> last_lines() const = 0;  // the last ever seen (at most 40), for evidence

  virtual bool alive() const = 0;
  // How it ended. Null: it has not, or nobody can tell (only a parent is told).
  virtual std::optional<proc::ExitStatus> exit_status() const = 0;

  // Its process is to exec into the machine that `next` describes when a migration in place has saved the guest's state
  // (cpr-exec). Decides on it; kind bad_input: there can be no such machine.
  virtual base::Result<void> set_exec(const MachineSpec& next) = 0;
  // Tells QEMU, without waiting: the id is for qmp().take_reply(). Null: nothing was decided on.
  virtual std::optional<std::uint64_t> send_exec() = 0;

  // Has the driver move its guest into the machine that `next` describes, over `transport` ("unix", "tcp",
  // "tunnelled"). kind bad_input: this driver leaves migrations to the modes, or there can be no such machine or way.
  virtual base::Result<std::unique_ptr<DrivenMigration>> begin_migration(const MachineSpec& next,
                                                                         const std::string& transport,
                                                                         const record::LibvirtWay& way);

  // Asks it to quit, without waiting: quit() then only waits.
  virtual void begin_quit() = 0;
  // Asks it to quit and waits for its end; killed when that does not come by the deadline (kind timeout).
  virtual base::Result<void> quit(base::Deadline deadline) = 0;
  virtual void kill() = 0;  // returns when it is gone
};

// "auto" -> "kvm" when a guest really came up on KVM on this host since its last boot (remembered in
// $XDG_CACHE_HOME/migsoak/accel.json keyed by boot id, QEMU path and version), else "tcg".
// `version`: what the probe's QEMU says of itself, in full.
base::Result<std::string> resolve_accel(proc::Reactor& reactor, proc::Containment& containment,
                                        const std::string& accel, const MachineSpec& probe, const std::string& version,
                                        base::Deadline deadline);

}  // namespace migsoak::hypervisor
