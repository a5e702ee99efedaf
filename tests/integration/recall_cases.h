// What is planted, and what has to be found: the cases of the recall test.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace migsoak::integration {

// What is expected to be found.
struct Row {
  std::string detector, process, kind;  // as the finding names them
  std::string fault;
  int earliest = 0, due = 0;  // bounds of detected_iteration
  std::optional<double> rate;
  std::vector<std::string> title = {};  // what its title has to say
};

// What a planted fault brings with it, for good reason: it may be found, it need not be.
struct Companion {
  std::string detector, process, kind, why;  // an empty kind: any
};

struct Case {
  std::string name;
  std::string build = {};     // of the fleet, which the case can't do without
  bool libvirt = false;       // it can't do without a libvirtd
  std::string scenario = {};  // its text; empty: one of `disks` vhost-user disks
  std::string workload = "idle";
  int disks = 1;
  int iterations = 6;
  std::vector<std::string> settings;  // --set; {faults} and {dir} are filled in
  std::vector<Row> rows;
  std::vector<Companion> companions;
};

// Descriptors, processes, memory, files, logs, the guest, its disks, QEMUs that refuse, hang and die; and clean runs.
std::vector<Case> process_cases();
// Devices that are not the same on both sides, or not the same as before; and the same scenarios with nothing planted.
std::vector<Case> device_cases();
// Hot upgrades and restarted targets; and the same with nothing planted.
std::vector<Case> upgrade_cases();
// What libvirt says otherwise than it is.
std::vector<Case> libvirt_cases();

}  // namespace migsoak::integration
