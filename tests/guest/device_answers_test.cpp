// What the agent says of devices: read, bounded, refused.
#include <gmock/gmock.h>

#include <string>

#include "guest/answers.h"

namespace migsoak::guest {
namespace {

using base::ErrorKind;
using base::Json;

Json device_json(const std::string& text) {
  auto json = base::parse_json(text);
  EXPECT_TRUE(json) << text;
  return json ? *json : Json();
}

TEST(DeviceAnswers, ReadsAnInventory) {
  const auto inventory = inventory_from_answer(device_json(R"({"ok":true,
    "pci":[["0000:00:10.0","1af4:1001","010000","virtio-pci","virtio_blk","running"],
           ["0000:00:01.1","8086:7010","010180","","",""]],
    "block":[["sda","sdx","0000:00:14.0","0:1:0","16777216"]],
    "net":[["eth0","52:54:00:00:00:01","0000:00:11.0","virtio_net","up"]],
    "port":[["vport5p1","org.p0","0000:00:15.0"]],
    "rng":1,"memory_online_bytes":402653184,"memory_hotplugged_bytes":134217728,"memory_offline_blocks":2,
    "cpus_online":2,"digest":"0c578ca4","guest_ms":2.5})"));
  ASSERT_TRUE(inventory) << inventory.error().describe();
  EXPECT_FALSE(inventory->same);
  ASSERT_EQ(inventory->pci.size(), 2u);
  EXPECT_EQ(inventory->pci[0].virtio_driver, "virtio_blk");
  EXPECT_TRUE(inventory->pci[0].running);
  EXPECT_FALSE(inventory->pci[1].running);
  ASSERT_EQ(inventory->disks.size(), 1u);
  EXPECT_EQ(inventory->disks[0].scsi, "0:1:0");
  EXPECT_EQ(inventory->disks[0].size_bytes, 16u << 20);
  ASSERT_EQ(inventory->interfaces.size(), 1u);
  EXPECT_TRUE(inventory->interfaces[0].up);
  ASSERT_EQ(inventory->ports.size(), 1u);
  EXPECT_EQ(inventory->ports[0].name, "org.p0");
  EXPECT_EQ(inventory->rngs, 1u);
  EXPECT_EQ(inventory->memory_hotplugged_bytes, 128u << 20);
  EXPECT_EQ(inventory->memory_offline_blocks, 2u);
  EXPECT_EQ(inventory->cpus_online, 2u);
  EXPECT_DOUBLE_EQ(inventory->guest_ms, 2.5);

  const auto same = inventory_from_answer(device_json(R"({"ok":true,"same":true,"digest":"0c578ca4"})"));
  ASSERT_TRUE(same);
  EXPECT_TRUE(same->same);
}

TEST(DeviceAnswers, ANonsensicalInventoryIsTheSubjectsFault) {
  std::string many = "[";
  for (int i = 0; i < 2000; ++i) many += R"(["a","b","c"],)";
  many.back() = ']';
  for (const std::string part :
       {R"("pci":{})", R"("pci":[["a"]])", R"("block":[[1,2,3,4,5]])", R"("net":["eth0"])", R"("port":1)"}) {
    const auto inventory = inventory_from_answer(device_json(R"({"ok":true,"digest":"1",)" + part + "}"));
    ASSERT_FALSE(inventory) << part;
    EXPECT_EQ(inventory.error().kind, ErrorKind::subject) << part;
  }
  EXPECT_FALSE(inventory_from_answer(device_json(R"({"ok":true,"digest":"1","port":)" + many + "}")));
  EXPECT_FALSE(inventory_from_answer(device_json(R"({"ok":true})"))) << "no digest";
  EXPECT_FALSE(inventory_from_answer(device_json(R"({"ok":false,"error":"no"})")));
}

TEST(DeviceAnswers, ReadsAwaitAdoptAndRelease) {
  const auto waited =
      await_from_answer(device_json(R"({"ok":true,"holds":true,"seen":"vda \u001b[1m","waited_ms":12.5})"));
  ASSERT_TRUE(waited);
  EXPECT_TRUE(waited->holds);
  EXPECT_EQ(waited->seen, "vda \\x1b[1m");
  EXPECT_DOUBLE_EQ(waited->waited_ms, 12.5);
  EXPECT_FALSE(await_from_answer(device_json(R"({"ok":true,"holds":"yes"})")));
  EXPECT_FALSE(await_from_answer(device_json(R"({"ok":true})")));

  const auto adopted = adopt_from_answer(device_json(R"({"ok":true,"name":"vdb","serial":"s","size_bytes":8388608,
    "area_bytes":4194304,"content":"kept","report":{"id":"d","stale":3,"gone":true,"removal_expected":true,
    "scsi":"0:1:0"}})"));
  ASSERT_TRUE(adopted);
  EXPECT_TRUE(adopted->content_kept);
  EXPECT_EQ(adopted->area_bytes, 4u << 20);
  EXPECT_EQ(adopted->disk.id, "d");
  EXPECT_EQ(adopted->disk.stale, 3u);
  EXPECT_TRUE(adopted->disk.gone);
  EXPECT_TRUE(adopted->disk.removal_expected);
  EXPECT_EQ(adopted->disk.scsi, "0:1:0");
  EXPECT_FALSE(adopt_from_answer(device_json(R"({"ok":true,"name":"vdb"})")));
  EXPECT_FALSE(adopt_from_answer(device_json(R"({"ok":true,"report":{"id":"d"}})")));

  const auto released = release_from_answer(device_json(R"({"ok":true,"released":true,"report":{"id":"d"}})"));
  ASSERT_TRUE(released);
  EXPECT_TRUE(released->released);
  EXPECT_FALSE(release_from_answer(device_json(R"({"ok":true,"released":true})")));
}

TEST(DeviceAnswers, ReadsWhatAVerificationUsed) {
  const std::string verified = R"({"ok":true,"ram":{},"disks":[],"devices":)";
  const auto report = verify_from_answer(device_json(verified + R"([["net","eth0","ok"],["rng","r","\u0007"]]})"));
  ASSERT_TRUE(report) << report.error().describe();
  ASSERT_EQ(report->devices.size(), 2u);
  EXPECT_TRUE(report->devices[0].good());
  EXPECT_EQ(report->devices[0].name, "eth0");
  EXPECT_FALSE(report->devices[1].good());
  EXPECT_EQ(report->devices[1].result, "\\x07");
  for (const char* bad : {"1}", "[1]}", R"([["net"]]})"}) EXPECT_FALSE(verify_from_answer(device_json(verified + bad)));
}

TEST(DeviceAnswers, ReadsDigestsAndNothingElse) {
  const auto digests = pci_digests_from_answer(device_json(R"({"ok":true,"digests":{"0000:00:04.0":"0123abcd"}})"));
  ASSERT_TRUE(digests);
  EXPECT_EQ(digests->at("0000:00:04.0"), "0123abcd");
  for (const char* bad :
       {R"({"ok":true})", R"({"ok":true,"digests":{"0000:00:04.0":"xyz"}})",
        R"({"ok":true,"digests":{"../x":"0123abcd"}})", R"({"ok":true,"digests":{"0000:00:04.0":7}})"}) {
    EXPECT_FALSE(pci_digests_from_answer(device_json(bad))) << bad;
  }
}

}  // namespace
}  // namespace migsoak::guest
