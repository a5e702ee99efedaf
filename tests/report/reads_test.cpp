// What was to be read and was not: counted, and never a pass.
#include <gmock/gmock.h>

#include "record/reads.h"
#include "report/campaign.h"
#include "report/report.h"

namespace migsoak::report {
namespace {

using testing::HasSubstr;
using testing::Not;

// Of 30 iterations, the configuration space is missed in 7 and 9.
class ReadsReport : public testing::Test {
 protected:
  void SetUp() override {
    auto created = store::Store::create(directory_.file("r.db"), synthetic::manifest(30));
    ASSERT_TRUE(created) << created.error().describe();
    store_ = std::move(*created);
    synthetic::Run run;
    for (int i = 0; i < 30; ++i) {
      ASSERT_TRUE(store_->begin(run.begun()));
      record::Observation o = run.next(0);
      const bool missed = misses_ && (i == 7 || i == 9);
      for (const std::string read : {"config-space", "device-tree"}) {
        const bool whole = !missed || read == "device-tree";
        o.samples.push_back({"host", 0, record::read_metric(read), whole ? 1.0 : 0.0});
      }
      record::Journal journal(o);
      const std::string why = i == 7 ? "no answer" : "later";
      if (missed) record::record_failed_read({"config-space", "qemu:b", 3, why, "", 0}, journal);
      ASSERT_TRUE(store_->finish(o, missed ? record::Verdict::unknown : record::Verdict::pass));
    }
    ASSERT_TRUE(store_->end_run(misses_ ? record::Verdict::unknown : record::Verdict::pass, "finished"));
  }
  bool misses_ = true;
  scratch::Directory directory_;
  std::unique_ptr<store::Store> store_;
};

TEST_F(ReadsReport, TheReportCountsWhatWasRead) {
  const auto page = text(*store_, 120, false);
  ASSERT_TRUE(page) << page.error().describe();
  EXPECT_THAT(*page, testing::StartsWith("UNKNOWN"));
  const char* const missed =
      "configuration space compared in 28 of 30 iterations, first missed in 7: qemu:b: no answer";
  EXPECT_THAT(*page, HasSubstr(missed));
  EXPECT_THAT(*page, HasSubstr("device trees compared in 30 of 30 iterations"));
  EXPECT_THAT(*page, HasSubstr(std::string("Nothing found, but ") + missed));
  EXPECT_THAT(*findings_text(*store_), HasSubstr(missed));
}

TEST_F(ReadsReport, FindingsSayItToMachines) {
  const auto json = findings_json(*store_);
  ASSERT_TRUE(json) << json.error().describe();
  const base::Json config = {{"wanted", 30}, {"done", 28}, {"first_missed", 7}, {"why", "qemu:b: no answer"}};
  const base::Json expected = {{"config-space", config}, {"device-tree", {{"wanted", 30}, {"done", 30}}}};
  EXPECT_EQ((*json)["reads"], expected);
}

TEST_F(ReadsReport, ADetectorThatCouldNotLookHasNotPassed) {
  const auto xml = junit_text(*store_, {"config-space-drift", "fd-leak"});
  ASSERT_TRUE(xml) << xml.error().describe();
  const std::size_t drift = xml->find("name=\"config-space-drift\""), leak = xml->find("name=\"fd-leak\"");
  ASSERT_NE(drift, std::string::npos);
  ASSERT_NE(leak, std::string::npos);
  EXPECT_THAT(xml->substr(drift, leak - drift), HasSubstr("configuration space compared in 28 of 30 iterations"));
  EXPECT_THAT(xml->substr(leak, xml->find("<testcase", leak) - leak), Not(HasSubstr("unknown")));
}

class WholeReads : public ReadsReport {
 protected:
  void SetUp() override {
    misses_ = false;
    ReadsReport::SetUp();
  }
};

TEST_F(WholeReads, ACleanRunSaysSoInOneLine) {
  const auto page = text(*store_, 120, false);
  ASSERT_TRUE(page);
  EXPECT_THAT(*page, testing::StartsWith("PASS"));
  EXPECT_THAT(*page, HasSubstr("configuration space compared, device trees compared in 30 of 30 iterations"));
}

// Of before reads were counted: nothing is claimed.
TEST(ReportOfOldRecords, SaysNothingOfReads) {
  Campaign campaign("old.db", 3, 0);
  EXPECT_THAT(*text(*campaign.store, 120, false), Not(HasSubstr("compared in")));
  EXPECT_FALSE(findings_json(*campaign.store)->contains("reads"));
}

}  // namespace
}  // namespace migsoak::report
