// FakeDriver: VMs without a process. Each is a small model of a QEMU (QMP's migration commands, devices, run state)
// with the guest's two sockets; one guest lives in them, beats and answers as the real agent does. A test says when a
// VM ends, hangs or refuses. All on the test's thread: the model moves on when the reactor runs.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "hypervisor/driver.h"

namespace migsoak::fake_vm {

struct Vm;
struct World;

// What becomes of a command.
enum class Answer {
  as_ever,
  refuse,      // an error of class GenericError
  stay_silent  // taken, and never answered
};

// What becomes of a device once its unplug was asked for.
enum class LettingGo {
  announced,    // it goes, and DEVICE_DELETED says so
  unannounced,  // it goes, as a CPU does under TCG
  never,
};

// A daemon without a process, beside the VMs of a side.
class FakeDaemon : public hypervisor::DriverDaemon {
 public:
  explicit FakeDaemon(std::string side) : side_(std::move(side)) {}

  // A test says what a restart finds.
  bool ends_when_asked = true;
  std::function<base::Result<void>()> on_start, on_rejoin;
  std::function<base::Result<base::Json>()> on_domains;  // null: it is not asked
  std::vector<std::string> stops;                        // "SIGTERM" "SIGKILL", in the order in which they came

  void end(proc::ExitStatus status = {1, 0, false}) { status_ = status; }
  void begin() { status_.reset(); }

  std::string name() const override { return "libvirtd:" + side_; }
  std::string program() const override { return "fake"; }
  const std::string& side() const override { return side_; }
  const OwnFiles& own_files() const override { return own_files_; }
  const std::string& directory() const override { return directory_; }
  hypervisor::ProcessIdentity process() const override;
  std::vector<std::string> take_lines() override { return {}; }
  std::uint64_t take_dropped_bytes() override { return 0; }
  std::vector<std::string> last_lines() const override { return {}; }
  bool alive() const override { return !status_; }
  std::optional<proc::ExitStatus> exit_status() const override { return status_; }
  void begin_stop(bool by_kill) override;

 private:
  std::string side_, directory_;
  OwnFiles own_files_;
  std::optional<proc::ExitStatus> status_;
};

class FakeDriver : public hypervisor::Driver {
 public:
  explicit FakeDriver(proc::Reactor& reactor);
  ~FakeDriver() override;

  base::Result<std::unique_ptr<hypervisor::Machine>> start(hypervisor::MachineSpec spec) override;
  base::Result<std::unique_ptr<hypervisor::Machine>> take_over(hypervisor::Machine& old,
                                                               hypervisor::MachineSpec next) override;

  // "libvirtd:SIDE" of each of these sides; before the first iteration.
  void have_daemons(const std::vector<std::string>& sides);
  FakeDaemon& daemon(const std::string& side);
  std::vector<hypervisor::DriverDaemon*> daemons() override;
  base::Result<void> start_again(hypervisor::DriverDaemon& daemon) override;
  base::Result<void> rejoin(hypervisor::DriverDaemon& daemon, base::Deadline deadline) override;
  std::vector<DaemonDomains> domains(base::Deadline deadline) override;

  // Called for each command before it is executed: what it does, it does to a VM that has not got the command yet.
  using OnCommand = std::function<Answer(const std::string& side, const std::string& command)>;
  void on_command(OnCommand listener);

  // Of the VM on that side, the newest; nothing happens where there is none.
  void end(const std::string& side, proc::ExitStatus status = {1, 0, false});
  void end_soon(const std::string& side, proc::ExitStatus status = {1, 0, false});  // when the reactor runs next
  // Nobody learns how, as of a QEMU that is somebody else's child.
  void end_unseen(const std::string& side);
  void close_qmp(const std::string& side);                     // its process goes on
  void hang(const std::string& side);                          // answers nothing any more, and its guest stands still
  void say(const std::string& side, const std::string& line);  // on its output

  // The guest.
  void silence_guest();  // it runs, and is not heard any more
  bool guest_runs() const;
  std::string guest_side() const;  // empty: it is nowhere, or in a file
  // Its memory is found damaged by the next verification.
  void corrupt_guest();
  void panic_guest();
  void lets_go(LettingGo how);
  // It shows nothing of what is plugged, and goes on showing what is unplugged.
  void guest_overlooks_devices();
  // QEMU takes device_add and device_del during a migration, as it must not.
  void plug_while_migrating();

  // Migrations to come: the states that the source passes through (QAPI MigrationStatus), each for one turn. The last
  // is what it stays in. By default "setup" "active" "device" "completed".
  void migrations_pass(std::vector<std::string> states);
  // The destination takes the state and ends with this status instead of running the guest.
  void refuse_load(proc::ExitStatus status, const std::string& last_line);
  // The next QEMU that is started never comes to the point where QMP answers.
  void next_never_answers();
  // What is exec'ed ends at once with this status.
  void refuse_exec(proc::ExitStatus status);
  // What its machines say when they are asked to migrate by themselves. By default they don't.
  using Conduct = std::function<base::Result<std::unique_ptr<hypervisor::DrivenMigration>>(
      const hypervisor::MachineSpec& next, const std::string& transport, const record::LibvirtWay& way)>;
  void conduct(Conduct conduct);
  // The next start fails with this error.
  void fail_next_start(base::Error error);

  std::size_t started() const;                                       // so many VMs, those of an exec included
  std::vector<std::string> commands(const std::string& side) const;  // that its VMs were sent

 private:
  std::shared_ptr<World> world_;
  std::vector<std::unique_ptr<FakeDaemon>> daemons_;
};

// "direct" is this one: what a lane is given.
hypervisor::Drivers drivers_of(std::unique_ptr<FakeDriver> driver);

}  // namespace migsoak::fake_vm
