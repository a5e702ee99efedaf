#include "proc/look_until.h"

#include <gtest/gtest.h>

namespace migsoak::proc {
namespace {

using base::Deadline;
using std::chrono::milliseconds;

TEST(LookUntil, WhatHoldsAtOnceNeedsNoWait) {
  const auto began = base::Clock::now();
  EXPECT_TRUE(look_until([] { return true; }, Deadline::in(milliseconds(60'000)), milliseconds(60'000)));
  EXPECT_LT(base::milliseconds_between(began, base::Clock::now()), 30'000);
}

TEST(LookUntil, LooksAgainUntilItHolds) {
  int looks = 0;
  EXPECT_TRUE(look_until([&] { return ++looks == 3; }, Deadline::in(milliseconds(60'000))));
  EXPECT_EQ(looks, 3);
}

TEST(LookUntil, TheDeadlineEndsItWithALastLook) {
  int looks = 0;
  const auto never = [&] {
    ++looks;
    return false;
  };
  const auto began = base::Clock::now();
  EXPECT_FALSE(look_until(never, Deadline::in(milliseconds(20)), milliseconds(60'000)));
  EXPECT_GE(base::milliseconds_between(began, base::Clock::now()), 19);
  EXPECT_EQ(looks, 2) << "one at once, one at the end";
  looks = 0;
  EXPECT_FALSE(look_until(never, Deadline::in(milliseconds(0))));
  EXPECT_EQ(looks, 1);
  EXPECT_TRUE(look_until([] { return true; }, Deadline::in(milliseconds(0)))) << "late, and there all the same";
}

}  // namespace
}  // namespace migsoak::proc
