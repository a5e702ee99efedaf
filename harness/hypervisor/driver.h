// Driver: one way to run VMs. One file per driver, one line in drivers.def. What it starts is a Machine; nobody outside
// this room knows more of it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/json.h"
#include "base/result.h"
#include "hypervisor/machine.h"
#include "proc/containment.h"
#include "proc/reactor.h"

namespace migsoak::hypervisor {

// A process that serves a driver's machines and outlives them: a libvirtd.
class DriverDaemon {
 public:
  DriverDaemon() = default;
  virtual ~DriverDaemon() = default;
  DriverDaemon(const DriverDaemon&) = delete;
  DriverDaemon& operator=(const DriverDaemon&) = delete;

  virtual std::string name() const = 0;     // "libvirtd:a"
  virtual std::string program() const = 0;  // "libvirtd"
  virtual const std::string& side() const = 0;
  virtual const std::string& directory() const = 0;  // all that it makes in the run directory
  // What may lie in there while no machine of its side is left; all else was left behind.
  struct OwnFiles {
    std::set<std::string> files;        // a directory: with all that is in it
    std::set<std::string> directories;  // but not what is in them
  };
  virtual const OwnFiles& own_files() const = 0;
  virtual ProcessIdentity process() const = 0;

  // As of a Machine.
  virtual std::vector<std::string> take_lines() = 0;
  virtual std::uint64_t take_dropped_bytes() = 0;
  virtual std::vector<std::string> last_lines() const = 0;
  virtual bool alive() const = 0;
  virtual std::optional<proc::ExitStatus> exit_status() const = 0;  // null: it has not ended

  // Asks it to end (SIGTERM), or kills it, without waiting. Its machines go on.
  virtual void begin_stop(bool by_kill) = 0;
};

// Where a guest's life is to be.
struct GuestSide {
  std::string name;
  std::map<std::string, std::string> daemon_env = {};  // of its daemon
};
struct GuestPlace {
  std::string run_dir;  // the lane's own
  std::string log_dir;
  std::vector<GuestSide> sides;
};

class Driver {
 public:
  Driver() = default;
  virtual ~Driver() = default;
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  // Before a guest's first machine, and after its last: what its machines need beside them. None that is left over of a
  // guest outlives end_guest(). kind subject: a daemon ended or does not answer.
  virtual base::Result<void> begin_guest(const GuestPlace& place, base::Deadline deadline);
  // The driver's, until end_guest().
  virtual std::vector<DriverDaemon*> daemons() { return {}; }
  // Of the daemons that have not ended, those that do not answer.
  virtual std::vector<std::string> silent_daemons() { return {}; }
  // What each of them says that it has, of those that have not ended: the content of a record::document_kind::kDomains.
  // kind subject, timeout: it does not tell.
  struct DaemonDomains {
    DriverDaemon* daemon = nullptr;
    base::Result<base::Json> domains;
  };
  virtual std::vector<DaemonDomains> domains(base::Deadline) { return {}; }
  // Starts one of daemons() again, which has ended: another process, with what the first has left. Returns at once.
  // kind subject: this driver has no such.
  virtual base::Result<void> start_again(DriverDaemon& daemon);
  // Until it answers again, and its machines can be used through it as before: it has to know each that it had,
  // running, in the same process. kind subject: it ended, or it does not. kind timeout: it does not answer.
  virtual base::Result<void> rejoin(DriverDaemon& daemon, base::Deadline deadline);
  virtual void end_guest() {}

  // Starts it and returns at once; wait_ready() tells when QMP answers.
  virtual base::Result<std::unique_ptr<Machine>> start(MachineSpec spec) = 0;
  // The process of `old`, one of this driver's, has exec'ed, or is about to, into the machine that `next` describes
  // (Machine::set_exec; `next` has an instance name, so sockets, of its own). Takes the process over: `old` is left
  // without one, not alive(), to be destroyed; its process(), qemu_pid(), quit() and kill() must not be called.
  // Returns at once, like start(). kind subject: it has ended already, and `old` still has it.
  virtual base::Result<std::unique_ptr<Machine>> take_over(Machine& old, MachineSpec next) = 0;
};

struct DriverKind {
  std::string name;     // as in scenarios
  std::string summary;  // one line for `migsoak list drivers`
  // Borrows both.
  std::unique_ptr<Driver> (*make)(proc::Reactor& reactor, proc::Containment& containment);
  // What it needs of the host besides QEMU, "libvirtd 9.0.0". kind bad_input: that is not there. Null: nothing.
  base::Result<std::string> (*find_daemon)(proc::Reactor& reactor, proc::Containment& containment,
                                           base::Deadline deadline) = nullptr;
  // Pure: makes what start() would run such a machine by. kind bad_input: it can't be made.
  base::Result<void> (*check)(const MachineSpec& spec) = nullptr;
  // Why it can't plug devices of this type into a running machine; empty: it can. Null: it can plug all.
  std::string (*why_not_plugged)(const std::string& type) = nullptr;
  // Why a plug or an unplug is over before the migration begins, and none is tried within it; empty: it need not be.
  std::string settled_only = {};
  bool takes_odd_ram = true;  // MachineSpec::memory_extra_bytes
};

const std::vector<DriverKind>& driver_kinds();
const DriverKind* find_driver_kind(const std::string& name);
std::vector<std::string> driver_names();

// The drivers of one lane, by name: each made when it is first asked for.
class Drivers {
 public:
  // Borrows both.
  Drivers(proc::Reactor& reactor, proc::Containment& containment) : reactor_(&reactor), containment_(&containment) {}
  // These and no others.
  explicit Drivers(std::map<std::string, std::unique_ptr<Driver>> made) : made_(std::move(made)) {}

  Driver& named(const std::string& name);

 private:
  proc::Reactor* reactor_ = nullptr;
  proc::Containment* containment_ = nullptr;
  std::map<std::string, std::unique_ptr<Driver>> made_;
};

}  // namespace migsoak::hypervisor
