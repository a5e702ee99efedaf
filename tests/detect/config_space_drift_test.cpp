#include <gmock/gmock.h>

#include "config_model.h"

namespace migsoak::detect {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
namespace kinds = record::event_kind;

std::vector<record::Event> refusal(const std::string& read) {
  return {event(
      kinds::kMigrationFailed, "qemu:b", "",
      {{"error_desc", "Unable to write to socket: Broken pipe"},
       {"side", "source"},
       {"status", "failed"},
       {"destination_log",
        {"qemu-system-x86_64: get_pci_config_device: Bad config data: i=0x10 read: " + read +
             " device: 1 cmask: ff wmask: 80 w1cmask:0",
         "qemu-system-x86_64: Failed to load PCIDevice:config", "qemu-system-x86_64: Failed to load virtio-blk:virtio",
         "qemu-system-x86_64: error while loading state for instance 0x0 of device '0000:00:05.0/virtio-blk'",
         "qemu-system-x86_64: load of migration failed: Invalid argument"}}})};
}

std::vector<Disk> case_two() {
  Disk first, second;
  first.bar0_bytes = second.bar0_bytes = 0x40;
  first.props = second.props = {{"discard", "off"}};
  second.id = "vd1";
  second.path = "0000:00:05.0";
  second.bar0_at = 0x1040;
  return {first, second};
}
void new_defaults(Disk& disk) {
  disk.bar0_bytes = 0x80;
  disk.props = base::Json::object();
}

TEST(ConfigSpaceDrift, SilenceOnEqualSides) {
  const auto findings = judged(12, sides({Disk{}, case_two()[1]}), two_builds());
  EXPECT_TRUE(findings.empty()) << describe(findings);
}

TEST(ConfigSpaceDrift, PassesSilentlyWithAnotherBarSize) {
  const auto findings = of(judged(1, sides({case_two()[0]}, new_defaults), two_builds()), "config-space-drift");
  ASSERT_EQ(findings.size(), 1u) << describe(findings);
  EXPECT_EQ(findings[0].kind, "silent");
  EXPECT_EQ(findings[0].process, "qemu:b");
  EXPECT_EQ(
      findings[0].title,
      "vd0 (virtio-blk, 0000:00:04.0), a to b: BAR0 I/O: source 0x40 bytes at 0x1000, destination 0x80 bytes; the "
      "load passed silently in iteration 0; property discard: source off, destination not set");
  EXPECT_EQ(findings[0].evidence["offset"], 0x10);
  EXPECT_EQ(findings[0].evidence["source_bytes"], 0x40);
  EXPECT_EQ(findings[0].evidence["destination_bytes"], 0x80);
}

// A driver's destination may not be asked before it has the guest (libvirt): then what it has once it arrived counts,
// if only its BARs.
TEST(ConfigSpaceDrift, OfADestinationThatIsAskedOnceItHasTheGuest) {
  for (const bool larger : {true, false}) {
    const auto findings = judged(
        6,
        [&](record::Observation& o, Soak& soak) {
          sides({case_two()[0]}, [&](Disk& disk) { disk.bar0_bytes = larger ? 0x80 : 0x40; })(o, soak);
          for (record::Document& document : o.documents) {
            if (document.kind != kind::kConfigSpace) continue;
            if (document.point == "destination") document.point = "arrived";
            for (base::Json& function : document.content["functions"]) {
              function.erase("bytes");
              function.erase("size");
            }
          }
        },
        two_builds());
    const auto silent = of(findings, "config-space-drift");
    ASSERT_EQ(silent.size(), larger ? 2U : 0U) << describe(findings);
    if (!larger) continue;
    EXPECT_THAT(silent[0].title, HasSubstr("source 0x40 bytes at 0x1000, destination 0x80 bytes"));
  }
}

// Each direction and each device is a finding of its own, however often it happens.
TEST(ConfigSpaceDrift, OneFindingPerDeviceFieldAndDirection) {
  const auto findings = of(judged(10, sides(case_two(), new_defaults), two_builds()), "config-space-drift");
  EXPECT_EQ(findings.size(), 4u) << describe(findings);
  for (const auto& finding : findings) EXPECT_EQ(finding.count, 5);
}

TEST(ConfigSpaceDrift, TheRefusedLoadInTheWordsOfTheIncident) {
  const auto both = sides(case_two(), new_defaults);
  const auto findings = judged(
      3,
      [&](record::Observation& o, Soak& soak) {
        o.plan.source_side = "a";
        o.plan.destination_side = "b";
        both(o, soak);
        o.status = record::IterationStatus::failed;
        o.events = refusal("41");
      },
      two_builds());
  const auto drifts = of(findings, "config-space-drift");
  ASSERT_EQ(drifts.size(), 2u) << describe(findings);
  const auto& refused = drifts[0].kind == "refused" ? drifts[0] : drifts[1];
  const auto& other = drifts[0].kind == "refused" ? drifts[1] : drifts[0];
  EXPECT_EQ(
      refused.title,
      "vd1 (virtio-blk, 0000:00:05.0), a to b: BAR0 I/O: source 0x40 bytes at 0x1040, destination 0x80 bytes: bit 6 "
      "is not writable there; the load was refused in iteration 0 (byte 0x10: source 0x41, destination 0x01, cmask "
      "0xff, wmask 0x80, w1cmask 0x00); property discard: source off, destination not set");
  EXPECT_EQ(refused.count, 3);
  EXPECT_EQ(refused.evidence["device"], "vd1");
  EXPECT_EQ(refused.evidence["lines"].size(), 4u);
  EXPECT_EQ(other.evidence["device"], "vd0") << "vd1's size is not told twice";
  EXPECT_EQ(other.kind, "silent");
  EXPECT_THAT(other.title, HasSubstr("seen before the load"));

  const auto failures = of(findings, "migration-failure");
  ASSERT_EQ(failures.size(), 1u);
  EXPECT_EQ(failures[0].evidence["cause"]["fingerprint"], refused.fingerprint);
  EXPECT_EQ(failures[0].evidence["device_id"], "vd1");
  EXPECT_THAT(failures[0].title, HasSubstr("(explained by config-space-drift of vd1)"));
}

TEST(ConfigSpaceDrift, ARefusedLoadOfWhichNothingElseIsKnown) {
  const auto findings = of(judged(1,
                                  [&](record::Observation& o, Soak&) {
                                    o.status = record::IterationStatus::failed;
                                    o.events = refusal("c1");
                                  }),
                           "config-space-drift");
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_THAT(findings[0].title,
              HasSubstr("virtio-blk (0000:00:05.0), a to b: BAR0 I/O: source (byte 0xc1), destination "
                        "0x80 bytes: bit 6 is not writable there"));
}

// The source of a refused load runs on: only its BARs could be read then, its bytes are those of the time before.
TEST(ConfigSpaceDrift, NamesOfFieldsComeFromEarlierReadings) {
  const auto clean = sides({Disk{}});
  const auto findings =
      of(judged(3,
                [&](record::Observation& o, Soak& soak) {
                  clean(o, soak);
                  if (o.iteration != 2) return;
                  for (record::Document& document : o.documents) {
                    if (document.kind != kind::kConfigSpace) continue;
                    document.content["functions"][0].erase("bytes");
                    document.content["functions"][0].erase("size");
                  }
                  o.status = record::IterationStatus::failed;
                  o.events = {event(kinds::kMigrationFailed, "qemu:b", "",
                                    {{"error_desc",
                                      "error while loading state for instance 0x0 of device '0000:00:04.0/virtio-blk': "
                                      "Bad config data: i=0x9a read: 1 device: 3 cmask: ff wmask: 0 w1cmask:0"}})};
                }),
         "config-space-drift");
  ASSERT_EQ(findings.size(), 1u) << describe(findings);
  EXPECT_THAT(findings[0].title, HasSubstr("MSI-X table size (byte 0x9a): source 0x01, destination 0x03: bit 1 is not "
                                           "writable there"));
}

TEST(ConfigSpaceDrift, AReadOnlyByte) {
  const auto findings =
      of(judged(1, sides({Disk{}}, [](Disk& disk) { disk.change = [](auto& image) { image.set_u8(kMsixSize, 3); }; }),
                two_builds()),
         "config-space-drift");
  ASSERT_EQ(findings.size(), 1u) << describe(findings);
  EXPECT_THAT(findings[0].title,
              HasSubstr("MSI-X table size (byte 0x9a): source 0x01, destination 0x03: bit 1 is read-only"));
  EXPECT_EQ(findings[0].evidence["mask"], "by specification");
}

TEST(ConfigSpaceDrift, AnExtraCapabilityIsToldOnce) {
  const auto findings = of(judged(1,
                                  sides({Disk{}},
                                        [](Disk& disk) {
                                          disk.change = [](auto& image) {
                                            image.set_u8(0x34, 0xc0);
                                            image.set_u32(0xc0, 0x00039801);  // PM, then MSI-X
                                          };
                                        }),
                                  two_builds()),
                           "config-space-drift");
  ASSERT_EQ(findings.size(), 1u) << describe(findings);
  EXPECT_EQ(findings[0].evidence["field"], "capabilities");
  EXPECT_THAT(findings[0].title, HasSubstr("capabilities: destination has PM, which the other does not have"));
}

TEST(ConfigSpaceDrift, AByteThatChangesFromIterationToIteration) {
  const auto findings = of(judged(8,
                                  [](record::Observation& o, Soak&) {
                                    Disk disk;
                                    if (o.iteration >= 4) disk.change = [](auto& image) { image.set_u8(kMsixSize, 3); };
                                    put(o, "source", {disk});
                                    put(o, "destination", {disk});
                                  }),
                           "config-space-drift");
  ASSERT_EQ(findings.size(), 2u) << "one for each side: " << describe(findings);
  for (const auto& finding : findings) {
    EXPECT_EQ(finding.kind, "drift");
    EXPECT_THAT(finding.title, HasSubstr("is not what it was before, though nothing of it changed: MSI-X table size"));
    EXPECT_THAT(finding.title, HasSubstr("0x03"));
  }
}

TEST(ConfigSpaceDrift, ADeviceThatWasChangedOnPurposeMayDiffer) {
  const auto change = [](bool new_lineage) {
    return [new_lineage](record::Observation& o, Soak& soak) {
      Disk disk;
      if (o.iteration >= 4) {
        if (!new_lineage) disk.props = {{"vectors", 4}};
        disk.change = [](auto& image) { image.set_u8(kMsixSize, 3); };
      }
      put(o, "source", {disk});
      put(o, "destination", {disk});
      if (new_lineage && o.iteration == 3) soak.new_lineage();
    };
  };
  EXPECT_TRUE(of(judged(8, change(false)), "config-space-drift").empty());
  EXPECT_TRUE(of(judged(8, change(true)), "config-space-drift").empty());
}

// A device comes to a root port and goes: the port says so, and that is no drift. Between the sides it would be one.
TEST(ConfigSpaceDrift, APortTellsOfWhatIsPluggedIn) {
  const auto port = [](bool occupied) {
    pci::ConfigImage image = pci::image_of(pci::kRootPort, pci::kExtendedBytes);
    image.set_u8(0x6e, occupied ? 0x40 : 0);
    record::ConfigSpace space;
    space.functions.push_back({"", "0000:00:08.0", "rp1", "1b36:000c", {}, 4096, pci::to_hex(image), ""});
    return record::to_json(space);
  };
  const auto plugged = [&](bool both) {
    return [&, both](record::Observation& o, Soak&) {
      o.documents.push_back({kind::kConfigSpace, "qemu:a", 1, "source", port(o.iteration > 4)});
      o.documents.push_back({kind::kConfigSpace, "qemu:b", 1, "destination", port(both && o.iteration > 4)});
    };
  };
  EXPECT_TRUE(judged(10, plugged(true)).empty());
  const auto findings = judged(10, plugged(false));
  ASSERT_EQ(findings.size(), 2u) << describe(findings);
  EXPECT_THAT(findings[0].title, HasSubstr("PCIe slot status (byte 0x6e): source 0x0040, destination 0x0000: bit 6 is "
                                           "read-only"));
}

TEST(ConfigSpaceDrift, WhatChangesOfItselfIsExcludedWithItsReason) {
  const auto busy = [](record::Observation& o, Soak&) {
    Disk running;
    running.change = [](auto& image) { image.set_u16(0x06, image.u16(0x06) | 0x08); };  // an interrupt is pending
    put(o, "source", {running});
    put(o, "destination", {Disk{}});
  };
  Judge judge(manifest());
  Soak soak;
  run(judge, soak, 4, busy);
  EXPECT_TRUE(judge.findings().empty()) << describe(judge.findings());
  const auto exclusions = judge.exclusions();
  ASSERT_EQ(exclusions.size(), 1u);
  EXPECT_EQ(exclusions[0].name, "pci-status");
  EXPECT_EQ(exclusions[0].count, 4);

  record::Manifest loud = manifest();
  loud.gate.report_benign = {"pci-status"};
  const auto findings = judged(4, busy, loud);
  EXPECT_FALSE(findings.empty());
  EXPECT_THAT(describe(findings), HasSubstr("status (byte 0x06)"));
}

TEST(ConfigSpaceDrift, IsWaivedByDeviceAndDirection) {
  record::Manifest m = two_builds();
  record::Waive waive;
  waive.detector = "config-space-drift";
  waive.device = "vd1";
  waive.from = "a";
  waive.to = "11.1.2";
  waive.reason = "known";
  m.gate.waives = {waive};
  const auto findings = of(judged(4, sides(case_two(), new_defaults), m), "config-space-drift");
  EXPECT_EQ(findings.size(), 3u) << describe(findings);
  for (const auto& finding : findings) {
    EXPECT_FALSE(finding.evidence["device"] == "vd1" && finding.evidence["from"] == "a");
  }
}

// Case 4: booted on 10.0.13, whose virtqueues have 1024 entries while the property says 256.
TEST(Virtqueues, BlameTheBuildThatBootedTheGuest) {
  record::Manifest m = two_builds("10.0.13", "10.0.2");
  m.sides.push_back({"c", "qemu-c", "11.1.2"});
  const std::vector<std::string> route = {"a", "b", "c"};
  const auto findings = judged(
      2,
      [&](record::Observation& o, Soak&) {
        const auto at = static_cast<std::size_t>(o.iteration);
        o.plan.source_side = route[at];
        o.plan.destination_side = route[at + 1];
        if (o.iteration == 0) o.events.push_back(event(kinds::kLineageStart, "guest", "", {{"boot_side", "a"}}));
        Disk guests, there;
        guests.queue_size = 1024;
        guests.queue_default = o.iteration == 0 ? 1024 : 256;
        put(o, "source", {guests});
        put(o, "destination", {there});
        if (o.iteration != 1) return;
        o.status = record::IterationStatus::failed;
        o.events.push_back(
            event(kinds::kMigrationFailed, "qemu:c", "",
                  {{"error_desc",
                    "VQ 0 vring.num 1024 exceeds allocated max 256: error while loading state for instance "
                    "0x0 of device '0000:00:04.0/virtio-blk'"}}));
      },
      m);
  const auto drifts = of(findings, "config-space-drift");
  ASSERT_EQ(drifts.size(), 1u) << describe(findings);
  EXPECT_EQ(drifts[0].kind, "virtqueue");
  EXPECT_EQ(drifts[0].process, "qemu:a");
  EXPECT_EQ(drifts[0].first_iteration, 0);
  EXPECT_EQ(
      drifts[0].title,
      "vd0 (virtio-blk, 0000:00:04.0): virtqueue 0 has 1024 entries since the guest set it up on a (QEMU 10.0.13), "
      "while its property queue-size says 256; b (QEMU 10.0.2) made it with 256; c refused it in iteration 1");
  EXPECT_EQ(drifts[0].evidence["boot_qemu"], "10.0.13");
  EXPECT_EQ(drifts[0].evidence["refused_in_iteration"], 1);
  const auto failures = of(findings, "migration-failure");
  ASSERT_EQ(failures.size(), 1u);
  EXPECT_EQ(failures[0].evidence["cause"]["fingerprint"], drifts[0].fingerprint);
}

TEST(Virtqueues, ASmallerQueueOnTheDestinationNamesTheProperty) {
  const auto findings = judged(1, sides({Disk{}}, [](Disk& disk) {
                                 disk.queue_size = disk.queue_default = disk.queue_property = 128;
                                 disk.props = {{"queue-size", 128}};
                               }));
  ASSERT_EQ(findings.size(), 1u) << describe(findings);
  EXPECT_EQ(
      findings[0].title,
      "vd0 (virtio-blk, 0000:00:04.0): virtqueue 0 has 256 entries since the guest set it up on a (QEMU 7.2.22) (its "
      "property queue-size is 256); b (QEMU 7.2.22) made it with 128; property queue-size: source not set, "
      "destination 128");
}

TEST(Virtqueues, ASmallerRingThanAllowedIsFine) {
  Disk guests, there;
  guests.queue_size = 128;
  there.queue_default = 1024;
  EXPECT_TRUE(judged(3, [&](record::Observation& o, Soak&) {
                put(o, "source", {guests});
                put(o, "destination", {there});
              }).empty());
}

TEST(Virtqueues, WithoutDocumentsTheLineAloneBlamesTheBootSide) {
  const auto findings =
      of(judged(1,
                [&](record::Observation& o, Soak&) {
                  o.status = record::IterationStatus::failed;
                  o.events = {event(kinds::kLineageStart, "guest", "", {{"boot_side", "a"}}),
                              event(kinds::kMigrationFailed, "qemu:b", "",
                                    {{"error_desc", "VQ 0 vring.num 1024 exceeds allocated max 256"}})};
                }),
         "config-space-drift");
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].process, "qemu:a");
  EXPECT_THAT(findings[0].title, HasSubstr("virtqueue 0 has 1024 entries since the guest set it up on a"));
}

// A damaged or foreign document is no reason to fall over.
TEST(ConfigSpaceDrift, HostileDocuments) {
  for (const char* text : {"7", "[]", R"({"functions":[{"path":"x","size":256,"bytes":"zz"}]})",
                           R"({"functions":[{"path":"x","size":-5,"bytes":"00"}]})",
                           R"({"functions":[{"path":"x","bars":[{"index":99,"size":1}]}]})",
                           R"({"functions":[{"path":"x","size":256,"bytes":"f41a","writable":"q"}]})",
                           R"({"devices":[7,{"id":7},{"id":"x","props":[1]}]})"}) {
    judged(3, [&](record::Observation& o, Soak&) {
      const base::Json content = *base::parse_json(text);
      for (const char* point : {"source", "destination"}) {
        for (const char* of_kind : {kind::kConfigSpace, kind::kVirtqueues, kind::kDeviceSet}) {
          o.documents.push_back({of_kind, "qemu:a", 1, point, content});
        }
      }
    });
  }
}

}  // namespace
}  // namespace migsoak::detect
