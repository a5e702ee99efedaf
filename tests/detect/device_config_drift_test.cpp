// config-space-drift over what a virtio device shows behind its BAR.
#include <gmock/gmock.h>

#include "config_model.h"
#include "pci/virtio_config.h"

namespace migsoak::detect {
namespace {

using namespace testing;
using ::testing::HasSubstr;

// A virtio_blk_config of 36 bytes.
std::string blk_config(int physical_block_exp, int writeback) {
  pci::VirtioConfigBytes bytes(36, 0);
  bytes[13] = 1;  // seg_max
  bytes[21] = 2;  // blk_size
  bytes[24] = static_cast<std::uint8_t>(physical_block_exp);
  bytes[32] = static_cast<std::uint8_t>(writeback);
  bytes[34] = 1;
  return pci::to_hex(bytes);
}

// What the guest reads behind the BAR is another value after the load, and nothing else tells.
TEST(DeviceConfigDrift, NamesFieldAndProperty) {
  Disk disk;
  disk.device_config = blk_config(3, 1);
  disk.props = {{"physical_block_size", 4096}};
  const auto differ = [](Disk& other) {
    other.device_config = blk_config(0, 1);
    other.props = base::Json::object();
  };
  const auto findings = of(judged(4, sides({disk}, differ), two_builds()), "config-space-drift");
  ASSERT_EQ(findings.size(), 2u) << describe(findings);
  EXPECT_EQ(findings[0].kind, "silent");
  EXPECT_EQ(findings[0].title,
            "vd0 (virtio-blk, 0000:00:04.0), a to b: virtio_blk_config.topology.physical_block_exp "
            "(physical_block_size): source 3, destination 0: after the load the guest reads another value; the load "
            "passed silently in iteration 0; property physical_block_size: source 4096, destination not set");
  EXPECT_EQ(findings[0].evidence["field"], "virtio_blk_config.topology.physical_block_exp");
  EXPECT_EQ(findings[0].evidence["property"], "physical_block_size");
  EXPECT_TRUE(judged(4, sides({disk}), two_builds()).empty());
}

// Fields that one end does not have, and records of runs that did not read them.
TEST(DeviceConfigDrift, OfOneSideOnlyIsNotCompared) {
  Disk disk;
  disk.device_config = blk_config(0, 1);
  const auto longer = [](Disk& other) { other.device_config += "0000" + std::string(8, '1'); };
  EXPECT_TRUE(judged(4, sides({disk}, longer), two_builds()).empty());
  EXPECT_TRUE(judged(4, sides({disk}, [](Disk& other) { other.device_config = ""; }), two_builds()).empty());
  EXPECT_TRUE(judged(4, sides({disk}, [](Disk& other) { other.device_config = "zz"; }), two_builds()).empty());
}

TEST(DeviceConfigDrift, ThatChangesOfItselfIsExcludedWithItsReason) {
  Disk disk;
  disk.device_config = blk_config(0, 1);
  const auto other_mode = sides({disk}, [](Disk& other) { other.device_config = blk_config(0, 0); });
  Judge judge(two_builds());
  Soak soak;
  run(judge, soak, 4, other_mode);
  EXPECT_TRUE(judge.findings().empty()) << describe(judge.findings());
  const auto exclusions = judge.exclusions();
  ASSERT_EQ(exclusions.size(), 1u);
  EXPECT_EQ(exclusions[0].name, "virtio_blk_config.writeback");
  EXPECT_EQ(exclusions[0].count, 4);
  EXPECT_THAT(exclusions[0].reason, HasSubstr("driver"));
  record::Manifest loud = two_builds();
  loud.gate.report_benign = {"virtio_blk_config.writeback"};
  EXPECT_THAT(describe(judged(4, other_mode, loud)), HasSubstr("virtio_blk_config.writeback"));
}

}  // namespace
}  // namespace migsoak::detect
