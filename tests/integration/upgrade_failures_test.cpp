// Every way of failing in every mode of hot upgrade, once: each attempt ends with a verdict by its deadline, the
// guest's fate is on record and is the expected one, the guest that lives is intact and migrates, and nothing is left.
// Prints the table.
#include <algorithm>
#include <cstdio>
#include <set>
#include <sstream>

#include "base/text.h"
#include "ops/modes/mode.h"
#include "ops/upgrade_failures/upgrade_failure.h"
#include "plan/load.h"
#include "plan/planner.h"
#include "run_migsoak.h"
#include "scenario/scenario.h"
#include "store/store.h"

namespace migsoak::integration {

namespace {

constexpr int kDeadlineS = 4;
// Beyond its deadline an attempt takes: stacks of what hangs, going back, the verification.
constexpr double kVerdictMsMax = 1000.0 * (kDeadlineS + 8);

struct Expected {
  std::string fate, how;  // how empty: any
};

// What becomes of the guest. A test that finds it otherwise has found news.
Expected expected(const std::string& mode, const std::string& failure) {
  const bool never_starts = failure == "missing-binary" || failure == "not-executable" || failure == "state-unwritable";
  if (mode == "cpr-exec") return never_starts ? Expected{"source", ""} : Expected{"lost", ""};
  if (mode == "cpr-reboot") {
    if (failure == "state-unwritable") return {"source", ""};
    return failure == "state-truncated" ? Expected{"lost", ""} : Expected{"source", "started-again"};
  }
  return {"source", failure == "hangs-after-load" ? "resumed" : ""};
}

class UpgradeFailures : public MigsoakTest {
 protected:
  // A scenario in which that mode meets each failure that can happen to it.
  std::string scenario(const std::string& mode) const {
    std::ostringstream text;
    text << "name = \"failures\"\niterations = 1\n[guest]\nmachine = \"q35\"\nram_verify = \"8MiB\"\n";
    for (const char* side : {"a", "b"}) text << "[[side]]\nname = \"" << side << "\"\nqemu = \"debian:forky\"\n";
    text << "[[target]]\nname = \"disk0\"\n[[device]]\nid = \"vd0\"\ntype = \"vhost-user-blk\"\ntarget = \"disk0\"\n"
         << "[migration]\nmode = \"" << mode << "\"\n[run]\non_loss = \"new-lineage\"\n"
         << "[upgrade]\ndeadline_s = " << kDeadlineS << "\nfailure = [";
    for (const ops::UpgradeFailure& failure : ops::upgrade_failures()) {
      if (ops::applies(failure, *ops::find_mode(mode), "unix")) text << '"' << failure.name << "\", ";
    }
    text << "]\n";
    return write(mode + ".toml", text.str());
  }

  // The seed with which the first plans have each failure once. Draws are independent, so there is one soon.
  static std::int64_t seed_for_all(const std::string& file, int& count) {
    for (std::int64_t seed = 1; seed < 200'000; ++seed) {
      const auto loaded = plan::load_scenario(file, {"seed=" + std::to_string(seed)});
      if (!loaded) break;
      count = static_cast<int>(loaded->upgrade.failures.size());
      plan::Planner planner(*loaded);
      std::set<std::string> drawn;
      for (int i = 0; i < count && static_cast<int>(drawn.size()) == i; ++i) {
        drawn.insert(planner.plan(i).upgrade_failure);
      }
      if (static_cast<int>(drawn.size()) == count) return seed;
    }
    return -1;
  }

  void meets_all(const std::string& mode);
  static void check(const std::string& mode, const record::Observation& observation);
};

void UpgradeFailures::check(const std::string& mode, const record::Observation& observation) {
  const std::string& failure = observation.plan.upgrade_failure;
  SCOPED_TRACE(mode + ", " + failure);
  const auto is_attempt = [](const record::Event& e) {
    return e.kind == record::event_kind::kExpectedTrouble && e.detail.value("cause", "") == "upgrade-failure";
  };
  ASSERT_EQ(std::count_if(observation.events.begin(), observation.events.end(), is_attempt), 1);
  const record::Event& event = *std::find_if(observation.events.begin(), observation.events.end(), is_attempt);
  const base::Json& detail = event.detail;
  const auto word = [&detail](const char* key) { return base::json_get<std::string>(detail, key, ""); };
  const Expected wanted = expected(mode, failure);
  const bool lives = wanted.fate == "source";
  const double took_ms = base::json_get<double>(detail, "took_ms", -1);
  std::printf("%-12s %-17s %-16s %-7s %-13s %6.0f ms  %s\n", mode.c_str(), failure.c_str(), word("result").c_str(),
              word("fate").c_str(), word("how").c_str(), took_ms, base::printable(word("why"), 110).c_str());
  EXPECT_EQ(word("what"), failure);
  EXPECT_EQ(word("fate"), wanted.fate) << detail.dump(1);
  if (!wanted.how.empty()) {
    EXPECT_EQ(word("how"), wanted.how);
  }
  EXPECT_FALSE(word("why").empty());
  EXPECT_GT(took_ms, 0);
  EXPECT_LT(took_ms, kVerdictMsMax);
  EXPECT_EQ(word("seen"), lives ? "as-declared" : "otherwise");
  EXPECT_EQ(base::json_get<bool>(detail, "intact", false), lives);
  EXPECT_EQ(base::json_get<bool>(detail, "migrates", false), lives);
  EXPECT_EQ(detail.contains("hang"), failure.starts_with("hangs-") || word("result") == "hang");
  EXPECT_EQ(observation.status, lives ? record::IterationStatus::completed : record::IterationStatus::lost);
  for (const record::ProcessEnd& ended : observation.processes_ended) EXPECT_TRUE(ended.expected);
}

void UpgradeFailures::meets_all(const std::string& mode) {
  const std::string file = scenario(mode);
  int count = 0;
  const std::int64_t seed = seed_for_all(file, count);
  ASSERT_GT(seed, 0);
  const Outcome run = migsoak({"run", file, "--db", path("r.db"), "--iterations", std::to_string(count), "--seed",
                               std::to_string(seed), "--no-progress"},
                              std::chrono::seconds(240));
  if (run.status == 3 && run.err.find("could not be fetched") != std::string::npos) {
    GTEST_SKIP() << "QEMU 11.1 is not in the fleet, and no Debian mirror in reach";
  }
  const auto store = store::Store::open(path("r.db"));
  ASSERT_TRUE(store) << describe(run);
  std::set<std::string> lost;
  int seen = 0;
  const auto visited =
      (*store)->for_each_observation([&](const record::Observation& observation) -> base::Result<void> {
        ++seen;
        check(mode, observation);
        if (observation.status == record::IterationStatus::lost) {
          lost.insert(mode + ":" + observation.plan.upgrade_failure + ":lost");
        }
        return {};
      });
  ASSERT_TRUE(visited);
  EXPECT_EQ(seen, count) << describe(run);
  // One finding for each way in which the guest was lost, no other of any kind: nothing hung, crashed or was left.
  std::set<std::string> found;
  const base::Json all = findings(path("r.db"));
  for (const base::Json& finding : all["findings"]) {
    EXPECT_EQ(finding.value("detector", ""), "upgrade-failure") << finding.dump(1);
    EXPECT_EQ(finding.value("blame", ""), "subject");
    found.insert(finding.value("kind", ""));
  }
  EXPECT_EQ(found, lost);
  EXPECT_EQ(run.status, lost.empty() ? 0 : 1) << describe(run);
}

// Nobody asked for it: the new side's command line is wrong, and by the time QEMU says so the old image is gone.
TEST_F(UpgradeFailures, AHotUpgradeThatLosesTheGuestUnprovoked) {
  const std::string file =
      write("lost.toml",
            "name = \"lost\"\niterations = 3\n[guest]\nworkload = \"idle\"\n[[side]]\nname = \"a\"\nqemu = "
            "\"debian:forky\"\n[[side]]\nname = \"b\"\nqemu = \"debian:forky\"\n[migration]\nmode = \"cpr-exec\"\n");
  const Outcome clean = migsoak({"run", file, "--db", path("clean.db"), "--no-progress"});
  if (clean.status == 3 && clean.err.find("could not be fetched") != std::string::npos) {
    GTEST_SKIP() << "QEMU 11.1 is not in the fleet, and no Debian mirror in reach";
  }
  EXPECT_EQ(clean.status, 0) << describe(clean);
  const Outcome run =
      migsoak({"run", file, "--db", path("r.db"), "--no-progress", "--set", "side.b.extra_args=[\"-no-such-option\"]"});
  EXPECT_EQ(run.status, 1) << describe(run);
  const base::Json finding = only(findings(path("r.db")), "upgrade-failure");
  EXPECT_EQ(finding.value("kind", ""), "cpr-exec:unprovoked:lost");
  EXPECT_EQ(finding.value("process", ""), "qemu:b");
  EXPECT_EQ(finding.value("first_iteration", -1), 0);
  EXPECT_THAT(finding.value("title", ""), testing::HasSubstr("by cpr-exec lost the guest in iteration 0"));
  EXPECT_THAT(finding.dump(), testing::HasSubstr("-no-such-option: invalid option"));
}

TEST_F(UpgradeFailures, Precopy) {
  meets_all("precopy");
}
TEST_F(UpgradeFailures, Local) {
  meets_all("local");
}
TEST_F(UpgradeFailures, CprReboot) {
  meets_all("cpr-reboot");
}
TEST_F(UpgradeFailures, CprTransfer) {
  meets_all("cpr-transfer");
}
TEST_F(UpgradeFailures, CprExec) {
  meets_all("cpr-exec");
}

}  // namespace

}  // namespace migsoak::integration
