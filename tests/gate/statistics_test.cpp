// Against values of the literature, of R's manual, and against the definitions.
#include "gate/statistics.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

namespace migsoak::gate {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;

TEST(ShareBounds, NoneOfNIsTheRuleOfThree) {
  EXPECT_NEAR(share_bounds(0, 3000, 0.95).upper, 1 - std::pow(0.05, 1.0 / 3000), 1e-12);
  EXPECT_LT(share_bounds(0, 3000, 0.95).upper, 0.001);
  EXPECT_EQ(share_bounds(0, 3000, 0.95).lower, 0);
  EXPECT_EQ(share_bounds(5, 5, 0.95).upper, 1);
  EXPECT_NEAR(share_bounds(5, 5, 0.95).lower, std::pow(0.05, 1.0 / 5), 1e-12);
  EXPECT_EQ(share_bounds(0, 0, 0.95).upper, 1);
}

// At the bound, what was seen or less (or more) has just the probability that is left.
TEST(ShareBounds, AreWhatTheyAreDefinedAs) {
  const auto at_most = [](int count, int of, double share) {
    double sum = 0;
    for (int k = 0; k <= count; ++k) {
      sum += std::exp(std::lgamma(of + 1) - std::lgamma(k + 1) - std::lgamma(of - k + 1) + k * std::log(share) +
                      (of - k) * std::log1p(-share));
    }
    return sum;
  };
  for (const auto& [count, of] : {std::pair{1, 10}, {3, 100}, {17, 1500}, {40, 60}}) {
    const ShareBounds bounds = share_bounds(count, of, 0.95);
    EXPECT_NEAR(at_most(count, of, bounds.upper), 0.05, 1e-9) << count << " of " << of;
    EXPECT_NEAR(1 - at_most(count - 1, of, bounds.lower), 0.05, 1e-9) << count << " of " << of;
  }
  // Clopper and Pearson's own 95 % two-sided interval of 1 of 10.
  EXPECT_NEAR(share_bounds(1, 10, 0.975).lower, 0.00253, 1e-5);
  EXPECT_NEAR(share_bounds(1, 10, 0.975).upper, 0.44502, 1e-5);
}

TEST(MoreNeeded, IsTheFirstNumberThatIsEnough) {
  EXPECT_EQ(more_needed(0, 0, 0.001, 0.95), 2995);
  EXPECT_EQ(more_needed(0, 100, 0.001, 0.95), 2895);
  EXPECT_EQ(more_needed(0, 2995, 0.001, 0.95), 0);
  EXPECT_EQ(more_needed(0, 0, 0.01, 0.95), 299);
  const std::int64_t more = more_needed(2, 50, 0.01, 0.95);
  EXPECT_LE(share_bounds(2, 50 + more, 0.95).upper, 0.01);
  EXPECT_GT(share_bounds(2, 50 + more - 1, 0.95).upper, 0.01);
  EXPECT_EQ(more_needed(1, 1, 1e-15, 0.95), -1);
}

TEST(Fisher, TastesTea) {
  EXPECT_NEAR(fisher_more(3, 4, 1, 4), 17.0 / 70, 1e-12);
  EXPECT_NEAR(fisher_more(4, 4, 0, 4), 1.0 / 70, 1e-12);
  EXPECT_EQ(fisher_more(0, 100, 5, 100), 1);
  EXPECT_EQ(fisher_more(3, 10, 0, 0), 1);
  EXPECT_EQ(fisher_more(10, 10, 10, 10), 1);
  EXPECT_NEAR(fisher_more(1, 1500, 0, 1500), 0.5, 1e-9);
  EXPECT_LT(fisher_more(15, 1500, 0, 1500), 1e-4);
}

// A million iterations on each side, of which none to all count; no exception, and no minute.
TEST(Fisher, HoldsForAMillion) {
  constexpr std::int64_t kAll = 1'000'000;
  EXPECT_NEAR(fisher_more(500'000, kAll, 500'000, kAll), 0.5, 0.01);
  EXPECT_LT(fisher_more(502'000, kAll, 498'000, kAll), 1e-6);
  EXPECT_NEAR(fisher_more(20, kAll, 0, kAll), std::pow(0.5, 20), 1e-9);
  EXPECT_EQ(fisher_more(kAll, kAll, kAll, kAll), 1);
  EXPECT_NEAR(fisher_more(kAll, kAll, kAll - 1, kAll), 0.5, 1e-6);
  EXPECT_EQ(fisher_more(0, kAll, kAll, kAll), 1);
}

TEST(CountMore, ComparesTimesPerIteration) {
  EXPECT_NEAR(count_more(3, 100, 0, 100), 1.0 / 8, 1e-12);
  EXPECT_NEAR(count_more(2, 100, 0, 300), 1.0 / 16, 1e-12);
  EXPECT_EQ(count_more(0, 10, 5, 10), 1);
  EXPECT_GT(count_more(200, 100, 400, 200), 0.4);
  EXPECT_LT(count_more(300, 100, 400, 200), 0.001);
  constexpr auto kMost = std::numeric_limits<std::int64_t>::max();
  EXPECT_GE(count_more(kMost, 1, kMost, 1), 0);
}

// Hollander and Wolfe's permeability of membranes, as in R's manual of wilcox.test: W = 35, p = 0.1103 without the
// correction for continuity, 0.1223 with it.
TEST(MannWhitney, AgreesWithR) {
  const std::vector<double> x = {0.73, 0.80, 0.83, 1.04, 1.38, 1.45, 1.46, 1.64, 1.89, 1.91};
  const std::vector<double> y = {0.74, 0.88, 0.90, 1.15, 1.21};
  EXPECT_NEAR(mann_whitney_above(x, y), 0.1223, 5e-5);
  EXPECT_NEAR(mann_whitney_above(y, x), 0.9008, 5e-5);
}

TEST(MannWhitney, SharesRanksOfEqualValues) {
  EXPECT_EQ(mann_whitney_above({3, 3, 3}, {3, 3}), 1);
  EXPECT_EQ(mann_whitney_above({}, {1}), 1);
  // Ranks 1.5 1.5 4 4 4 6: W = 14 - 6 = 8, mean 4.5, variance 9 / 12 * (7 - 30 / 30) = 4.5.
  EXPECT_NEAR(mann_whitney_above({2, 2, 5}, {1, 1, 2}), 0.5 * std::erfc(3.0 / std::sqrt(4.5) / std::sqrt(2.0)), 1e-9);
}

TEST(BenjaminiHochberg, AdjustsInPlace) {
  EXPECT_THAT(
      benjamini_hochberg({0.01, 0.04, 0.03, 0.005}),
      ElementsAre(DoubleNear(0.02, 1e-12), DoubleNear(0.04, 1e-12), DoubleNear(0.04, 1e-12), DoubleNear(0.02, 1e-12)));
  EXPECT_THAT(benjamini_hochberg({0.7}), ElementsAre(0.7));
  EXPECT_TRUE(benjamini_hochberg({}).empty());
}

TEST(Turns, CountsStretches) {
  EXPECT_EQ(turns({}, {}), 0);
  EXPECT_EQ(turns({1, 2}, {}), 1);
  EXPECT_EQ(turns({1, 2}, {3, 4}), 2);
  EXPECT_EQ(turns({3, 4}, {1, 2}), 2);
  EXPECT_EQ(turns({1, 5}, {3, 4}), 3);
  EXPECT_EQ(turns({1, 3, 5}, {2, 4, 6}), 6);
  EXPECT_EQ(turns({1, 2, 3}, {1, 2, 3}), 6);
}

TEST(Median, IsTheMiddle) {
  EXPECT_EQ(median({1, 2, 9}), 2);
  EXPECT_EQ(median({1, 2, 4, 9}), 3);
}

}  // namespace
}  // namespace migsoak::gate
