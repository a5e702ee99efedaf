#include "hypervisor/machine.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <sstream>

#include "proc/proc_fs.h"
#include "real_qemu.h"

namespace migsoak::hypervisor {
namespace {

using base::Deadline;
using base::ErrorKind;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

using MachineTest = RealQemu;

bool exists(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0;
}

std::string read_file(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

std::string write_script(const std::string& path, const std::string& text) {
  std::ofstream(path) << text;
  ::chmod(path.c_str(), 0755);
  return path;
}

// For a look at devices: paused, spoken to over qtest, and nothing of it is left.
TEST_F(MachineTest, WithoutAGuestItStaysPaused) {
  MachineSpec guestless = spec("q1");
  guestless.guestless = GuestlessSpec{{"-m", "16M", "-device", "e1000,id=d0"}};
  auto machine = raise(std::move(guestless));
  ASSERT_TRUE(machine);
  EXPECT_EQ(run_state(*machine), "prelaunch");
  const std::string qtest = machine->qtest_socket();
  EXPECT_TRUE(exists(qtest)) << qtest;
  EXPECT_FALSE(exists(machine->agent_socket()));
  machine.reset();
  EXPECT_FALSE(exists(qtest));
  EXPECT_EQ(raise(spec("q2"))->qtest_socket(), "");
}

TEST_F(MachineTest, ComesUpAndQuits) {
  auto machine = raise(spec("q1"));
  ASSERT_TRUE(machine);
  EXPECT_TRUE(machine->ready());
  EXPECT_TRUE(machine->alive());
  EXPECT_EQ(machine->qemu_pid(), machine->process().pid);
  EXPECT_EQ(run_state(*machine), "running");
  EXPECT_TRUE(exists(machine->agent_socket()));
  EXPECT_TRUE(exists(machine->console_socket()));
  const auto capabilities = machine->qmp().execute("query-migrate-capabilities", base::Json::object(), soon());
  ASSERT_TRUE(capabilities);
  EXPECT_THAT(base::dump_json(*capabilities), HasSubstr(R"({"capability":"events","state":true})"));
  const auto quit = machine->quit(soon());
  ASSERT_TRUE(quit) << quit.error().describe();
  EXPECT_EQ(machine->exit_status().value().exit_code, 0);
  EXPECT_FALSE(machine->alive());
  EXPECT_FALSE(exists(machine->agent_socket()));
}

TEST_F(MachineTest, IncomingWaitsForItsStream) {
  auto machine = raise(spec("q1", true));
  ASSERT_TRUE(machine);
  EXPECT_EQ(run_state(*machine), "inmigrate");
}

TEST_F(MachineTest, IsReadyInTheBackground) {
  auto machine = spawn(spec("q1"));
  ASSERT_TRUE(machine) << machine.error().describe();
  EXPECT_FALSE((*machine)->ready());
  // Nobody waits for it, only for something else on the same Reactor.
  reactor_.run_until([&] { return (*machine)->ready(); }, soon());
  EXPECT_TRUE((*machine)->ready());
  EXPECT_TRUE((*machine)->wait_ready(Deadline::in(milliseconds(0))));
}

TEST_F(MachineTest, ServesDisksOfBothMachineTypes) {
  const std::string image = run_dir_->path() + "/disk.raw";
  ASSERT_EQ(::close(::creat(image.c_str(), 0600)), 0);
  ASSERT_EQ(::truncate(image.c_str(), 16 << 20), 0);
  for (const char* type : {"q35", "pc"}) {
    auto with_disk = spec("q1");
    with_disk.machine = type;
    DeviceSpec disk;
    disk.id = "vd0";
    disk.type = "virtio-blk";
    disk.image_path = image;
    disk.props = {{"discard", false}};
    with_disk.devices = {disk};
    auto machine = raise(with_disk);
    ASSERT_TRUE(machine) << type;
    // Both ends of a migration have the disk open.
    auto other_spec = with_disk;
    other_spec.instance = "q2";
    other_spec.incoming = true;
    EXPECT_TRUE(raise(other_spec)) << type;
  }
  ::unlink(image.c_str());
}

TEST_F(MachineTest, TellsWhatAQemuThatExitsAtOnceSaid) {
  auto broken = spec("q1");
  broken.extra_args = {"-device", "no-such-device"};
  auto machine = spawn(broken);
  ASSERT_TRUE(machine);
  const auto ready = (*machine)->wait_ready(soon());
  ASSERT_FALSE(ready);
  EXPECT_EQ(ready.error().kind, ErrorKind::subject);
  EXPECT_THAT(ready.error().describe(), HasSubstr("exit status 1"));
  EXPECT_THAT(ready.error().describe(), HasSubstr("no-such-device"));
}

TEST_F(MachineTest, TellsASilentQemuFromADeadOne) {
  auto silent = spec("q1");
  silent.qemu = write_script(run_dir_->path() + "/silent", "#!/bin/sh\nexec sleep 1000\n");
  auto machine = spawn(silent);
  ASSERT_TRUE(machine) << machine.error().describe();
  const auto ready = (*machine)->wait_ready(Deadline::in(milliseconds(300)));
  ASSERT_FALSE(ready);
  EXPECT_EQ(ready.error().kind, ErrorKind::timeout);
  const pid_t pid = (*machine)->process().pid;
  (*machine)->kill();
  EXPECT_FALSE((*machine)->alive());
  EXPECT_NE(::kill(pid, 0), 0) << "killed and reaped";
}

TEST_F(MachineTest, AStoppedQemuIsATimeoutAndStillReaped) {
  auto machine = raise(spec("q1"));
  ASSERT_TRUE(machine);
  const pid_t pid = machine->qemu_pid();
  ASSERT_EQ(::kill(pid, SIGSTOP), 0);
  const auto answer = machine->qmp().execute("query-status", base::Json::object(), Deadline::in(milliseconds(200)));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, ErrorKind::timeout);
  const auto quit = machine->quit(Deadline::in(milliseconds(200)));
  ASSERT_FALSE(quit);
  EXPECT_EQ(quit.error().kind, ErrorKind::timeout);
  EXPECT_FALSE(machine->alive());
  ASSERT_TRUE(machine->exit_status());
  EXPECT_EQ(machine->exit_status()->signal, SIGKILL);
}

TEST_F(MachineTest, FindsQemuBehindAWrapper) {
  auto wrapped = spec("q1");
  // Forks, because a command follows.
  wrapped.wrapper = {"/bin/sh", "-c", "\"$@\"; true", "wrapper"};
  auto machine = raise(wrapped);
  ASSERT_TRUE(machine);
  const pid_t pid = machine->qemu_pid();
  EXPECT_NE(pid, machine->process().pid);
  EXPECT_EQ(proc::command_of(pid), "qemu-system-x86_64");
  machine->kill();
  EXPECT_FALSE(machine->alive());
  // Without a PID namespace who looks for strays waits for the dead among them.
  reactor_.run_until([&] { return (void)containment_->processes(), ::kill(pid, 0) != 0; }, soon(), milliseconds(10));
  EXPECT_NE(::kill(pid, 0), 0) << "QEMU must not outlive its wrapper";

  wrapped.wrapper = {"/usr/bin/env", "A=B"};
  machine = raise(wrapped);
  ASSERT_TRUE(machine);
  EXPECT_EQ(machine->qemu_pid(), machine->process().pid);
}

TEST_F(MachineTest, PassesTheSidesEnvironment) {
  auto with_env = spec("q1");
  with_env.env = {{"MIGSOAK_PROBE", "seen"}};
  auto machine = raise(with_env);
  ASSERT_TRUE(machine);
  EXPECT_THAT(read_file("/proc/" + std::to_string(machine->qemu_pid()) + "/environ"), HasSubstr("MIGSOAK_PROBE=seen"));
}

class AccelTest : public RealQemu {
 protected:
  void SetUp() override {
    RealQemu::SetUp();
    ::setenv("XDG_CACHE_HOME", (run_dir_->path() + "/cache").c_str(), 1);
  }
  void TearDown() override { ::unsetenv("XDG_CACHE_HOME"); }
};

TEST_F(AccelTest, ExplicitNamesAreTakenAtTheirWord) {
  EXPECT_EQ(resolve_accel(reactor_, *containment_, "tcg", spec("k"), "", soon()).value(), "tcg");
  EXPECT_EQ(resolve_accel(reactor_, *containment_, "kvm", spec("k"), "", soon()).value(), "kvm");
  const auto other = resolve_accel(reactor_, *containment_, "xen", spec("k"), "", soon());
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().kind, ErrorKind::bad_input);
}

TEST_F(AccelTest, AutoIsTcgUnlessAGuestCameUpAndIsRemembered) {
  if (::access("/dev/kvm", R_OK | W_OK) != 0) GTEST_SKIP() << "no /dev/kvm: nothing to find out";
  // A QEMU on which no guest ever comes up, and that counts how often it was tried.
  const std::string folder = run_dir_->path();
  auto probe = spec("k");
  probe.qemu = write_script(folder + "/qemu", "#!/bin/sh\necho tried >> " + folder + "/count; exit 1\n");
  probe.image.kernel = "/dev/null";
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(resolve_accel(reactor_, *containment_, "auto", probe, "QEMU emulator version 9.9.9", soon()).value(),
              "tcg");
  }
  EXPECT_EQ(read_file(folder + "/count"), "tried\n") << "the second answer comes from memory";
  // Damaged memory is no memory.
  std::ofstream(folder + "/cache/migsoak/accel.json") << "{\"boot\":";
  EXPECT_EQ(resolve_accel(reactor_, *containment_, "auto", probe, "QEMU emulator version 9.9.9", soon()).value(),
            "tcg");
}

}  // namespace
}  // namespace migsoak::hypervisor
