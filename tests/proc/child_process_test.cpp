#include "proc/child_process.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "base/unique_fd.h"
#include "proc/proc_fs.h"

namespace migsoak::proc {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

base::Deadline soon() {
  return base::Deadline::in(seconds(30));
}

class ChildProcessTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (std::string(GetParam()) == "marker") ::setenv("MIGSOAK_CONTAINMENT", "marker", 1);
    auto started = Containment::start({"test-" + std::to_string(::getpid()), "", ""});
    ::unsetenv("MIGSOAK_CONTAINMENT");
    ASSERT_TRUE(started) << started.error().describe();
    containment_ = std::move(*started);
  }

  static SpawnSpec spec(std::vector<std::string> argv) {
    SpawnSpec made;
    made.name = "child";
    made.argv = std::move(argv);
    return made;
  }
  static SpawnSpec shell(const std::string& script) { return spec({"sh", "-c", script}); }
  std::unique_ptr<ChildProcess> spawn(SpawnSpec wanted) {
    auto child = ChildProcess::spawn(reactor_, *containment_, std::move(wanted));
    EXPECT_TRUE(child) << child.error().describe();
    return child ? std::move(*child) : nullptr;
  }

  Reactor reactor_;
  std::unique_ptr<Containment> containment_;
};

INSTANTIATE_TEST_SUITE_P(Levels, ChildProcessTest, ::testing::Values("best", "marker"),
                         [](const auto& parameter) { return std::string(parameter.param); });

TEST_P(ChildProcessTest, TellsExitStatusAndOutput) {
  auto child = spawn(shell("echo one; echo two >&2; printf three; exit 7"));
  const auto status = child->wait_exit(soon());
  ASSERT_TRUE(status) << status.error().describe();
  EXPECT_EQ(status->exit_code, 7);
  EXPECT_EQ(to_string(*status), "exit status 7");
  EXPECT_THAT(child->take_lines(), ElementsAre("one", "two", "three"));
  EXPECT_TRUE(child->take_lines().empty());
}

TEST_P(ChildProcessTest, TellsTheSignalThatEndedIt) {
  auto child = spawn(shell("kill -SEGV $$"));
  const auto status = child->wait_exit(soon());
  ASSERT_TRUE(status);
  EXPECT_EQ(status->signal, SIGSEGV);
  EXPECT_EQ(status->exit_code, -1);
  EXPECT_FALSE(status->success());
  EXPECT_THAT(to_string(*status), HasSubstr("SIGSEGV"));
}

TEST_P(ChildProcessTest, IsBornWithTheDeclaredDescriptorsOnly) {
  // Gaps below and above, without CLOEXEC, as a careless library would leave them.
  std::vector<base::UniqueFd> clutter;
  for (const int number : {5, 7, 8, 9, 11, 30, 31, 64, 100, 500}) {
    const int fd = ::fcntl(STDIN_FILENO, F_DUPFD, number);
    ASSERT_GE(fd, 0);
    clutter.emplace_back(fd);
  }
  SpawnSpec wanted = spec({"/proc/self/exe", "role", "report-fds"});
  wanted.extra_fds = {{10, clutter[0].get()}, {20, clutter[1].get()}, {clutter[1].get(), clutter[2].get()}};
  const auto output = run_command(reactor_, *containment_, wanted, soon());
  ASSERT_TRUE(output) << output.error().describe();
  EXPECT_TRUE(output->status.success());
  std::set<int> expected{0, 1, 2, 10, 20, clutter[1].get()};
  std::string text;
  std::set<int> seen;
  for (const char c : output->out) {
    if (c != '\n') {
      text += c;
    } else {
      seen.insert(std::stoi(text));
      text.clear();
    }
  }
  EXPECT_EQ(seen, expected);
}

TEST_P(ChildProcessTest, DescriptorNumbersMayBeSwapped) {
  // 10 of the child is our 11 and the other way round; the content tells them apart.
  int first[2];
  int second[2];
  ASSERT_EQ(::pipe2(first, O_CLOEXEC), 0);
  ASSERT_EQ(::pipe2(second, O_CLOEXEC), 0);
  ASSERT_EQ(::write(first[1], "first\n", 6), 6);
  ASSERT_EQ(::write(second[1], "second\n", 7), 7);
  ::close(first[1]);
  ::close(second[1]);
  SpawnSpec wanted = shell("cat <&" + std::to_string(first[0]) + "; cat <&" + std::to_string(second[0]));
  if (first[0] > 9 || second[0] > 9) wanted = spec({"bash", "-c", wanted.argv[2]});
  wanted.extra_fds = {{first[0], second[0]}, {second[0], first[0]}};
  const auto output = run_command(reactor_, *containment_, wanted, soon());
  ASSERT_TRUE(output) << output.error().describe();
  EXPECT_EQ(output->out, "second\nfirst\n");
  ::close(first[0]);
  ::close(second[0]);
}

TEST_P(ChildProcessTest, HasItsOwnGroupLimitsAndEnvironment) {
  SpawnSpec wanted = shell("echo $MIGSOAK_RUN; echo $EXTRA; ulimit -n; ulimit -Hn; pwd; trap '' TERM; trap");
  wanted.env["EXTRA"] = "value with spaces";
  wanted.nofile = 48;
  wanted.working_dir = "/usr";
  const auto output = run_command(reactor_, *containment_, wanted, soon());
  ASSERT_TRUE(output) << output.error().describe();
  EXPECT_THAT(output->out, ::testing::StartsWith(containment_->run_id() + "\nvalue with spaces\n48\n48\n/usr\n"));
  auto sleeper = spawn(spec({"sleep", "100"}));
  EXPECT_EQ(::getpgid(sleeper->pid()), sleeper->pid());
  EXPECT_GT(sleeper->start_ticks(), 0);
}

TEST_P(ChildProcessTest, IgnoredSignalsAndTheMaskAreNotInherited) {
  const auto before = ::signal(SIGPIPE, SIG_IGN);
  const auto output =
      run_command(reactor_, *containment_, spec({"grep", "-E", "^Sig(Blk|Ign):", "/proc/self/status"}), soon());
  ::signal(SIGPIPE, before);
  ASSERT_TRUE(output) << output.error().describe();
  EXPECT_EQ(output->out, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

// A relative folder of PATH is the harness's, whatever directory the child begins in.
TEST_P(ChildProcessTest, IsFoundInPathFromWhereTheHarnessIs) {
  std::string dir = "/tmp/migsoak-path-XXXXXX";
  ASSERT_NE(::mkdtemp(dir.data()), nullptr);
  std::ofstream(dir + "/only-here") << "#!/bin/sh\npwd\n";
  ::chmod((dir + "/only-here").c_str(), 0755);
  const auto here = std::filesystem::current_path();
  const std::string path = std::getenv("PATH") != nullptr ? std::getenv("PATH") : "/usr/bin:/bin";
  std::filesystem::current_path(dir);
  ::setenv("PATH", (".:" + path).c_str(), 1);
  SpawnSpec elsewhere = spec({"only-here"});
  elsewhere.working_dir = "/usr";
  const auto output = run_command(reactor_, *containment_, elsewhere, soon());
  ::setenv("PATH", path.c_str(), 1);
  std::filesystem::current_path(here);
  std::filesystem::remove_all(dir);
  ASSERT_TRUE(output) << output.error().describe();
  EXPECT_EQ(output->out, "/usr\n");
}

TEST_P(ChildProcessTest, FailuresToStartAreToldInOneLine) {
  const auto missing = ChildProcess::spawn(reactor_, *containment_, spec({"no-such-program-anywhere"}));
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().kind, base::ErrorKind::environment);
  EXPECT_THAT(missing.error().describe(), HasSubstr("no 'no-such-program-anywhere' in PATH"));

  const auto not_executable = ChildProcess::spawn(reactor_, *containment_, spec({"/etc/passwd"}));
  ASSERT_FALSE(not_executable);
  EXPECT_THAT(not_executable.error().describe(), HasSubstr("'/etc/passwd' is not executable"));

  SpawnSpec nowhere = spec({"true"});
  nowhere.working_dir = "/no/such/directory";
  const auto lost = ChildProcess::spawn(reactor_, *containment_, nowhere);
  ASSERT_FALSE(lost);
  EXPECT_THAT(lost.error().describe(), HasSubstr("/no/such/directory: No such file"));

  // An executable file that the kernel can't run: only exec itself finds out.
  const std::string broken = ::testing::TempDir() + "/broken-" + std::to_string(::getpid());
  {
    std::ofstream(broken) << "\x7f"
                             "ELFnot really";
  }
  ::chmod(broken.c_str(), 0755);
  const auto garbage = ChildProcess::spawn(reactor_, *containment_, spec({broken}));
  ::unlink(broken.c_str());
  ASSERT_FALSE(garbage);
  EXPECT_EQ(garbage.error().kind, base::ErrorKind::environment);
  EXPECT_THAT(garbage.error().describe(), HasSubstr("can't execute it: Exec format error"));

  SpawnSpec closed = spec({"true"});
  closed.extra_fds = {{9, 4000}};
  const auto bad_fd = ChildProcess::spawn(reactor_, *containment_, closed);
  ASSERT_FALSE(bad_fd);
  EXPECT_THAT(bad_fd.error().describe(), HasSubstr("descriptor 9"));
  // None of them left a zombie.
  EXPECT_TRUE(containment_->processes().empty());
}

TEST_P(ChildProcessTest, StopKillsEvenAStoppedChild) {
  auto child = spawn(spec({"sleep", "100"}));
  ASSERT_TRUE(child->signal(SIGSTOP));
  const pid_t pid = child->pid();
  reactor_.run_until(
      [pid] {
        const auto stat = read_stat(pid);
        return stat && stat->state == 'T';
      },
      soon());
  const ExitStatus status = child->stop(std::chrono::milliseconds(50));
  EXPECT_EQ(status.signal, SIGKILL);
  EXPECT_FALSE(read_stat(pid));
}

TEST_P(ChildProcessTest, StopIsGentleFirst) {
  auto child = spawn(shell("trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done"));
  reactor_.run_until([&] { return !child->last_lines().empty(); }, soon());
  EXPECT_EQ(child->stop(seconds(30)).exit_code, 3);
}

TEST_P(ChildProcessTest, WaitsAreBounded) {
  auto child = spawn(spec({"sleep", "100"}));
  const auto status = child->wait_exit(base::Deadline::in(std::chrono::milliseconds(20)));
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().kind, base::ErrorKind::timeout);
}

TEST_P(ChildProcessTest, AGrandchildThatHoldsThePipeDoesNotDelayTheEnd) {
  auto child = spawn(shell("sleep 1000 & echo parent; exit 0"));
  ASSERT_TRUE(child->wait_exit(soon()));
  EXPECT_THAT(child->take_lines(), ElementsAre("parent"));
  EXPECT_FALSE(containment_->processes().empty());
  EXPECT_TRUE(containment_->kill_all(soon()));
  EXPECT_TRUE(containment_->processes().empty());
}

TEST_P(ChildProcessTest, FloodsAreBounded) {
  const std::string log = ::testing::TempDir() + "/flood-" + std::to_string(::getpid());
  SpawnSpec wanted = shell(
      "echo first; i=0; while [ $i -lt 300 ]; do head -c 100000 /dev/zero; echo; i=$((i+1)); done;"
      " yes line | head -n 50000; echo last");
  wanted.log_file = log;
  wanted.log_bytes_max = 1 << 20;
  auto child = spawn(wanted);
  const auto status = child->wait_exit(base::Deadline::in(seconds(100)));
  ASSERT_TRUE(status) << status.error().describe();
  const auto lines = child->take_lines();
  EXPECT_EQ(lines.size(), 2000U);
  EXPECT_EQ(lines.back(), "last");
  EXPECT_GT(child->take_dropped_bytes(), 48000U * 5 - 1);
  for (const auto& line : lines) EXPECT_LE(line.size(), 410U);
  EXPECT_LE(child->last_lines().size(), 40U);
  struct stat info {};
  ASSERT_EQ(::stat(log.c_str(), &info), 0);
  EXPECT_LT(info.st_size, (1 << 20) + 200);
  std::stringstream content;
  content << std::ifstream(log).rdbuf();
  const std::string text = content.str();
  EXPECT_EQ(text.substr(0, 6), "first\n");
  EXPECT_THAT(text, HasSubstr(" bytes dropped ...]\n"));
  EXPECT_EQ(text.substr(text.size() - 5), "last\n");
  ::unlink(log.c_str());
}

TEST_P(ChildProcessTest, HostileOutputIsMadePrintable) {
  auto child = spawn(spec({"printf", "\\033]0;owned\\007 \\377\\r\\n"}));
  ASSERT_TRUE(child->wait_exit(soon()));
  EXPECT_THAT(child->take_lines(), ElementsAre("\\x1b]0;owned\\x07 \\xff"));
}

TEST_P(ChildProcessTest, ManyChildrenLeaveNothingBehind) {
  ASSERT_TRUE(run_command(reactor_, *containment_, spec({"true"}), soon()));
  const auto fds = count_fds(::getpid());
  const auto threads = read_stat(::getpid());
  for (int i = 0; i < 50; ++i) {
    auto child = spawn(i % 2 == 0 ? spec({"true"}) : spec({"sleep", "100"}));
    if (i % 2 == 0) {
      ASSERT_TRUE(child->wait_exit(soon()));
    }
  }
  reactor_.poll();
  EXPECT_EQ(*count_fds(::getpid()), *fds);
  EXPECT_EQ(read_stat(::getpid())->thread_count, threads->thread_count);
  EXPECT_TRUE(containment_->processes().empty());
}

TEST_P(ChildProcessTest, AStoppedRunStillEndsItsChildren) {
  StopRequest stop;
  Reactor reactor(&stop);
  auto child = ChildProcess::spawn(reactor, *containment_, spec({"sleep", "100"}));
  ASSERT_TRUE(child);
  stop.raise();
  stop.raise();
  const auto status = (*child)->wait_exit(soon());
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().kind, base::ErrorKind::interrupted);
  EXPECT_EQ((*child)->stop(seconds(30)).signal != 0, true);
}

}  // namespace
}  // namespace migsoak::proc
