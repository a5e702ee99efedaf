#include "record/device_tree.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace migsoak::record {
namespace {

TreeNode device(const std::string& type, const std::string& id, std::map<std::string, std::string> props = {}) {
  return {false, type, id, std::move(props)};
}

DeviceTree two_disks() {
  DeviceTree tree;
  tree.nodes["sysbus"] = {true, "System", "", {}};
  tree.nodes["sysbus/host"] = device("pc-host", "", {{"below-4g", "64"}});
  tree.nodes["sysbus/host/pci.0"] = {true, "PCI", "", {}};
  tree.nodes["sysbus/host/pci.0/rp0"] = device("root-port", "rp0", {{"addr", "04.0"}});
  tree.nodes["sysbus/host/pci.0/rp0/rp0"] = {true, "PCIE", "", {}};
  tree.nodes["sysbus/host/pci.0/rp0/rp0/vd0"] = device("virtio-blk-pci", "vd0", {{"vectors", "2"}, {"serial", ""}});
  tree.nodes["sysbus/host/pci.0/vd1"] = device("virtio-blk-pci", "vd1", {{"vectors", "9"}});
  tree.objects = {{"/ (pc-machine)", 1},
                  {"/unattached/device[isa-i8259] (isa-i8259)", 2},
                  {"/peripheral/vd0 (virtio-blk-pci)", 1},
                  {"/peripheral/vd1/virtio-bus (virtio-pci-bus)", 1},
                  {"/peripheral/dm0 (pc-dimm)", 1}};
  return tree;
}

std::vector<const base::Json*> pointers(const std::vector<base::Json>& parts) {
  std::vector<const base::Json*> all;
  for (const base::Json& part : parts) all.push_back(&part);
  return all;
}

TEST(DeviceTreeParts, ComeBackAsTheyWereInAnyOrder) {
  DeviceTree tree = two_disks();
  for (const bool cut : {false, true}) {
    tree.cut = cut;
    const std::vector<base::Json> parts = to_parts(tree);
    std::vector<const base::Json*> backwards = pointers(parts);
    std::reverse(backwards.begin(), backwards.end());
    for (const auto& order : {pointers(parts), backwards}) {
      const auto back = tree_from_parts(order);
      ASSERT_TRUE(back) << back.error().describe();
      EXPECT_EQ(*back, tree);
    }
  }
}

// A device that comes or goes leaves the other parts as they are: they are stored once.
TEST(DeviceTreeParts, ADeviceIsAPartOfItsOwnWithAllBelowIt) {
  DeviceTree tree = two_disks();
  const std::vector<base::Json> before = to_parts(tree);
  ASSERT_EQ(before.size(), 4U);  // board, dm0, rp0 with vd0, vd1
  EXPECT_EQ(before[0]["part"], "board");
  EXPECT_EQ(before[2]["part"], "rp0");
  EXPECT_TRUE(before[2]["nodes"].contains("sysbus/host/pci.0/rp0/rp0/vd0"));
  EXPECT_TRUE(before[2]["objects"].contains("/peripheral/vd0 (virtio-blk-pci)"));
  std::erase_if(tree.nodes, [](const auto& entry) { return has_component(entry.first, "vd1"); });
  std::erase_if(tree.objects, [](const auto& entry) { return has_component(entry.first, "vd1"); });
  const std::vector<base::Json> after = to_parts(tree);
  ASSERT_EQ(after.size(), 3U);
  for (std::size_t i = 0; i < after.size(); ++i) EXPECT_EQ(after[i], before[i]);
}

TEST(DeviceTreeParts, WhatIsNoPartIsRefused) {
  for (const char* text :
       {R"([])", R"({"nodes":{"a":7}})", R"({"nodes":{"a":{"type":3}}})", R"({"nodes":{"a":{"props":{"x":1}}}})",
        R"({"objects":{"/a":"many"}})", R"({"cut":"yes"})", R"({"nodes":{"a":{"props":[]}}})"}) {
    const base::Json part = base::Json::parse(text);
    EXPECT_FALSE(tree_from_parts({&part})) << text;
  }
}

TEST(DeviceTreePath, NamesAreWholeNames) {
  EXPECT_TRUE(has_component("sysbus/host/pci.0/vd1", "vd1"));
  EXPECT_TRUE(has_component("vd1/virtio-bus", "vd1"));
  EXPECT_TRUE(has_component("/peripheral/vd1 (virtio-blk-pci)", "vd1"));
  EXPECT_FALSE(has_component("/peripheral/vd10 (virtio-blk-pci)", "vd1"));
  EXPECT_FALSE(has_component("sysbus/avd1", "vd1"));
  EXPECT_TRUE(has_component("sysbus/avd1/vd1", "vd1"));
  EXPECT_FALSE(has_component("sysbus", ""));
  EXPECT_EQ(parent_of("a/b/c"), "a/b");
  EXPECT_EQ(parent_of("a"), "");
  const DeviceTree tree = two_disks();
  EXPECT_EQ(owner_of(tree, "sysbus/host/pci.0/rp0/rp0/vd0"), "vd0");
  EXPECT_EQ(owner_of(tree, "sysbus/host/pci.0/rp0/rp0"), "rp0");
  EXPECT_EQ(owner_of(tree, "sysbus/host"), "");
}

TEST(DeviceTreeParts, OfOnePointOfAnIteration) {
  Observation observation;
  for (const char* point : {"source", "arrived", "arrived"}) {
    observation.documents.push_back({document_kind::kDeviceTree, "qemu:a", 1, point, {{"part", point}}});
  }
  observation.documents.push_back({document_kind::kConfigSpace, "qemu:a", 1, "arrived", {}});
  EXPECT_EQ(tree_parts_at(observation, "arrived").size(), 2U);
  EXPECT_EQ(tree_parts_at(observation, "source").size(), 1U);
  EXPECT_TRUE(tree_parts_at(observation, "destination").empty());
}

}  // namespace
}  // namespace migsoak::record
