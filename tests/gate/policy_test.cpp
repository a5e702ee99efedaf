// A policy is checked as a scenario is: what is wrong is named with file, line and key.
#include "gate/policy.h"

#include <gmock/gmock.h>

#include <fstream>
#include <set>
#include <sstream>

#include "store/scratch.h"

namespace migsoak::gate {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

TEST(Policy, DefaultsReadBackAsTheyAre) {
  const std::string text = to_toml({});
  const auto again = read_policy(text, "p.toml");
  ASSERT_TRUE(again) << again.error().describe();
  EXPECT_EQ(*again, Policy());
  EXPECT_EQ(to_toml(*again), text);
  const auto empty = read_policy("", "p.toml");
  ASSERT_TRUE(empty);
  EXPECT_EQ(*empty, Policy());
}

TEST(Policy, EverythingReadsBackAsItIs) {
  Policy policy;
  policy.confidence = 0.99;
  policy.failures_max = 0.001;
  policy.hangs_max = 1.0 / 3;
  policy.losses_max = 1e-7;
  policy.alpha = 0.05;
  policy.change_min = 0.1;
  policy.values_min = 30;
  policy.required = true;
  policy.interleaved = false;
  policy.same = {"scenario", "a \"quoted\" 'one'", "line\nbreak \x7f ü"};
  policy.metrics = {{"guest:disk:vd0", "written_bytes", 0}, {"host", "spawn_ms", 12.25}};
  Waiver by_name, by_detector;
  by_name.fingerprint = "fd-leak-0123456789ab";
  by_name.reason = "QEMU's issue 1, '''fixed''' in \"11.2\"";
  by_name.expires = Day(std::chrono::year(2027), std::chrono::month(2), std::chrono::day(28));
  by_detector.detector = "downtime";
  by_detector.process = "guest";
  by_detector.kind = "pause";
  by_detector.reason = "slow disk";
  by_detector.expires = Day(std::chrono::year(2026), std::chrono::month(12), std::chrono::day(31));
  policy.waivers = {by_name, by_detector};
  const std::string text = to_toml(policy);
  const auto again = read_policy(text, "p.toml");
  ASSERT_TRUE(again) << again.error().describe() << "\n" << text;
  EXPECT_EQ(*again, policy) << text;
  EXPECT_EQ(to_toml(*again), text);
  policy.metrics.clear();
  const auto none = read_policy(to_toml(policy), "p.toml");
  ASSERT_TRUE(none) << none.error().describe();
  EXPECT_TRUE(none->metrics.empty());
}

TEST(Policy, WhatIsNotSaidKeepsItsDefault) {
  const auto policy = read_policy("[rates]\nfailures_max = 0.01\n", "p.toml");
  ASSERT_TRUE(policy) << policy.error().describe();
  EXPECT_EQ(policy->failures_max, 0.01);
  EXPECT_EQ(policy->hangs_max, 1);
  EXPECT_EQ(policy->metrics, Policy().metrics);
}

TEST(Policy, ADayMayBeAStringAndTheWaiverKnowsItsPlace) {
  const auto policy = read_policy(
      "\n[[waive]]\ndetector = 'hang'\nreason = 'r'\nexpires = 2026-12-31\n"
      "[[waive]]\ndetector = 'crash'\nreason = 'r'\nexpires = '2026-12-31'\n",
      "p.toml");
  ASSERT_TRUE(policy) << policy.error().describe();
  ASSERT_EQ(policy->waivers.size(), 2u);
  EXPECT_EQ(to_string(policy->waivers[0].expires), "2026-12-31");
  EXPECT_EQ(policy->waivers[0].expires, policy->waivers[1].expires);
  EXPECT_EQ(policy->waivers[1].place, "p.toml:6");
}

struct Bad {
  const char* text;
  const char* place;  // where the message begins
  const char* says;
};

class BadPolicy : public testing::TestWithParam<Bad> {};

TEST_P(BadPolicy, IsOneLineWithFileLineAndKey) {
  const auto policy = read_policy(GetParam().text, "p.toml");
  ASSERT_FALSE(policy);
  EXPECT_EQ(policy.error().kind, base::ErrorKind::bad_input);
  const std::string message = policy.error().describe();
  EXPECT_THAT(message, AllOf(StartsWith(GetParam().place), HasSubstr(GetParam().says)));
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
}

INSTANTIATE_TEST_SUITE_P(
    All, BadPolicy,
    testing::Values(
        Bad{"a = [", "p.toml:1: not TOML", ""},
        Bad{"\nconfidense = 0.9", "p.toml:2: unknown key 'confidense', did you mean 'confidence'?", "known here: "},
        Bad{"[rates]\nfailure_max = 0.1", "p.toml:2: unknown key 'rates.failure_max'", "'failures_max'"},
        Bad{"[[metric]]\nsubjekt = 'x'", "p.toml:2: unknown key 'metric.subjekt'", "'subject'"},
        Bad{"[rates.more]\nx = 1", "p.toml:1: unknown key 'rates.more'", ""},
        Bad{"\"a\\u001b\" = 1", "p.toml:1: unknown key 'a\\x1b'", ""},
        Bad{"confidence = '0.9'", "p.toml:1: confidence: ", "0.95"},
        Bad{"confidence = 1", "p.toml:1: confidence: ", ""}, Bad{"confidence = nan", "p.toml:1: confidence: ", ""},
        Bad{"confidence = true", "p.toml:1: confidence: ", ""}, Bad{"rates = 1", "p.toml:1: rates: ", "a table"},
        Bad{"[[rates]]\n", "p.toml:1: rates: ", "a table"},
        Bad{"[rates]\nhangs_max = 0", "p.toml:2: rates.hangs_max: ", "above 0"},
        Bad{"[rates]\nlosses_max = 1.5", "p.toml:2: rates.losses_max: ", "at most 1"},
        Bad{"[rates]\nlosses_max = -inf", "p.toml:2: rates.losses_max: ", ""},
        Bad{"[compare]\nalpha = 0.5", "p.toml:2: compare.alpha: ", "0.2"},
        Bad{"[compare]\nchange_min = 0", "p.toml:2: compare.change_min: ", "0.05"},
        Bad{"[compare]\nvalues_min = 20.0", "p.toml:2: compare.values_min: ", "a whole number"},
        Bad{"[compare]\nvalues_min = 2", "p.toml:2: compare.values_min: ", "from 8 to"},
        Bad{"[compare]\nrequired = 'yes'", "p.toml:2: compare.required: ", "true or false"},
        Bad{"[compare]\ninterleaved = 1", "p.toml:2: compare.interleaved: ", "true or false"},
        Bad{"[compare]\nsame = 'boot_id'", "p.toml:2: compare.same: ", "a list of names"},
        Bad{"[compare]\nsame = ['a', 1]", "p.toml:2: compare.same: ", "a list of names"},
        Bad{"metric = 'x'", "p.toml:1: metric: ", "double brackets"}, Bad{"[metric]\n", "p.toml:1: metric: ", "double"},
        Bad{"[[metric]]\nsubject = 'a'\nname = 'b'", "p.toml:1: metric.floor: missing", ""},
        Bad{"[[metric]]\nfloor = 1\nname = 'b'", "p.toml:1: metric.subject: missing", ""},
        Bad{"[[metric]]\nsubject = ''", "p.toml:2: metric.subject: ", ""},
        Bad{"[[metric]]\nfloor = -1", "p.toml:2: metric.floor: ", "at least 0"},
        Bad{"[[metric]]\nsubject='a'\nname='b'\nfloor=1\n[[metric]]\nsubject='a'\nname='b'\nfloor=2",
            "p.toml:5: metric.name: 'b' of 'a' is there already", ""},
        Bad{"[[waive]]\nreason='r'\nexpires=2026-01-01", "p.toml:1: waive.fingerprint: missing", "migsoak findings"},
        Bad{"[[waive]]\nfingerprint='f'\ndetector='d'\nreason='r'\nexpires=2026-01-01",
            "p.toml:1: waive.fingerprint: ", "drop"},
        Bad{"[[waive]]\nfingerprint='f'\nexpires=2026-01-01", "p.toml:1: waive.reason: missing", ""},
        Bad{"[[waive]]\nfingerprint='f'\nreason='r'", "p.toml:1: waive.expires: missing", "2026-12-31"},
        Bad{"[[waive]]\nexpires = 'soon'", "p.toml:2: waive.expires: ", "2026-12-31"},
        Bad{"[[waive]]\nexpires = '2026-02-30'", "p.toml:2: waive.expires: ", "a day"},
        Bad{"[[waive]]\nexpires = '2026-1-1'", "p.toml:2: waive.expires: ", "a day"},
        Bad{"[[waive]]\nexpires = '1234567890'", "p.toml:2: waive.expires: ", "a day"},
        Bad{"[[waive]]\nexpires = 20261231", "p.toml:2: waive.expires: ", "a day"},
        Bad{"[[waive]]\nexpires = 2026-12-31T00:00:00Z", "p.toml:2: waive.expires: ", "a day"}));

TEST(LoadPolicy, TellsWhatCantBeRead) {
  const scratch::Directory directory;
  const auto message = [](const std::string& path) {
    const auto policy = load_policy(path);
    EXPECT_FALSE(policy);
    return policy ? "" : policy.error().describe();
  };
  EXPECT_THAT(message(directory.file("none")), HasSubstr("can't read this policy"));
  EXPECT_THAT(message(directory.path()), HasSubstr("can't read this policy"));
  std::ofstream(directory.file("large")) << std::string((1 << 20) + 1, '#');
  EXPECT_THAT(message(directory.file("large")), HasSubstr("larger than 1 MiB"));
  std::ofstream(directory.file("good")) << to_toml({});
  EXPECT_TRUE(load_policy(directory.file("good")));
}

// results/README.md is the reference of policies: every key there, no other.
TEST(PolicyReadme, ListsEveryKeyAndNoOther) {
  std::ifstream in(std::string(MIGSOAK_SOURCE_DIR) + "/results/README.md");
  std::set<std::string> documented;
  bool inside = false, keys = false;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("## ")) inside = line == "## The gate";
    if (line.starts_with("| key |")) keys = inside;
    if (!line.starts_with("|")) keys = false;
    if (!keys || !line.starts_with("| `")) continue;
    std::istringstream cell(line.substr(2, line.find('|', 2) - 2));
    for (std::string name; cell >> name;) documented.insert(name.substr(1, name.size() - 2));
  }
  Policy policy;
  policy.waivers = {{"f", "d", "p", "k", "r", today(), ""}};
  std::set<std::string> known;
  std::istringstream printed(to_toml(policy));
  std::string table;
  for (std::string line; std::getline(printed, line);) {
    if (line.starts_with("["))
      table = line.substr(line.find_first_not_of('['), line.find(']') - line.find_first_not_of('['));
    const auto equals = line.find(" = ");
    if (line.starts_with("#") || equals == std::string::npos) continue;
    known.insert((table.empty() ? "" : table + ".") + line.substr(0, equals));
  }
  EXPECT_EQ(documented, known);
}

}  // namespace
}  // namespace migsoak::gate
