#include "engine/verification.h"

#include <fmt/format.h>

#include "base/text.h"
#include "hypervisor/device_type.h"

namespace migsoak::engine {

namespace kind = record::event_kind;

namespace {

// Of a disk as the guest sees it. `serial` decides behind a controller of several disks.
std::string device_of_disk(const hypervisor::DeviceSet& devices, const std::string& pci_address,
                           const std::string& serial) {
  for (const hypervisor::DeviceSpec& device : devices) {
    if (device.id == serial) return device.id;
  }
  for (const hypervisor::DeviceSpec& device : devices) {
    if (pci_address == hypervisor::pci_address(devices, device)) return device.id;
  }
  return base::printable(pci_address, 40);
}

}  // namespace

base::Result<void> Verification::begin() {
  if (!wanted()) return {};
  const GuestScenario& guest = lineage_.context().scenario.guest;
  return lineage_.channel().begin_verify(guest.ram_verify_bytes, guest.disk_verify_bytes);
}

StepOutcome Verification::finish() {
  if (!wanted()) return StepResult::ok;
  const auto deadline = base::Deadline::in(std::chrono::seconds(lineage_.context().scenario.deadline.answer_s));
  const auto report = lineage_.channel().finish_verify(deadline);
  if (!report) return Trouble{"guest", 0, report.error(), "verification by the guest"};
  record(*report);
  reads_.done("verification");
  if (report->ram.verified_bytes == 0 && lineage_.context().scenario.guest.ram_verify_bytes > 0) {
    reads_.failed("verification", "guest", 0, "none of its RAM was verified");
  }
  return StepResult::ok;
}

StepOutcome Verification::begin_and_finish() {
  if (const auto sent = begin(); !sent) {
    return Trouble{"guest", 0, sent.error(), "sending the verification command", /*explained_by_ends=*/false};
  }
  return finish();
}

void Verification::record(const guest::VerifyReport& report) {
  journal_.sample("guest", 0, "ram_verified_bytes", static_cast<double>(report.ram.verified_bytes));
  journal_.sample("guest", 0, "verify_ms", report.guest_ms);
  if (!report.ram.good()) {
    journal_.event(kind::kGuestCorruption, "guest")
        .text(fmt::format("guest RAM differs: {} stale, {} misplaced, {} garbage pages of {} MiB",
                          report.ram.pages_stale, report.ram.pages_misplaced, report.ram.pages_garbage,
                          report.ram.verified_bytes >> 20))
        .detail({{"pages_bad", report.ram.pages_stale + report.ram.pages_misplaced + report.ram.pages_garbage},
                 {"pages_stale", report.ram.pages_stale},
                 {"pages_misplaced", report.ram.pages_misplaced},
                 {"pages_garbage", report.ram.pages_garbage},
                 {"first", report.ram.first}});
  }
  for (const guest::DiskReport& disk : report.disks) {
    const std::string subject = "guest:disk:" + device_of_disk(lineage_.devices(), disk.pci_address, disk.id);
    journal_.sample(subject, 0, "verified_bytes", static_cast<double>(disk.verified_bytes));
    journal_.sample(subject, 0, "written_bytes", static_cast<double>(disk.written_bytes));
    record_disk(disk);
  }
}

void Verification::record_disk(const guest::DiskReport& disk) {
  if (disk.good()) return;
  const std::string device = device_of_disk(lineage_.devices(), disk.pci_address, disk.id);
  const std::string subject = "guest:disk:" + device;
  restarts_.note_disk(device, disk.io_errors, disk.hangs);
  auto event = journal_.event(kind::kDiskCorruption, subject);
  event
      .text(fmt::format("blocks of {}: {} lost, {} stale, {} torn, {} misplaced, {} garbage, {} I/O errors", subject,
                        disk.lost, disk.stale, disk.torn, disk.misplaced, disk.garbage, disk.io_errors) +
            (disk.hangs ? "; a request was never answered" : ""))
      .detail({{"lost", disk.lost},
               {"stale", disk.stale},
               {"torn", disk.torn},
               {"misplaced", disk.misplaced},
               {"garbage", disk.garbage},
               {"io_errors", disk.io_errors},
               {"first", disk.first}});
  if (disk.hangs) event.detail("hangs", true);
  if (disk.gone) event.detail("gone", true);
}

}  // namespace migsoak::engine
