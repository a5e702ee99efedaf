#include "record/known_defects.h"

#include <fmt/format.h>

#include "base/version.h"

namespace migsoak::record {

const std::vector<KnownDefect>& known_defects() {
  static const std::vector<KnownDefect> kTable = {
#define KNOWN_DEFECT(name, since, fixed, accel, what, reference, way_out, avoided_by_odd_ram) \
  {name, since, fixed, accel, what, reference, way_out, avoided_by_odd_ram},
#include "record/known_defects.def"
#undef KNOWN_DEFECT
  };
  return kTable;
}

bool has_defect(const KnownDefect& defect, const std::string& qemu_version, const std::string& accel) {
  return accel == defect.accel && !base::version_parts(qemu_version).empty() &&
         !base::older_version(qemu_version, defect.since) && base::older_version(qemu_version, defect.fixed);
}

std::string describe(const KnownDefect& defect) {
  return fmt::format("known: QEMU {} up to, not including, {} under {}: {}; see {}; {}", defect.since, defect.fixed,
                     defect.accel == "tcg" ? "TCG" : "KVM", defect.what, defect.reference, defect.way_out);
}

}  // namespace migsoak::record
