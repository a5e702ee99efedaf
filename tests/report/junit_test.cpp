#include <gmock/gmock.h>

#include <boost/property_tree/ptree.hpp>
#include <boost/property_tree/xml_parser.hpp>
#include <sstream>

#include "report/campaign.h"
#include "report/report.h"

namespace migsoak::report {
namespace {

using Tree = boost::property_tree::ptree;

Tree parse(const std::string& xml) {
  std::istringstream in(xml);
  Tree tree;
  boost::property_tree::read_xml(in, tree, boost::property_tree::xml_parser::trim_whitespace);
  return tree;
}

std::map<std::string, Tree> cases_of(const Tree& tree, const std::string& suite) {
  std::map<std::string, Tree> cases;
  for (const auto& [tag, child] : tree.get_child("testsuites")) {
    if (tag != "testsuite" || child.get<std::string>("<xmlattr>.name") != suite) continue;
    for (const auto& [name, one] : child) {
      if (name == "testcase") cases[one.get<std::string>("<xmlattr>.name")] = one;
    }
  }
  return cases;
}

TEST(Junit, OneCasePerDetectorAndPerUncleanIteration) {
  Campaign campaign("results.db", 12);
  ASSERT_TRUE(campaign.store->replace_findings({leak()}, {}));
  record::Observation begun;
  begun.iteration = 12;
  ASSERT_TRUE(campaign.store->begin(begun));
  ASSERT_TRUE(campaign.store->end_run(record::Verdict::fail, "finished"));
  const auto xml = junit_text(*campaign.store, {"fd-leak", "zombie"});
  ASSERT_TRUE(xml) << xml.error().describe();
  const Tree tree = parse(*xml);
  EXPECT_EQ(tree.get<int>("testsuites.<xmlattr>.tests"), 1 + 2 + 5);
  // fd-leak, and iterations 9, 10, 11, whose verdict is fail.
  EXPECT_EQ(tree.get<int>("testsuites.<xmlattr>.failures"), 4);
  EXPECT_EQ(tree.get<int>("testsuites.<xmlattr>.errors"), 0);
  EXPECT_EQ(tree.get<int>("testsuites.<xmlattr>.skipped"), 1);
  const auto detectors = cases_of(tree, "synthetic.detectors");
  ASSERT_EQ(detectors.size(), 2u);
  EXPECT_FALSE(detectors.at("zombie").get_child_optional("failure"));
  EXPECT_THAT(detectors.at("fd-leak").get<std::string>("failure.<xmlattr>.message"),
              testing::StartsWith("target:disk0 gains exactly 4"));
  EXPECT_THAT(detectors.at("fd-leak").get<std::string>("failure"), testing::HasSubstr("--iteration 9"));
  const auto iterations = cases_of(tree, "synthetic.iterations");
  ASSERT_EQ(iterations.size(), 5u);  // three that failed, one that was interrupted, and the other nine in one
  EXPECT_TRUE(iterations.at("iteration 9 b to a, precopy over unix").get_child_optional("failure"));
  EXPECT_FALSE(iterations.contains("iteration 8 a to b, precopy over unix"));
  EXPECT_FALSE(iterations.at("iterations that passed").get_child_optional("failure"));
  EXPECT_EQ(iterations.at("iterations that passed").get<std::string>("system-out"), "9 of 13 passed");
  EXPECT_EQ(iterations.at("iteration 9 b to a, precopy over unix").get<std::string>("failure.<xmlattr>.type"),
            "fd-leak");
}

TEST(Junit, WarningsDoNotFailAndAKilledRunIsAnError) {
  Campaign campaign("results.db", 2, 0);
  record::Finding warning = leak();
  warning.severity = record::Severity::warn;
  ASSERT_TRUE(campaign.store->replace_findings({warning}, {}));
  const auto xml = junit_text(*campaign.store);
  ASSERT_TRUE(xml);
  const Tree tree = parse(*xml);
  EXPECT_EQ(tree.get<int>("testsuites.<xmlattr>.failures"), 0);
  EXPECT_EQ(tree.get<int>("testsuites.<xmlattr>.errors"), 1);
  EXPECT_THAT(cases_of(tree, "synthetic.detectors").at("fd-leak").get<std::string>("system-out"),
              testing::StartsWith("warning: "));
}

TEST(Junit, ARunThatEndedBeforeItsPlanDidIsAnError) {
  Campaign campaign("results.db", 2, 0);
  ASSERT_TRUE(campaign.store->plan_iterations(200));
  const auto end_case = [&](const std::string& reason) {
    EXPECT_TRUE(campaign.store->end_run(record::Verdict::pass, reason));
    const auto xml = junit_text(*campaign.store);
    EXPECT_TRUE(xml);
    return cases_of(parse(*xml), "synthetic.run").at("the run came to its end");
  };
  EXPECT_EQ(end_case("interrupted").get<std::string>("error.<xmlattr>.message"),
            "nothing found in 2 of 200 iterations, but the run was interrupted");
  EXPECT_THAT(end_case("harness: disk full").get<std::string>("error.<xmlattr>.message"),
              testing::HasSubstr("nothing found in 2 of 200 iterations"));
  const Tree over = end_case("stopped: the time given by --duration is over");
  EXPECT_FALSE(over.get_child_optional("error"));
  EXPECT_THAT(over.get<std::string>("system-out"), testing::HasSubstr("the time given by --duration was over"));
}

TEST(Junit, HostileStringsStayText) {
  Campaign campaign("results.db", 1, 0);
  record::Finding finding = leak();
  const std::string evil = "]]></failure><!-- & \" ' < > \x01 \x1b \xff \xef\xbf\xbf --><testcase/>";
  finding.title = evil;
  finding.detector = "fd-leak\"<";
  finding.evidence = {{"confidence", evil}, {"x<y", evil}};
  ASSERT_TRUE(campaign.store->replace_findings({finding}, {}));
  ASSERT_TRUE(campaign.store->end_run(record::Verdict::unknown, evil));
  const auto xml = junit_text(*campaign.store);
  ASSERT_TRUE(xml);
  const Tree tree = parse(*xml);
  EXPECT_EQ(tree.get<int>("testsuites.<xmlattr>.tests"), 3);
  const auto detectors = cases_of(tree, "synthetic.detectors");
  ASSERT_EQ(detectors.size(), 1u);
  EXPECT_THAT(detectors.begin()->second.get<std::string>("failure.<xmlattr>.message"),
              testing::StartsWith("]]></failure><!-- & \" ' < > \\x01 \\x1b \xef\xbf\xbd ? -->"));
  for (const char c : *xml) EXPECT_TRUE(static_cast<unsigned char>(c) >= 0x20 || c == '\n');
}

}  // namespace
}  // namespace migsoak::report
