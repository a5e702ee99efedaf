// What stops one lane stops them all, an exception included.
#include "engine/lane_threads.h"

#include <gmock/gmock.h>

#include <atomic>
#include <latch>
#include <stdexcept>
#include <thread>

#include "base/deadline.h"

namespace migsoak::engine {
namespace {

using ::testing::HasSubstr;

// Lives its iterations until it is told to stop; true when it was, in time.
bool told_to_stop(const StopToken& stop) {
  const auto deadline = base::Deadline::in(std::chrono::seconds(30));
  while (!stop.asked() && !deadline.passed()) std::this_thread::yield();
  return stop.asked();
}

TEST(LaneThreads, RunsEachLaneOnce) {
  std::atomic<int> sum = 0;
  StopToken stop;
  run_side_by_side(5, stop, [&](int lane) { sum += 1 << (4 * lane); });
  EXPECT_EQ(sum, 0x11111);
  EXPECT_FALSE(stop.asked());
}

TEST(LaneThreads, AnExceptionInAnyLaneEndsTheRunAsTheHarnesssFailure) {
  for (const int thrower : {0, 1, 2}) {
    StopToken stop;
    std::latch all_run(3);
    std::atomic<int> stopped = 0;
    run_side_by_side(3, stop, [&](int lane) {
      all_run.arrive_and_wait();
      if (lane == thrower) throw std::runtime_error("no such directory");
      if (told_to_stop(stop)) ++stopped;
    });
    EXPECT_EQ(stopped, 2);
    EXPECT_THAT(stop.harness_error(), HasSubstr("no such directory"));
    EXPECT_FALSE(stop.interrupted());
  }
  StopToken stop;
  run_side_by_side(1, stop, [](int) { throw 3; });
  EXPECT_FALSE(stop.harness_error().empty());
}

TEST(StopToken, TheFirstWordCounts) {
  StopToken stop;
  EXPECT_FALSE(stop.asked());
  stop.stop("stopped: one");
  stop.stop("stopped: two");
  EXPECT_TRUE(stop.asked());
  EXPECT_EQ(stop.stopped_because(), "stopped: one");
  stop.harness_failed("disk full");
  stop.harness_failed("disk still full");
  EXPECT_EQ(stop.harness_error(), "disk full");
  stop.interrupt();
  EXPECT_TRUE(stop.interrupted());
  StopToken unexplained;
  unexplained.harness_failed("");
  EXPECT_TRUE(unexplained.asked());
}

}  // namespace
}  // namespace migsoak::engine
