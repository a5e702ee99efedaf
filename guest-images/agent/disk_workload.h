// DiskWorkload: the writers of one disk and the thread that checks it. Nothing here lets a dead disk block the agent:
// whatever waits for the disk is a thread of its own, and the caller waits with a limit.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "disk_area.h"

namespace migsoak::agent {

class DiskWorkload {
 public:
  explicit DiskWorkload(BlockDevice device);

  const BlockDevice& device() const { return device_; }
  // Starts writing the whole area once; wait_idle tells when it is done.
  void begin_initialise(std::uint64_t seed);
  // 0 bytes per second stops the writers. More writers are started as needed, none is ever ended.
  void set_load(std::uint64_t bytes_per_s, int queue_depth);
  // Lets no new write begin until the next verification has ended; true when none was in flight by the point in time.
  bool hold(std::int64_t until_ns);
  // Pauses the writers, reads back at least bytes_min, lets them go on.
  void begin_verify(std::uint64_t bytes_min);
  // False when the disk did not get done by the point in time (monotonic).
  bool wait_idle(std::int64_t until_ns);
  // JSON of the last check; of a disk that hangs when it is not done.
  std::string report();

 private:
  enum class Job { none, initialise, verify };

  void check_forever();
  void write_forever(int index, std::uint64_t first_seed);
  bool extent_is_free(std::uint64_t first_block, std::uint64_t count) const;

  const BlockDevice device_;
  DiskArea area_;
  bool usable_ = false;

  std::mutex mutex_;
  std::condition_variable changed_;
  Job job_ = Job::none;
  std::uint64_t job_bytes_min_ = 0;
  std::uint64_t seed_ = 0;
  DiskCheck last_check_;
  int writers_started_ = 0;
  int writers_wanted_ = 0;
  int in_flight_ = 0;
  bool held_ = false;
  std::vector<bool> busy_;  // blocks that a writer is writing
  std::uint64_t bytes_per_s_ = 0;
  std::uint64_t written_bytes_ = 0;  // since the last report
  std::uint64_t write_errors_ = 0;   // since the last report
};

}  // namespace migsoak::agent
