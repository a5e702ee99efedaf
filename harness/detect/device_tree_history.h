// Internal to detect: differences between device trees in words that a person understands, with the evidence.
#pragma once

#include <string>
#include <vector>

#include "detect/config_documents.h"
#include "detect/device_tree_compare.h"

namespace migsoak::detect {

struct TreeMismatch {
  std::string process;   // the new side's QEMU
  std::string kind;      // "device-extra" "device-missing" "device-changed" "property-changed" "object-extra" …
  std::string identity;  // what makes it one finding
  std::string title;
  std::string id;            // of a device
  std::string pci_address;   // of a device on a root bus: "0000:00:1c.0"
  bool before_load = false;  // seen before anything was sent
  base::Json evidence = base::Json::object();
};

// Of one iteration.
class TreeHistory {
 public:
  // Where a tree was read: of the QEMU that the guest leaves, once operations of the plan were settled in it; of the
  // one it goes to, before the load and after it.
  enum class At { plugged, waiting, arrived };
  // `planned`: of that QEMU. `evidence`: what is the same for all of the iteration's troubles.
  TreeHistory(const record::Observation& observation, At at, SideDocuments planned, base::Json evidence);

  TreeMismatch of_device(const TreeDifference& difference) const;  // or bus
  TreeMismatch of_object(const TreeDifference& difference) const;
  // Devices whose property changed in the same way; at least one.
  TreeMismatch of_property(const std::vector<const TreeDifference*>& devices) const;
  // Reported as done, and the tree is without it.
  TreeMismatch of_operation(const record::PlannedOperation& operation) const;
  // "vectors is 9, where qemu:a had 2": which differences make one trouble.
  std::string change_words(const TreeDifference& difference) const;

 private:
  TreeMismatch begin(const std::string& kind, const std::string& identity) const;
  void put_device(TreeMismatch& trouble, const std::string& id) const;

  base::Json evidence_;
  bool before_load_;
  SideDocuments planned_;
  std::string now_, former_, when_;
};

}  // namespace migsoak::detect
