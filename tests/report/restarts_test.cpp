#include "report/restarts.h"

#include <gmock/gmock.h>

#include "base/text.h"
#include "report/report.h"
#include "store/scratch.h"
#include "store/synthetic.h"

namespace migsoak::report {
namespace {

using testing::HasSubstr;
using testing::Not;

base::Json restart(const std::string& how, const std::string& timing, const std::string& result,
                   std::uint64_t io_errors = 0, double took_ms = 1002.6) {
  return {{"how", how}, {"timing", timing}, {"result", result}, {"io_errors", io_errors}, {"took_ms", took_ms}};
}

base::Json in_flight(base::Json detail, int requests) {
  detail["in_flight"] = requests;
  return detail;
}

class RestartsTest : public testing::Test {
 protected:
  void open(const std::string& version_of_b = "7.2.22") {
    record::Manifest manifest = synthetic::manifest(10);
    manifest.sides = {{"a", "one", "7.2.22"}, {"b", "two", version_of_b}};
    auto created = store::Store::create(directory_.file("results.db"), manifest);
    ASSERT_TRUE(created) << created.error().describe();
    store_ = std::move(*created);
  }
  void iteration(const base::Json& detail, const std::string& target = "target:disk0") {
    record::Observation o;
    o.iteration = next_++;
    const bool forth = o.iteration % 2 == 0;
    o.plan = {o.iteration, forth ? "a" : "b", forth ? "b" : "a", "precopy", "unix", "pc"};
    o.status = record::IterationStatus::completed;
    o.events.push_back({record::event_kind::kTargetRestart, target, 0, "restart", 1, "", detail});
    ASSERT_TRUE(store_->begin(o));
    ASSERT_TRUE(store_->finish(o, record::Verdict::pass));
  }
  std::string page(int width) {
    const auto out = text(*store_, width, false);
    EXPECT_TRUE(out);
    return out.value_or("");
  }
  scratch::Directory directory_;
  std::unique_ptr<store::Store> store_;
  std::int64_t next_ = 0;
};

TEST_F(RestartsTest, IsATableOfHowAndTimingByTarget) {
  open();
  iteration(in_flight(restart("kill", "after", "recovered"), 3));
  iteration(in_flight(restart("kill", "between", "recovered", 0, 2006.4), 8));
  iteration(in_flight(restart("kill", "between", "recovered"), 2));
  iteration(restart("graceful", "during", "not-reconnected"));
  iteration(in_flight(restart("graceful", "during", "lost"), 0), "target:disk1");
  const std::string out = page(100);
  EXPECT_THAT(out, HasSubstr("restarts     5 of 2 targets: 3 recovered, 0 with I/O errors (0 errors), 1 lost, 1 not "
                             "connected\n             again\n"));
  EXPECT_THAT(out, HasSubstr("                                               I/O         not      in   max\n"
                             "  how         timing   restarts  recovered  errors  lost  back  flight    ms\n"
                             "  target:disk0\n"
                             "    graceful  during          1          ·       ·     ·     1       –  1003\n"
                             "    kill      between         2          2       ·     ·     ·       8  2006\n"
                             "    kill      after           1          1       ·     ·     ·       3  1003\n"
                             "  target:disk1\n"
                             "    graceful  during          1          ·       ·     1     ·       ·  1003\n"));
}

TEST_F(RestartsTest, ErrorsAndTheGuestThatEndedByThemAreCounted) {
  open();
  iteration(restart("graceful", "during", "io-errors", 5));
  base::Json ended = restart("graceful", "during", "io-errors", 2);
  ended["ended_guest"] = true;
  iteration(ended);
  const std::string out = page(100);
  EXPECT_THAT(out, HasSubstr("restarts     2 of 1 target: 0 recovered, 2 with I/O errors (7 errors), 0 lost, 0 not "
                             "connected\n             again; 1 ended the guest, as declared\n"));
  EXPECT_THAT(
      out, HasSubstr("                                             with     I/O  guest         not      in   max\n"
                     "  how         timing  restarts  recovered  errors  errors  ended  lost  back  flight    ms\n"
                     "  target:disk0\n"
                     "    graceful  during         2          ·       2       7      1     ·     ·       –  1003\n"));
}

TEST_F(RestartsTest, BuildsAreToldApartWhereThereAreSeveral) {
  open("11.1.2");
  for (int i = 0; i < 3; ++i) iteration(restart("kill", "during", "recovered"));
  const auto restarts = restarts_of(*store_);
  ASSERT_TRUE(restarts) << restarts.error().describe();
  ASSERT_EQ(restarts->rows.size(), 2u);
  EXPECT_EQ(restarts->rows.at({"target:disk0", "kill", "during", "7.2.22→11.1.2"}).recovered, 2);
  EXPECT_EQ(restarts->rows.at({"target:disk0", "kill", "during", "11.1.2→7.2.22"}).recovered, 1);
  EXPECT_THAT(page(100), HasSubstr("    kill  during  7.2.22→11.1.2         2          2  "));
  for (const int width : {40, 60, 80, 100}) {
    for (const std::string& line : base::split(page(width), '\n')) {
      EXPECT_LE(columns_of(line), static_cast<std::size_t>(width)) << line;
    }
  }
  EXPECT_THAT(page(60), HasSubstr("  target:disk0 kill during 7.2.22→11.1.2: restarts 2,\n  recovered 2, "));
}

TEST_F(RestartsTest, NothingIsSaidOfNone) {
  open();
  EXPECT_THAT(page(100), Not(HasSubstr("restarts ")));
}

TEST_F(RestartsTest, HostileDetailsAreEscapedAndBounded) {
  open();
  base::Json mad = restart("kill\033[31m", std::string(5000, 'x'), "\n", 18446744073709551615ull, -1e300);
  mad["in_flight"] = 1e300;
  iteration(mad, "target:\033" + std::string(5000, 'y'));
  iteration("text");
  const auto restarts = restarts_of(*store_);
  ASSERT_TRUE(restarts);
  EXPECT_EQ(restarts->total.unknown, 2);
  EXPECT_EQ(restarts->total.io_errors, 1000000000000);
  EXPECT_EQ(restarts->total.in_flight_max, 1000000000000);
  EXPECT_EQ(restarts->total.longest_ms, 0);
  for (const std::string& line : base::split(page(60), '\n')) {
    EXPECT_LE(columns_of(line), 60u) << line;
    EXPECT_THAT(line, Not(HasSubstr("\033")));
  }
}

}  // namespace
}  // namespace migsoak::report
