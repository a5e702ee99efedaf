// Plan: everything that is decided about one iteration before it starts. A pure function of scenario, seed and index.
#pragma once

#include <cstdint>
#include <optional>
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

// A vhost target, or a daemon of the driver's, that is stopped and started again under the running guest.
struct PlannedRestart {
  std::string target;  // its name in the scenario; empty: a daemon
  std::string how;     // "graceful": SIGTERM; "kill": SIGKILL
  std::string timing;  // "between": no destination is there yet; "before": it is, and waits, connected to the target as
                       // well; "during": while the migration runs; "after": when the guest has arrived
  std::string expect;  // "recovers" | "io-errors": requests in flight may end in errors that the guest sees
  std::string daemon = {};  // the side whose libvirtd it is

  // "target:disk0", which stands for its instances as well; "libvirtd:a"
  std::string subject() const { return daemon.empty() ? "target:" + target : "libvirtd:" + daemon; }
  bool operator==(const PlannedRestart&) const = default;
};

// How libvirt is to migrate the guest, over the plan's transport: "unix" | "tcp": QEMU's own connection; "tunnelled":
// through the two daemons'; "saved": by a file (managed and bandwidth say nothing then). What the words may be:
// hypervisor/libvirt_ways.h.
struct LibvirtWay {
  std::string managed = "peer-to-peer";  // | "client": we talk to both daemons
  std::vector<std::string> flags = {};
  std::int64_t bandwidth_mib = 0;         // a second; 0: no limit of ours
  std::int64_t parallel_connections = 0;  // with the flag "parallel"; 0: libvirt's own choice

  bool operator==(const LibvirtWay&) const = default;
};

// What the scenario declares of a migration.
inline constexpr const char* kExpectCompletes = "completes";
inline constexpr const char* kExpectRefused = "refused";  // it fails, and the guest stays where it is
inline constexpr const char* kExpectLost = "lost";        // the guest does not survive it

struct Plan {
  std::int64_t iteration = 0;
  std::string source_side;
  std::string destination_side;
  std::string mode;                               // a name of ops/modes
  std::string transport;                          // "unix" | "tcp" | "fd" | "tunnelled" | "saved"
  std::string machine = {};                       // as the scenario says: "pc" "q35" or a versioned type
  std::vector<PlannedOperation> operations = {};  // in this order
  std::string expect = kExpectCompletes;
  // An attempt at the migration that is made to fail, before the real one: a name of ops/upgrade_failures. Empty: none.
  std::string upgrade_failure = {};
  std::vector<PlannedRestart> restarts = {};
  std::optional<LibvirtWay> libvirt = {};  // between sides of that driver

  bool operator==(const Plan&) const = default;
};

base::Json to_json(const PlannedOperation& operation);
base::Json to_json(const PlannedRestart& restart);
base::Json to_json(const LibvirtWay& way);
base::Json to_json(const Plan& plan);
base::Result<Plan> plan_from_json(const base::Json& json);

}  // namespace migsoak::record
