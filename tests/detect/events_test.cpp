#include <gtest/gtest.h>

#include "detect/migration_decode.h"
#include "soak_model.h"

namespace migsoak::detect {
namespace {

using namespace testing;
namespace kinds = record::event_kind;

std::vector<record::Finding> with_events(const std::vector<record::Event>& events, record::IterationStatus status,
                                         record::Manifest m = manifest()) {
  return judged(
      4,
      [&](record::Observation& o, Soak&) {
        if (o.iteration != 2) return;
        o.events = events;
        o.status = status;
      },
      std::move(m));
}

TEST(Zombie, OneFindingForAFamily) {
  Judge judge(manifest());
  Soak soak;
  run(judge, soak, 10, [](record::Observation& o, Soak&) {
    if (o.iteration < 3) return;
    o.events.push_back(event(kinds::kZombie, "qemu:b", "",
                             {{"pid", 100 + o.iteration},
                              {"parent_pid", 50},
                              {"parent_command", "qemu-system-x86_64"},
                              {"command", "qemu-system-x86"},
                              {"age_ms", 1000 * o.iteration}}));
  });
  const auto findings = judge.findings();
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].process, "qemu:b");
  EXPECT_EQ(findings[0].count, 7);
  EXPECT_EQ(findings[0].detected_iteration, 3);
  EXPECT_EQ(findings[0].title,
            "qemu:b (qemu-system-x86_64) did not wait for its child qemu-system-x86: a zombie, 3000 ms old, since "
            "iteration 3");
  EXPECT_EQ(findings[0].evidence["age_ms_max"], 9000.0);
}

TEST(Orphan, NamesItsDescent) {
  const auto findings =
      with_events({event(kinds::kOrphan, "", "",
                         {{"pid", 9}, {"command", "sleep"}, {"descends_from", "target:disk0"}, {"reparented", true}})},
                  record::IterationStatus::completed);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].process, kTarget);
  EXPECT_EQ(findings[0].blame, record::Blame::subject);
}

TEST(LeftoverFile, FoldsNumbersInNames) {
  const auto findings =
      with_events({event(kinds::kLeftover, "qemu:a", "", {{"path", "/run/x/q17.sock"}, {"type", "socket"}}),
                   event(kinds::kLeftover, "qemu:a", "", {{"path", "/run/y/q23.sock"}, {"type", "socket"}}),
                   event(kinds::kLeftover, "harness", "", {{"path", "/run/y/z"}, {"type", "regular"}})},
                  record::IterationStatus::completed);
  ASSERT_EQ(findings.size(), 2U) << describe(findings);
  for (const auto& finding : findings) {
    EXPECT_EQ(finding.count, finding.process == "harness" ? 1 : 2);
    EXPECT_EQ(finding.blame, finding.process == "harness" ? record::Blame::harness : record::Blame::subject);
  }
}

TEST(MigrationFailure, DecodesCaseTwo) {
  const auto findings = with_events(
      {event(kinds::kLogLine, "qemu:b",
             "qemu-system-x86_64: get_pci_config_device: Bad config data: i=0x10 read: 41 device: 1 cmask: ff wmask: "
             "80 w1cmask:0"),
       event(kinds::kLogLine, "qemu:b",
             "qemu-system-x86_64: error while loading state for instance 0x0 of device '0000:00:0b.0/virtio-blk'"),
       event(kinds::kMigrationFailed, "migration", "",
             {{"error_desc", "Unable to write to socket: Broken pipe"}, {"side", "source"}, {"status", "failed"}}),
       event(kinds::kUnexpectedExit, "qemu:b", "",
             {{"exit_code", 1}, {"last_lines", "load of migration failed: Invalid argument"}})},
      record::IterationStatus::failed);
  const auto failures = of(findings, "migration-failure");
  ASSERT_EQ(failures.size(), 1U) << describe(findings);
  EXPECT_EQ(failures[0].kind, "config-space");
  EXPECT_EQ(failures[0].process, "qemu:b");
  EXPECT_EQ(failures[0].evidence["device"], "0000:00:0b.0/virtio-blk");
  EXPECT_EQ(failures[0].evidence["fields"]["refused_bits"], 0x40);
  EXPECT_EQ(failures[0].evidence["fields"]["destination_bar_bytes"], 0x80);
  EXPECT_NE(failures[0].title.find("BAR0 (byte 0x10)"), std::string::npos) << failures[0].title;
  EXPECT_NE(failures[0].title.find("bit 6 is not writable there"), std::string::npos) << failures[0].title;
  ASSERT_EQ(findings.size(), 2U) << "the exit and the lines are part of the one failure: " << describe(findings);
  EXPECT_EQ(of(findings, "config-space-drift").size(), 1U) << describe(findings);
}

// As the engine writes it: one event, the destination's last lines in it.
TEST(MigrationFailure, ReadsTheDestinationsLastLines) {
  const auto findings = with_events(
      {event(
           kinds::kMigrationFailed, "qemu:b", "",
           {{"error_desc", "the destination ended: exit status 1"},
            {"result", "destination-lost"},
            {"destination_log",
             {"VQ 0 vring.num 1024 exceeds allocated max 256", "load of migration failed: Operation not permitted"}}}),
       event(kinds::kLogLine, "qemu:b", "load of migration failed: Operation not permitted")},
      record::IterationStatus::failed);
  ASSERT_EQ(of(findings, "migration-failure").size(), 1U) << describe(findings);
  EXPECT_EQ(of(findings, "migration-failure")[0].kind, "virtqueue-size");
  EXPECT_EQ(findings.size(), 2U) << "and what explains it: " << describe(findings);
}

TEST(Crash, ATargetsEndTellsWhatItBroughtAbout) {
  const std::vector<record::Event> around = {
      event(kinds::kUnexpectedExit, "qemu:b", "", {{"exit_code", 1}}),
      event(kinds::kLogLine, "qemu:b", "-device vhost-user-blk-pci: Failed to connect to 'x': Connection refused"),
      event(kinds::kLogLine, "qemu:a", "qemu-system-x86_64: Failed to set msg fds.")};
  std::vector<record::Event> all = around;
  all.insert(all.begin(), event(kinds::kUnexpectedExit, kTarget, "", {{"signal", 11}}));
  const auto findings = with_events(all, record::IterationStatus::lost);
  ASSERT_EQ(findings.size(), 1U) << describe(findings);
  EXPECT_EQ(findings[0].process, kTarget);
  EXPECT_EQ(findings[0].evidence["consequences"].size(), 3U) << findings[0].evidence.dump();
  // With the target alive each of them is trouble of its own.
  EXPECT_EQ(with_events(around, record::IterationStatus::lost).size(), 3U);
  // And a QEMU that dies of a signal is never a mere consequence.
  all[1] = event(kinds::kUnexpectedExit, "qemu:b", "", {{"signal", 6}});
  EXPECT_EQ(with_events(all, record::IterationStatus::lost).size(), 2U);
}

TEST(Hang, OfALibvirtdTellsWhatItsPeerEndedForIt) {
  const record::Event ended = event(kinds::kUnexpectedExit, "qemu:a", "", {{"why", "libvirtd ended it"}});
  const record::Event hang = event(kinds::kHang, "libvirtd:b", "", {{"waiting_for", "end of the migration"}});
  for (const auto& events : {std::vector{ended, hang}, std::vector{hang, ended}}) {
    const auto findings = with_events(events, record::IterationStatus::lost);
    ASSERT_EQ(findings.size(), 1U) << describe(findings);
    EXPECT_EQ(findings[0].detector, "hang");
    EXPECT_EQ(findings[0].process, "libvirtd:b");
    EXPECT_EQ(findings[0].evidence["consequences"],
              base::Json::array({"qemu:a was ended by its libvirtd: libvirtd ended it"}));
  }
  // Of the hung one's own side it is trouble of its own.
  const auto findings = with_events({event(kinds::kUnexpectedExit, "qemu:b", "", {{"why", "gone"}}), hang},
                                    record::IterationStatus::lost);
  EXPECT_EQ(of(findings, "crash").size(), 1U) << describe(findings);
  EXPECT_FALSE(of(findings, "hang").at(0).evidence.contains("consequences"));
}

TEST(GuestCorruption, APanicIsToldOnce) {
  const auto line = event(kinds::kConsoleLine, "guest", "[    1.2] Kernel panic - not syncing: NMI");
  EXPECT_EQ(with_events({line, event(kinds::kGuestPanic, "guest", "the guest's kernel died", {{"lines", {line.text}}})},
                        record::IterationStatus::lost)
                .size(),
            1U);
  EXPECT_EQ(with_events({line}, record::IterationStatus::completed).size(), 1U);
}

TEST(MigrationFailure, DecodesQueueSizesAndFeatures) {
  const auto queue = decode_migration_error("VQ 0 vring.num 1024 exceeds allocated max 256");
  ASSERT_TRUE(queue.has_value());
  EXPECT_EQ(queue->kind, "virtqueue-size");
  EXPECT_NE(queue->words.find("1024 entries, the destination allows 256"), std::string::npos);
  const auto features = decode_migration_error("Features 0x130006e44 unsupported. Allowed features: 0x179002e44");
  ASSERT_TRUE(features.has_value());
  EXPECT_EQ(features->fields["missing_bits"], "14");
  EXPECT_NE(features->words.find("negotiated bit 14 on the source"), std::string::npos) << features->words;
  const auto common = decode_migration_error("Features 0x10000000 unsupported. Allowed features: 0x0");
  EXPECT_NE(common->words.find("bit 28 (VIRTIO_F_INDIRECT_DESC)"), std::string::npos) << common->words;
  EXPECT_FALSE(decode_migration_error(std::string(100000, '(')).has_value());
  EXPECT_FALSE(decode_migration_error("Bad config data: i=0x read:").has_value());
}

TEST(MigrationFailure, IsDeduplicatedByItsNormalisedError) {
  Judge judge(manifest());
  Soak soak;
  run(judge, soak, 6, [](record::Observation& o, Soak&) {
    o.status = record::IterationStatus::failed;
    o.events.push_back(event(kinds::kMigrationFailed, "qemu:b", "",
                             {{"error_desc", "load failed at offset 0x" + std::to_string(o.iteration) + " in /run/m" +
                                                 std::to_string(o.iteration)}}));
  });
  ASSERT_EQ(judge.findings().size(), 1U) << describe(judge.findings());
  EXPECT_EQ(judge.findings()[0].count, 6);
}

TEST(MigrationFailure, AFailureThatNothingExplainsIsStillOne) {
  const auto findings = with_events({}, record::IterationStatus::failed);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].detector, "migration-failure");
  EXPECT_EQ(with_events({}, record::IterationStatus::lost).at(0).detector, "crash");
}

TEST(Crash, NamesTheSignalAndIsToldOnce) {
  Judge judge(manifest());
  Soak soak;
  run(judge, soak, 3, [](record::Observation& o, Soak& s) {
    if (o.iteration != 1) return;
    o.status = record::IterationStatus::lost;
    o.events.push_back(event(kinds::kUnexpectedExit, kTarget, "", {{"signal", 11}, {"core_dumped", true}}));
    o.events.back().process_id = s.target_id();
    o.processes_ended.push_back({s.target_id(), false, -1, 11, true, "x"});
    o.events.push_back(event(kinds::kTargetLost, kTarget, "", {{"why", "died"}}));
    o.events.push_back(event(kinds::kGuestLost, "guest", "", {{"why", "no target"}}));
  });
  ASSERT_EQ(judge.findings().size(), 1U) << describe(judge.findings());
  EXPECT_EQ(judge.findings()[0].kind, "SIGSEGV");
  EXPECT_EQ(judge.findings()[0].title, "target:disk0 died of SIGSEGV (core dumped) in iteration 1, phase migrate");
}

TEST(Crash, AnEndWithoutAnEventCounts) {
  Judge judge(manifest());
  Soak soak;
  run(judge, soak, 3, [](record::Observation& o, Soak& s) {
    if (o.iteration == 1) o.processes_ended.push_back({s.target_id(), false, 0, 0, false, "bye"});
  });
  ASSERT_EQ(judge.findings().size(), 1U);
  EXPECT_EQ(judge.findings()[0].kind, "exit-0");
}

TEST(Crash, ABrokenPromiseIsToldOnceAndWithItsReason) {
  const record::Event exit = event(kinds::kUnexpectedExit, "qemu:a", "", {{"why", "QMP closed the connection"}});
  auto findings = with_events({exit}, record::IterationStatus::lost);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_NE(findings[0].title.find("QMP closed the connection"), std::string::npos) << findings[0].title;
  findings =
      with_events({exit, event(kinds::kProtocolError, "qemu:a", "QMP: not JSON")}, record::IterationStatus::lost);
  ASSERT_EQ(findings.size(), 1U) << describe(findings);
  EXPECT_EQ(findings[0].kind, "protocol");
}

TEST(GuestCorruption, APanicIsNamedByItsLine) {
  const auto findings = with_events(
      {event(kinds::kGuestPanic, "guest", "the guest's kernel or agent died",
             {{"lines", {"[    2.1] usual", "[    3.234567] BUG: kernel NULL pointer dereference", "[ 3.3] end"}}})},
      record::IterationStatus::lost);
  ASSERT_EQ(findings.size(), 1U) << describe(findings);
  EXPECT_NE(findings[0].title.find(": BUG: kernel NULL pointer"), std::string::npos) << findings[0].title;
}

TEST(DiskCorruption, TellsDisksAndTroublesApart) {
  const auto findings = with_events({event(kinds::kDiskCorruption, "guest:disk:vd0", "", {{"io_errors", 3}}),
                                     event(kinds::kDiskCorruption, "guest:disk:vd1", "", {{"stale", 1}, {"torn", 2}})},
                                    record::IterationStatus::completed);
  ASSERT_EQ(findings.size(), 2U);
  for (const auto& finding : findings) {
    EXPECT_EQ(finding.process, "guest");
    EXPECT_EQ(finding.kind, finding.evidence["disk"] == "vd0" ? "io-errors" : "stale");
  }
}

TEST(Downtime, KeepsTheWorst) {
  Judge judge(manifest());
  Soak soak;
  run(judge, soak, 5, [](record::Observation& o, Soak&) {
    Soak::set(o, "guest", 0, "heartbeat_gap_ms", 4000 + 1000 * static_cast<double>(o.iteration));
    Soak::set(o, "migration", 0, "downtime_ms", 100);
  });
  ASSERT_EQ(judge.findings().size(), 1U);
  EXPECT_EQ(judge.findings()[0].count, 3);
  EXPECT_EQ(judge.findings()[0].evidence["worst_ms"], 8000.0);
  record::Manifest m = manifest();
  m.gate.limits["downtime_ms_max"] = 20000;
  m.gate.limits["qemu_downtime_ms_max"] = 50;
  Judge other(m);
  Soak again;
  run(other, again, 5, [](record::Observation& o, Soak&) { Soak::set(o, "migration", 0, "downtime_ms", 100); });
  ASSERT_EQ(other.findings().size(), 1U);
  EXPECT_EQ(other.findings()[0].kind, "qemu");
}

TEST(LogSignature, KnownBenignLinesAreCountedAndTheirRemovalBringsThemBack) {
  const char* line = "qemu-storage-daemon: vu_panic: Error writing eventfd: Bad file descriptor";
  const Change say = [&](record::Observation& o, Soak&) {
    if (o.iteration % 2 == 0) o.events.push_back(event(kinds::kLogLine, kTarget, line));
  };
  Judge judge(manifest());
  Soak soak;
  run(judge, soak, 10, say);
  EXPECT_TRUE(judge.findings().empty()) << describe(judge.findings());
  EXPECT_EQ(judge.verdict(), record::Verdict::pass);
  ASSERT_EQ(judge.exclusions().size(), 1U);
  EXPECT_EQ(judge.exclusions()[0].name, "storage-daemon-eventfd-at-switch-over");
  EXPECT_EQ(judge.exclusions()[0].count, 5);
  for (const KnownBenign& entry : known_benign()) {
    EXPECT_FALSE(entry.reason.empty());
  }
  const std::map<std::string, std::pair<std::string, std::string>> said = {
      {"storage-daemon-eventfd-at-switch-over", {kTarget, line}},
      {"libvirtd-peer-closed",
       {"libvirtd:a",
        "2026-11-27 18:47:06.771+0000: 19: error : virNetSocketReadWire:1793 : End of file while reading data: "
        "Input/output error"}}};
  ASSERT_EQ(said.size(), known_benign().size());
  for (const auto& [name, of_whom] : said) {
    const Change say_it = [&whose = of_whom](record::Observation& o, Soak&) {
      if (o.iteration % 2 == 0) o.events.push_back(event(kinds::kLogLine, whose.first, whose.second));
    };
    EXPECT_TRUE(of(judged(10, say_it, manifest()), "log-signature").empty()) << name;
    record::Manifest m = manifest();
    m.gate.report_benign = {name};
    EXPECT_EQ(of(judged(10, say_it, m), "log-signature").size(), 1U) << name;
  }
  // The same words from somebody else are not excused.
  EXPECT_EQ(with_events({event(kinds::kLogLine, "qemu:a", line)}, record::IterationStatus::completed).size(), 1U);
  EXPECT_EQ(with_events({event(kinds::kLogLine, kTarget, "vu_panic: Error writing eventfd: Invalid argument")},
                        record::IterationStatus::completed)
                .size(),
            1U);
}

TEST(LogSignature, OrdinaryLinesAreQuiet) {
  std::vector<record::Event> lines;
  for (const char* line :
       {"qemu-system-x86_64: warning: TCG doesn't support requested feature: CPUID.01H:ECX.vmx [bit 5]",
        "qemu-system-x86_64: terminating on signal 15 from pid 77 (migsoak)", ""}) {
    lines.push_back(event(kinds::kLogLine, "qemu:a", line));
  }
  for (const char* line : {"Linux version 6.1.0-56-cloud-amd64", "ACPI: Interpreter enabled",
                           "virtio_blk virtio1: [vda] 32768 512-byte logical blocks",
                           "MDS: Vulnerable: Clear CPU buffers attempted, no microcode", "random: crng init done"}) {
    lines.push_back(event(kinds::kConsoleLine, "guest", line));
  }
  EXPECT_TRUE(with_events(lines, record::IterationStatus::completed).empty());
}

TEST(LogSignature, AFloodOfDifferentLinesStaysBounded) {
  Judge judge(manifest());
  Soak soak;
  run(judge, soak, 3, [](record::Observation& o, Soak&) {
    for (int i = 0; i < 2000; ++i) {
      std::string word;
      for (int n = i + static_cast<int>(o.iteration) * 2000; n > 0; n /= 26) word += static_cast<char>('a' + n % 26);
      o.events.push_back(event(kinds::kLogLine, kTarget, "Failed to " + word + std::string(3000, 'x')));
    }
  });
  EXPECT_LE(judge.findings().size(), 60U);
  std::int64_t count = 0;
  for (const auto& finding : judge.findings()) count += finding.count;
  EXPECT_EQ(count, 6000);
}

TEST(Events, HostileDetailsDoNoHarm) {
  std::vector<record::Event> events;
  for (const char* kind : {kinds::kMigrationFailed, kinds::kUnexpectedExit, kinds::kHang, kinds::kLogLine,
                           kinds::kConsoleLine, kinds::kZombie, kinds::kOrphan, kinds::kLeftover,
                           kinds::kGuestCorruption, kinds::kDiskCorruption, kinds::kGuestPanic, kinds::kGuestLost,
                           kinds::kTargetLost, kinds::kProtocolError, kinds::kOutputFlood, kinds::kUnsettled}) {
    for (const base::Json& detail : {base::Json(nullptr), base::Json(7), base::Json::array({1, "x"}),
                                     base::Json{{"pid", "x"},
                                                {"age_ms", base::Json::array()},
                                                {"signal", "SEGV"},
                                                {"lines", 3},
                                                {"command", "\x1b[2J"}}}) {
      events.push_back(event(kind, "", "\x1b]0;x\x07", detail, ""));
    }
  }
  for (const record::Finding& finding : with_events(events, record::IterationStatus::lost)) {
    EXPECT_EQ(finding.title.find('\x1b'), std::string::npos) << finding.detector;
  }
}

}  // namespace
}  // namespace migsoak::detect
