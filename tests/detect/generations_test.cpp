// Hot upgrades as the detectors see them: one pid with hundreds of exec generations, and lineages that mix modes.
#include <gtest/gtest.h>

#include <algorithm>

#include "detect/fd_generations.h"
#include "detect/fd_ledger.h"
#include "sanitized.h"
#include "soak_model.h"

namespace migsoak::detect {
namespace {

using namespace testing;

// Turns the QEMUs of a Soak into upgrades: with cpr-exec the pid stays and the generation grows, every other mode
// brings a new process.
class Upgrades {
 public:
  // Draws a mode for each iteration; one of several is drawn at random.
  explicit Upgrades(std::vector<std::string> modes, std::uint64_t seed = 1) : modes_(std::move(modes)), rng_(seed) {}

  void apply(record::Observation& o, Soak& soak) {
    o.plan.mode = modes_[rng_.below(modes_.size())];
    for (record::ProcessInstance& process : o.processes_born) {
      if (process.id != soak.qemu_id()) continue;
      if (o.plan.mode == "cpr-exec") {
        ++generation_;
      } else {
        generation_ = 0;
        ++processes_;
        lost_ = 0;
      }
      process.pid = 5000 + processes_;
      process.generation = generation_;
    }
  }
  // One descriptor more per exec, which every later exec hands down; births as the probes write them.
  void lose_one(record::Observation& o, Soak& soak) {
    if (o.plan.mode == "cpr-exec") born_[lost_++] = o.iteration;
    for (int i = 0; i < lost_; ++i) {
      const std::string kept = born_[i] == o.iteration ? "" : "kept over exec since iteration 7, not close-on-exec: ";
      o.births.push_back({soak.qemu_id(), 100 + i, "eventfd", kept + "anon_inode:[eventfd]"});
    }
    Soak::add(o, soak.qemu(), "fd.eventfd", lost_);
  }
  int generation() const { return generation_; }

 private:
  std::vector<std::string> modes_;
  base::Rng rng_;
  int generation_ = 0, processes_ = 0, lost_ = 0;
  std::map<int, std::int64_t> born_;
};

// What an image needs at rest differs from one to the next; nothing of it is handed down.
void make_noise(record::Observation& o, Soak& soak, base::Rng& rng) {
  Soak::add(o, soak.qemu(), "threads", static_cast<double>(rng.below(4)));
  Soak::add(o, soak.qemu(), "mappings", static_cast<double>(rng.below(6)));
  Soak::add(o, soak.qemu(), "anon_bytes", static_cast<double>(rng.below(64)) * 4096);
  Soak::add(o, soak.qemu(), "heap_bytes", static_cast<double>(rng.below(64)) * 4096);
}

TEST(Generations, OneDescriptorLostPerExecIsFoundByIterationTen) {
  Upgrades upgrades({"cpr-exec"});
  Judge judge(manifest());
  Soak soak;
  run(judge, soak, 11, [&](record::Observation& o, Soak& s) {
    upgrades.apply(o, s);
    upgrades.lose_one(o, s);
  });
  const auto leaks = of(judge.findings(), "fd-leak");
  ASSERT_EQ(leaks.size(), 2U) << describe(judge.findings());  // the pid plays both sides in turn
  for (const record::Finding& leak : leaks) {
    EXPECT_TRUE(leak.process == "qemu:a" || leak.process == "qemu:b") << leak.process;
    EXPECT_EQ(leak.kind, "eventfd");
    EXPECT_EQ(leak.rate_per_iteration, 1.0);
    EXPECT_LE(leak.first_iteration, 1);
    EXPECT_LE(leak.detected_iteration, 10);
    EXPECT_NE(leak.title.find("leaks 1 eventfd per iteration since iteration"), std::string::npos) << leak.title;
    EXPECT_NE(leak.title.find("kept over exec; reaches RLIMIT_NOFILE 1024"), std::string::npos) << leak.title;
    EXPECT_TRUE(leak.exhausts_at_iteration.has_value());
    const base::Json& survivors = leak.evidence["survivors"];
    EXPECT_GE(survivors["kept_over_exec"], 6) << survivors;
    EXPECT_EQ(survivors["by_detail"].size(), 1U) << "without dates they are alike: " << survivors;
    EXPECT_GE(survivors["first_seen_in"]["qemu:a"], 3) << survivors;
    EXPECT_GE(survivors["first_seen_in"]["qemu:b"], 3) << survivors;
    EXPECT_EQ(survivors["first"][1]["born_iteration"], 1);
    EXPECT_GE(survivors["first"][1]["execs_outlived"], 6);
  }
}

// One side's images lose one each: every other generation has one more.
TEST(Generations, ALossOnOneSideIsDatedFromTheStart) {
  Upgrades upgrades({"cpr-exec"});
  const auto leaks = of(judged(12,
                               [&](record::Observation& o, Soak& s) {
                                 upgrades.apply(o, s);
                                 Soak::add(o, s.qemu(), "fd.memfd", static_cast<double>((o.iteration + 1) / 2));
                               }),
                        "fd-leak");
  ASSERT_EQ(leaks.size(), 2U) << describe(leaks);
  for (const record::Finding& leak : leaks) {
    EXPECT_EQ(leak.first_iteration, 0);
    EXPECT_LE(leak.detected_iteration, 10);
    EXPECT_EQ(leak.rate_per_iteration, 0.5);
    EXPECT_NE(
        leak.title.find("leaks 1 memfd every 2 exec generations since iteration 0, kept over exec; reaches RLIMIT"),
        std::string::npos)
        << leak.title;
  }
}

TEST(Generations, FiveHundredCleanOnesAreQuiet) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    Upgrades upgrades({"cpr-exec"});
    base::Rng rng(seed);
    const auto findings = judged(500, [&](record::Observation& o, Soak& s) {
      upgrades.apply(o, s);
      make_noise(o, s, rng);
    });
    EXPECT_TRUE(findings.empty()) << describe(findings);
    EXPECT_EQ(upgrades.generation(), 500);
  }
}

TEST(Generations, MixedModesWithDifferentBasesAreQuiet) {
  for (std::uint64_t seed = 1; seed <= repeats(20); ++seed) {
    Upgrades upgrades({"precopy", "local", "cpr-reboot", "cpr-transfer", "cpr-exec"}, seed);
    base::Rng rng(seed);
    const auto findings = judged(500, [&](record::Observation& o, Soak& s) {
      upgrades.apply(o, s);
      make_noise(o, s, rng);
      if (o.plan.mode == "cpr-transfer") Soak::add(o, s.qemu(), "fd.unix", 2);
      if (o.plan.mode == "cpr-exec") Soak::add(o, s.qemu(), "fd.memfd", 6);
      if (o.plan.mode == "precopy") Soak::add(o, s.qemu(), "anon_bytes", 4e6);
    });
    EXPECT_TRUE(findings.empty()) << "seed " << seed << ": " << describe(findings);
  }
}

TEST(Generations, ATargetsLeakIsFoundWhateverTheMode) {
  Upgrades upgrades({"precopy", "local", "cpr-reboot", "cpr-transfer", "cpr-exec"});
  double memfds = 0;
  const auto leaks = of(judged(120,
                               [&](record::Observation& o, Soak& s) {
                                 upgrades.apply(o, s);
                                 Soak::add(o, kTarget, "fd.eventfd", 4 * static_cast<double>(o.iteration + 1));
                                 if (o.plan.mode != "cpr-exec") ++memfds;  // the log of dirty pages
                                 Soak::add(o, kTarget, "fd.memfd", memfds);
                               }),
                        "fd-leak");
  ASSERT_EQ(leaks.size(), 2U) << describe(leaks);
  for (const record::Finding& leak : leaks) {
    EXPECT_EQ(leak.process, kTarget);
    if (leak.kind == "eventfd") {
      EXPECT_EQ(leak.rate_per_iteration, 4.0);
      EXPECT_EQ(leak.detected_iteration, 8);
    }
  }
}

// Precopy in between gives everything back: only a comparison from generation to generation shows the loss.
TEST(Generations, ALossPerExecIsFoundInAMixOfModes) {
  for (std::uint64_t seed = 1; seed <= repeats(10); ++seed) {
    Upgrades upgrades({"precopy", "cpr-transfer", "cpr-exec"}, seed);
    base::Rng rng(seed);
    const auto leaks = of(judged(500,
                                 [&](record::Observation& o, Soak& s) {
                                   upgrades.apply(o, s);
                                   upgrades.lose_one(o, s);
                                   if (o.plan.mode == "cpr-transfer") Soak::add(o, s.qemu(), "fd.eventfd", 3);
                                   if (o.plan.destination_side == "b") Soak::add(o, s.qemu(), "fd.eventfd", 1);
                                   if (rng.below(10) == 0) {
                                     o.plan.operations.push_back({"virtio-blk", "plug", "settled", "hp0", "", ""});
                                   }
                                 }),
                          "fd-leak");
    ASSERT_FALSE(leaks.empty()) << "seed " << seed;
    for (const record::Finding& leak : leaks) {
      EXPECT_TRUE(leak.process.starts_with("qemu:")) << leak.process;
      EXPECT_EQ(leak.kind, "eventfd");
      EXPECT_EQ(leak.rate_per_iteration, 1.0) << leak.title;
      EXPECT_NE(leak.title.find("leaks 1 eventfd per exec generation since"), std::string::npos) << leak.title;
      EXPECT_FALSE(leak.exhausts_at_iteration.has_value());
    }
  }
}

// Execs that never follow each other, with devices plugged all the time: only inherited tell.
TEST(Generations, ALossPerExecIsFoundWhereExecsAreRare) {
  for (const bool losing : {true, false}) {
    int execs = 0;
    bool last_was_exec = false;
    const auto leaks = of(
        judged(300,
               [&](record::Observation& o, Soak& s) {
                 o.plan.operations.push_back({"virtio-blk", "plug", "settled", "hp0", "", ""});
                 last_was_exec = o.iteration % 7 == 3;
                 if (!last_was_exec) return;
                 o.plan.mode = "cpr-exec";
                 for (record::ProcessInstance& process : o.processes_born) {
                   if (process.id == s.qemu_id()) process.generation = 1;
                 }
                 ++execs;
                 o.births.push_back({s.qemu_id(), 2, "pipe", "not close-on-exec: pipe:[1]"});
                 o.births.push_back({s.qemu_id(), 9, "unix", "kept over exec since iteration 1, not close-on-exec: x"});
                 const bool on_b = o.plan.destination_side == "b";
                 if (!losing || !on_b) return;
                 o.births.push_back({s.qemu_id(), 30, "unix", "not close-on-exec: peer=gone"});
                 Soak::add(o, s.qemu(), "fd.unix", 1);
               }),
        "fd-leak");
    if (!losing) {
      EXPECT_TRUE(leaks.empty()) << describe(leaks);
      continue;
    }
    ASSERT_EQ(leaks.size(), 1U) << describe(leaks);
    EXPECT_EQ(leaks[0].process, "qemu:b") << "the side whose images have them";
    EXPECT_EQ(leaks[0].kind, "unix");
    EXPECT_EQ(leaks[0].rate_per_iteration, 1.0);
    EXPECT_EQ(leaks[0].title, "qemu:b leaks 1 unix per exec generation since iteration 10, kept over exec");
    EXPECT_EQ(leaks[0].evidence["left_open"], "not close-on-exec: peer=gone");
  }
}

// Devices that are plugged between execs take descriptors, and those are no loss.
TEST(GenerationGrowth, AreNotCountedAcrossACut) {
  GenerationGrowth steps;
  int value = 10;
  for (int generation = 1; generation <= 60; ++generation) {
    if (generation % 3 == 0) {
      steps.cut();
      value += 2;
    }
    steps.add(1, generation, generation, value, 0);
    EXPECT_FALSE(steps.proof()) << generation;
  }
}

TEST(GenerationGrowth, NeedEqualLossesOfOnePid) {
  GenerationGrowth steps;
  for (int g = 1; g <= kGenerations; ++g) steps.add(1, g, g, 10 + 2 * g, 0);
  EXPECT_FALSE(steps.proof()) << "that many generations are one step less";
  steps.add(1, kGenerations + 1, kGenerations + 1, 12 + 2 * kGenerations, 0);
  ASSERT_TRUE(steps.proof());
  EXPECT_EQ(steps.proof()->rate, 2.0);
  steps.add(2, 1, 50, 90, 0);  // another process: no step
  EXPECT_TRUE(steps.proof());
  steps.add(2, 2, 51, 90, 0);
  EXPECT_FALSE(steps.proof()) << "one exec that lost nothing";
}

record::Observation observation(std::int64_t iteration) {
  record::Observation o;
  o.iteration = iteration;
  return o;
}

TEST(FdLedger, GoesOnOverExec) {
  FdLedger ledger;
  record::Observation first = observation(0);
  first.processes_born.push_back({1, "qemu:a", 700, 9, 0, "qemu", 0, 1024});
  first.births = {{1, 3, "memfd", "/memfd:ram0 (deleted)"}, {1, 4, "memfd", "lost"}, {1, 5, "memfd", "closed"}};
  ledger.observe(first);
  record::Observation second = observation(1);
  second.processes_ended.push_back({1, true, -1, 0, false, ""});
  second.processes_born.push_back({2, "qemu:b", 700, 9, 1, "qemu", 1, 1024});
  second.births = {{2, 3, "memfd", "kept over exec since iteration 0, mapped: /memfd:ram0 (deleted)"},
                   {2, 4, "memfd", "kept over exec since iteration 0, not mapped: lost"},
                   {2, 6, "memfd", "new"}};
  ledger.observe(second);
  // Known by any id of the pid; number 5 did not survive.
  for (const std::int64_t id : {1, 2}) {
    const base::Json survivors = ledger.survivors(id, "memfd", 0, 4);
    EXPECT_EQ(survivors["count"], 2) << survivors;
    EXPECT_EQ(survivors["kept_over_exec"], 1);
    EXPECT_EQ(survivors["kept_in_use"], 1) << "guest RAM is no suspect";
    EXPECT_EQ(survivors["first"][0]["born_iteration"], 0);
    EXPECT_EQ(survivors["first"][0]["execs_outlived"], 1);
    EXPECT_EQ(survivors["first"][1]["born_iteration"], 1);
    EXPECT_EQ(survivors["by_detail"]["kept over exec, not mapped: lost"], 1) << survivors;
  }
  // An exec without a quiet point in between: what the next look lists was handed down twice.
  record::Observation third = observation(2);
  third.processes_ended.push_back({2, true, -1, 0, false, ""});
  third.processes_born.push_back({3, "qemu:a", 700, 9, 2, "qemu", 2, 1024});
  ledger.observe(third);
  EXPECT_EQ(ledger.survivors(3, "memfd", 0, 9)["count"], 2) << "nothing was looked at: nothing is known to be gone";
  record::Observation fourth = observation(3);
  fourth.births = {{3, 4, "memfd", "kept over exec since iteration 0, not mapped: lost"}};
  ledger.observe(fourth);
  EXPECT_EQ(ledger.survivors(3, "memfd", 0, 9)["count"], 1);
  EXPECT_EQ(ledger.survivors(3, "memfd", 0, 9)["first"][0]["born_iteration"], 0);
  record::Observation fifth = observation(4);
  fifth.processes_ended.push_back({3, true, 0, 0, false, ""});
  ledger.observe(fifth);
  EXPECT_TRUE(ledger.survivors(3, "memfd", 0, 9).is_null());
}

TEST(Generations, AZombieIsNamedWithTheGenerationThatLeftIt) {
  const auto zombies = of(judged(4,
                                 [](record::Observation& o, Soak&) {
                                   if (o.iteration != 2) return;
                                   o.events.push_back(event(record::event_kind::kZombie, "qemu:a", "",
                                                            {{"pid", 77},
                                                             {"parent_pid", 70},
                                                             {"parent", "qemu:a"},
                                                             {"parent_command", "qemu-system-x86_64"},
                                                             {"command", "helper"},
                                                             {"age_ms", 21000.0},
                                                             {"generation", 3},
                                                             {"seen_in_generation", 4}}));
                                 }),
                          "zombie");
  ASSERT_EQ(zombies.size(), 1U);
  EXPECT_EQ(zombies[0].process, "qemu:a");
  EXPECT_EQ(zombies[0].first_iteration, 2);
  EXPECT_EQ(zombies[0].title,
            "qemu:a (qemu-system-x86_64, exec generation 3) did not wait for its child helper: a zombie, 21.0 s old, "
            "since iteration 2, still there in exec generation 4");
  EXPECT_EQ(zombies[0].evidence["generation"], 3);
}

TEST(Generations, AnOrphanIsNamedWithTheGenerationItDescendsFrom) {
  const auto orphans = of(judged(3,
                                 [](record::Observation& o, Soak&) {
                                   if (o.iteration != 1) return;
                                   o.events.push_back(event(record::event_kind::kOrphan, "qemu:b", "",
                                                            {{"pid", 78},
                                                             {"command", "daemon"},
                                                             {"age_ms", 900.0},
                                                             {"descends_from", "qemu:b"},
                                                             {"generation", 5},
                                                             {"reparented", true}}));
                                 }),
                          "orphan");
  ASSERT_EQ(orphans.size(), 1U);
  EXPECT_EQ(orphans[0].title,
            "daemon (a descendant of qemu:b, exec generation 5) outlived its parent: an orphan, 900 ms old, since "
            "iteration 1");
}

}  // namespace
}  // namespace migsoak::detect
