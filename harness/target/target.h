// Target: a vhost-user backend process that serves one disk image to QEMUs. One file per kind, one line in targets.def.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/result.h"
#include "proc/child_process.h"
#include "proc/containment.h"
#include "proc/reactor.h"

namespace migsoak::target {

// A disk that the target serves.
struct Disk {
  std::string id;     // of the scenario's device
  std::string image;  // raw file; exists
  int queues = 1;     // num-queues of its exports
};

struct TargetSpec {
  std::string name;               // of the scenario: "disk0"
  std::string process;            // "target:disk0" or "target:disk0@a": its name in the record
  std::string kind;               // "qemu-storage-daemon" | "command"
  std::vector<std::string> argv;  // command: "{socket}" "{image}" "{run_dir}" are replaced inside its words
  std::string executable;         // qemu-storage-daemon: path or name, default "qemu-storage-daemon"
  std::string aio = "threads";    // file node of the storage daemon: threads | native | io_uring
  int workers = 0;                // storage daemon, aio threads: at most so many; 0: its own default (64)
  std::optional<std::uint64_t> nofile;
  std::map<std::string, std::string> env;
  std::vector<std::string> wrapper;
  std::vector<Disk> disks;         // at least one; `command`: exactly one
  std::vector<std::string> slots;  // places for one QEMU each: "0" "1" "2". A storage daemon serves one client per
                                   // export, so it offers one export per disk and slot; `command` has one socket.
  std::string run_dir;             // where the sockets go
  std::string log_file;
};

enum class StopHow {
  graceful,  // SIGTERM
  kill,      // SIGKILL
};

class Target {
 public:
  virtual ~Target() = default;  // kills and reaps, removes its sockets
  // kind subject: it exited first (status and last lines in the message); kind timeout: it never listened.
  virtual base::Result<void> wait_ready(base::Deadline deadline) = 0;
  // The socket that a QEMU in this slot connects to for this disk.
  virtual std::string socket(const std::string& disk, const std::string& slot) const = 0;
  // May a third QEMU be connected beside source and destination? (false: the next destination is not raised early)
  virtual bool has_spare_slots() const = 0;
  virtual proc::ChildProcess& child() = 0;
  virtual const TargetSpec& spec() const = 0;
  // Host pid of the target itself (behind a wrapper that forks: the descendant), as Machine::qemu_pid().
  virtual pid_t pid() const = 0;
  // Asks it to end (SIGTERM), SIGKILL after grace; reaped.
  virtual proc::ExitStatus stop(std::chrono::milliseconds grace) = 0;

  // A restart in steps, none of which waits: begin_stop(), stopped() until it holds, start_again(), ready() until it
  // holds. A second begin_stop(), by SIGKILL, ends one that does not end when asked.
  virtual void begin_stop(StopHow how) = 0;
  virtual bool stopped() = 0;
  // A new process with the same command line, sockets and limits; precondition stopped(). child() and pid() are the new
  // one's from here on; the log goes on. On an error the old ones stay, ended.
  virtual base::Result<void> start_again() = 0;
  // Listens on all its sockets. kind subject: it ended first (status and last lines in the message).
  virtual base::Result<bool> ready() = 0;
};

base::Result<std::unique_ptr<Target>> start_target(proc::Reactor& reactor, proc::Containment& containment,
                                                   TargetSpec spec);

// What start_target runs, its wrapper included; starts nothing, needs no image.
base::Result<std::vector<std::string>> command_line(const TargetSpec& spec);

// What start_target would refuse as bad input (socket paths too long among it); starts nothing, needs no image.
base::Result<void> check_target(const TargetSpec& spec);

// What a kind makes of a spec.
struct CommandLine {
  std::vector<std::string> argv;               // without the wrapper
  std::map<std::string, std::string> sockets;  // where it will listen, by disk and slot
  bool any_slot = false;                       // one socket serves every slot
};
struct TargetKind {
  std::string name;
  std::string summary;
  base::Result<CommandLine> (*command_line)(const TargetSpec&);
};
const std::vector<TargetKind>& target_kinds();

}  // namespace migsoak::target
