#include "record/journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace migsoak::record {
namespace {

using testing::ElementsAre;
using testing::Field;

TEST(JournalTest, an_entry_is_written_down_at_the_end_of_its_scope) {
  Observation into;
  Journal journal(into);
  journal.begin_phase("spawn");
  {
    const auto entry = journal.event(event_kind::kHang, "qemu:a");
    journal.event(event_kind::kLogLine, "qemu:a").text("said meanwhile");
    journal.begin_phase("migrate");
    EXPECT_EQ(into.events.size(), 1U);
  }
  EXPECT_THAT(into.events,
              ElementsAre(Field(&Event::kind, event_kind::kLogLine), Field(&Event::kind, event_kind::kHang)));
  EXPECT_EQ(into.events[1].phase, "spawn");  // where it happened, not where it was written down
}

TEST(JournalTest, an_entry_holds_what_it_was_given) {
  Observation into;
  Journal journal(into, base::Clock::now() - std::chrono::seconds(2));
  journal.begin_phase("quiet");
  journal.event(event_kind::kHang, "guest").process(7).text("a\nb").detail({{"why", "x"}}).detail("waited_ms", 3);
  ASSERT_EQ(into.events.size(), 1U);
  const Event& event = into.events.front();
  EXPECT_EQ(event.process_id, 7);
  EXPECT_EQ(event.text, "a\\x0ab");
  EXPECT_EQ(event.detail, (base::Json{{"why", "x"}, {"waited_ms", 3}}));
  EXPECT_GE(event.at_ms, 2000);
  EXPECT_LT(event.at_ms, 60000);
}

TEST(JournalTest, a_text_is_bounded) {
  Observation into;
  Journal journal(into);
  journal.event(event_kind::kLogLine, "guest").text(std::string(5000, 'x'));
  EXPECT_LE(into.events.front().text.size(), 1000U);
}

TEST(JournalTest, a_committed_entry_is_written_once_and_can_be_amended) {
  Observation into;
  Journal journal(into);
  journal.event(event_kind::kLogLine, "guest").text("before");
  std::size_t place = 0;
  {
    auto entry = journal.event(event_kind::kUpgradeFailure, "qemu:b");
    entry.detail({{"fate", "source"}});
    place = entry.commit();
    EXPECT_EQ(entry.commit(), place);
  }
  journal.event(event_kind::kLogLine, "guest").text("after");
  journal.amend(place, "migrates", true);
  ASSERT_EQ(into.events.size(), 3U);
  EXPECT_EQ(into.events[1].detail, (base::Json{{"fate", "source"}, {"migrates", true}}));
}

TEST(JournalTest, an_event_may_have_begun_earlier) {
  Observation into;
  Journal journal(into);
  journal.begin_phase("quiet");
  journal.event(event_kind::kTargetRestart, "target:disk0").since("restart", 12.5);
  EXPECT_EQ(into.events.front().phase, "restart");
  EXPECT_EQ(into.events.front().at_ms, 12.5);
}

TEST(JournalTest, a_phase_scope_gives_the_phase_back) {
  Observation into;
  Journal journal(into);
  journal.begin_phase("spawn");
  {
    const PhaseScope teardown(journal, "teardown");
    journal.event(event_kind::kLogLine, "qemu:a");
  }
  EXPECT_EQ(into.events.front().phase, "teardown");
  EXPECT_EQ(into.phase, "spawn");
}

}  // namespace
}  // namespace migsoak::record
