// The report as Markdown and as OpenMetrics text: what it says is the record's, and what comes from outside is
// harmless.
#include <gmock/gmock.h>

#include <algorithm>
#include <regex>
#include <set>
#include <sstream>

#include "report/campaign.h"
#include "report/markdown.h"

namespace migsoak::report {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

record::Finding hostile() {
  record::Finding finding = leak();
  finding.kind = "a\"b\\c\nd|<script>alert(1)</script>";
  finding.title = "| x | <img src=x onerror=alert(1)> [a](javascript:b) @everyone #1\n\n# heading `code`";
  finding.fingerprint = "fd-leak-ffffffffffff";
  finding.replay = "";
  return finding;
}

TEST(ReportFormats, MarkdownSaysVerdictFindingsAndReplay) {
  Campaign campaign;
  ASSERT_TRUE(campaign.store->replace_findings({leak()}, {}));
  ASSERT_TRUE(campaign.store->end_run(record::Verdict::fail, "finished"));
  const auto page = markdown(*campaign.store);
  ASSERT_TRUE(page) << page.error().describe();
  EXPECT_THAT(*page, testing::StartsWith("## migsoak: fail: synthetic\n"));
  EXPECT_THAT(*page, HasSubstr("30 of 30 iterations, 1 found"));
  EXPECT_THAT(*page, HasSubstr("| fail | fd-leak | target:disk0 | eventfd | target:disk0 gains exactly 4 eventfds"));
  EXPECT_THAT(*page, HasSubstr("    migsoak replay "));
  EXPECT_THAT(*page, HasSubstr("| precopy | 30 |"));
}

TEST(ReportFormats, MarkdownOfHostileTextHasNoMarkupOfItsOwn) {
  Campaign campaign;
  ASSERT_TRUE(campaign.store->replace_findings({hostile()}, {}));
  const auto page = markdown(*campaign.store);
  ASSERT_TRUE(page) << page.error().describe();
  EXPECT_THAT(*page, AllOf(Not(HasSubstr("<")), Not(HasSubstr("](")), Not(HasSubstr("@")), Not(HasSubstr("\n# "))));
  // No cell more than the table has.
  std::istringstream lines(*page);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("| fail ")) continue;
    EXPECT_EQ(std::count(line.begin(), line.end(), '|'), 8) << line;
  }
  EXPECT_EQ(markdown_text("see www.x.org and http://x"), "see www&#46;x.org and http&#58;//x");
}

// OpenMetrics 1.0, "ABNF": TYPE, UNIT and HELP before the points of their family, each family once, EOF at the end.
TEST(ReportFormats, MetricsAreOpenMetrics) {
  Campaign campaign;
  ASSERT_TRUE(campaign.store->replace_findings({leak(), hostile()}, {}));
  ASSERT_TRUE(campaign.store->end_run(record::Verdict::fail, "finished"));
  const auto text = metrics(*campaign.store);
  ASSERT_TRUE(text) << text.error().describe();
  EXPECT_TRUE(text->ends_with("\n# EOF\n"));
  const std::regex point(
      R"re(([a-z_]+)(\{[a-z_]+="([^"\\\n]|\\[\\"n])*"(,[a-z_]+="([^"\\\n]|\\[\\"n])*")*\})? -?[0-9.e+-]+)re");
  const std::regex described(R"re(# (TYPE|UNIT|HELP) ([a-z_]+) (.+))re");
  std::set<std::string> families;
  std::string family, unit;
  int points = 0;
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line) && line != "# EOF";) {
    std::smatch match;
    if (std::regex_match(line, match, described)) {
      if (match[1] == "TYPE") {
        family = match[2];
        EXPECT_TRUE(families.insert(family).second) << line << ": twice";
      }
      EXPECT_EQ(match[2], family) << line;
      EXPECT_TRUE(match[1] != "UNIT" || family.ends_with("_" + match[3].str())) << line;
      continue;
    }
    ASSERT_TRUE(std::regex_match(line, match, point)) << line;
    EXPECT_TRUE(match[1] == family || match[1] == family + "_info") << line << " in " << family;
    ++points;
  }
  EXPECT_GT(points, 20);
  for (const char* expected :
       {"migsoak_verdict{migsoak_verdict=\"fail\"} 1\n", "migsoak_iterations{status=\"completed\"} 30\n",
        "migsoak_findings{severity=\"fail\"} 2\n",
        "migsoak_finding_times{detector=\"fd-leak\",process=\"target:disk0\",kind=\"eventfd\",severity=\"fail\","
        "fingerprint=\"fd-leak-0123456789ab\"} 1\n"}) {
    EXPECT_THAT(*text, HasSubstr(expected));
  }
}

TEST(ReportFormats, OfARunThatIsNotOver) {
  Campaign campaign("results.db", 3, 0);
  const auto text = metrics(*campaign.store);
  ASSERT_TRUE(text);
  EXPECT_THAT(*text, HasSubstr("migsoak_verdict{migsoak_verdict=\"unknown\"} 1\n"));
  const auto page = markdown(*campaign.store);
  ASSERT_TRUE(page);
  EXPECT_THAT(*page, testing::StartsWith("## migsoak: unknown: synthetic\n"));
}

}  // namespace
}  // namespace migsoak::report
