// DiskSet: the disks that the workload uses. Those of the boot are taken by the first `workload`; those that are
// plugged later only when the host says so (`adopt_disk`), and let go when it says so (`release_disk`) or when they
// went away as announced (`expect_removal`). What a disk held when it was let go is remembered under its id, and
// checked when a disk of that id comes back.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "arguments.h"
#include "disk_workload.h"

namespace migsoak::agent {

struct DiskLoad {
  std::uint64_t seed = 1;
  std::uint64_t bytes_per_s = 0;  // 0: no writers
  int queue_depth = 1;
};

class DiskSet {
 public:
  // Takes the virtio disks that are there, the first time; fills what is not filled with this seed yet, starts writers.
  void start(const DiskLoad& load, std::int64_t until_ns);
  void stop_writers();
  void begin_verify(std::uint64_t bytes_min);
  // JSON array of one report per disk.
  std::string finish_verify(std::int64_t until_ns);
  std::uint64_t size() const { return disks_.size(); }

  // The commands of these names (PROTOCOL.md).
  std::string settle(const Arguments& arguments);
  std::string in_flight(const Arguments& arguments) const;
  std::string adopt(const Arguments& arguments);
  std::string release(const Arguments& arguments);
  std::string expect_removal(const Arguments& arguments);

 private:
  DiskWorkload* find(const Arguments& arguments);
  std::unique_ptr<DiskArea> take_kept(const std::string& id, const BlockDevice& device);
  // Ends the disk's threads and remembers its content; false when it still hangs.
  bool let_go(DiskWorkload* disk, std::int64_t until_ns);
  // Lets go of what went away as announced.
  void drop_gone();

  std::vector<std::unique_ptr<DiskWorkload>> disks_;
  std::vector<std::unique_ptr<DiskWorkload>> hanging_;  // let go, but one of their threads still waits
  std::deque<std::pair<std::string, std::unique_ptr<DiskArea>>> kept_;
  bool took_boot_disks_ = false;
  DiskLoad load_;
};

}  // namespace migsoak::agent
