#include "engine/reads.h"

#include <gtest/gtest.h>

#include <optional>

namespace migsoak::engine {
namespace {

std::optional<double> value_of(const record::Observation& o, const std::string& read) {
  for (const record::Sample& sample : o.samples) {
    if (sample.subject == "host" && sample.metric == record::read_metric(read)) return sample.value;
  }
  return std::nullopt;
}

class ReadsTest : public ::testing::Test {
 protected:
  record::Observation o;
  record::Journal journal{o};
  Reads reads{journal};
};

TEST_F(ReadsTest, WhatWasWantedAndIsWholeIsOne) {
  reads.done("config-space");
  reads.done("config-space");
  reads.conclude();
  EXPECT_EQ(value_of(o, "config-space"), 1.0);
  EXPECT_EQ(value_of(o, "device-tree"), std::nullopt) << "not wanted, so neither done nor missed";
  EXPECT_EQ(o.samples.size(), 1U);
  EXPECT_TRUE(o.events.empty());
}

TEST_F(ReadsTest, WhatFailedIsAnEventAndZero) {
  o.phase = "migrate";
  reads.done("device-tree");
  const double before = journal.at_ms();
  reads.failed("device-tree", "qemu:b", 7, "not a tree: unknown\ncommand");
  const double after = journal.at_ms();
  o.phase = "quiet";
  reads.conclude();
  ASSERT_EQ(o.events.size(), 1U);
  const record::Event& event = o.events.front();
  EXPECT_EQ(event.kind, record::event_kind::kReadFailed);
  EXPECT_EQ(event.subject, "qemu:b");
  EXPECT_EQ(event.process_id, 7);
  EXPECT_EQ(event.phase, "migrate");
  EXPECT_GE(event.at_ms, before);
  EXPECT_LE(event.at_ms, after) << "when it failed, not when it is told";
  EXPECT_EQ(event.detail["read"], "device-tree");
  EXPECT_EQ(event.detail["why"], "not a tree: unknown\\x0acommand");
  EXPECT_EQ(value_of(o, "device-tree"), 0.0);
}

// Its end is on record, and says more.
TEST_F(ReadsTest, AProcessThatEndedUnaskedIsNoMissedRead) {
  reads.done("config-space");
  reads.failed("config-space", "qemu:b", 7, "QMP ended");
  record::ProcessEnd end;
  end.process_id = 7;
  end.expected = false;
  o.processes_ended.push_back(end);
  reads.conclude();
  EXPECT_TRUE(o.events.empty());
  EXPECT_EQ(value_of(o, "config-space"), 1.0);
}

TEST_F(ReadsTest, OneThatWasAskedToEndIsNoExcuse) {
  reads.failed("config-space", "qemu:b", 7, "QMP ended");
  record::ProcessEnd end;
  end.process_id = 7;
  o.processes_ended.push_back(end);
  reads.conclude();
  EXPECT_EQ(o.events.size(), 1U);
  EXPECT_EQ(value_of(o, "config-space"), 0.0);
}

TEST_F(ReadsTest, WhatProbesRecordedCounts) {
  reads.done("samples");
  record::record_failed_read({"samples", "target:disk0", 3, "Permission denied", "quiet", 5}, journal);
  reads.conclude();
  EXPECT_EQ(value_of(o, "samples"), 0.0);
  EXPECT_EQ(o.events.size(), 1U);
}

}  // namespace
}  // namespace migsoak::engine
