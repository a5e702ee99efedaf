// Options of target kinds: what is accepted, and what a refusal says. Nothing is started.
#include "target/options.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "base/text.h"
#include "target/target.h"

namespace migsoak::target {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::vector<OptionSpec>& some_options() {
  static const std::vector<OptionSpec> specs = {{"argv", OptionType::command, {"true"}, {}, 0, 0},
                                                {"cores", OptionType::integer, 1, {}, 1, 8},
                                                {"dir", OptionType::path, "/", {}, 0, 0},
                                                {"huge_pages", OptionType::boolean, false, {}, 0, 0},
                                                {"mode", OptionType::text, "a", {"a", "bee"}, 0, 0}};
  return specs;
}

OptionProblem problem(const Options& given, const std::vector<OptionSpec>& specs = some_options()) {
  const auto values = check_options("k", specs, given);
  EXPECT_FALSE(values);
  return values ? OptionProblem{} : values.error();
}

TEST(TargetOptions, DefaultsAreFilledIn) {
  const auto values = check_options("k", some_options(), {{"cores", 3}});
  ASSERT_TRUE(values) << values.error().what;
  EXPECT_EQ(values->integer("cores"), 3);
  EXPECT_EQ(values->text("mode"), "a");
  EXPECT_EQ(values->text("dir"), "/");
  EXPECT_FALSE(values->flag("huge_pages"));
  EXPECT_THAT(values->words("argv"), ElementsAre("true"));
}

TEST(TargetOptions, AnUnknownOneNamesTheNearest) {
  EXPECT_EQ(problem({{"core", 3}}).option, "core");
  EXPECT_THAT(problem({{"core", 3}}).what, AllOf(HasSubstr("kind \"k\""), HasSubstr("did you mean 'cores'")));
  EXPECT_THAT(problem({{"zzzzzz", 3}}).what, HasSubstr("it has argv, cores, dir, huge_pages, mode"));
  EXPECT_THAT(problem({{"zzzzzz", 3}}, {}).what, HasSubstr("it has none"));
}

TEST(TargetOptions, TypesRangesAndChoices) {
  EXPECT_THAT(problem({{"cores", "3"}}).what, HasSubstr("a whole number"));
  EXPECT_THAT(problem({{"cores", 2.5}}).what, HasSubstr("a whole number"));
  EXPECT_THAT(problem({{"cores", 9}}).what, HasSubstr("9 is out of range, expected 1 to 8"));
  EXPECT_THAT(problem({{"cores", 0}}).what, HasSubstr("out of range"));
  EXPECT_THAT(problem({{"huge_pages", 1}}).what, HasSubstr("true or false"));
  EXPECT_THAT(problem({{"dir", 1}}).what, HasSubstr("a path"));
  EXPECT_THAT(problem({{"mode", "be"}}).what, AllOf(HasSubstr("one of a, bee"), HasSubstr("did you mean 'bee'")));
  EXPECT_THAT(problem({{"argv", "true"}}).what, HasSubstr("a list of strings"));
  EXPECT_THAT(problem({{"argv", base::Json::array()}}).what, HasSubstr("a program"));
  EXPECT_THAT(problem({{"argv", {"true", 1}}}).what, HasSubstr("a list of strings"));
}

TEST(TargetOptions, OneWithoutDefaultIsNeeded) {
  const OptionProblem missing = problem({}, {{"argv", OptionType::command, nullptr, {}, 0, 0}});
  EXPECT_EQ(missing.option, "argv");
  EXPECT_THAT(missing.what, HasSubstr("kind \"k\" needs it"));
}

// A kind whose defaults its own options refuse could not be used at all.
TEST(TargetOptions, DefaultsOfTheShippedKindsAreGood) {
  for (const TargetKind& kind : target_kinds()) {
    for (const OptionSpec& option : kind.options) {
      if (option.fallback.is_null()) continue;
      const auto values = check_options(kind.name, {option}, {{option.name, option.fallback}});
      EXPECT_TRUE(values) << kind.name << " " << option.name << ": " << values.error().what;
    }
  }
}

// scenarios/README.md is their reference.
TEST(TargetOptions, AreDocumentedForEveryKindAndNoOther) {
  std::ifstream in(std::string(MIGSOAK_SOURCE_DIR) + "/scenarios/README.md");
  std::set<std::string> documented, known;
  bool in_table = false;
  for (std::string line; std::getline(in, line);) {
    in_table = line.starts_with("| kind | option |") || (in_table && line.starts_with("|"));
    const std::vector<std::string> cells = base::split(line, '|');
    if (in_table && cells.size() > 2 && cells[2].starts_with(" `")) documented.insert(cells[1] + cells[2]);
  }
  for (const TargetKind& kind : target_kinds()) {
    for (const OptionSpec& option : kind.options) known.insert(fmt::format(" {}  `{}` ", kind.name, option.name));
  }
  EXPECT_EQ(documented, known);
}

}  // namespace
}  // namespace migsoak::target
