// Upgrades that were made to fail, and upgrades that lost the guest all by themselves.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soak_model.h"

namespace migsoak::detect {
namespace {

using record::IterationStatus;
using namespace testing;
using record::IterationStatus;
using testing::Change;
using testing::describe;
using testing::event;
using ::testing::HasSubstr;
using testing::in_todays_form;
using testing::judged_both;
using testing::kTarget;
using testing::manifest;
using testing::of;
using testing::run;
using testing::Soak;
namespace kinds = record::event_kind;

// As the engine writes it (engine/upgrade_attempt.cpp).
record::Event attempt(const std::string& fate, const base::Json& more = base::Json::object()) {
  base::Json detail = {{"failure", "exits-at-once"},
                       {"mode", "cpr-exec"},
                       {"error", "qemu:b ended before QMP answered (exit status 1): it said nothing"},
                       {"took_ms", 80},
                       {"result", "source_lost"},
                       {"fate", fate}};
  detail.update(more);
  return event(kinds::kUpgradeFailure, "qemu:b", "", detail, kinds::kFailedUpgradePhase);
}

const base::Json kWell = {{"intact", true}, {"migrates", true}};

// In iteration 2 of 4; there the guest goes from a to b.
Change upgrade(const std::vector<record::Event>& events, IterationStatus status = IterationStatus::completed) {
  return [events, status](record::Observation& o, Soak&) {
    o.plan.mode = "cpr-exec";
    if (o.iteration != 2) return;
    o.status = status;
    o.events = events;
    for (const record::Event& e : events) {
      if (e.kind == kinds::kUpgradeFailure) o.plan.upgrade_failure = "exits-at-once";
    }
  };
}

// Old records and today's alike.
std::vector<record::Exclusion> exclusions_of(const Change& change, const record::Manifest& m) {
  const auto left_out = [&m](const Change& events) {
    Judge judge(m);
    Soak soak;
    run(judge, soak, 4, events);
    return judge.exclusions();
  };
  EXPECT_EQ(left_out(in_todays_form(change)), left_out(change));
  return left_out(change);
}

TEST(UpgradeFailure, AFailureThatTheGuestSurvivesIsCountedAndNoFinding) {
  const auto change = upgrade({attempt("source", kWell)});
  EXPECT_TRUE(judged_both(4, change).empty()) << describe(judged_both(4, change));
  const auto left_out = exclusions_of(change, manifest());
  ASSERT_EQ(left_out.size(), 1U);
  EXPECT_EQ(left_out[0].name, "failed-upgrade-survived");
  EXPECT_EQ(left_out[0].count, 1);
  EXPECT_FALSE(left_out[0].reason.empty());
  // The exclusion is what keeps it quiet.
  record::Manifest open = manifest();
  open.gate.report_benign = {"failed-upgrade-survived"};
  const auto findings = judged_both(4, change, open);
  ASSERT_EQ(findings.size(), 1U) << describe(findings);
  EXPECT_EQ(findings[0].kind, "cpr-exec:exits-at-once:survived");
  EXPECT_TRUE(exclusions_of(change, open).empty());
}

TEST(UpgradeFailure, ALostGuestIsOneFindingThatSaysItAll) {
  const auto findings = judged_both(4, upgrade({attempt("lost")}, IterationStatus::lost));
  ASSERT_EQ(findings.size(), 1U) << describe(findings);
  const record::Finding& finding = findings.front();
  EXPECT_EQ(finding.detector, "upgrade-failure");
  EXPECT_EQ(finding.kind, "cpr-exec:exits-at-once:lost");
  EXPECT_EQ(finding.process, "qemu:b");
  EXPECT_EQ(finding.blame, record::Blame::subject);
  EXPECT_EQ(finding.first_iteration, 2);
  EXPECT_EQ(finding.title,
            "after an upgrade from a (QEMU 7.2.22) to b (QEMU 7.2.22) by cpr-exec that failed (exits-at-once) in "
            "iteration 2, the guest is lost: qemu:b ended before QMP answered (exit status 1): it said nothing");
  EXPECT_EQ(finding.evidence["fate"], "lost");
  EXPECT_EQ(finding.evidence["mode"], "cpr-exec");
  EXPECT_EQ(finding.evidence["from"], "a");
  EXPECT_EQ(finding.evidence["detail"]["result"], "source_lost");
}

TEST(UpgradeFailure, AGuestThatLivesIsNotEnough) {
  const auto kind_of = [](const record::Event& what, IterationStatus status = IterationStatus::completed) {
    const auto findings = of(judged_both(4, upgrade({what}, status)), "upgrade-failure");
    return findings.size() == 1 ? findings[0].kind : describe(findings);
  };
  EXPECT_EQ(kind_of(attempt("source", {{"intact", false}, {"migrates", true}})), "cpr-exec:exits-at-once:damaged");
  EXPECT_EQ(kind_of(attempt("source", {{"intact", true}, {"migrates", false}})), "cpr-exec:exits-at-once:stuck");
  EXPECT_EQ(kind_of(attempt("unknown")), "cpr-exec:exits-at-once:unknown");
  // It lived, and was gone before anybody could try.
  EXPECT_EQ(kind_of(attempt("source", {{"intact", true}}), IterationStatus::lost), "cpr-exec:exits-at-once:stuck");
  // It lived, migrated, and was lost then: no fault of the attempt.
  EXPECT_EQ(kind_of(attempt("source", kWell), IterationStatus::lost), "cpr-exec:unprovoked:lost");
}

TEST(UpgradeFailure, AWaiveIsForOneModeAndOneFailure) {
  record::Manifest waived = manifest();
  waived.gate.waives = {{"upgrade-failure", "", "", "", "cpr-exec:exits-at-once:lost", "", "", "there is no way back"}};
  const auto lost = upgrade({attempt("lost")}, IterationStatus::lost);
  EXPECT_TRUE(judged_both(4, lost, waived).empty());
  const auto left_out = exclusions_of(lost, waived);
  ASSERT_EQ(left_out.size(), 1U);
  EXPECT_EQ(left_out[0].name, "waive:upgrade-failure");
  EXPECT_EQ(left_out[0].reason, "there is no way back");
  EXPECT_EQ(
      judged_both(4, upgrade({attempt("lost", {{"failure", "wrong-argument"}})}, IterationStatus::lost), waived).size(),
      1U);
  EXPECT_EQ(judged_both(4, upgrade({attempt("source", {{"intact", false}})}), waived).size(), 1U);
}

TEST(UpgradeFailure, AHotUpgradeThatLosesTheGuestUnprovoked) {
  const auto lost = {event(kinds::kLogLine, "qemu:b", "vmstate of something does not fit"),
                     event(kinds::kUnexpectedExit, "qemu:b", "qemu:b ended unasked: exit status 1",
                           {{"exit_code", 1}, {"last_lines", {"no"}}})};
  auto findings = of(judged_both(4, upgrade(lost, IterationStatus::lost)), "upgrade-failure");
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].kind, "cpr-exec:unprovoked:lost");
  EXPECT_THAT(findings[0].title, HasSubstr("lost the guest in iteration 2: qemu:b ended unasked: exit status 1"));
  EXPECT_EQ(findings[0].evidence["lines"].size(), 2U);

  const auto but = [&lost](const std::function<void(record::Observation&)>& change) {
    return of(judged_both(4,
                          [&](record::Observation& o, Soak& soak) {
                            upgrade(lost, IterationStatus::lost)(o, soak);
                            if (o.iteration == 2) change(o);
                          }),
              "upgrade-failure");
  };
  EXPECT_EQ(but([](auto&) {}).size(), 1U);
  EXPECT_TRUE(but([](auto& o) { o.plan.expect = record::kExpectLost; }).empty()) << "declared";
  EXPECT_TRUE(but([](auto& o) { o.plan.mode = "precopy"; }).empty()) << "no hot upgrade";
  EXPECT_TRUE(but([](auto& o) { o.phase = "boot"; }).empty()) << "nothing was upgraded yet";
  EXPECT_TRUE(but([](auto& o) { o.status = IterationStatus::failed; }).empty()) << "the guest is where it was";
  EXPECT_TRUE(but([](auto& o) {
                o.events.push_back(event(kinds::kTargetLost, kTarget, "", {{"why", "gone"}}));
              }).empty())
      << "the target took it along";
}

// What QEMU says of an upgrade that is made to fail is no trouble of its own; anything worse is.
TEST(UpgradeFailure, ItsWordsAreLeftOut) {
  const auto said = [](const std::string& line, const char* phase, record::Manifest m = manifest()) {
    return judged_both(
        4, upgrade({event(kinds::kLogLine, "qemu:b", line, base::Json::object(), phase), attempt("source", kWell)}),
        std::move(m));
  };
  const std::string refused = "qemu-system-x86_64: load of migration failed: Input/output error";
  const std::string unreachable = "qemu-system-x86_64: Failed to connect to '/x': No such file or directory";
  for (const std::string& line : {refused, unreachable}) {
    EXPECT_TRUE(said(line, kinds::kFailedUpgradePhase).empty()) << line;
    EXPECT_EQ(said(line, "migrate").size(), 1U) << line;
    record::Manifest open = manifest();
    open.gate.report_benign = {"failed-upgrade-words"};
    EXPECT_EQ(said(line, kinds::kFailedUpgradePhase, open).size(), 1U) << line;
  }
  EXPECT_EQ(said("qemu: migration.c:1: main: Assertion `x' failed.", kinds::kFailedUpgradePhase).size(), 1U);
  const auto left_out = exclusions_of(
      upgrade({event(kinds::kLogLine, "qemu:b", refused, {{"count", 3}}, kinds::kFailedUpgradePhase)}), manifest());
  ASSERT_EQ(left_out.size(), 1U);
  EXPECT_EQ(left_out[0].name, "failed-upgrade-words");
  EXPECT_EQ(left_out[0].count, 3);
}

}  // namespace
}  // namespace migsoak::detect
