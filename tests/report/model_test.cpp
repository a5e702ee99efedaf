// The model is what every output tells; the outputs are shown to escape whatever it holds.
#include "report/model.h"

#include <gmock/gmock.h>

#include <boost/property_tree/ptree.hpp>
#include <boost/property_tree/xml_parser.hpp>
#include <sstream>

#include "report/campaign.h"
#include "report/model_build.h"
#include "report/render.h"

namespace migsoak::report {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(ReportModel, HoldsWhatTheRecordSays) {
  Campaign campaign;
  ASSERT_TRUE(campaign.store->replace_findings({leak()}, {{"vu-panic-eventfd", "log-signature", "no harm", 3}}));
  ASSERT_TRUE(campaign.store->end_run(record::Verdict::fail, "finished"));
  const auto model = model_of(*campaign.store, Extent::page);
  ASSERT_TRUE(model) << model.error().describe();
  EXPECT_EQ(model->run.scenario, "synthetic");
  EXPECT_EQ(model->run.database, campaign.store->path());
  EXPECT_EQ(model->run.seed, 18446744073709551615ull);
  EXPECT_EQ(model->run.finished, 30);
  EXPECT_EQ(model->run.lineages, 1);
  EXPECT_TRUE(model->run.ended);
  EXPECT_EQ(model->run.by_status, (std::map<std::string, std::int64_t>{{"completed", 30}}));
  EXPECT_EQ(model->outcome.verdict, record::Verdict::fail);
  EXPECT_EQ(model->outcome.end.finished, 30);
  EXPECT_EQ(model->outcome.found, "1 found");
  ASSERT_EQ(model->findings.size(), 1u);
  const ReportedFinding& one = model->findings.front();
  EXPECT_EQ(one.finding.fingerprint, leak().fingerprint);
  EXPECT_THAT(one.finding.replay, HasSubstr("--iteration 9"));
  EXPECT_THAT(one.evidence, ElementsAre(EvidenceLine{"base", "7"}, EvidenceLine{"limit", "1024"}));
  EXPECT_EQ(one.confidence, "exact: +4 in each of 10 iterations");
  EXPECT_EQ(one.shows.metric, "fd.eventfd");
  ASSERT_EQ(one.shows.values.size(), 30u);
  EXPECT_EQ(one.shows.values.front(), 11);
  EXPECT_EQ(one.shows.values.back(), 127);
  EXPECT_THAT(model->exclusions, ElementsAre(record::Exclusion{"vu-panic-eventfd", "log-signature", "no harm", 3}));
  EXPECT_FALSE(model->matrix);
  ASSERT_EQ(model->descriptors.size(), 2u);
  EXPECT_EQ(model->descriptors[1].subject, "target:disk0");
  EXPECT_EQ(model->descriptors[1].values.size(), 30u);
  EXPECT_EQ(model->verified.iterations, 30);
  EXPECT_EQ(model->verified.ram_bytes, 30 * 33554432.0);
  EXPECT_EQ(model->durations.count, 30u);
  EXPECT_LE(model->durations.p50, model->durations.p95);
  EXPECT_GT(model->span_ms, 0);
  ASSERT_EQ(model->downtime.size(), 1u);
  EXPECT_EQ(model->downtime[0].mode, "precopy");
  EXPECT_EQ(model->downtime[0].clients.count, 30u);
}

TEST(ReportModel, CasesComeOneByOneAndWithoutSeries) {
  Campaign campaign;  // fails from iteration 9 on
  record::Observation begun;
  begun.iteration = 30;
  ASSERT_TRUE(campaign.store->begin(begun));
  const auto model = model_of(*campaign.store, Extent::cases);
  ASSERT_TRUE(model) << model.error().describe();
  std::int64_t count = 0;
  for (const IterationTally& tally : model->tallies) count += tally.count;
  EXPECT_EQ(count, 31);
  EXPECT_EQ(model->durations.count, 0u);
  EXPECT_TRUE(model->descriptors.empty());
  for (int pass = 0; pass < 2; ++pass) {  // as often as asked
    std::vector<std::int64_t> unclean;
    ASSERT_TRUE(model->iterations->for_each_unclean([&](const IterationCase& one) {
      EXPECT_FALSE(one.is_clean());
      unclean.push_back(one.iteration);
    }));
    ASSERT_EQ(unclean.size(), 22u);
    EXPECT_EQ(unclean.front(), 9);
    EXPECT_EQ(unclean.back(), 30);
  }
}

TEST(ReportModel, FindingsAloneAskForNoWalk) {
  Campaign campaign;
  const auto model = model_of(*campaign.store, Extent::findings);
  ASSERT_TRUE(model);
  EXPECT_TRUE(model->tallies.empty());
  EXPECT_EQ(model->run.finished, 30);
}

class Cases final : public IterationCursor {
 public:
  Cases(std::vector<IterationCase> cases, bool breaks) : cases_(std::move(cases)), breaks_(breaks) {}
  base::Result<void> for_each_unclean(const std::function<void(const IterationCase&)>& visit) const override {
    for (const IterationCase& one : cases_) visit(one);
    if (breaks_) return base::fail(base::ErrorKind::environment, "the database went away");
    return {};
  }

 private:
  std::vector<IterationCase> cases_;
  bool breaks_;
};

// No database: every text in it is `word`.
ReportModel made_by_hand(const std::string& word, bool breaks = false) {
  ReportModel model;
  model.run = {word, word, word, word, 7, {{word, word, word}}, {{word, word}}, true, word, {{word, 2}}, 2, 1, 0};
  model.outcome = {record::Verdict::unknown, {3, 2, 0, word}, word};
  ReportedFinding one;
  one.finding.detector = one.finding.process = one.finding.kind = one.finding.title = word;
  one.finding.replay = one.finding.fingerprint = word;
  one.finding.first_iteration = one.finding.detected_iteration = 1;
  one.course = one.confidence = one.known = word;
  one.evidence = one.brief = {{word, word}, {word, word}};
  one.shows = {word, word, {1, 2, 3}};
  model.findings = {one};
  model.exclusions = {{word, word, word, 2}};
  model.reads = {{word, word, word, 3, 2, 1, word}};
  model.tallies = {{record::IterationStatus::failed, record::Verdict::fail, 1, 12},
                   {record::IterationStatus::unknown, record::Verdict::unknown, 1, 12}};
  model.iterations = std::make_shared<const Cases>(
      std::vector<IterationCase>{
          {1, record::IterationStatus::failed, record::Verdict::fail, word, word, word, word, word, 12},
          {2, record::IterationStatus::unknown, record::Verdict::unknown, word, word, word, word, word, 12}},
      breaks);
  model.matrix.emplace();
  model.matrix->sides = {{word, word, word}, {"b", "b", "1"}};
  MatrixCell& cell = model.matrix->cells[{word, "b"}];
  cell.failed = 1;
  cell.findings = {0};
  cell.machines = cell.failed_machines = {word};
  model.requested.machines = {word};
  model.hotplug.rows[{word, word, word}].unconfirmed = 1;
  model.hotplug.total.unconfirmed = model.hotplug.events = 1;
  model.hotplug.troubles = {word};
  model.descriptors = {{word, word, {3, 4}}};
  model.durations = {2, 12, 12, 12, {}};
  model.downtime = {{word, {2, 1, 2, 3, {1, 0, 1}}, {}}};
  return model;
}

const std::string kEvil =
    "evil \033[2J\033]0;owned\a \xc2\x9b"
    "31m \xff <b>&\"' ]]> \r\n\xef\xbf\xbf end";

TEST(RenderText, ShowsAModelWithoutADatabase) {
  const std::string page = render_text(made_by_hand("word"), 120, false);
  EXPECT_THAT(page, testing::StartsWith("UNKNOWN  word  (run word, seed 7)\n"));
  EXPECT_THAT(page, HasSubstr("  2 of 3 iterations (2 word), 1 lineage\n"));
  EXPECT_THAT(page, HasSubstr("  how sure: word\n  evidence: word=word, word=word\n  word\n  ▁▅█ 1 → 3 word\n"));
  EXPECT_THAT(page, HasSubstr("downtime     word: the guest's clients see p50 1, p95 2, max 3 ms; QEMU says not "
                              "measured; clients: █▁█\n"));
  EXPECT_THAT(page, HasSubstr("excluded     2× word (word): word\n"));
}

TEST(RenderText, EscapesWhatTheModelHolds) {
  const std::string page = render_text(made_by_hand(kEvil), 120, false);
  EXPECT_THAT(page, HasSubstr("evil \\x1b[2J"));
  for (const char c : page) EXPECT_TRUE(static_cast<unsigned char>(c) >= 0x20 || c == '\n') << static_cast<int>(c);
  EXPECT_EQ(page.find("\xc2\x9b"), std::string::npos);
}

TEST(RenderJunit, EscapesWhatTheModelHolds) {
  std::ostringstream out;
  const auto done = render_junit(made_by_hand(kEvil), {"fd-leak"}, out);
  ASSERT_TRUE(done) << done.error().describe();
  for (const char c : out.str()) EXPECT_TRUE(static_cast<unsigned char>(c) >= 0x20 || c == '\n');
  std::istringstream in(out.str());
  boost::property_tree::ptree tree;
  ASSERT_NO_THROW(boost::property_tree::read_xml(in, tree));
  EXPECT_EQ(tree.get<int>("testsuites.<xmlattr>.tests"), 1 + 2 + 2 + 2);
  EXPECT_EQ(tree.get_child("testsuites").count("testsuite"), 4u);
}

TEST(RenderJunit, TellsWhenTheIterationsCanNotBeRead) {
  std::ostringstream out;
  const auto done = render_junit(made_by_hand("word", /*breaks=*/true), {}, out);
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().describe(), HasSubstr("the database went away"));
}

}  // namespace
}  // namespace migsoak::report
