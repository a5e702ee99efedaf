// What the guest's verification of its RAM and disks becomes in the record.
#include <fmt/format.h>

#include "engine/iteration.h"

namespace migsoak::engine {

namespace kind = record::event_kind;

void IterationRunner::record_verification(const guest::VerifyReport& report) {
  sample("guest", 0, "ram_verified_bytes", static_cast<double>(report.ram.verified_bytes));
  sample("guest", 0, "verify_ms", report.guest_ms);
  if (!report.ram.good()) {
    record::Event& event = add_event(
        kind::kGuestCorruption, "guest", 0,
        fmt::format("guest RAM differs: {} stale, {} misplaced, {} garbage pages of {} MiB", report.ram.pages_stale,
                    report.ram.pages_misplaced, report.ram.pages_garbage, report.ram.verified_bytes >> 20));
    event.detail = {{"pages_bad", report.ram.pages_stale + report.ram.pages_misplaced + report.ram.pages_garbage},
                    {"pages_stale", report.ram.pages_stale},
                    {"pages_misplaced", report.ram.pages_misplaced},
                    {"pages_garbage", report.ram.pages_garbage},
                    {"first", report.ram.first}};
  }
  for (const guest::DiskReport& disk : report.disks) {
    const std::string subject = "guest:disk:" + lineage_.device_of_disk(disk.pci_address, disk.id);
    sample(subject, 0, "verified_bytes", static_cast<double>(disk.verified_bytes));
    sample(subject, 0, "written_bytes", static_cast<double>(disk.written_bytes));
    record_disk(disk);
  }
}

void IterationRunner::record_disk(const guest::DiskReport& disk) {
  if (disk.good()) return;
  const std::string device = lineage_.device_of_disk(disk.pci_address, disk.id);
  const std::string subject = "guest:disk:" + device;
  restarts_.note_disk(device, disk.io_errors, disk.hangs);
  record::Event& event =
      add_event(kind::kDiskCorruption, subject, 0,
                fmt::format("blocks of {}: {} lost, {} stale, {} torn, {} misplaced, {} garbage, {} I/O errors",
                            subject, disk.lost, disk.stale, disk.torn, disk.misplaced, disk.garbage, disk.io_errors) +
                    (disk.hangs ? "; a request was never answered" : ""));
  event.detail = {{"lost", disk.lost},           {"stale", disk.stale},     {"torn", disk.torn},
                  {"misplaced", disk.misplaced}, {"garbage", disk.garbage}, {"io_errors", disk.io_errors},
                  {"first", disk.first}};
  if (disk.hangs) event.detail["hangs"] = true;
  if (disk.gone) event.detail["gone"] = true;
}

}  // namespace migsoak::engine
