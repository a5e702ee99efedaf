// Containment: nothing that the harness started outlives it, SIGKILL of the harness included.
//
// One long-lived spawner thread forks every child (PR_SET_PDEATHSIG is tied to the forking *thread*, prctl(2)).
// That thread alone unshares the PID namespace for its children (unshare(2), CLONE_NEWPID), so the harness keeps seeing
// host pids, while the first child, the guardian, is PID 1 of the namespace: orphans of the topology are re-parented to
// it, and when it ends the kernel kills every process inside (pid_namespaces(7)), setsid and double forks included.
// The guardian holds a socket to the harness; at its end-of-file it kills everything, removes the run directory, ends.
// Without the privilege for a PID namespace the guardian is a plain subreaper-less watcher and the harness a subreaper:
// strays are then found by the run's marker in their environment (MIGSOAK_RUN=<id>). What that level can't promise: a
// process that left its ancestors *and* emptied its environment outlives a SIGKILL of the harness; and what is forked
// between the guardian's last two looks. doctor says which level is in force. Inside the namespace getpid(2) is not the
// number that /proc (still the host's) shows; /proc/self is right. MIGSOAK_CONTAINMENT=marker in the environment forces
// the second level.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/result.h"

namespace migsoak::proc {

enum class ContainmentLevel { pid_namespace, marker };
std::string to_string(ContainmentLevel level);

struct ContainmentOptions {
  std::string run_id;   // with which MIGSOAK_RUN begins in every child's environment; no two containments share a value
  std::string run_dir;  // removed by the guardian when the harness dies; must hold the marker file of run_dir.h
  // The executable that has the hidden `guardian` subcommand; empty: /proc/self/exe.
  std::string guardian_executable;
};

class Containment {
 public:
  static base::Result<std::unique_ptr<Containment>> start(ContainmentOptions options);
  // Without a guardian: nothing can be started in it. For what must not start a process, such as unit tests.
  static std::unique_ptr<Containment> without_processes();
  // Kills whatever is left and waits until it is gone.
  ~Containment();
  Containment(const Containment&) = delete;
  Containment& operator=(const Containment&) = delete;

  ContainmentLevel level() const;
  bool takes_processes() const { return guardian_pid() != 0; }
  pid_t guardian_pid() const;
  bool guardian_alive() const;
  const std::string& run_id() const;
  // Runs `job` on the spawner thread and waits for it: the only place where the harness forks.
  void on_spawner_thread(const std::function<void()>& job);
  // The same, with children born in the harness's own PID namespace: for tools that take host pids (ptrace(2)).
  void on_spawner_thread_outside(const std::function<void()>& job);
  // Host pids of all living (or zombie) processes of the run but the harness and the guardian.
  std::vector<pid_t> processes() const;
  // Those of processes() that were re-parented (to the guardian, or to the harness without a PID namespace).
  std::vector<pid_t> reparented() const;
  // SIGKILLs every process of the run but the guardian; returns when they are gone or the deadline passed.
  // A zombie that is a direct child of the harness counts as gone: its status belongs to its ChildProcess.
  base::Result<void> kill_all(base::Deadline deadline);

  // For ChildProcess: which children of the harness have an owner who will wait for them.
  void adopt(pid_t pid);
  void disown(pid_t pid);
  // What getppid(2) returns in a child of the harness while the harness lives.
  pid_t parent_seen_by_child() const;

 private:
  struct Impl;
  explicit Containment(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// The guardian's main(): called by the hidden subcommand `migsoak guardian`. argv as Containment::start made it.
int guardian_main(const std::vector<std::string>& arguments);

}  // namespace migsoak::proc
