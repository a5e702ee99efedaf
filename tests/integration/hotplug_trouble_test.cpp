// Hotplug that can't be done is told before anything starts; what QEMU or the guest does otherwise than planned is
// found, with the right one to blame, once.
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>

#include "run_migsoak.h"

namespace migsoak::integration {

namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
namespace fs = std::filesystem;

constexpr const char* kHead = R"(name = "hotplug"
iterations = 3
[guest]
machine = "MACHINE"
workload = "idle"
[[device]]
id = "vd0"
type = "virtio-blk"
[run]
answer_deadline_s = 4
)";

class Hotplug : public MigsoakTest {
 protected:
  std::string scenario(const std::string& machine, const std::string& more) const {
    std::string text = kHead;
    text.replace(text.find("MACHINE"), 7, machine);
    return write("s.toml", text + two_sides() + more);
  }
  std::string db() const { return path("r.db"); }

  // One line, exit status 2, and nothing that was made on the way.
  void expect_refused(const std::string& file, const std::vector<std::string>& sets,
                      const std::vector<std::string>& parts) const {
    std::vector<std::string> arguments = {"run", file, "--db", db()};
    for (const std::string& set : sets) arguments.insert(arguments.end(), {"--set", set});
    const Outcome outcome = migsoak(arguments);
    EXPECT_EQ(outcome.status, 2) << describe(outcome);
    EXPECT_EQ(outcome.out, "") << describe(outcome);
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << describe(outcome);
    for (const std::string& part : parts) EXPECT_THAT(outcome.err, HasSubstr(part)) << describe(outcome);
    EXPECT_FALSE(fs::exists(db()));
    expect_nothing_left();
  }
  // The findings of a run that goes on to its end all the same.
  base::Json found(const std::string& file, const std::vector<std::string>& sets = {}) const {
    std::vector<std::string> arguments = {"run", file, "--db", db()};
    for (const std::string& set : sets) arguments.insert(arguments.end(), {"--set", set});
    const Outcome outcome = migsoak(arguments);
    EXPECT_EQ(outcome.status, 1) << describe(outcome);
    base::Json all = findings(db());
    EXPECT_EQ(all.value("verdict", ""), "fail");
    EXPECT_EQ(all.value("iterations", 0), 3) << describe(outcome);
    for (const base::Json& finding : all["findings"]) EXPECT_EQ(finding.value("blame", ""), "subject");
    return all;
  }
  // A QEMU that lacks a device: Debian's, which does not tell of it and can't make it.
  std::string build_without(const std::string& driver) const {
    const std::string build =
        write("qemu-without", "#!/bin/sh\ncase \" $* \" in\n*\" help \"*) qemu-system-x86_64 \"$@\" | grep -v '\"" +
                                  driver + "\"' ;;\n*) exec qemu-system-x86_64 \"$@\" ;;\nesac\n");
    ::chmod(build.c_str(), 0755);
    return build;
  }

  static constexpr const char* kSteps = "[[hotplug.step]]\nkind = \"virtio-rng\"\naddress = \"0x9\"\n";
};

TEST_F(Hotplug, UnknownProperties) {
  const std::string file = scenario("pc", kSteps);
  expect_refused(file, {"device.vd0.props.qeue-size=64"},
                 {"s.toml", "device.vd0.props.qeue-size", "side a", "QEMU 7", "virtio-blk-pci", "device vd0",
                  "did you mean 'queue-size'"});
  expect_refused(file, {"device.vd0.on.b.discrd=false"},
                 {"device.vd0.on.b.discrd", "side b", "did you mean 'discard'"});
  expect_refused(file, {"hotplug.props.virtio-rng.max-byte=64"},
                 {"hotplug.props.virtio-rng.max-byte", "virtio-rng-pci", "did you mean 'max-bytes'"});
  expect_refused(file, {"hotplug.on.b.virtio-rng.wordsize=64"}, {"hotplug.on.b.virtio-rng.wordsize", "side b"});
  expect_refused(file, {"hotplug.props.virtio-rgn.max-bytes=64"}, {"hotplug.props", "did you mean 'virtio-rng'"});
  expect_refused(file, {"device.vd0.type=virtio-bkl"}, {"device.type", "'virtio-bkl'", "did you mean 'virtio-blk'"});
}

TEST_F(Hotplug, ADeviceThatOneBuildLacks) {
  expect_refused(scenario("pc", kSteps), {"side.b.qemu=" + build_without("virtio-rng-pci")},
                 {"s.toml", "hotplug.kinds.virtio-rng", "side b", "has no 'virtio-rng-pci'"});
  expect_refused(scenario("pc", kSteps), {"side.a.qemu=" + build_without("virtio-blk-pci")},
                 {"device.vd0.type", "side a", "has no 'virtio-blk-pci'"});
}

TEST_F(Hotplug, StepsThatCantBeDone) {
  expect_refused(scenario("pc", "[[hotplug.step]]\nkind = \"virtio-rng\"\naddress = \"0x4\"\n"), {},
                 {"s.toml:15", "hotplug.step", "address 0x4 is taken by vd0"});
  expect_refused(scenario("q35",
                          "[hotplug]\nports = 1\n[[hotplug.step]]\nkind = \"virtio-rng\"\n[[hotplug.step]]\n"
                          "iteration = 2\nkind = \"virtio-net\"\n"),
                 {}, {"s.toml:19", "iteration 2", "none of the 1 root ports", "is free"});
  expect_refused(scenario("pc", "[[hotplug.step]]\naction = \"unplug\"\nkind = \"virtio-rng\"\ndevice = \"vr3\"\n"), {},
                 {"s.toml:15", "the guest has no vr3"});
  // `plan` and a dry run say the same.
  const std::string file = scenario("pc", "[[hotplug.step]]\nkind = \"virtio-rng\"\naddress = \"0x1f\"\n");
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"plan", file, "--iteration", "0"}, {"run", file, "--dry-run"}}) {
    const Outcome outcome = migsoak(arguments);
    EXPECT_EQ(outcome.status, 2) << describe(outcome);
    EXPECT_THAT(outcome.err, AllOf(HasSubstr("has no address 0x1f"), HasSubstr("0x4 to 0x1e"))) << describe(outcome);
  }
}

// A root port that takes nothing while the machine runs: QEMU's word, QEMU to blame, the guest goes on.
TEST_F(Hotplug, DeviceAddRefused) {
  const base::Json all = found(scenario("q35",
                                        "[hotplug]\nports = 2\n[hotplug.props.root-port]\nhotplug = false\n"
                                        "[[hotplug.step]]\nkind = \"virtio-rng\"\n[[hotplug.step]]\n"
                                        "iteration = 2\nkind = \"virtio-rng\"\n"));
  ASSERT_EQ(all["findings"].size(), 1U) << all.dump(2);
  const base::Json finding = only(all, "qtree-drift");
  EXPECT_EQ(finding.value("kind", ""), "hotplug-refused");
  EXPECT_EQ(finding.value("process", ""), "qemu:a");
  EXPECT_EQ(finding.value("count", 0), 2);
  EXPECT_THAT(finding.value("title", ""),
              AllOf(HasSubstr("virtio-rng vr0 at rp0"), HasSubstr("iteration 0"), HasSubstr("hotplug")));
  EXPECT_THAT(finding.value("title", ""), Not(HasSubstr("device_add: device_add")));
  EXPECT_EQ(finding["evidence"].value("device", ""), "vr0");
}

// The slot is free by all that the harness knows, and is not. (The destination, started with the device that the plan
// has, ends over the same slot; the run goes on without it.)
TEST_F(Hotplug, AddressTakenByWhatTheScenarioAddsByHand) {
  const std::string extra = ".extra_args=[\"-device\", \"virtio-rng-pci,addr=0x9\"]";
  const base::Json all = found(scenario("pc", kSteps), {"side.a" + extra, "side.b" + extra});
  const base::Json finding = only(all, "qtree-drift");
  EXPECT_EQ(finding.value("process", ""), "qemu:a");
  EXPECT_THAT(finding.value("title", ""),
              AllOf(HasSubstr("refused to plug virtio-rng vr0 at 0x9"), HasSubstr("slot 9")));
  EXPECT_THAT(only(all, "crash").dump(), AllOf(HasSubstr("qemu:b"), HasSubstr("slot 9")));
  EXPECT_EQ(all["findings"].size(), 2U) << all.dump(2);
}

// A guest without ACPI neither sees a plugged device nor lets go of it: both are the guest's, and what follows from
// them in later iterations is not told again.
TEST_F(Hotplug, GuestThatNeitherShowsNorLetsGo) {
  const std::string deaf =
      ".extra_args=[\"-append\", \"console=ttyS0,115200 panic=0 loglevel=4 no_timer_check acpi=off\"]";
  const std::string steps = std::string(kSteps) +
                            "[[hotplug.step]]\niteration = 1\naction = \"unplug\"\nkind = \"virtio-rng\"\n"
                            "[[hotplug.step]]\niteration = 2\nkind = \"virtio-rng\"\naddress = \"0x9\"\n";
  const base::Json all = found(scenario("pc", steps), {"side.a" + deaf, "side.b" + deaf});
  ASSERT_EQ(all["findings"].size(), 2U) << all.dump(2);
  const base::Json unseen = only(all, "qtree-drift");
  EXPECT_EQ(unseen.value("kind", ""), "hotplug-unconfirmed");
  EXPECT_EQ(unseen.value("process", ""), "guest");
  EXPECT_THAT(unseen.value("title", ""), HasSubstr("did not confirm the plug of virtio-rng vr0"));
  const base::Json hang = only(all, "hang");
  EXPECT_EQ(hang.value("process", ""), "guest");
  EXPECT_EQ(hang.value("detected_iteration", -1), 1);
  EXPECT_THAT(hang.value("title", ""), HasSubstr("no DEVICE_DELETED of vr0"));
}

}  // namespace
}  // namespace migsoak::integration
