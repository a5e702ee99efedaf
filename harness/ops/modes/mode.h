// Mode: one way to move a running guest from a source to a destination process. One file per mode, one line in
// modes.def.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/json.h"
#include "hypervisor/machine.h"

namespace migsoak::ops {

// run() empties both event inboxes when it starts: whoever wants earlier events takes them before.
struct MigrationContext {
  proc::Reactor& reactor;
  hypervisor::Machine& source;       // running the guest, ready
  hypervisor::Machine& destination;  // -incoming defer, ready
  std::string transport;             // "unix" | "tcp" | "fd"
  std::string run_dir;               // for the migration socket
  std::string tag;                   // short and unique, for its name
  base::Deadline deadline;
  // Called now and then while the migration runs (cheap peak sampling); may be empty.
  std::function<void()> on_progress;
  // Called once, when the source has been told to migrate and before anything is waited for; may be empty.
  std::function<void()> on_started = {};
};

enum class MigrationResult {
  completed,         // the guest runs on the destination
  failed,            // the source still has it (resumed when it had been stopped)
  source_lost,       // the source process ended or its QMP died
  destination_lost,  // the destination ended; the source still has the guest
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
  std::vector<std::string> transports;
  MigrationOutcome (*run)(MigrationContext&);
};

const std::vector<Mode>& modes();
const Mode* find_mode(const std::string& name);
const std::vector<std::string>& transport_names();

}  // namespace migsoak::ops
