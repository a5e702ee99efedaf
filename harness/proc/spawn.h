// The one place that forks: Boost.Process v2 with an initializer that makes the child's birth exact. Internal to proc.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace migsoak::proc {

struct SpawnRequest {
  std::string name;  // for messages
  std::vector<std::string> argv;
  std::vector<std::string> environment;  // the whole of it, "NAME=value"
  std::string working_dir;
  std::optional<std::uint64_t> nofile;
  std::map<int, int> fds;                      // in the child -> ours; 0, 1 and 2 included
  bool own_session = false;                    // setsid(2), else a process group of its own
  bool die_with_parent = true;                 // PR_SET_PDEATHSIG SIGKILL
  std::chrono::milliseconds exec_max{60'000};  // until exec has succeeded
  pid_t parent_seen_by_child{};  // what getppid(2) says in the child while the harness lives: 0 across a PID namespace
};

struct Spawned {
  pid_t pid = 0;
  base::UniqueFd pidfd;
};

// Our environment with `changes` laid over it.
std::vector<std::string> merged_environment(const std::map<std::string, std::string>& changes);

// Forks on the calling thread, which must be the spawner thread. Returns once exec succeeded.
base::Result<Spawned> spawn_process(const SpawnRequest& request);

// waitid(P_PIDFD) when the process has ended: true and `wait_status` as of waitpid(2). `lost` when someone else has
// reaped it.
enum class ReapOutcome { running, reaped, lost };
ReapOutcome reap(int pidfd, int& wait_status);
// Whether there is something to read (end of file included; of a pidfd: its process has ended) by the deadline.
bool wait_readable(int fd, base::Deadline deadline);

}  // namespace migsoak::proc
