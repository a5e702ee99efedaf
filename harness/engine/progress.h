// Progress: how the run goes, on stderr: a live line on a terminal, a plain line now and then otherwise. Thread-safe.
#pragma once

#include <chrono>
#include <mutex>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "record/finding.h"
#include "record/observation.h"

namespace migsoak::engine {

class Progress {
 public:
  Progress(bool enabled, std::string scenario, std::int64_t first, std::int64_t total);
  ~Progress();
  void note(const std::string& line);  // a line of its own
  void finished(const record::Observation& observation, const std::vector<record::Finding>& fresh);

 private:
  void show(bool final);

  bool enabled_;
  bool terminal_;
  std::string scenario_;
  std::int64_t total_;
  std::int64_t done_ = 0;     // in this session
  std::int64_t done_before_;  // by earlier sessions
  std::size_t findings_ = 0;
  std::string fds_;
  std::string last_status_;
  base::Clock::time_point began_ = base::Clock::now();
  base::Clock::time_point shown_;
  std::mutex mutex_;
};

}  // namespace migsoak::engine
