#include "detect/known_defects.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "base/json.h"
#include "record/known_defects.h"

namespace migsoak::detect {

namespace {

// The guest's own trouble, nonsense on its channel included. What a process of the host did is another matter, and a
// leak that was seen to run dry explains more than a defect that may have struck.
bool is_suffered_by_guest(const record::Finding& finding) {
  if (finding.process != "guest" || finding.evidence.contains("cause")) return false;
  for (const std::string_view detector :
       {"guest-corruption", "disk-corruption", "hang", "crash", "log-signature", "migration-failure"}) {
    if (finding.detector == detector) return true;
  }
  return false;
}

// Sides whose build has it, with their versions. A page that was lost on one hop may be missed on a later one, so it
// does not matter which side is the source where the finding began.
base::Json sides_with(const record::KnownDefect& defect, const record::Manifest& manifest, const std::string& accel) {
  base::Json sides = base::Json::object();
  for (const record::SideInfo& side : manifest.sides) {
    if (record::has_defect(defect, side.qemu_version, accel)) sides[side.name] = side.qemu_version;
  }
  return sides;
}

}  // namespace

void tell_known_defects(const record::Manifest& manifest, std::vector<record::Finding>& findings) {
  const auto accel = base::json_get<std::string>(manifest.environment, "accel", "");
  const auto avoided = base::json_get(manifest.environment, "avoided_defects", base::Json::array());
  for (const record::KnownDefect& defect : record::known_defects()) {
    if (std::find(avoided.begin(), avoided.end(), defect.name) != avoided.end()) continue;
    const base::Json sides = sides_with(defect, manifest, accel);
    if (sides.empty()) continue;
    for (record::Finding& finding : findings) {
      if (!is_suffered_by_guest(finding)) continue;
      finding.evidence["known"] = {{"defect", defect.name}, {"sides", sides}, {"text", record::describe(defect)}};
    }
  }
}

}  // namespace migsoak::detect
