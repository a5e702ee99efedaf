#include <gmock/gmock.h>

#include <limits>

#include "record/finding.h"
#include "record/manifest.h"
#include "record/observation.h"
#include "record/plan.h"
#include "store/synthetic.h"

namespace migsoak::record {
namespace {

Finding full_finding() {
  Finding finding;
  finding.detector = "fd-leak";
  finding.severity = Severity::warn;
  finding.blame = Blame::harness;
  finding.process = "target:disk0";
  finding.kind = "eventfd";
  finding.first_iteration = 0;
  finding.detected_iteration = 9;
  finding.count = 3;
  finding.rate_per_iteration = 4.0;
  finding.exhausts_at_iteration = 143;
  finding.title = "title";
  finding.fingerprint = "print";
  finding.replay = "migsoak replay";
  finding.evidence = {{"a", {1, 2}}};
  return finding;
}

TEST(FindingJson, RoundTripsWithEveryKeyOfTheContract) {
  const base::Json json = to_json(full_finding());
  for (const char* key :
       {"detector", "severity", "blame", "process", "kind", "first_iteration", "detected_iteration", "count",
        "rate_per_iteration", "exhausts_at_iteration", "title", "fingerprint", "replay", "evidence"}) {
    EXPECT_TRUE(json.contains(key)) << key;
  }
  EXPECT_EQ(json.size(), 14u);
  const auto back = finding_from_json(json);
  ASSERT_TRUE(back);
  EXPECT_EQ(to_json(*back), json);
  EXPECT_EQ(back->blame, Blame::harness);
  EXPECT_EQ(back->first_iteration, 0);
}

TEST(FindingJson, MalformedIsRefused) {
  const base::Json good = to_json(full_finding());
  for (const auto& [key, value] : good.items()) {
    if (key == "evidence") continue;  // anything goes
    base::Json bad = good;
    bad[key] = base::Json::array();
    EXPECT_FALSE(finding_from_json(bad)) << key;
  }
  base::Json bad = good;
  bad["severity"] = "fatal";
  EXPECT_EQ(finding_from_json(bad).error().message, "severity 'fatal' is neither fail nor warn");
  EXPECT_FALSE(finding_from_json(base::Json::array()));
  EXPECT_FALSE(finding_from_json(base::Json(nullptr)));
}

TEST(Names, GoThereAndBack) {
  for (const Verdict verdict : {Verdict::pass, Verdict::unknown, Verdict::fail}) {
    EXPECT_EQ(verdict_from(to_string(verdict)).value(), verdict);
  }
  EXPECT_LT(Verdict::pass, Verdict::unknown);
  EXPECT_LT(Verdict::unknown, Verdict::fail);
  for (const Blame blame : {Blame::subject, Blame::harness, Blame::environment}) {
    EXPECT_EQ(blame_from(to_string(blame)).value(), blame);
  }
  for (const IterationStatus status : {IterationStatus::started, IterationStatus::completed, IterationStatus::failed,
                                       IterationStatus::lost, IterationStatus::unknown}) {
    EXPECT_EQ(iteration_status_from(to_string(status)).value(), status);
  }
  EXPECT_FALSE(verdict_from("Pass"));
  EXPECT_FALSE(blame_from(""));
  EXPECT_FALSE(iteration_status_from("done"));
}

TEST(NormaliseText, FoldsWhatDiffersFromRunToRun) {
  EXPECT_EQ(normalise_text("error 12 at 0x7ffeAB, fd=3"), "error N at N, fd=N");
  EXPECT_EQ(normalise_text("open /tmp/x1/q.sock: failed"), "open <path>: failed");
  EXPECT_EQ(normalise_text("'/run/a b' x"), "'<path> b' x");
  EXPECT_EQ(normalise_text("and/or 1/2"), "and<path> N<path>");
  EXPECT_EQ(normalise_text(""), "");
  EXPECT_EQ(normalise_text("0x"), "N");
}

TEST(Fingerprint, IsStableAcrossRunsAndTellsPlacesApart) {
  const std::string one = fingerprint_of("log-signature", "target:disk0", "panic", "pid 77: /tmp/a/b died at 0xdead");
  EXPECT_EQ(one, fingerprint_of("log-signature", "target:disk0", "panic", "pid 8123: /run/z died at 0x1"));
  EXPECT_NE(one, fingerprint_of("log-signature", "target:disk1", "panic", "pid 77: /tmp/a/b died at 0xdead"));
  EXPECT_NE(one, fingerprint_of("crash", "target:disk0", "panic", "pid 77: /tmp/a/b died at 0xdead"));
  // Fields can't be shifted into each other.
  EXPECT_NE(fingerprint_of("d", "ab", "c"), fingerprint_of("d", "a", "bc"));
  EXPECT_THAT(one, testing::MatchesRegex("log-signature-[0-9a-f]+"));
  EXPECT_EQ(one.size(), std::string("log-signature-").size() + 12);
}

TEST(GatePolicyJson, RoundTrips) {
  GatePolicy policy;
  policy.severity = {{"downtime", Severity::warn}, {"hang", Severity::fail}};
  policy.limits = {{"downtime_ms_max", 250.5}};
  policy.waives = {{"fd-leak", "vd0", "a", "b", "eventfd", "target:disk0", "kill", "known, bug 12"}};
  policy.report_benign = {"vu-panic-eventfd"};
  const auto back = gate_policy_from_json(to_json(policy));
  ASSERT_TRUE(back);
  EXPECT_EQ(*back, policy);
  EXPECT_EQ(*gate_policy_from_json(base::Json::object()), GatePolicy{});
  for (const char* bad :
       {R"([])", R"({"severity":{"hang":1}})", R"({"severity":{"hang":"bad"}})", R"({"limits":{"x":"1"}})",
        R"({"waive":[1]})", R"({"waive":[{"reason":1}]})", R"({"report_benign":[1]})"}) {
    EXPECT_FALSE(gate_policy_from_json(*base::parse_json(bad))) << bad;
  }
}

TEST(ManifestJson, RoundTripsUpToTheLargestSeed) {
  Manifest manifest = synthetic::manifest();
  manifest.seed = std::numeric_limits<std::uint64_t>::max();
  manifest.gate.waives = {{"fd-leak", "", "", "", "", "", "", "reason"}};
  const auto back = manifest_from_json(*base::parse_json(base::dump_json(to_json(manifest))));
  ASSERT_TRUE(back);
  EXPECT_EQ(to_json(*back), to_json(manifest));
  EXPECT_EQ(back->seed, manifest.seed);
  EXPECT_EQ(back->targets.at(0).devices.at(0).type, "vhost-user-blk");
  EXPECT_EQ(back->sides.at(1).name, "b");
}

TEST(ManifestJson, MalformedIsRefused) {
  const base::Json good = to_json(synthetic::manifest());
  const std::vector<std::pair<std::string, base::Json>> wrong = {
      {"run", 1}, {"seed", "x"}, {"iterations_planned", 1.5}, {"sides", {1}}, {"targets", {base::Json{{"name", 1}}}},
      {"gate", 1}};
  for (const auto& [key, value] : wrong) {
    base::Json bad = good;
    bad[key] = value;
    EXPECT_FALSE(manifest_from_json(bad)) << key;
  }
  EXPECT_FALSE(manifest_from_json(base::Json::array()));
}

TEST(PlanJson, RoundTrips) {
  const Plan plan{42, "a", "b", "precopy", "unix"};
  EXPECT_EQ(plan_from_json(to_json(plan)).value(), plan);
  EXPECT_FALSE(plan_from_json(base::Json::array()));
  EXPECT_FALSE(plan_from_json({{"iteration", "x"}}));
}

}  // namespace
}  // namespace migsoak::record
