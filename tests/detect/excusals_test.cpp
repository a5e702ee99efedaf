// What declarations excuse, and what they do not. Restarts that the plan asked for: counts go on behind them.
#include "detect/excusals.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/text.h"
#include "detect/catalog.h"
#include "soak_model.h"

namespace migsoak::detect {
namespace {

using namespace testing;
namespace kinds = record::event_kind;

record::Event restart(const std::string& expect, const std::string& target = kTarget,
                      const std::string& how = "graceful") {
  return event(kinds::kTargetRestart, target, "restart (" + how + ", after the migration) of " + target,
               {{"how", how}, {"timing", "after"}, {"expect", expect}, {"result", "io-errors"}});
}

record::Event disk(base::Json detail, const std::string& device = "vd0") {
  return event(kinds::kDiskCorruption, "guest:disk:" + device, "blocks", std::move(detail), "verify");
}

const char* const kConsole = "[   12.3] I/O error, dev vda, sector 8 op 0x1:(WRITE) flags 0x8800";

struct Told {
  std::vector<record::Finding> findings;
  std::vector<record::Exclusion> exclusions;
};

Told told_of_change(const Change& change, std::vector<std::string> report = {}) {
  record::Manifest m = manifest();
  m.targets.push_back({"disk1", "qemu-storage-daemon", "one", 1024, {{"vd9", "vhost-user-blk", 1}}});
  m.gate.report_benign = std::move(report);
  const auto tell = [&m](const Change& events) {
    Judge judge(m);
    Soak soak;
    run(judge, soak, 4, events);
    return Told{judge.findings(), judge.exclusions()};
  };
  Told old = tell(change);
  const Told now = tell(in_todays_form(change));
  EXPECT_EQ(describe(now.findings), describe(old.findings));
  EXPECT_EQ(now.exclusions, old.exclusions);
  return old;
}

Told told_of(const std::vector<record::Event>& events, std::vector<std::string> report = {},
             record::IterationStatus status = record::IterationStatus::completed) {
  return told_of_change(
      [&events, status](record::Observation& o, Soak&) {
        if (o.iteration != 2) return;
        o.status = status;
        o.events = events;
      },
      std::move(report));
}

std::int64_t excluded_times(const Told& told, const std::string& name, const std::string& detector) {
  for (const record::Exclusion& exclusion : told.exclusions) {
    if (exclusion.name == name && exclusion.detector == detector) return exclusion.count;
  }
  return 0;
}

TEST(PlannedRestarts, DeclaredErrorsAreCountedAndNoFinding) {
  const Told told =
      told_of({disk({{"io_errors", 6}}), event(kinds::kConsoleLine, "guest", kConsole), restart("io-errors")});
  EXPECT_TRUE(told.findings.empty()) << describe(told.findings);
  EXPECT_EQ(excluded_times(told, "restart-io-errors", "disk-corruption"), 6);
  EXPECT_EQ(excluded_times(told, "restart-io-errors", "log-signature"), 1);
}

TEST(PlannedRestarts, SwitchedOffTheExclusionBringsTheFindingBack) {
  const Told told =
      told_of({disk({{"io_errors", 6}}), event(kinds::kConsoleLine, "guest", kConsole), restart("io-errors")},
              {"restart-io-errors"});
  EXPECT_EQ(of(told.findings, "disk-corruption").size(), 1U) << describe(told.findings);
  EXPECT_EQ(of(told.findings, "log-signature").size(), 1U) << describe(told.findings);
  EXPECT_EQ(excluded_times(told, "restart-io-errors", "disk-corruption"), 0);
}

TEST(PlannedRestarts, WithoutTheDeclarationAnErrorIsAFinding) {
  for (const auto& events : {std::vector<record::Event>{disk({{"io_errors", 1}})},
                             std::vector<record::Event>{disk({{"io_errors", 1}}), restart("recovers")},
                             // of a disk that this target does not serve
                             std::vector<record::Event>{disk({{"io_errors", 1}}, "plain0"), restart("io-errors")},
                             std::vector<record::Event>{disk({{"io_errors", 1}}), restart("io-errors", "target:x")}}) {
    const auto findings = told_of(events).findings;
    ASSERT_EQ(findings.size(), 1U) << describe(findings);
    EXPECT_EQ(findings[0].kind, "io-errors");
  }
}

TEST(PlannedRestarts, LostWritesAreFindingsWhateverIsDeclared) {
  for (const char* trouble : {"lost", "stale", "torn", "misplaced", "garbage"}) {
    const Told told = told_of({disk({{"io_errors", 6}, {trouble, 2}}), restart("io-errors")});
    ASSERT_EQ(told.findings.size(), 1U) << trouble;
    EXPECT_EQ(told.findings[0].kind, trouble);
    EXPECT_EQ(told.findings[0].title.find("I/O errors"), std::string::npos) << told.findings[0].title;
    EXPECT_EQ(excluded_times(told, "restart-io-errors", "disk-corruption"), 6);
  }
  const Told told = told_of({disk({{"io_errors", 1}, {"gone", true}}), restart("io-errors")});
  ASSERT_EQ(told.findings.size(), 1U);
  EXPECT_EQ(told.findings[0].evidence["restarts"].size(), 1U);
}

// Known of a daemon's orderly end, corruption is waived for that; a SIGKILL's, or another disk's, is not.
TEST(PlannedRestarts, AWaiveIsForOneWayToEndTheTarget) {
  record::Manifest m = manifest();
  record::Waive waive;
  waive.detector = "disk-corruption";
  waive.restart = "graceful";
  waive.reason = "the successor does requests once more";
  m.gate.waives = {waive};
  const auto told = [&m](const std::vector<record::Event>& of_2, const std::vector<record::Event>& of_3) {
    Judge judge(m);
    Soak soak;
    run(judge, soak, 4, in_todays_form([&](record::Observation& o, Soak&) {
          if (o.iteration == 2) o.events = of_2;
          if (o.iteration == 3) o.events = of_3;
        }));
    return Told{judge.findings(), judge.exclusions()};
  };
  const record::Event misplaced = disk({{"misplaced", 2}});
  const Told graceful = told({misplaced, restart("io-errors")}, {});
  EXPECT_TRUE(graceful.findings.empty()) << describe(graceful.findings);
  EXPECT_EQ(excluded_times(graceful, "waive:disk-corruption", "disk-corruption"), 1);

  const Told both = told({misplaced, restart("io-errors")}, {misplaced, restart("recovers", kTarget, "kill")});
  ASSERT_EQ(both.findings.size(), 1U) << describe(both.findings);
  EXPECT_EQ(both.findings[0].first_iteration, 3);
  EXPECT_EQ(both.findings[0].evidence["restart"], "kill");

  EXPECT_EQ(told({misplaced}, {}).findings.size(), 1U) << "without a restart";
  EXPECT_EQ(told({disk({{"misplaced", 2}}, "plain0"), restart("io-errors")}, {}).findings.size(), 1U);
  EXPECT_EQ(told({misplaced, restart("io-errors"), restart("recovers", kTarget, "kill")}, {}).findings.size(), 1U)
      << "it may have been either";
}

TEST(PlannedRestarts, ADeclaredEndOfTheGuestIsNone) {
  for (const bool declared : {true, false}) {
    const auto findings =
        told_of_change([&](record::Observation& o, Soak&) {
          if (o.iteration != 2) return;
          o.status = record::IterationStatus::lost;
          o.events = {disk({{"io_errors", 4}, {"hangs", true}}), restart(declared ? "io-errors" : "recovers")};
          o.events.back().detail["ended_guest"] = true;
          o.events.push_back(event(kinds::kLogLine, "qemu:a", "qemu-system-x86_64: load of migration failed: Invalid"));
          o.events.push_back(event(kinds::kLogLine, kTarget, "vu_panic: virtio: invalid address for buffers"));
        }).findings;
    EXPECT_EQ(findings.empty(), declared) << describe(findings);
  }
}

// The guest's life ended by plan, with the disk that the restarted target serves.
std::vector<record::Event> ended_guest(const std::vector<record::Event>& more) {
  std::vector<record::Event> events = {disk({{"io_errors", 4}, {"hangs", true}}), restart("io-errors")};
  events.back().detail["ended_guest"] = true;
  events.insert(events.end(), more.begin(), more.end());
  return events;
}

record::Event failed_with(const std::string& error) {
  return event(kinds::kMigrationFailed, "qemu:b", error, {{"error_desc", error}, {"side", "destination"}});
}

// The state of that disk does not load, which is part of it.
TEST(Excusals, TheStateOfABrokenQueueDoesNotLoad) {
  for (const char* error : {"load of migration failed: Operation not permitted",
                            "error while loading state for instance 0x0 of device '0000:00:03.0/vhost-user-blk'",
                            "error while loading state for instance 0x0 of device '0000:00:03.0/virtio-blk'"}) {
    const Told told = told_of(ended_guest({failed_with(error)}), {}, record::IterationStatus::lost);
    EXPECT_TRUE(told.findings.empty()) << error << ": " << describe(told.findings);
    EXPECT_EQ(excluded_times(told, "restart-io-errors", "migration-failure"), 1) << error;
    EXPECT_EQ(
        of(told_of(ended_guest({failed_with(error)}), {"restart-io-errors"}, record::IterationStatus::lost).findings,
           "migration-failure")
            .size(),
        1U);
  }
}

// An excuse hides no more than was declared, though the guest's life ended by plan.
TEST(Excusals, OtherTroubleInSuchAnIterationIsFound) {
  const auto found = [](const record::Event& more) {
    return told_of(ended_guest({more}), {}, record::IterationStatus::lost).findings;
  };
  const auto refused =
      of(found(failed_with("get_pci_config_device: Bad config data: i=0x10 read: 0 device: 8 cmask: ff "
                           "wmask: 0 w1cmask:0")),
         "migration-failure");
  ASSERT_EQ(refused.size(), 1U) << describe(refused);
  EXPECT_EQ(refused[0].kind, "config-space");
  const auto other_device =
      found(failed_with("error while loading state for instance 0x0 of device '0000:00:04.0/virtio-net'"));
  ASSERT_EQ(other_device.size(), 1U) << describe(other_device);
  EXPECT_EQ(other_device[0].detector, "migration-failure");
  const auto other_target = found(event(kinds::kLogLine, "target:disk1", "vu_panic: virtio: invalid address"));
  ASSERT_EQ(other_target.size(), 1U) << describe(other_target);
  EXPECT_EQ(other_target[0].process, "target:disk1");
  const auto hang = found(event(kinds::kHang, "qemu:a", "qemu:a does not answer on QMP", {{"waiting_for", "answer"}}));
  ASSERT_EQ(hang.size(), 1U) << describe(hang);
  EXPECT_EQ(hang[0].process, "qemu:a");
}

record::Event edge(const std::string& expect) {
  return event(kinds::kDeclaredOutcome, "qemu:b", "it was refused",
               {{"expect", expect},
                {"mode", "precopy"},
                {"from", "a"},
                {"to", "b"},
                {"error", "it was refused"},
                {"reason", "older state"},
                {"result", "failed"}});
}

Change edge_iteration(const std::string& expect, record::IterationStatus status, std::vector<record::Event> events) {
  return [=](record::Observation& o, Soak&) {
    if (o.iteration != 2) return;
    o.plan.expect = expect;
    o.status = status;
    o.events = events;
  };
}

const char* const kRefusedLine = "qemu-system-x86_64: load of migration failed: Invalid argument";

TEST(Excusals, ADeclaredEdgeIsCountedAndNoFinding) {
  const Change refused = edge_iteration("refused", record::IterationStatus::failed,
                                        {event(kinds::kLogLine, "qemu:b", kRefusedLine), edge("refused")});
  const Told told = told_of_change(refused);
  EXPECT_TRUE(told.findings.empty()) << describe(told.findings);
  EXPECT_EQ(excluded_times(told, "declared-outcome", "migration-failure"), 1);
  EXPECT_EQ(excluded_times(told, "declared-outcome", "log-signature"), 1);
  const Told open = told_of_change(refused, {"declared-outcome"});
  EXPECT_EQ(of(open.findings, "migration-failure").size(), 1U) << describe(open.findings);
  EXPECT_EQ(of(open.findings, "log-signature").size(), 1U) << describe(open.findings);

  const Change lost = edge_iteration("lost", record::IterationStatus::lost, {edge("lost")});
  EXPECT_TRUE(told_of_change(lost).findings.empty()) << describe(told_of_change(lost).findings);
  EXPECT_EQ(excluded_times(told_of_change(lost), "declared-outcome", "crash"), 1);
  EXPECT_EQ(of(told_of_change(lost, {"declared-outcome"}).findings, "crash").size(), 1U);
}

// A guest that is lost where a refusal was declared is not what was declared.
TEST(Excusals, ARefusalExcusesNoLoss) {
  const auto findings =
      told_of_change(edge_iteration("refused", record::IterationStatus::lost, {edge("refused")})).findings;
  ASSERT_EQ(findings.size(), 1U) << describe(findings);
  EXPECT_EQ(findings[0].detector, "crash");
  EXPECT_EQ(findings[0].kind, "lost");
}

TEST(Excusals, ADeclaredEdgeThatCompletesIsFound) {
  const auto findings = told_of_change(edge_iteration("refused", record::IterationStatus::completed, {})).findings;
  ASSERT_EQ(findings.size(), 1U) << describe(findings);
  EXPECT_EQ(findings[0].kind, "not-as-declared");
}

// What goes on record of an iteration that did not come to it excuses nothing.
TEST(Excusals, WhatDidNotHappenExcusesNothing) {
  const auto findings = told_of_change([](record::Observation& o, Soak&) {
                          if (o.iteration != 2) return;
                          o.plan.restarts = {{"disk0", "graceful", "after", "io-errors"}};
                          o.status = record::IterationStatus::lost;
                          o.events = {disk({{"io_errors", 2}})};
                          record::Journal journal(o);
                          record::record_what_did_not_happen(journal);
                        }).findings;
  ASSERT_EQ(findings.size(), 1U) << describe(findings);
  EXPECT_EQ(findings[0].kind, "io-errors");
}

TEST(PlannedRestarts, WhatIsSaidOfTheCutConnection) {
  const std::vector<record::Event> lines = {
      event(kinds::kLogLine, "qemu:a", "qemu-system-x86_64: Failed to set msg fds."),
      event(kinds::kLogLine, "qemu:a",
            "qemu-system-x86_64: vhost VQ 0 ring restore failed: -22: Invalid argument (22)"),
      event(kinds::kLogLine, "qemu:a", "qemu-system-x86_64: Error starting vhost: Input/output error"),
      event(kinds::kLogLine, kTarget, "qemu-storage-daemon: vu_panic: Error while writing: Broken pipe")};
  EXPECT_EQ(of(told_of(lines).findings, "log-signature").size(), 4U);
  std::vector<record::Event> restarted = lines;
  restarted.push_back(restart("recovers"));
  const Told told = told_of(restarted);
  EXPECT_TRUE(told.findings.empty()) << describe(told.findings);
  EXPECT_EQ(excluded_times(told, "restart-cut-connection", "log-signature"), 4);
  EXPECT_EQ(of(told_of(restarted, {"restart-cut-connection"}).findings, "log-signature").size(), 4U);
}

// A successor that its client talks to as to the one before.
TEST(PlannedRestarts, OtherWordsOfTheTargetAreFindings) {
  const auto findings =
      told_of({event(kinds::kLogLine, kTarget, "qemu-storage-daemon: vu_panic: Invalid vring_addr message"),
               restart("io-errors")})
          .findings;
  ASSERT_EQ(findings.size(), 1U) << describe(findings);
  EXPECT_EQ(findings[0].kind, "vu-panic");
}

// Each life of the target is a series of its own.
TEST(PlannedRestarts, ALeakIsFoundInATargetThatIsRestartedEveryFiftyIterations) {
  Judge judge(manifest());
  Soak soak;
  std::int64_t born = 0;
  for (int i = 0; i < 200; ++i) {
    if (i % 50 == 0) {
      soak.restart_target();
      born = i;
    }
    record::Observation o = soak.step();
    Soak::add(o, kTarget, "fd.eventfd", static_cast<double>(o.iteration - born));
    judge.observe(o);
  }
  const auto leaks = of(judge.findings(), "fd-leak");
  ASSERT_EQ(leaks.size(), 1U) << describe(judge.findings());
  EXPECT_LT(leaks[0].detected_iteration, 15);
  EXPECT_EQ(leaks[0].count, 4) << "once in each life";
}

TEST(PlannedRestarts, ACleanTargetIsQuietHoweverOftenItIsRestarted) {
  for (const int every : {1, 2, 3, 7, 50}) {
    Judge judge(manifest());
    Soak soak;
    for (int i = 0; i < 400; ++i) {
      if (i % every == 0) soak.restart_target();
      record::Observation o = soak.step();
      // A successor has fewer: it has not served both of its clients yet; its pools fill up again.
      const int age = i % every;
      Soak::add(o, kTarget, "fd.eventfd", age == 0 ? -2 : 0);
      Soak::set(o, kTarget, soak.target_id(), "mappings", 100 + 2 * std::min(age, 60));
      Soak::set(o, kTarget, soak.target_id(), "rss_bytes", 20e6 + 9e3 * std::min(age, 60));
      judge.observe(o);
    }
    EXPECT_TRUE(judge.findings().empty()) << every << ": " << describe(judge.findings());
  }
}

// What excusals.def names is there.
TEST(Excusals, RulesNameWhatThereIs) {
  struct Rule {
    std::string name, detector, symptom, which;
  };
  const std::vector<Rule> rules = {
#define EXCUSAL(name, detectors, reason)
#define EXCUSES(name, detector, follows, when, symptom, whose, which, text) {name, detector, #symptom, which},
#include "detect/excusals.def"
#undef EXCUSES
#undef EXCUSAL
  };
  ASSERT_FALSE(rules.empty());
  for (const Rule& rule : rules) {
    const auto excusal = std::find_if(excusals().begin(), excusals().end(),
                                      [&](const Excusal& candidate) { return candidate.name == rule.name; });
    ASSERT_NE(excusal, excusals().end()) << rule.name;
    const std::vector<std::string> detectors = base::split(excusal->detectors, ' ');
    EXPECT_NE(std::find(detectors.begin(), detectors.end(), rule.detector), detectors.end())
        << rule.name << " does not list " << rule.detector;
    const bool of_line = rule.symptom == "log_line" || rule.symptom == "console_line";
    for (const std::string& which : base::split(rule.which, '|')) {
      if (!of_line || which == "*" || which == "@migration") continue;
      const auto& known = log_signatures();
      EXPECT_TRUE(std::any_of(known.begin(), known.end(), [&](const auto& one) { return one.name == which; })) << which;
    }
  }
}

}  // namespace
}  // namespace migsoak::detect
