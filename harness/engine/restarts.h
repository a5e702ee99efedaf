// RestartRunner: restarts of vhost targets and of daemons under the running guest, as the plan asks for them. The
// guest's requests are in flight meanwhile: whether they come through is for its verification to tell.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/lineage.h"
#include "record/expected_trouble.h"

namespace migsoak::engine {

// Whose requests are not answered, by what is in flight to each target (nothing: not known). Where nothing is known,
// the restarted ones are taken to be the reason.
struct Stalled {
  std::set<std::string> restarted, others;
};
Stalled stalled_of(const std::map<std::string, std::optional<std::int64_t>>& in_flight,
                   const std::set<std::string>& restarted);

class RestartRunner {
 public:
  // Borrows both.
  RestartRunner(Lineage& lineage, record::Journal& journal);

  bool planned(const std::string& timing) const;
  // The plan's restarts of that timing, one after the other, each until all QEMUs that were connected before are so
  // again. Errors: see Trouble.
  base::Result<void> run(const std::string& timing);
  // After an error of run(): who is to blame, and what was waited for.
  struct Trouble {
    std::string subject;
    std::int64_t process_id = 0;
    std::string waiting_for;
  };
  const Trouble& trouble() const { return trouble_; }

  // What the guest said of a disk in this iteration.
  void note_disk(const std::string& device, std::uint64_t io_errors, bool hangs);
  // The guest was told to stop writing to the disks at these addresses and still has requests in flight. That is a
  // hang, unless a restart is declared to cause it.
  void note_stalled(std::int64_t waited_ms, const std::vector<std::string>& addresses);
  // Requests that are never answered, of a disk whose target was to answer them with errors (expect = "io-errors").
  bool lost_as_declared() const;
  // The targets of these requests.
  std::set<std::string> targets_allowed_errors() const;
  // The guest's life was ended for them, by plan.
  void note_ended_guest() { ended_guest_ = true; }
  // I/O errors seen so far that the scenario declared; note_lasting() marks them as permanent.
  std::uint64_t declared_errors() const;
  void note_lasting();
  // The iteration is over: what became of each restart goes on record.
  void conclude();

 private:
  // A QEMU's connection for one disk.
  struct Link {
    std::int64_t process_id;  // of the QEMU
    std::string qemu;
    pid_t pid;
    std::string chardev;
    std::string socket;  // of the target
  };
  struct Restart {
    record::PlannedRestart planned;
    std::string target;  // "target:disk0@a" "libvirtd:a"
    record::Declaration declared;
    std::vector<std::string> disks;
    std::string phase;
    double began_at_ms = 0;
    double stop_ms = 0, start_ms = 0, reconnect_ms = 0;
    std::optional<std::int64_t> in_flight;  // requests not answered when it was gone
    bool stalled = false;
    std::string failed;  // "lost" | "not-reconnected"
    std::string why;
    std::uint64_t io_errors = 0;
    bool hangs = false;
  };

  static std::string words_of(const record::PlannedRestart& planned);
  static bool allows_errors(const Restart& restart);
  static bool declared_loss(const Restart& restart);
  base::Result<void> restart(TargetInstance& instance, Restart& restart);
  base::Result<void> stop(TargetInstance& instance, Restart& restart);
  base::Result<void> start(TargetInstance& instance, Restart& restart);
  // The same of a daemon (engine/restart_of_daemon.cpp): ended, started again, and joined again, its VM running on.
  base::Result<void> restart(DaemonInstance& instance, Restart& restart);
  base::Result<void> stop(DaemonInstance& instance, Restart& restart);
  // Waits for `gone`, and kills it by `kill` where it does not end as it was asked to.
  base::Result<void> wait_end(const std::function<bool()>& gone, const std::function<void()>& kill, const Trouble& who,
                              Restart& restart);
  base::Result<void> wait_reconnected(TargetInstance& instance, const std::vector<Link>& links, Restart& restart);
  std::vector<Link> connected_links(const TargetInstance& instance);
  Vm* vm_of(const Link& link);
  // Addresses of the guest's disks that it serves; none where it does not serve the guest.
  std::vector<std::string> disks_of(const TargetInstance& instance);
  std::optional<std::int64_t> in_flight_to(const std::vector<std::string>& addresses);
  tl::unexpected<base::Error> fail(Restart& restart, const char* result, base::Error error, Trouble trouble);

  Lineage& lineage_;
  record::Journal& journal_;
  std::vector<Restart> restarts_;
  bool ended_guest_ = false;
  Trouble trouble_;
};

}  // namespace migsoak::engine
