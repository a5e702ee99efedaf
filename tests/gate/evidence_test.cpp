// What is read of a database, and a gate from end to end.
#include "gate/evidence.h"

#include <gmock/gmock.h>

#include "runs.h"
#include "store/scratch.h"
#include "store/store.h"
#include "store/synthetic.h"

namespace migsoak::gate {
namespace {

using record::IterationStatus;
using record::Verdict;
using testing::ElementsAre;
using testing::SizeIs;

struct Recorded {
  IterationStatus status = IterationStatus::completed;
  Verdict verdict = Verdict::pass;
  std::string mode = "precopy";
  double downtime_ms = 50;
  int hangs = 0;
};

std::unique_ptr<store::Store> database(const scratch::Directory& directory, const std::string& name,
                                       const std::vector<Recorded>& iterations) {
  auto created =
      store::Store::create(directory.file(name), synthetic::manifest(static_cast<std::int64_t>(iterations.size())));
  EXPECT_TRUE(created) << created.error().describe();
  Verdict worst = Verdict::pass;
  std::int64_t number = 0;
  for (const Recorded& one : iterations) {
    record::Observation observation;
    observation.iteration = number++;
    observation.plan = {observation.iteration, "a", "b", one.mode, "unix"};
    EXPECT_TRUE((*created)->begin(observation));
    observation.status = one.status;
    if (one.status == IterationStatus::completed) {
      observation.samples.push_back({"migration", 0, "downtime_ms", one.downtime_ms});
    }
    for (int i = 0; i < one.hangs; ++i)
      observation.events.push_back({record::event_kind::kHang, "qemu:a", 0, "", 0, "", {}});
    if (one.status == IterationStatus::unknown) {
      observation.events.push_back({record::event_kind::kHarnessError, "harness", 0, "", 0, "disk full", {}});
    }
    EXPECT_TRUE((*created)->finish(observation, one.verdict));
    worst = std::max(worst, one.verdict);
  }
  EXPECT_TRUE((*created)->end_run(worst, record::end_reason::kFinished));
  return std::move(*created);
}

TEST(Evidence, CountsWhatCanBeTold) {
  const scratch::Directory directory;
  const auto store = database(directory, "r.db",
                              {{},
                               {IterationStatus::completed, Verdict::pass, "local", 70},
                               {IterationStatus::failed, Verdict::fail},
                               {IterationStatus::failed, Verdict::pass},  // as the scenario declares
                               {IterationStatus::lost, Verdict::fail, "precopy", 0, 2},
                               {IterationStatus::completed, Verdict::pass, "precopy", 40, 1},  // excused
                               {IterationStatus::unknown, Verdict::unknown}});
  const auto evidence = evidence_of(*store, {{"migration", "downtime_ms", 5}, {"host", "no_such_ms", 1}});
  ASSERT_TRUE(evidence) << evidence.error().describe();
  EXPECT_EQ(evidence->told, 6);
  EXPECT_EQ(evidence->untold, 1);
  EXPECT_EQ(evidence->failures, 2);
  EXPECT_EQ(evidence->losses, 1);
  EXPECT_EQ(evidence->hangs, 1);
  EXPECT_EQ(evidence->harness_errors, 1);
  EXPECT_EQ(evidence->first_harness_error, "disk full");
  EXPECT_EQ(evidence->recorded, Verdict::fail);
  EXPECT_THAT(evidence->values, SizeIs(2));
  EXPECT_THAT(evidence->values.at({"migration", "downtime_ms", "precopy"}), ElementsAre(40, 50));
  EXPECT_THAT(evidence->values.at({"migration", "downtime_ms", "local"}), ElementsAre(70));
}

TEST(Evidence, AGateFromEndToEnd) {
  const scratch::Directory directory;
  std::vector<Recorded> before(100), now(100);
  for (int i = 0; i < 100; ++i) before[i].downtime_ms = 50 + i % 7, now[i].downtime_ms = 70 + i % 5;
  const auto baseline = database(directory, "before.db", before);
  const auto run = database(directory, "now.db", now);
  Policy policy;
  policy.same = {"scenario", "qemu", "kernel"};
  const auto alone = gate(*run, nullptr, policy, kDay);
  ASSERT_TRUE(alone) << alone.error().describe();
  EXPECT_EQ(alone->verdict, Verdict::pass) << text_of(*alone);
  const auto compared = gate(*run, baseline.get(), policy, kDay);
  ASSERT_TRUE(compared) << compared.error().describe();
  EXPECT_EQ(compared->verdict, Verdict::fail) << text_of(*compared);
  EXPECT_EQ(compared->baseline, baseline->path());
  EXPECT_EQ(gate(*baseline, run.get(), policy, kDay)->verdict, Verdict::pass);
}

}  // namespace
}  // namespace migsoak::gate
