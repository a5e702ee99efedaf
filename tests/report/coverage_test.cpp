#include "report/coverage.h"

#include <gmock/gmock.h>

#include "base/text.h"
#include "report/report.h"
#include "store/scratch.h"
#include "store/synthetic.h"

namespace migsoak::report {
namespace {

using testing::HasSubstr;
using testing::Not;

const char* const kScenario =
    "name = 'plug'\n[guest]\nmachine = [ 'pc', 'q35' ]\n[hotplug.kinds]\ncpu = 1\nmemory = 0\nvirtio-blk = 3\n"
    "virtio-rng = 1\n[hotplug.timings]\nat-once = 1\nrefused = 1\nsettled = 4\n";

record::Event operation(const std::string& kind, const std::string& action, const std::string& timing,
                        const std::string& machine, const std::string& result = "done", bool confirmed = true) {
  record::Event event;
  event.kind = record::event_kind::kHotplug;
  event.subject = "guest";
  event.detail = {{"kind", kind},       {"action", action}, {"timing", timing},      {"device", kind + "0"},
                  {"machine", machine}, {"result", result}, {"confirmed", confirmed}};
  return event;
}

class CoverageTest : public testing::Test {
 protected:
  void open(const std::string& scenario = kScenario) {
    record::Manifest manifest = synthetic::manifest(10);
    manifest.scenario_text = scenario;
    auto created = store::Store::create(directory_.file("results.db"), manifest);
    ASSERT_TRUE(created);
    store_ = std::move(*created);
  }
  void iteration(const std::vector<record::Event>& events, std::size_t planned) {
    record::Observation o;
    o.iteration = next_++;
    o.plan = {o.iteration, "a", "b", "precopy", "unix", "pc"};
    o.plan.operations.resize(planned);
    o.status = record::IterationStatus::completed;
    o.duration_ms = 10;
    o.events = events;
    ASSERT_TRUE(store_->begin(o));
    ASSERT_TRUE(store_->finish(o, record::Verdict::pass));
  }
  void mixed() {
    open();
    iteration({operation("virtio-blk", "plug", "settled", "pc"), operation("virtio-blk", "plug", "settled", "q35"),
               operation("virtio-blk", "unplug", "at-once", "pc")},
              3);
    record::Event unconfirmed = operation("virtio-blk", "unplug", "settled", "q35", "unacknowledged", false);
    unconfirmed.detail["error"] = "the device \033[31m is still there";
    iteration({unconfirmed, operation("virtio-rng", "plug", "refused", "q35", "expected-refusal"),
               operation("virtio-rng", "plug", "settled", "pc", "done", false),
               operation("virtio-rng", "plug", "settled", "pc", "skipped", false),
               operation("virtio-rng", "plug", "settled", "pc", "not-refused", false)},
              6);
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

TEST_F(CoverageTest, CountsWhatTheGuestConfirmedAndTheRestApart) {
  mixed();
  const auto coverage = coverage_of(*store_);
  ASSERT_TRUE(coverage) << coverage.error().describe();
  EXPECT_EQ(coverage->total.plugged, 2);
  EXPECT_EQ(coverage->total.unplugged, 1);
  EXPECT_EQ(coverage->total.unconfirmed, 3);
  EXPECT_EQ(coverage->total.refused, 1);
  EXPECT_EQ(coverage->total.skipped, 1);
  EXPECT_EQ(coverage->planned, 9);
  EXPECT_EQ(coverage->events, 8);
  const HotplugTally rng = coverage->rows.at({"virtio-rng", "settled", "pc"});
  EXPECT_EQ(rng.plugged, 0);
  EXPECT_EQ(rng.unconfirmed, 2);
  EXPECT_EQ(rng.skipped, 1);
}

TEST_F(CoverageTest, IsATableOfKindAndTimingByMachine) {
  mixed();
  const std::string out = page(200);
  EXPECT_THAT(out,
              HasSubstr("hotplug      3 operations confirmed by the guest, 3 not; 1 refused during a migration, as "
                        "expected; 1 skipped; 1 planned and not concluded: the iteration ended first\n"));
  EXPECT_THAT(
      out, HasSubstr("  kind        timing   plug  unplug  unconfirmed  refused  skipped  plug  unplug  unconfirmed  "
                     "refused  skipped\n"
                     "  virtio-blk  settled     1       ·            ·        ·        ·     1       ·            1   "
                     "     ·        ·\n"
                     "  virtio-blk  at-once     ·       1            ·        ·        ·     ·       ·            ·   "
                     "     ·        ·\n"
                     "  virtio-rng  settled     ·       ·            2        ·        1     ·       ·            ·   "
                     "     ·        ·\n"
                     "  virtio-rng  refused     ·       ·            ·        ·        ·     ·       ·            ·   "
                     "     1        ·\n"));
  EXPECT_THAT(out, HasSubstr("unconfirmed  unplug of virtio-blk virtio-blk0 (settled) in iteration 1: unacknowledged, "
                             "the device \\x1b[31m is still there\n"));
  EXPECT_THAT(out, HasSubstr("plug of virtio-rng virtio-rng0 (settled) in iteration 1: done, but the guest did not "
                             "confirm it\n"));
  // memory has weight 0: not wanted.
  EXPECT_THAT(out, HasSubstr("never done: cpu, virtio-blk at-once on q35, virtio-blk refused, virtio-rng on pc, "
                             "virtio-rng at-once on q35, virtio-rng settled on q35\n"));
}

TEST_F(CoverageTest, NarrowTerminalsHaveMachinesInRows) {
  mixed();
  const std::string out = page(80);
  EXPECT_THAT(out, HasSubstr("  virtio-blk  settled  q35         1       ·            1        ·        ·\n"));
  for (const std::string& line : base::split(page(40), '\n')) EXPECT_LE(columns_of(line), 40u) << line;
}

TEST_F(CoverageTest, ColumnsWithoutAnythingAreLeftOut) {
  open("name = 'x'\n");
  iteration({operation("virtio-net", "plug", "settled", "pc")}, 1);
  const std::string out = page(80);
  EXPECT_THAT(out, HasSubstr("hotplug      1 operation confirmed by the guest, 0 not\n"));
  EXPECT_THAT(out, HasSubstr("  kind        timing   plug  unplug  unconfirmed\n"));
  EXPECT_THAT(out, Not(HasSubstr("never")));
}

TEST_F(CoverageTest, AMachineThatNeverCameUpIsNamedOnce) {
  open();
  iteration({operation("virtio-blk", "plug", "settled", "pc")}, 1);
  EXPECT_THAT(page(200), HasSubstr("never done: everything on q35, cpu, virtio-blk at-once, virtio-blk "
                                   "refused, virtio-rng\n"));
}

TEST_F(CoverageTest, PlacementsOfBars) {
  open("name = 'x'\n");
  record::Event odd = operation("virtio-blk", "plug", "settled", "pc");
  record::Event even = odd;
  odd.detail["bar0"] = {{"address", 0x1040}, {"size", 64}};
  even.detail["bar0"] = {{"address", 0x1080}, {"size", 128}};
  record::Event mad = odd;
  mad.detail["bar0"] = {{"address", "x"}, {"size", 0}};
  iteration({odd, even, even, mad}, 4);
  EXPECT_THAT(page(120), HasSubstr("BAR0         virtio-blk: stood on 1 odd and 1 even multiples of 0x40 bytes\n"));
}

TEST_F(CoverageTest, StaysOnOneScreenWithAllKinds) {
  open();
  std::vector<record::Event> events;
  for (const char* kind : {"virtio-blk", "vhost-user-blk", "scsi-disk", "virtio-net", "virtio-rng", "virtio-balloon",
                           "serial-port", "memory", "cpu"}) {
    for (const char* timing : {"settled", "at-once"}) {
      for (const char* machine : {"pc", "q35"}) events.push_back(operation(kind, "plug", timing, machine));
    }
    events.push_back(operation(kind, "plug", "refused", "pc", "expected-refusal"));
    events.push_back(operation(kind, "plug", "refused", "q35", "expected-refusal"));
  }
  iteration(events, events.size());
  Page out(100, false);
  print_coverage(out, *coverage_of(*store_), requested_of(store_->manifest()));
  const std::string table = out.take();
  EXPECT_LE(std::count(table.begin(), table.end(), '\n'), 31);
  EXPECT_THAT(table, Not(HasSubstr("never")));
}

TEST_F(CoverageTest, AScenarioThatCannotBeReadCostsNothingButWhatWasRequested) {
  open("name = [[[ '\n");
  iteration({operation("virtio-blk", "plug", "settled", "pc")}, 1);
  EXPECT_THAT(page(80), HasSubstr("1 operation confirmed"));
}

}  // namespace
}  // namespace migsoak::report
