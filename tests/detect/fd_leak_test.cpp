#include <gtest/gtest.h>

#include <cmath>

#include "detect/step_growth.h"
#include "sanitized.h"
#include "soak_model.h"

namespace migsoak::detect {
namespace {

using namespace testing;

record::Finding only(const std::vector<record::Finding>& findings) {
  EXPECT_EQ(findings.size(), 1U) << describe(findings);
  return findings.empty() ? record::Finding{} : findings.front();
}

TEST(FdLeak, SaysWhatAPersonNeeds) {
  const auto findings = judged(30, [](record::Observation& o, Soak& soak) {
    const double n = static_cast<double>(o.iteration + 1);
    Soak::add(o, kTarget, "fd.eventfd", 4 * n);
    Soak::add(o, kTarget, "fd.unix", n);
    Soak::add(o, kTarget, "fd.memfd", 2 * n);
    Soak::set(o, kTarget, soak.target_id(), "fd.peak", Soak::get(o, kTarget, "fd.total") + 4);
    for (int i = 0; i < 4; ++i) {
      o.births.push_back({soak.target_id(), static_cast<int>(100 + o.iteration * 4 + i), "eventfd", "peer=gone"});
    }
  });
  const auto leaks = of(findings, "fd-leak");
  ASSERT_EQ(leaks.size(), 3U) << describe(findings);
  for (const record::Finding& leak : leaks) {
    EXPECT_EQ(leak.process, kTarget);
    EXPECT_EQ(leak.first_iteration, 0);
    EXPECT_EQ(leak.detected_iteration, 8);
    EXPECT_EQ(leak.blame, record::Blame::subject);
    EXPECT_EQ(leak.count, 1);
    // 15 at rest, 7 per iteration, 4 above: 15 + 7 * (n + 1) + 4 > 1024 first at n = 143.
    EXPECT_EQ(leak.exhausts_at_iteration, 143);
  }
  const auto eventfd =
      std::find_if(leaks.begin(), leaks.end(), [](const auto& leak) { return leak.kind == "eventfd"; });
  ASSERT_NE(eventfd, leaks.end());
  EXPECT_EQ(eventfd->rate_per_iteration, 4.0);
  EXPECT_EQ(
      eventfd->title,
      "target:disk0 leaks 4 eventfd per iteration since iteration 0; reaches RLIMIT_NOFILE 1024 at iteration ≈ 143 "
      "(7 descriptors per iteration over all kinds)");
  EXPECT_EQ(eventfd->evidence["limit"], 1024);
  EXPECT_EQ(eventfd->evidence["peak_above_quiet"], 4);
  EXPECT_EQ(eventfd->evidence["k"], 4.0);
  EXPECT_EQ(eventfd->evidence["axis"]["devices"], 1);
  EXPECT_GT(eventfd->evidence["survivors"]["count"].get<int>(), 20);
  EXPECT_EQ(eventfd->evidence["survivors"]["first"][0]["detail"], "peer=gone");
  EXPECT_LE(eventfd->evidence["series"].size(), 42U);
}

// The exact model of a process that dies when a cycle needs descriptor number `limit`.
TEST(FdLeak, ForetellsExhaustionWithinFivePercent) {
  for (const std::int64_t limit : {128, 256, 512, 1024, 4096}) {
    if (kSanitized && limit > 512) continue;
    for (const int k : {1, 2, 3, 7, 11}) {
      for (const int peak : {0, 3, 9}) {
        for (const bool sampled : {true, false}) {
          Judge judge(manifest());
          Soak soak(limit);
          std::int64_t real = -1;
          for (int i = 0; i < 5000 && real < 0; ++i) {
            record::Observation o = soak.step();
            Soak::add(o, kTarget, "fd.eventfd", static_cast<double>(k * (o.iteration + 1)));
            const double needs = Soak::get(o, kTarget, "fd.total") + peak;
            if (needs > static_cast<double>(limit)) {
              real = o.iteration;
              break;
            }
            if (sampled) Soak::set(o, kTarget, soak.target_id(), "fd.peak", needs);
            // Without a sampled peak, the connection that each cycle replaces tells.
            for (int d = 0; d < peak; ++d) o.deaths.push_back({soak.target_id(), 500 + d});
            if (i <= 9) judge.observe(o);  // what is known by iteration 10
          }
          ASSERT_GE(real, 0);
          if (real < 10) continue;
          const auto leak = only(judge.findings());
          ASSERT_TRUE(leak.exhausts_at_iteration.has_value());
          EXPECT_LE(std::abs(static_cast<double>(*leak.exhausts_at_iteration - real)), 0.05 * static_cast<double>(real))
              << "limit " << limit << " k " << k << " peak " << peak << " sampled " << sampled << ": " << leak.title;
        }
      }
    }
  }
}

TEST(FdLeak, SparseExhaustionIsForetoldToo) {
  Judge judge(manifest());
  Soak soak(64);
  run(judge, soak, 400, [](record::Observation& o, Soak&) {
    Soak::add(o, kTarget, "fd.unix", static_cast<double>((o.iteration + 1) / 50));
  });
  const auto leak = only(judge.findings());
  EXPECT_EQ(leak.first_iteration, 49);
  EXPECT_NEAR(*leak.rate_per_iteration, 0.02, 1e-9);
  // 15 + (n + 1) / 50 > 64 first at n = 50 * 50 - 1.
  EXPECT_NEAR(static_cast<double>(*leak.exhausts_at_iteration), 2499, 0.05 * 2499);
  EXPECT_NE(leak.title.find("1 unix every 50 iterations since iteration 49"), std::string::npos) << leak.title;
}

TEST(FdLeak, SidesMayHaveDifferentBases) {
  const auto leak = only(judged(12, [](record::Observation& o, Soak&) {
    Soak::add(o, kTarget, "fd.eventfd", o.plan.destination_side == "a" ? 5 : 0);
    Soak::add(o, kTarget, "fd.eventfd", 3 * static_cast<double>(o.iteration + 1));
  }));
  EXPECT_EQ(leak.rate_per_iteration, 3.0);
  EXPECT_LE(*leak.detected_iteration, 9);
  EXPECT_TRUE(judged(600, [](record::Observation& o, Soak&) {
                Soak::add(o, kTarget, "fd.eventfd", o.plan.destination_side == "a" ? 5 : 0);
              }).empty());
}

TEST(FdLeak, ALateStartIsDated) {
  const auto leak = only(judged(150, [](record::Observation& o, Soak&) {
    Soak::add(o, kTarget, "fd.eventfd", 2 * std::max(0.0, static_cast<double>(o.iteration - 99)));
  }));
  EXPECT_EQ(leak.first_iteration, 100);
  EXPECT_LE(*leak.detected_iteration, 108);
}

TEST(FdLeak, APerSideTargetLeaksEverySecondIteration) {
  const auto leak = only(judged(20, [](record::Observation& o, Soak&) {
    Soak::add(o, kTarget, "fd.eventfd", 4 * static_cast<double>((o.iteration + 1) / 2));
  }));
  EXPECT_EQ(leak.rate_per_iteration, 2.0);
  EXPECT_LE(*leak.detected_iteration, 10);
}

TEST(FdLeak, VaryingAmountsAndNoiseDoNotHideIt) {
  base::Rng rng(3);
  double leaked = 0;
  const auto varying = only(judged(30, [&](record::Observation& o, Soak&) {
    leaked += 2 + static_cast<double>(rng.below(3));
    Soak::add(o, kTarget, "fd.eventfd", leaked);
  }));
  EXPECT_LE(*varying.detected_iteration, 9);
  EXPECT_NEAR(*varying.rate_per_iteration, 3, 0.7);
  // A worker's eventfd that comes and goes on top of a leak of one in seven.
  const auto noisy = only(judged(220, [&](record::Observation& o, Soak&) {
    Soak::add(o, kTarget, "fd.eventfd", static_cast<double>((o.iteration + 1) / 7) + static_cast<double>(rng.below(3)));
  }));
  EXPECT_LE(*noisy.detected_iteration, 200);
}

TEST(FdLeak, RandomSparseLeaksAreFound) {
  int found = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    base::Rng rng(seed);
    double leaked = 0;
    const auto findings = judged(400, [&](record::Observation& o, Soak&) {
      if (rng.below(7) == 0) ++leaked;
      Soak::add(o, kTarget, "fd.eventfd", leaked);
    });
    found += findings.empty() ? 0 : 1;
  }
  EXPECT_GE(found, 19);
}

TEST(FdLeak, PoolsAreQuiet) {
  // One more every ten iterations, five in all.
  EXPECT_TRUE(judged(800, [](record::Observation& o, Soak&) {
                Soak::add(o, kTarget, "fd.eventfd", std::min(5.0, static_cast<double>(o.iteration / 10)));
              }).empty());
  // Up to eight, ever more slowly, in many random ways.
  for (std::uint64_t seed = 1; seed <= repeats(40); ++seed) {
    base::Rng rng(seed);
    const auto size = 1 + rng.below(8);
    const std::uint64_t pace = 1 + rng.below(40);
    std::uint64_t filled = 0;
    const auto findings = judged(600, [&](record::Observation& o, Soak&) {
      if (rng.below(size * pace) < size - filled) ++filled;
      Soak::add(o, kTarget, "fd.eventfd", static_cast<double>(filled));
    });
    EXPECT_TRUE(findings.empty()) << "seed " << seed << " pool of " << size << ": " << describe(findings);
  }
  // SPDK's hugepages: 16 more over 28 iterations, then none.
  EXPECT_TRUE(judged(600, [](record::Observation& o, Soak&) {
                Soak::add(o, kTarget, "fd.deleted",
                          std::floor(std::min(28.0, static_cast<double>(o.iteration)) * 0.575));
              }).empty());
}

TEST(FdLeak, WhatIsGivenBackIsNoLeak) {
  EXPECT_TRUE(judged(1000,
                     [](record::Observation& o, Soak&) {  // a cache that is emptied now and then
                       Soak::add(o, kTarget, "fd.unix", static_cast<double>(o.iteration % 7));
                     })
                  .empty());
  EXPECT_TRUE(judged(1000, [](record::Observation& o, Soak&) {
                Soak::add(o, kTarget, "fd.unix", static_cast<double>((o.iteration % 120) / 20));
              }).empty());
}

TEST(FdLeak, OtherContextsAreNotCompared) {
  EXPECT_TRUE(of(judged(60,
                        [](record::Observation& o, Soak&) {
                          o.context = "qemus=" + std::to_string(o.iteration);
                          Soak::add(o, kTarget, "fd.eventfd", static_cast<double>(o.iteration));
                        }),
                 "fd-leak")
                  .empty());
  // Two contexts with bases far apart, in turns of three: each by itself is one line.
  const auto leak = only(judged(40, [](record::Observation& o, Soak&) {
    const bool other = (o.iteration / 3) % 2 == 1;
    o.context = other ? "qemus=2" : "qemus=1";
    Soak::add(o, kTarget, "fd.eventfd", static_cast<double>(o.iteration) + (other ? 20 : 0));
  }));
  EXPECT_EQ(leak.rate_per_iteration, 1.0);
}

TEST(FdLeak, UnsettledAndFailedPointsAreLeftOut) {
  for (const bool unsettled : {true, false}) {
    const auto findings = judged(200, [&](record::Observation& o, Soak&) {
      if (o.iteration % 2 == 0) return;
      Soak::add(o, kTarget, "fd.eventfd", 3 * static_cast<double>(o.iteration));
      if (unsettled) {
        o.events.push_back(event(record::event_kind::kUnsettled, kTarget));
      } else {
        o.status = record::IterationStatus::failed;
      }
    });
    EXPECT_TRUE(of(findings, "fd-leak").empty()) << describe(findings);
  }
  // One unsettled point inside a leak delays its proof, no more.
  const auto leak = only(judged(14, [](record::Observation& o, Soak&) {
    Soak::add(o, kTarget, "fd.eventfd", 3 * static_cast<double>(o.iteration + 1));
    if (o.iteration == 4) {
      Soak::add(o, kTarget, "fd.eventfd", 9);
      o.events.push_back(event(record::event_kind::kUnsettled, kTarget));
    }
  }));
  EXPECT_LE(*leak.detected_iteration, 10);
}

TEST(FdLeak, ARestartedTargetStartsAnew) {
  Judge judge(manifest());
  Soak soak;
  double leaked = 0;
  for (int i = 0; i < 100; ++i) {  // six iterations of each life: never enough
    if (i % 6 == 0) {
      soak.restart_target();
      leaked = 0;
    }
    record::Observation o = soak.step();
    Soak::add(o, kTarget, "fd.eventfd", ++leaked);
    judge.observe(o);
  }
  EXPECT_TRUE(judge.findings().empty()) << describe(judge.findings());
}

TEST(FdLeak, ANewLineageStartsAnewAndKeepsFindings) {
  Judge judge(manifest());
  Soak soak;
  double leaked = 0;
  for (int i = 0; i < 30; ++i) {
    if (i == 15) {
      soak.new_lineage();
      soak.restart_target();
      leaked = 0;
    }
    record::Observation o = soak.step();
    o.lineage = i < 15 ? 0 : 1;
    Soak::add(o, kTarget, "fd.eventfd", ++leaked);
    judge.observe(o);
  }
  const auto leak = only(judge.findings());
  EXPECT_EQ(leak.count, 2) << "proven in both lineages";
  EXPECT_EQ(leak.detected_iteration, 8);
  EXPECT_EQ(leak.evidence["lives"].size(), 2U);
}

TEST(FdLeak, AxisIsNamedWhereNumbersTell) {
  const auto leak_with = [](int devices, int queues, double k) {
    return only(judged(
                    12,
                    [=](record::Observation& o, Soak&) {
                      Soak::add(o, kTarget, "fd.eventfd", k * static_cast<double>(o.iteration + 1));
                    },
                    manifest(devices, queues)))
        .evidence["axis"];
  };
  EXPECT_EQ(leak_with(2, 4, 16)["fits"].size(), 3U);
  EXPECT_EQ(leak_with(2, 4, 2)["fits"].size(), 2U);  // 8 queues do not divide it
  EXPECT_EQ(leak_with(2, 4, 2)["fits"][0]["axis"], "device");
  EXPECT_EQ(leak_with(2, 4, 3)["fits"].size(), 1U);
  EXPECT_NE(leak_with(1, 1, 4)["text"].get<std::string>().find("cannot tell"), std::string::npos);
}

TEST(FdLeak, TheFirstMigrationsOfALifeAreLeftOutUntilToldOtherwise) {
  const Change start_up = [](record::Observation& o, Soak&) {
    Soak::add(o, kTarget, "fd.eventfd", std::min(7.0, static_cast<double>(o.iteration)));
  };
  Judge judge(manifest());
  Soak soak;
  run(judge, soak, 60, start_up);
  EXPECT_TRUE(judge.findings().empty()) << describe(judge.findings());
  ASSERT_EQ(judge.exclusions().size(), 1U);
  EXPECT_EQ(judge.exclusions()[0].name, "first-migration");
  EXPECT_FALSE(judge.exclusions()[0].reason.empty());
  record::Manifest m = manifest();
  m.gate.report_benign = {"first-migration"};
  EXPECT_EQ(of(judged(60, start_up, m), "fd-leak").size(), 1U);
}

TEST(SuffixMinima, KeepsOnlyWhatIsNeverGivenBack) {
  SuffixMinima minima;
  for (const auto& [at, value] : {std::pair{0, 5}, {1, 9}, {2, 6}, {3, 8}, {4, 7}}) minima.add(at, value);
  ASSERT_EQ(minima.levels().size(), 3U);
  EXPECT_EQ(minima.levels()[1].since, 1);
  EXPECT_EQ(minima.levels()[1].value, 6);
  EXPECT_EQ(minima.levels()[2].since, 3);
  minima.add(5, 5);
  EXPECT_EQ(minima.levels().size(), 1U);
}

}  // namespace
}  // namespace migsoak::detect
