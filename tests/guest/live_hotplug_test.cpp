// The guest confirms hotplug: every kind of device, plugged into a real guest on a real QEMU, and taken out again.
#include <gmock/gmock.h>

#include <cstdio>
#include <optional>
#include <string>

#include "base/text.h"
#include "guest/disk_image.h"
#include "guest/live_guest.h"
#include "guest/plug_board.h"

namespace migsoak::guest {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using namespace std::chrono_literals;
using What = AwaitSpec::What;

constexpr std::uint64_t kMegabyte = 1 << 20;

class LiveHotplugTest : public ::testing::TestWithParam<const char*> {
 protected:
  void boot() {
    guest_ = std::make_unique<LiveGuest>(std::vector<LiveDisk>{}, PlugBoard::machine(GetParam()));
    const auto hello = guest_->boot();
    ASSERT_TRUE(hello) << hello.error().describe() << "\n" << base::join(guest_->console().last_lines(), "\n");
    board_.emplace(*guest_, GetParam());
    WorkloadSpec spec;
    spec.ram_bytes = 8 * kMegabyte;
    ASSERT_TRUE(channel().start_workload(spec, patient()));
  }
  GuestChannel& channel() { return guest_->channel(); }
  // Waits for the guest and says how long it took; a guest that does not confirm fails the test.
  void expect_await(const std::string& what, AwaitSpec spec) {
    spec.timeout_ms = 15'000;
    const auto report = channel().await_device(spec, patient());
    ASSERT_TRUE(report) << what << ": " << report.error().describe();
    EXPECT_TRUE(report->holds) << what << ": the guest sees " << report->seen;
    std::printf("  %-4s %-18s %-8s %8.1f ms  (%s)\n", GetParam(), what.c_str(), spec.present ? "present" : "absent",
                report->waited_ms, report->seen.c_str());
  }
  void expect_plugged(const std::string& driver, const std::string& address) {
    AwaitSpec spec;
    spec.pci_address = address;
    expect_await(driver, spec);
  }
  void expect_unplugged(const std::string& id, const std::string& address) {
    const auto began = base::Clock::now();
    ASSERT_TRUE(board_->unplug(id)) << id;
    std::printf("  %-4s %-18s deleted  %8.1f ms\n", GetParam(), id.c_str(),
                base::milliseconds_between(began, base::Clock::now()));
    AwaitSpec spec;
    spec.pci_address = address;
    spec.present = false;
    expect_await(id, spec);
  }
  VerifyReport verify(std::uint64_t disk_bytes_min = 64 * kMegabyte) {
    const auto report = channel().verify(8 * kMegabyte, disk_bytes_min, patient());
    EXPECT_TRUE(report) << report.error().describe();
    return report ? *report : VerifyReport{};
  }
  std::string plug_disk(const std::string& id, int place, const std::string& node) {
    return board_->plug_pci("virtio-blk-pci", id, place,
                            {{"drive", node}, {"serial", id}, {"werror", "report"}, {"rerror", "report"}});
  }
  AdoptReport adopt(const DiskIdentity& disk, DiskContent content = DiskContent::automatic) {
    const auto report = channel().adopt_disk(disk, patient(), content);
    EXPECT_TRUE(report) << report.error().describe();
    return report ? *report : AdoptReport{};
  }
  ReleaseReport release(const DiskIdentity& disk) {
    const auto report = channel().release_disk(disk, patient());
    EXPECT_TRUE(report) << report.error().describe();
    return report ? *report : ReleaseReport{};
  }
  Inventory inventory() {
    const auto found = channel().inventory(patient());
    EXPECT_TRUE(found) << found.error().describe();
    return found ? *found : Inventory{};
  }

  std::unique_ptr<LiveGuest> guest_;
  std::optional<PlugBoard> board_;
};

INSTANTIATE_TEST_SUITE_P(Machines, LiveHotplugTest, ::testing::Values("pc", "q35"),
                         [](const auto& parameter) { return std::string(parameter.param); });

DiskIdentity by_address(const std::string& id, const std::string& address) {
  return {id, address, "", ""};
}

// What the test below plugs, as the guest lists it.
void expect_all_listed(const Inventory& full, const std::string& blk, const std::string& scsi,
                       const std::string& serial) {
  ASSERT_THAT(full.disks, SizeIs(2));
  EXPECT_EQ(full.disks[0].serial, "sd-serial");
  EXPECT_EQ(full.disks[0].pci_address, scsi);
  EXPECT_EQ(full.disks[1].pci_address, blk);
  EXPECT_EQ(full.disks[1].size_bytes, 16 * kMegabyte);
  ASSERT_THAT(full.interfaces, SizeIs(1));
  EXPECT_EQ(full.interfaces[0].mac, "52:54:00:00:00:01");
  EXPECT_TRUE(full.interfaces[0].up);
  ASSERT_THAT(full.ports, SizeIs(1));
  EXPECT_EQ(full.ports[0].pci_address, serial);
  EXPECT_EQ(full.rngs, 1u);
}

TEST_P(LiveHotplugTest, VirtioDevicesComeToLifeAndGo) {
  boot();
  const Inventory before = inventory();
  board_->execute("object-add", {{"qom-type", "rng-builtin"}, {"id", "entropy"}});
  board_->execute("netdev_add", {{"type", "user"}, {"id", "net"}});
  board_->execute("chardev-add", {{"id", "null"}, {"backend", {{"type", "null"}, {"data", base::Json::object()}}}});
  const std::string blk = plug_disk("blk", 0, board_->add_disk_file("one", 16 * kMegabyte));
  expect_plugged("virtio-blk", blk);
  const std::string net =
      board_->plug_pci("virtio-net-pci", "nic", 1, {{"netdev", "net"}, {"mac", "52:54:00:00:00:01"}});
  expect_plugged("virtio-net", net);
  const std::string rng = board_->plug_pci("virtio-rng-pci", "rng", 2, {{"rng", "entropy"}});
  expect_plugged("virtio-rng", rng);
  const std::string balloon = board_->plug_pci("virtio-balloon-pci", "balloon", 3, base::Json::object());
  expect_plugged("virtio-balloon", balloon);
  const std::string scsi = board_->plug_pci("virtio-scsi-pci", "scsi", 4, base::Json::object());
  expect_plugged("virtio-scsi", scsi);
  const std::string serial = board_->plug_pci("virtio-serial-pci", "serial", 5, base::Json::object());
  expect_plugged("virtio-serial", serial);

  board_->plug("scsi-hd", "disk",
               {{"bus", "scsi.0"},
                {"scsi-id", 3},
                {"lun", 1},
                {"drive", board_->add_disk_file("two", 16 * kMegabyte)},
                {"serial", "sd-serial"}});
  AwaitSpec disk;
  disk.what = What::scsi;
  disk.scsi = "0:3:1";
  expect_await("scsi-hd", disk);
  board_->plug("virtserialport", "port", {{"bus", "serial.0"}, {"chardev", "null"}, {"name", "org.migsoak.port"}});
  AwaitSpec port;
  port.what = What::port;
  port.port = "org.migsoak.port";
  expect_await("virtserialport", port);

  const Inventory full = inventory();
  std::printf("  %-4s inventory: %.1f ms in the guest\n", GetParam(), full.guest_ms);
  EXPECT_EQ(full.pci.size(), before.pci.size() + 6);
  expect_all_listed(full, blk, scsi, serial);

  std::vector<std::string> used;
  for (const DeviceUse& it : verify().devices) used.push_back(it.kind + " " + it.result);
  EXPECT_THAT(used, ElementsAre("net ok", "rng ok", "port ok"));

  ASSERT_TRUE(board_->unplug("port"));
  port.present = false;
  expect_await("virtserialport", port);
  ASSERT_TRUE(board_->unplug("disk"));
  disk.present = false;
  expect_await("scsi-hd", disk);
  expect_unplugged("blk", blk);
  expect_unplugged("nic", net);
  expect_unplugged("rng", rng);
  expect_unplugged("balloon", balloon);
  expect_unplugged("scsi", scsi);
  expect_unplugged("serial", serial);
  EXPECT_EQ(inventory().digest, before.digest) << "nothing is left of it";
  EXPECT_THAT(verify().devices, IsEmpty());
  EXPECT_THAT(guest_->console().take_alarm_lines(), IsEmpty());
  EXPECT_THAT(channel().take_protocol_errors(), IsEmpty());
}

TEST_P(LiveHotplugTest, MemoryAndCpusComeAndGo) {
  boot();
  board_->execute("object-add", {{"qom-type", "memory-backend-ram"}, {"id", "ram1"}, {"size", 128 * kMegabyte}});
  board_->plug("pc-dimm", "dimm", {{"memdev", "ram1"}});
  AwaitSpec memory;
  memory.what = What::memory;
  memory.count = 128 * kMegabyte;
  expect_await("pc-dimm", memory);
  EXPECT_EQ(inventory().memory_hotplugged_bytes, 128 * kMegabyte);
  ASSERT_TRUE(board_->unplug("dimm"));
  memory.count = 0;
  memory.present = false;
  expect_await("pc-dimm", memory);

  board_->plug_cpu("cpu1");
  AwaitSpec cpu;
  cpu.what = What::cpu;
  cpu.count = 2;
  expect_await("cpu", cpu);
  ASSERT_TRUE(board_->unplug("cpu1"));
  cpu.count = 1;
  cpu.present = false;
  expect_await("cpu", cpu);
  EXPECT_TRUE(verify().ram.good());
}

TEST_P(LiveHotplugTest, AnAdoptedDiskIsVerifiedAndItsContentSurvivesBeingAway) {
  boot();
  const std::string node = board_->add_disk_file("one", 8 * kMegabyte);
  const DiskImage image(guest_->path("one"));
  std::string address = plug_disk("vd1", 0, node);
  const AdoptReport adopted = adopt(by_address("data", address));
  EXPECT_FALSE(adopted.content_kept);
  EXPECT_EQ(adopted.area_bytes, 4 * kMegabyte);
  EXPECT_TRUE(adopted.disk.good()) << adopted.disk.first;
  EXPECT_FALSE(channel().adopt_disk(by_address("other", address), patient())) << "it is in use";

  const VerifyReport report = verify();
  ASSERT_THAT(report.disks, SizeIs(1));
  EXPECT_EQ(report.disks[0].id, "data");
  EXPECT_EQ(report.disks[0].verified_bytes, 4 * kMegabyte);
  EXPECT_TRUE(report.disks[0].good()) << report.disks[0].first;

  ReleaseReport released = release({"data", "", "", ""});
  EXPECT_TRUE(released.released);
  EXPECT_TRUE(released.disk.good()) << released.disk.first;
  EXPECT_EQ(released.disk.verified_bytes, 4 * kMegabyte);
  std::printf("  %-4s adopt %.1f ms, release %.1f ms (4 MiB, in the guest)\n", GetParam(), adopted.guest_ms,
              released.guest_ms);
  EXPECT_THAT(verify().disks, IsEmpty());
  expect_unplugged("vd1", address);

  // Back at another place, whole.
  address = plug_disk("vd1", 2, node);
  const AdoptReport back = adopt(by_address("data", address), DiskContent::kept);
  EXPECT_TRUE(back.content_kept);
  EXPECT_TRUE(back.disk.good()) << back.disk.first;
  EXPECT_EQ(back.disk.verified_bytes, 4 * kMegabyte);
  EXPECT_TRUE(verify().disks.at(0).good());
  EXPECT_TRUE(release({"data", "", "", ""}).released);
  expect_unplugged("vd1", address);

  // Back again, and one block of it is not what it was.
  image.write(37 * kBlock, std::string(512, 'x'));
  address = plug_disk("vd1", 2, node);
  const AdoptReport damaged = adopt(by_address("data", address));
  EXPECT_TRUE(damaged.content_kept);
  EXPECT_EQ(damaged.disk.garbage, 1u);
  EXPECT_EQ(damaged.disk.first["block"], 37);
  EXPECT_FALSE(channel().adopt_disk(by_address("nobody", address), patient(), DiskContent::kept));
}

TEST_P(LiveHotplugTest, OnlyAnAnnouncedRemovalUnderIoIsNoFault) {
  boot();
  const std::string announced = plug_disk("vd1", 0, board_->add_disk_file("one", 8 * kMegabyte));
  const std::string surprise = plug_disk("vd2", 1, board_->add_disk_file("two", 8 * kMegabyte));
  adopt(by_address("announced", announced));
  adopt(by_address("surprise", surprise));
  EXPECT_THAT(verify().disks, SizeIs(2));
  ASSERT_TRUE(channel().expect_removal({"announced", "", "", ""}, patient()));
  expect_unplugged("vd1", announced);
  expect_unplugged("vd2", surprise);
  std::vector<DiskReport> disks = verify().disks;
  ASSERT_THAT(disks, SizeIs(1)) << "the announced one is dropped, without a word";
  EXPECT_EQ(disks[0].id, "surprise");
  EXPECT_TRUE(disks[0].gone);
  EXPECT_GT(disks[0].io_errors, 0u);
  EXPECT_FALSE(disks[0].good());
  EXPECT_EQ(disks[0].lost + disks[0].stale + disks[0].torn + disks[0].misplaced + disks[0].garbage, 0u);
  EXPECT_TRUE(release({"surprise", "", "", ""}).released);
  EXPECT_THAT(verify().disks, IsEmpty());

  // What was on it when it went away under I/O is still there, save what was being written.
  const std::string again = plug_disk("vd3", 2, "one");
  const AdoptReport back = adopt(by_address("announced", again), DiskContent::kept);
  EXPECT_TRUE(back.disk.good()) << back.disk.first;
  EXPECT_GE(back.disk.verified_bytes, 3 * kMegabyte);
  ASSERT_TRUE(channel().expect_removal({"announced", "", "", ""}, patient()));
  ASSERT_TRUE(channel().expect_removal({"announced", "", "", ""}, patient(), false)) << "and taken back";
  expect_unplugged("vd3", again);
  disks = verify().disks;
  ASSERT_THAT(disks, SizeIs(1));
  EXPECT_FALSE(disks[0].good());
}

TEST_P(LiveHotplugTest, PluggedDevicesAndWaitingGoOnThroughAMigration) {
  boot();
  board_->execute("object-add", {{"qom-type", "rng-builtin"}, {"id", "entropy"}});
  const std::string blk = plug_disk("vd1", 0, board_->add_disk_file("one", 8 * kMegabyte));
  const std::string rng = board_->plug_pci("virtio-rng-pci", "rng", 1, {{"rng", "entropy"}});
  adopt(by_address("data", blk));
  expect_plugged("virtio-rng", rng);
  AwaitSpec gone;
  gone.pci_address = blk;
  gone.present = false;
  gone.timeout_ms = 30'000;
  const auto waiting = channel().begin_await(gone);
  ASSERT_TRUE(waiting);

  guest_->add_arguments(
      {"-object", "rng-builtin,id=entropy", "-device", "virtio-rng-pci,id=rng,rng=entropy," + board_->place_text(1),
       "-blockdev", "driver=file,node-name=one,locking=off,filename=" + guest_->path("one"), "-device",
       "virtio-blk-pci,id=vd1,serial=vd1,drive=one,werror=report,rerror=report," + board_->place_text(0)});
  const auto migrated = guest_->migrate();
  ASSERT_TRUE(migrated) << migrated.error().describe();
  board_.emplace(*guest_, GetParam());
  const VerifyReport report = verify();
  ASSERT_THAT(report.disks, SizeIs(1));
  EXPECT_TRUE(report.disks[0].good()) << report.disks[0].first;
  ASSERT_THAT(report.devices, SizeIs(1));
  EXPECT_TRUE(report.devices[0].good()) << report.devices[0].result;
  EXPECT_FALSE(channel().answered(*waiting));
  EXPECT_TRUE(release({"data", "", "", ""}).disk.good());
  EXPECT_TRUE(board_->unplug("vd1"));
  const auto answer = channel().finish_await(*waiting, patient());
  ASSERT_TRUE(answer) << answer.error().describe();
  EXPECT_TRUE(answer->holds);
  expect_unplugged("rng", rng);
}

TEST_P(LiveHotplugTest, WaitingIsBoundedAndBesideEverythingElse) {
  boot();
  AwaitSpec never;
  never.pci_address = "0000:00:1e.0";
  never.timeout_ms = 1500;
  const auto pending = channel().begin_await(never);
  ASSERT_TRUE(pending);
  EXPECT_TRUE(verify().ram.good());
  EXPECT_FALSE(channel().answered(*pending)) << "a verification did not wait for it";
  auto report = channel().finish_await(*pending, patient());
  ASSERT_TRUE(report) << report.error().describe();
  EXPECT_FALSE(report->holds);
  EXPECT_EQ(report->seen, "nothing");
  EXPECT_GE(report->waited_ms, 1500);

  // A function without a driver is there, but can't be used.
  const std::string bare = board_->plug_pci("edu", "edu", 0, base::Json::object());
  AwaitSpec spec;
  spec.pci_address = bare;
  spec.timeout_ms = 1000;
  report = channel().await_device(spec, patient());
  ASSERT_TRUE(report);
  EXPECT_FALSE(report->holds);
  EXPECT_THAT(report->seen, HasSubstr("without a driver"));
  spec.needs_driver = false;
  report = channel().await_device(spec, patient());
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->holds);
  spec.present = false;
  report = channel().await_device(spec, patient());
  ASSERT_TRUE(report);
  EXPECT_FALSE(report->holds) << "it is not absent";

  AwaitSpec nonsense;  // no address
  EXPECT_FALSE(channel().await_device(nonsense, patient()));
  EXPECT_FALSE(channel().adopt_disk(by_address("x", "0000:00:1e.0"), base::Deadline::in(2s)));
  EXPECT_FALSE(channel().adopt_disk({"", "", "", ""}, patient()));
  EXPECT_FALSE(channel().release_disk({"x", "", "", ""}, patient()));
}

TEST_P(LiveHotplugTest, ConfigSpaceIsDigestedAndReadWhereItChanged) {
  boot();
  const auto before = channel().pci_config_digest(patient());
  ASSERT_TRUE(before) << before.error().describe();
  const Inventory inventory_before = inventory();
  const auto same = channel().inventory(patient(), "", inventory_before.digest);
  ASSERT_TRUE(same);
  EXPECT_TRUE(same->same);
  EXPECT_THAT(same->pci, IsEmpty());

  const std::string address = plug_disk("vd1", 0, board_->add_disk_file("one", 8 * kMegabyte));
  expect_plugged("virtio-blk", address);
  const auto after = channel().pci_config_digest(patient());
  ASSERT_TRUE(after);
  EXPECT_EQ(after->count(address), 1u);
  EXPECT_EQ(after->size(), before->size() + 1);
  const auto again = channel().pci_config_digest(patient());
  ASSERT_TRUE(again);
  EXPECT_EQ(*again, *after) << "reading changes nothing";

  const auto bytes = channel().pci_config(patient(), {address}, 64);
  ASSERT_TRUE(bytes) << bytes.error().describe();
  ASSERT_THAT(*bytes, SizeIs(1));
  EXPECT_EQ(bytes->at(address).size(), 2 * 64u);
  EXPECT_EQ(bytes->at(address).substr(0, 4), "f41a");
  const auto changed = channel().inventory(patient(), "pci", inventory_before.digest);
  ASSERT_TRUE(changed);
  EXPECT_FALSE(changed->same);
  EXPECT_THAT(changed->disks, IsEmpty()) << "not asked for";
}

}  // namespace
}  // namespace migsoak::guest
