#include "record/run_end.h"

#include <gtest/gtest.h>

namespace migsoak::record {
namespace {

RunEnd ended(std::int64_t finished, const std::string& reason, std::int64_t left_out = 0) {
  return {200, finished, left_out, reason};
}

TEST(RunEnd, WhatEndedBeforeItsPlanDidIsNeverPass) {
  for (const char* reason : {"", "interrupted", "harness: database or disk is full", "stopped: 20 migrations failed",
                             "stopped: --stop-on-finding, iteration 1", "something new"}) {
    SCOPED_TRACE(reason);
    EXPECT_EQ(verdict_of_run(ended(2, reason), Verdict::pass), Verdict::unknown);
    EXPECT_EQ(verdict_of_run(ended(2, reason), Verdict::unknown), Verdict::unknown);
    EXPECT_EQ(verdict_of_run(ended(2, reason), Verdict::fail), Verdict::fail);
    EXPECT_FALSE(why_unfinished(ended(2, reason)).empty());
  }
}

TEST(RunEnd, WhatCameToItsEndIsWhatWasFound) {
  for (const RunEnd& end :
       {ended(200, "finished"), ended(150, "finished", 50), ended(40, end_reason::kDurationOver),
        ended(200, "stopped: --stop-on-finding, iteration 199"), ended(190, "stopped: the guest was lost", 10)}) {
    SCOPED_TRACE(end.reason);
    for (const Verdict verdict : {Verdict::pass, Verdict::unknown, Verdict::fail}) {
      EXPECT_EQ(verdict_of_run(end, verdict), verdict);
    }
    EXPECT_EQ(why_unfinished(end), "");
  }
}

// The harness's own failure says nothing of what came before it, however much there was; nor did older versions count
// what a resumed run was to add.
TEST(RunEnd, NumbersDoNotOutweighTheReason) {
  for (const char* reason : {"", "interrupted", "harness: fork failed"}) {
    EXPECT_EQ(verdict_of_run(ended(200, reason), Verdict::pass), Verdict::unknown) << reason;
  }
}

TEST(RunEnd, SaysWhy) {
  EXPECT_EQ(why_unfinished(ended(2, "interrupted")), "the run was interrupted");
  EXPECT_EQ(why_unfinished(ended(2, "harness: disk full")), "the harness or its environment failed: disk full");
  EXPECT_EQ(why_unfinished(ended(2, "stopped: guest lost")), "the run was stopped: guest lost");
  EXPECT_EQ(why_unfinished(ended(2, "")), "the run has no end on record: it is still going on, or was killed");
}

}  // namespace
}  // namespace migsoak::record
