// Declarations of a plan, the one event that tells what came of them, and what records said before there was one.
#include "record/expected_trouble.h"

#include <gmock/gmock.h>

#include "record/journal.h"

namespace migsoak::record {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

Plan plan_with_all() {
  Plan plan{3, "a", "b", "cpr-exec", "unix"};
  plan.upgrade_failure = "exits-at-once";
  plan.expect = kExpectRefused;
  plan.restarts = {{"disk0", "kill", "between", "recovers"}, {"disk1", "graceful", "after", "io-errors"}};
  return plan;
}

TEST(ExpectedTrouble, APlanSaysAllThatItDeclares) {
  const std::vector<Declaration> all = declarations_of(plan_with_all());
  ASSERT_THAT(all, SizeIs(4));
  EXPECT_EQ(all[0].cause, TroubleCause::upgrade_failure);
  EXPECT_EQ(all[0].what, "exits-at-once");
  EXPECT_THAT(all[0].subjects, ElementsAre("qemu:b"));
  EXPECT_THAT(all[0].allows, ElementsAre("attempt-fails"));
  EXPECT_EQ(all[1].cause, TroubleCause::edge);
  EXPECT_EQ(all[1].what, "cpr-exec");
  EXPECT_THAT(all[1].allows, ElementsAre("refused"));
  EXPECT_EQ(all[2].cause, TroubleCause::restart);
  EXPECT_EQ(all[2].what, "kill");
  EXPECT_EQ(all[2].when, "between");
  EXPECT_THAT(all[2].allows, ElementsAre("reconnects"));
  EXPECT_THAT(all[3].allows, ElementsAre("reconnects", "io-errors"));
  EXPECT_TRUE(declares(plan_with_all(), outcome::kIoErrors));
  EXPECT_FALSE(declares(plan_with_all(), outcome::kLost));
  EXPECT_THAT(declarations_of(Plan{0, "a", "b", "precopy", "unix"}), IsEmpty());
}

TEST(ExpectedTrouble, AnInstanceIsConcernedWithItsTarget) {
  const Declaration declared{TroubleCause::restart, "kill", "after", {"target:disk1"}, {}, ""};
  EXPECT_TRUE(declared.concerns("target:disk1"));
  EXPECT_TRUE(declared.concerns("target:disk1@a"));
  EXPECT_FALSE(declared.concerns("target:disk10"));
  EXPECT_FALSE(declared.concerns("qemu:a"));
}

ExpectedTrouble restart_with_all() {
  ExpectedTrouble trouble;
  trouble.declared = {TroubleCause::restart,       "graceful", "after", {"target:disk0@a"},
                      {"reconnects", "io-errors"}, "so"};
  trouble.seen = TroubleSeen::otherwise;
  trouble.result = "io-errors";
  trouble.phase = "restart";
  trouble.at_ms = 12.5;
  trouble.took_ms = 34.25;
  trouble.text = "restart of target:disk0@a";
  trouble.why = "it was slow";
  trouble.mode = "precopy";
  trouble.from = "a";
  trouble.to = "b";
  trouble.fate = "lost";
  trouble.how = "resumed";
  trouble.intact = false;
  trouble.migrates = true;
  trouble.io_errors = 7;
  trouble.in_flight = 0;
  trouble.ended_guest = true;
  return trouble;
}

void expect_equal(const ExpectedTrouble& a, const ExpectedTrouble& b) {
  EXPECT_EQ(a.declared.cause, b.declared.cause);
  EXPECT_EQ(a.declared.what, b.declared.what);
  EXPECT_EQ(a.declared.when, b.declared.when);
  EXPECT_EQ(a.declared.subjects, b.declared.subjects);
  EXPECT_EQ(a.declared.allows, b.declared.allows);
  EXPECT_EQ(a.declared.reason, b.declared.reason);
  EXPECT_EQ(a.seen, b.seen);
  EXPECT_EQ(a.result, b.result);
  EXPECT_EQ(a.phase, b.phase);
  EXPECT_EQ(a.at_ms, b.at_ms);
  EXPECT_EQ(a.took_ms, b.took_ms);
  EXPECT_EQ(a.text, b.text);
  EXPECT_EQ(a.why, b.why);
  EXPECT_EQ(a.mode, b.mode);
  EXPECT_EQ(a.from, b.from);
  EXPECT_EQ(a.to, b.to);
  EXPECT_EQ(a.fate, b.fate);
  EXPECT_EQ(a.how, b.how);
  EXPECT_EQ(a.intact, b.intact);
  EXPECT_EQ(a.migrates, b.migrates);
  EXPECT_EQ(a.io_errors, b.io_errors);
  EXPECT_EQ(a.in_flight, b.in_flight);
  EXPECT_EQ(a.ended_guest, b.ended_guest);
}

TEST(ExpectedTrouble, WhatIsRecordedIsRead) {
  Observation observation;
  Journal journal(observation);
  const std::size_t place = record_trouble(journal, restart_with_all(), 4, {{"stop_ms", 3}});
  const Event& event = observation.events.at(place);
  EXPECT_EQ(event.kind, "expected-trouble");
  EXPECT_EQ(event.subject, "target:disk0@a");
  EXPECT_EQ(event.process_id, 4);
  EXPECT_EQ(event.detail["stop_ms"], 3);
  EXPECT_EQ(event.detail["seen"], "otherwise");
  const auto read = expected_trouble_from(event);
  ASSERT_TRUE(read);
  expect_equal(*read, restart_with_all());
  EXPECT_TRUE(ended_by_plan(observation));
}

Event old_event(const char* kind, const char* subject, base::Json detail) {
  return {kind, subject, 0, "migrate", 500, "said so", std::move(detail)};
}

TEST(ExpectedTrouble, ADeclaredEdgeOfAnOlderRecord) {
  const auto read = expected_trouble_from(old_event("declared-outcome", "qemu:b",
                                                    {{"expect", "lost"},
                                                     {"mode", "cpr-exec"},
                                                     {"from", "new"},
                                                     {"to", "old"},
                                                     {"error", "no heartbeat"},
                                                     {"reason", "no way back"},
                                                     {"result", "completed"}}));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->declared.cause, TroubleCause::edge);
  EXPECT_EQ(read->declared.what, "cpr-exec");
  EXPECT_THAT(read->declared.subjects, ElementsAre("qemu:b"));
  EXPECT_THAT(read->declared.allows, ElementsAre("lost"));
  EXPECT_EQ(read->declared.reason, "no way back");
  EXPECT_EQ(read->seen, TroubleSeen::as_declared);
  EXPECT_EQ(read->why, "no heartbeat");
  EXPECT_EQ(read->fate, "lost");
  EXPECT_TRUE(read->ended_guest);
}

TEST(ExpectedTrouble, AFailedUpgradeOfAnOlderRecord) {
  base::Json detail = {{"failure", "hangs-before-qmp"},
                       {"mode", "cpr-transfer"},
                       {"error", "it said nothing"},
                       {"took_ms", 120.5},
                       {"result", "hang"},
                       {"fate", "source"},
                       {"how", "resumed"},
                       {"intact", true},
                       {"migrates", true}};
  const auto seen = [&detail] { return expected_trouble_from(old_event("upgrade-failure", "qemu:b", detail))->seen; };
  const auto read = expected_trouble_from(old_event("upgrade-failure", "qemu:b", detail));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->declared.cause, TroubleCause::upgrade_failure);
  EXPECT_EQ(read->declared.what, "hangs-before-qmp");
  EXPECT_THAT(read->declared.allows, ElementsAre("attempt-fails"));
  EXPECT_EQ(read->mode, "cpr-transfer");
  EXPECT_EQ(read->how, "resumed");
  EXPECT_EQ(read->why, "it said nothing");
  EXPECT_EQ(read->at_ms, 500 - 120.5) << "it was recorded at its end";
  EXPECT_EQ(seen(), TroubleSeen::as_declared);
  detail["fate"] = "destination";
  EXPECT_EQ(seen(), TroubleSeen::nothing_happened) << "the new side runs the guest in spite of it";
  detail["intact"] = false;
  EXPECT_EQ(seen(), TroubleSeen::otherwise);
  detail["fate"] = "lost";
  EXPECT_EQ(seen(), TroubleSeen::otherwise);
}

TEST(ExpectedTrouble, ARestartOfAnOlderRecord) {
  base::Json detail = {{"how", "graceful"}, {"timing", "during"}, {"expect", "io-errors"}, {"result", "io-errors"},
                       {"io_errors", 3},    {"took_ms", 7.5},     {"in_flight", 2},        {"ended_guest", true}};
  const auto read = expected_trouble_from(old_event("target-restart", "target:disk0", detail));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->declared.cause, TroubleCause::restart);
  EXPECT_EQ(read->declared.what, "graceful");
  EXPECT_EQ(read->declared.when, "during");
  EXPECT_THAT(read->declared.allows, ElementsAre("reconnects", "io-errors"));
  EXPECT_EQ(read->seen, TroubleSeen::as_declared);
  EXPECT_EQ(read->io_errors, 3);
  EXPECT_EQ(read->in_flight, 2);
  EXPECT_TRUE(read->ended_guest);
  detail["expect"] = "recovers";
  EXPECT_EQ(expected_trouble_from(old_event("target-restart", "target:disk0", detail))->seen, TroubleSeen::otherwise);
}

TEST(ExpectedTrouble, WhatDidNotHappenGoesOnRecord) {
  Observation observation;
  observation.plan = plan_with_all();
  observation.status = IterationStatus::completed;
  Journal journal(observation);
  ExpectedTrouble killed;
  killed.declared = {TroubleCause::restart, "kill", "between", {"target:disk0@b"}, {"reconnects"}, ""};
  killed.result = "recovered";
  record_trouble(journal, killed, 0);
  record_what_did_not_happen(journal);
  const std::vector<ExpectedTrouble> all = expected_troubles_of(observation);
  ASSERT_THAT(all, SizeIs(4));
  for (std::size_t i = 1; i < all.size(); ++i) EXPECT_EQ(all[i].seen, TroubleSeen::nothing_happened) << i;
  EXPECT_EQ(all[1].result, "not-reached") << "the upgrade that was to fail";
  EXPECT_EQ(all[2].result, "completed") << "the edge that was to be refused";
  EXPECT_EQ(all[3].declared.what, "graceful");
}

TEST(ExpectedTrouble, AnEdgeThatFailedOtherwise) {
  Observation observation;
  observation.plan = Plan{3, "a", "b", "cpr-exec", "unix"};
  observation.plan.expect = kExpectRefused;
  observation.status = IterationStatus::lost;
  observation.events.push_back(old_event("migration-failed", "qemu:b", {{"result", "source_lost"}}));
  Journal journal(observation);
  record_what_did_not_happen(journal);
  const std::vector<ExpectedTrouble> all = expected_troubles_of(observation);
  ASSERT_THAT(all, SizeIs(1));
  EXPECT_EQ(all[0].seen, TroubleSeen::otherwise);
  EXPECT_EQ(all[0].result, "source_lost");
  EXPECT_EQ(all[0].from, "a");
}

TEST(ExpectedTrouble, ShapesAreNotTrusted) {
  EXPECT_FALSE(expected_trouble_from(old_event("hang", "qemu:b", {{"cause", "edge"}})));
  EXPECT_FALSE(expected_trouble_from(old_event("expected-trouble", "qemu:b", {{"cause", "flood"}})));
  EXPECT_FALSE(expected_trouble_from(old_event("expected-trouble", "qemu:b", base::Json::array({1}))));
  const auto odd = expected_trouble_from(old_event("expected-trouble", "qemu:b",
                                                   {{"cause", "edge"},
                                                    {"allows", 7},
                                                    {"subjects", {1, "qemu:b"}},
                                                    {"seen", "who knows"},
                                                    {"io_errors", -1e300},
                                                    {"in_flight", 1e300},
                                                    {"intact", "yes"}}));
  ASSERT_TRUE(odd);
  EXPECT_THAT(odd->declared.allows, IsEmpty());
  EXPECT_THAT(odd->declared.subjects, ElementsAre("qemu:b"));
  EXPECT_EQ(odd->seen, TroubleSeen::otherwise) << "what can't be told excuses nothing";
  EXPECT_EQ(odd->io_errors, 0);
  EXPECT_EQ(odd->in_flight, 1000000000000);
  EXPECT_FALSE(odd->intact);
  EXPECT_EQ(expected_trouble_from(old_event("target-restart", "target:x", "text"))->seen, TroubleSeen::otherwise);
}

}  // namespace
}  // namespace migsoak::record
