// Mode: one way to move a running guest from a source to a destination process. One file per mode, one line in
// modes.def.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/json.h"
#include "hypervisor/machine.h"
#include "ops/modes/migration_listener.h"
#include "record/plan.h"

namespace migsoak::ops {

// How the processes of a migration follow each other.
enum class ProcessOrder {
  beside,      // the destination is there and answers before the migration
  waiting,     // the destination is started before, and answers when the source has sent its state (cpr-transfer)
  afterwards,  // the destination is started when the source has saved its state and is gone (cpr-reboot)
  in_place,    // the source's process execs into the destination (cpr-exec)
  within,      // the driver starts the destination and ends the source within the migration (libvirt)
};
std::string to_string(ProcessOrder order);

// What a mode asks of both ends. Checked before anything runs: preflight/modes.cpp, check_ram_sharing().
//
// A memory-backend-file (share=on, in tmpfs) does for every mode, so one lineage may mix them all; measured on 10.0.2
// and 11.1.2. But 11.1.2 gains a descriptor of that file at every cpr-exec: QEMU opens it without O_CLOEXEC, so the old
// image's survives the exec, and the new image opens the file anew. With a memory-backend-memfd the count stays flat.
struct ModeNeeds {
  ProcessOrder process_order = ProcessOrder::beside;
  // Both ends map the same guest RAM: one file, or where `ram_file` is false a memfd that the mode itself hands over.
  // Where this is false each end must have RAM of its own: with one file under both, the guest is corrupted.
  bool same_ram = false;
  bool ram_file = false;          // RAM is a file with a name: the ends have no other way to the same RAM
  bool aux_ram_share = false;     // -machine aux-ram-share=on
  std::string version_min = {};   // oldest QEMU that has it, "10.0"; empty: any
  std::string upgrade_only = {};  // why it does not go back to an older build; empty: it does
};

// What a migration goes over. The paths are of this migration alone.
struct MigrationChannels {
  std::string transport;    // beside: "unix" | "tcp" | "fd"; within: "unix" | "tcp" | "tunnelled" | "saved"
  std::string run_dir;      // for the migration socket
  std::string tag;          // short and unique, for its name
  std::string main_socket;  // waiting: -incoming unix:… of the destination
  std::string cpr_socket;   // waiting: its -incoming cpr channel
  // afterwards, in_place: where the source saves its state. run() deletes it, unless it is all that is left of the
  // guest (afterwards: the source is gone, and the destination did not take it): then the caller decides.
  std::string state_file;
  record::LibvirtWay libvirt = {};  // within
};

// run() empties both event inboxes when it starts: whoever wants earlier events takes them before.
struct MigrationContext {
  proc::Reactor& reactor;
  MigrationListener& listener;
  // Running the guest, ready. In place it has been told what it becomes (Machine::set_exec). Null after
  // release_source(), or an in_place raise().
  hypervisor::Machine* source;
  // beside: -incoming defer, ready. waiting: started. afterwards, in_place, within: null until raise().
  hypervisor::Machine* destination;
  MigrationChannels channels;
  base::Deadline deadline;
  const hypervisor::MachineSpec* next = nullptr;  // within: what the destination is to be
};

enum class MigrationResult {
  completed,         // the guest runs on the destination
  failed,            // the source still has it (resumed when it had been stopped)
  source_lost,       // the source process ended or its QMP died; in_place: so did the process that it became
  destination_lost,  // the destination ended; the source still has the guest, unless it was released (afterwards)
  hang,              // the deadline passed
};
std::string to_string(MigrationResult result);

struct MigrationOutcome {
  MigrationResult result = MigrationResult::failed;
  std::string error;              // printable line: error-desc, QMP error, what was waited for
  base::Json source_status;       // last query-migrate of the source
  base::Json destination_status;  // of the destination, where it answers
  double total_ms = 0;            // command to completion, by the harness's clock
  // From query-migrate: total_ms downtime_ms setup_ms ram_bytes remaining_bytes dirty_sync_count ...
  std::vector<std::pair<std::string, double>> figures;
  // How the destination ended, when it did. An exit code (no signal) is QEMU's way of refusing what it was sent; its
  // last lines are in `error`.
  std::optional<proc::ExitStatus> destination_exit;
  bool source_runs = false;  // failed, destination_lost, hang: the source was seen running the guest afterwards
  bool interrupted = false;  // the user stopped the run: `result` means nothing
};

struct Mode {
  std::string name;
  std::string summary;  // one line for `migsoak list modes`
  ModeNeeds needs;
  std::vector<std::string> transports;
  MigrationOutcome (*run)(MigrationContext&);
  std::string driver = "direct";  // whose machines it moves
};

const std::vector<Mode>& modes();         // of the driver "direct"
const std::vector<Mode>& driver_modes();  // of the others
const Mode* find_mode(const std::string& name);
// The same between the machines of another driver; null: there is none.
const Mode* find_mode(const std::string& name, const std::string& driver);
// Those that there are between the machines of this driver.
std::vector<std::string> mode_names(const std::string& driver);
// The migration goes on for a while, with a source that runs the guest and answers: something can be done meanwhile.
bool runs_beside(const std::string& mode);
const std::vector<std::string>& transport_names();

// What a destination of ProcessOrder::waiting has as MachineSpec::incoming_channels: the socket of the stream, and the
// cpr channel, over which descriptors come first (qapi/migration.json, MigrationChannelType "cpr").
std::vector<std::string> cpr_incoming(const std::string& main_socket, const std::string& cpr_socket);

// The two machines have guest RAM as this mode needs it: the same, or each its own. Whoever brings two machines
// together for a migration asks this first; with the wrong RAM the guest is corrupted.
base::Result<void> check_ram_sharing(const Mode& mode, const hypervisor::MachineSpec& source,
                                     const hypervisor::MachineSpec& destination);

}  // namespace migsoak::ops
