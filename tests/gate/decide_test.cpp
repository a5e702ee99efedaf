// What passes, what fails, and of what nothing is known.
#include <gmock/gmock.h>

#include <cmath>

#include "runs.h"

namespace migsoak::gate {
namespace {

using record::Verdict;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using testing::StartsWith;

// The only line of that name, which the test fails without.
Line only(const Decision& decision, const std::string& about, const std::string& name = "") {
  const std::vector<Line> found = lines_of(decision, about, name);
  EXPECT_THAT(found, SizeIs(1)) << text_of(decision);
  return found.empty() ? Line() : found.front();
}

Waiver waiver(unsigned day) {
  Waiver waiver;
  waiver.fingerprint = leak().fingerprint;
  waiver.reason = "QEMU issue 7";
  waiver.expires = Day(std::chrono::year(2026), std::chrono::month(12), std::chrono::day(day));
  waiver.place = "p.toml:3";
  return waiver;
}

TEST(Gate, CleanRunPassesAndSaysHowSureItIs) {
  const Decision decision = decide(clean(), nullptr, {}, kDay);
  EXPECT_EQ(decision.verdict, Verdict::pass) << text_of(decision);
  EXPECT_THAT(only(decision, "rate", "failures").reason, StartsWith("0 of 3000: below 0.1 % at 95 %"));
  EXPECT_THAT(decision.lines, SizeIs(3));
}

TEST(GateFindings, NewFails) {
  RunEvidence run = clean();
  run.findings = {leak()};
  const Line line = only(decide(run, nullptr, {}, kDay), "finding");
  EXPECT_EQ(line.verdict, Verdict::fail);
  EXPECT_EQ(line.state, "new");
  EXPECT_EQ(line.name, "fd-leak target:disk0 eventfd");
  const RunEvidence baseline = clean();
  EXPECT_EQ(decide(run, &baseline, {}, kDay).verdict, Verdict::fail);
}

TEST(GateFindings, AWarningIsPrinted) {
  RunEvidence run = clean();
  run.findings = {leak()};
  run.findings[0].severity = record::Severity::warn;
  const Decision decision = decide(run, nullptr, {}, kDay);
  EXPECT_EQ(decision.verdict, Verdict::pass);
  EXPECT_EQ(only(decision, "finding").state, "warning");
  // What was a warning and is none any more is worse.
  RunEvidence worse = clean();
  worse.findings = {leak()};
  EXPECT_EQ(only(decide(worse, &run, {}, kDay), "finding").state, "more");
}

TEST(GateFindings, KnownFromTheBaselineDoesNotFailUnlessThereIsMoreOfIt) {
  RunEvidence baseline = clean(), run = clean();
  baseline.findings = {leak(4)};
  run.findings = {leak(4)};
  EXPECT_EQ(decide(run, &baseline, {}, kDay).verdict, Verdict::pass);
  EXPECT_EQ(only(decide(run, &baseline, {}, kDay), "finding").state, "baseline");
  run.findings = {leak(5)};
  const Line more = only(decide(run, &baseline, {}, kDay), "finding");
  EXPECT_EQ(more.verdict, Verdict::fail);
  EXPECT_THAT(more.reason, HasSubstr("5 per iteration, 4 in the baseline"));
  run.findings = {leak(1)};
  EXPECT_EQ(decide(run, &baseline, {}, kDay).verdict, Verdict::pass);
}

TEST(GateFindings, TimesSeenAreCountsThatChanceMoves) {
  RunEvidence baseline = clean(), run = clean();
  baseline.findings = {leak()};
  baseline.findings[0].rate_per_iteration.reset();
  run.findings = baseline.findings;
  baseline.findings[0].count = 3;
  run.findings[0].count = 5;
  EXPECT_EQ(decide(run, &baseline, {}, kDay).verdict, Verdict::pass);
  run.findings[0].count = 30;
  const Decision decision = decide(run, &baseline, {}, kDay);
  EXPECT_EQ(decision.verdict, Verdict::fail);
  EXPECT_THAT(only(decision, "finding").reason, HasSubstr("30 in 3000 iterations, 3 in 3000 in the baseline"));
  // Three times as many in three times as long.
  run.end.finished = run.end.planned = 30000;
  EXPECT_EQ(decide(run, &baseline, {}, kDay).verdict, Verdict::pass);
}

TEST(GateFindings, WhatIsGoneIsTold) {
  RunEvidence baseline = clean();
  baseline.findings = {leak()};
  const Decision decision = decide(clean(), &baseline, {}, kDay);
  EXPECT_EQ(decision.verdict, Verdict::pass);
  EXPECT_EQ(only(decision, "finding").state, "gone");
}

TEST(GateWaivers, CountUpToTheirLastDay) {
  RunEvidence run = clean();
  run.findings = {leak()};
  Policy policy;
  policy.waivers = {waiver(1)};
  const Line waived = only(decide(run, nullptr, policy, kDay), "finding");
  EXPECT_EQ(waived.verdict, Verdict::pass);
  EXPECT_EQ(waived.state, "waived");
  EXPECT_THAT(waived.reason, AllOf(HasSubstr("QEMU issue 7"), HasSubstr("2026-12-01"), HasSubstr("p.toml:3")));
  const Day tomorrow{std::chrono::year(2026), std::chrono::month(12), std::chrono::day(2)};
  const Line late = only(decide(run, nullptr, policy, tomorrow), "finding");
  EXPECT_EQ(late.verdict, Verdict::fail);
  EXPECT_EQ(late.state, "new");
  EXPECT_THAT(late.reason, HasSubstr("its waiver expired on 2026-12-01 (p.toml:3: QEMU issue 7)"));
  // Removed, the finding is back.
  policy.waivers.clear();
  EXPECT_EQ(decide(run, nullptr, policy, kDay).verdict, Verdict::fail);
}

TEST(GateWaivers, MatchByDetectorProcessAndKind) {
  RunEvidence run = clean();
  run.findings = {leak()};
  Policy policy;
  policy.waivers = {waiver(1)};
  Waiver& one = policy.waivers[0];
  one.fingerprint.clear();
  one.detector = "fd-leak";
  EXPECT_EQ(decide(run, nullptr, policy, kDay).verdict, Verdict::pass);
  one.process = "target:disk0";
  one.kind = "eventfd";
  EXPECT_EQ(decide(run, nullptr, policy, kDay).verdict, Verdict::pass);
  one.kind = "memfd";
  const Decision other = decide(run, nullptr, policy, kDay);
  EXPECT_EQ(other.verdict, Verdict::fail);
  EXPECT_EQ(only(other, "waiver").state, "unused");
}

TEST(GateRates, AreUnknownUntilTheBoundIsBelowTheLimit) {
  Policy policy;
  policy.failures_max = 0.001;
  EXPECT_EQ(decide(clean(3000), nullptr, policy, kDay).verdict, Verdict::pass);
  const Decision early = decide(clean(100), nullptr, policy, kDay);
  EXPECT_EQ(early.verdict, Verdict::unknown);
  const Line line = only(early, "rate", "failures");
  EXPECT_THAT(line.reason, HasSubstr("the limit is 0.1 %: 2895 iterations more without one are needed"));
  EXPECT_EQ(line.figures["more_needed"], 2895);
  RunEvidence one = clean(3000);
  one.failures = 1;
  EXPECT_EQ(decide(one, nullptr, policy, kDay).verdict, Verdict::unknown);
  // Above the limit, but chance explains it.
  one.failures = 4;
  EXPECT_EQ(decide(one, nullptr, policy, kDay).verdict, Verdict::unknown);
  one.failures = 30;
  const Decision above = decide(one, nullptr, policy, kDay);
  EXPECT_EQ(above.verdict, Verdict::fail);
  EXPECT_THAT(only(above, "rate", "failures").reason, HasSubstr("30 of 3000: above 0.72 % at 95 %"));
  RunEvidence none = clean(0);
  EXPECT_EQ(decide(none, nullptr, policy, kDay).verdict, Verdict::unknown);
}

TEST(GateRates, AreComparedWithTheBaselineOfTheSameScenario) {
  RunEvidence baseline = clean(), run = clean();
  run.hangs = 12;
  const Decision more = decide(run, &baseline, {}, kDay);
  EXPECT_EQ(more.verdict, Verdict::fail);
  EXPECT_THAT(only(more, "rate", "hangs").reason, HasSubstr("0 of 3000 in the baseline, more than chance explains"));
  run.hangs = 2;
  EXPECT_EQ(decide(run, &baseline, {}, kDay).verdict, Verdict::pass);
  run.hangs = 12;
  baseline.manifest = manifest_of("another");
  EXPECT_EQ(decide(run, &baseline, {}, kDay).verdict, Verdict::pass);
}

TEST(GateRun, UnfinishedIsUnknownAndSaysHowManyMore) {
  RunEvidence run = clean(3000);
  run.end.finished = run.told = 1000;
  run.end.reason = record::end_reason::kInterrupted;
  const Decision decision = decide(run, nullptr, {}, kDay);
  EXPECT_EQ(decision.verdict, Verdict::unknown);
  EXPECT_EQ(only(decision, "run").reason,
            "1000 of 3000 iterations are finished, run 2000 more: the run was interrupted");
  run.end.reason = record::end_reason::kDurationOver;
  EXPECT_EQ(decide(run, nullptr, {}, kDay).verdict, Verdict::pass);
  run.end.reason = "";
  EXPECT_EQ(decide(run, nullptr, {}, kDay).verdict, Verdict::unknown);
  // A finding ended it: that decides, unless it is waived, and then nobody knows what would have come.
  run.end.reason = std::string(record::end_reason::kStopped) + "--stop-on-finding, iteration 999";
  run.findings = {leak()};
  EXPECT_EQ(decide(run, nullptr, {}, kDay).verdict, Verdict::fail);
  Policy policy;
  policy.waivers = {waiver(1)};
  EXPECT_EQ(decide(run, nullptr, policy, kDay).verdict, Verdict::unknown);
}

TEST(GateRun, WhatWasNotReadIsUnknown) {
  RunEvidence run = clean();
  run.reads = {
      {"config-space", "configuration space compared", "config-space-drift", 3000, 2998, 7, "qemu:a: no answer"}};
  const Decision decision = decide(run, nullptr, {}, kDay);
  EXPECT_EQ(decision.verdict, Verdict::unknown);
  EXPECT_THAT(only(decision, "read").reason,
              AllOf(HasSubstr("2998 of 3000"), HasSubstr("first missed in 7"), HasSubstr("config-space-drift")));
  RunEvidence troubled = clean();
  troubled.harness_errors = 2;
  troubled.first_harness_error = "disk full";
  troubled.untold = 1;
  EXPECT_THAT(lines_of(decide(troubled, nullptr, {}, kDay), "run"), SizeIs(2));
  RunEvidence for_no_reason = clean();
  for_no_reason.recorded = Verdict::unknown;
  EXPECT_EQ(decide(for_no_reason, nullptr, {}, kDay).verdict, Verdict::unknown);
}

TEST(GateFigures, AreComparedInTheSameEnvironmentOnly) {
  const RunEvidence before = run_of(measure(1, 300)), slower = run_of(measure(2, 300, 1.5));
  EXPECT_EQ(decide(slower, &before, {}, kDay).verdict, Verdict::fail);
  for (const char* key : {"boot_id", "host_kernel", "accel", "cores"}) {
    RunEvidence elsewhere = slower;
    elsewhere.manifest.environment[key] = "other";
    const Decision decision = decide(elsewhere, &before, {}, kDay);
    EXPECT_EQ(decision.verdict, Verdict::pass) << key;
    const Line line = only(decision, "compare");
    EXPECT_EQ(line.state, "not the same");
    EXPECT_THAT(line.reason, HasSubstr(key));
    Policy strict;
    strict.required = true;
    EXPECT_EQ(decide(elsewhere, &before, strict, kDay).verdict, Verdict::unknown) << key;
    // The policy may say that it does not matter.
    Policy lax;
    std::erase(lax.same, key);
    EXPECT_EQ(decide(elsewhere, &before, lax, kDay).verdict, Verdict::fail) << key;
  }
  RunEvidence other_build = slower;
  other_build.manifest.sides[1].qemu_version = "11.1.0";
  EXPECT_THAT(only(decide(other_build, &before, {}, kDay), "compare").reason, HasSubstr("b: QEMU 11.1.0"));
  RunEvidence other_scenario = slower;
  other_scenario.manifest.scenario_text += "driver = \"libvirt\"\n";
  EXPECT_THAT(only(decide(other_scenario, &before, {}, kDay), "compare").reason, HasSubstr("driver = 'libvirt'"));
  // What is under test may differ, and is named.
  RunEvidence other_subject = slower;
  other_subject.manifest.scenario_text += "env = { LD_PRELOAD = \"slow.so\" }\n";
  const Decision planted = decide(other_subject, &before, {}, kDay);
  EXPECT_EQ(planted.verdict, Verdict::fail) << text_of(planted);
  EXPECT_THAT(only(planted, "compare", "subject").reason, HasSubstr("slow.so"));
  other_subject.manifest.scenario_text = slower.manifest.scenario_text + "[side.env]\nA = \"1\"\n";
  EXPECT_THAT(only(decide(other_subject, &before, {}, kDay), "compare", "subject").reason,
              HasSubstr("scenario (nothing → A = '1')"));
  // The same scenario, longer and with another seed; the side's build is a matter of "qemu".
  RunEvidence same = slower;
  same.manifest.scenario_text = "seed = 2\niterations = 9\nname = 'nightly'\n[[side]]\nqemu = 'x'\nname = 'a'\n";
  EXPECT_EQ(decide(same, &before, {}, kDay).verdict, Verdict::fail);
  // Nobody knows where that was.
  RunEvidence nowhere = slower;
  nowhere.manifest.environment.erase("boot_id");
  RunEvidence nowhere_before = before;
  nowhere_before.manifest.environment.erase("boot_id");
  EXPECT_THAT(only(decide(nowhere, &nowhere_before, {}, kDay), "compare").reason, HasSubstr("boot_id (not on record)"));
}

TEST(GateFigures, NeedToBeWorseByMuchAndForSure) {
  const auto verdict_at = [](double downtime, int iterations, double floor) {
    Policy policy;
    policy.metrics = {{"migration", "downtime_ms", floor}};
    const RunEvidence before = run_of(measure(1, iterations)), now = run_of(measure(2, iterations, downtime));
    return decide(now, &before, policy, kDay).verdict;
  };
  EXPECT_EQ(verdict_at(1.10, 1000, 5), Verdict::fail);
  EXPECT_EQ(verdict_at(1.03, 3000, 0), Verdict::pass);   // for sure, and too little
  EXPECT_EQ(verdict_at(1.10, 1000, 20), Verdict::pass);  // below the floor
  EXPECT_EQ(verdict_at(0.70, 1000, 0), Verdict::pass);   // better
  EXPECT_EQ(verdict_at(3.00, 19, 0), Verdict::pass);     // too few to say
}

// One after the other on a host whose load nobody knows: worse, and nobody can say by what.
TEST(GateFigures, FailOnlyWhereTheRunsTookTurns) {
  const RunEvidence before = run_of(measure(1, 300));
  RunEvidence slower = run_of(measure(2, 300, 1.5));
  for (std::int64_t& time : slower.started_unix_ms) time += 3'600'000;
  const Decision after = decide(slower, &before, {}, kDay);
  EXPECT_EQ(after.verdict, Verdict::unknown) << text_of(after);
  const Line line = only(after, "compare", "migration.downtime_ms precopy");
  EXPECT_EQ(line.state, "worse");
  EXPECT_THAT(line.reason, HasSubstr("the runs took 2 turns, 10 are needed"));
  Policy trusting;
  trusting.interleaved = false;
  EXPECT_EQ(decide(slower, &before, trusting, kDay).verdict, Verdict::fail);
  // What is not worse needs no turns.
  RunEvidence like = run_of(measure(3, 300));
  for (std::int64_t& time : like.started_unix_ms) time += 3'600'000;
  EXPECT_EQ(decide(like, &before, {}, kDay).verdict, Verdict::pass);
}

TEST(GateFigures, WhatIsNotThereIsTold) {
  const RunEvidence before = run_of(measure(1, 300)), now = run_of(measure(2, 10));
  Policy policy;
  policy.metrics.push_back({"host", "no_such_ms", 1});
  const Decision decision = decide(now, &before, policy, kDay);
  EXPECT_EQ(decision.verdict, Verdict::pass);
  EXPECT_EQ(only(decision, "compare", "migration.downtime_ms precopy").state, "too few");
  EXPECT_EQ(only(decision, "compare", "host.no_such_ms ").state, "not on record");
  policy.required = true;
  EXPECT_EQ(decide(now, &before, policy, kDay).verdict, Verdict::unknown);
  EXPECT_EQ(decide(now, nullptr, policy, kDay).verdict, Verdict::unknown);
}

// Halves of one run are alike: whoever fails one of them cries wolf.
TEST(GateNull, AtMostOneInAHundredFails) {
  constexpr int kGates = 300;
  base::Rng rng(20261128);
  int failed = 0, large = 0;
  Policy significant_alone;  // the statistics' own share, without what the size keeps out
  significant_alone.change_min = 1e-9;
  for (Metric& metric : significant_alone.metrics) metric.floor = 0;
  for (int i = 0; i < kGates; ++i) {
    const auto [now, before] = halves_of(measure(rng.next(), 400, 1, 100), rng);
    if (decide(now, &before, {}, kDay).verdict != Verdict::pass) ++failed;
    if (decide(now, &before, significant_alone, kDay).verdict != Verdict::pass) ++large;
  }
  EXPECT_LE(failed, kGates / 100);
  EXPECT_LE(large, 3 * kGates / 100);
}

TEST(GatePower, PlantedTroubleIsFound) {
  base::Rng rng(1128);
  for (int i = 0; i < 20; ++i) {
    const RunEvidence before = run_of(measure(rng.next(), 1500));
    EXPECT_EQ(decide(run_of(measure(rng.next(), 1500, 1.1)), &before, {}, kDay).verdict, Verdict::fail) << i;
    RunEvidence leaks = run_of(measure(rng.next(), 1500));
    leaks.findings = {leak()};
    EXPECT_EQ(decide(leaks, &before, {}, kDay).verdict, Verdict::fail) << i;
    // One in a hundred fails, and no detector says so.
    EXPECT_EQ(decide(run_of(measure(rng.next(), 1500, 1, 100)), &before, {}, kDay).verdict, Verdict::fail) << i;
  }
}

TEST(GateOutput, IsHarmlessWhateverTheRecordHolds) {
  RunEvidence run = clean();
  run.manifest.scenario = "x\x1b[31m";
  run.manifest.run = "| <script>alert(1)</script>\n# h";
  run.findings = {leak()};
  run.findings[0].title =
      "a | b\n<img src=x onerror=alert(1)> [l](javascript:1) `c` **b** @all #1 www.x.org http://x.org ~~s~~ \xff";
  run.findings[0].process = "![p](x)|";
  run.reads = {{"r", "w", "d|d", 2, 1, 0, "<b>|"}};
  run.first_harness_error = "\x1b[2J|";
  run.harness_errors = 1;
  const Decision decision = decide(run, nullptr, {}, kDay);
  for (const std::string& text : {text_of(decision), markdown_of(decision), base::dump_json(to_json(decision))}) {
    for (const char c : text) EXPECT_TRUE(c == '\n' || static_cast<unsigned char>(c) >= 0x20) << text;
    EXPECT_EQ(text.find('\x7f'), std::string::npos);
  }
  const std::string markdown = markdown_of(decision);
  for (const char* live : {"<", "[", "`", "*", "@", "~", "!", "www.x", "://", "\\"})
    EXPECT_THAT(markdown, Not(HasSubstr(live)));
  std::istringstream lines(markdown);
  for (std::string line; std::getline(lines, line);) {
    const auto bars = std::count(line.begin(), line.end(), '|');
    EXPECT_TRUE(bars == 0 || bars == 6) << line;
    EXPECT_TRUE(line.empty() || line.starts_with("|") || line.starts_with("## migsoak") ||
                line.starts_with("Scenario "))
        << line;
  }
}

TEST(GateOutput, SaysTheVerdictFirstAndTheWorstLineFirst) {
  RunEvidence run = clean(100);
  run.findings = {leak()};
  Policy policy;
  policy.failures_max = 0.001;
  const Decision decision = decide(run, nullptr, policy, kDay);
  const std::string text = text_of(decision);
  EXPECT_THAT(text, StartsWith("FAIL  nightly  (run nightly-20261128T000000Z): 1 fail, 1 unknown, 2 pass\n"
                               "FAIL     finding  new"));
  const base::Json json = to_json(decision);
  EXPECT_EQ(json["schema"], 1);
  EXPECT_EQ(json["verdict"], "fail");
  EXPECT_EQ(json["lines"][0]["figures"]["fingerprint"], leak().fingerprint);
  EXPECT_EQ(json["lines"][1]["verdict"], "unknown");
  EXPECT_EQ(json["lines"].size(), 4u);
  EXPECT_FALSE(json.contains("baseline"));
  EXPECT_THAT(markdown_of(decision), HasSubstr("| fail | finding | new | fd-leak target:disk0 eventfd |"));
}

}  // namespace
}  // namespace migsoak::gate
