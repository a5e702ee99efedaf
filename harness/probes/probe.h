// Probe: reads one thing at the quiet point (see results/README.md for every metric). One file per probe, one line in
// probes.def. Probes read; they never judge, and never write into a subject.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "proc/proc_fs.h"
#include "record/observation.h"

namespace migsoak::probes {

// A process to be looked at.
struct Subject {
  std::string name;             // "target:disk0", "qemu:a", "harness"
  std::int64_t process_id = 0;  // record::ProcessInstance::id
  pid_t pid = 0;
  std::set<pid_t>
      own_children;  // children that belong there (the harness's own, a wrapper's): neither zombie nor orphan suspects
  bool raised_early = false;  // a destination that waits for its guest: its memory says nothing yet
};

// What all probes of one quiet point share: read once.
struct Scene {
  std::vector<Subject> subjects;
  pid_t guardian_pid = 0;
  std::vector<pid_t> reparented;    // Containment::reparented()
  std::set<pid_t> known_processes;  // every pid the harness started and still knows (QEMUs, targets, guardian)
  std::string run_dir;
  std::set<std::string> expected_files;  // in run_dir, absolute
  // Directories that are expected without what is in them.
  std::set<std::string> looked_into;
  // Whose doing what lies below a directory is: a subject's name.
  std::map<std::string, std::string> owners;
  // Ties pids that are gone to a topology process, for orphans: pid -> subject name (all pids ever seen in the trees).
  std::map<pid_t, std::string> ancestry;
  double since_iteration_start_ms = 0;
  std::string phase = "quiet";
};

// State that outlives an iteration: the descriptor ledger, what was last seen of each subject. One per lane.
class ProbeState {
 public:
  // Of what this lane starts: another lane's orphans are that one's to tell of.
  explicit ProbeState(int lane = 0);
  ~ProbeState();
  struct Impl;
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

struct Probe {
  std::string name;  // "fds" "threads" "memory" "children" "files" "host"
  std::string summary;
  void (*run)(Scene& scene, ProbeState& state, record::Observation& into);
};
const std::vector<Probe>& probes();

// Runs all probes in catalog order. Subjects that vanish while being read get an unsettled event, never half a sample.
void run_probes(Scene& scene, ProbeState& state, record::Observation& into);

// Before a process is torn down (source after the switch-over): its zombies, children and descriptors, so that what
// vanishes with it is still on record. Adds events only for what persists on a second look within 50 ms.
void look_before_teardown(Scene& scene, ProbeState& state, record::Observation& into);

// Call right after a process was spawned (or has exec'd under a new process_id): ties all its future descendants to it,
// those included that are orphaned between two looks (setsid, double fork, empty environment). Without it the probes do
// so at first sight. The one thing written to a subject: its soft RLIMIT_LOCKS, which Linux ignores (ancestry.h).
void adopt(ProbeState& state, const Subject& subject);

// Call instead of adopt() when a process of the topology has exec'd: same pid and start time, the next
// record::ProcessInstance. From then on what is known of the old one is known of the new one: descriptors that it held
// when it was last looked at are told as kept when they are still there (record::DescriptorBirth), and zombies and
// orphans that were reported are not reported again.
//
// Before such an exec, as before every other end of a source, call look_before_teardown() with the source as the only
// subject: once the image is replaced, nobody waits for its children any more. If the exec fails, nothing has to be
// undone.
void adopt_generation(ProbeState& state, std::int64_t old_process_id, const Subject& next);

// One look for the settle loop: changes while descriptors or children of any subject still change.
std::uint64_t settle_signature(const Scene& scene);

}  // namespace migsoak::probes
