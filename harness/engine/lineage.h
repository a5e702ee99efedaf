// Lineage: one guest's life in processes: its targets, the QEMU it runs in, the one it will move to, its channels.
// Owns them all; destruction leaves nothing behind.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "engine/disk_images.h"
#include "engine/driver_daemons.h"
#include "engine/guest_targets.h"
#include "engine/guest_view.h"
#include "engine/lane_context.h"
#include "engine/plan_types.h"
#include "guest/channel.h"
#include "guest/console.h"
#include "hypervisor/config_reader.h"
#include "hypervisor/device_tree_reader.h"
#include "hypervisor/driver.h"
#include "ops/modes/mode.h"
#include "probes/probe.h"
#include "record/journal.h"

namespace migsoak::engine {

// A file that holds a guest's RAM; removed with its last owner.
class RamFile {
 public:
  explicit RamFile(std::string path) : path_(std::move(path)) {}
  ~RamFile();
  RamFile(const RamFile&) = delete;
  RamFile& operator=(const RamFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// A QEMU that is to be: its machine is decided, and nothing runs yet.
struct VmLaunch {
  hypervisor::MachineSpec spec;
  std::string slot;
  hypervisor::DeviceSet devices;
  std::shared_ptr<RamFile> ram;
  std::string main_socket, cpr_socket;  // ProcessOrder::waiting: its incoming channels
  std::string state_file;               // ProcessOrder::afterwards, in_place: what its incoming channel reads
};

// A QEMU of the lineage.
struct Vm {
  std::unique_ptr<hypervisor::Machine> machine;
  std::string name;  // "qemu:a"
  std::int64_t process_id = 0;
  std::int64_t start_ticks = 0;
  int agent_stream = -1;
  int console_stream = -1;
  std::string slot;                     // of the targets' exports
  std::shared_ptr<RamFile> ram;         // null: a memfd
  int generation = 0;                   // of exec, in its pid
  std::string main_socket, cpr_socket;  // as prepared
  hypervisor::DeviceSet devices;        // what its command line named
  bool protocol_error_reported = false;
  bool asked_to_quit = false;  // its end is expected
  base::Clock::time_point spawned;
  double spawn_ms = 0;  // until it was ready
};

class Lineage {
 public:
  // `machine`: the type all its QEMUs have. `devices`: what the guest boots with, addresses pinned.
  Lineage(LaneContext context, int number, std::string machine, hypervisor::DeviceSet devices);

  int number() const { return number_; }
  const LaneContext& context() const { return context_; }

  // Makes disk images, starts the targets that outlive a VM, and what the driver needs beside its VMs. Errors of kind
  // subject name the process: `blamed` is set to it.
  base::Result<void> start_targets(record::Journal& journal, std::string& blamed);
  // The QEMU on `side` that boots the guest (`mode` null), or that `mode` brings it to from `source`. Its devices are
  // `devices`.
  VmLaunch prepare(const std::string& side, const ops::Mode* mode, const Vm* source,
                   const hypervisor::DeviceSet& devices);
  // Spawns it and returns it; not ready yet.
  base::Result<Vm*> spawn(VmLaunch prepared, record::Journal& journal);
  // `old` has exec'ed into `next`: one pid, the next generation. `old` is forgotten, its end on record.
  base::Result<Vm*> take_over(Vm& old, VmLaunch next, record::Journal& journal);
  // Waits for QMP, then attaches its console and agent channel.
  base::Result<void> make_ready(Vm& vm, base::Deadline deadline);
  // Forgets a VM (its process ends, expected or not, and that is recorded).
  void retire(Vm& vm, bool by_quit, record::Journal& journal);
  // Records unexpected ends of any process that is still held; true when there was one.
  bool note_unexpected_ends(record::Journal& journal);
  // Log and console lines since the last call become events.
  void drain_logs(record::Journal& journal);

  // The probes' view of this lineage now.
  probes::Scene scene() const;
  std::set<pid_t> known_pids() const;

  std::list<Vm>& vms() { return vms_; }
  // By its id in the record; null: forgotten.
  Vm* find(std::int64_t process_id);
  GuestTargets& targets() { return targets_; }
  DriverDaemons& daemons() { return daemons_; }
  Vm* current() { return current_; }
  void set_current(Vm* vm) { current_ = vm; }
  guest::GuestChannel& channel() { return channel_; }
  guest::Console& console() { return console_; }
  probes::ProbeState& probe_state() { return probe_state_; }
  hypervisor::ConfigReader& config_reader() { return config_reader_; }
  hypervisor::DeviceTreeReader& tree_reader() { return tree_reader_; }
  GuestView& guest_view() { return guest_view_; }
  // Hung-up sockets that the targets kept at the last quiet point.
  int hung_up_sockets = 0;
  // Of disks plugged in a sweep: BAR0 has stood on an even and on an odd multiple of its size.
  bool bar0_even = false, bar0_odd = false;
  double last_migration_ms = 0;  // of the last one that completed

  const std::string& machine() const { return machine_; }
  // What the guest has now. Hotplug changes it.
  hypervisor::DeviceSet& devices() { return devices_; }
  // The device as the QEMU of `side` on `slot` takes it: with its side's properties, its socket, its image.
  hypervisor::DeviceSpec device_for(const hypervisor::DeviceSpec& device, const std::string& side,
                                    const std::string& slot) const;

 private:
  // The targets that serve the QEMU in that slot alone go with it.
  void end_targets_of(const std::string& slot, record::Journal& journal);
  bool ends_with_its_vm(const TargetInstance& instance) const;
  std::string free_slot() const;
  hypervisor::MachineSpec machine_spec(const std::string& side, const std::string& slot,
                                       const hypervisor::DeviceSet& devices);
  Vm& enlist(VmLaunch prepared, std::unique_ptr<hypervisor::Machine> machine, int generation, record::Journal& journal);
  void forget(Vm& vm);
  hypervisor::Driver& driver_of(const std::string& side) const;

  LaneContext context_;
  int number_;
  std::string machine_;
  hypervisor::DeviceSet devices_;
  guest::GuestChannel channel_;
  guest::Console console_;
  probes::ProbeState probe_state_;
  hypervisor::ConfigReader config_reader_;
  hypervisor::DeviceTreeReader tree_reader_;
  GuestView guest_view_;
  // Destroyed from the last on: the QEMUs end first, then who served them, then what was served.
  DiskImages images_;
  DriverDaemons daemons_;
  GuestTargets targets_;
  std::list<Vm> vms_;
  Vm* current_ = nullptr;
  std::int64_t spawned_count_ = 0;
};

}  // namespace migsoak::engine
