// ChildProcess: one process that the harness started (Boost.Process v2), its output and its end.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/result.h"
#include "proc/containment.h"
#include "proc/reactor.h"

namespace migsoak::proc {

struct ExitStatus {
  int exit_code = -1;  // -1 when ended by a signal
  int signal = 0;      // 0 when it exited
  bool core_dumped = false;
  bool success() const { return exit_code == 0; }
};
std::string to_string(const ExitStatus& status);  // "exit status 1", "SIGSEGV (core dumped)"

struct SpawnSpec {
  std::string name;                        // for messages and log files: "qemu:a", "target:disk0"
  std::vector<std::string> argv;           // argv[0] is searched in PATH (of the harness) when it has no slash
  std::map<std::string, std::string> env;  // added to the inherited environment
  std::string working_dir;                 // empty: inherited
  std::optional<std::uint64_t> nofile;     // RLIMIT_NOFILE, soft and hard
  std::map<int, int> extra_fds;            // descriptor number in the child (>= 3) -> our descriptor (borrowed)
  bool outside_namespace = false;  // for tools of the harness that take host pids (eu-stack -p); see containment.h
  std::string log_file;            // stdout+stderr kept here, at most log_bytes_max (head and tail); empty: not kept
  std::uint64_t log_bytes_max = 4 << 20;
  bool log_append = false;  // log_file holds what a predecessor wrote: it stays
};

struct CommandOutput;

// stdout and stderr share one pipe that the Reactor drains; stdin is /dev/null. The child is born with descriptors
// 0, 1, 2 and extra_fds and nothing else: everything else is CLOEXEC'd before exec, and the set is checked in the
// child just before exec (a violation fails the spawn with kind environment).
// The child has its own process group, PR_SET_PDEATHSIG SIGKILL, default signal dispositions and an empty mask.
class ChildProcess {
 public:
  static base::Result<std::unique_ptr<ChildProcess>> spawn(Reactor& reactor, Containment& containment, SpawnSpec spec);
  // Kills (SIGKILL) and reaps.
  virtual ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  virtual pid_t pid() const;
  virtual std::int64_t start_ticks() const;  // /proc/PID/stat field 22 at birth
  virtual const SpawnSpec& spec() const;
  // Learnt from the pidfd as the Reactor runs (also inside exited() itself).
  virtual bool exited() const;
  virtual std::optional<ExitStatus> exit_status() const;

  virtual base::Result<void> signal(int number);
  // kind timeout when it is still there at the deadline.
  virtual base::Result<ExitStatus> wait_exit(base::Deadline deadline);
  // SIGTERM, up to `grace`, then SIGKILL (and SIGCONT, for a stopped process); always reaps.
  virtual ExitStatus stop(std::chrono::milliseconds grace);

  // Output lines (printable, each bounded to 400 bytes) that came since the last call; the oldest are dropped beyond
  // 2000 and counted. After exit the rest of the pipe has been read before exited() turns true.
  virtual std::vector<std::string> take_lines();
  virtual std::uint64_t take_dropped_bytes();
  // The last lines ever seen (at most 40), for evidence.
  virtual std::vector<std::string> last_lines() const;

 protected:
  // For a stand-in that has no process and overrides all of the above: unit tests of those who look after one.
  ChildProcess() = default;

 private:
  struct Impl;
  explicit ChildProcess(std::shared_ptr<Impl> impl);
  friend base::Result<CommandOutput> run_command(Reactor& reactor, Containment& containment, SpawnSpec spec,
                                                 base::Deadline deadline);
  std::shared_ptr<Impl> impl_;
};

// Runs a short-lived command to its end with its output captured (at most 1 MiB); kind timeout when it does not end.
struct CommandOutput {
  ExitStatus status;
  std::string out;
};
base::Result<CommandOutput> run_command(Reactor& reactor, Containment& containment, SpawnSpec spec,
                                        base::Deadline deadline);

}  // namespace migsoak::proc
