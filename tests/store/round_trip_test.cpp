// Property: whatever finish() was given, for_each_observation() gives back, bit for bit and in order. `judge` on a
// database can equal the live verdict only because of this.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>

#include "base/rng.h"
#include "store/equal.h"
#include "store/scratch.h"
#include "store/store.h"
#include "store/synthetic.h"

namespace migsoak::store {
namespace {

class Random {
 public:
  explicit Random(std::uint64_t seed) : rng_(seed) {}

  std::uint64_t below(std::uint64_t bound) { return rng_.below(bound); }
  bool one_in(std::uint64_t n) { return rng_.below(n) == 0; }

  std::string text() {
    switch (rng_.below(6)) {
      case 0: return "";
      case 1: return "plain";
      case 2: return "it's; DROP TABLE iteration; --";
      case 3: return std::string("nul\0inside", 10);
      case 4: return std::string(rng_.below(3000), 'x') + "é→";
      default: return "text" + std::to_string(rng_.below(50));
    }
  }
  double value() {
    switch (rng_.below(12)) {
      case 0: return std::numeric_limits<double>::quiet_NaN();
      case 1: return std::numeric_limits<double>::infinity();
      case 2: return -std::numeric_limits<double>::max();
      case 3: return 9007199254740992.0;
      case 4: return 0.1 + static_cast<double>(rng_.below(10));
      case 5: return -1;
      case 6: return 5e-324;
      default: return static_cast<double>(rng_.below(3));
    }
  }
  base::Json detail() {
    if (one_in(2)) return base::Json::object();
    base::Json json = {{"count", rng_.below(5)}, {"text", "ü\n"}, {"real", 0.1}, {"big", 18446744073709551615ull}};
    if (one_in(3)) json["took_ms"] = 0.1 + static_cast<double>(rng_.below(99));
    if (one_in(6)) json["took_ms"] = 7;
    if (one_in(9)) return base::Json{{"took_ms", 1.5}};
    if (one_in(4)) json = base::Json::array({1, nullptr, true});
    // As deep as a detail can get that wraps what QMP said.
    if (one_in(4)) {
      for (int i = 0; i < 70; ++i) json = base::Json{{"in", json}};
    }
    return json;
  }

  record::Observation observation(std::int64_t iteration, int lane) {
    record::Observation o;
    o.iteration = iteration;
    o.lane = lane;
    o.lineage = static_cast<int>(rng_.below(3));
    o.plan = {one_in(10) ? iteration + 1 : iteration, text(), text(), text(), text()};
    if (one_in(2)) o.plan.machine = text();
    if (one_in(3)) o.plan.operations.push_back({text(), "plug", "settled", text(), "", "0x5"});
    if (one_in(5)) o.plan.restarts.push_back({text(), "kill", "during", "recovers"});
    if (one_in(5)) o.plan.libvirt = record::LibvirtWay{"client", {text(), text()}, 5, 3};
    if (one_in(5)) o.plan.expect = text();
    o.status = static_cast<record::IterationStatus>(1 + rng_.below(4));
    o.phase = text();
    o.started_unix_ms = static_cast<std::int64_t>(rng_.next() >> 1);
    o.duration_ms = 0.5 * static_cast<double>(rng_.below(99999));
    o.context = text();
    for (std::uint64_t i = rng_.below(4); i > 0; --i) {
      const bool again = !born_.empty() && one_in(4);  // as each lineage names the harness
      if (!again) {
        born_.push_back({static_cast<std::int64_t>(born_.size() + 1), text(), number(), number(),
                         static_cast<int>(rng_.below(5)), text(), number(), number()});
      }
      o.processes_born.push_back(again ? born_[rng_.below(born_.size())] : born_.back());
    }
    for (std::uint64_t i = rng_.below(3); i > 0; --i) {
      o.processes_ended.push_back({process(), one_in(2), static_cast<int>(rng_.below(256)) - 1,
                                   static_cast<int>(rng_.below(64)), one_in(2), text()});
    }
    for (std::uint64_t i = rng_.below(30); i > 0; --i) {  // names repeat within an iteration now and then
      const std::string subject = "p" + std::to_string(rng_.below(4));
      o.samples.push_back({subject, process(), "m" + std::to_string(rng_.below(12)), value()});
    }
    for (std::uint64_t i = rng_.below(12); i > 0; --i) o.births.push_back({process(), descriptor(), text(), text()});
    for (std::uint64_t i = rng_.below(12); i > 0; --i) o.deaths.push_back({process(), descriptor()});
    for (std::uint64_t i = rng_.below(5); i > 0; --i) {
      o.events.push_back(
          {text(), text(), process(), text(), 0.25 * static_cast<double>(rng_.below(999)), text(), detail()});
    }
    for (std::uint64_t i = rng_.below(4); i > 0; --i) {  // now and then the same as last time
      if (documents_.empty() || one_in(3)) documents_ = {{text(), text(), process(), text(), detail()}};
      o.documents.push_back(documents_.front());
      o.documents.back().process_id = process();
    }
    return o;
  }

 private:
  std::int64_t process() { return static_cast<std::int64_t>(rng_.below(6)); }
  int descriptor() { return static_cast<int>(rng_.below(10)); }
  std::int64_t number() { return static_cast<std::int64_t>(rng_.next()); }
  base::Rng rng_;
  std::vector<record::Document> documents_;
  std::vector<record::ProcessInstance> born_;
};

class RoundTrip : public testing::TestWithParam<std::uint64_t> {};

TEST_P(RoundTrip, RandomObservationsComeBackAsTheyWere) {
  Random random(GetParam());
  const scratch::Directory directory;
  const std::string path = directory.file("results.db");
  auto store = Store::create(path, synthetic::manifest());
  ASSERT_TRUE(store) << store.error().describe();
  constexpr std::int64_t kIterations = 120;
  // Iterations finish out of order between lanes, and within one when a resumed run repeats an interrupted one.
  std::vector<std::int64_t> order(kIterations);
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int64_t>(i);
  for (std::size_t i = 0; i + 1 < order.size(); ++i) {
    if (random.one_in(3))
      std::swap(order[i], order[i + 1 + random.below(std::min<std::size_t>(4, order.size() - i - 1))]);
  }
  std::map<std::int64_t, record::Observation> given;
  for (const std::int64_t iteration : order) {
    record::Observation o = random.observation(iteration, static_cast<int>(random.below(2)));
    if (random.one_in(2)) {
      ASSERT_TRUE((*store)->begin(o));
    }
    const auto finished = (*store)->finish(o, record::Verdict::pass);
    ASSERT_TRUE(finished) << finished.error().describe();
    given.emplace(iteration, std::move(o));
    if (random.one_in(15)) {  // a resumed run: nothing is left in memory
      store->reset();
      store = Store::open(path, true);
      ASSERT_TRUE(store) << store.error().describe();
    }
  }
  for (const bool reopened : {false, true}) {
    if (reopened) {
      store->reset();
      store = Store::open(path);
      ASSERT_TRUE(store);
    }
    auto expected = given.begin();
    const auto walked = (*store)->for_each_observation([&](const record::Observation& o) -> base::Result<void> {
      record::expect_equal((expected++)->second, o);
      return {};
    });
    ASSERT_TRUE(walked) << walked.error().describe();
    EXPECT_EQ(expected, given.end());
    record::expect_equal(given.at(60), *(*store)->observation(60));
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RoundTrip, testing::Range<std::uint64_t>(1, 13));

}  // namespace
}  // namespace migsoak::store
