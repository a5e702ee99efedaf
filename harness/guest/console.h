// Console: the guest's first serial port (kernel messages), bounded, with panics and oopses recognised.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/result.h"
#include "proc/reactor.h"

namespace migsoak::guest {

class Console {
 public:
  // Lines are also appended to `log_file` (when not empty), at most log_bytes_max.
  Console(proc::Reactor& reactor, std::string log_file, std::uint64_t log_bytes_max = 1 << 20);
  ~Console();
  base::Result<int> attach(const std::string& socket_path, base::Deadline deadline);
  void detach(int stream);

  std::vector<std::string> take_lines();  // printable, bounded; at most 200 kept, the rest counted as dropped
  std::uint64_t take_dropped_bytes();
  // A line that tells the guest kernel died or was hurt: "Kernel panic", "Oops:", "BUG:", "general protection",
  // "soft lockup", "rcu: INFO: rcu_sched detected stalls", "blk_update_request: I/O error", "agent: fatal" ...
  bool panicked() const;                        // panic or agent death: the guest can't go on
  std::vector<std::string> take_alarm_lines();  // all such lines since the last call
  std::vector<std::string> last_lines() const;  // at most 40

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace migsoak::guest
