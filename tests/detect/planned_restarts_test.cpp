// Restarts that the plan asked for: what they excuse, what they do not, and that counts go on behind them.
#include <gtest/gtest.h>

#include "soak_model.h"

namespace migsoak::detect {
namespace {

using namespace testing;
namespace kinds = record::event_kind;

record::Event restart(const std::string& expect, const std::string& target = kTarget) {
  return event(kinds::kTargetRestart, target, "restart (graceful, after the migration) of " + target,
               {{"how", "graceful"}, {"timing", "after"}, {"expect", expect}, {"result", "io-errors"}});
}

record::Event disk(base::Json detail, const std::string& device = "vd0") {
  return event(kinds::kDiskCorruption, "guest:disk:" + device, "blocks", std::move(detail), "verify");
}

const char* const kConsole = "[   12.3] I/O error, dev vda, sector 8 op 0x1:(WRITE) flags 0x8800";

struct Told {
  std::vector<record::Finding> findings;
  std::vector<record::Exclusion> exclusions;
};

Told told_of(const std::vector<record::Event>& events, std::vector<std::string> report = {}) {
  record::Manifest m = manifest();
  m.gate.report_benign = std::move(report);
  Judge judge(m);
  Soak soak;
  run(judge, soak, 4, [&](record::Observation& o, Soak&) {
    if (o.iteration == 2) o.events = events;
  });
  return {judge.findings(), judge.exclusions()};
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

TEST(PlannedRestarts, ADeclaredEndOfTheGuestIsNone) {
  for (const bool declared : {true, false}) {
    Judge judge(manifest());
    Soak soak;
    run(judge, soak, 4, [&](record::Observation& o, Soak&) {
      if (o.iteration != 2) return;
      o.status = record::IterationStatus::lost;
      o.events = {disk({{"io_errors", 4}, {"hangs", true}}), restart(declared ? "io-errors" : "recovers")};
      o.events.back().detail["ended_guest"] = true;
      o.events.push_back(event(kinds::kLogLine, "qemu:a", "qemu-system-x86_64: load of migration failed: Invalid"));
      o.events.push_back(event(kinds::kLogLine, kTarget, "vu_panic: virtio: invalid address for buffers"));
    });
    EXPECT_EQ(judge.findings().empty(), declared) << describe(judge.findings());
  }
}

TEST(PlannedRestarts, WhatIsSaidOfTheCutConnection) {
  const std::vector<record::Event> lines = {
      event(kinds::kLogLine, "qemu:a", "qemu-system-x86_64: Failed to set msg fds."),
      event(kinds::kLogLine, "qemu:a",
            "qemu-system-x86_64: vhost VQ 0 ring restore failed: -22: Invalid argument (22)"),
      event(kinds::kLogLine, kTarget, "qemu-storage-daemon: vu_panic: Error while writing: Broken pipe")};
  EXPECT_EQ(of(told_of(lines).findings, "log-signature").size(), 3U);
  std::vector<record::Event> restarted = lines;
  restarted.push_back(restart("recovers"));
  const Told told = told_of(restarted);
  EXPECT_TRUE(told.findings.empty()) << describe(told.findings);
  EXPECT_EQ(excluded_times(told, "restart-cut-connection", "log-signature"), 3);
  EXPECT_EQ(of(told_of(restarted, {"restart-cut-connection"}).findings, "log-signature").size(), 3U);
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

}  // namespace
}  // namespace migsoak::detect
