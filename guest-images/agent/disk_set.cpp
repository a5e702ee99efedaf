#include "disk_set.h"

#include <algorithm>

#include "boot.h"
#include "clock.h"
#include "json_text.h"
#include "kernel_events.h"

namespace migsoak::agent {

namespace {

constexpr std::uint64_t kBootAreaBytes = 32u << 20;
constexpr std::uint64_t kAdoptedAreaBytes = 4u << 20;
constexpr std::uint64_t kAreaBytesMax = 256u << 20;
constexpr std::size_t kContentsKept = 64;
constexpr std::int64_t kDiskPollNs = 10'000'000;
constexpr std::int64_t kEndNs = 1'000'000'000;

// Every part of the identity that is given has to match, and one has to be given.
bool names_device(const Arguments& arguments, const BlockDevice& device) {
  bool any = false;
  const auto matches = [&](const char* key, const std::string& value) {
    const std::string wanted = text_argument(arguments, key);
    any = any || !wanted.empty();
    return wanted.empty() || wanted == value;
  };
  return matches("pci_address", device.pci_address) && matches("scsi", device.scsi) &&
         matches("serial", device.serial) && any;
}

// The kernel shows a disk in sysfs a moment before it can be opened (block/genhd.c, device_add_disk), and sends its
// event after that.
bool find_device(const Arguments& arguments, std::int64_t until_ns, BlockDevice& found) {
  for (;;) {
    const std::uint64_t events = kernel_events();
    for (const BlockDevice& device : list_block_devices()) {
      if (device.size_bytes == 0 || !names_device(arguments, device) || is_coming_up(device)) continue;
      found = device;
      return true;
    }
    const std::int64_t now_ns = monotonic_ns();
    if (now_ns >= until_ns) return false;
    wait_kernel_event(events, std::min(until_ns, now_ns + kDiskPollNs));
  }
}

}  // namespace

void DiskSet::start(const DiskLoad& load, std::int64_t until_ns) {
  load_ = load;
  if (!took_boot_disks_) {
    took_boot_disks_ = true;
    for (const BlockDevice& device : list_block_devices()) {
      const auto adopted = [&](const auto& disk) { return disk->device().diskseq == device.diskseq; };
      // A SCSI disk is found some time after its controller: whether it is there yet would be a matter of chance.
      if (!device.scsi.empty() || std::any_of(disks_.begin(), disks_.end(), adopted)) continue;
      disks_.push_back(std::make_unique<DiskWorkload>(device, device.serial, kBootAreaBytes, nullptr));
    }
  }
  for (const auto& disk : disks_) disk->begin_initialise(load.seed);
  for (const auto& disk : disks_) {
    if (!disk->wait_idle(until_ns)) say("disk %s does not answer", disk->id().c_str());
    disk->set_load(load.bytes_per_s, load.queue_depth);
  }
}

void DiskSet::stop_writers() {
  load_.bytes_per_s = 0;
  for (const auto& disk : disks_) disk->set_load(0, 1);
}

void DiskSet::begin_verify(std::uint64_t bytes_min) {
  drop_gone();
  for (const auto& disk : disks_) {
    if (disk->initialised()) disk->begin_verify(bytes_min);
  }
}

std::string DiskSet::finish_verify(std::int64_t until_ns) {
  JsonArray reports;
  for (const auto& disk : disks_) {
    disk->wait_idle(until_ns);
    reports.raw(disk->report());
  }
  drop_gone();
  return reports.str();
}

std::string DiskSet::settle(const Arguments& arguments) {
  const std::string wanted = text_argument(arguments, "pci_addresses");
  const std::int64_t until_ns = monotonic_ns() + milliseconds_argument(arguments, "timeout_ms", 5'000);
  std::uint64_t held = 0;
  bool idle = true;
  for (const auto& disk : disks_) {
    if (wanted.find(disk->device().pci_address) == std::string::npos) continue;
    idle = disk->hold(until_ns) && idle;
    ++held;
  }
  return JsonObject().boolean("ok", true).number("held", held).boolean("idle", idle).str();
}

std::string DiskSet::in_flight(const Arguments& arguments) const {
  const std::string wanted = text_argument(arguments, "pci_addresses");
  std::uint64_t count = 0;
  for (const auto& disk : disks_) {
    if (wanted.find(disk->device().pci_address) != std::string::npos) count += disk->in_flight();
  }
  return JsonObject().boolean("ok", true).number("in_flight", count).str();
}

DiskWorkload* DiskSet::find(const Arguments& arguments) {
  const std::string id = text_argument(arguments, "id");
  for (const auto& disk : disks_) {
    if (id.empty() ? names_device(arguments, disk->device()) : disk->id() == id) return disk.get();
  }
  return nullptr;
}

std::unique_ptr<DiskArea> DiskSet::take_kept(const std::string& id, const BlockDevice& device) {
  const auto it = std::find_if(kept_.begin(), kept_.end(), [&](const auto& entry) { return entry.first == id; });
  if (it == kept_.end() || it->second->bytes() > device.size_bytes) return nullptr;
  std::unique_ptr<DiskArea> area = std::move(it->second);
  kept_.erase(it);
  return area;
}

std::string DiskSet::adopt(const Arguments& arguments) {
  const std::int64_t start_ns = monotonic_ns();
  const std::int64_t until_ns = start_ns + milliseconds_argument(arguments, "timeout_ms", 10'000);
  const std::string content = text_argument(arguments, "content", "auto");
  if (content != "auto" && content != "fresh" && content != "kept") return refuse("content is auto, fresh or kept");
  BlockDevice device;
  if (!find_device(arguments, until_ns, device)) return refuse("no such disk");
  drop_gone();
  const std::string id = text_argument(arguments, "id", device.serial.c_str());
  for (const auto& disk : disks_) {
    if (disk->device().diskseq == device.diskseq) return refuse("the disk is in use already, as " + disk->id());
    if (disk->id() == id) return refuse("another disk has that id");
  }
  std::unique_ptr<DiskArea> kept = take_kept(id, device);
  if (kept == nullptr && content == "kept") return refuse("nothing is known of an earlier content");
  if (content == "fresh") kept.reset();
  const bool is_kept = kept != nullptr;
  const std::uint64_t area_bytes = std::min(number_argument(arguments, "area_bytes", kAdoptedAreaBytes), kAreaBytesMax);
  DiskWorkload& disk = *disks_.emplace_back(std::make_unique<DiskWorkload>(device, id, area_bytes, std::move(kept)));
  if (is_kept) {
    disk.continue_with(load_.seed);
    disk.begin_verify(disk.area_bytes());
  } else {
    disk.begin_initialise(load_.seed);
  }
  disk.wait_idle(until_ns);
  const std::string report = disk.report();
  disk.set_load(load_.bytes_per_s, load_.queue_depth);
  return JsonObject()
      .boolean("ok", true)
      .text("name", device.name)
      .text("serial", device.serial)
      .number("size_bytes", device.size_bytes)
      .number("area_bytes", disk.area_bytes())
      .text("content", is_kept ? "kept" : "fresh")
      .raw("report", report)
      .milliseconds("guest_ms", monotonic_ns() - start_ns)
      .str();
}

std::string DiskSet::release(const Arguments& arguments) {
  const std::int64_t start_ns = monotonic_ns();
  const std::int64_t until_ns = start_ns + milliseconds_argument(arguments, "timeout_ms", 10'000);
  DiskWorkload* disk = find(arguments);
  if (disk == nullptr) return refuse("no such disk in use");
  disk->set_load(0, 1);
  disk->begin_verify(number_argument(arguments, "disk_bytes_min", disk->area_bytes()));
  disk->wait_idle(until_ns);
  const std::string report = disk->report();
  const bool released = let_go(disk, std::max(until_ns, monotonic_ns() + kDiskPollNs));
  return JsonObject()
      .boolean("ok", true)
      .boolean("released", released)
      .raw("report", report)
      .milliseconds("guest_ms", monotonic_ns() - start_ns)
      .str();
}

std::string DiskSet::expect_removal(const Arguments& arguments) {
  DiskWorkload* disk = find(arguments);
  if (disk == nullptr) return refuse("no such disk in use");
  disk->expect_removal(number_argument(arguments, "expected", 1) != 0);
  return JsonObject().boolean("ok", true).str();
}

bool DiskSet::let_go(DiskWorkload* disk, std::int64_t until_ns) {
  const auto it = std::find_if(disks_.begin(), disks_.end(), [&](const auto& known) { return known.get() == disk; });
  std::unique_ptr<DiskWorkload> own = std::move(*it);
  disks_.erase(it);
  if (!own->end(until_ns)) {
    hanging_.push_back(std::move(own));
    return false;
  }
  std::unique_ptr<DiskArea> area = own->take_area();
  if (own->initialised() && area->block_count() != 0) kept_.emplace_back(own->id(), std::move(area));
  if (kept_.size() > kContentsKept) kept_.pop_front();
  return true;
}

void DiskSet::drop_gone() {
  const std::int64_t until_ns = monotonic_ns() + kEndNs;
  for (std::size_t i = 0; i < disks_.size();) {
    DiskWorkload* disk = disks_[i].get();
    if (!disk->removal_expected() || !disk->gone()) {
      ++i;
    } else {
      let_go(disk, until_ns);
    }
  }
  const auto ended = [](const auto& disk) { return disk->end(0); };
  hanging_.erase(std::remove_if(hanging_.begin(), hanging_.end(), ended), hanging_.end());
}

}  // namespace migsoak::agent
