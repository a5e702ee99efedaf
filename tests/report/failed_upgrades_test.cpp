#include "report/failed_upgrades.h"

#include <gmock/gmock.h>

#include "base/text.h"
#include "report/report.h"
#include "store/scratch.h"
#include "store/synthetic.h"

namespace migsoak::report {
namespace {

using testing::HasSubstr;
using testing::Not;

base::Json attempt(const std::string& mode, const std::string& failure, const std::string& fate,
                   const std::string& how = "", double took_ms = 100) {
  base::Json detail = {{"mode", mode}, {"failure", failure}, {"fate", fate}, {"took_ms", took_ms}};
  if (!how.empty()) detail["how"] = how;
  if (fate == "source" || fate == "destination") detail.update({{"intact", true}, {"migrates", true}});
  return detail;
}

class FailedUpgradesTest : public testing::Test {
 protected:
  void SetUp() override {
    auto created = store::Store::create(directory_.file("results.db"), synthetic::manifest(10));
    ASSERT_TRUE(created) << created.error().describe();
    store_ = std::move(*created);
  }
  void iteration(const base::Json& detail) {
    record::Observation o;
    o.iteration = next_++;
    o.plan = {o.iteration, "a", "b", "cpr-exec", "unix", "pc"};
    o.status = record::IterationStatus::completed;
    o.events.push_back({record::event_kind::kUpgradeFailure, "qemu:b", 0, "failed-upgrade", 1, "", detail});
    ASSERT_TRUE(store_->begin(o));
    ASSERT_TRUE(store_->finish(o, record::Verdict::pass));
  }
  std::string page(int width) {
    const auto out = text(*store_, width, false);
    EXPECT_TRUE(out);
    return out.value_or("");
  }
  // Each fate, and what may follow it.
  void mixed() {
    iteration(attempt("cpr-transfer", "hangs-before-qmp", "source", "kept-running", 5003.4));
    iteration(attempt("cpr-transfer", "hangs-before-qmp", "source", "resumed", 20));
    base::Json stuck = attempt("cpr-transfer", "device-init", "source", "kept-running");
    stuck["migrates"] = false;
    iteration(stuck);
    base::Json cut_short = attempt("cpr-reboot", "state-truncated", "source", "started-again");
    cut_short.erase("migrates");
    cut_short["intact"] = false;
    iteration(cut_short);
    iteration(attempt("cpr-reboot", "state-truncated", "lost"));
    iteration(attempt("cpr-exec", "missing-binary", "destination"));
    iteration(attempt("cpr-exec", "missing-binary", "unknown"));
  }

  scratch::Directory directory_;
  std::unique_ptr<store::Store> store_;
  std::int64_t next_ = 0;
};

TEST_F(FailedUpgradesTest, CountsEachAttemptOnceByWhereTheGuestIs) {
  mixed();
  const auto upgrades = failed_upgrades_of(*store_);
  ASSERT_TRUE(upgrades) << upgrades.error().describe();
  ASSERT_EQ(upgrades->rows.size(), 4u);
  const FailedUpgradeTally& total = upgrades->total;
  EXPECT_EQ(total.attempts, 7);
  EXPECT_EQ(total.kept_running, 2);
  EXPECT_EQ(total.resumed, 1);
  EXPECT_EQ(total.started_again, 1);
  EXPECT_EQ(total.new_side, 1);
  EXPECT_EQ(total.lost, 1);
  EXPECT_EQ(total.unknown, 1);
  EXPECT_EQ(total.intact, 4);
  EXPECT_EQ(total.damaged, 1);
  EXPECT_EQ(total.migrated, 3);
  EXPECT_EQ(total.not_migrated, 1);
  EXPECT_EQ(total.longest_ms, 5003);
  const FailedUpgradeTally& hangs = upgrades->rows.at({"cpr-transfer", "hangs-before-qmp"});
  EXPECT_EQ(hangs.attempts, 2);
  EXPECT_EQ(hangs.longest_ms, 5003);
  EXPECT_EQ(upgrades->rows.at({"cpr-reboot", "state-truncated"}).longest_ms, 100);
}

TEST_F(FailedUpgradesTest, IsATableOfFailuresByMode) {
  iteration(attempt("cpr-transfer", "hangs-before-qmp", "source", "kept-running", 5003.4));
  iteration(attempt("cpr-transfer", "hangs-before-qmp", "source", "resumed", 20));
  iteration(attempt("cpr-exec", "exits-at-once", "lost", "", 19));
  const std::string out = page(100);
  EXPECT_THAT(out, HasSubstr("made to fail 3 upgrades: the guest was in the old VM after 2, in the new one after 0, "
                             "lost in 1; 2\n             verified intact, 2 migrated afterwards\n"));
  EXPECT_THAT(out, HasSubstr("                             old VM                                    max\n"
                             "  failure             tries  ran on  resumed  lost  intact  migrated    ms\n"
                             "  cpr-exec\n"
                             "    exits-at-once         1       ·        ·     1       ·         ·    19\n"
                             "  cpr-transfer\n"
                             "    hangs-before-qmp      2       1        1     ·       2         2  5003\n"));
}

TEST_F(FailedUpgradesTest, WhatIsTooWideIsSaidInWords) {
  mixed();
  const std::string out = page(60);
  EXPECT_THAT(out, HasSubstr("  cpr-reboot state-truncated: tries 2, started again 1, lost\n  1, intact 0, damaged 1, "
                             "migrated 0, max ms 100\n"));
  for (const int width : {40, 60, 100, 132}) {
    for (const std::string& line : base::split(page(width), '\n')) {
      EXPECT_LE(columns_of(line), static_cast<std::size_t>(width)) << line;
    }
  }
}

TEST_F(FailedUpgradesTest, NothingIsSaidOfNone) {
  EXPECT_THAT(page(100), Not(HasSubstr("made to fail")));
}

TEST_F(FailedUpgradesTest, HostileDetailsAreEscapedAndBounded) {
  base::Json mad = attempt("cpr\033[31m", std::string(5000, 'x'), "\n", "kept-running", 1e300);
  mad["intact"] = "yes";
  mad["migrates"] = 7;
  iteration(mad);
  iteration(base::Json::array({1, 2}));
  for (int i = 0; i < 100; ++i) iteration(attempt("cpr-exec", "failure" + std::to_string(i), "lost", "", -5));
  const auto upgrades = failed_upgrades_of(*store_);
  ASSERT_TRUE(upgrades);
  EXPECT_EQ(upgrades->total.attempts, 102);
  EXPECT_EQ(upgrades->total.unknown, 2);
  EXPECT_EQ(upgrades->total.intact + upgrades->total.damaged, 0);
  EXPECT_EQ(upgrades->total.longest_ms, 1000000000000);
  const std::string out = page(100);
  EXPECT_THAT(out, Not(HasSubstr("\033")));
  EXPECT_THAT(out, HasSubstr("\n  and 42 rows more\n"));
  Page narrow(40, false);
  print_failed_upgrades(narrow, *upgrades);
  for (const std::string& line : base::split(narrow.take(), '\n')) EXPECT_LE(columns_of(line), 40u) << line;
}

}  // namespace
}  // namespace migsoak::report
