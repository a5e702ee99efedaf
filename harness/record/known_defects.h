// Known defects of QEMU builds, as data: what doctor and the findings tell of them.
#pragma once

#include <string>
#include <vector>

namespace migsoak::record {

struct KnownDefect {
  std::string name;
  std::string since;  // version of the first release that has it
  std::string fixed;  // of the first that does not
  std::string accel;  // "tcg" | "kvm"
  std::string what, reference, way_out;
  bool avoided_by_odd_ram = false;  // RAM whose size is no multiple of 256 KiB
};
const std::vector<KnownDefect>& known_defects();

// A version that can't be read has none.
bool has_defect(const KnownDefect& defect, const std::string& qemu_version, const std::string& accel);

// "known: QEMU before 9.0 under TCG: …; see …; use …"
std::string describe(const KnownDefect& defect);

}  // namespace migsoak::record
