#include "guest/console_text.h"

#include <gmock/gmock.h>

#include <string>

namespace migsoak::guest {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(ConsoleText, TellsADeadGuestFromAHurtOne) {
  EXPECT_EQ(alarm_of("[ 1.2] Kernel panic - not syncing: sysrq triggered crash"), Alarm::fatal);
  EXPECT_EQ(alarm_of("agent: fatal: /dev/ttyS1: No such device"), Alarm::fatal);
  EXPECT_EQ(alarm_of("[ 9.9] Oops: 0002 [#1] PREEMPT SMP NOPTI"), Alarm::hurt);
  EXPECT_EQ(alarm_of("[ 9.9] BUG: kernel NULL pointer dereference, address: 0"), Alarm::hurt);
  EXPECT_EQ(alarm_of("[ 9.9] watchdog: BUG: soft lockup - CPU#0 stuck for 22s!"), Alarm::hurt);
  EXPECT_EQ(alarm_of("[ 9.9] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:"), Alarm::hurt);
  EXPECT_EQ(alarm_of("[ 9.9] I/O error, dev vda, sector 8 op 0x1:(WRITE)"), Alarm::hurt);
  EXPECT_EQ(alarm_of("[ 0.1] virtio_blk virtio0: [vda] 131072 512-byte logical blocks"), Alarm::none);
}

TEST(ConsoleText, JoinsPiecesAndEscapes) {
  ConsoleText text;
  text.add_bytes("hello \x1b[31m");
  text.add_bytes("world\r\n\r\nKernel pa");
  EXPECT_FALSE(text.panicked());
  text.add_bytes("nic - not syncing\n");
  EXPECT_TRUE(text.panicked());
  EXPECT_THAT(text.take_lines(), ElementsAre("hello \\x1b[31mworld", "Kernel panic - not syncing"));
  EXPECT_THAT(text.take_lines(), IsEmpty());
  EXPECT_THAT(text.take_alarm_lines(), ElementsAre("Kernel panic - not syncing"));
  EXPECT_THAT(text.last_lines(), SizeIs(2));
}

TEST(ConsoleText, BoundsAFloodAndCountsWhatItDrops) {
  ConsoleText text;
  for (int i = 0; i < 5000; ++i) text.add_bytes("BUG: line " + std::to_string(i) + "\n");
  text.add_bytes(std::string(100'000, 'x') + "\n");
  EXPECT_GT(text.take_dropped_bytes(), 98'000u);
  EXPECT_THAT(text.take_lines(), SizeIs(200));
  EXPECT_THAT(text.take_alarm_lines(), SizeIs(100));
  EXPECT_THAT(text.last_lines(), SizeIs(40));
  EXPECT_EQ(text.take_dropped_bytes(), 0u);
}

}  // namespace
}  // namespace migsoak::guest
