#include "engine/recorder.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <gtest/gtest.h>

#include <atomic>

#include "engine/lane_threads.h"
#include "engine/progress.h"
#include "engine/work_queue.h"
#include "store/scratch.h"
#include "store/synthetic.h"

namespace migsoak::engine {
namespace {

// Without documents: the synthetic ones differ from side to side.
record::Observation quiet(synthetic::Run& run) {
  record::Observation o = run.next();
  o.documents.clear();
  return o;
}

record::Observation with_noise(synthetic::Run& run) {
  record::Observation o = quiet(run);
  o.events.push_back({record::event_kind::kHang, "qemu:a", 0, "migrate", 3, "no answer", base::Json::object()});
  return o;
}

TEST(Recorder, AnIterationsFindingsAreThereWithItOrNotAtAll) {
  const scratch::Directory directory;
  const std::string path = directory.file("results.db");
  auto store = store::Store::create(path, synthetic::manifest());
  ASSERT_TRUE(store);
  Recorder recorder(**store);
  synthetic::Run run;
  ASSERT_TRUE(recorder.finish(quiet(run)));
  SQLite::Database db(path, SQLite::OPEN_READWRITE);
  db.exec("CREATE TRIGGER no BEFORE INSERT ON finding BEGIN SELECT RAISE(ABORT, 'no'); END");
  EXPECT_FALSE(recorder.finish(with_noise(run)));
  EXPECT_EQ((*store)->summary()->last_finished, 0) << "a verdict without its finding";
}

TEST(Recorder, WritesWhatChangedAndASecondSessionGoesOn) {
  const scratch::Directory directory;
  const std::string path = directory.file("results.db");
  auto store = store::Store::create(path, synthetic::manifest());
  ASSERT_TRUE(store);
  synthetic::Run run;
  {
    Recorder recorder(**store);
    const auto first = recorder.finish(with_noise(run));
    ASSERT_TRUE(first);
    EXPECT_EQ(first->size(), 1U);
    for (int i = 0; i < 5; ++i) {
      const auto again = recorder.finish(with_noise(run));
      ASSERT_TRUE(again);
      EXPECT_TRUE(again->empty());
      EXPECT_EQ(*(*store)->findings(), recorder.findings());
    }
  }
  Recorder recorder(**store);
  ASSERT_TRUE(recorder.rebuild_judge_state([](const record::Observation&) {}));
  EXPECT_EQ(recorder.finished(), 6);
  EXPECT_EQ(*(*store)->findings(), recorder.findings());
  const auto again = recorder.finish(with_noise(run));
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->empty()) << "known from before";
  EXPECT_EQ((*store)->findings()->front().count, 7);
}

// As the lanes of a run share them: each takes work, records, shows how it goes and looks whether another said stop.
TEST(Recorder, LanesRecordSideBySideAndOneStopsThemAll) {
  const scratch::Directory directory;
  constexpr int kLanes = 4;
  constexpr std::int64_t kPlanned = 400, kStopAt = 150;
  auto store = store::Store::create(directory.file("results.db"), synthetic::manifest(kPlanned));
  ASSERT_TRUE(store);
  Recorder recorder(**store);
  WorkQueue work({{0, kPlanned}}, /*lineage=*/4, kLanes);
  StopToken stop;
  std::atomic<int> reported = 0;
  {
    // It shows what it does: captured, what ThreadSanitizer has to say would be lost with it.
    Progress progress(true, "synthetic", 0, kPlanned);
    run_side_by_side(kLanes, stop, [&](int lane) {
      synthetic::Run run(static_cast<std::uint64_t>(lane));
      while (const auto stretch = work.take()) {
        const int lineage = recorder.next_lineage();
        for (std::int64_t index = stretch->begin; index < stretch->end && !stop.asked(); ++index) {
          record::Observation o = index % 10 == 0 ? with_noise(run) : quiet(run);
          synthetic::give_to_lane(o, lane, index);
          o.lineage = lineage;
          EXPECT_TRUE(recorder.begin(o));
          const auto fresh = recorder.finish(o);
          ASSERT_TRUE(fresh);
          work.finished(index);
          progress.finished(o, *fresh);
          if (index % 100 == 0) progress.note("noted");
          reported += static_cast<int>(fresh->size());
          EXPECT_GE(recorder.findings().size(), fresh->size());
          EXPECT_GT(recorder.next_process_id(), 0);
          (void)recorder.verdict();
          if (recorder.finished() >= kStopAt) stop.stop("stopped: enough");
        }
        if (stop.asked()) return;
      }
    });
  }
  EXPECT_EQ(stop.stopped_because(), "stopped: enough");
  EXPECT_EQ(stop.harness_error(), "");
  // Each lane ends the iteration that it is in, and no more.
  EXPECT_GE(recorder.finished(), kStopAt);
  EXPECT_LT(recorder.finished(), kStopAt + kLanes);
  EXPECT_EQ(work.missing(), kPlanned - recorder.finished());
  EXPECT_EQ(reported, static_cast<int>(recorder.findings().size())) << "each finding is new to one lane only";
  EXPECT_EQ(*(*store)->findings(), recorder.findings());
  const auto rows = (*store)->iterations();
  ASSERT_TRUE(rows);
  EXPECT_EQ(static_cast<std::int64_t>(rows->size()), recorder.finished());
}

}  // namespace
}  // namespace migsoak::engine
