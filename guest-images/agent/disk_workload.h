// DiskWorkload: the writers of one disk and the thread that checks it. Nothing here lets a dead disk block the agent:
// whatever waits for the disk is a thread of its own, and the caller waits with a limit.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "disk_area.h"

namespace migsoak::agent {

class DiskWorkload {
 public:
  // `id` names the disk in reports. `kept`: what an earlier disk of that id held when it was let go, else null.
  DiskWorkload(BlockDevice device, std::string id, std::uint64_t area_bytes_max, std::unique_ptr<DiskArea> kept);
  // Only after end() has returned true.
  ~DiskWorkload() = default;
  DiskWorkload(const DiskWorkload&) = delete;
  DiskWorkload& operator=(const DiskWorkload&) = delete;

  const BlockDevice& device() const { return device_; }
  const std::string& id() const { return id_; }
  bool usable() const { return usable_; }
  std::uint64_t area_bytes() const { return area_->bytes(); }
  // Starts writing the whole area once, unless that was done with this seed; wait_idle tells when it is done.
  void begin_initialise(std::uint64_t seed);
  // The content is an earlier workload's, taken over with its area.
  void continue_with(std::uint64_t seed);
  bool initialised() const { return initialised_.has_value(); }
  // 0 bytes per second stops the writers.
  void set_load(std::uint64_t bytes_per_s, int queue_depth);
  // Writes that have been asked for and are not answered.
  std::uint64_t in_flight();
  // Lets no new write begin until the next verification has ended; true when none was in flight by the point in time.
  bool hold(std::int64_t until_ns);
  // Pauses the writers, reads back at least bytes_min, lets them go on.
  void begin_verify(std::uint64_t bytes_min);
  // False when the disk did not get done by the point in time (monotonic).
  bool wait_idle(std::int64_t until_ns);
  // JSON of the last check; of a disk that hangs when it is not done.
  std::string report();

  // From now on I/O errors are what a disk that is being unplugged gives, and not counted; false takes it back.
  void expect_removal(bool expected);
  bool removal_expected();
  bool gone() const { return !still_there(device_); }
  // Ends writers and checker and closes the device. False when one of them is still waiting for the disk at that time:
  // then the object has to live on, and end() may be asked again.
  bool end(std::int64_t until_ns);
  // After end(): what the disk holds.
  std::unique_ptr<DiskArea> take_area() { return std::move(area_); }

 private:
  enum class Job { none, initialise, verify };

  void start_thread(void (DiskWorkload::*body)(int), int index);
  void check_forever(int);
  void write_forever(int index);
  bool extent_is_free(std::uint64_t first_block, std::uint64_t count) const;

  const BlockDevice device_;
  const std::string id_;
  std::unique_ptr<DiskArea> area_;
  bool usable_ = false;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::thread> threads_;
  int threads_alive_ = 0;
  bool ending_ = false;
  Job job_ = Job::none;
  std::uint64_t job_bytes_min_ = 0;
  std::optional<std::uint64_t> initialised_;  // seed of the workload that the area was written with
  std::uint64_t seed_ = 0;
  DiskCheck last_check_;
  int writers_started_ = 0;
  int writers_wanted_ = 0;
  int in_flight_ = 0;
  bool held_ = false;
  bool removal_expected_ = false;
  std::vector<bool> busy_;  // blocks that a writer is writing
  std::uint64_t bytes_per_s_ = 0;
  std::uint64_t written_bytes_ = 0;  // since the last report
  std::uint64_t write_errors_ = 0;   // since the last report
};

}  // namespace migsoak::agent
