// Internal to target: what all kinds have in common. A child process that is ready once every one of its unix sockets
// listens, as the kernel tells (sock_diag); nothing is connected, since an export may serve its first client only.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "target/target.h"

namespace migsoak::target {

class ListeningTarget : public Target {
 public:
  static base::Result<std::unique_ptr<Target>> start(proc::Reactor& reactor, proc::Containment& containment,
                                                     TargetSpec spec, CommandLine command);
  ~ListeningTarget() override;

  base::Result<void> wait_ready(base::Deadline deadline) override;
  std::string socket(const std::string& disk, const std::string& slot) const override;
  bool has_spare_slots() const override;
  proc::ChildProcess& child() override { return *child_; }
  const TargetSpec& spec() const override { return spec_; }
  pid_t pid() const override { return pid_; }
  proc::ExitStatus stop(std::chrono::milliseconds grace) override;
  void begin_stop(StopHow how) override;
  bool stopped() override;
  base::Result<void> start_again() override;
  base::Result<bool> ready() override;

 private:
  ListeningTarget(proc::Reactor& reactor, proc::Containment& containment, TargetSpec spec);
  base::Result<void> spawn(bool again);
  // The inode of some listening socket of ours once all listen, else 0.
  std::uint64_t listening_inode() const;
  void find_pid(std::uint64_t listening);
  bool own_process_lives() const;
  void remove_sockets();

  proc::Reactor& reactor_;
  proc::Containment& containment_;
  TargetSpec spec_;
  std::map<std::string, std::string> sockets_;
  std::vector<std::string> argv_;  // wrapper included
  bool any_slot_ = false;
  std::unique_ptr<proc::ChildProcess> child_;
  pid_t pid_ = 0;                 // of the process that holds the sockets
  std::int64_t start_ticks_ = 0;  // with pid_, an identity: never signal a reused pid
};

// "<run_dir>/<target>[@side]<suffix>"; kind bad_input when it is too long for a socket. The files probe derives the
// owner of a file from this prefix.
base::Result<std::string> socket_path(const TargetSpec& spec, const std::string& suffix);

inline std::string socket_key(const std::string& disk, const std::string& slot) {
  return disk + "." + slot;
}

}  // namespace migsoak::target
