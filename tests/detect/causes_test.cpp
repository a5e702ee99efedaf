// One rule at a time, with what it takes and what it must leave alone. The findings that detectors really make of such
// a run are judge_test's and integration's.
#include "detect/causes.h"

#include <gmock/gmock.h>

#include <set>

#include "soak_model.h"

namespace migsoak::detect {
namespace {

using namespace testing;
namespace kinds = record::event_kind;
using record::Finding;

Finding finding(const std::string& detector, const std::string& process, const std::string& kind,
                base::Json evidence = base::Json::object()) {
  Finding made;
  made.detector = detector;
  made.process = process;
  made.kind = kind;
  made.first_iteration = 30;
  made.title = detector + " of " + process;
  made.fingerprint = detector + "-" + process + "-" + kind;
  made.evidence = std::move(evidence);
  return made;
}

// What the rule says of the last of the findings.
std::optional<Cause> cause_of_last(const std::string& rule, const std::vector<Finding>& findings,
                                   const record::Manifest& m = manifest()) {
  for (const CauseRule& candidate : cause_rules()) {
    if (candidate.name == rule) return candidate.explain({m, findings}, findings.back());
  }
  ADD_FAILURE() << "no rule " << rule;
  return std::nullopt;
}

bool holds(const std::string& rule, const record::Observation& o, std::size_t index = 0) {
  for (const ToldRule& candidate : told_rules()) {
    if (candidate.name == rule) return candidate.holds(o, o.events.at(index));
  }
  ADD_FAILURE() << "no rule " << rule;
  return false;
}

record::Observation with(std::vector<record::Event> events) {
  record::Observation o;
  o.events = std::move(events);
  return o;
}

TEST(Causes, RulesHaveNamesReasonsAndDetectors) {
  std::set<std::string_view> names;
  for (const CauseRule& rule : cause_rules()) {
    EXPECT_TRUE(names.insert(rule.name).second) << rule.name;
    EXPECT_FALSE(rule.summary.empty()) << rule.name;
  }
  std::set<std::string> known;
  for (const DetectorInfo& info : detectors()) known.insert(info.name);
  for (const ToldRule& rule : told_rules()) {
    EXPECT_TRUE(names.insert(rule.name).second) << rule.name;
    EXPECT_FALSE(rule.reason.empty()) << rule.name;
    EXPECT_EQ(known.count(std::string(rule.silent)), 1U) << rule.name;
    EXPECT_EQ(known.count(std::string(rule.teller)), 1U) << rule.name;
  }
}

Finding leak(const std::string& process, double rate, std::int64_t exhausts) {
  Finding made =
      finding("fd-leak", process, "eventfd",
              {{"lives", {{{"first_iteration", 0}, {"detected_iteration", 9}, {"exhausts_at_iteration", exhausts}}}}});
  made.first_iteration = 0;
  made.detected_iteration = 9;
  made.rate_per_iteration = rate;
  return made;
}

TEST(Causes, DescriptorsRanOut) {
  const auto cause = cause_of_last("descriptors-ran-out", {leak("target:disk0", 2, 31), leak("target:disk0", 5, 33),
                                                           finding("crash", "qemu:b", "SIGABRT")});
  ASSERT_TRUE(cause);
  EXPECT_EQ(cause->finding, 1U) << "the fastest kind stands for its process";
  EXPECT_EQ(cause->iteration, 30);
  EXPECT_EQ(cause->words, " (foretold by fd-leak of target:disk0, proven in iteration 9)");
  ASSERT_EQ(cause->others.size(), 2U);
  EXPECT_EQ(cause->others[0].second, base::Json({{"collapsed_at_iteration", 30}}));
}

TEST(Causes, DescriptorsRanOutOnlyWhereItWasForetold) {
  const std::string rule = "descriptors-ran-out";
  const Finding crash = finding("crash", "qemu:b", "SIGABRT");
  EXPECT_TRUE(cause_of_last(rule, {leak("target:disk0", 2, 33), crash})) << "three iterations off";
  EXPECT_FALSE(cause_of_last(rule, {leak("target:disk0", 2, 34), crash})) << "four";
  EXPECT_FALSE(cause_of_last(rule, {leak("target:disk0", 2, 60), crash})) << "too early";
  EXPECT_FALSE(cause_of_last(rule, {leak("harness", 2, 30), crash})) << "another process";
  EXPECT_FALSE(cause_of_last(rule, {leak("target:disk0", 2, 30), finding("zombie", "target:disk0", "")}));
  Finding before = leak("target:disk0", 2, 30);
  before.evidence["lives"][0]["detected_iteration"] = 31;
  EXPECT_FALSE(cause_of_last(rule, {before, crash})) << "proven only afterwards";
  Finding undated = crash;
  undated.first_iteration.reset();
  EXPECT_FALSE(cause_of_last(rule, {leak("target:disk0", 2, 30), undated}));
  Finding later = crash;
  later.first_iteration = 3;
  EXPECT_FALSE(cause_of_last(rule, {leak("target:disk0", 2, 30), later}));
  later.evidence["iterations"] = {3, 31};
  EXPECT_TRUE(cause_of_last(rule, {leak("target:disk0", 2, 30), later})) << "its second time";
}

Finding refused_drift() {
  return finding("config-space-drift", "qemu:b", "refused",
                 {{"from", "a"}, {"to", "b"}, {"path", "0000:00:05.0"}, {"section", "virtio-blk"}, {"device", "vd0"}});
}
Finding failed_load(const std::string& kind, const std::string& device = "") {
  Finding made = finding("migration-failure", "qemu:b", kind, {{"from", "a"}, {"to", "b"}});
  if (!device.empty()) made.evidence["device"] = device;
  return made;
}

TEST(Causes, ConfigSpaceDiffers) {
  const std::string rule = "config-space-differs";
  const auto cause = cause_of_last(rule, {refused_drift(), failed_load("config-space", "0000:00:05.0/virtio-blk")});
  ASSERT_TRUE(cause);
  EXPECT_EQ(cause->finding, 0U);
  EXPECT_EQ(cause->evidence, base::Json({{"device_id", "vd0"}}));
  EXPECT_EQ(cause->words, " (explained by config-space-drift of vd0)");
  EXPECT_TRUE(cause_of_last(rule, {refused_drift(), failed_load("config-space")})) << "no device is named";
  EXPECT_FALSE(cause_of_last(rule, {refused_drift(), failed_load("config-space", "0000:00:06.0/virtio-blk")}));
  EXPECT_FALSE(cause_of_last(rule, {refused_drift(), failed_load("vmstate")}));
  Finding silent = refused_drift();
  silent.kind = "silent";
  EXPECT_FALSE(cause_of_last(rule, {silent, failed_load("config-space")}));
  Finding back = refused_drift();
  back.evidence["from"] = "b";
  EXPECT_FALSE(cause_of_last(rule, {back, failed_load("config-space")})) << "the other direction";
}

TEST(Causes, VirtqueueTooLarge) {
  const std::string rule = "virtqueue-too-large";
  Finding queue = finding("config-space-drift", "qemu:a", "virtqueue", {{"device", "vd0"}});
  EXPECT_FALSE(cause_of_last(rule, {queue, failed_load("virtqueue-size")})) << "it was never refused";
  queue.evidence["refused_in_iteration"] = 30;
  const auto cause = cause_of_last(rule, {queue, failed_load("virtqueue-size")});
  ASSERT_TRUE(cause);
  EXPECT_EQ(cause->evidence, base::Json({{"device_id", "vd0"}}));
  EXPECT_FALSE(cause_of_last(rule, {queue, failed_load("config-space")}));
}

Finding tree_drift(const std::string& type, std::int64_t iteration = 30) {
  return finding("qtree-drift", "qemu:b", "device-extra",
                 {{"from", "a"}, {"to", "b"}, {"type", type}, {"before_load", true}, {"iterations", {iteration}}});
}

TEST(Causes, DeviceTreeDiffers) {
  const std::string rule = "device-tree-differs";
  const auto cause = cause_of_last(rule, {tree_drift("usb-hub"), failed_load("vmstate", "0000:00:02.0/1/usb-hub")});
  ASSERT_TRUE(cause);
  EXPECT_EQ(cause->words, " (explained by qtree-drift: device-extra usb-hub)");
  EXPECT_TRUE(cause_of_last(rule, {tree_drift("usb-hub"), failed_load("vmstate")})) << "only one thing can be meant";
  EXPECT_FALSE(cause_of_last(rule, {tree_drift("usb-hub"), tree_drift("serial"), failed_load("vmstate")}));
  EXPECT_FALSE(cause_of_last(rule, {tree_drift("usb-hub"), failed_load("vmstate", "serial")}));
  EXPECT_FALSE(cause_of_last(rule, {tree_drift("usb-hub", 29), failed_load("vmstate", "usb-hub")}))
      << "another iteration";
  Finding arrived = tree_drift("usb-hub");
  arrived.evidence.erase("before_load");
  EXPECT_FALSE(cause_of_last(rule, {arrived, failed_load("vmstate", "usb-hub")})) << "seen after the load only";
  Finding explained = failed_load("vmstate", "usb-hub");
  explained.evidence["cause"] = {{"detector", "config-space-drift"}};
  EXPECT_FALSE(cause_of_last(rule, {tree_drift("usb-hub"), explained})) << "has a cause already";
}

// The cases in which a defect is told are known_defects_test's.
TEST(Causes, KnownDefectOnlyOfWhatTheGuestSuffered) {
  record::Manifest m = manifest();
  m.environment = {{"accel", "tcg"}};
  EXPECT_TRUE(cause_of_last("known-defect", {finding("hang", "guest", "verify")}, m));
  EXPECT_FALSE(cause_of_last("known-defect", {finding("hang", "qemu:a", "verify")}, m));
  EXPECT_FALSE(cause_of_last("known-defect", {finding("qtree-drift", "guest", "hotplug-unconfirmed")}, m));
}

TEST(Causes, AreToldOfInOneStage) {
  std::vector<Finding> findings{refused_drift(), failed_load("config-space"), finding("zombie", "qemu:a", "")};
  const std::vector<Finding> before = findings;
  explain_causes(manifest(), findings);
  EXPECT_EQ(findings[0], before[0]);
  EXPECT_EQ(findings[2], before[2]);
  EXPECT_EQ(findings[1].fingerprint, before[1].fingerprint);
  EXPECT_EQ(findings[1].title, before[1].title + " (explained by config-space-drift of vd0)");
  EXPECT_EQ(findings[1].evidence["cause"], base::Json({{"detector", "config-space-drift"},
                                                       {"fingerprint", before[0].fingerprint},
                                                       {"title", before[0].title},
                                                       {"iteration", 30}}));
}

// A leak's collapse is the earliest of all that it brought about, whichever finding comes first.
TEST(Causes, TheEarliestCollapseIsKept) {
  Finding late = finding("crash", "qemu:b", "SIGABRT"), early = finding("hang", "qemu:a", "migrate");
  late.first_iteration = 31;
  std::vector<Finding> findings{late, leak("target:disk0", 2, 31), early};
  explain_causes(manifest(), findings);
  EXPECT_EQ(findings[1].evidence["collapsed_at_iteration"], 30);
}

record::Event exit_of(const std::string& process, std::int64_t status, std::string last_line = "") {
  return event(kinds::kUnexpectedExit, process, "", {{"exit_code", status}, {"last_lines", {std::move(last_line)}}});
}

TEST(ToldElsewhere, RefusedStream) {
  const record::Event failed = event(kinds::kMigrationFailed, "qemu:b");
  EXPECT_TRUE(holds("refused-stream", with({exit_of("qemu:b", 1, "load of migration failed: x"), failed})));
  EXPECT_TRUE(holds("refused-stream", with({exit_of("qemu:b", 1), failed,
                                            event(kinds::kLogLine, "qemu:b", "error while loading state for x")})));
  EXPECT_FALSE(holds("refused-stream", with({exit_of("qemu:b", 1, "load of migration failed: x")})));
  EXPECT_FALSE(holds("refused-stream", with({exit_of("qemu:b", 1, "no space"), failed})));
  EXPECT_FALSE(holds("refused-stream", with({exit_of("qemu:b", 2, "load of migration failed: x"), failed})));
  EXPECT_FALSE(holds("refused-stream", with({exit_of("target:disk0", 1, "load of migration failed: x"), failed})));
}

TEST(ToldElsewhere, EndOfAProcess) {
  const record::Event target = event(kinds::kUnexpectedExit, kTarget, "", {{"signal", 11}});
  EXPECT_TRUE(holds("end-without-target", with({exit_of("qemu:b", 1), target})));
  EXPECT_FALSE(holds("end-without-target", with({exit_of("qemu:b", 1)})));
  EXPECT_FALSE(
      holds("end-without-target", with({event(kinds::kUnexpectedExit, "qemu:b", "", {{"signal", 6}}), target})));
  const record::Event gave_up = event(kinds::kUnexpectedExit, "qemu:b", "", {{"why", "silent"}});
  const record::Event nonsense = event(kinds::kProtocolError, "qemu:b");
  EXPECT_TRUE(holds("end-after-protocol-error", with({gave_up, nonsense})));
  EXPECT_FALSE(holds("end-after-protocol-error", with({gave_up, event(kinds::kProtocolError, "qemu:a")})));
  EXPECT_FALSE(holds("end-after-protocol-error", with({exit_of("qemu:b", 0), nonsense})));
  const record::Event lost = event(kinds::kTargetLost, kTarget);
  EXPECT_TRUE(holds("loss-of-ended-target", with({lost, target})));
  EXPECT_TRUE(holds("loss-of-ended-target", with({lost, event(kinds::kHang, kTarget)})));
  EXPECT_FALSE(holds("loss-of-ended-target", with({lost, event(kinds::kHang, "qemu:a")})));
}

// A libvirtd that is not the QEMU's own hangs, in the same iteration, and nobody learnt how the QEMU ended.
TEST(ToldElsewhere, EndByThePeerOfAHungDaemon) {
  const std::string rule = "end-by-peer-of-hung-daemon";
  const record::Event gave_up = event(kinds::kUnexpectedExit, "qemu:a", "", {{"last_lines", {"terminating"}}});
  const record::Event hang = event(kinds::kHang, "libvirtd:b", "", {{"waiting_for", "end of the migration"}});
  EXPECT_TRUE(holds(rule, with({gave_up, hang})));
  EXPECT_FALSE(holds(rule, with({gave_up}))) << "nobody hung in this iteration";
  EXPECT_FALSE(holds(rule, with({gave_up, event(kinds::kHang, "libvirtd:a")}))) << "its own libvirtd ends nothing";
  EXPECT_FALSE(holds(rule, with({gave_up, event(kinds::kHang, "qemu:b")})));
  EXPECT_FALSE(holds(rule, with({gave_up, event(kinds::kUnexpectedExit, "libvirtd:b")}))) << "it did not hang";
  EXPECT_FALSE(holds(rule, with({exit_of("qemu:a", 1), hang}))) << "it is known how it ended";
  EXPECT_FALSE(holds(rule, with({event(kinds::kUnexpectedExit, "qemu:a", "", {{"signal", 11}}), hang})));
  EXPECT_FALSE(holds(rule, with({event(kinds::kUnexpectedExit, kTarget, "", {{"why", "silent"}}), hang})));
}

// A daemon that ends in the middle of a migration is the trouble: what the other said, and a QEMU that one of the two
// has let go, are consequences.
TEST(ToldElsewhere, WhatAnEndedDaemonBringsAbout) {
  const record::Event failure = event(kinds::kMigrationFailed, "qemu:b", "End of file while reading data");
  const record::Event end = event(kinds::kUnexpectedExit, "libvirtd:a", "", {{"signal", 9}});
  EXPECT_TRUE(holds("failure-of-ended-daemon", with({failure, end})));
  EXPECT_FALSE(holds("failure-of-ended-daemon", with({failure})));
  EXPECT_FALSE(holds("failure-of-ended-daemon", with({failure, event(kinds::kUnexpectedExit, "qemu:a")})));
  const record::Event gone = event(kinds::kUnexpectedExit, "qemu:a");
  EXPECT_TRUE(holds("end-with-ended-daemon", with({gone, failure, end})));
  EXPECT_FALSE(holds("end-with-ended-daemon", with({gone, end}))) << "nothing was under way";
  EXPECT_FALSE(holds("end-with-ended-daemon", with({gone, failure})));
  EXPECT_FALSE(holds("end-with-ended-daemon", with({exit_of("qemu:a", 1), failure, end}))) << "it is known how";
  const record::Event beat = event(kinds::kProtocolError, "guest", "agent channel: heartbeat out of order: H c5");
  EXPECT_TRUE(holds("heard-from-both", with({beat, failure, end})));
  EXPECT_FALSE(holds("heard-from-both", with({beat})));
  EXPECT_FALSE(holds("heard-from-both", with({event(kinds::kProtocolError, "guest", "nonsense"), failure, end})));
}

TEST(ToldElsewhere, LinesOfDaemons) {
  record::Event line = event(kinds::kLogLine, "libvirtd:a", "error : operation failed");
  record::Event failure = event(kinds::kMigrationFailed, "qemu:b");
  EXPECT_TRUE(holds("line-of-daemon", with({line, failure})));
  EXPECT_FALSE(holds("line-of-daemon", with({line})));
  failure.phase = "verify";
  EXPECT_FALSE(holds("line-of-daemon", with({line, failure}))) << "of another phase";
  EXPECT_FALSE(holds("line-of-daemon", with({event(kinds::kLogLine, "qemu:a", "x"), failure})));
}

TEST(ToldElsewhere, Lines) {
  const record::Event refused = event(kinds::kLogLine, "qemu:b", "qemu: load of migration failed: x");
  EXPECT_TRUE(holds("line-of-failed-migration", with({refused, event(kinds::kMigrationFailed, "qemu:b")})));
  // Of an edge that is declared to be refused it is excused, and counted (excusals.def).
  EXPECT_FALSE(holds("line-of-failed-migration", with({refused, event(kinds::kDeclaredOutcome, "qemu:b")})));
  EXPECT_FALSE(holds("line-of-failed-migration", with({refused})));
  EXPECT_FALSE(holds("line-of-failed-migration", with({event(kinds::kLogLine, "qemu:b", "No space left on device"),
                                                       event(kinds::kMigrationFailed, "qemu:b")})));
  const record::Event panic = event(kinds::kConsoleLine, "guest", "Kernel panic - not syncing: x");
  EXPECT_TRUE(holds("line-of-panic", with({panic, event(kinds::kGuestPanic, "guest")})));
  EXPECT_FALSE(holds("line-of-panic", with({panic})));
  const record::Event vhost = event(kinds::kLogLine, "qemu:b", "vhost VQ 0 ring restore failed: -22");
  EXPECT_TRUE(holds("line-of-lost-target", with({vhost, exit_of(kTarget, 0)})));
  EXPECT_FALSE(holds("line-of-lost-target", with({vhost})));
  EXPECT_FALSE(holds("line-of-lost-target", with({event(kinds::kLogLine, kTarget, "vhost"), exit_of(kTarget, 0)})));
  EXPECT_TRUE(is_told_elsewhere("log-signature", with({vhost, exit_of(kTarget, 0)}), vhost));
  EXPECT_FALSE(is_told_elsewhere("hang", with({vhost, exit_of(kTarget, 0)}), vhost)) << "no rule of that detector";
}

}  // namespace
}  // namespace migsoak::detect
