// Plan: everything that is decided about one iteration before it starts. A pure function of scenario, seed and index.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"

namespace migsoak::record {

// One change of the guest's device set. What `kind`, `action` and `timing` may be: ops/hotplug.
struct PlannedOperation {
  std::string kind;     // "virtio-blk" "cpu" "memory" …
  std::string action;   // "plug" | "unplug"
  std::string timing;   // "settled": before the migration, the guest has handled it
                        // "at-once": the migration starts before the guest has handled it
                        // "refused": asked for while the migration runs; QEMU has to refuse it
  std::string device;   // id of the device
  std::string bus;      // "pci.0" "rp3" "scsi0.0"; empty where the kind has none
  std::string address;  // on that bus: "0x5"; empty where the kind has none

  bool operator==(const PlannedOperation&) const = default;
};

struct Plan {
  std::int64_t iteration = 0;
  std::string source_side;
  std::string destination_side;
  std::string mode;                               // a name of ops/modes
  std::string transport;                          // "unix" | "tcp" | "fd"
  std::string machine = {};                       // as the scenario says: "pc" "q35" or a versioned type
  std::vector<PlannedOperation> operations = {};  // in this order

  bool operator==(const Plan&) const = default;
};

base::Json to_json(const PlannedOperation& operation);
base::Json to_json(const Plan& plan);
base::Result<Plan> plan_from_json(const base::Json& json);

}  // namespace migsoak::record
