// Scenario: what a TOML file (scenarios/README.md) and --set say, checked, with every default filled in.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "record/finding.h"
#include "target/target_spec.h"

namespace migsoak::scenario {

// How many processes a target has. per_vm: each QEMU has its own, which comes and goes with it.
enum class TargetShare { one, per_side, per_vm };
std::string_view to_string(TargetShare share);  // as scenarios say it
// pairs: each ordered pair of sides gets a lineage, booted on the first and sent to and fro.
enum class Route { ping_pong, round_robin, random, pairs };
enum class OnLoss { stop, new_lineage };

struct SideScenario {
  std::string name = "a";
  std::string driver = "direct";  // catalogue: hypervisor/drivers.def
  std::string qemu = "qemu-system-x86_64";
  std::map<std::string, std::string> env;
  std::map<std::string, std::string> libvirt_env;  // of its libvirtd
  std::vector<std::string> wrapper;
  std::vector<std::string> extra_args;
};
struct TargetScenario : target::TargetSettings {
  TargetShare share = TargetShare::one;
  std::uint64_t size_bytes = 64u << 20;  // of its disk image
  std::string program_key = "binary";    // the key that names its program, for messages
};
struct DeviceScenario {
  std::string id;
  std::string type;
  std::string target;                    // vhost-user types
  std::uint64_t size_bytes = 64u << 20;  // virtio-blk: of its own disk image
  bool io_through = true;  // the guest keeps writing during the switch-over; false: its writes are settled before
  int reconnect_ms = 0;    // vhost-user types: tries again so often when its target is gone; 0: never
  std::map<std::string, base::Json> props;
  std::map<std::string, std::map<std::string, base::Json>> on;  // side -> overrides

  int queues() const;  // of vhost-user types: num-queues, default 1
};
struct GuestScenario {
  std::vector<std::string> machines = {"q35"};  // lineages take them in turn
  std::uint64_t memory_bytes = 128u << 20;
  int cpus = 1;
  std::string accel = "auto";
  bool avoid_known_defects = true;  // of record/known_defects.def, those that a machine's shape avoids
  std::string workload = "verify";
  std::uint64_t ram_verify_bytes = 32u << 20;  // verified in each iteration
  std::uint64_t disk_verify_bytes = 8u << 20;  // per disk and iteration
  std::uint64_t dirty_bytes_per_s = 8u << 20;
  std::uint64_t disk_bytes_per_s = 4u << 20;
  int queue_depth = 1;
};
// How a mode goes between two sides, where the scenario says so. Once a mode has one, it is drawn between declared
// sides only.
struct EdgeScenario {
  std::string mode;
  std::vector<std::string> from, to;  // names of sides; empty: any
  std::string expect;                 // record::kExpectCompletes, kExpectRefused, kExpectLost
  std::string reason;                 // of an outcome that is not "completes"; counted and shown in the report
  std::int64_t at = -1;               // in this iteration only, and certainly; -1: drawn
};
// A hotplug operation that the scenario asks for by name, in place of a drawn one.
struct HotplugStep {
  std::int64_t iteration = 0;
  std::string action = "plug";
  std::string kind;     // of ops/hotplug
  std::string device;   // empty: the first of its kind that fits
  std::string address;  // empty: the first free one
  std::string timing = "settled";
};
struct HotplugScenario {
  int operations = 0;          // drawn in each iteration
  int plugged_max = 8;         // devices plugged at once, of all kinds
  bool plug_on_first = false;  // plugs only where the lineage was booted
  int sweep = 0;               // disks to plug one by one, each when the guest stands on the first side
  int ports = 8;               // root ports (q35)
  std::vector<std::pair<std::string, std::uint64_t>> kinds;                            // name, weight
  std::vector<std::pair<std::string, std::uint64_t>> timings;                          // name, weight
  std::vector<std::string> keep;                                                       // kinds that are never unplugged
  std::string target;                                                                  // of vhost-user kinds
  std::uint64_t size_bytes = 16u << 20;                                                // of each plugged disk
  std::map<std::string, std::map<std::string, base::Json>> props;                      // kind -> properties
  std::map<std::string, std::map<std::string, std::map<std::string, base::Json>>> on;  // side -> kind -> overrides
  std::vector<HotplugStep> steps;

  bool used() const { return operations > 0 || sweep > 0 || !steps.empty(); }
  bool uses(const std::string& kind) const;
};
// How libvirt migrates the guest; of each list one is drawn, as far as they go together.
struct LibvirtScenario {
  std::vector<std::string> managed = {"peer-to-peer"};
  std::vector<std::string> transports;                       // "unix", "tcp", "tunnelled", "saved"
  std::vector<std::pair<std::string, std::uint64_t>> flags;  // name, chance in percent; in the catalogue's order
  std::int64_t bandwidth_mib = 0;                            // a second; 0: no limit of ours
  std::int64_t parallel_connections = 0;                     // 0: libvirt's own choice
};
// Attempts at an iteration's migration that are made to fail, before the real one.
struct UpgradeScenario {
  std::vector<std::string> failures;  // names of ops/upgrade_failures, to draw from
  std::int64_t every = 1;             // one attempt in so many iterations
  std::int64_t deadline_s = 10;       // of one attempt, until it is known to have failed

  bool used() const { return !failures.empty(); }
};
// A target, or the libvirtd of a side, that is stopped and started again under the running guest.
struct RestartScenario {
  std::string target;                              // empty: a daemon
  std::string daemon;                              // the side whose libvirtd it is
  std::vector<std::string> how = {"kill"};         // drawn
  std::vector<std::string> timings = {"between"};  // drawn
  std::int64_t every = 1;                          // iterations: in the every-th, twice the every-th, …
  std::string expect = "recovers";
};
struct DeadlineScenario {  // seconds; each bounds one wait, so that a hang is known within 60 s
  std::int64_t boot_s = 40, spawn_s = 20, migrate_s = 35, answer_s = 30, quit_s = 10;
};

struct Scenario {
  std::string file;  // as given; messages name it
  std::string name;
  std::string summary;
  std::int64_t iterations = 10;
  std::uint64_t seed = 1;
  GuestScenario guest;
  std::vector<SideScenario> sides;
  std::vector<TargetScenario> targets;
  std::vector<DeviceScenario> devices;
  std::vector<std::pair<std::string, std::uint64_t>> modes;  // name, weight
  std::vector<EdgeScenario> edges;
  std::string transport = "unix";
  LibvirtScenario libvirt;  // with that driver only
  Route route = Route::ping_pong;
  OnLoss on_loss = OnLoss::stop;
  bool raise_early = false;
  std::int64_t lineage_iterations = 0;  // a new guest is booted after so many; 0: never
  std::int64_t failures_max = 20;       // in a row, before the lineage is given up
  bool config_space = true;             // config space and virtqueue state are read and compared in each iteration
  bool device_tree = true;              // the device tree is read and compared after each migration
  HotplugScenario hotplug;
  std::vector<RestartScenario> restarts;
  UpgradeScenario upgrade;
  DeadlineScenario deadline;
  record::GatePolicy gate;

  std::string text;  // the resolved TOML (defaults not repeated, --set applied): parse_scenario(text) gives this again
  std::string directory;  // relative paths were resolved against this

  const std::string& driver() const { return sides.front().driver; }  // of all sides
  const SideScenario& side(const std::string& name) const;            // asserts that it exists
  const TargetScenario* find_target(const std::string& name) const;   // null when there is none
  const DeviceScenario* find_device(const std::string& id) const;     // null when it is none of [[device]]
  bool uses_mode(const std::string& mode) const;
};

// The types of vhost-user devices that the run may plug: hotplug.target serves them.
std::vector<std::string> plugged_vhost_user_types(const Scenario& scenario);
// How often a plugged vhost-user disk reconnects: as the [[device]]s on the same target do. 0: never.
int reconnect_ms_of_plugged(const Scenario& scenario);

// Every key a scenario may hold: "*" stands for one free name. For --set, messages, `migsoak list` and the README's
// test.
enum class KeyType {
  string,
  integer,
  boolean,
  size,
  string_list,
  string_or_list,
  list_or_weights,
  env,
  props,
  option,
  table,
  table_list
};
struct KeySpec {
  std::string pattern;  // "side.*.env.*"
  KeyType type;
};
const std::vector<KeySpec>& scenario_keys();

// "128MiB" "64KiB" "1GiB" or a plain number of bytes.
base::Result<std::uint64_t> parse_size(const std::string& text);

}  // namespace migsoak::scenario
