// Observation: what was seen in one iteration, as plain data. Probes and the engine write it, the store keeps it,
// detectors read it. Nothing here judges.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "record/plan.h"

namespace migsoak::record {

// One process image of the topology. A pid that execs gets a new instance with generation + 1: same pid and
// start_ticks.
struct ProcessInstance {
  std::int64_t id = 0;           // unique in the run, counted from 1
  std::string name;              // "target:disk0", "target:disk0@a", "qemu:a", "harness"
  std::int64_t pid = 0;          // as the host sees it
  std::int64_t start_ticks = 0;  // /proc/PID/stat field 22 (clock ticks since boot): with the pid, an identity
  int generation = 0;            // exec generation, from 0
  std::string command;           // basename of argv[0] of the QEMU or target (not of a wrapper)
  std::int64_t born_iteration = 0;
  std::int64_t fd_limit = 0;  // soft RLIMIT_NOFILE as /proc/PID/limits shows it; 0 when unknown
};

// How a process instance ended.
struct ProcessEnd {
  std::int64_t process_id = 0;  // ProcessInstance::id
  bool expected = true;         // the harness asked for it (quit, kill at teardown)
  int exit_code = -1;           // -1 when ended by a signal or unknown
  int signal = 0;               // 0 when it exited
  bool core_dumped = false;
  std::string last_lines;  // its last output lines, printable, bounded
};

// One number. `subject` is a process name as above, or "guest", "guest:disk:<id>", "migration", "host".
// `metric` ends in its unit where it has one. The metrics in use (see results/README.md):
//   processes:  fd.total fd.<kind> fd.peak threads mappings rss_bytes pss_bytes heap_bytes anon_bytes children zombies
//   migration:  total_ms downtime_ms setup_ms ram_bytes ram_dirty_sync_count ...
//   guest:      heartbeat_gap_ms ram_verified_bytes ; guest:disk:<id>: verified_bytes written_bytes
//   host:       file_nr iteration_ms spawn_ms ...
struct Sample {
  std::string subject;
  std::int64_t process_id = 0;  // 0 when the subject is no process
  std::string metric;
  double value = 0;  // integers up to 2^53 are exact
};

// A descriptor's birth as seen at quiet points: absent at the one before, present at this one (or at a process's
// first). That holds for the next generation of a pid that exec'd, too: its births list all that it holds, and the
// detail of what it had before the exec begins with kKeptOverExec. The old instance's descriptors end with it.
inline constexpr const char* kKeptOverExec = "kept over exec";  // " since iteration 3, mapped: /memfd:ram0 (deleted)"
// Begins the detail of what such a generation has anew and the next exec will hand down.
inline constexpr const char* kNotCloseOnExec = "not close-on-exec";
struct DescriptorBirth {
  std::int64_t process_id = 0;
  int fd = -1;
  std::string kind;    // "eventfd", "memfd", "unix", "tcp", "pipe", "kvm", "tun", "epoll", "io_uring", "timerfd",
                       // "userfaultfd", "signalfd", "pidfd", "regular", "deleted", "chardev", "directory", "other" ...
  std::string detail;  // bounded, printable: "peer=qemu:a", path, memfd name
};
struct DescriptorDeath {
  std::int64_t process_id = 0;
  int fd = -1;
};

// A structured thing that was read: a config-space image, a device tree, what the guest says of its devices. Stored
// once per content, so content that stays the same costs a reference. Nothing that changes of itself (times, pids)
// belongs in `content`.
struct Document {
  std::string kind;             // one of document_kind
  std::string subject;          // process name or "guest"
  std::int64_t process_id = 0;  // 0: the guest
  std::string point;            // "source" (paused after the migration), "destination" (before the migration),
                                // "plugged" (before it, operations done), "waiting" (the destination, before it),
                                // "arrived" (the same, after it), "stayed" (it failed), "guest"
  base::Json content = base::Json::object();
  // In an observation read back: equal numbers, equal contents; so what is made of them can be kept. 0: not known.
  std::int64_t content_id = 0;
};

namespace document_kind {
// PCI functions as the host sees them: record/config_space.h.
inline constexpr const char* kConfigSpace = "config-space";
// Virtqueue state of each virtio device, where the build tells: record/config_space.h.
inline constexpr const char* kVirtqueues = "virtqueues";
// Devices the harness asked for at this point: {"devices":[{"id","type","driver","bus","address","props"}]}
inline constexpr const char* kDeviceSet = "device-set";
// Device tree of a QEMU, read when the guest has arrived in it (of a lineage's first, before it leaves), at point
// "waiting" before anything was sent to it, and at point "plugged" where operations of the plan were settled in it
// before the migration: record/device_tree.h.
inline constexpr const char* kDeviceTree = "device-tree";
// What a driver's daemon (subject "libvirtd:a") says that it has, at point "arrived" or "stayed" (the guest is on the
// source after a migration that failed): {"count", "domains":
// [{"name","state","persistent","devices":[names, as in the device set]}]}
inline constexpr const char* kDomains = "domains";
}  // namespace document_kind

// Something that happened. `kind` is one of the constants below; `detail` holds what a detector or reader needs.
struct Event {
  std::string kind;
  std::string subject;  // process name, "guest", "guest:disk:<id>", "harness", "host"
  std::int64_t process_id = 0;
  std::string phase;  // "boot" "spawn" "migrate" "verify" "teardown" "quiet" ...
  double at_ms = 0;   // since the iteration began
  std::string text;   // one printable, bounded line
  base::Json detail = base::Json::object();
};

namespace event_kind {
// detail: {"error_desc": ..., "status": "failed"|"cancelled", "side": "source"|"destination"}
inline constexpr const char* kMigrationFailed = "migration-failed";
// A process of the topology ended although nobody asked. detail: {"exit_code"|"signal", "last_lines", "core_dumped"}
inline constexpr const char* kUnexpectedExit = "unexpected-exit";
// A deadline passed. subject is what did not answer.
// detail: {"waited_ms", "waiting_for", "stacks": {...}, "qmp": {...}, "log": [...]}
inline constexpr const char* kHang = "hang";
// A line of a process's output or of the guest's console. detail: {"count": n when repeated}
inline constexpr const char* kLogLine = "log-line";
inline constexpr const char* kConsoleLine = "console-line";
// A child of the topology that ended and was not waited for.
// detail: {"pid","parent_pid","parent","parent_command","command","age_ms","generation","seen_in_generation"};
// subject/process_id: the parent, in the exec generation that started it
inline constexpr const char* kZombie = "zombie";
// A process that outlived its parent or its iteration. detail: {"pid","command","age_ms","descends_from","generation",
// "reparented"} subject: the topology's process it descends from
inline constexpr const char* kOrphan = "orphan";
// A file, socket or shared-memory object that stayed. detail: {"path","type","size_bytes"}; subject: its likely owner
inline constexpr const char* kLeftover = "leftover";
// RAM pattern check failed. detail: {"pages_bad","pages_stale","pages_misplaced","pages_garbage","first":{...}}
inline constexpr const char* kGuestCorruption = "guest-corruption";
// subject "guest:disk:<id>". detail: {"lost","stale","torn","misplaced","garbage","io_errors","first":{...}}
inline constexpr const char* kDiskCorruption = "disk-corruption";
// The guest kernel or agent died: panic, oops. detail: {"lines":[...]}
inline constexpr const char* kGuestPanic = "guest-panic";
// The guest (or the whole lineage) can't go on. detail: {"why"}
inline constexpr const char* kGuestLost = "guest-lost";
// A target ended, dropped its client or stopped serving. detail: {"why"}
inline constexpr const char* kTargetLost = "target-lost";
// QMP or the agent's channel carried what the protocol does not allow. detail: {"bytes"}
inline constexpr const char* kProtocolError = "protocol-error";
// A flood was cut. detail: {"bytes_dropped","lines_dropped"}
inline constexpr const char* kOutputFlood = "output-flood";
// The counts did not settle at the quiet point: this iteration's samples of the subject are not comparable.
inline constexpr const char* kUnsettled = "unsettled";
// The harness or its environment failed (full disk, fork failed). Makes the run unknown, never the subject's fault.
inline constexpr const char* kHarnessError = "harness-error";
// A hotplug operation of the plan. subject "guest". detail: {"kind","action","timing","device","machine","address",
// "result": "done" | "refused" | "expected-refusal" | "not-refused" | "unacknowledged" | "skipped", "error",
// "confirmed": the guest was seen to have handled it, "took_ms"}
inline constexpr const char* kHotplug = "hotplug";
// Something that the plan declares to go wrong, or has go wrong, and what came of it: an edge, an upgrade that is made
// to fail, a restart of a target. Written and read by record/expected_trouble.h alone. subject: whom it concerns (the
// new side's QEMU, the target). detail: {"cause": "edge" | "upgrade-failure" | "restart", "what", "when", "subjects",
// "allows": what may follow, "reason", "seen": "as-declared" | "otherwise" | "nothing-happened", "result", "why",
// "took_ms", "mode", "from", "to", "fate", "how", "intact", "migrates", "io_errors", "in_flight", "ended_guest"}, and
// by cause: upgrade-failure "gap_ms", "log", "hang"; restart "stop_ms", "start_ms", "reconnect_ms", "stalled", "hangs"
inline constexpr const char* kExpectedTrouble = "expected-trouble";
// Phase of all that is recorded while an upgrade is made to fail.
inline constexpr const char* kFailedUpgradePhase = "failed-upgrade";
// Three kinds that were recorded before there was kExpectedTrouble; read by the same.
// detail: {"failure","mode","error","took_ms","result","fate","intact","migrates","how","log","hang"}
inline constexpr const char* kUpgradeFailure = "upgrade-failure";
// detail: {"how","timing","expect","result","io_errors","took_ms","why","in_flight","ended_guest"}
inline constexpr const char* kTargetRestart = "target-restart";
// detail: {"expect","mode","from","to","error","reason","result"}
inline constexpr const char* kDeclaredOutcome = "declared-outcome";
// Something was to be read and was not, or not whole, of a process that lives: what goes by it can't tell of this
// iteration. subject: the process, or "guest", "host". detail: {"read": a name of record/reads.def, "why"}
inline constexpr const char* kReadFailed = "read-failed";
// A lineage began. detail: {"boot_side","boot_ms"}
inline constexpr const char* kLineageStart = "lineage-start";
// The scenario has the rest of this lineage's iterations left out. detail: {"why","left_out": how many}
inline constexpr const char* kLineageGivenUp = "lineage-given-up";
}  // namespace event_kind

enum class IterationStatus {
  started,    // the row exists, nothing is known yet (also: the harness died in it)
  completed,  // the guest runs on the destination and was verified
  failed,     // the migration failed; the guest still runs on the source
  lost,       // the guest or a target is gone
  unknown,    // the harness or the environment failed; nothing can be said of the subject
};
std::string to_string(IterationStatus status);
base::Result<IterationStatus> iteration_status_from(const std::string& name);

struct Observation {
  std::int64_t iteration = 0;
  int lane = 0;
  int lineage = 0;
  Plan plan;
  IterationStatus status = IterationStatus::started;
  std::string phase;  // the phase reached
  std::int64_t started_unix_ms = 0;
  double duration_ms = 0;
  // Tells which samples may be compared with each other: the number of QEMU processes alive at the quiet point and
  // similar. Detectors compare only quiet points with equal context.
  std::string context;
  std::vector<ProcessInstance> processes_born;
  std::vector<ProcessEnd> processes_ended;
  std::vector<Sample> samples;
  std::vector<DescriptorBirth> births;
  std::vector<DescriptorDeath> deaths;
  std::vector<Event> events;
  std::vector<Document> documents;
};

}  // namespace migsoak::record
