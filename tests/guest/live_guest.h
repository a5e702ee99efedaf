// LiveGuest: the real image on a real QEMU (TCG), with the host's ends of console and channel, and a way to migrate.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "guest/channel.h"
#include "guest/console.h"
#include "guest/image.h"
#include "proc/child_process.h"
#include "proc/containment.h"
#include "proc/reactor.h"
#include "proc/run_dir.h"

namespace migsoak::guest {

inline base::Deadline patient() {
  return base::Deadline::in(std::chrono::seconds(45));
}

struct LiveDisk {
  std::string serial;
  std::uint64_t size_bytes = 0;
  bool writes_fail = false;  // every write meets an I/O error inside QEMU
};

struct LiveMachine {
  std::string type = "q35";
  std::string memory = "131080K";  // no multiple of 256 KiB: record/known_defects.def, tcg-lost-dirty-page
  std::string cpus = "1";
  std::vector<std::string> more;  // further arguments of QEMU
};

class LiveGuest {
 public:
  explicit LiveGuest(std::vector<LiveDisk> disks, LiveMachine machine = {});
  ~LiveGuest();

  // Boots and says hello.
  base::Result<Hello> boot();
  // Live-migrates to a new QEMU and ends the old one; the guest is heard on the new stream when it returns.
  base::Result<void> migrate();

  // One line on the monitor of the QEMU that runs the guest.
  base::Result<std::string> monitor(const std::string& line) { return monitor(*current_, line); }

  // For the QEMUs that are started from now on: what was plugged.
  void add_arguments(const std::vector<std::string>& arguments) {
    machine_.more.insert(machine_.more.end(), arguments.begin(), arguments.end());
  }
  // Path of a file in the guest's run directory.
  std::string path(const std::string& name) const { return run_dir_->path() + "/" + name; }
  // Where the QEMU that runs the guest serves QMP.
  std::string qmp_path() const { return path(current_->name + ".qmp"); }

  proc::Reactor& reactor() { return reactor_; }
  GuestChannel& channel() { return *channel_; }
  Console& console() { return *console_; }
  pid_t qemu_pid() const { return current_->child->pid(); }
  std::string disk_path(std::size_t disk) const { return run_dir_->path() + "/disk" + std::to_string(disk); }

 private:
  struct Qemu {
    std::string name;
    std::unique_ptr<proc::ChildProcess> child;
    int channel_stream = -1;
    int console_stream = -1;
  };
  base::Result<std::unique_ptr<Qemu>> start_qemu(bool incoming);
  // One HMP line on a QEMU's monitor.
  base::Result<std::string> monitor(const Qemu& qemu, const std::string& line);

  std::vector<LiveDisk> disks_;
  LiveMachine machine_;
  proc::Reactor reactor_;
  std::unique_ptr<proc::RunDir> run_dir_;
  std::unique_ptr<proc::Containment> containment_;
  std::unique_ptr<GuestChannel> channel_;
  std::unique_ptr<Console> console_;
  std::unique_ptr<Qemu> current_;
  int qemus_started_ = 0;
};

}  // namespace migsoak::guest
