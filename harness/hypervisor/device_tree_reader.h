// DeviceTreeReader: a machine's buses, devices, properties and QOM paths, from outside a QEMU, running or not. Reads,
// never writes.
//
// Cost (QEMU 5.2 to 11.1, TCG): both commands together 1.1-1.5 ms of QEMU's main loop, 20 KB and 13 KB of text for
// seven devices, in one round trip. A text that was read before is not parsed again.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "qmp/monitor.h"
#include "record/device_tree.h"

namespace migsoak::hypervisor {

// A reading in flight, a plain value. It belongs to the client it was begun on, which must outlive it.
struct DeviceTreeReading {
  qmp::Monitor* client = nullptr;  // borrowed
  std::uint64_t qtree = 0, qom_tree = 0;
  std::string subject;
  std::int64_t process_id = 0;
  std::string point;
};

// Of one lineage: remembers the last texts.
class DeviceTreeReader {
 public:
  // Sends and returns at once. `client`: connected. `subject`, `process_id`: "qemu:a" and its ProcessInstance::id.
  // `point`: "source", "plugged", "waiting" or "arrived".
  DeviceTreeReading begin(qmp::Monitor& client, const std::string& subject, std::int64_t process_id,
                          const std::string& point) const;
  // The tree's parts, kind device-tree. Kind subject: QMP ended or refused the command. Kind timeout: no answer by the
  // deadline.
  base::Result<std::vector<record::Document>> finish(const DeviceTreeReading& reading, base::Deadline deadline);

 private:
  struct Known {
    std::string qtree, qom_tree;
    std::vector<base::Json> parts;
  };
  std::deque<Known> known_;  // the last one first
};

}  // namespace migsoak::hypervisor
