// What a guest reads behind a BAR or by a command: on one build, with properties that differ.
#include <gmock/gmock.h>

#include "compat/compat_fixture.h"

namespace migsoak::compat {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Values : public CompatFixture {
 protected:
  // One device with `from` on the source and `to` on the destination: incompatible, and for this field alone.
  void expect_changed(const std::string& driver, const std::string& from, const std::string& to,
                      const std::string& field, const std::string& value_from, const std::string& value_to) {
    const DeviceReport report = survey_one(pair_of(driver, from, to));
    EXPECT_EQ(report.verdict, Compatibility::incompatible) << driver << ": " << report.reason;
    ASSERT_EQ(report.values.size(), 1u) << driver << ' ' << from;
    const ValueReport& value = report.values.front();
    EXPECT_EQ(value.field, field);
    EXPECT_EQ(value.from, value_from);
    EXPECT_EQ(value.to, value_to);
    EXPECT_EQ(value.after_load, value_to);
    EXPECT_TRUE(value.breaks);
    EXPECT_THAT(report.bytes, IsEmpty());
    EXPECT_THAT(report.reason, HasSubstr(field));
  }
};

// kubevirt#18845
TEST_F(Values, HostMtu) {
  expect_changed("virtio-net-pci", "host_mtu=8901", "host_mtu=1500", "virtio_net_config.mtu", "8901", "1500");
}

TEST_F(Values, SpeedAndDuplex) {
  expect_changed("virtio-net-pci", "speed=10000,duplex=full", "speed=1000,duplex=full", "virtio_net_config.speed",
                 "10000", "1000");
  expect_changed("virtio-net-pci", "speed=1000,duplex=full", "speed=1000,duplex=half", "virtio_net_config.duplex", "1",
                 "0");
}

TEST_F(Values, MaxSectors) {
  expect_changed("virtio-scsi-pci", "max_sectors=2048", "max_sectors=1024", "virtio_scsi_config.max_sectors", "2048",
                 "1024");
}

TEST_F(Values, BlockSizesAndGeometry) {
  expect_changed("virtio-blk-pci", "physical_block_size=4096", "physical_block_size=512",
                 "virtio_blk_config.topology.physical_block_exp", "3", "0");
  expect_changed("virtio-blk-pci", "cyls=100,heads=16,secs=63", "cyls=100,heads=8,secs=63",
                 "virtio_blk_config.geometry.heads", "16", "8");
  const DeviceReport report = survey_one(pair_of("virtio-blk-pci", "logical_block_size=512,physical_block_size=4096",
                                                 "logical_block_size=4096,physical_block_size=4096"));
  EXPECT_EQ(report.verdict, Compatibility::incompatible);
  EXPECT_THAT(report.values, ::testing::Contains(::testing::Field(&ValueReport::field, "virtio_blk_config.blk_size")));
}

// A queue of another size comes with another seg_max.
TEST_F(Values, SegMaxFollowsTheQueue) {
  const DeviceReport report = survey_one(pair_of("virtio-blk-pci", "queue-size=256", "queue-size=128"));
  EXPECT_EQ(report.verdict, Compatibility::incompatible);
  ASSERT_EQ(report.values.size(), 1u);
  EXPECT_EQ(report.values.front().field, "virtio_blk_config.seg_max");
  EXPECT_EQ(report.values.front().from, "254");
  EXPECT_EQ(report.values.front().after_load, "126");
}

// Asked over a queue, before and after the load.
TEST_F(Values, SerialOfAVirtioDisk) {
  expect_changed("virtio-blk-pci", "serial=one", "serial=two", "serial", "one", "two");
  const DeviceReport report = survey_one(pair_of("virtio-blk-pci", "serial=one", "serial=two"));
  EXPECT_THAT(report.reason, HasSubstr("one before, two after (legacy-driver, modern-driver)"));
  EXPECT_THAT(report.reason, HasSubstr("GET_ID"));
}

TEST_F(Values, IdentityOfADiskBehindAController) {
  expect_changed("scsi-hd", "serial=one,device_id=disk", "serial=two,device_id=disk", "serial", "one", "two");
  expect_changed("scsi-hd", "physical_block_size=4096", "physical_block_size=512", "physical_block_size", "4096",
                 "512");
  expect_changed("ide-hd", "serial=one", "serial=two", "serial", "one", "two");
  EXPECT_EQ(survey_one(pair_of("scsi-hd", "serial=one", "serial=one")).verdict, Compatibility::same);
}

// virtio-net's state carries it.
TEST_F(Values, MacTravels) {
  const DeviceReport report = survey_one(pair_of("virtio-net-pci", "mac=52:54:00:00:00:01", "mac=52:54:00:00:00:02"));
  EXPECT_EQ(report.verdict, Compatibility::compatible) << report.reason;
  ASSERT_EQ(report.values.size(), 1u);
  const ValueReport& value = report.values.front();
  EXPECT_EQ(value.field, "virtio_net_config.mac");
  EXPECT_EQ(value.property, "mac");
  EXPECT_EQ(value.from, "52:54:00:00:00:01");
  EXPECT_EQ(value.to, "52:54:00:00:00:02");
  EXPECT_EQ(value.after_load, "52:54:00:00:00:01");
  EXPECT_FALSE(value.breaks);
}

TEST_F(Values, EqualPropertiesAreTheSame) {
  for (const auto& [driver, properties] : std::initializer_list<std::pair<const char*, const char*>>{
           {"virtio-net-pci", "host_mtu=8901,speed=10000,duplex=full,mac=52:54:00:00:00:01"},
           {"virtio-blk-pci", "serial=one,physical_block_size=4096,cyls=100,heads=16,secs=63"},
           {"virtio-scsi-pci", "max_sectors=2048"}}) {
    const DeviceReport report = survey_one(pair_of(driver, properties, properties));
    EXPECT_EQ(report.verdict, Compatibility::same) << driver << ": " << report.reason;
    EXPECT_THAT(report.values, IsEmpty()) << driver;
  }
}

// Where there is no legacy BAR, the modern registers tell.
TEST_F(Values, BehindARootPort) {
  const DeviceReport report =
      survey_one(pair_of("virtio-net-pci", "host_mtu=8901", "host_mtu=1500"), "q35", Placement::root_port);
  EXPECT_EQ(report.verdict, Compatibility::incompatible);
  ASSERT_EQ(report.values.size(), 1u);
  EXPECT_THAT(report.values.front().why, HasSubstr("8901 before, 1500 after (modern-driver)"));
}

TEST_F(Values, JsonAndText) {
  const auto report = run(request({pair_of("virtio-net-pci", "host_mtu=8901,mac=52:54:00:00:00:01", "host_mtu=1500")}));
  ASSERT_TRUE(report) << report.error().describe();
  const base::Json device = to_json(*report).at("devices").at(0);
  ASSERT_EQ(device.at("values").size(), 2u);
  const base::Json& mac = device.at("values").at(0);
  const base::Json& mtu = device.at("values").at(1);
  EXPECT_EQ(mac.at("from"), "52:54:00:00:00:01");
  EXPECT_EQ(mac.at("breaks"), false);
  EXPECT_EQ(mtu.at("field"), "virtio_net_config.mtu");
  EXPECT_EQ(mtu.at("property"), "host_mtu");
  EXPECT_EQ(mtu.at("from"), 8901);
  EXPECT_EQ(mtu.at("to"), 1500);
  EXPECT_EQ(mtu.at("after_load"), 1500);
  EXPECT_THAT(to_text(*report), HasSubstr("virtio_net_config.mtu (host_mtu): 8901 on the source, 1500 on the "
                                          "destination, 1500 after the load: silently changed on load"));
}

}  // namespace
}  // namespace migsoak::compat
