// RunDir: the private directory of one run: sockets and scratch files, short paths, 0700, removed at the end.
// Lives at <base>/migsoak-<uid>/<6 characters>, base = $MIGSOAK_RUN_BASE or /tmp (short: a socket's path has at most
// 107 bytes, unix(7), sun_path). Holds `owner` (run id, pid, start ticks), flock'd for as long as the harness lives.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace migsoak::proc {

inline constexpr std::size_t kSocketPathBytesMax = 107;
// kind bad_input when `path` is too long for a unix socket; says how long it is and how to shorten it.
base::Result<void> check_socket_path(const std::string& path);

class RunDir {
 public:
  static base::Result<std::unique_ptr<RunDir>> create(const std::string& run_id);
  ~RunDir();  // removes it
  const std::string& path() const { return path_; }
  // A directory for files that hold guest RAM, removed with the run directory: /dev/shm/migsoak-<uid>-<6 characters>,
  // the same characters, when that is a tmpfs with `bytes` free; else the run directory itself. Made when first asked
  // for.
  base::Result<std::string> memory_dir(std::uint64_t bytes);
  // Removes directories of dead runs: ours by uid, mode and `owner` file, and not locked by anyone. Returns their
  // paths.
  static std::vector<std::string> remove_leftovers();

 private:
  RunDir() = default;
  std::string path_;
  base::UniqueFd lock_;
};

// Removes a run directory that holds a valid `owner` file; refuses anything else. Used by the guardian.
base::Result<void> remove_run_dir(const std::string& path);

}  // namespace migsoak::proc
