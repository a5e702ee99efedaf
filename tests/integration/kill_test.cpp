// The harness ends before its time: SIGKILL at random moments, Ctrl-C once and twice. Nothing of the run is left, the
// database opens, --resume goes on. MIGSOAK_KILLS sets the number of kills (tests/soak.sh: 20).
#include <fmt/format.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <set>

#include "run_migsoak.h"
#include "store/store.h"

namespace migsoak::integration {

namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;

class KillTest : public MigsoakTest {
 protected:
  void SetUp() override;
  void TearDown() override;

  // A run whose target leaves grandchildren behind, in a session of their own.
  std::string scenario(const std::string& target_lines) const;
  std::vector<std::string> run_arguments(const std::string& toml, std::int64_t iterations) const;
  std::string db() const { return path("results.db"); }
  // The number of the last finished iteration, -1 when there is none yet.
  std::int64_t last_finished() const;
  std::vector<store::Store::IterationRow> rows() const;
  // By the run's mark in the environment, by its directory on the command line, by the grandchild's own command line.
  std::vector<pid_t> survivors() const;
  std::vector<pid_t> grandchildren() const;
  bool run_dir_gone() const;
  void expect_all_gone() const;
  void expect_sound_database() const;
  void kill_rounds(const std::string& toml, int kills);
  void kill_round(const std::string& toml, int round, std::mt19937& random);
  void finish_resumed(const std::string& toml);

  std::string name_;
  int grandchild_seconds_ = 0;  // sleeps so long: found by it
};

void KillTest::SetUp() {
  MigsoakTest::SetUp();
  name_ = fmt::format("kill-{}", ::getpid());
  grandchild_seconds_ = 100'000'000 + ::getpid();
}

void KillTest::TearDown() {
  for (const pid_t pid : grandchildren()) ::kill(pid, SIGKILL);
  MigsoakTest::TearDown();
}

std::string KillTest::scenario(const std::string& target_lines) const {
  // What it leaves behind is known here and not the question.
  return "name = \"" + name_ + "\"\nseed = 1\n[guest]\nworkload = \"idle\"\n" + two_sides() +
         served_disk(target_lines + "\n") + "[gate]\norphan = \"warn\"\n";
}

std::vector<std::string> KillTest::run_arguments(const std::string& toml, std::int64_t iterations) const {
  return {"run", toml, "--db", db(), "--no-progress", "--iterations", std::to_string(iterations)};
}

std::vector<store::Store::IterationRow> KillTest::rows() const {
  if (!fs::exists(db())) return {};
  const auto store = store::Store::open(db());
  if (!store) return {};
  return (*store)->iterations().value_or(std::vector<store::Store::IterationRow>{});
}

std::int64_t KillTest::last_finished() const {
  std::int64_t last = -1;
  for (const auto& row : rows()) {
    if (row.status != record::IterationStatus::started) last = row.iteration;
  }
  return last;
}

std::vector<pid_t> KillTest::grandchildren() const {
  std::vector<pid_t> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    const std::string number = entry.path().filename();
    if (number.find_first_not_of("0123456789") != std::string::npos) continue;
    const pid_t pid = static_cast<pid_t>(std::stol(number));
    if (command_line(pid).find(" " + std::to_string(grandchild_seconds_)) == std::string::npos) continue;
    // A shell or a daemon may carry the number in its arguments before it becomes or starts the sleeper.
    found.push_back(pid);
  }
  return found;
}

// A zombie has neither environment nor command line: it is in none of these lists.
std::vector<pid_t> KillTest::survivors() const {
  std::vector<pid_t> found = processes();
  for (const pid_t pid : grandchildren()) found.push_back(pid);
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    const std::string number = entry.path().filename();
    if (number.find_first_not_of("0123456789") != std::string::npos) continue;
    if (read(entry.path() / "environ").find("MIGSOAK_RUN=" + name_) == std::string::npos) continue;
    found.push_back(static_cast<pid_t>(std::stol(number)));
  }
  return found;
}

bool KillTest::run_dir_gone() const {
  std::error_code error;
  const std::string base = fmt::format("{}/migsoak-{}", run_base(), ::getuid());
  return !fs::exists(base, error) || fs::is_empty(base, error);
}

void KillTest::expect_all_gone() const {
  if (eventually([this] { return survivors().empty() && run_dir_gone(); }, seconds(2))) return;
  std::string left;
  for (const pid_t pid : survivors()) left += fmt::format("\nprocess {}: {}", pid, command_line(pid));
  for (const std::string& file : run_files()) left += "\nfile " + file;
  ADD_FAILURE() << "after 2 s there is still" << left << (run_dir_gone() ? "" : "\nthe run directory");
}

void KillTest::expect_sound_database() const {
  sqlite3* handle = nullptr;
  std::string answer;
  ASSERT_EQ(sqlite3_open_v2(db().c_str(), &handle, SQLITE_OPEN_READWRITE, nullptr), SQLITE_OK);
  const auto take = [](void* into, int, char** values, char**) {
    *static_cast<std::string*>(into) += values[0];
    return 0;
  };
  EXPECT_EQ(sqlite3_exec(handle, "PRAGMA integrity_check", take, &answer, nullptr), SQLITE_OK);
  sqlite3_close(handle);
  EXPECT_EQ(answer, "ok");
  const Outcome outcome = migsoak({"findings", db(), "--json"});
  EXPECT_EQ(outcome.status, 0) << describe(outcome);
  std::int64_t expected = 0;
  for (const auto& row : rows()) EXPECT_EQ(row.iteration, expected++);
}

void KillTest::kill_round(const std::string& toml, int round, std::mt19937& random) {
  const std::int64_t before = last_finished();
  std::vector<std::string> arguments = run_arguments(toml, 100'000);
  if (fs::exists(db())) arguments.emplace_back("--resume");
  Running running = start(arguments);
  // By turns: anywhere from its first instruction on, and while iterations go by.
  if (round % 2 == 0) {
    ASSERT_TRUE(eventually([&] { return last_finished() > before || ::kill(running.pid(), 0) != 0; }, seconds(100)))
        << running.err();
    EXPECT_FALSE(grandchildren().empty()) << "there is nobody to leave behind";
  }
  ::usleep(std::uniform_int_distribution<useconds_t>(0, round % 2 == 0 ? 1'000'000 : 3'000'000)(random));
  const std::int64_t reached = last_finished();
  running.signal(SIGKILL);
  const Outcome outcome = running.wait();
  EXPECT_EQ(outcome.status, 128 + SIGKILL) << "it ended by itself\n" << describe(outcome);
  expect_all_gone();
  if (!fs::exists(db())) return;  // killed before there was anything to record
  expect_sound_database();
  EXPECT_GE(last_finished(), std::max(before, reached)) << "finished iterations are lost";
  if (round % 2 == 0) {
    EXPECT_GT(last_finished(), before);
  }
}

void KillTest::finish_resumed(const std::string& toml) {
  const std::int64_t before = last_finished();
  std::vector<std::string> arguments = run_arguments(toml, before + 4);
  if (fs::exists(db())) arguments.emplace_back("--resume");
  const Outcome outcome = migsoak(arguments);
  EXPECT_EQ(outcome.status, 0) << describe(outcome);
  EXPECT_EQ(last_finished(), before + 3);
  for (const auto& row : rows()) EXPECT_EQ(row.status, record::IterationStatus::completed) << row.iteration;
  expect_sound_database();
  expect_all_gone();
}

void KillTest::kill_rounds(const std::string& toml, int kills) {
  const char* wanted = std::getenv("MIGSOAK_SEED");
  const unsigned seed = wanted != nullptr ? static_cast<unsigned>(std::atoi(wanted)) : std::random_device{}();
  SCOPED_TRACE(fmt::format("MIGSOAK_SEED={}", seed));
  std::mt19937 random(seed);
  for (int round = 0; round < kills && !HasFailure(); ++round) {
    SCOPED_TRACE(fmt::format("round {}", round));
    kill_round(toml, round, random);
  }
  finish_resumed(toml);
  const bool marker = environment.count("MIGSOAK_CONTAINMENT") != 0;
  fmt::print("[ TABLE ] kill -9 of the harness, {}: {} times, {} iterations on record, nothing left after 2 s: {}\n",
             marker ? "marker" : "pid-namespace", kills, last_finished() + 1, HasFailure() ? "NOT" : "ok");
}

int kills_or(int fallback) {
  const char* wanted = std::getenv("MIGSOAK_KILLS");
  return wanted != nullptr ? std::atoi(wanted) : fallback;
}

bool has_pid_namespaces() {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(::unshare(CLONE_NEWPID) == 0 ? 0 : 1);
  int status = -1;
  return ::waitpid(child, &status, 0) == child && status == 0;
}

// The grandchild: a double fork, a session of its own, no descriptor and no environment of its ancestors.
TEST_F(KillTest, AtRandomMomentsNothingIsLeftAndResumeGoesOn) {
  if (!has_pid_namespaces()) GTEST_SKIP() << "needs the privilege to make a PID namespace";
  const std::string toml = write(
      "kill.toml", scenario(fmt::format(
                       "env = {{ LD_PRELOAD = \"{}\", FAULT_SECONDS = \"{}\", FAULT_LIMIT = \"2\", FAULT_AT = \"1\" }}",
                       fault("orphan"), grandchild_seconds_)));
  kill_rounds(toml, kills_or(5));
}

// Without a PID namespace strays are known by the mark in their environment: one that empties its environment and
// leaves its parents is beyond this level's promise (proc/containment.h), so this grandchild keeps it.
TEST_F(KillTest, ByMarkerTooNothingIsLeft) {
  environment["MIGSOAK_CONTAINMENT"] = "marker";
  const std::string toml =
      write("kill.toml", scenario(fmt::format("wrapper = [\"sh\", \"-c\", \"setsid -f sleep {} </dev/null >/dev/null "
                                              "2>&1; exec \\\"$@\\\"\", \"sh\"]",
                                              grandchild_seconds_)));
  kill_rounds(toml, kills_or(2));
}

// What is killed at a run's end must be that run's own, though another of the same scenario started in the same second.
TEST_F(KillTest, ByMarkerTwoRunsLeaveEachOtherAlone) {
  environment["MIGSOAK_CONTAINMENT"] = "marker";
  const std::string toml = write("two.toml", scenario(""));
  Running longer = start({"run", toml, "--db", path("longer.db"), "--no-progress", "--iterations", "25"});
  Running shorter = start({"run", toml, "--db", path("shorter.db"), "--no-progress", "--iterations", "1"});
  const Outcome first = shorter.wait();
  EXPECT_EQ(first.status, 0) << describe(first);
  const Outcome second = longer.wait();
  EXPECT_EQ(second.status, 0) << describe(second);
}

class LanesTest : public KillTest, public testing::WithParamInterface<int> {
 protected:
  std::set<std::int64_t> finished() const {
    std::set<std::int64_t> all;
    for (const auto& row : rows()) {
      if (row.status != record::IterationStatus::started) all.insert(row.iteration);
    }
    return all;
  }
  std::set<int> lanes_at_work() const {
    std::set<int> lanes;
    for (const auto& row : rows()) {
      if (row.status != record::IterationStatus::started) lanes.insert(row.lane);
    }
    return lanes;
  }
};

// Some lanes are ahead of others when the harness dies. What is missing is done by another number of lanes, and no
// iteration is forgotten between what is on record.
TEST_P(LanesTest, KilledAndResumedWithoutGaps) {
  constexpr int kIterations = 15;
  // Three guests boot at once, maybe on two busy cores; how long that takes is not the question.
  const std::string toml = write(
      "lanes.toml", scenario("") + fmt::format("[run]\nlineage = {}\nboot_deadline_s = 300\nspawn_deadline_s = 300\n"
                                               "migrate_deadline_s = 300\nanswer_deadline_s = 300\n",
                                               GetParam()));
  std::vector<std::string> arguments = run_arguments(toml, kIterations);
  arguments.insert(arguments.end(), {"--lanes", "3"});
  Running running = start(arguments);
  ASSERT_TRUE(eventually([&] { return lanes_at_work().size() == 3 || running.ended(); }, seconds(200)))
      << running.err();
  running.signal(SIGKILL);
  const Outcome killed = running.wait();
  ASSERT_EQ(killed.status, 128 + SIGKILL) << describe(killed);
  expect_all_gone();
  const std::set<std::int64_t> before = finished();
  ASSERT_LT(before.size(), kIterations);
  base::Json all = findings(db());
  EXPECT_EQ(all.value("verdict", ""), "unknown");
  EXPECT_EQ(all.value("iterations_planned", 0), kIterations);
  EXPECT_THAT(migsoak({"report", db()}).out, testing::StartsWith("UNKNOWN"));
  EXPECT_EQ(migsoak({"judge", db()}).status, 3) << "detectors have nothing to say of what did not happen";

  arguments.back() = "2";
  arguments.emplace_back("--resume");
  const Outcome resumed = migsoak(arguments, seconds(250));
  EXPECT_EQ(resumed.status, 0) << describe(resumed);
  std::set<std::int64_t> planned;
  for (std::int64_t i = 0; i < kIterations; ++i) planned.insert(i);
  EXPECT_EQ(finished(), planned) << describe(resumed);
  EXPECT_EQ(rows().size(), planned.size());
  all = findings(db());
  EXPECT_EQ(all.value("verdict", ""), "pass") << all.dump(2);
  EXPECT_EQ(migsoak({"judge", db()}).status, 0);
  expect_all_gone();
}

INSTANTIATE_TEST_SUITE_P(Lineages, LanesTest, testing::Values(0, 4), [](const auto& test) {
  return test.param == 0 ? std::string("endless") : fmt::format("of{}", test.param);
});

class StopTest : public KillTest, public testing::WithParamInterface<int> {};

TEST_P(StopTest, OneSignalEndsTheIterationAndTheRun) {
  const std::string toml = write("stop.toml", scenario(""));
  Running running = start(run_arguments(toml, 100'000));
  ASSERT_TRUE(eventually([&] { return last_finished() >= 2; }, seconds(100))) << running.err();
  // A terminal's Ctrl-C goes to a whole process group: the guest and its disks must not be in it.
  for (const pid_t pid : processes()) {
    if (pid == running.pid()) continue;
    EXPECT_NE(::getpgid(pid), ::getpgid(running.pid())) << command_line(pid);
  }
  running.signal(GetParam());
  const Outcome outcome = running.wait(seconds(60));
  EXPECT_EQ(outcome.status, 130) << describe(outcome);
  expect_all_gone();
  expect_sound_database();
  const auto store = store::Store::open(db());
  ASSERT_TRUE(store);
  const auto summary = (*store)->summary();
  ASSERT_TRUE(summary);
  EXPECT_EQ(summary->end_reason, "interrupted");
  const base::Json all = findings(db());
  EXPECT_EQ(all.value("verdict", ""), "unknown") << "a few of 100000";
  EXPECT_THAT(outcome.out, testing::HasSubstr("of 100000 iterations, but the run was interrupted"));
  EXPECT_EQ(migsoak({"judge", db()}).status, 3);
  for (const auto& row : rows()) EXPECT_EQ(row.status, record::IterationStatus::completed) << row.iteration;
  finish_resumed(toml);
}

// The target hangs, so the iteration would go on for minutes.
TEST_P(StopTest, TheSecondStopsAtOnce) {
  const std::string toml = write(
      "stop.toml", scenario(fmt::format("env = {{ LD_PRELOAD = \"{}\", FAULT_AT = \"3\" }}", fault("hang_after"))) +
                       "[run]\nspawn_deadline_s = 600\nmigrate_deadline_s = 600\nanswer_deadline_s = 600\n");
  Running running = start(run_arguments(toml, 100'000));
  ASSERT_TRUE(eventually([&] { return rows().size() >= 2; }, seconds(100))) << running.err();
  running.signal(GetParam());
  ::usleep(300'000);
  running.signal(GetParam());
  const Outcome outcome = running.wait(seconds(30));
  EXPECT_EQ(outcome.status, 130) << describe(outcome);
  expect_all_gone();
  expect_sound_database();
  EXPECT_EQ(last_finished(), 0) << "what was broken off is no finished iteration";
}

INSTANTIATE_TEST_SUITE_P(Signals, StopTest, testing::Values(SIGINT, SIGTERM), [](const auto& test) {
  return std::string(test.param == SIGINT ? "interrupt" : "terminate");
});

}  // namespace
}  // namespace migsoak::integration
