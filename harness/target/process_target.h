// Internal to target: a target of any kind as a child process. It is ready once it has been configured, where its kind
// has such a step, and every one of its unix sockets listens, as the kernel tells (sock_diag); nothing is connected,
// since an export may serve its first client only.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "target/target.h"

namespace migsoak::target {

// A spec that its kind has accepted.
struct Plan {
  OptionValues options;
  Layout layout;
};

class ProcessTarget : public Target {
 public:
  static base::Result<std::unique_ptr<Target>> start(proc::Reactor& reactor, proc::Containment& containment,
                                                     const TargetKind& kind, TargetSpec spec, Plan plan);
  ~ProcessTarget() override;

  base::Result<void> wait_ready(base::Deadline deadline) override;
  const Endpoint& connect(const std::string& device, const std::string& slot) const override;
  std::vector<std::string> sockets() const override;
  bool has_spare_slots() const override;
  proc::ChildProcess& child() override { return *child_; }
  const TargetSpec& spec() const override { return spec_; }
  const TargetKind& kind() const override { return kind_; }
  pid_t pid() const override { return pid_; }
  bool ends_with_client() const override {
    return kind_.ends_with_client != nullptr && kind_.ends_with_client(plan_.options);
  }
  base::Result<Figures> statistics(base::Deadline deadline) override;
  proc::ExitStatus stop(std::chrono::milliseconds grace) override;
  void begin_stop(StopHow how) override;
  bool stopped() override;
  base::Result<void> start_again() override;

 private:
  ProcessTarget(proc::Reactor& reactor, proc::Containment& containment, const TargetKind& kind, TargetSpec spec,
                Plan plan);
  base::Result<void> spawn(bool again);
  Running running() const;
  base::Error ended_first() const;
  base::Error interrupted() const;
  base::Result<void> configure(base::Deadline deadline);
  base::Result<void> wait_listening(const std::vector<std::string>& paths, base::Deadline deadline);
  void find_pid(std::uint64_t listening);
  bool find_pid_by_name();
  void ask_to_end();
  bool own_process_lives() const;
  void remove_sockets();

  proc::Reactor& reactor_;
  proc::Containment& containment_;
  const TargetKind& kind_;
  TargetSpec spec_;
  Plan plan_;
  std::vector<std::string> argv_;  // wrapper included
  std::unique_ptr<proc::ChildProcess> child_;
  bool configured_ = false;       // child_ is
  pid_t pid_ = 0;                 // of the process that holds the sockets
  std::int64_t start_ticks_ = 0;  // with pid_, an identity: never signal a reused pid
};

}  // namespace migsoak::target
