// The table of due times: each detector on its planted pattern, the iteration that proved it, the iteration by which it
// had to.
#include <gtest/gtest.h>

#include <cstdio>
#include <set>

#include "record/config_space.h"
#include "soak_model.h"

namespace migsoak::detect {
namespace {

using namespace testing;
namespace kinds = record::event_kind;

struct Row {
  std::string name, detector;
  std::string process;
  std::int64_t due;
  int iterations;
  Change plant;
};

Change leak_fd(const std::string& process, const std::string& kind, int every, int k = 1) {
  return [=](record::Observation& o, Soak&) {
    const auto steps = static_cast<double>((o.iteration + 1) / every);
    if (Soak::get(o, process, "fd.total") > 0) Soak::add(o, process, "fd." + kind, k * steps);
  };
}
Change grow(const std::string& process, std::vector<std::string> metrics, double per_iteration) {
  return [=](record::Observation& o, Soak&) {
    if (Soak::get(o, process, "threads") == 0) return;
    for (const std::string& metric : metrics)
      Soak::add(o, process, metric, per_iteration * static_cast<double>(o.iteration + 1));
  };
}
Change at(std::int64_t iteration, record::Event e) {
  return [=](record::Observation& o, Soak&) {
    if (o.iteration == iteration) o.events.push_back(e);
  };
}

Change other_bar_size_at(std::int64_t iteration) {
  return [=](record::Observation& o, Soak&) {
    for (const char* point : {"source", "destination"}) {
      record::ConfigSpace space;
      space.functions.push_back({"", "0000:00:04.0", "vd0", "1af4:1001", {{0, "io", 0x1000, 0x40}}, 0, "", ""});
      if (o.iteration == iteration && point == std::string("destination")) space.functions[0].bars[0].size = 0x80;
      o.documents.push_back({record::document_kind::kConfigSpace, "qemu:a", 1, point, record::to_json(space)});
    }
  };
}

Change silence_at(std::int64_t iteration) {
  return [=](record::Observation& o, Soak&) {
    if (o.iteration == iteration) Soak::set(o, "guest", 0, "heartbeat_gap_ms", 7000);
  };
}

record::Event refused_plug() {
  return event(kinds::kHotplug, "guest", "",
               {{"result", "refused"},
                {"action", "plug"},
                {"kind", "virtio-blk"},
                {"device", "vb0"},
                {"error", "device_add: bus is full"}});
}

std::vector<Row> growing_rows() {
  return {
      {"fd-leak +1 eventfd per iteration", "fd-leak", kTarget, 9, 12, leak_fd(kTarget, "eventfd", 1)},
      {"fd-leak +4 eventfd per iteration", "fd-leak", kTarget, 9, 12, leak_fd(kTarget, "eventfd", 1, 4)},
      {"fd-leak of a new kind", "fd-leak", kTarget, 9, 12, leak_fd(kTarget, "pidfd", 1)},
      {"fd-leak in the harness", "fd-leak", "harness", 9, 12, leak_fd("harness", "pipe", 1)},
      {"fd-leak handed on from QEMU to QEMU", "fd-leak", "qemu:a", 9, 12,
       [](record::Observation& o, Soak& s) { Soak::add(o, s.qemu(), "fd.eventfd", static_cast<double>(o.iteration)); }},
      {"fd-leak 1 in 2", "fd-leak", kTarget, 45, 60, leak_fd(kTarget, "eventfd", 2)},
      {"fd-leak 1 in 7", "fd-leak", kTarget, 62, 80, leak_fd(kTarget, "eventfd", 7)},
      {"fd-leak 2 in 20", "fd-leak", kTarget, 172, 200, leak_fd(kTarget, "eventfd", 20, 2)},
      {"fd-leak 1 in 50", "fd-leak", kTarget, 399, 410, leak_fd(kTarget, "eventfd", 50)},
      {"thread-leak +1", "thread-leak", kTarget, 79, 90, grow(kTarget, {"threads"}, 1)},
      {"thread-leak +1 in QEMUs of side b", "thread-leak", "qemu:b", 80, 90, grow("qemu:b", {"threads"}, 1)},
      {"mapping-leak +1", "mapping-leak", kTarget, 149, 160, grow(kTarget, {"mappings"}, 1)},
      {"mapping-leak +2", "mapping-leak", kTarget, 149, 160, grow(kTarget, {"mappings"}, 2)},
      {"memory-growth 128 KiB", "memory-growth", kTarget, 149, 160,
       grow(kTarget, {"anon_bytes", "pss_bytes", "rss_bytes"}, 128 * 1024)},
      {"memory-growth 1 MiB of heap", "memory-growth", kTarget, 149, 160,
       grow(kTarget, {"heap_bytes", "anon_bytes", "pss_bytes", "rss_bytes"}, 1 << 20)},
      {"memory-growth 128 KiB in QEMUs", "memory-growth", "qemu:a", 149, 160,
       grow("qemu:a", {"anon_bytes"}, 128 * 1024)},
  };
}

// In iteration 3 the guest goes from b to a.
Change other_daemon_has_at(std::int64_t iteration, const std::string& state) {
  return [=](record::Observation& o, Soak&) {
    if (o.iteration != iteration) return;
    const auto domains = [](const std::string& of) {
      return base::Json{{"domains", {{{"name", "guest"}, {"state", of}}}}};
    };
    o.documents.push_back({record::document_kind::kDomains, "libvirtd:a", 90, "arrived", domains("running")});
    o.documents.push_back({record::document_kind::kDomains, "libvirtd:b", 91, "arrived", domains(state)});
  };
}

std::vector<Row> sudden_rows() {
  const base::Json zombie = {{"pid", 7},
                             {"parent_pid", 6},
                             {"parent", "qemu:b"},
                             {"parent_command", "qemu-system-x86_64"},
                             {"command", "qemu-system-x86"},
                             {"age_ms", 31000}};
  const base::Json orphan = {
      {"pid", 9}, {"command", "sleep"}, {"age_ms", 900}, {"descends_from", "target:disk0"}, {"reparented", true}};
  return {
      {"zombie", "zombie", "qemu:b", 3, 5, at(3, event(kinds::kZombie, "qemu:b", "", zombie))},
      {"orphan", "orphan", kTarget, 3, 5, at(3, event(kinds::kOrphan, kTarget, "", orphan))},
      {"leftover-file", "leftover-file", "qemu:a", 3, 5,
       at(3,
          event(kinds::kLeftover, "qemu:a", "", {{"path", "/run/x/q17.sock"}, {"type", "socket"}, {"size_bytes", 0}}))},
      {"migration-failure", "migration-failure", "qemu:a", 3, 5,
       at(3, event(kinds::kMigrationFailed, "qemu:a", "", {{"error_desc", "load failed"}, {"side", "destination"}}))},
      {"protocol garbage", "migration-failure", "qemu:a", 3, 5,
       at(3, event(kinds::kProtocolError, "qemu:a", "not JSON: xx"))},
      {"crash by signal", "crash", kTarget, 3, 5, at(3, event(kinds::kUnexpectedExit, kTarget, "", {{"signal", 11}}))},
      {"crash by exit 0", "crash", kTarget, 3, 5,
       at(3, event(kinds::kUnexpectedExit, kTarget, "", {{"exit_code", 0}}))},
      {"target drops its client", "crash", kTarget, 3, 5,
       at(3, event(kinds::kTargetLost, kTarget, "", {{"why", "closed its socket"}}))},
      {"guest lost", "crash", "guest", 3, 5, at(3, event(kinds::kGuestLost, "guest", "", {{"why", "no heartbeat"}}))},
      {"guest lost by an upgrade", "upgrade-failure", "qemu:a", 3, 5,
       at(3, event(kinds::kUpgradeFailure, "qemu:a", "", {{"failure", "exits-at-once"}, {"fate", "lost"}}))},
      {"hang", "hang", "qemu:b", 3, 5,
       at(3, event(kinds::kHang, "qemu:b", "", {{"waited_ms", 20000}, {"waiting_for", "RESUME event"}}))},
      {"guest-corruption", "guest-corruption", "guest", 3, 5,
       at(3, event(kinds::kGuestCorruption, "guest", "", {{"pages_stale", 2}}))},
      {"guest panic", "guest-corruption", "guest", 3, 5,
       at(3, event(kinds::kGuestPanic, "guest", "Kernel panic - not syncing"))},
      {"disk-corruption", "disk-corruption", "guest", 3, 5,
       at(3, event(kinds::kDiskCorruption, "guest:disk:vd0", "", {{"torn", 1}}))},
      {"downtime", "downtime", "guest", 3, 5, silence_at(3)},
      {"log-signature", "log-signature", kTarget, 3, 5,
       at(3, event(kinds::kLogLine, kTarget, "vu_panic: truncated msg"))},
      {"console signature", "log-signature", "guest", 3, 5,
       at(3, event(kinds::kConsoleLine, "guest", "BUG: unable to handle page fault"))},
      {"BAR of another size", "config-space-drift", "qemu:a", 3, 5, other_bar_size_at(3)},
      {"device_add refused", "qtree-drift", "qemu:b", 3, 5, at(3, refused_plug())},
      {"domain left behind", "xml-drift", "libvirtd:b", 3, 5, other_daemon_has_at(3, "shut off")},
      {"domain on both sides", "split-brain", "libvirtd:b", 3, 5, other_daemon_has_at(3, "running")},
      {"output flood", "log-signature", kTarget, 3, 5,
       at(3, event(kinds::kOutputFlood, kTarget, "", {{"bytes_dropped", 9000}}))},
  };
}

TEST(DueTimes, EveryDetectorProvesItsFaultInTime) {
  std::vector<Row> rows = growing_rows();
  for (Row& row : sudden_rows()) rows.push_back(std::move(row));
  std::printf("%-38s %-18s %6s %6s\n", "planted", "detector", "proven", "due");
  std::set<std::string> fired;
  for (const Row& row : rows) {
    const auto findings = judged(row.iterations, row.plant);
    std::int64_t proven = -1;
    for (const record::Finding& finding : findings) {
      EXPECT_EQ(finding.detector, row.detector) << row.name << ": another detector fired too: " << finding.title;
      if (finding.detector == row.detector && finding.process == row.process)
        proven = finding.detected_iteration.value_or(-1);
    }
    std::printf("%-38s %-18s %6lld %6lld\n", row.name.c_str(), row.detector.c_str(), static_cast<long long>(proven),
                static_cast<long long>(row.due));
    EXPECT_GE(proven, 0) << row.name << " was not found: " << describe(findings);
    EXPECT_LE(proven, row.due) << row.name;
    fired.insert(row.detector);
  }
  for (const DetectorInfo& info : detectors())
    EXPECT_EQ(fired.count(info.name), 1U) << info.name << " is not in the table";
}

}  // namespace
}  // namespace migsoak::detect
