// What is still to be done, and who gets it. Nothing is started.
#include "engine/work_queue.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <set>

namespace migsoak::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<Stretch> all_of(WorkQueue& work) {
  std::vector<Stretch> taken;
  while (const auto stretch = work.take()) taken.push_back(*stretch);
  return taken;
}

TEST(IterationSet, KnowsWhatIsMissing) {
  IterationSet done;
  EXPECT_EQ(done.last(), -1);
  EXPECT_THAT(done.missing_of({0, 5}), ElementsAre(Stretch{0, 5}));
  for (const int i : {0, 1, 2, 7, 5, 6, 12, 1}) done.add(i);
  EXPECT_EQ(done.last(), 12);
  EXPECT_THAT(done.missing_of({0, 15}), ElementsAre(Stretch{3, 5}, Stretch{8, 12}, Stretch{13, 15}));
  EXPECT_THAT(done.missing_of({1, 4}), ElementsAre(Stretch{3, 4}));
  EXPECT_THAT(done.missing_of({5, 8}), IsEmpty());
  EXPECT_THAT(done.missing_of({20, 22}), ElementsAre(Stretch{20, 22}));
  EXPECT_THAT(done.missing_of({5, 5}), IsEmpty());
  done.add({2, 13});  // over several
  EXPECT_THAT(done.missing_of({0, 15}), ElementsAre(Stretch{13, 15}));
  done.add({40, 40});
  EXPECT_EQ(done.last(), 12);
}

TEST(WorkQueue, ByLineage) {
  WorkQueue work({{0, 50}}, 20, 2);
  EXPECT_EQ(work.lanes(), 2);
  EXPECT_THAT(all_of(work), ElementsAre(Stretch{0, 20}, Stretch{20, 40}, Stretch{40, 50}));
  EXPECT_EQ(work.missing(), 50) << "taken is not done";
}

// 4 lanes of 1000 iterations, killed at 10 %: what lies between what the lanes had finished is not forgotten.
TEST(WorkQueue, AResumedRunMakesUpForEveryHole) {
  IterationSet done;
  for (int lane = 0; lane < 4; ++lane) done.add({lane * 250, lane * 250 + 25});
  for (const std::int64_t lineage : {0, 1, 7, 100, 250, 5000}) {
    for (const int lanes : {1, 2, 3, 4, 9, 64}) {
      WorkQueue work(done.missing_of({0, 1000}), lineage, lanes);
      std::set<std::int64_t> covered;
      for (const Stretch& stretch : all_of(work)) {
        for (std::int64_t i = stretch.begin; i < stretch.end; ++i) {
          EXPECT_TRUE(covered.insert(i).second) << "twice: " << i;
          EXPECT_TRUE(i % 250 >= 25) << "again: " << i;
        }
        if (lineage > 0) {
          EXPECT_EQ(stretch.begin / lineage, (stretch.end - 1) / lineage) << "over the end of a lineage";
          // It begins where a lineage does, or where an earlier session broke one off.
          EXPECT_TRUE(stretch.begin % lineage == 0 || stretch.begin % 250 == 25) << stretch.begin;
        }
      }
      EXPECT_EQ(covered.size(), 900U) << lineage << " " << lanes;
      EXPECT_EQ(work.missing(), 900);
    }
  }
}

TEST(WorkQueue, NothingIsMissing) {
  WorkQueue work({}, 20, 3);
  EXPECT_EQ(work.lanes(), 1);
  EXPECT_FALSE(work.take());
  EXPECT_EQ(work.missing(), 0);
  WorkQueue endless({}, 0, 3);
  EXPECT_EQ(endless.lanes(), 1);
  EXPECT_FALSE(endless.take());
}

TEST(WorkQueue, AnEndlessLineageIsCutIntoEvenBlocks) {
  WorkQueue fresh({{0, 10}}, 0, 3);
  EXPECT_EQ(fresh.lanes(), 3);
  EXPECT_THAT(all_of(fresh), ElementsAre(Stretch{0, 3}, Stretch{3, 6}, Stretch{6, 10}));
  WorkQueue alone({{0, 10}}, 0, 1);
  EXPECT_THAT(all_of(alone), ElementsAre(Stretch{0, 10}));
  WorkQueue small({{0, 2}}, 0, 5);
  EXPECT_EQ(small.lanes(), 2);
  EXPECT_THAT(all_of(small), ElementsAre(Stretch{0, 1}, Stretch{1, 2}));
}

// Resumed: each hole is a guest of its own, and lanes that would have nothing to do share the longest.
TEST(WorkQueue, AnEndlessLineageIsResumedHoleByHole) {
  WorkQueue fewer({{3, 5}, {7, 10}, {12, 40}}, 0, 2);
  EXPECT_EQ(fewer.lanes(), 2);
  EXPECT_THAT(all_of(fewer), ElementsAre(Stretch{3, 5}, Stretch{7, 10}, Stretch{12, 40}));
  WorkQueue more({{3, 5}, {7, 10}, {12, 40}}, 0, 6);
  EXPECT_EQ(more.lanes(), 6);
  EXPECT_THAT(all_of(more), ElementsAre(Stretch{3, 5}, Stretch{7, 10}, Stretch{12, 19}, Stretch{19, 26},
                                        Stretch{26, 33}, Stretch{33, 40}));
}

TEST(WorkQueue, NoMoreLanesThanLineages) {
  EXPECT_EQ(WorkQueue({{0, 40}}, 20, 8).lanes(), 2);
  EXPECT_EQ(WorkQueue({{19, 21}}, 20, 8).lanes(), 2);
  EXPECT_EQ(WorkQueue({{5, 6}}, 20, 8).lanes(), 1);
  EXPECT_EQ(WorkQueue({{0, 4000}}, 20, 8).lanes(), 8);
}

TEST(WorkQueue, CountsWhatIsDoneAndWhatIsLeftOut) {
  WorkQueue work({{0, 20}}, 10, 1);
  const auto first = work.take();
  for (int i = 0; i < 4; ++i) work.finished(i);
  work.left_out({4, first->end});
  EXPECT_EQ(work.missing(), 10);
  EXPECT_EQ(work.left_out(), 6);
  for (int i = 10; i < 20; ++i) work.finished(i);
  EXPECT_EQ(work.missing(), 0);
}

}  // namespace
}  // namespace migsoak::engine
