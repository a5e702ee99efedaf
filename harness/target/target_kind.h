// TargetKind: all that is special about one kind of vhost-user target. One file per kind, one line in targets.def; how
// its process is run is the same for all (process_target.h). In the order of its life: its options are checked, lay_out
// says what runs and where it meets QEMU, prepare makes files, the process starts, configure goes on where a command
// line does not reach (JSON-RPC, a second program), and the target is ready when all its sockets listen.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/result.h"
#include "proc/child_process.h"
#include "proc/containment.h"
#include "proc/reactor.h"
#include "target/target_spec.h"

namespace migsoak::target {

// What a kind makes of a spec.
struct Layout {
  std::vector<std::string> argv;              // without the wrapper
  std::map<std::string, Endpoint> endpoints;  // by endpoint_key(); one for each device and slot, may share a socket
  std::vector<std::string> control;           // sockets on which it listens before it is configured
};
std::string endpoint_key(const std::string& device, const std::string& slot);

// A process of the kind, for the steps that talk to it. All borrowed.
struct Running {
  proc::Reactor& reactor;
  proc::Containment& containment;
  const TargetSpec& spec;
  const OptionValues& options;
  const Layout& layout;
  const proc::ChildProcess& child;  // nothing is waited for once it has exited
};

// What becomes of a guest's requests when the target is restarted under it ([[restart]]).
struct RestartPolicy {
  std::string impossible = {};  // why no successor can take over its clients; empty: one can
  // Asked to end, it may answer requests in flight with I/O errors; killed, it answers none of them.
  bool fails_requests_when_asked = false;
};

using Figures = std::map<std::string, double>;

struct TargetKind {
  std::string name;     // in scenarios
  std::string summary;  // one line for `migsoak list targets`
  std::string program;  // what runs unless target.binary says otherwise; empty: the first word of a `command` option
  std::vector<OptionSpec> options;
  std::vector<EndpointType> serves;
  std::size_t devices_max = 0;  // of one process; 0: any number
  // A disk without an image reads as zeros and keeps nothing.
  bool null_disks = false;
  RestartPolicy restart = {};

  // Starts nothing, and needs no file to be there. Kind bad_input: the spec can't be.
  base::Result<Layout> (*lay_out)(const TargetSpec& spec, const OptionValues& options);
  // Before each start: files that the process needs. Null: none.
  base::Result<void> (*prepare)(const TargetSpec& spec, const OptionValues& options, const Layout& layout) = nullptr;
  // After each start, when `control` listens. Null: the command line says it all.
  base::Result<void> (*configure)(const Running& target, base::Deadline deadline) = nullptr;
  // It ends by itself, with status 0, when the QEMU goes that it served: needs share = "per-vm". Null: it does not.
  bool (*ends_with_client)(const OptionValues& options) = nullptr;
  // What it counts itself, by name. Null: nothing.
  base::Result<Figures> (*statistics)(const Running& target, base::Deadline deadline) = nullptr;
  // Asks it to end, and does not wait for it. Null: SIGTERM.
  base::Result<void> (*ask_to_end)(const Running& target, base::Deadline deadline) = nullptr;
};

const std::vector<TargetKind>& target_kinds();
// Null when there is none of that name.
const TargetKind* find_target_kind(const std::string& name);
bool serves(const TargetKind& kind, EndpointType type);

// The program that runs, as given: "qemu-storage-daemon", "/opt/spdk/bin/vhost". Its options have been checked.
std::string program_of(const TargetSettings& settings);

// "<run_dir>/<target>[@side]<suffix>": every socket of a target has such a name, by which the files probe knows whose
// it is. Kind bad_input when it is too long for a socket.
base::Result<std::string> socket_path(const TargetSpec& spec, const std::string& suffix);

}  // namespace migsoak::target
