#include "engine/recorder.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <gtest/gtest.h>

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

}  // namespace
}  // namespace migsoak::engine
