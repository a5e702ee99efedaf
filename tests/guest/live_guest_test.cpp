// The real agent in a real guest on a real QEMU: every damage the protocol tells apart is done and must be told.
#include "guest/live_guest.h"

#include <gmock/gmock.h>

#include <map>
#include <string>

#include "base/text.h"
#include "guest/disk_image.h"

namespace migsoak::guest {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using namespace std::chrono_literals;

constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint64_t kAll = 64 * kMiB;

class LiveGuestTest : public ::testing::Test {
 protected:
  void boot(std::vector<LiveDisk> disks) {
    guest_ = std::make_unique<LiveGuest>(std::move(disks));
    const auto hello = guest_->boot();
    ASSERT_TRUE(hello) << hello.error().describe() << "\n" << base::join(guest_->console().last_lines(), "\n");
    hello_ = *hello;
  }
  void start_workload(std::uint64_t disk_bytes_per_s) {
    WorkloadSpec spec;
    spec.ram_bytes = 8 * kMiB;
    spec.disk_bytes_per_s = disk_bytes_per_s;
    spec.disk_queue_depth = 2;
    const auto started = guest_->channel().start_workload(spec, patient());
    ASSERT_TRUE(started) << started.error().describe();
  }
  VerifyReport verify(std::uint64_t disk_bytes_min = kAll) {
    const auto report = guest_->channel().verify(8 * kMiB, disk_bytes_min, patient());
    EXPECT_TRUE(report) << report.error().describe();
    return report ? *report : VerifyReport{};
  }
  // Lets the writers run until so many bytes have been written to the first disk, then stops them.
  void write_burst(std::uint64_t bytes) {
    start_workload(32 * kMiB);
    const base::Deadline deadline = base::Deadline::in(std::chrono::seconds(80));
    for (std::uint64_t written = 0; written < bytes && !HasFailure();) {
      ASSERT_FALSE(deadline.passed()) << written << " of " << bytes << " bytes were written; the guest:\n"
                                      << base::join(guest_->console().last_lines(), "\n");
      // A verification holds the writers: one after the other, they might never come to write.
      ASSERT_TRUE(guest_->channel().wait_next_heartbeat(patient()));
      const VerifyReport report = verify(0);
      ASSERT_THAT(report.disks, ::testing::Not(IsEmpty()));
      written += report.disks[0].written_bytes;
    }
    start_workload(0);
    const VerifyReport settled = verify(0);
    EXPECT_TRUE(settled.ram.good() && settled.disks.at(0).good());
  }
  base::Json command(const std::string& name, const base::Json& arguments) {
    const auto answer = guest_->channel().command(name, arguments, patient());
    EXPECT_TRUE(answer) << answer.error().describe();
    return answer ? *answer : base::Json();
  }
  DiskImage image(std::size_t disk) const { return DiskImage(guest_->disk_path(disk)); }

  std::unique_ptr<LiveGuest> guest_;
  Hello hello_;
};

// One boot for all that a healthy guest does: a boot is the expensive part.
TEST_F(LiveGuestTest, BootsBeatsAndVerifies) {
  boot({{"vd0", 40 * kMiB}, {"vd1", 4 * kMiB}});
  EXPECT_THAT(hello_.disks, ElementsAre("vd0", "vd1"));
  EXPECT_THAT(hello_.kernel, HasSubstr("cloud-amd64"));
  EXPECT_GT(hello_.boot_ms, 0);
  start_workload(4 * kMiB);
  const auto first = guest_->channel().wait_next_heartbeat(patient());
  const auto second = guest_->channel().wait_next_heartbeat(patient());
  ASSERT_TRUE(first && second);
  EXPECT_GT(second->sequence, first->sequence);
  EXPECT_GT(second->guest_ns, first->guest_ns);

  const VerifyReport report = verify(8 * kMiB);
  EXPECT_EQ(report.ram.verified_bytes, 8 * kMiB);
  EXPECT_TRUE(report.ram.good()) << report.ram.first;
  ASSERT_THAT(report.disks, SizeIs(2));
  EXPECT_EQ(report.disks[0].id, "vd0");
  EXPECT_EQ(report.disks[0].pci_address, "0000:00:04.0");
  EXPECT_GE(report.disks[0].verified_bytes, 8 * kMiB);
  EXPECT_EQ(report.disks[1].verified_bytes, 4 * kMiB) << "all of a disk smaller than asked for";
  for (const DiskReport& disk : report.disks) EXPECT_TRUE(disk.good()) << disk.id << disk.first;
  EXPECT_EQ(verify(kAll).disks[0].verified_bytes, 32 * kMiB) << "the area, not the disk";

  const auto configs = guest_->channel().pci_config(patient());
  ASSERT_TRUE(configs) << configs.error().describe();
  ASSERT_EQ(configs->count("0000:00:04.0"), 1u);
  EXPECT_EQ(configs->at("0000:00:04.0").substr(0, 4), "f41a");  // vendor 0x1af4, little endian

  const base::Json disks = command("disks", {});
  EXPECT_EQ(disks["disks"][1]["serial"], "vd1");
  EXPECT_EQ(disks["disks"][0]["size_bytes"], 40 * kMiB);
  EXPECT_EQ(command("no-such-command", {})["ok"], false);
  EXPECT_THAT(guest_->channel().take_protocol_errors(), IsEmpty());
  EXPECT_FALSE(guest_->console().panicked());
  EXPECT_THAT(guest_->console().take_alarm_lines(), IsEmpty());
}

TEST_F(LiveGuestTest, TellsKindsOfMemoryCorruptionApart) {
  boot({});
  start_workload(0);
  const std::map<std::string, std::array<std::uint64_t, 3>> kinds = {
      {"stale", {1, 0, 0}}, {"misplaced", {0, 1, 0}}, {"flip", {0, 0, 1}}, {"zero", {0, 0, 1}}};
  int page = 100;
  for (const auto& [how, expected] : kinds) {
    EXPECT_TRUE(verify().ram.good());
    // The dirtier may repair the page before the check comes: damage many.
    for (int i = 0; i < 20; ++i) EXPECT_EQ(command("corrupt_ram", {{"page", page++}, {"how", how}})["ok"], true);
    const RamReport ram = verify().ram;
    EXPECT_EQ(ram.pages_stale > 0, expected[0] > 0) << how;
    EXPECT_EQ(ram.pages_misplaced > 0, expected[1] > 0) << how;
    EXPECT_EQ(ram.pages_garbage > 0, expected[2] > 0) << how;
    EXPECT_TRUE(ram.first.contains("page")) << how;
  }
}

TEST_F(LiveGuestTest, TellsKindsOfDiskCorruptionApart) {
  boot({{"vd0", 4 * kMiB}, {"vd1", 4 * kMiB}});
  start_workload(0);
  ASSERT_TRUE(verify().disks.at(0).good());
  const DiskImage disk = image(0);
  const std::string older = disk.snapshot();
  write_burst(2 * kMiB);
  const std::string now = disk.snapshot();
  const std::vector<Extent> extents = extents_written(older, now);
  ASSERT_GE(extents.size(), 8u);
  const auto damage = [&](std::uint64_t offset, const std::string& bytes) { disk.write(offset, bytes); };
  const auto check = [&] {
    const VerifyReport report = verify();
    EXPECT_TRUE(report.disks.at(1).good()) << "the other disk was not touched";
    disk.write(0, now);
    return report.disks.at(0);
  };
  // A reported block is not checked again before it is written again, so each case has blocks of its own.
  damage(extents[0].first * kBlock + 1000, "rubbish");
  DiskReport report = check();
  EXPECT_EQ(report.garbage, 1u);
  EXPECT_EQ(report.lost + report.stale + report.torn + report.misplaced + report.io_errors, 0u);
  EXPECT_EQ(report.first["offset"], extents[0].first * kBlock);

  // Two blocks swapped, and one that belongs to the other disk.
  damage(extents[1].first * kBlock, block_of(now, extents[2].first));
  damage(extents[2].first * kBlock, block_of(now, extents[1].first));
  damage(extents[3].first * kBlock, block_of(image(1).snapshot(), extents[3].first));
  report = check();
  EXPECT_EQ(report.misplaced, 3u);
  EXPECT_EQ(report.lost + report.stale + report.torn + report.garbage + report.io_errors, 0u);

  // Half of a block's sectors, and half of a write's blocks.
  ASSERT_GE(extents[4].count, 2u);
  damage(extents[4].first * kBlock, block_of(older, extents[4].first).substr(0, kBlock / 2));
  damage(extents[5].first * kBlock, older.substr(extents[5].first * kBlock, extents[5].count / 2 * kBlock));
  report = check();
  EXPECT_EQ(report.torn, 1 + extents[5].count / 2);
  EXPECT_EQ(report.lost + report.stale + report.misplaced + report.garbage + report.io_errors, 0u);
}

TEST_F(LiveGuestTest, TellsALostWriteFromAStaleOne) {
  boot({{"vd0", 4 * kMiB}});
  start_workload(0);
  const DiskImage disk = image(0);
  const std::string oldest = disk.snapshot();
  write_burst(3 * kMiB);
  const std::string older = disk.snapshot();
  write_burst(kMiB);
  const std::string now = disk.snapshot();

  // Whole writes undone: what was there before them is what their blocks hold.
  std::uint64_t undone_blocks = 0;
  std::vector<Extent> twice_written;
  for (const Extent& extent : extents_written(older, now)) {
    bool twice = true;
    for (std::uint64_t i = 0; i < extent.count; ++i) {
      twice = twice && sequence_at(oldest, extent.first + i) != sequence_at(older, extent.first + i);
    }
    if (twice) {
      twice_written.push_back(extent);
    } else {
      disk.write(extent.first * kBlock, older.substr(extent.first * kBlock, extent.count * kBlock));
      undone_blocks += extent.count;
    }
  }
  ASSERT_GT(undone_blocks, 0u);
  DiskReport report = verify().disks.at(0);
  // A block that the burst wrote twice holds something older than its previous content.
  EXPECT_GT(report.lost, 0u);
  EXPECT_EQ(report.lost + report.stale, undone_blocks);
  EXPECT_GT(report.lost, report.stale);
  EXPECT_EQ(report.torn + report.misplaced + report.garbage + report.io_errors, 0u);
  disk.write(0, now);

  ASSERT_FALSE(twice_written.empty());
  std::uint64_t stale_blocks = 0;
  for (const Extent& extent : twice_written) {
    disk.write(extent.first * kBlock, oldest.substr(extent.first * kBlock, extent.count * kBlock));
    stale_blocks += extent.count;
  }
  report = verify().disks.at(0);
  EXPECT_EQ(report.stale, stale_blocks);
  EXPECT_EQ(report.lost + report.torn + report.misplaced + report.garbage + report.io_errors, 0u);
}

TEST_F(LiveGuestTest, AnIoErrorIsCountedAndTheAgentLivesOn) {
  boot({{"vd0", 4 * kMiB}, {"bad", 4 * kMiB, /*writes_fail=*/true}});
  start_workload(4 * kMiB);
  const VerifyReport report = verify();
  ASSERT_THAT(report.disks, SizeIs(2));
  EXPECT_TRUE(report.disks[0].good()) << report.disks[0].first;
  EXPECT_GT(report.disks[1].io_errors, 0u);
  EXPECT_EQ(report.disks[1].lost + report.disks[1].stale + report.disks[1].torn + report.disks[1].garbage, 0u);
  EXPECT_THAT(guest_->console().take_alarm_lines(), ::testing::Contains(HasSubstr("I/O error")));
  EXPECT_FALSE(guest_->console().panicked());
  EXPECT_EQ(command("ping", {})["ok"], true);
}

TEST_F(LiveGuestTest, ADiskThatHangsStopsNothingElse) {
  boot({{"vd0", 4 * kMiB}, {"vd1", 4 * kMiB}});
  start_workload(4 * kMiB);
  const auto throttle = [&](const std::string& bytes_per_s) {
    const auto reply =
        guest_->monitor("block_set_io_throttle /machine/peripheral/d0/virtio-backend " + bytes_per_s + " 0 0 0 0 0");
    ASSERT_TRUE(reply) << reply.error().describe();
    ASSERT_EQ(reply->find("Error"), std::string::npos) << "the monitor refused to throttle the disk";
  };
  throttle("1");  // one byte a second
  const base::Json arguments = {{"disk_bytes_min", kAll}, {"timeout_ms", 3000}};
  base::Json answer = command("verify", arguments);
  EXPECT_EQ(answer["disks"][0]["hangs"], true) << answer;
  EXPECT_GE(answer["disks"][0]["io_errors"], 1) << answer;
  EXPECT_EQ(answer["disks"][0]["verified_bytes"], 0) << answer;
  EXPECT_EQ(answer["disks"][1]["hangs"], false) << answer;
  EXPECT_EQ(answer["disks"][1]["verified_bytes"], 4 * kMiB) << answer;
  EXPECT_EQ(command("verify", arguments)["disks"][0]["hangs"], true) << "and again, for as long as it lasts";
  EXPECT_EQ(command("ping", {})["ok"], true);

  throttle("0");
  const auto recovered = [&] {
    answer = command("verify", {{"disk_bytes_min", kAll}});
    return answer["disks"][0]["hangs"] == false && answer["disks"][0]["verified_bytes"] == 4 * kMiB;
  };
  EXPECT_EQ(guest_->reactor().run_until(recovered, patient()), proc::Wait::ready) << answer;
  EXPECT_TRUE(verify().disks.at(0).good());
}

TEST_F(LiveGuestTest, AFloodIsBoundedAndAPanicIsSeen) {
  boot({});
  EXPECT_EQ(command("flood", {{"kib", 256}})["ok"], true);
  EXPECT_THAT(guest_->console().take_lines(), SizeIs(::testing::Le(200u)));
  EXPECT_GT(guest_->console().take_dropped_bytes(), 100'000u);
  for (const std::string& line : guest_->console().last_lines()) {
    EXPECT_EQ(line.find_first_of("\x1b\x01\xff"), std::string::npos);
  }
  ASSERT_FALSE(guest_->console().panicked());
  EXPECT_FALSE(guest_->channel().command("panic", {}, base::Deadline::in(3s)));
  EXPECT_EQ(guest_->reactor().run_until([&] { return guest_->console().panicked(); }, patient()), proc::Wait::ready);
  EXPECT_THAT(guest_->console().take_alarm_lines(), ::testing::Contains(HasSubstr("Kernel panic")));
}

TEST_F(LiveGuestTest, GoesOnThroughMigrations) {
  boot({{"vd0", 8 * kMiB}});
  start_workload(4 * kMiB);
  for (int i = 0; i < 8; ++i) {
    if (i % 2 == 1) {
      ASSERT_TRUE(guest_->channel().begin_verify(8 * kMiB, 4 * kMiB));  // asked on one side, answered on the other
    }
    const auto migrated = guest_->migrate();
    ASSERT_TRUE(migrated) << migrated.error().describe();
    if (i % 2 == 0) {
      ASSERT_TRUE(guest_->channel().begin_verify(8 * kMiB, 4 * kMiB));
    }
    const auto report = guest_->channel().finish_verify(patient());
    ASSERT_TRUE(report) << report.error().describe();
    EXPECT_TRUE(report->ram.good()) << report->ram.first;
    EXPECT_TRUE(report->disks.at(0).good()) << report->disks.at(0).first;
    EXPECT_GE(report->disks[0].verified_bytes, 4 * kMiB);
    EXPECT_THAT(guest_->channel().take_protocol_errors(), IsEmpty()) << "migration " << i;
    EXPECT_EQ(guest_->channel().take_gap().lost, 0u) << "migration " << i;
  }
  EXPECT_FALSE(guest_->console().panicked());
}

}  // namespace
}  // namespace migsoak::guest
