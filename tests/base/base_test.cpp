#include <fcntl.h>
#include <gmock/gmock.h>

#include <cerrno>
#include <map>
#include <set>
#include <thread>

#include "base/deadline.h"
#include "base/json.h"
#include "base/result.h"
#include "base/rng.h"
#include "base/unique_fd.h"

namespace migsoak::base {
namespace {

Result<int> half(int value) {
  if (value % 2 != 0) return fail(ErrorKind::bad_input, "odd");
  return value / 2;
}
Result<int> quarter(int value) {
  MIGSOAK_ASSIGN(const int first, half(value), "first half of " + std::to_string(value));
  MIGSOAK_ASSIGN(const int second, half(first));
  return second;
}
Result<void> check_quarter(int value) {
  MIGSOAK_TRY(quarter(value), "check");
  return {};
}

TEST(Result, ErrorsTravelWithTheirContext) {
  EXPECT_EQ(quarter(12).value(), 3);
  EXPECT_TRUE(check_quarter(4));
  EXPECT_EQ(check_quarter(6).error().describe(), "check: odd");
  EXPECT_EQ(check_quarter(5).error().describe(), "check: first half of 5: odd");
  EXPECT_EQ(check_quarter(5).error().kind, ErrorKind::bad_input);
  const Error error = fail_errno("open x", ENOENT).value();
  EXPECT_EQ(error.kind, ErrorKind::environment);
  EXPECT_EQ(error.describe(), "open x: No such file or directory");
}

TEST(Result, EveryKindHasAName) {
  std::set<std::string> names;
  for (const ErrorKind kind :
       {ErrorKind::bad_input, ErrorKind::environment, ErrorKind::timeout, ErrorKind::interrupted, ErrorKind::subject}) {
    names.insert(std::string(to_string(kind)));
  }
  EXPECT_EQ(names.size(), 5u);
  EXPECT_FALSE(names.contains("?"));
}

TEST(Json, HostileInputIsAnErrorNotACrash) {
  EXPECT_TRUE(parse_json("{\"a\":[1,2.5,null]}"));
  for (const char* bad : {"", "{", "[1,]", "nul", "{\"a\":1}}", "\"\xff\"", "1e999"}) {
    const auto parsed = parse_json(bad);
    ASSERT_FALSE(parsed) << bad;
    EXPECT_EQ(parsed.error().kind, ErrorKind::bad_input);
  }
  EXPECT_TRUE(parse_json(std::string(64, '[') + std::string(64, ']')));
  EXPECT_EQ(parse_json(std::string(66, '[') + std::string(66, ']')).error().message,
            "JSON nested deeper than 64 levels");
  EXPECT_FALSE(parse_json(std::string(1'000'000, '[')));
  EXPECT_FALSE(parse_json(std::string(1'000'000, '[') + std::string(1'000'000, ']')));
}

TEST(Json, DumpingCannotFail) {
  EXPECT_EQ(dump_json(Json{{"a", "x\xff"}}), "{\"a\":\"x\xef\xbf\xbd\"}");
  EXPECT_EQ(dump_json(Json{{"a", "line\nline"}}), "{\"a\":\"line\\nline\"}");
}

TEST(Json, GetFallsBackOnAbsenceAndWrongType) {
  const Json object = {{"number", 7}, {"real", 2.5}, {"text", "x"}, {"yes", true}, {"list", {1}}};
  EXPECT_EQ(json_get(object, "number", 0), 7);
  EXPECT_EQ(json_get(object, "number", 0.0), 7.0);
  EXPECT_EQ(json_get(object, "text", 3), 3);
  EXPECT_EQ(json_get(object, "yes", 3), 3) << "a boolean is no number";
  EXPECT_EQ(json_get(object, "number", false), false);
  EXPECT_EQ(json_get(object, "yes", false), true);
  EXPECT_EQ(json_get(object, "number", std::string("f")), "f");
  EXPECT_EQ(json_get(object, "list", Json()), Json::array({1}));
  EXPECT_EQ(json_get(object, "none", 5), 5);
  EXPECT_EQ(json_get(Json::array(), "number", 5), 5);
  EXPECT_EQ(json_get(Json(), "number", 5), 5);
}

TEST(Json, TextIsPrintableAndOfTextsOnly) {
  const Json object = {
      {"text", "a\nb\x01"}, {"long", std::string(500, 'x')}, {"number", 7}, {"null", nullptr}, {"list", {"x"}}};
  EXPECT_EQ(json_text(object, "text"), "a\\x0ab\\x01");
  EXPECT_EQ(json_text(object, "long"), printable(std::string(500, 'x')));
  EXPECT_LE(json_text(object, "long", 20).size(), 20U);
  for (const char* key : {"number", "null", "list", "none"}) EXPECT_EQ(json_text(object, key), "") << key;
  EXPECT_EQ(json_text(Json("x"), "text"), "");
  EXPECT_EQ(json_text(Json(), "text"), "");
}

// Plans must be the same on every machine and in every release: these numbers never change.
TEST(Rng, IsSplitMix64) {
  Rng rng(1234567);  // the reference values of the generator's public test vector
  EXPECT_EQ(rng.next(), 6457827717110365317ull);
  EXPECT_EQ(rng.next(), 3203168211198807973ull);
  EXPECT_EQ(rng.next(), 9817491932198370423ull);
}

TEST(Rng, IterationsHaveTheirOwnStreams) {
  std::set<std::uint64_t> firsts;
  for (std::uint64_t iteration = 0; iteration < 2000; ++iteration)
    firsts.insert(Rng::for_iteration(1, iteration).next());
  EXPECT_EQ(firsts.size(), 2000u);
  EXPECT_EQ(Rng::for_iteration(1, 7).next(), Rng::for_iteration(1, 7).next());
  EXPECT_NE(Rng::for_iteration(1, 7).next(), Rng::for_iteration(2, 7).next());
}

TEST(Rng, BelowIsBoundedAndEven) {
  Rng rng(5);
  std::map<std::uint64_t, int> counts;
  for (int i = 0; i < 60'000; ++i) ++counts[rng.below(6)];
  ASSERT_EQ(counts.size(), 6u);
  for (const auto& [value, count] : counts) {
    EXPECT_LT(value, 6u);
    EXPECT_NEAR(count, 10'000, 500);
  }
  EXPECT_EQ(rng.below(1), 0u);
}

TEST(Deadline, IsNeverNegativeAndTakesTheSooner) {
  using namespace std::chrono_literals;
  const Deadline past = Deadline::at(Clock::now() - 1h);
  EXPECT_TRUE(past.passed());
  EXPECT_EQ(past.left(), 0ms);
  const Deadline future = Deadline::in(1h);
  EXPECT_FALSE(future.passed());
  EXPECT_GT(future.left(), 59min);
  EXPECT_EQ(future.sooner(past).point(), past.point());
  EXPECT_EQ(past.sooner(future).point(), past.point());
}

bool is_open(int fd) {
  return ::fcntl(fd, F_GETFD) >= 0;
}

TEST(UniqueFd, ClosesOnceAndMoves) {
  const int number = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ASSERT_GE(number, 0);
  {
    UniqueFd first(number);
    UniqueFd second(std::move(first));
    EXPECT_FALSE(first.valid());  // NOLINT(bugprone-use-after-move): that is what is tested
    EXPECT_EQ(second.get(), number);
    UniqueFd& alias = second;
    second = std::move(alias);
    EXPECT_TRUE(is_open(number)) << "moved onto itself";
  }
  EXPECT_FALSE(is_open(number));
  UniqueFd third(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int released = third.release();
  third.reset();
  EXPECT_TRUE(is_open(released));
  ::close(released);
}

}  // namespace
}  // namespace migsoak::base
