// Internal to detect: virtqueues of the guest against what the sides allow. The size is the driver's choice when it
// sets the device up, so the build that made the device at that time (booted it, or had it plugged) is to blame, not
// the pair that fails later.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "detect/config_documents.h"
#include "pci/load_rule.h"

namespace migsoak::detect {

struct VirtqueueMismatch {
  DeviceName device;
  std::string origin_side;  // where the guest set the queue up
  std::string title;
  bool refused = false;  // a load failed over it
  base::Json evidence = base::Json::object();
};

class VirtqueueDrift {
 public:
  explicit VirtqueueDrift(std::vector<record::SideInfo> sides) : sides_(std::move(sides)) {}

  // An iteration begins; a lineage that begins forgets the one before.
  void begin(const record::Observation& observation);
  // A load of this iteration failed with "VQ n vring.num … exceeds allocated max …".
  void refused(const DeviceName& device, const pci::RingTooLarge& ring, const std::vector<std::string>& lines);
  // Queues larger than their own device's property says, or than the destination allows. At most one per device.
  std::vector<VirtqueueMismatch> troubles(const record::Observation& observation, const SideDocuments& source,
                                          const SideDocuments& destination);

 private:
  struct Refusal {
    DeviceName device;
    pci::RingTooLarge ring;
    std::vector<std::string> lines;
  };
  base::Json evidence_of(const DeviceName& device, const std::string& origin, const record::Plan& plan) const;
  std::optional<VirtqueueMismatch> seen(const record::Plan& plan, const record::VirtioDevice& device,
                                        const SideDocuments& source, const SideDocuments& destination);
  VirtqueueMismatch told(const record::Observation& observation, const Refusal& refusal);
  std::string origin_of(const std::string& id, std::int64_t size, const std::string& now);

  std::vector<record::SideInfo> sides_;
  std::vector<Refusal> refusals_;  // of the iteration at hand
  int lineage_ = -1;
  std::string boot_side_;
  std::map<std::string, std::string> first_seen_;  // device id -> side on which the lineage got it
  std::map<std::string, std::string> origins_;     // device id and size -> side that had it first
};

}  // namespace migsoak::detect
