#include "detect/judge.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <set>

#include "detect/catalog.h"
#include "detect/step_growth.h"
#include "pci/virtio_config.h"
#include "sanitized.h"
#include "soak_model.h"

namespace migsoak::detect {
namespace {

using namespace testing;
using record::Verdict;
namespace kinds = record::event_kind;

TEST(Judge, CatalogueIsTheContracts) {
  const std::set<std::string> expected = {"config-space-drift", "fd-leak",     "zombie",        "orphan",
                                          "memory-growth",      "thread-leak", "mapping-leak",  "leftover-file",
                                          "migration-failure",  "crash",       "hang",          "guest-corruption",
                                          "disk-corruption",    "downtime",    "log-signature", "qtree-drift",
                                          "upgrade-failure",    "xml-drift",   "split-brain"};
  std::set<std::string> names;
  for (const DetectorInfo& info : detectors()) {
    EXPECT_TRUE(names.insert(info.name).second) << info.name;
    EXPECT_FALSE(info.summary.empty());
  }
  EXPECT_EQ(names, expected);
  std::set<std::string> limits;
  for (const GateLimit& limit : gate_limits()) EXPECT_TRUE(limits.insert(limit.name).second) << limit.name;
  EXPECT_EQ(limits.count("downtime_ms_max"), 1U);
  for (const Excusal& excusal : excusals()) EXPECT_FALSE(excusal.reason.empty());
  for (const VolatileConfig& entry : volatile_config()) EXPECT_FALSE(entry.reason.empty());
  const std::vector<std::string> names_of_exclusions = exclusion_names();
  const auto& fields = pci::virtio_config_fields();
  const auto volatile_fields = static_cast<std::size_t>(std::count_if(
      fields.begin(), fields.end(), [](const auto& field) { return field.kind != pci::ConfigFieldKind::fixed; }));
  EXPECT_EQ(names_of_exclusions.size(), known_benign().size() + excusals().size() + volatile_config().size() +
                                            device_tree_known().size() + volatile_fields);
  EXPECT_EQ(std::set<std::string>(names_of_exclusions.begin(), names_of_exclusions.end()).size(),
            names_of_exclusions.size());
}

TEST(Judge, VerdictsAreHonest) {
  Judge judge(manifest());
  EXPECT_EQ(judge.verdict(), Verdict::unknown) << "nothing was observed";
  Soak soak;
  run(judge, soak, 5);
  EXPECT_EQ(judge.verdict(), Verdict::pass);
  run(judge, soak, 1,
      [](record::Observation& o, Soak&) { o.events.push_back(event(kinds::kHarnessError, "harness", "disk full")); });
  run(judge, soak, 1, [](record::Observation& o, Soak&) { o.status = record::IterationStatus::unknown; });
  EXPECT_EQ(judge.verdict(), Verdict::unknown);
  EXPECT_TRUE(judge.findings().empty()) << describe(judge.findings());
  run(judge, soak, 1, [](record::Observation& o, Soak&) { o.events.push_back(event(kinds::kHang, "qemu:a")); });
  run(judge, soak, 1);
  EXPECT_EQ(judge.verdict(), Verdict::fail);
  EXPECT_EQ(judge.verdict_of(4), Verdict::pass);
  EXPECT_EQ(judge.verdict_of(5), Verdict::unknown);
  EXPECT_EQ(judge.verdict_of(6), Verdict::unknown);
  EXPECT_EQ(judge.verdict_of(7), Verdict::fail);
  EXPECT_EQ(judge.verdict_of(8), Verdict::pass);
  EXPECT_EQ(judge.verdict_of(99), Verdict::unknown);
}

// A soak of a million iterations: what the judge remembers of each has an end.
TEST(Judge, VerdictsOfLongAgoAreForgotten) {
  Judge judge(manifest());
  Soak soak;
  const int iterations = static_cast<int>(Judge::kVerdictsKept) + 1;
  run(judge, soak, iterations);
  EXPECT_EQ(judge.verdict_of(0), Verdict::unknown);
  EXPECT_EQ(judge.verdict_of(1), Verdict::pass);
  EXPECT_EQ(judge.verdict_of(iterations - 1), Verdict::pass);
  EXPECT_EQ(judge.verdict(), Verdict::pass);
}

TEST(SuffixMinima, KeepsTheNewestSteps) {
  SuffixMinima minima;
  const auto steps = static_cast<std::int32_t>(3 * SuffixMinima::kLevelsMax);
  for (std::int32_t i = 0; i < steps; ++i) minima.add(i, i);
  EXPECT_LE(minima.levels().size(), SuffixMinima::kLevelsMax);
  EXPECT_EQ(minima.levels().back().since, steps - 1);
}

TEST(Judge, GateLowersSeverity) {
  record::Manifest m = manifest();
  m.gate.severity["zombie"] = record::Severity::warn;
  Judge judge(m);
  Soak soak;
  run(judge, soak, 3, [](record::Observation& o, Soak&) {
    if (o.iteration == 0) o.events.push_back(event(kinds::kZombie, "qemu:b", "", {{"command", "x"}}));
  });
  ASSERT_EQ(judge.findings().size(), 1U);
  EXPECT_EQ(judge.findings()[0].severity, record::Severity::warn);
  EXPECT_EQ(judge.verdict(), Verdict::pass);
  EXPECT_EQ(judge.verdict_of(0), Verdict::pass);
  run(judge, soak, 1, [](record::Observation& o, Soak&) { o.events.push_back(event(kinds::kHang, "qemu:a")); });
  ASSERT_EQ(judge.findings().size(), 2U);
  EXPECT_EQ(judge.findings()[0].detector, "hang") << "fail comes first";
}

TEST(Judge, WaivedFindingsBecomeExclusions) {
  record::Waive waive;
  waive.detector = "migration-failure";
  waive.from = "a";
  waive.to = "b";
  waive.reason = "known, QEMU bug 4711";
  const Change fail = [](record::Observation& o, Soak&) {
    o.status = record::IterationStatus::failed;
    o.events.push_back(event(kinds::kMigrationFailed, "qemu:" + o.plan.destination_side, "",
                             {{"error_desc", "load failed"}, {"side", "destination"}}));
  };
  record::Manifest m = manifest();
  m.gate.waives = {waive};
  Judge judge(m);
  Soak soak;
  run(judge, soak, 6, fail);
  ASSERT_EQ(judge.findings().size(), 1U) << describe(judge.findings());
  EXPECT_EQ(judge.findings()[0].process, "qemu:a");
  ASSERT_EQ(judge.exclusions().size(), 1U);
  EXPECT_EQ(judge.exclusions()[0].name, "waive:migration-failure");
  EXPECT_EQ(judge.exclusions()[0].reason, waive.reason);
  EXPECT_EQ(judge.exclusions()[0].count, 3);
  EXPECT_EQ(judge.verdict_of(0), Verdict::pass);
  EXPECT_EQ(judge.verdict_of(1), Verdict::fail);
  EXPECT_EQ(judged(6, fail).size(), 2U) << "without the waive both are back";
}

TEST(Judge, LanesAreFoldedApartAndMerged) {
  Judge judge(manifest());
  Soak one, two;
  for (int i = 0; i < 12; ++i) {
    for (Soak* soak : {&one, &two}) {
      record::Observation o = soak->step();
      const double n = static_cast<double>(o.iteration + 1);
      o.lane = soak == &one ? 0 : 1;
      o.iteration = 2 * o.iteration + o.lane;
      // Lane 1 has a higher base: folded together, no line would be exact.
      Soak::add(o, kTarget, "fd.eventfd", n + 40.0 * o.lane * (o.iteration % 3));
      if (o.lane == 0 && i == 3) o.events.push_back(event(kinds::kHang, "qemu:a"));
      if (o.lane == 1 && i == 2) o.events.push_back(event(kinds::kHang, "qemu:a"));
      judge.observe(o);
    }
  }
  const auto findings = judge.findings();
  ASSERT_EQ(findings.size(), 2U) << describe(findings);
  const auto hang = of(findings, "hang").at(0);
  EXPECT_EQ(hang.count, 2);
  EXPECT_EQ(hang.first_iteration, 5);
  EXPECT_EQ(of(findings, "fd-leak").at(0).count, 1);
}

// The collapse of case 1, from the leak to the guest's I/O errors.
TEST(Judge, ACollapseIsLinkedToTheLeakThatForetoldIt) {
  Judge judge(manifest());
  Soak soak(256);
  run(judge, soak, 34, [](record::Observation& o, Soak& s) {
    Soak::add(o, kTarget, "fd.eventfd", 7 * static_cast<double>(o.iteration + 1));
    Soak::set(o, kTarget, s.target_id(), "fd.peak", Soak::get(o, kTarget, "fd.total") + 4);
    if (o.iteration == 4) o.events.push_back(event(kinds::kUnexpectedExit, "qemu:b", "", {{"signal", 6}}));
    if (o.iteration != 33) return;
    o.status = record::IterationStatus::lost;
    o.samples.clear();
    o.events.push_back(event(kinds::kLogLine, kTarget, "vu_panic: truncated control data"));
    o.events.push_back(event(kinds::kTargetLost, kTarget, "", {{"why", "dropped its client"}}));
    o.events.push_back(event(kinds::kDiskCorruption, "guest:disk:vd0", "", {{"io_errors", 12}}));
    o.events.push_back(event(kinds::kGuestLost, "guest", "", {{"why", "I/O dead"}}));
  });
  const auto findings = judge.findings();
  const auto leak = of(findings, "fd-leak").at(0);
  EXPECT_EQ(leak.exhausts_at_iteration, 33);
  EXPECT_EQ(leak.evidence["collapsed_at_iteration"], 33);
  int linked = 0;
  for (const record::Finding& finding : findings) {
    if (finding.detector == "fd-leak") continue;
    const bool early = finding.first_iteration == 4;
    EXPECT_EQ(finding.evidence.contains("cause"), !early) << finding.title;
    if (early) continue;
    ++linked;
    EXPECT_EQ(finding.evidence["cause"]["fingerprint"], leak.fingerprint);
    EXPECT_NE(finding.title.find("(foretold by fd-leak"), std::string::npos) << finding.title;
  }
  EXPECT_EQ(linked, 3) << describe(findings);  // the target, its log line, the guest's disk
  EXPECT_EQ(judge.verdict_of(33), Verdict::fail);
}

TEST(Judge, FingerprintsAreStableAcrossRuns) {
  const auto prints = [](std::int64_t first_pid, int late) {
    std::set<std::string> out;
    for (const record::Finding& finding : judged(40, [&](record::Observation&o, Soak&) {
           Soak::add(o, kTarget, "fd.eventfd", std::max(0.0, static_cast<double>(o.iteration - late)));
           if (o.iteration != 5 + late) return;
           o.events.push_back(
               event(kinds::kZombie, "qemu:b", "", {{"pid", first_pid}, {"command", "sh"}, {"age_ms", late}}));
           o.events.push_back(event(kinds::kLogLine, kTarget,
                                    "assert.c:12: Assertion `x == " + std::to_string(first_pid) + "' failed."));
         })) {
      out.insert(finding.fingerprint);
    }
    return out;
  };
  EXPECT_EQ(prints(100, 0).size(), 3U);
  EXPECT_EQ(prints(100, 0), prints(777, 10));
}

// Clean runs, with everything that clean processes do: fluctuation, pools, sides that differ, restarts, unsettled
// points.
TEST(Judge, CleanRunsHaveNoFindings) {
  for (std::uint64_t seed = 1; seed <= repeats(25); ++seed) {
    base::Rng rng(seed);
    const auto uniform = [&rng](double bound) { return bound * static_cast<double>(rng.below(1 << 20)) / (1 << 20); };
    Judge judge(manifest());
    Soak soak;
    const int iterations = 700;
    const auto workers_max = 1 + rng.below(20);
    const auto side_offset = static_cast<double>(rng.below(5));
    const double pool = static_cast<double>(30 + rng.below(34)), step = 0.3 + uniform(1.7);
    const auto fd_pool = static_cast<double>(rng.below(6)), fd_pace = 3 + uniform(40);
    const double rss_noise = 1e5 + uniform(4e6);
    for (int i = 0; i < iterations; ++i) {
      if (rng.below(400) == 0) soak.restart_target();
      record::Observation o = soak.step();
      if (rng.below(30) == 0) o.context = "qemus=2";
      const double filled = std::min(pool, std::floor(i * step));
      Soak::add(o, kTarget, "mappings", 2 * filled + static_cast<double>(rng.below(9)));
      Soak::add(o, kTarget, "fd.eventfd",
                std::min(fd_pool, std::floor(i / fd_pace)) + static_cast<double>(rng.below(2)));
      if (o.plan.destination_side == "a") Soak::add(o, kTarget, "fd.unix", side_offset);
      if (rng.below(12) == 0) Soak::add(o, kTarget, "fd.unix", 1 + static_cast<double>(rng.below(4)));
      for (const std::string& process : {kTarget, soak.qemu(), std::string("harness")}) {
        Soak::add(o, process, "threads", static_cast<double>(rng.below(workers_max)));
        Soak::add(o, process, "fd.pipe", static_cast<double>(rng.below(2)));
        for (const char* metric : {"rss_bytes", "pss_bytes", "anon_bytes"}) {
          Soak::add(o, process, metric, 1e4 * filled + uniform(rss_noise) + (o.plan.destination_side == "a" ? 3e6 : 0));
        }
        if (rng.below(15) == 0) o.events.push_back(event(kinds::kUnsettled, process));
      }
      Soak::add(o, soak.qemu(), "fd.eventfd", static_cast<double>(rng.below(5)));
      Soak::set(o, "guest", 0, "heartbeat_gap_ms", 50 + uniform(900));
      judge.observe(o);
    }
    EXPECT_TRUE(judge.findings().empty()) << "seed " << seed << "\n" << describe(judge.findings());
    EXPECT_EQ(judge.verdict(), Verdict::pass);
  }
}

TEST(Judge, CostsLittlePerIteration) {
  Judge judge(manifest());
  Soak soak;
  base::Rng rng(1);
  double spent_ms = 0;
  const int iterations = 2000;
  for (int i = 0; i < iterations; ++i) {
    record::Observation o = soak.step();
    Soak::add(o, kTarget, "fd.eventfd", i);  // a leak, so that its evidence is kept fresh
    Soak::add(o, kTarget, "threads", static_cast<double>(rng.below(64)));
    Soak::add(o, kTarget, "anon_bytes", static_cast<double>(rng.below(9000000)));
    const auto before = std::chrono::steady_clock::now();
    judge.observe(o);
    EXPECT_LE(judge.findings().size(), 1U);
    spent_ms += std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - before).count();
  }
  std::printf("judge: %.3f ms per iteration\n",
              spent_ms / iterations);  // printed, not asserted: another machine's speed
}

// Nothing is known of what was not read; what was found in spite of it counts.
TEST(Judge, AReadThatFailedMakesItsIterationUnknown) {
  Judge judge(manifest());
  Soak soak;
  run(judge, soak, 8, [](record::Observation& o, Soak&) {
    if (o.iteration == 3 || o.iteration == 5) {
      o.events.push_back(event(kinds::kReadFailed, "qemu:b", "configuration space",
                               {{"read", "config-space"}, {"why", "no answer"}}, "migrate"));
    }
    if (o.iteration == 5) o.events.push_back(event(kinds::kOrphan, "qemu:a", "", {{"descends_from", "qemu:a"}}));
  });
  EXPECT_EQ(judge.verdict_of(2), record::Verdict::pass);
  EXPECT_EQ(judge.verdict_of(3), record::Verdict::unknown);
  EXPECT_EQ(judge.verdict_of(5), record::Verdict::fail);
  EXPECT_EQ(judge.verdict(), record::Verdict::fail);
}

TEST(Judge, OneReadThatFailedIsNoPass) {
  Judge judge(manifest());
  Soak soak;
  run(judge, soak, 1500, [](record::Observation& o, Soak&) {
    if (o.iteration != 700) return;
    o.events.push_back(event(kinds::kReadFailed, "qemu:b", "", {{"read", "device-tree"}, {"why", "cut"}}));
  });
  EXPECT_TRUE(judge.findings().empty()) << describe(judge.findings());
  EXPECT_EQ(judge.verdict(), record::Verdict::unknown);
}

}  // namespace
}  // namespace migsoak::detect
