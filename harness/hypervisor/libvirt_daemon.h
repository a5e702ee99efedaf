// LibvirtDaemon: one side's private libvirtd: its own configuration, state, sockets and host_uuid, nothing of the
// host's libvirt touched, no systemd. A child of the harness in its containment, and so is every QEMU that it starts.
//
// As root it is a system daemon: its directories are compiled in, so it gets a mount namespace in which they are its
// own. As an ordinary user it is a session daemon, and finds them by the XDG variables. Internal to hypervisor.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/result.h"
#include "hypervisor/driver.h"
#include "proc/child_process.h"

namespace migsoak::hypervisor {

struct LibvirtPlace {
  std::string side;
  std::string run_dir;  // its directory is made in here
  std::string log_dir;
  std::map<std::string, std::string> env = {};  // of the daemon
};

class LibvirtDaemon : public DriverDaemon {
 public:
  // Starts it and returns at once. kind environment: this host can't; bad_input: there is no libvirtd.
  static base::Result<std::unique_ptr<LibvirtDaemon>> start(proc::Reactor& reactor, proc::Containment& containment,
                                                            const LibvirtPlace& place);
  // After its end: another process with the directories of the first, so with what that noted of its domains. In a
  // mount namespace of its own again: all that is kept lies outside. Returns at once.
  base::Result<void> start_again(proc::Reactor& reactor, proc::Containment& containment);
  // Pure. kind bad_input: a socket of a daemon there would have too long a path.
  static base::Result<void> check_paths(const LibvirtPlace& place);
  std::string name() const override { return "libvirtd:" + place_.side; }
  proc::ChildProcess& child() { return *child_; }
  // All that is its own lies in here.
  const std::string& directory() const override { return directory_; }
  const std::string& side() const override { return place_.side; }
  const OwnFiles& own_files() const override { return own_files_; }
  // To be called once it answers and has had no domain: what it has now is its own.
  void note_own_files();
  std::string program() const override;
  ProcessIdentity process() const override { return {child_->pid(), child_->start_ticks()}; }
  std::vector<std::string> take_lines() override { return child_->take_lines(); }
  std::uint64_t take_dropped_bytes() override { return child_->take_dropped_bytes(); }
  std::vector<std::string> last_lines() const override { return child_->last_lines(); }
  bool alive() const override { return !child_->exited(); }
  std::optional<proc::ExitStatus> exit_status() const override { return child_->exit_status(); }
  void begin_stop(bool by_kill) override;
  // It has made its socket.
  bool has_socket() const;
  // For a client, and for another daemon.
  std::string uri() const;
  // Where it notes the pid of a domain's QEMU, as its PID namespace numbers it, and what that QEMU says.
  std::string pid_file(const std::string& domain) const;
  std::string log_file(const std::string& domain) const;

 private:
  LibvirtDaemon(LibvirtPlace place, bool system);
  base::Result<void> make_directories() const;
  base::Result<void> configure() const;
  base::Result<void> make_system_root() const;
  bool has_own_drivers() const;  // makes them
  std::string socket() const { return directory_ + "/run/libvirt/libvirt-sock"; }

  LibvirtPlace place_;
  bool system_;
  std::string directory_;
  OwnFiles own_files_;
  std::unique_ptr<proc::ChildProcess> child_;
};

// "libvirtd 9.0.0" of the system's daemon. kind bad_input: there is none.
base::Result<std::string> identify_libvirt(proc::Reactor& reactor, proc::Containment& containment,
                                           base::Deadline deadline);

}  // namespace migsoak::hypervisor
