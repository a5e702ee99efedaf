#include "report/expected_trouble.h"

#include <gmock/gmock.h>

#include "base/text.h"
#include "record/journal.h"
#include "report/report.h"
#include "store/old_schema.h"
#include "store/scratch.h"
#include "store/synthetic.h"

namespace migsoak::report {
namespace {

using record::TroubleCause;
using testing::HasSubstr;
using testing::Not;

// As older records have them; each is also told in today's form.
record::Event upgrade(const std::string& mode, const std::string& failure, const std::string& fate,
                      const std::string& how = "", double took_ms = 100) {
  base::Json detail = {{"mode", mode}, {"failure", failure}, {"fate", fate}, {"took_ms", took_ms}};
  if (!how.empty()) detail["how"] = how;
  if (fate == "source" || fate == "destination") detail.update({{"intact", true}, {"migrates", true}});
  return {record::event_kind::kUpgradeFailure, "qemu:b", 0, "failed-upgrade", 1, "", detail};
}

record::Event restart(const std::string& how, const std::string& timing, const std::string& result,
                      std::uint64_t io_errors = 0, double took_ms = 1002.6) {
  return {record::event_kind::kTargetRestart,
          "target:disk0",
          0,
          "restart",
          1,
          "",
          {{"how", how},
           {"timing", timing},
           {"expect", how == "graceful" ? "io-errors" : "recovers"},
           {"result", result},
           {"io_errors", io_errors},
           {"took_ms", took_ms}}};
}

record::Event in_flight(record::Event event, int requests) {
  event.detail["in_flight"] = requests;
  return event;
}

record::Event of(record::Event event, const std::string& target) {
  event.subject = target;
  return event;
}

record::Event edge(const std::string& expect, const std::string& from, const std::string& to) {
  return {record::event_kind::kDeclaredOutcome,
          "qemu:" + to,
          0,
          "migrate",
          1,
          "",
          {{"expect", expect},
           {"mode", "cpr-transfer"},
           {"from", from},
           {"to", to},
           {"error", "no"},
           {"result", "failed"}}};
}

record::Event in_todays_form(const record::Event& old) {
  record::Observation observation;
  record::Journal journal(observation);
  const auto trouble = record::expected_trouble_from(old);
  if (!trouble) return old;
  record_trouble(journal, *trouble, 0);
  return observation.events.front();
}

class ExpectedTroubleTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override { open(); }
  void open(const std::string& version_of_b = "7.2.22") {
    store_.reset();
    record::Manifest manifest = synthetic::manifest(10);
    manifest.sides = {{"a", "one", "7.2.22"}, {"b", "two", version_of_b}};
    auto created = store::Store::create(directory_.file("results-" + version_of_b + ".db"), manifest);
    ASSERT_TRUE(created) << created.error().describe();
    store_ = std::move(*created);
    next_ = 0;
  }
  void iteration(const record::Event& event) {
    record::Observation o;
    o.iteration = next_++;
    const bool forth = o.iteration % 2 == 0;
    o.plan = {o.iteration, forth ? "a" : "b", forth ? "b" : "a", "precopy", "unix", "pc"};
    o.status = record::IterationStatus::completed;
    o.events.push_back(GetParam() ? in_todays_form(event) : event);
    finish(o);
  }
  void finish(const record::Observation& o) {
    ASSERT_TRUE(store_->begin(o));
    ASSERT_TRUE(store_->finish(o, record::Verdict::pass));
  }
  std::string page(int width) {
    const auto out = text(*store_, width, false);
    EXPECT_TRUE(out);
    return out.value_or("");
  }
  ExpectedTroubles troubles() {
    auto read = expected_troubles_of(*store_);
    EXPECT_TRUE(read) << read.error().describe();
    return read.value_or(ExpectedTroubles{});
  }
  void expect_it_fits() {
    for (const int width : {40, 60, 80, 100, 132}) {
      for (const std::string& line : base::split(page(width), '\n')) {
        EXPECT_LE(columns_of(line), static_cast<std::size_t>(width)) << line;
      }
    }
  }
  // Each fate, and what may follow it.
  void mixed_upgrades() {
    iteration(upgrade("cpr-transfer", "hangs-before-qmp", "source", "kept-running", 5003.4));
    iteration(upgrade("cpr-transfer", "hangs-before-qmp", "source", "resumed", 20));
    record::Event stuck = upgrade("cpr-transfer", "device-init", "source", "kept-running");
    stuck.detail["migrates"] = false;
    iteration(stuck);
    record::Event cut_short = upgrade("cpr-reboot", "state-truncated", "source", "started-again");
    cut_short.detail.erase("migrates");
    cut_short.detail["intact"] = false;
    iteration(cut_short);
    iteration(upgrade("cpr-reboot", "state-truncated", "lost"));
    iteration(upgrade("cpr-exec", "missing-binary", "destination"));
    iteration(upgrade("cpr-exec", "missing-binary", "unknown"));
  }

  scratch::Directory directory_;
  std::unique_ptr<store::Store> store_;
  std::int64_t next_ = 0;
};
INSTANTIATE_TEST_SUITE_P(OldAndNew, ExpectedTroubleTest, testing::Bool());

TEST_P(ExpectedTroubleTest, CountsEachUpgradeOnceByWhereTheGuestIs) {
  mixed_upgrades();
  const ExpectedTroubles all = troubles();
  ASSERT_EQ(all.rows.size(), 4u);
  const TroubleTally& total = all.by_cause.at(TroubleCause::upgrade_failure);
  EXPECT_EQ(total.declared, 7);
  EXPECT_EQ(total.as_declared, 2);
  EXPECT_EQ(total.otherwise, 4);
  EXPECT_EQ(total.nothing, 1);
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
  const TroubleTally& hangs =
      all.rows.at({TroubleCause::upgrade_failure, "cpr-transfer", "attempt-fails", "hangs-before-qmp", "", ""});
  EXPECT_EQ(hangs.declared, 2);
  EXPECT_EQ(hangs.longest_ms, 5003);
  EXPECT_EQ(
      all.rows.at({TroubleCause::upgrade_failure, "cpr-reboot", "attempt-fails", "state-truncated", "", ""}).longest_ms,
      100);
}

TEST_P(ExpectedTroubleTest, TooWideATableIsOneForEachCause) {
  iteration(upgrade("cpr-transfer", "hangs-before-qmp", "source", "kept-running", 5003.4));
  iteration(upgrade("cpr-transfer", "hangs-before-qmp", "source", "resumed", 20));
  iteration(upgrade("cpr-exec", "exits-at-once", "lost", "", 19));
  iteration(in_flight(restart("kill", "after", "recovered"), 3));
  iteration(in_flight(restart("kill", "between", "recovered", 0, 2006.4), 8));
  iteration(restart("graceful", "during", "not-reconnected"));
  iteration(edge("refused", "new", "old"));
  iteration(edge("refused", "new", "old"));
  iteration(edge("lost", "new", "old"));
  const std::string out = page(132);
  EXPECT_THAT(
      out,
      HasSubstr("expected     9 troubles declared, 9 brought about: 7 as declared, 2 otherwise\n"
                "  edges      2 refused as declared, 1 ended the guest as declared\n"
                "  upgrades   3 upgrades: the guest was in the old VM after 2, in the new one after 0, lost in 1; 2 "
                "verified intact, 2 migrated\n"
                "             afterwards\n"
                "  restarts   3 of 1 target: 2 recovered, 0 with I/O errors (0 errors), 0 lost, 1 not connected again\n"
                "                                        as  guest        max\n"
                "  what            from→to  times  declared  ended  lost   ms\n"
                "  migration, declared: lost\n"
                "    cpr-transfer  new→old      1         1      1     ·    ·\n"
                "  migration, declared: refused\n"
                "    cpr-transfer  new→old      2         2      ·     ·    ·\n"
                "                                   as             old VM                                    max\n"
                "  what                times  declared  otherwise  ran on  resumed  lost  intact  migrated    ms\n"
                "  upgrade by cpr-exec, made to fail\n"
                "    exits-at-once         1         ·          1       ·        ·     1       ·         ·    19\n"
                "  upgrade by cpr-transfer, made to fail\n"
                "    hangs-before-qmp      2         2          ·       1        1     ·       2         2  5003\n"
                "                                   as                               not      in   max\n"
                "  what                times  declared  otherwise  recovered  lost  back  flight    ms\n"
                "  restart of target:disk0, may bring io-errors\n"
                "    graceful, during      1         ·          1          ·     ·     1       –  1003\n"
                "  restart of target:disk0\n"
                "    kill, between         1         1          ·          1     ·     ·       8  2006\n"
                "    kill, after           1         1          ·          1     ·     ·       3  1003\n"
                "verified "));
}

TEST_P(ExpectedTroubleTest, AllCausesAreInOneTableThatFits) {
  iteration(restart("kill", "after", "recovered"));
  iteration(edge("refused", "new", "old"));
  EXPECT_THAT(page(80), HasSubstr("\n  what            from→to  times  declared  recovered  lost    ms\n"
                                  "  migration, declared: refused\n"
                                  "    cpr-transfer  new→old      1         1          ·     ·     ·\n"
                                  "  restart of target:disk0\n"
                                  "    kill, after                1         1          1     ·  1003\n"));
}

TEST_P(ExpectedTroubleTest, RestartsByHowAndTiming) {
  iteration(in_flight(restart("kill", "after", "recovered"), 3));
  iteration(in_flight(restart("kill", "between", "recovered", 0, 2006.4), 8));
  iteration(in_flight(restart("kill", "between", "recovered"), 2));
  iteration(restart("graceful", "during", "not-reconnected"));
  iteration(of(in_flight(restart("graceful", "during", "lost"), 0), "target:disk1"));
  const std::string out = page(100);
  EXPECT_THAT(out, HasSubstr("  restarts   5 of 2 targets: 3 recovered, 0 with I/O errors (0 errors), 1 lost, 1 not "
                             "connected\n             again\n"));
  EXPECT_THAT(out,
              HasSubstr("                                   as                               not      in   max\n"
                        "  what                times  declared  otherwise  recovered  lost  back  flight    ms\n"
                        "  restart of target:disk0, may bring io-errors\n"
                        "    graceful, during      1         ·          1          ·     ·     1       –  1003\n"
                        "  restart of target:disk0\n"
                        "    kill, between         2         2          ·          2     ·     ·       8  2006\n"
                        "    kill, after           1         1          ·          1     ·     ·       3  1003\n"
                        "  restart of target:disk1, may bring io-errors\n"
                        "    graceful, during      1         ·          1          ·     1     ·       ·  1003\n"));
}

TEST_P(ExpectedTroubleTest, DaemonsAreCountedApart) {
  iteration(of(restart("kill", "between", "recovered"), "libvirtd:a"));
  EXPECT_THAT(page(120), HasSubstr("  restarts   1 of 1 daemon: 1 recovered"));
  iteration(restart("kill", "between", "recovered"));
  const std::string out = page(120);
  EXPECT_THAT(out, HasSubstr("  restarts   2 of 1 target, 1 daemon: 2 recovered"));
  EXPECT_THAT(out, HasSubstr("  restart of libvirtd:a\n"));
}

TEST_P(ExpectedTroubleTest, ErrorsAndTheGuestThatEndedByThemAreCounted) {
  iteration(restart("graceful", "during", "io-errors", 5));
  record::Event ended = restart("graceful", "during", "io-errors", 2);
  ended.detail["ended_guest"] = true;
  iteration(ended);
  iteration(restart("kill", "during", "io-errors", 1));
  const std::string out = page(100);
  EXPECT_THAT(out, HasSubstr("expected     3 troubles declared, 3 brought about: 2 as declared, 1 otherwise\n"));
  EXPECT_THAT(out, HasSubstr("  restarts   3 of 1 target: 0 recovered, 3 with I/O errors (8 errors), 0 lost, 0 not "
                             "connected\n             again; 1 ended the guest, as declared\n"));
  EXPECT_THAT(out, HasSubstr("                                   as               with     I/O  guest         max\n"
                             "  what                times  declared  otherwise  errors  errors  ended  lost    ms\n"
                             "  restart of target:disk0, may bring io-errors\n"
                             "    graceful, during      2         2          ·       2       7      1     ·  1003\n"
                             "  restart of target:disk0\n"
                             "    kill, during          1         ·          1       1       1      ·     ·  1003\n"));
}

TEST_P(ExpectedTroubleTest, BuildsAreToldApartWhereThereAreSeveral) {
  open("11.1.2");
  for (int i = 0; i < 3; ++i) iteration(restart("kill", "during", "recovered"));
  const ExpectedTroubles all = troubles();
  ASSERT_EQ(all.rows.size(), 2u);
  const auto recovered = [&all](const std::string& builds) {
    return all.rows.at({TroubleCause::restart, "target:disk0", "reconnects", "kill", "during", builds}).recovered;
  };
  EXPECT_EQ(recovered("7.2.22→11.1.2"), 2);
  EXPECT_EQ(recovered("11.1.2→7.2.22"), 1);
  EXPECT_THAT(page(100), HasSubstr("    kill, during  7.2.22→11.1.2      2         2          2  "));
  expect_it_fits();
}

TEST_P(ExpectedTroubleTest, WhatIsTooWideIsSaidInWords) {
  mixed_upgrades();
  iteration(restart("kill", "during", "recovered"));
  iteration(edge("refused", "new", "old"));
  expect_it_fits();
  EXPECT_THAT(page(60),
              HasSubstr("  upgrade by cpr-reboot, made to fail state-truncated: times\n  2, as declared 0, otherwise "
                        "2, started again 1, lost 1,\n  damaged 1, max ms 100\n"));
}

// As databases of schema 1 and 2 have them.
TEST(ExpectedTroubleOfOldRecords, IsToldAlike) {
  for (const int version : {1, 2}) {
    const scratch::Directory directory;
    const std::string path = directory.file("old.db");
    {
      auto created = store::Store::create(path, synthetic::manifest(10));
      ASSERT_TRUE(created) << created.error().describe();
      std::int64_t number = 0;
      for (const record::Event& event :
           {upgrade("cpr-exec", "exits-at-once", "source", "resumed", 19.5),
            in_flight(restart("graceful", "after", "io-errors", 4, 7.5), 2), edge("refused", "new", "old")}) {
        record::Observation o;
        o.iteration = number++;
        o.plan = {o.iteration, "a", "b", "precopy", "unix", "pc"};
        o.status = record::IterationStatus::completed;
        o.events.push_back(event);
        ASSERT_TRUE((*created)->begin(o));
        ASSERT_TRUE((*created)->finish(o, record::Verdict::pass));
      }
    }
    store::turn_back(path, version);
    const auto opened = store::Store::open(path);
    ASSERT_TRUE(opened) << opened.error().describe();
    const auto all = expected_troubles_of(**opened);
    ASSERT_TRUE(all) << all.error().describe();
    EXPECT_EQ(all->total.declared, 3);
    EXPECT_EQ(all->total.as_declared, 3);
    EXPECT_EQ(all->by_cause.at(TroubleCause::upgrade_failure).resumed, 1);
    EXPECT_EQ(all->by_cause.at(TroubleCause::upgrade_failure).longest_ms, 20);
    EXPECT_EQ(all->by_cause.at(TroubleCause::restart).io_errors, 4);
    EXPECT_EQ(all->by_cause.at(TroubleCause::restart).in_flight_max, 2);
    EXPECT_EQ(all->by_cause.at(TroubleCause::edge).stayed, 1);
  }
}

TEST_P(ExpectedTroubleTest, NothingIsSaidOfNone) {
  EXPECT_THAT(page(100), Not(HasSubstr("expected ")));
  EXPECT_THAT(page(100), Not(HasSubstr("restarts ")));
}

TEST_P(ExpectedTroubleTest, WhatDidNotHappenIsCounted) {
  record::Observation o;
  o.plan = {0, "a", "b", "precopy", "unix", "pc"};
  o.plan.expect = record::kExpectRefused;
  o.plan.restarts = {{"disk0", "kill", "after", "recovers"}};
  o.status = record::IterationStatus::completed;
  record::Journal journal(o);
  record::record_what_did_not_happen(journal);
  finish(o);
  const std::string out = page(100);
  EXPECT_THAT(out, HasSubstr("expected     2 troubles declared, 1 brought about: 0 as declared, 0 otherwise, 1 to no "
                             "effect\n"));
  EXPECT_THAT(out, HasSubstr("0 refused as declared, 0 ended the guest as declared, 1 did not fail\n"));
}

TEST_P(ExpectedTroubleTest, HostileDetailsAreEscapedAndBounded) {
  record::Event mad = upgrade("cpr\033[31m", std::string(5000, 'x'), "\n", "kept-running", 1e300);
  mad.detail["intact"] = "yes";
  mad.detail["migrates"] = 7;
  iteration(mad);
  record::Event shapeless = upgrade("", "", "");
  shapeless.detail = base::Json::array({1, 2});
  iteration(shapeless);
  for (int i = 0; i < 100; ++i) iteration(upgrade("cpr-exec", "failure" + std::to_string(i), "lost", "", -5));
  record::Event odd =
      of(restart("kill\033[31m", std::string(5000, 'x'), "\n", 18446744073709551615ull, -1e300), "target:\033\n");
  odd.detail["in_flight"] = 1e300;
  iteration(odd);
  const ExpectedTroubles all = troubles();
  const TroubleTally& upgrades = all.by_cause.at(TroubleCause::upgrade_failure);
  EXPECT_EQ(upgrades.declared, 102);
  EXPECT_EQ(upgrades.unknown, 2);
  EXPECT_EQ(upgrades.intact + upgrades.damaged, 0);
  EXPECT_EQ(upgrades.longest_ms, 1000000000000);
  const TroubleTally& restarts = all.by_cause.at(TroubleCause::restart);
  EXPECT_EQ(restarts.unknown, 1);
  EXPECT_EQ(restarts.io_errors, 1000000000000);
  EXPECT_EQ(restarts.in_flight_max, 1000000000000);
  EXPECT_EQ(restarts.longest_ms, 0);
  const std::string out = page(132);
  EXPECT_THAT(out, Not(HasSubstr("\033")));
  EXPECT_THAT(out, HasSubstr("\n  and 43 rows more\n"));
  Page narrow(40, false);
  print_expected_troubles(narrow, all);
  for (const std::string& line : base::split(narrow.take(), '\n')) EXPECT_LE(columns_of(line), 40u) << line;
}

}  // namespace
}  // namespace migsoak::report
