#include "guest/answers.h"

#include <gmock/gmock.h>

#include <string>

#include "guest/heartbeat_log.h"
#include "guest/request_table.h"

namespace migsoak::guest {
namespace {

using base::ErrorKind;
using base::Json;
using Clock = base::Clock;

Json parse(const char* text) {
  auto json = base::parse_json(text);
  EXPECT_TRUE(json);
  return json ? *json : Json();
}

TEST(Answers, ReadsAVerification) {
  const auto report = verify_from_answer(parse(R"({"ok":true,"guest_ms":21.5,
    "ram":{"verified_bytes":33554432,"pages_stale":1,"pages_misplaced":2,"pages_garbage":3,"first":{"page":7}},
    "disks":[{"id":"vd0","pci_address":"0000:00:04.0","verified_bytes":8388608,"written_bytes":4096,"lost":1,"stale":2,
              "torn":3,"misplaced":4,"garbage":5,"io_errors":6,"first":{"block":9,"fault":"lost"}}]})"));
  ASSERT_TRUE(report) << report.error().describe();
  EXPECT_EQ(report->ram.verified_bytes, 33554432u);
  EXPECT_EQ(report->ram.pages_misplaced, 2u);
  EXPECT_FALSE(report->ram.good());
  EXPECT_EQ(report->ram.first["page"], 7);
  ASSERT_EQ(report->disks.size(), 1u);
  EXPECT_EQ(report->disks[0].id, "vd0");
  EXPECT_EQ(report->disks[0].pci_address, "0000:00:04.0");
  EXPECT_EQ(report->disks[0].io_errors, 6u);
  EXPECT_EQ(report->disks[0].first["fault"], "lost");
  EXPECT_DOUBLE_EQ(report->guest_ms, 21.5);
}

TEST(Answers, ClampsAndEscapesWhatAHostileGuestSays) {
  const auto report = verify_from_answer(parse(R"({"ok":true,"guest_ms":1e300,
    "ram":{"verified_bytes":-5,"pages_stale":1e300,"pages_garbage":"many","first":[[[1]]]},
    "disks":[{"id":"\u001b[31m","lost":18446744073709551615,"first":{"a":{"deep":1},"b":"\u0007"}}]})"));
  ASSERT_TRUE(report) << report.error().describe();
  EXPECT_EQ(report->ram.verified_bytes, 0u);
  EXPECT_EQ(report->ram.pages_stale, 1ull << 53);
  EXPECT_EQ(report->ram.pages_garbage, 0u);
  EXPECT_TRUE(report->ram.first.empty());
  EXPECT_EQ(report->disks[0].id, "\\x1b[31m");
  EXPECT_EQ(report->disks[0].lost, 1ull << 53);
  EXPECT_EQ(report->disks[0].first, Json({{"b", "\\x07"}}));
  EXPECT_LE(report->guest_ms, 1e12);
}

TEST(Answers, NonsenseIsTheSubjectsFault) {
  for (const char* text : {R"({"ok":true})", R"({"ok":true,"ram":[],"disks":[]})", R"({"ok":true,"ram":{},"disks":{}})",
                           R"({"ok":true,"ram":{},"disks":[1]})", R"({"ok":false,"error":"no"})", R"({})"}) {
    const auto report = verify_from_answer(parse(text));
    ASSERT_FALSE(report) << text;
    EXPECT_EQ(report.error().kind, ErrorKind::subject) << text;
  }
  EXPECT_FALSE(hello_from_answer(parse(R"({"ok":true,"disks":[{"a":1}]})")));
  EXPECT_FALSE(
      pci_config_from_answer(parse(R"({"ok":true,"functions":{"0000:00:00.0":{"size_bytes":256,"hex":"zz"}}})")));
  EXPECT_FALSE(pci_config_from_answer(parse(R"({"ok":true,"functions":{"../etc":{"size_bytes":2,"hex":"00"}}})")));
  EXPECT_FALSE(
      pci_config_from_answer(parse(R"({"ok":true,"functions":{"0000:00:00.0":{"size_bytes":1e9,"hex":"00"}}})")));
}

TEST(Answers, PadsConfigSpaceToItsSize) {
  const auto configs =
      pci_config_from_answer(parse(R"({"ok":true,"functions":{"0000:00:00.0":{"size_bytes":4,"hex":"8680"}}})"));
  ASSERT_TRUE(configs);
  EXPECT_EQ(configs->at("0000:00:00.0"), "86800000");
}

TEST(Answers, ArgumentsAreWordsOrRefused) {
  EXPECT_EQ(*arguments_text({{"a", 1}, {"b", "x"}, {"c", true}}), " a=1 b=x c=true");
  EXPECT_EQ(*arguments_text(Json()), "");
  for (const Json& bad : {Json{{"a", "two words"}}, Json{{"a", Json::array()}}, Json{{"a=b", 1}}, Json{{"a", "\n"}},
                          Json{{"a", ""}}, Json{{"a", std::string(2000, 'x')}}, Json("word")}) {
    const auto text = arguments_text(bad);
    ASSERT_FALSE(text) << bad;
    EXPECT_EQ(text.error().kind, ErrorKind::bad_input);
  }
}

TEST(RequestTable, PutsPartsTogetherInAnyOrderAndOnce) {
  RequestTable requests(0x10);
  const std::uint64_t id = requests.add("verify a=1");
  EXPECT_EQ(requests.line_of(id), "Q 10 verify a=1");
  EXPECT_TRUE(requests.take_part("A 10 2 2 :1}"));
  EXPECT_FALSE(requests.answered(id));
  EXPECT_EQ(requests.unanswered().size(), 1u);
  EXPECT_TRUE(requests.take_part("A 10 1 2 {\"x\""));
  EXPECT_TRUE(requests.take_part("A 10 1 1 {\"x\":2}"));  // the answer to a repetition changes nothing
  EXPECT_TRUE(requests.unanswered().empty());
  EXPECT_EQ(requests.take_answer(id), Json({{"x", 1}}));
  EXPECT_FALSE(requests.take_answer(id));
  EXPECT_TRUE(requests.take_part("A 10 1 1 {}")) << "a late repetition is no protocol error";
}

TEST(RequestTable, RefusesWhatNobodyAskedFor) {
  RequestTable requests(1);
  requests.add("ping");
  for (const char* text : {"A 2 1 1 {}", "A 1 0 1 {}", "A 1 2 1 {}", "A 1 1 99999999 {}", "A 1 1", "A x 1 1 {}", "A",
                           "", "Z 1 1 1 {}", "A 1 -1 1 {}", "A 11111111111111111 1 1 {}"}) {
    EXPECT_FALSE(requests.take_part(text)) << text;
  }
}

TEST(RequestTable, AnAnswerThatIsNoJsonIsNull) {
  RequestTable requests(1);
  const std::uint64_t id = requests.add("ping");
  EXPECT_TRUE(requests.take_part("A 1 1 1 " + std::string(400, '[')));
  EXPECT_EQ(requests.take_answer(id), Json());
}

TEST(HeartbeatLog, MeasuresTheLongestSilenceAndTheLost) {
  HeartbeatLog log;
  const Clock::time_point start = Clock::now();
  const auto at = [&](int ms) { return start + std::chrono::milliseconds(ms); };
  EXPECT_EQ(log.take_line(1, "H a 989680", at(0)), HeartbeatLog::Outcome::noted);
  EXPECT_EQ(log.take_line(1, "H b 1312d00", at(12)), HeartbeatLog::Outcome::noted);
  EXPECT_EQ(log.take_line(2, "H e 1c9c380", at(80)), HeartbeatLog::Outcome::noted);
  HeartbeatGap gap = log.take_gap();
  EXPECT_DOUBLE_EQ(gap.host_ms, 68);
  EXPECT_DOUBLE_EQ(gap.guest_ms, 10);
  EXPECT_EQ(gap.lost, 2u);
  EXPECT_EQ(log.count_on(1), 2u);
  EXPECT_EQ(log.first_on(2)->sequence, 14u);
  // A silence that began before take_gap() and ends after it counts after it.
  log.take_line(2, "H f 1c9c380", at(180));
  EXPECT_DOUBLE_EQ(log.take_gap().host_ms, 100);
  EXPECT_DOUBLE_EQ(log.take_gap().host_ms, 0);
}

TEST(HeartbeatLog, NoticesAGuestThatWentBackAndSurvivesHostileNumbers) {
  HeartbeatLog log;
  const Clock::time_point now = Clock::now();
  EXPECT_EQ(log.take_line(1, "H 5 1", now), HeartbeatLog::Outcome::noted);
  EXPECT_EQ(log.take_line(2, "H 5 1", now), HeartbeatLog::Outcome::out_of_order);
  EXPECT_EQ(log.take_line(1, "H ffffffffffffffff ffffffffffffffff", now), HeartbeatLog::Outcome::noted);
  EXPECT_EQ(log.take_line(1, "H 0 0", now), HeartbeatLog::Outcome::out_of_order);
  EXPECT_EQ(log.take_line(1, "H ffffffffffffffff 0", now), HeartbeatLog::Outcome::noted);
  EXPECT_LE(log.take_gap().lost, 1'000'000'000u);
  for (const char* text : {"H", "H ", "H 1", "H x 1", "H 1 x", "H 1ffffffffffffffff 1", "h 1 1", "H  1 1", "H -1 1"}) {
    EXPECT_EQ(log.take_line(1, text, now), HeartbeatLog::Outcome::not_a_heartbeat) << text;
  }
}

}  // namespace
}  // namespace migsoak::guest
