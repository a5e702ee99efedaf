#include <gmock/gmock.h>

#include "report/campaign.h"
#include "report/report.h"

namespace migsoak::report {
namespace {

TEST(FindingsJson, IsTheContractFieldByField) {
  Campaign campaign("it's.db");
  ASSERT_TRUE(campaign.store->replace_findings({leak()}, {}));
  ASSERT_TRUE(campaign.store->end_run(record::Verdict::fail, "finished"));
  const auto json = findings_json(*campaign.store);
  ASSERT_TRUE(json) << json.error().describe();
  const base::Json expected = {
      {"run", "synthetic-20260101T000000Z"},
      {"scenario", "synthetic"},
      {"verdict", "fail"},
      {"iterations", 30},
      {"findings",
       {{{"detector", "fd-leak"},
         {"severity", "fail"},
         {"blame", "subject"},
         {"process", "target:disk0"},
         {"kind", "eventfd"},
         {"first_iteration", 0},
         {"detected_iteration", 9},
         {"count", 1},
         {"rate_per_iteration", 4.0},
         {"exhausts_at_iteration", 143},
         {"title", "target:disk0 gains exactly 4 eventfds per iteration; reaches RLIMIT_NOFILE 1024 at iteration 143"},
         {"fingerprint", "fd-leak-0123456789ab"},
         {"replay", "migsoak replay '" + campaign.directory.path() + "/it'\\''s.db' --iteration 9"},
         {"evidence", {{"confidence", "exact: +4 in each of 10 iterations"}, {"limit", 1024}, {"base", 7}}}}}}};
  EXPECT_EQ(*json, expected) << json->dump(1);
  // rate_per_iteration stays a floating number, iterations stay integers.
  EXPECT_TRUE((*json)["findings"][0]["rate_per_iteration"].is_number_float());
  EXPECT_TRUE((*json)["findings"][0]["first_iteration"].is_number_integer());
}

TEST(FindingsJson, KeysWithoutMeaningAreLeftOut) {
  Campaign campaign("results.db", 2, 0);
  record::Finding hang;
  hang.detector = "hang";
  hang.severity = record::Severity::warn;
  hang.blame = record::Blame::environment;
  hang.title = "t";
  hang.fingerprint = "f";
  hang.count = 3;
  ASSERT_TRUE(campaign.store->replace_findings({hang}, {}));
  const auto json = findings_json(*campaign.store);
  ASSERT_TRUE(json);
  const base::Json expected = {
      {"detector", "hang"}, {"severity", "warn"}, {"blame", "environment"},          {"count", 3},
      {"title", "t"},       {"fingerprint", "f"}, {"evidence", base::Json::object()}};
  EXPECT_EQ((*json)["findings"][0], expected);
}

TEST(FindingsJson, CleanRunHasAnEmptyListAndCountsFinishedRowsOnly) {
  Campaign campaign("results.db", 7, 0);
  record::Observation begun;
  begun.iteration = 7;
  ASSERT_TRUE(campaign.store->begin(begun));
  ASSERT_TRUE(campaign.store->end_run(record::Verdict::pass, "finished"));
  const auto json = findings_json(*campaign.store);
  ASSERT_TRUE(json);
  EXPECT_EQ((*json)["findings"], base::Json::array());
  EXPECT_EQ((*json)["iterations"], 7);
  EXPECT_EQ((*json)["verdict"], "pass");
}

TEST(FindingsJson, VerdictOfARunThatNeverEnded) {
  Campaign campaign("results.db", 3, 0);
  EXPECT_EQ((*findings_json(*campaign.store))["verdict"], "unknown");
  record::Finding warning = leak();
  warning.severity = record::Severity::warn;
  ASSERT_TRUE(campaign.store->replace_findings({warning}, {}));
  EXPECT_EQ((*findings_json(*campaign.store))["verdict"], "unknown");
  ASSERT_TRUE(campaign.store->replace_findings({warning, leak()}, {}));
  EXPECT_EQ((*findings_json(*campaign.store))["verdict"], "fail");
}

TEST(FindingsJson, ReplayNamesTheFirstIterationWhereNoneProvedIt) {
  Campaign campaign("results.db", 3, 0);
  record::Finding finding = leak();
  finding.detected_iteration.reset();
  finding.first_iteration = 2;
  ASSERT_TRUE(campaign.store->replace_findings({finding}, {}));
  const auto json = findings_json(*campaign.store);
  EXPECT_THAT((*json)["findings"][0]["replay"].get<std::string>(), testing::EndsWith(" --iteration 2"));
}

TEST(FindingsText, SaysTheSame) {
  Campaign campaign;
  ASSERT_TRUE(campaign.store->replace_findings({leak()}, {}));
  const auto text = findings_text(*campaign.store);
  ASSERT_TRUE(text);
  EXPECT_THAT(*text, testing::HasSubstr("fail fd-leak target:disk0 eventfd\n"));
  EXPECT_THAT(*text, testing::HasSubstr("  replay: migsoak replay "));
  ASSERT_TRUE(campaign.store->replace_findings({}, {}));
  EXPECT_THAT(*findings_text(*campaign.store), testing::HasSubstr("30 iterations, nothing found"));
}

}  // namespace
}  // namespace migsoak::report
