#include "proc/containment.h"

#include <gmock/gmock.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "proc/child_process.h"
#include "proc/proc_fs.h"
#include "proc/run_dir.h"

namespace migsoak::proc {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

base::Deadline soon() {
  return base::Deadline::in(seconds(30));
}

// Gone, or dead and only not yet waited for by whoever inherited it.
bool is_gone(pid_t pid, std::int64_t start_ticks) {
  const auto stat = read_stat(pid);
  return !stat || stat->start_ticks != start_ticks || stat->state == 'Z' || stat->state == 'X';
}

class ContainmentTest : public ::testing::TestWithParam<const char*> {
 protected:
  bool marker() const { return std::string(GetParam()) == "marker"; }
  std::unique_ptr<Containment> start(const std::string& run_dir = "") {
    if (marker()) ::setenv("MIGSOAK_CONTAINMENT", "marker", 1);
    auto started = Containment::start({"contain-" + std::to_string(::getpid()), run_dir, ""});
    ::unsetenv("MIGSOAK_CONTAINMENT");
    EXPECT_TRUE(started) << started.error().describe();
    return started ? std::move(*started) : nullptr;
  }
  std::unique_ptr<ChildProcess> spawn(Containment& containment, std::vector<std::string> argv) {
    SpawnSpec spec;
    spec.name = argv.back();
    spec.argv = std::move(argv);
    auto child = ChildProcess::spawn(reactor_, containment, spec);
    EXPECT_TRUE(child) << child.error().describe();
    return child ? std::move(*child) : nullptr;
  }
  bool settles(const std::function<bool()>& condition) {
    return reactor_.run_until(condition, soon(), milliseconds(10)) == Wait::ready;
  }
  Reactor reactor_;
};

INSTANTIATE_TEST_SUITE_P(Levels, ContainmentTest, ::testing::Values("best", "marker"),
                         [](const auto& parameter) { return std::string(parameter.param); });

// What only the stronger level can do.
class NamespaceTest : public ContainmentTest {};
INSTANTIATE_TEST_SUITE_P(Level, NamespaceTest, ::testing::Values("best"));

TEST_P(ContainmentTest, LevelIsWhatTheMachineAllows) {
  const auto containment = start();
  const bool privileged = ::geteuid() == 0 && !marker();
  EXPECT_EQ(containment->level(), privileged ? ContainmentLevel::pid_namespace : ContainmentLevel::marker);
  EXPECT_GT(containment->guardian_pid(), 0);
  EXPECT_TRUE(containment->processes().empty());
}

TEST_P(ContainmentTest, StraysAreFoundAndKilled) {
  const auto containment = start();
  auto child = spawn(*containment, {"/proc/self/exe", "role", "stray"});
  ASSERT_TRUE(settles([&] { return containment->processes().size() == 2 && containment->reparented().size() == 1; }));
  const pid_t stray = containment->reparented().front();
  EXPECT_NE(stray, child->pid());
  EXPECT_NE(::getsid(stray), ::getsid(0));
  const auto stat = read_stat(stray);
  ASSERT_TRUE(stat);
  ASSERT_TRUE(containment->kill_all(soon()));
  EXPECT_TRUE(is_gone(stray, stat->start_ticks));
  ASSERT_TRUE(child->wait_exit(soon()));
  EXPECT_EQ(child->exit_status()->signal, SIGKILL);
  EXPECT_TRUE(settles([&] { return containment->processes().empty(); }));
  // It goes on working afterwards.
  EXPECT_TRUE(spawn(*containment, {"true"})->wait_exit(soon()));
}

TEST_P(ContainmentTest, DestructionKillsStraysAndEndsTheGuardian) {
  auto containment = start();
  const pid_t guardian = containment->guardian_pid();
  const auto guardian_stat = read_stat(guardian);
  auto child = spawn(*containment, {"/proc/self/exe", "role", "stray"});
  ASSERT_TRUE(settles([&] { return containment->reparented().size() == 1; }));
  const pid_t stray = containment->reparented().front();
  const auto stat = read_stat(stray);
  ASSERT_TRUE(stat && guardian_stat);
  EXPECT_EQ(guardian_stat->comm, "migsoak-guard");
  child.reset();
  containment.reset();
  EXPECT_TRUE(is_gone(stray, stat->start_ticks));
  EXPECT_TRUE(is_gone(guardian, guardian_stat->start_ticks));
}

TEST_P(ContainmentTest, TheGuardianReapsStraysAndIgnoresSignals) {
  const auto containment = start();
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) ::kill(containment->guardian_pid(), number);
  // The grandchild ends after its parent, so that somebody else must wait for it.
  auto child = spawn(*containment, {"sh", "-c", "(sleep 0.2; exit 1) & exit 0"});
  ASSERT_TRUE(child->wait_exit(soon()));
  EXPECT_TRUE(settles([&] { return containment->processes().empty(); }));
  EXPECT_TRUE(containment->reparented().empty());
  EXPECT_TRUE(read_stat(containment->guardian_pid()));
}

TEST_P(ContainmentTest, AnotherContainmentsChildrenAreNotOurs) {
  const auto ours = start();
  const auto theirs = start();
  auto child = spawn(*theirs, {"sleep", "100"});
  EXPECT_TRUE(ours->processes().empty());
  EXPECT_TRUE(ours->reparented().empty());
  EXPECT_TRUE(ours->kill_all(soon()));
  EXPECT_FALSE(child->exited());
}

TEST_P(ContainmentTest, AnOrderlyEndLeavesTheRunDirectoryToItsOwner) {
  const auto run_dir = RunDir::create("orderly");
  ASSERT_TRUE(run_dir) << run_dir.error().describe();
  start((*run_dir)->path()).reset();
  EXPECT_EQ(::access((*run_dir)->path().c_str(), F_OK), 0);
}

TEST_P(ContainmentTest, AnExecutableThatIsNoGuardianIsRefused) {
  if (marker()) ::setenv("MIGSOAK_CONTAINMENT", "marker", 1);
  const auto started = Containment::start({"no-guardian", "", "/bin/true"});
  ::unsetenv("MIGSOAK_CONTAINMENT");
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().kind, base::ErrorKind::environment);
  EXPECT_THAT(started.error().describe(), ::testing::HasSubstr("guardian did not come up"));
}

struct HarnessReport {
  std::string level;
  std::string run_dir;
  std::vector<pid_t> pids;  // the guardian first
};

std::optional<HarnessReport> read_report(const std::string& path) {
  std::ifstream file(path);
  HarnessReport report;
  if (!(file >> report.level >> report.run_dir)) return std::nullopt;
  for (pid_t pid = 0; file >> pid;) report.pids.push_back(pid);
  return report;
}

// What everything else is for: a harness killed with SIGKILL leaves neither a process nor a file.
TEST_P(ContainmentTest, NothingOutlivesAKilledHarness) {
  const auto outer = start();
  const std::string file = ::testing::TempDir() + "/harness-" + std::to_string(::getpid());
  ::unlink(file.c_str());
  SpawnSpec spec;
  spec.name = "harness";
  spec.argv = {"/proc/self/exe", "role", "harness", file};
  spec.env = {{"MIGSOAK_CONTAINMENT", marker() ? "marker" : ""}};
  spec.outside_namespace = true;  // else only the outer guardian would be tested
  auto spawned = ChildProcess::spawn(reactor_, *outer, spec);
  ASSERT_TRUE(spawned) << spawned.error().describe();
  const std::unique_ptr<ChildProcess> harness = std::move(*spawned);
  std::optional<HarnessReport> report;
  ASSERT_TRUE(settles([&] { return (report = read_report(file)).has_value() || harness->exited(); }));
  ::unlink(file.c_str());
  ASSERT_TRUE(report) << "the harness ended: " << to_string(*harness->exit_status());
  EXPECT_EQ(report->level, marker() || ::geteuid() != 0 ? "marker" : "pid-namespace");
  ASSERT_EQ(report->pids.size(), 3U);
  EXPECT_EQ(::access(report->run_dir.c_str(), F_OK), 0);
  // Host pids in the report hold here too: /proc and the outer harness live in the outer namespace.
  std::vector<std::int64_t> starts;
  for (const pid_t pid : report->pids) {
    const auto stat = read_stat(pid);
    ASSERT_TRUE(stat) << pid;
    starts.push_back(stat->start_ticks);
  }
  ASSERT_TRUE(harness->signal(SIGKILL));
  ASSERT_TRUE(harness->wait_exit(soon()));
  const auto all_gone = [&] {
    // A subreaper (other tests of this process made it one) must wait for what it inherits.
    for (const pid_t pid : report->pids) ::waitpid(pid, nullptr, WNOHANG);
    for (std::size_t i = 0; i < starts.size(); ++i) {
      if (!is_gone(report->pids[i], starts[i])) return false;
    }
    return true;
  };
  EXPECT_EQ(reactor_.run_until(all_gone, base::Deadline::in(seconds(20)), milliseconds(5)), Wait::ready);
  EXPECT_NE(::access(report->run_dir.c_str(), F_OK), 0);
}

TEST_P(NamespaceTest, AKilledGuardianInANamespaceTakesEverythingAlong) {
  const auto containment = start();
  if (containment->level() != ContainmentLevel::pid_namespace) GTEST_SKIP() << "needs a PID namespace";
  auto child = spawn(*containment, {"sleep", "100"});
  ::kill(containment->guardian_pid(), SIGKILL);
  const auto status = child->wait_exit(soon());
  ASSERT_TRUE(status);
  EXPECT_EQ(status->signal, SIGKILL);
  SpawnSpec next;
  next.name = "next";
  next.argv = {"true"};
  const auto refused = ChildProcess::spawn(reactor_, *containment, next);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().describe(), ::testing::HasSubstr("guardian"));
}

TEST_P(NamespaceTest, AHarnessBehindAForeignProcIsRefused) {
  const auto outer = start();
  if (outer->level() != ContainmentLevel::pid_namespace) GTEST_SKIP() << "needs a PID namespace";
  auto harness = spawn(*outer, {"/proc/self/exe", "role", "harness", "/dev/null"});
  const auto status = harness->wait_exit(soon());
  ASSERT_TRUE(status);
  EXPECT_EQ(status->exit_code, 4);
}

TEST_P(ContainmentTest, ToolsOutsideSeeHostPidsAndDieToo) {
  const auto containment = start();
  SpawnSpec spec;
  spec.name = "outside";
  spec.argv = {"sh", "-c", "echo $$; sleep 1000"};
  spec.outside_namespace = true;
  auto tool = ChildProcess::spawn(reactor_, *containment, spec);
  ASSERT_TRUE(tool) << tool.error().describe();
  ASSERT_TRUE(settles([&] { return !(*tool)->last_lines().empty() && containment->processes().size() == 2; }));
  EXPECT_EQ((*tool)->last_lines().front(), std::to_string((*tool)->pid()));
  // The next one is inside again.
  auto inside = spawn(*containment, {"sh", "-c", "echo $$; sleep 1000"});
  ASSERT_TRUE(settles([&] { return !inside->last_lines().empty(); }));
  EXPECT_EQ(inside->last_lines().front() == std::to_string(inside->pid()),
            containment->level() == ContainmentLevel::marker);
  EXPECT_TRUE(containment->kill_all(soon()));
  EXPECT_TRUE((*tool)->exited() && inside->exited());
}

// As two runs of `migsoak compat` of one user are.
TEST_P(ContainmentTest, AnotherOfItsNameKeepsItsProcesses) {
  auto one = start(), other = start();
  ASSERT_TRUE(one && other);
  EXPECT_NE(one->run_id(), other->run_id());
  auto killed = spawn(*one, {"sleep", "100"});
  const auto kept = spawn(*other, {"sleep", "100"});
  ASSERT_TRUE(killed && kept);
  EXPECT_TRUE(one->kill_all(soon()));
  EXPECT_TRUE(killed->exited());
  killed.reset();
  one.reset();  // its guardian kills what bears its marker
  EXPECT_FALSE(is_gone(kept->pid(), kept->start_ticks()));
  EXPECT_TRUE(other->kill_all(soon()));
}

TEST(Spawner, RunsJobsOnOneThreadAndSurvivesExceptions) {
  const auto containment = Containment::start({"jobs", "", ""});
  ASSERT_TRUE(containment);
  pid_t first = 0;
  pid_t second = 0;
  (*containment)->on_spawner_thread([&] { first = ::gettid(); });
  (*containment)->on_spawner_thread([] { throw std::runtime_error("oops"); });
  (*containment)->on_spawner_thread([&] { second = ::gettid(); });
  EXPECT_EQ(first, second);
  EXPECT_NE(first, ::gettid());
}

}  // namespace
}  // namespace migsoak::proc
