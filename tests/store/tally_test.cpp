#include <gtest/gtest.h>

#include "store/scratch.h"
#include "store/store.h"
#include "store/synthetic.h"

namespace migsoak::store {
namespace {

// Iterations of two lanes; `read.x` is there in every third one not, and 0 where `zero` says so.
TEST(Tally, CountsWhatIsThereAndWhatIsNotZero) {
  scratch::Directory directory;
  const auto store = Store::create(directory.file("t.db"), synthetic::manifest(60));
  ASSERT_TRUE(store) << store.error().describe();
  std::int64_t wanted = 0, done = 0;
  for (int i = 0; i < 60; ++i) {
    record::Observation o;
    o.iteration = i;
    o.lane = i / 30;
    o.status = record::IterationStatus::completed;
    o.plan = {i, "a", "b", "precopy", "unix"};
    const bool zero = i == 4 || i == 5 || i == 31 || i >= 58;
    o.samples.push_back({"host", 0, "other", static_cast<double>(i)});
    if (i % 3 != 0) {
      o.samples.push_back({"host", 0, "read.x", zero ? 0.0 : 1.0});
      ++wanted;
      done += zero ? 0 : 1;
    }
    ASSERT_TRUE((*store)->begin(o));
    ASSERT_TRUE((*store)->finish(o, record::Verdict::pass));
  }
  const auto tallies = (*store)->series_tallies("host", {"read.x", "other", "read.none"});
  ASSERT_TRUE(tallies) << tallies.error().describe();
  ASSERT_EQ(tallies->size(), 3U);
  EXPECT_EQ((*tallies)[0].iterations, wanted);
  EXPECT_EQ((*tallies)[0].not_zero, done);
  EXPECT_EQ((*tallies)[1].iterations, 60);
  EXPECT_EQ((*tallies)[1].not_zero, 59);
  EXPECT_EQ((*tallies)[2].iterations, 0);
}

}  // namespace
}  // namespace migsoak::store
