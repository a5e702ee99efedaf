// Real targets: the storage daemon of this machine, and shell commands that misbehave.
#include "target_fixture.h"

#include <gmock/gmock.h>
#include <signal.h>

#include <set>

#include "proc/proc_fs.h"

namespace migsoak::target {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

TEST(TargetKinds, are_listed_with_a_summary) {
  std::vector<std::string> names;
  for (const TargetKind& kind : target_kinds()) {
    names.push_back(kind.name);
    EXPECT_FALSE(kind.summary.empty());
  }
  EXPECT_EQ(names, (std::vector<std::string>{"qemu-storage-daemon", "command"}));
}

TEST_F(TargetTest, a_storage_daemon_serves_every_slot_and_stops) {
  const auto target = start(daemon());
  const auto ready = target->wait_ready(soon());
  ASSERT_TRUE(ready) << ready.error().describe();
  std::set<std::string> sockets;
  for (const std::string& slot : target->spec().slots) {
    EXPECT_TRUE(connects(target->connect("vd0", slot).socket)) << slot;
    sockets.insert(target->connect("vd0", slot).socket);
  }
  EXPECT_EQ(sockets.size(), 4u);
  EXPECT_TRUE(target->has_spare_slots());
  EXPECT_EQ(target->pid(), target->child().pid());
  EXPECT_EQ(proc::command_of(target->pid()), "qemu-storage-daemon");
  const proc::ExitStatus status = target->stop(kPatience);
  EXPECT_EQ(status.exit_code, 0) << proc::to_string(status);
  for (const std::string& socket : sockets) EXPECT_FALSE(exists(socket));
}

TEST_F(TargetTest, waiting_connects_to_nothing) {
  const auto target = start(daemon());
  ASSERT_TRUE(target->wait_ready(soon()));
  const auto before = proc::count_fds(target->pid());
  ASSERT_TRUE(target->wait_ready(soon()));
  const auto after = proc::count_fds(target->pid());
  ASSERT_TRUE(before && after);
  EXPECT_EQ(*before, *after);
}

TEST_F(TargetTest, one_slot_per_side_leaves_none_to_spare) {
  TargetSpec spec = daemon();
  spec.slots = {"a0", "b0"};
  EXPECT_FALSE(start(spec)->has_spare_slots());
}

TEST_F(TargetTest, the_descriptor_limit_is_the_targets_own) {
  TargetSpec spec = daemon();
  spec.nofile = 77;
  const auto target = start(spec);
  ASSERT_TRUE(target->wait_ready(soon()));
  const auto limit = proc::read_nofile_limit(target->pid());
  ASSERT_TRUE(limit);
  EXPECT_EQ(*limit, 77);
}

TEST_F(TargetTest, environment_and_name_reach_the_process) {
  TargetSpec spec = daemon();
  spec.env["PLANTED"] = "yes";
  const auto target = start(spec);
  ASSERT_TRUE(target->wait_ready(soon()));
  std::ifstream file(fmt::format("/proc/{}/environ", target->pid()), std::ios::binary);
  std::string environment(1 << 20, '\0');
  file.read(environment.data(), static_cast<std::streamsize>(environment.size()));
  EXPECT_THAT(environment, HasSubstr("PLANTED=yes"));
  EXPECT_THAT(environment, HasSubstr("MIGSOAK_PROCESS=target:disk0"));
}

TEST_F(TargetTest, aio_and_queues_are_what_the_spec_says) {
  TargetSpec spec = daemon();
  spec.devices.front().queues = 3;
  spec.options["workers"] = 1;
  const auto target = start(spec);
  const std::string argv = ::testing::PrintToString(target->child().spec().argv);
  EXPECT_THAT(argv, HasSubstr("aio=threads"));
  EXPECT_THAT(argv, HasSubstr("locking=off"));
  EXPECT_THAT(argv, HasSubstr("num-queues=3"));
  EXPECT_THAT(argv, HasSubstr("thread-pool-max=1"));
  EXPECT_TRUE(target->wait_ready(soon()));
}

TEST_F(TargetTest, a_comma_in_the_images_name_is_no_option) {
  TargetSpec spec = daemon();
  spec.devices.front().image = run_dir_->path() + "/disk,read-only=on.raw";
  std::ofstream(spec.devices.front().image).close();
  ASSERT_EQ(::truncate(spec.devices.front().image.c_str(), 1 << 20), 0);
  const auto target = start(spec);
  const auto ready = target->wait_ready(soon());
  EXPECT_TRUE(ready) << ready.error().describe();
}

// The wrapper forks, waits, and passes no signal on.
TEST_F(TargetTest, behind_a_wrapper_the_pid_is_the_targets) {
  TargetSpec spec = daemon();
  spec.wrapper = {"/bin/sh", "-c", "trap '' TERM; \"$@\"; exit 7", "wrapper"};
  const auto target = start(spec);
  const auto ready = target->wait_ready(soon());
  ASSERT_TRUE(ready) << ready.error().describe();
  EXPECT_NE(target->pid(), target->child().pid());
  EXPECT_EQ(proc::command_of(target->pid()), "qemu-storage-daemon");
  EXPECT_THAT(proc::children_of(target->child().pid()), Contains(target->pid()));
  const pid_t pid = target->pid();
  EXPECT_EQ(target->stop(kPatience).exit_code, 7);
  EXPECT_FALSE(proc::read_stat(pid));
}

TEST_F(TargetTest, destruction_leaves_neither_process_nor_socket) {
  TargetSpec spec = daemon();
  spec.wrapper = {"/bin/sh", "-c", "\"$@\"; true", "wrapper"};
  auto target = start(spec);
  ASSERT_TRUE(target->wait_ready(soon()));
  const std::string socket = target->connect("vd0", "a0").socket;
  EXPECT_TRUE(exists(socket));
  target.reset();
  EXPECT_FALSE(exists(socket));
  EXPECT_EQ(reactor_.run_until([&] { return containment_->processes().empty(); }, soon(), std::chrono::milliseconds(2)),
            proc::Wait::ready);
}

TEST_F(TargetTest, a_killed_targets_socket_is_no_obstacle) {
  auto target = start(daemon());
  ASSERT_TRUE(target->wait_ready(soon()));
  // What a SIGKILL leaves behind.
  const std::string socket = target->connect("vd0", "a0").socket;
  target.reset();
  {
    const base::UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, socket.c_str(), sizeof address.sun_path - 1);
    ASSERT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  ASSERT_TRUE(exists(socket));
  const auto next = start(daemon());
  const auto ready = next->wait_ready(soon());
  EXPECT_TRUE(ready) << ready.error().describe();
}

TEST_F(TargetTest, a_command_gets_socket_image_and_run_dir) {
  TargetSpec spec =
      command({"/bin/sh", "-c", "echo \"$@\"; exit 3", "sh", "s={socket},", "{image}{run_dir}", "{other}"});
  const auto target = start(spec);
  const auto ready = target->wait_ready(soon());
  ASSERT_FALSE(ready);
  EXPECT_THAT(ready.error().message, HasSubstr(fmt::format("s={}, {}{} {{other}}", target->connect("vd0", "a0").socket,
                                                           image_, run_dir_->path())));
}

TEST_F(TargetTest, a_command_is_ready_when_it_listens) {
  const auto target = start(command(backend_argv()));
  const auto ready = target->wait_ready(soon());
  ASSERT_TRUE(ready) << ready.error().describe();
  EXPECT_EQ(target->connect("vd0", "a0").socket, target->connect("vd0", "b0").socket);
  EXPECT_FALSE(target->has_spare_slots());
  EXPECT_TRUE(connects(target->connect("vd0", "a0").socket));
}

TEST_F(TargetTest, a_target_that_exits_at_once_is_the_subjects_failure) {
  const auto target = start(command({"/bin/sh", "-c", "echo no such device >&2; exit 9", "sh", "{socket}"}));
  const auto ready = target->wait_ready(soon());
  ASSERT_FALSE(ready);
  EXPECT_EQ(ready.error().kind, base::ErrorKind::subject);
  EXPECT_THAT(ready.error().message, HasSubstr("exit status 9"));
  EXPECT_THAT(ready.error().message, HasSubstr("no such device"));
}

TEST_F(TargetTest, a_storage_daemon_that_refuses_its_options_says_why) {
  TargetSpec spec = daemon();
  spec.devices.front().image = run_dir_->path();  // a directory
  const auto target = start(spec);
  const auto ready = target->wait_ready(soon());
  ASSERT_FALSE(ready);
  EXPECT_EQ(ready.error().kind, base::ErrorKind::subject);
  EXPECT_THAT(ready.error().message, HasSubstr("last output"));
}

TEST_F(TargetTest, a_target_that_never_listens_times_out) {
  const auto silent = start(command({"/bin/sh", "-c", "while :; do sleep 1000; done", "{socket}"}));
  const auto ready = silent->wait_ready(base::Deadline::in(std::chrono::milliseconds(200)));
  ASSERT_FALSE(ready);
  EXPECT_EQ(ready.error().kind, base::ErrorKind::timeout);
  EXPECT_THAT(ready.error().message, HasSubstr(silent->connect("vd0", "a0").socket));
}

TEST_F(TargetTest, a_stopped_target_times_out_and_can_still_be_stopped) {
  const auto target = start(command({"/bin/sh", "-c", "kill -STOP $$; exec sleep 1000", "{socket}"}));
  const auto ready = target->wait_ready(base::Deadline::in(std::chrono::milliseconds(300)));
  ASSERT_FALSE(ready);
  EXPECT_EQ(ready.error().kind, base::ErrorKind::timeout);
  EXPECT_THAT(ready.error().message, HasSubstr("process state T"));
  const pid_t pid = target->pid();
  target->stop(std::chrono::milliseconds(100));
  EXPECT_FALSE(proc::read_stat(pid));
}

TEST_F(TargetTest, a_target_stopped_mid_way_is_killed_after_its_grace) {
  const auto target = start(daemon());
  ASSERT_TRUE(target->wait_ready(soon()));
  ASSERT_EQ(::kill(target->pid(), SIGSTOP), 0);
  const proc::ExitStatus status = target->stop(std::chrono::milliseconds(100));
  EXPECT_NE(status.signal, 0);
  EXPECT_FALSE(exists(target->connect("vd0", "a0").socket));
}

TEST_F(TargetTest, a_socket_path_too_long_is_bad_input) {
  TargetSpec spec = daemon();
  spec.process = "target:" + std::string(120, 'x');
  const base::Error error = refusal(spec);
  EXPECT_EQ(error.kind, base::ErrorKind::bad_input);
  EXPECT_THAT(error.describe(), HasSubstr("107"));
}

TEST_F(TargetTest, bad_input_is_told_apart) {
  TargetSpec spec = daemon();
  spec.kind = "qemu-storage-demon";
  EXPECT_THAT(refusal(spec).message, HasSubstr("did you mean 'qemu-storage-daemon'"));
  spec = daemon();
  spec.devices.front().image = run_dir_->path() + "/missing.raw";
  EXPECT_EQ(refusal(spec).kind, base::ErrorKind::bad_input);
  // Disks without an image are a matter of the storage daemon.
  spec = command({"serve", "{socket}"});
  spec.devices.front().image = "";
  EXPECT_EQ(refusal(spec).kind, base::ErrorKind::bad_input);
  spec = daemon();
  spec.options["aio"] = "uring";
  EXPECT_EQ(refusal(spec).kind, base::ErrorKind::bad_input);
  spec = daemon();
  spec.slots = {"a0", "a0"};
  EXPECT_EQ(refusal(spec).kind, base::ErrorKind::bad_input);
  EXPECT_EQ(refusal(command({"true"})).kind, base::ErrorKind::bad_input);
  EXPECT_EQ(refusal(command({})).kind, base::ErrorKind::bad_input);
}

TEST_F(TargetTest, a_disk_without_an_image_is_served) {
  TargetSpec spec = daemon();
  spec.devices = {{"d0", "", 1, EndpointType::block}, {"d1", "", 1, EndpointType::block}};
  const auto target = start(std::move(spec));
  ASSERT_NE(target, nullptr);
  const auto ready = target->wait_ready(soon());
  ASSERT_TRUE(ready) << ready.error().describe();
  EXPECT_TRUE(connects(target->connect("d0", "a0").socket));
  EXPECT_TRUE(connects(target->connect("d1", "b1").socket));
}

TEST_F(TargetTest, a_missing_executable_is_told_by_name) {
  TargetSpec spec = daemon();
  spec.binary = "/nonexistent/qemu-storage-daemon";
  EXPECT_THAT(refusal(spec).describe(), HasSubstr("/nonexistent/qemu-storage-daemon"));
}

TEST_F(TargetTest, targets_of_two_sides_do_not_share_sockets) {
  TargetSpec a = daemon(), b = daemon();
  a.process = "target:disk0@a";
  b.process = "target:disk0@b";
  const auto first = start(a), second = start(b);
  EXPECT_NE(first->connect("vd0", "a0").socket, second->connect("vd0", "a0").socket);
  EXPECT_TRUE(first->wait_ready(soon()));
  EXPECT_TRUE(second->wait_ready(soon()));
}

}  // namespace
}  // namespace migsoak::target
