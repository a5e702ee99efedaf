// Internal to probes: what they share, within one look and from look to look.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "probes/probe.h"

namespace migsoak::probes {

// A pid alone may be reused; with the start time it is one process (proc(5), field 22 of stat).
using ProcessKey = std::pair<pid_t, std::int64_t>;

struct ProbeState::Impl {
  int lane = 0;

  // ---- from look to look
  struct Known {
    std::uint64_t identity = 0;
    std::int64_t since_iteration = 0;  // over all exec generations
    bool close_on_exec = true;         // when it was first seen; asked where the identity alone proves nothing
  };
  using Descriptors = std::map<int, Known>;
  std::map<std::int64_t, Descriptors> ledger;             // process id -> what it had at the last look (fds.cpp)
  std::map<std::int64_t, Descriptors> before_exec;        // process id, not yet looked at -> what its predecessor had
  std::map<std::int64_t, int> generations;                // process id -> exec generation, where it is not 0
  std::map<std::string, std::set<std::string>> fd_kinds;  // subject name -> kinds it ever had
  struct Ancestor {
    std::string subject;
    std::int64_t process_id = 0;
    std::int64_t start_ticks = 0;
    pid_t inner_pid = 0;  // as it sees itself, inside its PID namespace
  };
  std::map<pid_t, Ancestor> ancestry;  // every pid seen in a subject's tree
  struct Adopted {
    std::string subject;
    pid_t pid = 0;
    std::int64_t process_id = 0;
  };
  std::map<std::int64_t, Adopted> adopted;  // number in the mark -> whose it is (ancestry.h)
  std::set<ProcessKey> zombies_reported, orphans_reported;
  std::set<std::string> leftovers_reported;
  struct SharedMemory {
    std::uint64_t inode = 0;
    std::string subject;
    std::int64_t process_id = 0;
  };
  std::map<std::string, SharedMemory> shared_memory;  // path below /dev/shm -> who had it open

  // ---- within one look
  std::map<std::int64_t, proc::ProcStat> stats;            // process id -> its stat, read at the start
  std::map<std::int64_t, std::vector<proc::FdEntry>> fds;  // process id -> descriptors
  std::map<std::uint64_t, proc::UnixSocket> unix_sockets;  // by inode
  std::set<std::int64_t> vanished;                         // process ids
};

// A read failed of something that is there. `read`: a name of record/reads.def.
void note_unread(const Scene& scene, const char* read, const std::string& subject, std::int64_t process_id,
                 const std::string& why, record::Observation& into);
// The subject is gone (or a zombie): one unsettled event per look, and none of its samples stay (run_probes). One that
// lives and could not be read all the same: a read-failed event instead.
void note_vanished(const Scene& scene, ProbeState& state, const Subject& subject, const std::string& why,
                   record::Observation& into);
bool has_vanished(ProbeState& state, const Subject& subject);

void add_sample(record::Observation& into, const Subject& subject, std::string metric, double value);
// Records an event of this look: of the scene's phase, at its time.
void record_event(const Scene& scene, const char* kind, const std::string& subject, std::int64_t process_id,
                  const std::string& text, base::Json detail, record::Observation& into);
const Subject* subject_named(const Scene& scene, const std::string& name);

// The second look. A zombie, an orphan or a file may be on its way out when it is first seen; nobody announces that, so
// `all_gone` is asked again every 2 ms, for 50 ms at most. Only called when there is a suspect.
void give_time_to_vanish(const std::function<bool()>& all_gone);

// Children of all subjects: zombies, orphans, and the ancestry that later tells whose an orphan is.
void look_at_children(Scene& scene, ProbeState& state, record::Observation& into, bool with_samples);

}  // namespace migsoak::probes
