// Internal to detect: compares the device trees of one guest, from QEMU to QEMU. The expected tree is that of its
// first QEMU, changed by what the plan plugs and unplugs.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "detect/device_tree_history.h"

namespace migsoak::detect {

class DeviceTreeDrift {
 public:
  // Borrows `documents`.
  DeviceTreeDrift(const record::Manifest& manifest, DocumentCache& documents)
      : sides_(manifest.sides), documents_(documents), compare_(manifest.gate) {}

  // Of one iteration; in order. The same trouble may be seen before the load and after it.
  std::vector<TreeMismatch> troubles(const record::Observation& observation);
  // The last observation held a tree that can't be compared: it was cut, or is none.
  bool unreadable() const { return unreadable_; }
  std::vector<record::Exclusion> exclusions() const;
  std::uint64_t revision() const { return compare_.revision(); }

 private:
  // Of the tree at one point of an observation.
  struct Parts {
    std::vector<const base::Json*> contents;
    std::vector<std::int64_t> ids;  // Document::content_id of each
  };
  static Parts parts_at(const record::Observation& observation, const std::string& point);
  // Contents that were found to be all right, and the builds they were compared with.
  struct Clean {
    std::vector<base::Json> contents;
    std::vector<std::int64_t> ids;
    std::set<std::string> with;
    bool holds(const Parts& now, const std::string& build) const;
    void take(const Parts& now, const std::string& build);
  };
  // Of one build: what its tree should be.
  struct Reference {
    record::DeviceTree tree;
    AskedProps asked;
    std::set<std::string> touched;  // devices that the plan has plugged or unplugged since
    std::set<std::string> owed;     // paths that this build lacked from its first arrival on: found, and not compared
    Clean waiting, arrived;
  };
  std::string build_of(const std::string& side) const;
  void note_operations(const record::Observation& observation);
  // At a point of the observation; nothing when none was read, or it can't be compared.
  std::optional<record::DeviceTree> tree_at(const record::Observation& observation, const std::string& point);
  void take_plugged(const record::Observation& observation, std::vector<TreeMismatch>& into);
  void take_waiting(const record::Observation& observation, std::vector<TreeMismatch>& into);
  void take_arrived(const record::Observation& observation, std::vector<TreeMismatch>& into);
  bool is_known(const Clean Reference::*point, const Parts& parts, const record::Plan& plan) const;
  TreeComparison compared_with_both(const record::Plan& plan, const TreeSide& now);
  void forget_clean();
  TreeComparison compared_with(const Reference& reference, const TreeSide& now, bool other_build);
  void keep(const std::string& build, const record::DeviceTree& tree, const AskedProps& asked,
            const TreeComparison& found);
  std::vector<TreeMismatch> tell(const TreeHistory& story, const std::vector<TreeDifference>& found) const;
  void check_operations(const TreeHistory& story, const record::DeviceTree& tree,
                        std::vector<TreeMismatch>& into) const;
  base::Json evidence_of(const record::Observation& observation) const;

  std::vector<record::SideInfo> sides_;
  DocumentCache& documents_;
  DeviceTreeCompare compare_;
  int lineage_ = -1;
  bool unreadable_ = false;
  std::map<std::string, Reference> references_;           // by build
  std::vector<std::string> asked_;                        // operations since the last tree, in words
  std::map<std::string, record::PlannedOperation> done_;  // by device: the last one that went as planned since then
};

}  // namespace migsoak::detect
