// A lineage that an earlier session broke off goes on with a new guest: where it boots, and with what.
#include "run_migsoak.h"
#include "store/store.h"

namespace migsoak::integration {

namespace {

class Resume : public MigsoakTest {
 protected:
  std::string db() const { return path("r.db"); }
  // The first `iterations` of the scenario; a second time what is missing of them.
  void run_to(const std::string& toml, int iterations, bool resume) const {
    std::vector<std::string> arguments = {"run", toml, "--db", db(), "--iterations", std::to_string(iterations)};
    if (resume) arguments.emplace_back("--resume");
    const Outcome outcome = migsoak(arguments);
    EXPECT_EQ(outcome.status, 0) << describe(outcome);
  }
  static std::string scenario(const std::string& more) {
    return "name = \"resume\"\n[guest]\nworkload = \"idle\"\n" + two_sides() + more;
  }
};

// What iteration 0 plugs is there when iteration 2 begins, though its guest is another: iteration 3 takes it away.
TEST_F(Resume, AGuestBootsWithWhatThePlanHasItHold) {
  const std::string toml = write("s.toml", scenario("[hotplug]\n"
                                                    "[[hotplug.step]]\niteration = 0\nkind = \"virtio-blk\"\n"
                                                    "[[hotplug.step]]\niteration = 0\nkind = \"virtio-rng\"\n"
                                                    "[[hotplug.step]]\niteration = 3\naction = \"unplug\"\n"
                                                    "kind = \"virtio-blk\"\n"));
  run_to(toml, 2, false);
  run_to(toml, 4, true);
  const auto store = store::Store::open(db());
  ASSERT_TRUE(store);
  const auto broken_off = (*store)->observation(1);
  const auto resumed = (*store)->observation(2);
  const auto last = (*store)->observation(3);
  ASSERT_TRUE(broken_off && resumed && last);
  EXPECT_NE(resumed->lineage, broken_off->lineage);
  int unplugged = 0;
  for (const record::Event& event : last->events) {
    if (event.kind != record::event_kind::kHotplug) continue;
    EXPECT_EQ(event.detail.value("result", ""), "done") << event.text << event.detail.dump();
    EXPECT_EQ(event.detail.value("action", ""), "unplug");
    ++unplugged;
  }
  EXPECT_EQ(unplugged, 1);
}

// By its plan iteration 1 leaves from the pair's second side. A guest booted there would make it another pair.
TEST_F(Resume, APairBootsOnItsFirstSide) {
  const std::string toml = write("s.toml", scenario("[migration]\nroute = \"pairs\"\n[run]\nlineage = 4\n"));
  run_to(toml, 1, false);
  run_to(toml, 3, true);
  const auto store = store::Store::open(db());
  ASSERT_TRUE(store);
  const auto rows = (*store)->iterations();
  ASSERT_TRUE(rows);
  ASSERT_EQ(rows->size(), 3U);
  for (const auto& row : *rows) EXPECT_EQ(row.status, record::IterationStatus::completed);
  EXPECT_EQ((*rows)[0].source, "a");
  EXPECT_EQ((*rows)[1].source, "a") << "the new guest";
  EXPECT_EQ((*rows)[2].source, "b");
}

}  // namespace
}  // namespace migsoak::integration
