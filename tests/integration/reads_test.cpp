// A QEMU that no longer knows what it is asked: the run says what it could not compare, and does not pass.
#include "run_migsoak.h"

namespace migsoak::integration {

namespace {

constexpr const char* kScenario = R"(name = "reads"
iterations = 3
[guest]
machine = "q35"
workload = "idle"
[[device]]
id = "vd0"
type = "virtio-blk"
)";

using testing::HasSubstr;

class MissedRead : public MigsoakTest {
 protected:
  // `command`: what side b's QEMU gets wrong, once. `with`: another read that goes with it.
  void miss(const std::string& command, const std::string& read, const std::string& words,
            const std::string& with = "") {
    SCOPED_TRACE(command);
    const std::string db = path(read + ".db");
    const Outcome outcome =
        migsoak({"run", write("s.toml", kScenario + two_sides()), "--db", db, "--no-progress", "--set",
                 "side.b.env.LD_PRELOAD=" + fault("monitor_refuses"), "--set", "side.b.env.FAULT_COMMAND=" + command,
                 "--set", "side.b.env.FAULT_LIMIT=1", "--set", "side.b.env.FAULT_STATE=" + path(read + ".state")});
    EXPECT_EQ(outcome.status, 3) << describe(outcome);
    const base::Json all = findings(db);
    EXPECT_EQ(all.value("verdict", ""), "unknown");
    EXPECT_EQ(all["findings"].size(), 0U) << all.dump(1);
    EXPECT_EQ(all["reads"][read]["wanted"], 3) << all.dump(1);
    EXPECT_EQ(all["reads"][read]["done"], 2) << all.dump(1);
    for (const std::string other : {"config-space", "virtqueues", "device-tree", "sockets", "samples"}) {
      EXPECT_EQ(all["reads"][other]["done"], other == read || other == with ? 2 : 3) << other;
    }
    EXPECT_THAT(migsoak({"report", db, "--text"}).out, HasSubstr(words + " in 2 of 3 iterations, first missed in "));
  }
};

TEST_F(MissedRead, OfTheDeviceTree) {
  miss("info qtree", "device-tree", "device trees compared");
}

TEST_F(MissedRead, OfConfigurationSpace) {
  miss("query-pci", "config-space", "configuration space compared", "virtqueues");
}

TEST_F(MissedRead, OfVirtqueues) {
  miss("x-query-virtio", "virtqueues", "virtqueues compared");
}

}  // namespace

}  // namespace migsoak::integration
