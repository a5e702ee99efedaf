#include "record/config_space.h"

#include <gtest/gtest.h>

namespace migsoak::record {
namespace {

TEST(ConfigSpaceDocument, ComesBackAsItWas) {
  ConfigSpace space;
  space.method = "ecam";
  space.functions.push_back({"0000:00:04.0",
                             "0000:00:04.0",
                             "vd0",
                             "1af4:1001",
                             {{0, "io", 0xc000, 0x80}, {4, "mem64", 0xfebf800000000000ULL, 0x4000}},
                             256,
                             "f41a",
                             "ff"});
  space.functions.push_back({"", "0000:00:02.0:00.0", "", "1af4:1042", {}, 0, "", ""});
  const auto back = config_space_from_json(to_json(space));
  ASSERT_TRUE(back) << back.error().describe();
  EXPECT_EQ(*back, space);
  EXPECT_EQ(back->find("0000:00:04.0")->id, "vd0");
  EXPECT_EQ(back->find("0000:00:05.0"), nullptr);
}

TEST(VirtqueuesDocument, ComesBackAsItWas) {
  Virtqueues virtqueues;
  virtqueues.devices.push_back({"vd0", "virtio-blk", "queue-size", 256, {{0, 1024, 1024}, {1, 0, 0}}});
  virtqueues.devices.push_back({"rng0", "virtio-rng", "", std::nullopt, {}});
  const auto back = virtqueues_from_json(to_json(virtqueues));
  ASSERT_TRUE(back) << back.error().describe();
  EXPECT_EQ(*back, virtqueues);
  EXPECT_EQ(back->find("rng0")->type, "virtio-rng");
  EXPECT_EQ(back->find("vd1"), nullptr);
}

TEST(ConfigSpaceDocument, WrongShapesAreRefused) {
  for (const char* text : {"[]", R"({"method":1})", R"({"functions":{}})", R"({"functions":[1]})",
                           R"({"functions":[{"bars":[{"index":"0"}]}]})", R"({"functions":[{"bytes":7}]})"}) {
    EXPECT_FALSE(config_space_from_json(*base::parse_json(text))) << text;
  }
  EXPECT_FALSE(virtqueues_from_json(*base::parse_json(R"({"devices":[{"queues":[{"size":"x"}]}]})")));
}

}  // namespace
}  // namespace migsoak::record
