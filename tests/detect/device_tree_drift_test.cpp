// Device trees of a guest that goes to and fro, with something wrong planted.
#include <gtest/gtest.h>

#include "detect/catalog.h"
#include "record/config_space.h"
#include "record/device_tree.h"
#include "soak_model.h"

namespace migsoak::detect {
namespace {

using namespace testing;
using record::DeviceTree;
using record::TreeNode;
namespace kinds = record::event_kind;
using TreeOf = std::function<void(DeviceTree&, const record::Observation&)>;

const std::string kRoot = "main-system-bus/host/pci.0";

TreeNode a_device(const std::string& type, const std::string& id, std::map<std::string, std::string> props = {}) {
  return {false, type, id, std::move(props)};
}

void plug_disk(DeviceTree& tree, const std::string& id, const std::string& address) {
  const std::string path = kRoot + '/' + id;
  tree.nodes[path] = a_device("virtio-blk-pci", id, {{"vectors", "2"}, {"addr", address}, {"rombar", "1"}});
  tree.nodes[path + "/virtio-bus"] = {true, "virtio-pci-bus", "", {}};
  tree.nodes[path + "/virtio-bus/virtio-blk-device"] = a_device("virtio-blk-device", "", {{"discard", "true"}});
  tree.objects["/peripheral/" + id + " (virtio-blk-pci)"] = 1;
  tree.objects["/peripheral/" + id + "/virtio-bus (virtio-pci-bus)"] = 1;
}

DeviceTree plain_tree() {
  DeviceTree tree;
  tree.nodes["main-system-bus"] = {true, "System", "", {}};
  tree.nodes["main-system-bus/host"] = a_device("i440FX-pcihost", "", {{"hole", "64"}});
  tree.nodes[kRoot] = {true, "PCI", "", {}};
  tree.nodes[kRoot + "/@01.1"] = a_device("piix3-ide", "", {{"addr", "01.1"}});
  tree.nodes[kRoot + "/@01.1/ide.0"] = {true, "IDE", "", {}};
  tree.nodes[kRoot + "/@01.3"] = a_device("ICH9-SMB", "", {{"addr", "01.3"}});
  tree.objects = {{"/ (pc-machine)", 1}, {"/unattached/device[isa-i8259] (isa-i8259)", 2}};
  plug_disk(tree, "vd0", "04.0");
  tree.nodes[kRoot + "/vd0"].props["drive"] = "libvirt-1-format";
  return tree;
}

void put_tree(record::Observation& o, const std::string& point, const DeviceTree& tree) {
  const bool of_source = point == "source" || point == "plugged";
  const std::string side = of_source ? o.plan.source_side : o.plan.destination_side;
  for (const base::Json& part : record::to_parts(tree)) {
    o.documents.push_back({record::document_kind::kDeviceTree, "qemu:" + side, 1, point, part});
  }
}

// The tree where the guest boots is the plain one; `shape` makes that of each arrival.
Change with_trees(const TreeOf& shape, const Change& more = nullptr) {
  return [=](record::Observation& o, Soak& soak) {
    if (o.iteration == 0) put_tree(o, "source", plain_tree());
    DeviceTree tree = plain_tree();
    shape(tree, o);
    put_tree(o, "arrived", tree);
    if (more) more(o, soak);
  };
}

std::vector<record::Finding> trees(int iterations, const TreeOf& shape, const Change& more = nullptr,
                                   record::Manifest m = manifest()) {
  return judged(iterations, with_trees(shape, more), std::move(m));
}

record::Manifest builds(const std::string& a, const std::string& b) {
  record::Manifest m = manifest();
  m.sides = {{"a", "qemu-a", a}, {"b", "qemu-b", b}};
  return m;
}

bool on_b(const record::Observation& o) {
  return o.plan.destination_side == "b";
}

void expect_one(const std::vector<record::Finding>& findings, const std::string& kind, const std::string& title) {
  ASSERT_EQ(findings.size(), 1U) << describe(findings);
  EXPECT_EQ(findings.front().detector, "qtree-drift");
  EXPECT_EQ(findings.front().kind, kind);
  EXPECT_EQ(findings.front().title, title);
  EXPECT_EQ(findings.front().severity, record::Severity::fail);
  EXPECT_EQ(findings.front().blame, record::Blame::subject);
}

void add_ghost(DeviceTree& tree) {
  tree.nodes[kRoot + "/@01.1/ide.0/ide0-hd0"] = a_device("ide-hd", "ide0-hd0", {{"unit", "0"}});
  tree.objects["/peripheral/ide0-hd0 (ide-hd)"] = 1;
}

TEST(DeviceTreeDrift, QuietWhenNothingChanges) {
  EXPECT_TRUE(trees(8, [](DeviceTree&, const auto&) {}).empty());
  EXPECT_TRUE(trees(
                  8, [](DeviceTree&, const auto&) {}, nullptr, builds("7.2.22", "11.1.2"))
                  .empty());
}

// Case 3 (b).
TEST(DeviceTreeDrift, ADeviceNobodyAskedFor) {
  const auto shape = [](DeviceTree& tree, const record::Observation& o) {
    if (on_b(o)) add_ghost(tree);
  };
  for (const auto& m : {manifest(), builds("6.2.0", "6.2.0"), builds("7.2.22", "11.1.2")}) {
    const auto findings = trees(8, shape, nullptr, m);
    expect_one(findings, "device-extra",
               "qemu:b has ide-hd ide0-hd0 on ide.0, which qemu:a had not and the plan did not ask for (iteration 0)");
    if (findings.empty()) continue;
    EXPECT_EQ(findings.front().count, 4) << "each time that the guest arrives there, and never on the way back";
    EXPECT_EQ(findings.front().process, "qemu:b");
    EXPECT_EQ(findings.front().evidence["asked"], "nothing");
    EXPECT_EQ(findings.front().evidence["planned"], "no such device");
    EXPECT_EQ(findings.front().evidence["mode"], "precopy");
    EXPECT_EQ(findings.front().evidence["to_qemu"], m.sides[1].qemu_version);
  }
}

TEST(DeviceTreeDrift, OneThatComesLaterAndGoesAgain) {
  const auto shape = [](DeviceTree& tree, const record::Observation& o) {
    if (o.iteration == 5) add_ghost(tree);
  };
  const auto findings = trees(10, shape);
  expect_one(findings, "device-extra",
             "qemu:a has ide-hd ide0-hd0 on ide.0, which qemu:b had not and the plan did not ask for (iteration 5)");
  EXPECT_EQ(findings.front().first_iteration, 5);
}

TEST(DeviceTreeDrift, AMissingDeviceWithAllBelowIt) {
  const auto shape = [](DeviceTree& tree, const record::Observation& o) {
    if (!on_b(o)) return;
    std::erase_if(tree.nodes, [](const auto& entry) { return record::has_component(entry.first, "vd0"); });
    std::erase_if(tree.objects, [](const auto& entry) { return record::has_component(entry.first, "vd0"); });
  };
  for (const auto& m : {manifest(), builds("7.2.22", "11.1.2")}) {
    const auto findings = trees(6, shape, nullptr, m);
    expect_one(findings, "device-missing",
               "qemu:b lacks virtio-blk-pci vd0 on pci.0 with virtio-blk-device below it, which qemu:a had; the plan "
               "did not ask for its removal (iteration 0)");
    EXPECT_EQ(findings.front().count, 3);
  }
}

TEST(DeviceTreeDrift, AChangedProperty) {
  const auto shape = [](DeviceTree& tree, const record::Observation& o) {
    if (on_b(o)) tree.nodes[kRoot + "/vd0"].props["vectors"] = "9";
  };
  for (const auto& m : {manifest(), builds("7.2.22", "11.1.2")}) {
    const auto findings = trees(6, shape, nullptr, m);
    expect_one(findings, "property-changed",
               "virtio-blk-pci vd0 on pci.0 on qemu:b: vectors is 9, where qemu:a had 2, and the plan did not ask for "
               "it (iteration 0)");
    EXPECT_EQ(findings.front().count, 3);
    EXPECT_EQ(findings.front().evidence["property"], "vectors");
    EXPECT_EQ(findings.front().evidence["before"], "2");
    EXPECT_EQ(findings.front().evidence["after"], "9");
  }
}

TEST(DeviceTreeDrift, TheSameChangeOnManyDevicesIsOneFinding) {
  const auto shape = [](DeviceTree& tree, const record::Observation& o) {
    if (!on_b(o)) return;
    for (auto& [path, node] : tree.nodes) {
      if (!node.bus) node.props["hotpluggable"] = "false";
    }
  };
  const auto findings = trees(4, shape);
  ASSERT_EQ(findings.size(), 1U) << describe(findings);
  EXPECT_EQ(findings.front().evidence["devices"].size(), 5U);
  EXPECT_NE(findings.front().title.find("and 4 more devices: hotpluggable is false, where qemu:a had not there"),
            std::string::npos)
      << findings.front().title;
}

TEST(DeviceTreeDrift, AnotherTypeAndAnotherPlace) {
  const auto retyped = trees(4, [](DeviceTree& tree, const record::Observation& o) {
    if (on_b(o)) tree.nodes[kRoot + "/@01.1"].type = "piix4-ide";
  });
  expect_one(retyped, "device-changed",
             "qemu:b has piix4-ide at 01.1 on pci.0, where qemu:a had piix3-ide; the plan did not ask for that "
             "(iteration 0)");
  const auto moved = trees(4, [](DeviceTree& tree, const record::Observation& o) {
    if (!on_b(o)) return;
    for (const std::string below : {"", "/virtio-bus", "/virtio-bus/virtio-blk-device"}) {
      auto node = tree.nodes.extract(kRoot + "/vd0" + below);
      node.key() = "main-system-bus/host/pci.1/vd0" + below;
      tree.nodes.insert(std::move(node));
    }
  });
  expect_one(moved, "device-changed",
             "qemu:b has virtio-blk-pci vd0 on pci.1 with virtio-blk-device below it, where qemu:a had virtio-blk-pci "
             "vd0 on pci.0; the plan did not ask for that (iteration 0)");
}

TEST(DeviceTreeDrift, QomPathsAndBuses) {
  const auto object = trees(4, [](DeviceTree& tree, const record::Observation& o) {
    if (!on_b(o)) return;
    tree.objects["/peripheral/dm0 (pc-dimm)"] = 1;
    tree.objects["/peripheral/dm0/more (thing)"] = 1;
  });
  expect_one(object, "object-extra",
             "qemu:b has QOM path /machine/peripheral/dm0 (pc-dimm) with /peripheral/dm0/more (thing) below it, which "
             "qemu:a had not and the plan did not ask for (iteration 0)");
  const auto count = trees(4, [](DeviceTree& tree, const record::Observation& o) {
    if (on_b(o)) tree.objects["/unattached/device[isa-i8259] (isa-i8259)"] = 1;
  });
  ASSERT_EQ(count.size(), 1U) << describe(count);
  EXPECT_EQ(count.front().kind, "object-missing");
  const auto bus = trees(4, [](DeviceTree& tree, const record::Observation& o) {
    if (on_b(o)) tree.nodes[kRoot + "/@01.1/ide.1"] = {true, "IDE", "", {}};
  });
  expect_one(bus, "device-extra",
             "qemu:b has bus ide.1, which qemu:a had not and the plan did not ask for (iteration 0)");
}

// Plugged in iteration 2 while the guest is on a, unplugged in 5.
const Change kComesAndGoes = [](record::Observation& o, Soak&) {
  const auto add = [&o](const std::string& action, const std::string& timing, const std::string& result) {
    o.plan.operations.push_back({"virtio-blk", action, timing, "vb0", "", "0x5"});
    o.events.push_back(event(kinds::kHotplug, "guest", "",
                             {{"kind", "virtio-blk"},
                              {"action", action},
                              {"timing", timing},
                              {"device", "vb0"},
                              {"result", result},
                              {"confirmed", true}}));
  };
  if (o.iteration == 2) add("plug", "settled", "done");
  if (o.iteration == 3) add("unplug", "refused", "expected-refusal");
  if (o.iteration == 5) add("unplug", "at-once", "done");
};

TEST(DeviceTreeDrift, WhatThePlanAskedForIsExplained) {
  const auto as_planned = [](DeviceTree& tree, const record::Observation& o) {
    if (o.iteration >= 2 && o.iteration < 5) plug_disk(tree, "vb0", "05.0");
  };
  for (const auto& m : {manifest(), builds("7.2.22", "11.1.2")}) {
    EXPECT_TRUE(trees(8, as_planned, kComesAndGoes, m).empty());
  }
  const auto goes_early = trees(
      8,
      [](DeviceTree& tree, const record::Observation& o) {
        if (o.iteration == 2 || o.iteration == 4) plug_disk(tree, "vb0", "05.0");
      },
      kComesAndGoes);
  ASSERT_EQ(goes_early.size(), 1U) << describe(goes_early);
  EXPECT_EQ(goes_early.front().kind, "device-missing");
  EXPECT_EQ(goes_early.front().detected_iteration, 3);
  const base::Json asked = {"unplug virtio-blk vb0 at 0x5 (refused): expected-refusal"};
  EXPECT_EQ(goes_early.front().evidence["asked"], asked);
}

TEST(DeviceTreeDrift, WhatWasPluggedAndIsNotThere) {
  const auto never = trees(
      4, [](DeviceTree&, const auto&) {}, kComesAndGoes);
  expect_one(never, "device-missing", "qemu:b lacks virtio-blk vb0, although it was plugged as planned (iteration 2)");
  const auto stays = trees(
      7,
      [](DeviceTree& tree, const record::Observation& o) {
        if (o.iteration >= 2) plug_disk(tree, "vb0", "05.0");
      },
      kComesAndGoes);
  expect_one(stays, "device-extra",
             "qemu:a still has virtio-blk vb0, although it was unplugged as planned (iteration 5)");
}

TEST(DeviceTreeDrift, WhatTheScenarioAsksOfASideIsNoDrift) {
  const auto shape = [](DeviceTree& tree, const record::Observation& o) {
    if (on_b(o)) tree.nodes[kRoot + "/vd0/virtio-bus/virtio-blk-device"].props["discard"] = "false";
  };
  const auto sets = [](bool same) {
    return [same](record::Observation& o, Soak&) {
      for (const std::string point : {"source", "destination"}) {
        const std::string side = point == "source" ? o.plan.source_side : o.plan.destination_side;
        const base::Json props = {{"discard", same || side == "a"}};
        o.documents.push_back({record::document_kind::kDeviceSet,
                               "qemu:" + side,
                               1,
                               point,
                               {{"devices", {{{"id", "vd0"}, {"type", "virtio-blk"}, {"props", props}}}}}});
      }
    };
  };
  EXPECT_TRUE(trees(4, shape, sets(false)).empty());
  const auto findings = trees(4, shape, sets(true));
  ASSERT_EQ(findings.size(), 1U) << describe(findings);
  EXPECT_EQ(findings.front().evidence["device"], "vd0");
  EXPECT_EQ(findings.front().title.rfind("virtio-blk-device of vd0 on qemu:b: discard is false", 0), 0U);
  EXPECT_EQ(findings.front().evidence["planned"]["props"]["discard"], true);
}

// Found before the migration as a PCI function, and afterwards in the tree: one finding, which says both.
TEST(DeviceTreeDrift, APciFunctionIsNotFoundTwice) {
  const auto functions = [](bool extra) {
    record::ConfigSpace space;
    space.method = "none";
    record::ConfigFunction ghost;
    ghost.path = ghost.address = "0000:00:1c.0";
    ghost.device = "1b36:0005";
    if (extra) space.functions.push_back(ghost);
    return record::to_json(space);
  };
  const auto findings = trees(
      3,
      [](DeviceTree& tree, const record::Observation& o) {
        if (on_b(o)) tree.nodes[kRoot + "/@1c.0"] = a_device("pci-testdev", "", {{"addr", "1c.0"}});
      },
      [&](record::Observation& o, Soak&) {
        if (o.iteration != 2) return;
        o.documents.push_back({record::document_kind::kConfigSpace, "qemu:a", 1, "source", functions(false)});
        o.documents.push_back({record::document_kind::kConfigSpace, "qemu:b", 1, "destination", functions(true)});
      });
  ASSERT_EQ(findings.size(), 2U) << describe(findings);  // iteration 0, where only the tree tells, and 2
  const auto& merged = findings[0].evidence.contains("pci_id") ? findings[0] : findings[1];
  EXPECT_EQ(merged.evidence["driver"], "pci-testdev");
  EXPECT_EQ(merged.evidence["asked"], "nothing");
  EXPECT_NE(merged.title.find("; the plan did not ask for it"), std::string::npos) << merged.title;
}

// What builds differ in, one change for each entry of device_tree_known.def.
const std::map<std::string, TreeOf>& build_differences() {
  static const std::map<std::string, TreeOf> kAll = {
      {"build-properties",
       [](DeviceTree& tree, const auto&) { tree.nodes[kRoot + "/vd0"].props["x-pcie-ext-tag"] = "true"; }},
      {"build-objects",
       [](DeviceTree& tree, const auto&) { tree.objects["/unattached/device[isa-i8259] (isa-i8259)"] = 1; }},
      {"ps2-on-system-bus",
       [](DeviceTree& tree, const auto&) {
         tree.nodes["main-system-bus/ps2-kbd"] = a_device("ps2-kbd", "");
         tree.objects["/unattached/device[i8042]/ps2kbd (ps2-kbd)"] = 1;
       }},
      {"ich9-smb-name", [](DeviceTree& tree, const auto&) { tree.nodes[kRoot + "/@01.3"].type = "ICH9 SMB"; }},
      {"rombar-auto", [](DeviceTree& tree, const auto&) { tree.nodes[kRoot + "/vd0"].props["rombar"] = "-1"; }},
      {"libvirt-block-nodes",
       [](DeviceTree& tree, const auto&) { tree.nodes[kRoot + "/vd0"].props["drive"] = "libvirt-2-format"; }},
  };
  return kAll;
}

TEST(DeviceTreeKnown, EachEntryHoldsItsDifferenceBackWhereItSaysSo) {
  for (const DeviceTreeKnown& entry : device_tree_known()) {
    SCOPED_TRACE(entry.name);
    ASSERT_EQ(build_differences().count(entry.name), 1U) << "an entry without a test";
    const TreeOf& change = build_differences().at(entry.name);
    const auto shape = [&change](DeviceTree& tree, const record::Observation& o) {
      if (on_b(o)) change(tree, o);
    };
    const auto judge_with = [&](record::Manifest m) {
      Judge judge(std::move(m));
      Soak soak;
      run(judge, soak, 6, with_trees(shape));
      return std::pair{judge.findings(), judge.exclusions()};
    };
    const auto [found, excluded] = judge_with(builds("7.2.22", "11.1.2"));
    EXPECT_TRUE(found.empty()) << describe(found);
    ASSERT_EQ(excluded.size(), 1U);
    EXPECT_EQ(excluded.front().name, entry.name);
    EXPECT_EQ(excluded.front().reason, entry.reason);
    EXPECT_GE(excluded.front().count, 1);
    // Without the entry the finding is back.
    record::Manifest reported = builds("7.2.22", "11.1.2");
    reported.gate.report_benign = {entry.name};
    EXPECT_EQ(judge_with(reported).first.size(), 1U) << describe(judge_with(reported).first);
    // Two QEMUs of one build have no such excuse, unless it is a name that was made up.
    EXPECT_EQ(judge_with(manifest()).first.size(), entry.what == "handle" ? 0U : 1U);
    const std::vector<std::string> names = exclusion_names();
    EXPECT_EQ(std::count(names.begin(), names.end(), entry.name), 1);
  }
}

TEST(DeviceTreeKnown, AHandleOfAnotherKindIsADifference) {
  const auto findings = trees(6, [](DeviceTree& tree, const record::Observation& o) {
    if (on_b(o)) tree.nodes[kRoot + "/vd0"].props["drive"] = "libvirt-1-storage";
  });
  ASSERT_EQ(findings.size(), 1U) << describe(findings);
  EXPECT_EQ(findings[0].evidence["property"], "drive");
}

TEST(DeviceTreeDrift, WhatCannotBeReadIsNotJudged) {
  const auto findings = judged(6, [](record::Observation& o, Soak&) {
    if (o.iteration == 0) put_tree(o, "source", plain_tree());
    DeviceTree tree = plain_tree();
    add_ghost(tree);
    if (o.iteration == 1) tree.cut = true;
    if (o.iteration == 1 || o.iteration == 2) put_tree(o, "arrived", tree);
    if (o.iteration == 2) {
      for (record::Document& document : o.documents) document.content["nodes"] = 7;
    }
  });
  EXPECT_TRUE(findings.empty()) << describe(findings);
}

TEST(DeviceTreeDrift, ANewLineageBeginsAnew) {
  const auto findings = judged(8, [](record::Observation& o, Soak& soak) {
    DeviceTree tree = plain_tree();
    if (o.iteration >= 4) add_ghost(tree);
    o.lineage = o.iteration >= 4 ? 1 : 0;
    if (o.iteration % 4 == 0) put_tree(o, "source", tree);
    put_tree(o, "arrived", tree);
    (void)soak;
  });
  EXPECT_TRUE(findings.empty()) << describe(findings);
}

// What the destination is before the load; nothing is read after it, as when the load is refused.
Change with_waiting(const TreeOf& shape, const Change& more = nullptr) {
  return [=](record::Observation& o, Soak& soak) {
    if (o.iteration == 0) put_tree(o, "source", plain_tree());
    DeviceTree tree = plain_tree();
    shape(tree, o);
    put_tree(o, "waiting", tree);
    if (more) more(o, soak);
  };
}

void refuse(record::Observation& o, const std::string& line) {
  o.status = record::IterationStatus::failed;
  o.events.push_back(event(kinds::kLogLine, "qemu:b", line));
  o.events.push_back(event(kinds::kLogLine, "qemu:b", "load of migration failed: Invalid argument"));
  o.events.push_back(event(kinds::kMigrationFailed, "qemu:b", "the destination ended",
                           {{"error_desc", "the destination ended"}, {"result", "destination-lost"}}));
}

void add_hub(DeviceTree& tree) {
  tree.nodes[kRoot + "/@02.0"] = a_device("piix3-usb-uhci", "", {{"addr", "02.0"}});
  tree.nodes[kRoot + "/@02.0/usb-bus.0"] = {true, "usb-bus", "", {}};
  tree.nodes[kRoot + "/@02.0/usb-bus.0/usb-hub"] = a_device("usb-hub", "", {{"port", "1"}});
}

constexpr const char* kNoHub =
    "qemu-system-x86_64: Unknown savevm section or instance '0000:00:02.0/1/usb-hub' 0. Make sure that your current VM "
    "setup matches your saved VM setup, including any hotplugged devices";

// What the destination lacks is told before the load, and explains why that fails.
TEST(DeviceTreeDriftBeforeTheLoad, ADeviceOnOneSideOnly) {
  const auto findings = judged(3, [](record::Observation& o, Soak&) {
    DeviceTree with = plain_tree(), without = plain_tree();
    add_hub(with);
    add_hub(without);
    without.nodes.erase(kRoot + "/@02.0/usb-bus.0/usb-hub");
    if (o.iteration == 0) put_tree(o, "source", with);
    put_tree(o, "waiting", o.iteration == 2 ? without : with);
    if (o.iteration == 2) refuse(o, kNoHub);
  });
  ASSERT_EQ(findings.size(), 2U) << describe(findings);
  const auto missing = of(findings, "qtree-drift"), failure = of(findings, "migration-failure");
  expect_one(missing, "device-missing",
             "qemu:b lacks usb-hub on usb-bus.0, which qemu:a had; the plan did not ask for its removal (iteration 2); "
             "seen before the load");
  EXPECT_EQ(missing.front().process, "qemu:b");
  EXPECT_EQ(missing.front().detected_iteration, 2);
  EXPECT_EQ(missing.front().evidence["before_load"], true);
  ASSERT_EQ(failure.size(), 1U);
  EXPECT_EQ(failure.front().evidence["cause"]["fingerprint"], missing.front().fingerprint);
  EXPECT_NE(failure.front().title.find("(explained by qtree-drift: device-missing usb-hub)"), std::string::npos)
      << failure.front().title;
}

// Public report LP 1586611: the hub came up in the source while something else was plugged, and stays.
TEST(DeviceTreeDriftBeforeTheLoad, ADeviceThatTheSourceMadeOfItself) {
  const auto findings = judged(3, [](record::Observation& o, Soak& soak) {
    DeviceTree tree = plain_tree();
    if (o.iteration == 0) put_tree(o, "source", tree);
    if (o.iteration == 2) {
      kComesAndGoes(o, soak);
      plug_disk(tree, "vb0", "05.0");
      DeviceTree plugged = tree;
      add_hub(plugged);
      put_tree(o, "plugged", plugged);
      refuse(o, kNoHub);
    }
    put_tree(o, "waiting", tree);
  });
  const auto extra = of(findings, "qtree-drift");
  expect_one(
      extra, "device-extra",
      "qemu:a has piix3-usb-uhci at 02.0 on pci.0 with usb-hub below it, which it had not and the plan did not ask "
      "for (iteration 2); seen before the load");
  EXPECT_EQ(extra.front().process, "qemu:a");
  const auto failure = of(findings, "migration-failure");
  ASSERT_EQ(failure.size(), 1U) << describe(findings);
  EXPECT_EQ(failure.front().evidence["cause"]["fingerprint"], extra.front().fingerprint);
}

// The error names another device: it is no explanation.
TEST(DeviceTreeDriftBeforeTheLoad, NoLinkToADeviceThatIsNotMeant) {
  const auto findings = judged(3, with_waiting(
                                      [](DeviceTree& tree, const record::Observation& o) {
                                        if (o.iteration == 2) add_ghost(tree);
                                      },
                                      [](record::Observation& o, Soak&) {
                                        if (o.iteration == 2) refuse(o, kNoHub);
                                      }));
  ASSERT_EQ(of(findings, "qtree-drift").size(), 1U) << describe(findings);
  const auto failure = of(findings, "migration-failure");
  ASSERT_EQ(failure.size(), 1U) << describe(findings);
  EXPECT_FALSE(failure.front().evidence.contains("cause"));
}

// A property that was asked for on neither side: the pc board's power management, and the section that does not load.
TEST(DeviceTreeDriftBeforeTheLoad, APropertyExplainsASectionThatEndsOtherwise) {
  const auto shape = [](const std::string& value) {
    return [value](DeviceTree& tree, const record::Observation& o) {
      if (o.iteration != 2) return;
      tree.nodes[kRoot + "/@01.3"].props["x-not-migrate-acpi-index"] = value;
    };
  };
  const auto findings = judged(3, with_waiting(shape("true"), [](record::Observation& o, Soak&) {
                                 if (o.iteration == 2) refuse(o, "Missing section footer for 0000:00:01.3/piix4_pm");
                               }));
  const auto failure = of(findings, "migration-failure");
  ASSERT_EQ(failure.size(), 1U) << describe(findings);
  EXPECT_EQ(failure.front().evidence["cause"]["detector"], "qtree-drift");
}

TEST(DeviceTreeDriftBeforeTheLoad, SeenBeforeAndAfterIsOneFinding) {
  const auto shape = [](DeviceTree& tree, const record::Observation& o) {
    if (on_b(o)) add_ghost(tree);
  };
  for (const auto& m : {manifest(), builds("7.2.22", "11.1.2")}) {
    const auto findings = trees(
        8, shape,
        [&](record::Observation& o, Soak&) {
          DeviceTree tree = plain_tree();
          shape(tree, o);
          put_tree(o, "waiting", tree);
        },
        m);
    expect_one(findings, "device-extra",
               "qemu:b has ide-hd ide0-hd0 on ide.0, which qemu:a had not and the plan did not ask for (iteration 0); "
               "seen before the load");
    for (const record::Finding& finding : findings) EXPECT_EQ(finding.count, 4);
  }
}

TEST(DeviceTreeDriftBeforeTheLoad, QuietWhenAllIsAsPlanned) {
  const auto as_planned = [](DeviceTree& tree, const record::Observation& o) {
    if (o.iteration >= 2 && o.iteration < 5) plug_disk(tree, "vb0", "05.0");
  };
  const auto waiting = [&](record::Observation& o, Soak& soak) {
    kComesAndGoes(o, soak);
    DeviceTree tree = plain_tree(), plugged = plain_tree();
    // An unplug that is under way at the switch-over: the destination has the device.
    if (o.iteration >= 2 && o.iteration <= 5) plug_disk(tree, "vb0", "05.0");
    put_tree(o, "waiting", tree);
    plug_disk(plugged, "vb0", "05.0");
    if (o.iteration == 2) put_tree(o, "plugged", plugged);
  };
  for (const auto& m : {manifest(), builds("7.2.22", "11.1.2")}) {
    const auto findings = trees(9, as_planned, waiting, m);
    EXPECT_TRUE(findings.empty()) << describe(findings);
  }
}

TEST(DeviceTreeDriftBeforeTheLoad, WhatBuildsDifferInIsHeldBack) {
  for (const DeviceTreeKnown& entry : device_tree_known()) {
    SCOPED_TRACE(entry.name);
    const TreeOf& change = build_differences().at(entry.name);
    const auto shape = [&change](DeviceTree& tree, const record::Observation& o) {
      if (on_b(o)) change(tree, o);
    };
    record::Manifest m = builds("7.2.22", "11.1.2");
    EXPECT_TRUE(judged(6, with_waiting(shape), m).empty()) << describe(judged(6, with_waiting(shape), m));
    m.gate.report_benign = {entry.name};
    EXPECT_EQ(judged(6, with_waiting(shape), m).size(), 1U);
    EXPECT_EQ(judged(6, with_waiting(shape)).size(), entry.what == "handle" ? 0U : 1U);
  }
}

// A tree that was cut, or is none: that iteration is unknown, and so is a run that is clean but for it.
TEST(DeviceTreeDrift, ATreeThatCannotBeReadIsUnknown) {
  for (const std::string point : {"waiting", "arrived"}) {
    SCOPED_TRACE(point);
    for (const bool cut : {true, false}) {
      Judge judge(manifest());
      Soak soak;
      run(judge, soak, 6,
          with_trees([](DeviceTree&, const auto&) {},
                     [&](record::Observation& o, Soak&) {
                       if (o.iteration != 2) return;
                       std::erase_if(o.documents,
                                     [&](const record::Document& document) { return document.point == point; });
                       DeviceTree tree = plain_tree();
                       tree.cut = cut;
                       put_tree(o, point, tree);
                       if (!cut) o.documents.back().content["nodes"] = 7;
                     }));
      EXPECT_TRUE(judge.findings().empty()) << describe(judge.findings());
      EXPECT_EQ(judge.verdict_of(1), record::Verdict::pass);
      EXPECT_EQ(judge.verdict_of(2), record::Verdict::unknown);
      EXPECT_EQ(judge.verdict_of(3), record::Verdict::pass);
      EXPECT_EQ(judge.verdict(), record::Verdict::unknown);
    }
  }
}

}  // namespace
}  // namespace migsoak::detect
