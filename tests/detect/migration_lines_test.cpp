// Lines of QEMU on a migration that failed, as they were seen, and what they become.
#include <gtest/gtest.h>

#include "detect/catalog.h"
#include "detect/migration_decode.h"
#include "soak_model.h"

namespace migsoak::detect {
namespace {

using namespace testing;
namespace kinds = record::event_kind;

struct Line {
  const char* text;
  const char* signature;
  const char* kind;     // of migration-failure
  const char* process;  // whose trouble it is
  const char* title;    // after "migration a to b (precopy) failed in iteration 2: "
};

// QEMU 7.2 unless it says otherwise.
const Line kLines[] = {
    {"qemu-system-x86_64: Size mismatch: pc.ram: 0x4000000 != 0x8000000: Invalid argument", "ram-size", "ram-size",
     "qemu:b",
     "RAM block pc.ram has 0x4000000 bytes on the source and 0x8000000 on the destination; -m or its memory backend "
     "sets "
     "the size"},
    // Of the time before QEMU 2.4.
    {"Length mismatch: 0000:00:03.0/virtio-net-pci.rom: 0x40000 in != 0x80000", "ram-size", "ram-size", "qemu:b",
     "RAM block 0000:00:03.0/virtio-net-pci.rom has 0x40000 bytes on the source and 0x80000 on the destination; it is "
     "firmware: the two ends load another file (romfile, romsize, -bios)"},
    {"qemu-system-x86_64: Unknown ramblock \"0000:00:02.0/vga.vram\", cannot accept migration", "ram-block",
     "ram-block", "qemu:b",
     "RAM block 0000:00:02.0/vga.vram is on the source only: the destination lacks the device or memory it belongs to"},
    {"qemu-system-x86_64: Machine type received is 'pc-i440fx-7.2' and local is 'pc-i440fx-7.1'", "machine-type",
     "machine-type", "qemu:b", "machine type pc-i440fx-7.2 on the source, pc-i440fx-7.1 on the destination"},
    {"State blocked by non-migratable device '0000:00:04.0/nvme'", "migration-blocked", "blocked", "qemu:a",
     "0000:00:04.0/nvme: this device cannot be migrated, and no migration can begin while the source has it"},
    {"qemu-system-x86_64: qemu_savevm_state_complete_precopy_non_iterable: bdrv_inactivate_all() failed (-1)",
     "disks-kept", "disks-kept", "qemu:a",
     "the source could not give up its disks at the switch-over: something beside the guest writes to one (an export, "
     "a "
     "block job), or a flush failed"},
    {"qemu-system-x86_64: check_section_footer: Read section footer failed: -5", "stream-cut", "connection", "qemu:b",
     "the stream ended within a section; the cause is on the other end"},
    {"qemu-system-x86_64: Unknown savevm section or instance '0000:00:02.0/1/usb-hub' 0. Make sure that your current "
     "VM "
     "setup matches your saved VM setup, including any hotplugged devices",
     "vmstate-load", "vmstate", "qemu:b",
     "0000:00:02.0/1/usb-hub: the source has this device (instance 0), the destination does not"},
    {"qemu-system-x86_64: Missing section footer for 0000:00:1f.0/ICH9LPC", "vmstate-load", "vmstate", "qemu:b",
     "0000:00:1f.0/ICH9LPC: the source wrote this section with other fields than the destination reads; it is the ICH9 "
     "LPC bridge of the q35 board, which holds the state of CPU, memory and PCI hotplug: compare maxcpus of -smp, "
     "slots "
     "and maxmem of -m, and -global ICH9-LPC.acpi-pci-hotplug-with-bridge-support"},
    {"qemu-system-x86_64: Missing section footer for 0000:00:01.3/piix4_pm", "vmstate-load", "vmstate", "qemu:b",
     "0000:00:01.3/piix4_pm: the source wrote this section with other fields than the destination reads; it is the "
     "PIIX4 "
     "power management of the pc board, which holds the state of CPU, memory and PCI hotplug: compare maxcpus of -smp, "
     "slots and maxmem of -m, and -global PIIX4_PM.x-not-migrate-acpi-index"},
    {"qemu-system-x86_64: Missing section footer for 0000:00:05.0/e1000", "vmstate-load", "vmstate", "qemu:b",
     "0000:00:05.0/e1000: the source wrote this section with other fields than the destination reads"},
};

TEST(MigrationLines, EachHasItsSignature) {
  for (const Line& line : kLines) {
    const LogSignature* signature = signature_of(line.text, false);
    ASSERT_NE(signature, nullptr) << line.text;
    EXPECT_EQ(signature->name, line.signature) << line.text;
    EXPECT_EQ(signature->source, LogSource::migration) << line.text;
  }
}

TEST(MigrationLines, EachIsExplainedByMigrationFailure) {
  for (const Line& line : kLines) {
    SCOPED_TRACE(line.text);
    const auto findings = judged(4, [&](record::Observation& o, Soak&) {
      if (o.iteration != 2) return;
      o.status = record::IterationStatus::failed;
      o.events = {event(kinds::kLogLine, "qemu:b", line.text),
                  event(kinds::kLogLine, "qemu:b", "qemu-system-x86_64: load of migration failed: Invalid argument"),
                  event(kinds::kLogLine, "qemu:a",
                        "qemu-system-x86_64: failed to save SaveStateEntry with id(name): 2(ram): -5"),
                  event(kinds::kMigrationFailed, "qemu:b", "Unable to write to socket: Broken pipe",
                        {{"error_desc", "Unable to write to socket: Broken pipe"}, {"result", "failed"}})};
    });
    ASSERT_EQ(findings.size(), 1U) << describe(findings);
    EXPECT_EQ(findings.front().detector, "migration-failure");
    EXPECT_EQ(findings.front().kind, line.kind);
    const bool consequence = std::string(line.kind) == "connection";
    EXPECT_EQ(findings.front().process, consequence ? findings.front().process : line.process);
    if (consequence) continue;  // the error that the migration ended with says as much
    EXPECT_EQ(findings.front().title, std::string("migration a to b (precopy) failed in iteration 2: ") + line.title);
  }
}

// A line whose migration did not fail is found as what it is.
TEST(MigrationLines, EachIsFoundByItself) {
  for (const Line& line : kLines) {
    const auto findings = judged(4, [&](record::Observation& o, Soak&) {
      if (o.iteration == 2) o.events = {event(kinds::kLogLine, "qemu:b", line.text)};
    });
    ASSERT_EQ(findings.size(), 1U) << describe(findings);
    EXPECT_EQ(findings.front().detector, "log-signature");
    EXPECT_EQ(findings.front().kind, line.signature);
  }
}

// What libvirt says, and whose trouble that is.
TEST(MigrationLines, OfLibvirt) {
  struct Said {
    const char *text, *kind, *process, *title;
    record::Blame blame;
  };
  const std::string failed = "migration a to b (precopy) failed in iteration 2: ";
  for (const Said& said : {
           Said{
               "migration: internal error: process exited while connecting to monitor: qemu: warning: x | qemu: no CPU",
               "start", "qemu:b", "its QEMU ended at its start: qemu: no CPU", record::Blame::subject},
           Said{"migration: internal error: qemu unexpectedly closed the monitor: ", "start", "qemu:b",
                "its QEMU ended at its start: it said nothing", record::Blame::subject},
           Said{"migration: Failed to find an available port: Address already in use", "port-taken", "qemu:b",
                "migration: Failed to find an available port: Address already in use", record::Blame::environment},
           Said{"migration: Cannot access storage file '/x': No such file or directory", "no-disk", "qemu:b",
                "Cannot access storage file '/x': No such file or directory", record::Blame::environment},
           Said{"migration: internal error: qemu unexpectedly closed the monitor: qemu: -blockdev {}: Could not open "
                "'/x': No such file or directory",
                "no-disk", "qemu:b", "Could not open '/x': No such file or directory", record::Blame::environment},
           Said{"save: operation failed: Unable to write /x: No space left on device", "no-space", "qemu:a",
                "save: operation failed: Unable to write /x: No space left on device", record::Blame::environment},
       }) {
    const auto findings = judged(4, [&](record::Observation& o, Soak&) {
      if (o.iteration != 2) return;
      o.status = record::IterationStatus::failed;
      o.events = {event(kinds::kLogLine, "libvirtd:a", "error : operation failed: No space left on device"),
                  event(kinds::kMigrationFailed, "qemu:b", said.text, {{"error_desc", said.text}})};
    });
    ASSERT_EQ(findings.size(), 1U) << describe(findings);
    EXPECT_EQ(findings[0].kind, said.kind);
    EXPECT_EQ(findings[0].process, said.process);
    EXPECT_EQ(findings[0].title, failed + said.title);
    EXPECT_EQ(findings[0].blame, said.blame);
    EXPECT_EQ(findings[0].evidence["line"], said.text);
    EXPECT_EQ(findings[0].evidence["log"].size(), 1U) << "what the daemon said";
  }
}

// What the other end says when it was left in the lurch never hides the cause.
TEST(MigrationLines, AConsequenceYieldsToTheCause) {
  const auto findings = judged(4, [&](record::Observation& o, Soak&) {
    if (o.iteration != 2) return;
    o.status = record::IterationStatus::failed;
    o.events = {event(kinds::kLogLine, "qemu:b", kLines[6].text), event(kinds::kLogLine, "qemu:a", kLines[5].text),
                event(kinds::kMigrationFailed, "qemu:b", "Input/output error",
                      {{"error_desc", "Input/output error"}, {"result", "failed"}})};
  });
  ASSERT_EQ(findings.size(), 1U) << describe(findings);
  EXPECT_EQ(findings.front().kind, "disks-kept");
  EXPECT_EQ(findings.front().process, "qemu:a");
}

TEST(MigrationLines, NonsenseIsNotDecoded) {
  EXPECT_FALSE(decode_migration_error("Size mismatch: pc.ram: 0x != 0x8000000").has_value());
  EXPECT_FALSE(decode_migration_error("Size mismatch: pc.ram: 0x11112222333344445 != 0x8000000").has_value());
  EXPECT_FALSE(decode_migration_error("Unknown ramblock \"").has_value());
  EXPECT_FALSE(decode_migration_error("Missing section " + std::string(100000, ' ')).has_value());
}

}  // namespace
}  // namespace migsoak::detect
