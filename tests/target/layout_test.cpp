// What a kind makes of a spec: command line and endpoints. Nothing is started, and no file has to be there.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "target/target.h"

namespace migsoak::target {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TargetSpec spec_of_kind(const std::string& kind) {
  TargetSpec spec;
  spec.name = "disk0";
  spec.process = "target:disk0@a";
  spec.kind = kind;
  spec.devices = {{"vd0", "/no/such.raw", 2, EndpointType::block}};
  spec.slots = {"0", "1"};
  spec.run_dir = "/r";
  return spec;
}

Layout layout_of(const TargetSpec& spec) {
  const TargetKind& kind = *find_target_kind(spec.kind);
  const auto options = check_options(kind.name, kind.options, spec.options);
  EXPECT_TRUE(options);
  auto layout = kind.lay_out(spec, *options);
  EXPECT_TRUE(layout) << layout.error().describe();
  return layout ? *std::move(layout) : Layout{};
}

std::string refused(const TargetSpec& spec) {
  const auto checked = check_target(spec);
  EXPECT_FALSE(checked);
  if (checked) return "";
  EXPECT_EQ(checked.error().kind, base::ErrorKind::bad_input);
  return checked.error().describe();
}

// To the letter: a record of one run is compared with that of another.
TEST(TargetLayout, AStorageDaemonHasAnExportForEachDiskAndSlot) {
  TargetSpec spec = spec_of_kind("qemu-storage-daemon");
  const auto argv = command_line(spec);
  ASSERT_TRUE(argv) << argv.error().describe();
  EXPECT_THAT(*argv,
              ElementsAre("qemu-storage-daemon", "--blockdev",
                          "driver=file,node-name=f0,filename=/no/such.raw,locking=off,cache.direct=off,aio=threads",
                          "--blockdev", "driver=raw,node-name=disk0,file=f0", "--export",
                          "type=vhost-user-blk,id=e0-0,node-name=disk0,writable=on,num-queues=2,addr.type=unix,"
                          "addr.path=/r/disk0@a.0",
                          "--export",
                          "type=vhost-user-blk,id=e0-1,node-name=disk0,writable=on,num-queues=2,addr.type=unix,"
                          "addr.path=/r/disk0@a.1"));
  const Layout layout = layout_of(spec);
  EXPECT_TRUE(layout.control.empty());
  ASSERT_EQ(layout.endpoints.size(), 2U);
  const Endpoint& second = layout.endpoints.at(endpoint_key("vd0", "1"));
  EXPECT_EQ(second.socket, "/r/disk0@a.1");
  EXPECT_EQ(second.type, EndpointType::block);
  EXPECT_EQ(second.listener, Listener::target);
  spec.devices.push_back({"vd1", "/no/such2.raw", 1, EndpointType::block});
  EXPECT_EQ(layout_of(spec).endpoints.at(endpoint_key("vd1", "0")).socket, "/r/disk0@a.vd1.0");
}

TEST(TargetLayout, AStorageDaemonHasDisksWithoutAnImage) {
  TargetSpec spec = spec_of_kind("qemu-storage-daemon");
  spec.devices = {{"vd0", "", 1, EndpointType::block}};
  spec.slots = {"0"};
  const auto argv = command_line(spec);
  ASSERT_TRUE(argv) << argv.error().describe();
  EXPECT_THAT(*argv, ElementsAre("qemu-storage-daemon", "--blockdev", "driver=null-co,read-zeroes=on,node-name=disk0",
                                 "--export",
                                 "type=vhost-user-blk,id=e0-0,node-name=disk0,writable=on,num-queues=1,addr.type=unix,"
                                 "addr.path=/r/disk0@a.0"));
}

TEST(TargetLayout, OptionsAndBinaryOfAStorageDaemon) {
  TargetSpec spec = spec_of_kind("qemu-storage-daemon");
  spec.binary = "/opt/qsd";
  spec.wrapper = {"nice"};
  spec.options = {{"workers", 4}, {"aio", "io_uring"}};
  const auto argv = command_line(spec);
  ASSERT_TRUE(argv);
  EXPECT_THAT((std::vector<std::string>(argv->begin(), argv->begin() + 4)),
              ElementsAre("nice", "/opt/qsd", "--object", "main-loop,id=loop0,thread-pool-max=4"));
  EXPECT_THAT((*argv)[5], HasSubstr("aio=io_uring"));
}

TEST(TargetLayout, ACommandHasOneSocketForAllSlots) {
  TargetSpec spec = spec_of_kind("command");
  spec.options["argv"] = {"serve", "--at={socket}", "{image}"};
  EXPECT_EQ(program_of(spec), "serve");
  const Layout layout = layout_of(spec);
  EXPECT_THAT(layout.argv, ElementsAre("serve", "--at=/r/disk0@a.sock", "/no/such.raw"));
  EXPECT_EQ(layout.endpoints.at(endpoint_key("vd0", "0")).socket, layout.endpoints.at(endpoint_key("vd0", "1")).socket);
}

// Any backend: what it serves is for the device to say.
TEST(TargetLayout, ACommandServesANetworkAsWell) {
  TargetSpec spec = spec_of_kind("command");
  spec.options["argv"] = {"testpmd", "iface={socket}"};
  spec.devices = {{"n0", "", 1, EndpointType::net}};
  EXPECT_EQ(layout_of(spec).endpoints.at(endpoint_key("n0", "0")).type, EndpointType::net);
}

TEST(TargetLayout, WhatAKindCannotServeIsBadInput) {
  TargetSpec spec = spec_of_kind("qemu-storage-daemon");
  spec.devices.front().type = EndpointType::fs;
  EXPECT_THAT(refused(spec), HasSubstr("kind \"qemu-storage-daemon\" has no fs endpoint for device 'vd0'"));
  spec.devices.clear();
  EXPECT_THAT(refused(spec), HasSubstr("no device to serve"));
  spec = spec_of_kind("qemu-storage-daemon");
  spec.slots.clear();
  EXPECT_THAT(refused(spec), HasSubstr("no slot"));
  spec = spec_of_kind("qemu-storage-daemon");
  spec.options["aoi"] = "threads";
  EXPECT_THAT(refused(spec), HasSubstr("did you mean 'aio'"));
  spec = spec_of_kind("command");
  spec.options["argv"] = {"serve", "{socket}"};
  spec.devices.push_back({"vd1", "/no/such2.raw", 1, EndpointType::block});
  EXPECT_THAT(refused(spec), HasSubstr("kind \"command\" serves 1 device, and not 2"));
}

}  // namespace
}  // namespace migsoak::target
