// Targets that are restarted under eight writers: what comes through, and what does not is found.
#include <map>
#include <set>

#include "run_migsoak.h"
#include "store/store.h"

namespace migsoak::integration {
namespace {

using testing::HasSubstr;

class TargetRestarts : public MigsoakTest {
 protected:
  std::string db() const { return path("r.db"); }
  // The shipped scenario, with its first restarts in these ways only.
  std::vector<std::string> run(const std::string& how, const std::string& timing,
                               const std::vector<std::string>& sets) const {
    std::vector<std::string> arguments = {"run",   std::string(MIGSOAK_SOURCE_DIR) + "/scenarios/target-restart.toml",
                                          "--db",  db(),
                                          "--set", "restart.disk0.how=[" + how + "]",
                                          "--set", "restart.disk0.timing=[" + timing + "]"};
    // A daemon that is killed alone has nothing to declare.
    if (how == "\"kill\"") arguments.insert(arguments.end(), {"--set", "restart.disk0.expect=recovers"});
    for (const std::string& set : sets) arguments.insert(arguments.end(), {"--set", set});
    return arguments;
  }
  std::vector<record::Event> restarts() const {
    std::vector<record::Event> events;
    const auto store = store::Store::open(db());
    EXPECT_TRUE(store) << (store ? "" : store.error().describe());
    if (!store) return events;
    const auto read = (*store)->for_each_event(record::event_kind::kExpectedTrouble,
                                               [&](std::int64_t, const record::Event& event) -> base::Result<void> {
                                                 EXPECT_EQ(event.detail.value("cause", ""), "restart");
                                                 if (event.detail.value("result", "") != "not-reached") {
                                                   events.push_back(event);
                                                 }
                                                 return {};
                                               });
    EXPECT_TRUE(read) << (read ? "" : read.error().describe());
    return events;
  }
};

TEST_F(TargetRestarts, KilledTheyComeBackAndEveryWriteIsThere) {
  const Outcome outcome = migsoak(run("\"kill\"", "\"between\", \"during\", \"after\"", {"iterations=16"}));
  EXPECT_EQ(outcome.status, 0) << describe(outcome);
  EXPECT_TRUE(findings(db())["findings"].empty()) << findings(db()).dump();
  const std::vector<record::Event> events = restarts();
  ASSERT_EQ(events.size(), 8U);
  std::set<std::string> timings;
  std::int64_t in_flight = 0;
  for (const record::Event& event : events) {
    timings.insert(event.detail.value("when", ""));
    EXPECT_EQ(event.detail.value("seen", ""), "as-declared") << event.detail.dump();
    EXPECT_EQ(event.subject, "target:disk0");
    EXPECT_EQ(event.detail.value("result", ""), "recovered") << event.detail.dump();
    EXPECT_GT(event.detail.value("took_ms", 0.0), 0);
    in_flight = std::max(in_flight, event.detail.value("in_flight", std::int64_t{-1}));
  }
  EXPECT_EQ(timings.size(), 3U);
  EXPECT_GT(in_flight, 1) << "restarts of an idle target prove nothing";
}

// What becomes of requests in flight is the daemon's affair and declared, the end of the guest's disk included.
TEST_F(TargetRestarts, StoppedTheyMayAnswerWithErrorsWhichIsNoFinding) {
  const Outcome outcome = migsoak(run("\"graceful\"", "\"between\", \"after\"", {"iterations=12"}));
  EXPECT_EQ(outcome.status, 0) << describe(outcome);
  EXPECT_TRUE(findings(db())["findings"].empty()) << findings(db()).dump();
  const std::vector<record::Event> events = restarts();
  ASSERT_EQ(events.size(), 6U);
  for (const record::Event& event : events) {
    const std::string result = event.detail.value("result", "");
    EXPECT_EQ(event.detail.value("allows", base::Json()), base::Json({"reconnects", "io-errors"}));
    EXPECT_TRUE(result == "recovered" || result == "io-errors") << event.detail.dump();
  }
}

// It listens, the device reconnects, the guest's requests are answered: only the content tells.
TEST_F(TargetRestarts, ATargetThatComesBackWithAnOlderDiskIsFound) {
  const Outcome outcome =
      migsoak(run("\"kill\"", "\"after\"",
                  {"iterations=4", "target.disk0.wrapper=" + fault("stale_image"),
                   "target.disk0.env.FAULT_STATE=" + path("starts"), "target.disk0.env.FAULT_AT=3"}));
  EXPECT_EQ(outcome.status, 1) << describe(outcome);
  bool found = false;
  const base::Json all = findings(db());
  for (const base::Json& finding : all["findings"]) {
    if (finding.value("detector", "") != "disk-corruption") continue;
    found = true;
    EXPECT_EQ(finding.value("first_iteration", -1), 3) << "the second restart: " << finding.dump();
    EXPECT_THAT(finding["evidence"].dump(), HasSubstr("restart (kill, after the migration) of target:disk0"));
  }
  EXPECT_TRUE(found) << all.dump();
}

TEST_F(TargetRestarts, ATargetThatDoesNotComeBackIsFound) {
  const std::string mark = path("mark");
  const Outcome outcome =
      migsoak(run("\"kill\"", "\"between\"",
                  {"iterations=4", "target.disk0.wrapper=[\"/bin/sh\", \"-c\", \"test ! -e " + mark +
                                       " || exit 9; : > " + mark + "; exec \\\"$@\\\"\", \"wrapper\"]"}));
  EXPECT_EQ(outcome.status, 1) << describe(outcome);
  const base::Json finding = only(findings(db()), "crash");
  EXPECT_EQ(finding.value("process", ""), "target:disk0");
  EXPECT_THAT(finding.value("title", ""), HasSubstr("status 9"));
  const std::vector<record::Event> events = restarts();
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].detail.value("result", ""), "lost");
  EXPECT_THAT(events[0].detail.value("why", ""), HasSubstr("exit status 9"));
}

// What is declared of a target that is restarted excuses no other one: here it stops another on its way. Taken for part
// of the restart, this would end the guest's life by plan, with nothing found.
TEST_F(TargetRestarts, ATargetThatHangsBesideARestartedOneIsFound) {
  const std::string pid = path("pid"), mark = path("mark");
  const std::string file = write("two.toml", R"(name = "two-targets"
iterations = 1
[guest]
queue_depth = 4
disk_rate = "64MiB"
[[side]]
name = "a"
[[side]]
name = "b"
[[target]]
name = "disk0"
workers = 1
wrapper = ["/bin/sh", "-c", "test ! -e )" + mark +
                                                 R"( || kill -STOP $(cat )" + pid + R"(); : > )" + mark +
                                                 R"(; exec \"$@\"", "wrapper"]
[[target]]
name = "disk1"
wrapper = ["/bin/sh", "-c", "echo $$ > )" + pid + R"(; exec \"$@\"", "wrapper"]
[[device]]
id = "vd0"
type = "vhost-user-blk"
target = "disk0"
reconnect_ms = 100
[[device]]
id = "vd1"
type = "vhost-user-blk"
target = "disk1"
[[restart]]
target = "disk0"
how = "graceful"
timing = "during"
expect = "io-errors"
[run]
migrate_deadline_s = 8
answer_deadline_s = 12
)");
  const Outcome outcome = migsoak({"run", file, "--db", db(), "--no-progress"});
  EXPECT_EQ(outcome.status, 1) << describe(outcome);
  bool found = false;
  const base::Json all = findings(db());
  for (const base::Json& finding : all["findings"]) {
    found = found || (finding.value("detector", "") == "hang" && finding.value("process", "") == "target:disk1");
  }
  EXPECT_TRUE(found) << all.dump();
  for (const record::Event& event : restarts())
    EXPECT_FALSE(event.detail.contains("ended_guest")) << event.detail.dump();
}

// Descriptors of each life of the target are a series of their own; a leak is proven within one.
TEST_F(TargetRestarts, ALeakIsFoundInATargetThatIsRestarted) {
  const Outcome outcome = migsoak(run("\"kill\"", "\"between\"",
                                      {"iterations=24", "restart.disk0.every=12", "run.config_space=false",
                                       "target.disk0.env.LD_PRELOAD=" + fault("fd_leak_eventfd")}));
  EXPECT_EQ(outcome.status, 1) << describe(outcome);
  const base::Json leak = only(findings(db()), "fd-leak");
  EXPECT_EQ(leak.value("process", ""), "target:disk0");
  EXPECT_EQ(leak.value("kind", ""), "eventfd");
}

TEST_F(TargetRestarts, ADiskThatDoesNotReconnectIsBadInput) {
  const Outcome outcome = migsoak(run("\"kill\"", "\"between\"", {"device.vd0.reconnect_ms=0"}));
  EXPECT_EQ(outcome.status, 2) << describe(outcome);
  EXPECT_THAT(outcome.err, HasSubstr("restart.target: device 'vd0' does not reconnect"));
}

}  // namespace
}  // namespace migsoak::integration
