// Restarts of real targets: the same sockets, another process.
#include <gmock/gmock.h>
#include <signal.h>

#include "proc/proc_fs.h"
#include "target_fixture.h"

namespace migsoak::target {
namespace {

using ::testing::HasSubstr;

class TargetRestart : public TargetTest {
 protected:
  bool stops(Target& target, StopHow how) {
    target.begin_stop(how);
    const auto stopped = [&] { return target.stopped(); };
    return reactor_.run_until(stopped, soon(), std::chrono::milliseconds(2)) == proc::Wait::ready;
  }
  // Dead; whoever inherits it from a killed wrapper still has to wait for it.
  bool reaped(pid_t pid) {
    // Without a PID namespace who looks for strays waits for the dead among them.
    const auto is_gone = [this, pid] { return (void)containment_->processes(), !proc::read_stat(pid); };
    return reactor_.run_until(is_gone, soon(), std::chrono::milliseconds(2)) == proc::Wait::ready;
  }
};

TEST_F(TargetRestart, another_process_on_the_same_sockets) {
  for (const StopHow how : {StopHow::graceful, StopHow::kill}) {
    const auto target = start(daemon());
    ASSERT_TRUE(target->wait_ready(soon()));
    EXPECT_FALSE(target->stopped());
    const pid_t before = target->pid();
    const std::vector<std::string> argv = target->child().spec().argv;
    const std::string socket = target->connect("vd0", "a0").socket;
    ASSERT_TRUE(stops(*target, how));
    EXPECT_EQ(target->child().exit_status()->signal, how == StopHow::kill ? SIGKILL : 0);
    EXPECT_TRUE(reaped(before));
    const auto again = target->start_again();
    ASSERT_TRUE(again) << again.error().describe();
    const auto ready = target->wait_ready(soon());
    ASSERT_TRUE(ready) << ready.error().describe();
    EXPECT_NE(target->pid(), before);
    EXPECT_EQ(target->child().spec().argv, argv);
    EXPECT_EQ(target->connect("vd0", "a0").socket, socket);
    EXPECT_TRUE(connects(socket));
  }
}

TEST_F(TargetRestart, limit_and_log_go_on) {
  std::vector<std::string> argv = {"/bin/sh", "-c", "echo life of $$; exec \"$@\"", "sh"};
  const std::vector<std::string> backend = backend_argv();
  argv.insert(argv.end(), backend.begin(), backend.end());
  TargetSpec spec = command(argv);
  spec.nofile = 77;
  const auto target = start(spec);
  ASSERT_TRUE(target->wait_ready(soon()));
  ASSERT_TRUE(stops(*target, StopHow::kill));
  ASSERT_TRUE(target->start_again());
  ASSERT_TRUE(target->wait_ready(soon()));
  EXPECT_EQ(proc::read_nofile_limit(target->pid()).value_or(0), 77);
  target->stop(kPatience);
  std::ifstream log(spec.log_file);
  int lives = 0;
  for (std::string line; std::getline(log, line);) lives += line.rfind("life of ", 0) == 0 ? 1 : 0;
  EXPECT_EQ(lives, 2);
}

// The wrapper forks, waits, and passes no signal on.
TEST_F(TargetRestart, behind_a_wrapper_it_is_the_target_itself) {
  for (const StopHow how : {StopHow::graceful, StopHow::kill}) {
    TargetSpec spec = daemon();
    spec.wrapper = {"/bin/sh", "-c", "trap '' TERM; \"$@\"; exit 7", "wrapper"};
    const auto target = start(spec);
    ASSERT_TRUE(target->wait_ready(soon()));
    const pid_t before = target->pid();
    ASSERT_TRUE(stops(*target, how));
    EXPECT_TRUE(reaped(before));
    ASSERT_TRUE(target->start_again());
    ASSERT_TRUE(target->wait_ready(soon()));
    EXPECT_EQ(proc::command_of(target->pid()), "qemu-storage-daemon");
    EXPECT_NE(target->pid(), before);
  }
}

TEST_F(TargetRestart, one_that_ignores_the_request_goes_by_the_second) {
  const auto target = start(daemon());
  ASSERT_TRUE(target->wait_ready(soon()));
  ASSERT_EQ(::kill(target->pid(), SIGSTOP), 0);
  target->begin_stop(StopHow::graceful);
  const auto stopped = [&] { return target->stopped(); };
  EXPECT_EQ(
      reactor_.run_until(stopped, base::Deadline::in(std::chrono::milliseconds(100)), std::chrono::milliseconds(2)),
      proc::Wait::timeout);
  EXPECT_TRUE(stops(*target, StopHow::kill));
}

TEST_F(TargetRestart, a_successor_that_does_not_come_up_is_the_subjects_failure) {
  TargetSpec spec = daemon();
  const std::string mark = run_dir_->path() + "/first";
  spec.wrapper = {"/bin/sh", "-c", "test ! -e '" + mark + "' || exit 9; : > '" + mark + "'; exec \"$@\"", "wrapper"};
  const auto target = start(spec);
  ASSERT_TRUE(target->wait_ready(soon()));
  ASSERT_TRUE(stops(*target, StopHow::kill));
  ASSERT_TRUE(target->start_again());
  const auto ready = target->wait_ready(soon());
  ASSERT_FALSE(ready);
  EXPECT_EQ(ready.error().kind, base::ErrorKind::subject);
  EXPECT_THAT(ready.error().message, HasSubstr("exit status 9"));
}

}  // namespace
}  // namespace migsoak::target
