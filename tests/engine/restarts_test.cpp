// Whose unanswered requests belong to a restart.
#include "engine/restarts.h"

#include <gmock/gmock.h>

namespace migsoak::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(StalledRequests, OfARestartedTargetAreItsOwn) {
  const Stalled stalled = stalled_of({{"target:disk0", 3}, {"target:disk1", 0}}, {"target:disk0"});
  EXPECT_THAT(stalled.restarted, ElementsAre("target:disk0"));
  EXPECT_THAT(stalled.others, IsEmpty());
}

TEST(StalledRequests, OfATargetThatWasNotRestartedAreAHangOfIts) {
  const Stalled other = stalled_of({{"target:disk0", 0}, {"target:disk1", 2}}, {"target:disk0"});
  EXPECT_THAT(other.restarted, IsEmpty()) << "no part of what was declared";
  EXPECT_THAT(other.others, ElementsAre("target:disk1"));
  const Stalled both = stalled_of({{"target:disk0", 1}, {"target:disk1", 2}}, {"target:disk0"});
  EXPECT_THAT(both.restarted, ElementsAre("target:disk0"));
  EXPECT_THAT(both.others, ElementsAre("target:disk1"));
}

TEST(StalledRequests, TheRestartIsTakenToBeTheReasonWhereNothingIsKnown) {
  EXPECT_THAT(stalled_of({{"target:disk0", std::nullopt}, {"target:disk1", std::nullopt}}, {"target:disk0"}).restarted,
              ElementsAre("target:disk0"));
  EXPECT_THAT(stalled_of({{"target:disk0", 0}}, {"target:disk0"}).restarted, ElementsAre("target:disk0"));
}

}  // namespace
}  // namespace migsoak::engine
