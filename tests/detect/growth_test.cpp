#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "detect/trend.h"
#include "soak_model.h"

namespace migsoak::detect {
namespace {

using namespace testing;

// The traps of the project's fact sheet: each pool fills up and then stays flat.
void storage_daemon_pool(record::Observation& o) {
  const double filled = std::min(62.0, static_cast<double>(o.iteration));
  Soak::add(o, kTarget, "mappings", 2 * filled);
  for (const char* metric : {"rss_bytes", "pss_bytes", "anon_bytes"}) Soak::add(o, kTarget, metric, 8192 * filled);
}
void spdk_pool(record::Observation& o) {
  const double filled = std::min(28.0, static_cast<double>(o.iteration));
  for (const char* metric : {"rss_bytes", "pss_bytes", "anon_bytes"}) Soak::add(o, kTarget, metric, 1.15e6 * filled);
}
void thread_pool(record::Observation& o) {
  Soak::add(o, kTarget, "threads", std::min(64.0, static_cast<double>(o.iteration)));
}

TEST(Growth, PoolsAreQuietAndCountedAsExclusions) {
  for (const auto& [detector, pool] : {std::pair{"mapping-leak", &storage_daemon_pool},
                                       {"memory-growth", &spdk_pool},
                                       {"thread-leak", &thread_pool}}) {
    Judge judge(manifest());
    Soak soak;
    run(judge, soak, 1000, [&p = pool](record::Observation& o, Soak&) { p(o); });
    EXPECT_TRUE(judge.findings().empty()) << describe(judge.findings());
    if (std::string(detector) == "memory-growth") continue;  // 28 iterations are too short to look like a leak at all
    const auto exclusions = judge.exclusions();
    EXPECT_TRUE(std::any_of(exclusions.begin(), exclusions.end(), [&d = detector](const record::Exclusion& exclusion) {
      return exclusion.name == "pool-warm-up" && exclusion.detector == d && exclusion.count > 0;
    })) << detector;
  }
}

TEST(Growth, WithoutTheWarmUpThePoolsAreReported) {
  record::Manifest m = manifest();
  m.gate.report_benign = {"pool-warm-up"};
  EXPECT_EQ(of(judged(
                   200, [](record::Observation& o, Soak&) { storage_daemon_pool(o); }, m),
               "mapping-leak")
                .size(),
            1U);
  EXPECT_EQ(of(judged(
                   200, [](record::Observation& o, Soak&) { thread_pool(o); }, m),
               "thread-leak")
                .size(),
            1U);
  const auto memory = judged(
      200,
      [](record::Observation& o, Soak&) {
        Soak::add(o, kTarget, "anon_bytes", 1.15e6 * std::min(66.0, static_cast<double>(o.iteration)));
      },
      m);
  EXPECT_EQ(of(memory, "memory-growth").size(), 1U);
  EXPECT_TRUE(judged(200, [](record::Observation& o, Soak&) {
                Soak::add(o, kTarget, "anon_bytes", 1.15e6 * std::min(66.0, static_cast<double>(o.iteration)));
              }).empty());
}

TEST(Growth, LeaksOnTopOfPoolsAndNoiseAreFoundInTime) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    base::Rng rng(seed);
    Judge judge(manifest());
    Soak soak;
    run(judge, soak, 150, [&](record::Observation& o, Soak&) {
      storage_daemon_pool(o);
      const double n = static_cast<double>(o.iteration + 1);
      Soak::add(o, kTarget, "mappings", n + static_cast<double>(rng.below(5)));
      for (const char* metric : {"rss_bytes", "pss_bytes", "anon_bytes"}) {
        Soak::add(o, kTarget, metric, 131072 * n + static_cast<double>(rng.below(600000)));
      }
    });
    EXPECT_EQ(of(judge.findings(), "mapping-leak").size(), 1U) << "seed " << seed;
    const auto memory = of(judge.findings(), "memory-growth");
    ASSERT_EQ(memory.size(), 1U) << "seed " << seed << ": one finding per process, not one per metric";
    EXPECT_NEAR(*memory[0].rate_per_iteration, 131072, 20000);
  }
}

TEST(Growth, ThreadLeakOnTopOfAFluctuatingPoolIsFound) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    base::Rng rng(seed);
    const auto findings = judged(100, [&](record::Observation& o, Soak&) {
      Soak::add(o, kTarget, "threads", static_cast<double>(o.iteration + 1) + static_cast<double>(rng.below(6)));
    });
    const auto leak = of(findings, "thread-leak");
    ASSERT_EQ(leak.size(), 1U) << "seed " << seed;
    EXPECT_LE(*leak[0].detected_iteration, 80);
    EXPECT_NEAR(*leak[0].rate_per_iteration, 1, 0.1);
    EXPECT_LE(*leak[0].first_iteration, 10);
  }
}

TEST(Growth, SlowThreadLeaksAreFoundInTheEnd) {
  const auto findings = judged(1500, [](record::Observation& o, Soak&) {
    Soak::add(o, kTarget, "threads", static_cast<double>(o.iteration / 10));
  });
  EXPECT_EQ(of(findings, "thread-leak").size(), 1U);
}

TEST(Growth, ALateLeakIsDated) {
  const auto findings = judged(900, [](record::Observation& o, Soak&) {
    for (const char* metric : {"heap_bytes", "anon_bytes"}) {
      Soak::add(o, kTarget, metric, 200000.0 * static_cast<double>(std::max<std::int64_t>(0, o.iteration - 500)));
    }
  });
  ASSERT_EQ(findings.size(), 1U) << describe(findings);
  EXPECT_EQ(findings[0].kind, "heap");
  EXPECT_NEAR(static_cast<double>(*findings[0].first_iteration), 500, 12);
  EXPECT_EQ(findings[0].evidence["also_growing"].size(), 1U);
}

TEST(Growth, StepsAndSawteethAreQuiet) {
  EXPECT_TRUE(judged(800,
                     [](record::Observation& o, Soak&) {  // an arena is touched once, late
                       if (o.iteration > 300) Soak::add(o, kTarget, "anon_bytes", 64e6);
                       if (o.iteration > 310) Soak::add(o, kTarget, "mappings", 400);
                       if (o.iteration > 320) Soak::add(o, kTarget, "threads", 90);
                     })
                  .empty());
  EXPECT_TRUE(judged(800,
                     [](record::Observation& o, Soak&) {  // a cache that is trimmed
                       Soak::add(o, kTarget, "anon_bytes", 400000.0 * static_cast<double>(o.iteration % 60));
                     })
                  .empty());
  EXPECT_TRUE(judged(800,
                     [](record::Observation& o, Soak&) {  // a second pool, filling late
                       const double filled = static_cast<double>(std::clamp<std::int64_t>(o.iteration - 300, 0, 62));
                       Soak::add(o, kTarget, "anon_bytes", 1.15e6 * filled);
                       Soak::add(o, kTarget, "mappings", 2 * filled);
                     })
                  .empty());
}

TEST(Growth, AQemuIsNotBlamedForGuestMemory) {
  EXPECT_TRUE(judged(300, [](record::Observation& o, Soak& soak) {
                Soak::add(o, soak.qemu(), "rss_bytes", 1e6 * static_cast<double>(o.iteration));
                Soak::add(o, soak.qemu(), "pss_bytes", 1e6 * static_cast<double>(o.iteration));
              }).empty());
}

TEST(Growth, TheHarnessIsBlamedForItself) {
  const auto findings = judged(150, [](record::Observation& o, Soak&) {
    Soak::add(o, "harness", "heap_bytes", 2e5 * static_cast<double>(o.iteration));
  });
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].blame, record::Blame::harness);
}

TEST(Growth, LimitsComeFromTheGate) {
  const Change small = [](record::Observation& o, Soak&) {
    Soak::add(o, kTarget, "anon_bytes", 20000.0 * static_cast<double>(o.iteration));
  };
  EXPECT_TRUE(judged(300, small).empty());
  record::Manifest m = manifest();
  m.gate.limits["memory_growth_bytes_per_iteration"] = 10000;
  EXPECT_EQ(of(judged(300, small, m), "memory-growth").size(), 1U);
}

TEST(Growth, ANewLineageWarmsUpAgain) {
  Judge judge(manifest());
  Soak soak;
  for (int i = 0; i < 500; ++i) {
    if (i % 100 == 0) {
      soak.new_lineage();
      soak.restart_target();
    }
    record::Observation o = soak.step();
    const double filled = std::min(62.0, static_cast<double>(i % 100));
    Soak::add(o, kTarget, "mappings", 2 * filled);
    Soak::add(o, kTarget, "anon_bytes", 1.15e6 * filled);
    judge.observe(o);
  }
  EXPECT_TRUE(judge.findings().empty()) << describe(judge.findings());
}

TEST(Trend, TakesClassesApart) {
  std::vector<TrendPoint> points;
  for (int i = 0; i < 60; ++i) {
    points.push_back({i, static_cast<float>(10 * i + (i % 2 == 0 ? 100000 : 0)), static_cast<ClassId>(i % 2)});
  }
  const auto trend = fit_trend(points);
  ASSERT_TRUE(trend.has_value());
  EXPECT_NEAR(trend->slope, 10, 0.5);
  EXPECT_TRUE(steady_growth(*trend, 5));
  EXPECT_FALSE(steady_growth(*trend, 11));
}

}  // namespace
}  // namespace migsoak::detect
