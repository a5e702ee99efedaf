// Trouble while a run goes on: whoever breaks is named, the exit status says whose fault it is, nothing is left.
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "run_migsoak.h"

namespace migsoak::integration {

namespace {

using std::chrono::seconds;
using testing::AnyOf;
using testing::HasSubstr;
using testing::StartsWith;

constexpr const char* kScenario = R"(name = "trouble"
iterations = 5
[guest]
workload = "idle"
[run]
spawn_deadline_s = 4
migrate_deadline_s = 6
answer_deadline_s = 6
quit_deadline_s = 5
)";

class Trouble : public MigsoakTest {
 protected:
  std::string scenario(const std::string& target_lines = "") const {
    return write("s.toml", kScenario + two_sides() + served_disk(target_lines + "\n"));
  }
  std::string db() const { return path("r.db"); }
  // "--set" before each.
  std::vector<std::string> run(const std::vector<std::string>& sets, const std::string& target_lines = "") const {
    std::vector<std::string> arguments = {"run", scenario(target_lines), "--db", db()};
    for (const std::string& set : sets) arguments.insert(arguments.end(), {"--set", set});
    return arguments;
  }
  // One finding of `detector`, about `process`, with the subject to blame.
  base::Json expect_blamed(const Outcome& outcome, const std::string& detector, const std::string& process) const {
    EXPECT_EQ(outcome.status, 1) << describe(outcome);
    const base::Json all = findings(db());
    EXPECT_EQ(all.value("verdict", ""), "fail");
    base::Json finding = only(all, detector);
    EXPECT_EQ(finding.value("process", ""), process) << describe(outcome);
    EXPECT_EQ(finding.value("blame", ""), "subject") << describe(outcome);
    EXPECT_EQ(finding.value("severity", ""), "fail") << describe(outcome);
    EXPECT_FALSE(finding.value("title", "").empty());
    EXPECT_LE(finding.value("title", "").size(), 400U) << "one line a person reads: " << finding.value("title", "");
    return finding;
  }
  void start_over() const {
    expect_nothing_left();
    for (const char* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(db() + suffix);
  }
  // False when it ended before.
  static bool first_iteration_done(Running& running) {
    bool done = false;
    const auto seen = [&] {
      done = running.err().find("iteration 1/") != std::string::npos;
      return done || running.ended();
    };
    return eventually(seen, seconds(90)) && done;
  }
};

TEST_F(Trouble, TargetsThatNeverServe) {
  Outcome outcome = migsoak(run({"target.disk0.wrapper=/bin/false"}));
  base::Json finding = expect_blamed(outcome, "crash", "target:disk0");
  EXPECT_THAT(finding.value("title", ""), HasSubstr("status 1"));
  EXPECT_THAT(outcome.err, HasSubstr("lost in iteration 0"));
  start_over();
  outcome = migsoak(run({}, "kind = \"command\"\nargv = [\"/bin/sh\", \"-c\", \"echo sorry; exit 7\", \"{socket}\"]"));
  finding = expect_blamed(outcome, "crash", "target:disk0");
  EXPECT_THAT(finding.dump(), AllOf(HasSubstr("status 7"), HasSubstr("sorry")));
  start_over();
  outcome = migsoak(run({"run.spawn_deadline_s=1"},
                        "kind = \"command\"\nargv = [\"/bin/sh\", \"-c\", \"exec sleep 600\", \"{socket}\"]"));
  finding = expect_blamed(outcome, "hang", "target:disk0");
  EXPECT_THAT(finding.value("title", ""), HasSubstr("listening socket"));
}

TEST_F(Trouble, TargetStoppedFromOutside) {
  std::vector<std::string> arguments = run({});
  arguments.insert(arguments.end(), {"--iterations", "100000"});
  Running running = start(arguments);
  ASSERT_TRUE(first_iteration_done(running)) << running.err();
  pid_t target = 0;
  for (const pid_t pid : processes()) {
    if (command_line(pid).find("--export") != std::string::npos) target = pid;
  }
  ASSERT_GT(target, 0);
  ASSERT_EQ(::kill(target, SIGSTOP), 0);
  const Outcome outcome = running.wait(seconds(60));
  ASSERT_FALSE(outcome.timed_out) << describe(outcome);
  const base::Json finding = expect_blamed(outcome, "hang", "target:disk0");
  EXPECT_THAT(finding.value("title", ""), HasSubstr("target:disk0"));
}

TEST_F(Trouble, TargetBlockedInItsOwnCode) {
  const Outcome outcome = migsoak(run({"target.disk0.env.LD_PRELOAD=" + fault("hang_after"),  //
                                       "target.disk0.env.FAULT_AT=3"}),
                                  seconds(60));
  ASSERT_FALSE(outcome.timed_out) << describe(outcome);
  expect_blamed(outcome, "hang", "target:disk0");
}

TEST_F(Trouble, LostTargetMakesANewLineageWhenAsked) {
  const std::vector<std::string> crash = {"target.disk0.env.LD_PRELOAD=" + fault("crash_after"),
                                          "target.disk0.env.FAULT_AT=2", "target.disk0.env.FAULT_LIMIT=1",
                                          "target.disk0.env.FAULT_STATE=" + path("count")};
  std::vector<std::string> sets = crash;
  sets.push_back("run.on_loss=new-lineage");
  Outcome outcome = migsoak(run(sets));
  EXPECT_EQ(outcome.status, 1) << describe(outcome);
  base::Json all = findings(db());
  EXPECT_EQ(all.value("iterations", 0), 5) << describe(outcome);
  EXPECT_EQ(all["findings"].size(), 1U) << "one trouble, one finding: " << all.dump(2);
  EXPECT_EQ(only(all, "crash").value("process", ""), "target:disk0");
  EXPECT_THAT(migsoak({"report", db()}).out, HasSubstr("2 lineages"));
  start_over();
  std::filesystem::remove(path("count"));
  outcome = migsoak(run(crash));
  EXPECT_EQ(outcome.status, 1) << describe(outcome);
  EXPECT_THAT(outcome.err, HasSubstr("lost in iteration 0"));
  EXPECT_EQ(findings(db()).value("iterations", 0), 1) << describe(outcome);
  EXPECT_THAT(migsoak({"report", db()}).out, HasSubstr("1 lineage\n"));
}

TEST_F(Trouble, GuestLostWithItsQemu) {
  const Outcome outcome = migsoak(
      run({"side.b.env.LD_PRELOAD=" + fault("crash_after"), "side.b.env.FAULT_ON=loaded", "side.b.env.FAULT_AT=1",
           "side.b.env.FAULT_LIMIT=1", "side.b.env.FAULT_STATE=" + path("count"), "run.on_loss=new-lineage"}));
  const base::Json finding = expect_blamed(outcome, "crash", "qemu:b");
  EXPECT_THAT(finding.value("title", ""), HasSubstr("SIGSEGV"));
  EXPECT_EQ(findings(db()).value("iterations", 0), 5);
  EXPECT_THAT(migsoak({"report", db()}).out, HasSubstr("2 lineages"));
}

// Something that is started like a QEMU and does not talk like one.
TEST_F(Trouble, QmpThatIsNone) {
  struct Case {
    const char *mode, *detector, *said;
  };
  for (const Case& c : {Case{"garbage", "migration-failure", "not a JSON object"}, Case{"silent", "hang", "QMP"},
                        Case{"huge", "migration-failure", "a line beyond"}, Case{"close", "crash", "closed"},
                        Case{"half", "crash", "closed"}, Case{"deaf", "hang", "QMP"}}) {
    SCOPED_TRACE(c.mode);
    const Outcome outcome = migsoak(run({"side.a.wrapper=" + fault("fake_qemu"), "run.spawn_deadline_s=1",
                                         std::string("side.a.env.FAULT_MODE=") + c.mode}));
    const base::Json finding = expect_blamed(outcome, c.detector, "qemu:a");
    EXPECT_THAT(finding.value("title", ""), HasSubstr(c.said));
    start_over();
  }
  // As a destination: the guest lives on where it is.
  const Outcome outcome = migsoak(run({"side.b.wrapper=" + fault("fake_qemu"), "side.b.env.FAULT_MODE=exit",
                                       "side.b.env.FAULT_EXIT=9", "side.b.env.FAULT_LINE=no thanks"}));
  const base::Json finding = expect_blamed(outcome, "crash", "qemu:b");
  EXPECT_THAT(finding.dump(), AllOf(HasSubstr("status 9"), HasSubstr("no thanks")));
  EXPECT_THAT(migsoak({"report", db()}).out, AllOf(HasSubstr("5 of 5 iterations"), HasSubstr("1 lineage\n")));
}

// One command to a monitor of the test's own; false when nobody listens there (any more).
bool send_qmp(const std::string& socket_path, const std::string& command) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, socket_path.c_str(), sizeof address.sun_path - 1);
  bool sent = false;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    const timeval patience{2, 0};
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    char answer[4096];
    sent = true;
    for (const std::string& text : {std::string("{\"execute\": \"qmp_capabilities\"}"), command}) {
      // The greeting, then the answer to the line before.
      sent = sent && ::recv(fd, answer, sizeof answer, 0) > 0 &&
             ::send(fd, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
    }
    sent = sent && ::recv(fd, answer, sizeof answer, 0) > 0;
  }
  ::close(fd);
  return sent;
}

TEST_F(Trouble, GuestThatPanics) {
  const auto extra = [this](const std::string& side) {
    return "side." + side +
           ".extra_args=[\"-append\", \"console=ttyS0,115200 panic=0 loglevel=4 unknown_nmi_panic\", " +
           "\"-qmp\", \"unix:" + path("qmp-" + side) + ",server=on,wait=off\"]";
  };
  std::vector<std::string> arguments = run({extra("a"), extra("b")});
  arguments.insert(arguments.end(), {"--iterations", "100000"});
  Running running = start(arguments);
  ASSERT_TRUE(first_iteration_done(running)) << running.err();
  // Wherever the guest is at this moment.
  EXPECT_TRUE(eventually(
      [&] {
        for (const char* side : {"a", "b"}) send_qmp(path(std::string("qmp-") + side), "{\"execute\": \"inject-nmi\"}");
        return running.ended() || running.err().find("fail") != std::string::npos;
      },
      seconds(60)));
  const Outcome outcome = running.wait(seconds(60));
  ASSERT_FALSE(outcome.timed_out) << describe(outcome);
  const base::Json finding = expect_blamed(outcome, "guest-corruption", "guest");
  EXPECT_THAT(finding.dump(), HasSubstr("panic"));
}

TEST_F(Trouble, GuestThatPanicsBeforeItSaysHello) {
  const Outcome outcome =
      migsoak(run({"side.a.extra_args=[\"-append\", \"console=ttyS0,115200 panic=0 loglevel=4 rdinit=/nowhere\"]"}));
  const base::Json finding = expect_blamed(outcome, "guest-corruption", "guest");
  EXPECT_THAT(finding.dump(), HasSubstr("Kernel panic"));
}

TEST_F(Trouble, GuestThatFloodsItsConsole) {
  const std::string noisy =
      ".extra_args=[\"-append\", \"console=ttyS0,115200 panic=0 ignore_loglevel initcall_debug\"]";
  const Outcome outcome = migsoak(run({"side.a" + noisy, "side.b" + noisy}));
  const base::Json finding = expect_blamed(outcome, "log-signature", "guest");
  EXPECT_THAT(finding.value("title", ""), HasSubstr("flood"));
  EXPECT_EQ(findings(db()).value("iterations", 0), 5);
}

TEST_F(Trouble, TargetThatFloodsItsOutput) {
  const Outcome outcome =
      migsoak(run({"target.disk0.env.LD_PRELOAD=" + fault("log_noise"), "target.disk0.env.FAULT_BYTES=8M"}));
  EXPECT_EQ(outcome.status, 1) << describe(outcome);
  for (const base::Json& finding : findings(db())["findings"]) {
    EXPECT_EQ(finding.value("detector", ""), "log-signature") << finding.dump(2);
    EXPECT_EQ(finding.value("process", ""), "target:disk0") << finding.dump(2);
  }
  std::uintmax_t logged = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path("r.logs"))) {
    if (entry.is_regular_file()) logged += entry.file_size();
  }
  EXPECT_LT(logged, 16U << 20) << "logs are bounded";
  EXPECT_LT(std::filesystem::file_size(db()), 4U << 20) << "the record is bounded";
}

// A small file system of the test's own, gone at its end.
class SmallDisk {
 public:
  explicit SmallDisk(std::string where) : where_(std::move(where)) {
    std::filesystem::create_directory(where_);
    mounted_ = ::mount("tmpfs", where_.c_str(), "tmpfs", 0, "size=1m") == 0;
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(where_.c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  bool mounted() const { return mounted_; }
  void fill() const {
    FILE* file = std::fopen((where_ + "/filler").c_str(), "wb");
    if (file == nullptr) return;
    const std::string block(4096, 'x');
    std::setvbuf(file, nullptr, _IONBF, 0);
    while (std::fwrite(block.data(), 1, block.size(), file) == block.size()) {
    }
    std::fclose(file);
  }
  void unfill() const { std::filesystem::remove(where_ + "/filler"); }

 private:
  std::string where_;
  bool mounted_ = false;
};

TEST_F(Trouble, FullDiskUnderTheDatabase) {
  const SmallDisk disk(path("small"));
  if (!disk.mounted()) GTEST_SKIP() << "no file system can be mounted here (needs root)";
  const std::string small_db = path("small/r.db");
  std::vector<std::string> arguments = {"run", scenario(), "--db", small_db, "--iterations", "100000"};
  Running running = start(arguments);
  ASSERT_TRUE(first_iteration_done(running)) << running.err();
  ASSERT_TRUE(eventually([&] { return findings(small_db).value("iterations", 0) >= 3; }));
  disk.fill();
  const Outcome outcome = running.wait(seconds(90));
  ASSERT_FALSE(outcome.timed_out) << describe(outcome);
  EXPECT_EQ(outcome.status, 3) << describe(outcome);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("harness"), HasSubstr("full"))) << describe(outcome);
  // Readable as it is, and complete to the last finished iteration.
  const base::Json all = findings(small_db);
  EXPECT_GE(all.value("iterations", 0), 3);
  EXPECT_EQ(all.value("verdict", ""), "unknown");
  EXPECT_TRUE(all["findings"].empty()) << all.dump(2);
  const Outcome report = migsoak({"report", small_db, "--text", "--junit", path("full.xml")});
  EXPECT_EQ(report.status, 0) << describe(report);
  EXPECT_THAT(report.out, AllOf(StartsWith("UNKNOWN"), HasSubstr("of 100000 iterations")));
  EXPECT_THAT(read(path("full.xml")), HasSubstr("<error message=\"nothing found in "));
  // With room again, the run goes on where it was.
  disk.unfill();
  const int done = all.value("iterations", 0);
  arguments.back() = std::to_string(done + 2);
  arguments.emplace_back("--resume");
  const Outcome resumed = migsoak(arguments);
  EXPECT_EQ(resumed.status, 0) << describe(resumed);
  EXPECT_EQ(findings(small_db).value("iterations", 0), done + 2);
}

}  // namespace
}  // namespace migsoak::integration
