// Internal to detect: what the guest itself reads of a device's configuration space. It must be what the device was on
// the source when it stopped, and what the guest saw when it was asked last.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "detect/config_compare.h"
#include "detect/config_documents.h"

namespace migsoak::detect {

struct GuestViewMismatch {
  DeviceName device;
  ConfigDifference difference;
};

class GuestViewDrift {
 public:
  // At most one per device and field. `source`, `guest`: the documents of this iteration's source, and the guest's.
  std::vector<GuestViewMismatch> troubles(const record::Observation& observation, const SideDocuments& source,
                                          const SideDocuments& guest, ConfigCompare& compare);

 private:
  struct Seen {
    std::int64_t iteration = 0;
    record::ConfigFunction function;
    std::string entry;  // its line of the device set
  };
  int lineage_ = -1;
  std::map<std::string, Seen> seen_;  // by QEMU's path
};

}  // namespace migsoak::detect
