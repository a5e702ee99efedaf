// A process that execs from one machine into another. A shell plays the image that execs: it runs the first QEMU to its
// end and becomes the second.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include "base/text.h"
#include "real_qemu.h"

namespace migsoak::hypervisor {
namespace {

using base::ErrorKind;
using ::testing::HasSubstr;

bool is_there(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0;
}

class TakeOverTest : public RealQemu {
 protected:
  // The first machine, whose process becomes `command` when it quits.
  std::unique_ptr<Machine> raise_becoming(const std::vector<std::string>& command) {
    auto first = spec("q1");
    first.wrapper = {"/bin/sh", "-c", "\"$@\"; exec " + base::join(command, " "), "becoming"};
    return raise(first);
  }
  void quit_first(Machine& first) {
    first.begin_quit();
    ASSERT_EQ(reactor_.run_until([&] { return !first.qmp().connected(); }, soon()), proc::Wait::ready);
  }
};

TEST_F(TakeOverTest, TheProcessGoesOnAsTheNextMachine) {
  const auto next = spec("q2");
  auto first = raise_becoming(command_line(next).value());
  ASSERT_TRUE(first);
  const pid_t pid = first->process().pid;
  const std::string old_socket = first->agent_socket();
  quit_first(*first);
  auto second = driver().take_over(*first, next);
  ASSERT_TRUE(second) << second.error().describe();
  EXPECT_FALSE(first->alive());
  const auto ready = (*second)->wait_ready(soon());
  ASSERT_TRUE(ready) << ready.error().describe();
  EXPECT_EQ((*second)->process().pid, pid);
  EXPECT_EQ((*second)->qemu_pid(), pid);
  EXPECT_EQ(run_state(**second), "running");

  // The old image's end is not the process's.
  first.reset();
  EXPECT_FALSE(is_there(old_socket));
  EXPECT_TRUE((*second)->alive());
  EXPECT_EQ(run_state(**second), "running");
  EXPECT_TRUE(is_there((*second)->agent_socket()));
  const auto quit = (*second)->quit(soon());
  ASSERT_TRUE(quit) << quit.error().describe();
  EXPECT_TRUE((*second)->exit_status().value().success());
}

TEST_F(TakeOverTest, ANextMachineThatEndsSaysWhy) {
  auto first = raise_becoming({"/bin/sh", "-c", "'echo cannot go on; exit 5'"});
  ASSERT_TRUE(first);
  quit_first(*first);
  auto second = driver().take_over(*first, spec("q2"));
  if (!second) {  // it was that quick
    EXPECT_THAT(second.error().describe(), HasSubstr("exit status 5"));
    return;
  }
  const auto ready = (*second)->wait_ready(soon());
  ASSERT_FALSE(ready);
  EXPECT_EQ(ready.error().kind, ErrorKind::subject);
  EXPECT_THAT(ready.error().describe(), AllOf(HasSubstr("exit status 5"), HasSubstr("cannot go on")));
}

TEST_F(TakeOverTest, AProcessThatHasEndedStaysWithItsMachine) {
  auto first = raise(spec("q1"));
  ASSERT_TRUE(first);
  ASSERT_TRUE(first->quit(soon()));
  const auto second = driver().take_over(*first, spec("q2"));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind, ErrorKind::subject);
  EXPECT_TRUE(first->exit_status());
}

}  // namespace
}  // namespace migsoak::hypervisor
