// migsoak compat as a user runs it: what it prints, its exit status, and nothing left.
#include <algorithm>
#include <csignal>
#include <set>

#include "run_migsoak.h"
#include "store/store.h"

namespace migsoak::integration {
namespace {

using testing::HasSubstr;

class CompatCommand : public MigsoakTest {
 protected:
  Outcome compat(std::vector<std::string> arguments, const std::string& from = "qemu-system-x86_64",
                 const std::string& to = "qemu-system-x86_64") const {
    arguments.insert(arguments.begin(), {"compat", "--from", from, "--to", to});
    return migsoak(arguments);
  }
  void expect_refused(const std::vector<std::string>& arguments, const std::string& part) const {
    const Outcome outcome = compat(arguments);
    EXPECT_EQ(outcome.status, 2) << describe(outcome);
    EXPECT_EQ(outcome.out, "") << describe(outcome);
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << describe(outcome);
    EXPECT_THAT(outcome.err, HasSubstr(part)) << describe(outcome);
  }
};

TEST_F(CompatCommand, CaseTwoIsPredictedWithItsErrorLine) {
  const Outcome outcome = compat(
      {"--device-from", "virtio-blk-pci,discard=off,write-zeroes=off", "--device-to", "virtio-blk-pci", "--json"});
  EXPECT_EQ(outcome.status, 1) << describe(outcome);
  const auto json = base::parse_json(outcome.out);
  ASSERT_TRUE(json) << describe(outcome);
  const base::Json& device = json->at("devices").at(0);
  EXPECT_EQ(device.at("verdict"), "incompatible");
  EXPECT_EQ(device.at("bytes").at(0).at("offset"), 16);
  EXPECT_EQ(device.at("bytes").at(0).at("field"), "BAR0");
  EXPECT_THAT(outcome.out, HasSubstr("i=0x10 read: c1 device: 1 cmask: ff wmask: 80 w1cmask:0"));
  expect_nothing_left();
}

TEST_F(CompatCommand, ExitStatusTellsSameAndUnknown) {
  EXPECT_EQ(compat({"--device", "virtio-blk-pci,discard=off,write-zeroes=off"}).status, 0);
  // A type that can't be made without a backend outside QEMU.
  const Outcome unknown = compat({"--device", "vhost-user-scsi-pci"});
  EXPECT_EQ(unknown.status, 3) << describe(unknown);
  EXPECT_THAT(unknown.out, HasSubstr("vhost"));
}

TEST_F(CompatCommand, ASurveyIsRecordedAsARunIs) {
  const std::string db = path("survey.db");
  const std::vector<std::string> survey = {"--device",
                                           "virtio-blk-pci,discard=off,write-zeroes=off",
                                           "--device-from",
                                           "virtio-blk-pci,discard=off,write-zeroes=off",
                                           "--device-to",
                                           "virtio-blk-pci",
                                           "--json",
                                           "--db",
                                           db};
  const Outcome outcome = compat(survey);
  EXPECT_EQ(outcome.status, 1) << describe(outcome);
  const auto printed = base::parse_json(outcome.out);
  ASSERT_TRUE(printed) << describe(outcome);
  {
    const auto store = store::Store::open(db);
    ASSERT_TRUE(store) << store.error().describe();
    EXPECT_EQ((*store)->summary()->verdict, record::Verdict::fail);
    std::vector<base::Json> recorded;
    ASSERT_TRUE((*store)->for_each_observation([&](const record::Observation& one) -> base::Result<void> {
      for (const record::Document& document : one.documents) recorded.push_back(document.content);
      return {};
    }));
    ASSERT_EQ(recorded.size(), 2u);
    for (std::size_t i = 0; i < 2; ++i) EXPECT_EQ(recorded[i], printed->at("devices").at(i));
  }
  // Today's detectors say of it what the survey said.
  const Outcome judged = migsoak({"judge", db});
  EXPECT_EQ(judged.status, 1) << describe(judged);
  const Outcome findings = migsoak({"findings", db, "--json"});
  const auto json = base::parse_json(findings.out);
  ASSERT_TRUE(json) << describe(findings);
  EXPECT_EQ(json->at("verdict"), "fail");
  EXPECT_EQ(json->at("iterations"), 2);
  std::set<std::string> detectors;
  for (const base::Json& finding : json->at("findings")) {
    detectors.insert(finding.at("detector"));
    EXPECT_EQ(finding.at("first_iteration"), 1) << finding;
    EXPECT_THAT(finding.at("title").get<std::string>(), HasSubstr("BAR0"));
    EXPECT_THAT(finding.at("replay").get<std::string>(), HasSubstr("migsoak compat --from qemu-system-x86_64"));
  }
  EXPECT_THAT(detectors, testing::ElementsAre("config-space-drift", "migration-failure")) << findings.out;
  const Outcome report = migsoak({"report", db, "--text"});
  EXPECT_EQ(report.status, 0) << describe(report);
  EXPECT_THAT(report.out, HasSubstr("BAR0"));
  const Outcome replay = migsoak({"replay", db, "--iteration", "1"});
  EXPECT_EQ(replay.status, 2) << describe(replay);
  EXPECT_THAT(replay.err, HasSubstr("repeat it with: migsoak compat"));
  expect_refused(survey, "exists already");
}

// What could not be tried is no pass, whoever reads the record.
TEST_F(CompatCommand, ARecordedSurveyThatCouldNotTryIsUnknown) {
  const std::string db = path("survey.db");
  EXPECT_EQ(compat({"--device", "vhost-user-scsi-pci", "--db", db}).status, 3);
  EXPECT_EQ(migsoak({"judge", db}).status, 3);
}

TEST_F(CompatCommand, BadInputIsOneLine) {
  expect_refused({"--device", "virtio-blkk-pci"}, "did you mean 'virtio-blk-pci'");
  expect_refused({"--device", "virtio-blk-pci,discrad=off"}, "discrad");
  expect_refused({"--device", "virtio-blk-pci,addr=5"}, "--placement");
  expect_refused({"--device-from", "e1000"}, "pair up in order");
  expect_refused({"--device-from", "e1000", "--device-to", "e1000e"}, "same type");
  expect_refused({"--placement", "rot"}, "did you mean 'root'");
  expect_refused({"--placement", "root-port", "--machine", "pc"}, "root-port needs a q35");
  expect_refused({"--machine", "microvm"}, "microvm");
}

TEST_F(CompatCommand, WhatIsNotAQemuIsRefused) {
  for (const std::string& program : {std::string("/bin/true"), write("no-qemu", "hello\n"), std::string("/nowhere")}) {
    const Outcome outcome = compat({}, program);
    EXPECT_EQ(outcome.status, 2) << describe(outcome);
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << describe(outcome);
    EXPECT_EQ(compat({}, "qemu-system-x86_64", program).status, 2);
  }
  expect_nothing_left();
}

TEST_F(CompatCommand, OneInterruptEndsItAndLeavesNothing) {
  Running running = start({"compat", "--from", "qemu-system-x86_64", "--to", "qemu-system-x86_64"});
  ASSERT_TRUE(eventually([&] { return processes().size() > 4; }));
  running.signal(SIGINT);
  const Outcome outcome = running.wait(std::chrono::seconds(20));
  EXPECT_EQ(outcome.status, 130) << describe(outcome);
  expect_nothing_left();
}

}  // namespace
}  // namespace migsoak::integration
