// Internal to detect: where two device trees differ, what is known to differ between builds left aside.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "detect/judge.h"
#include "record/device_tree.h"

namespace migsoak::detect {

enum class TreeChange { extra, missing, moved, retyped, property, object_extra, object_missing };

struct TreeDifference {
  TreeChange change = TreeChange::extra;
  record::TreePath path;                     // of an object: its QOM path with its type; `moved`: where it is now
  record::TreePath former;                   // moved
  std::string owner;                         // id of the innermost device with one, itself included; empty: none
  record::TreeNode node;                     // of the tree that has it, else of the later one
  std::string property;                      // property
  std::optional<std::string> before, after;  // property: absent when that tree has none; retyped: the types
  std::vector<std::string> below;            // devices that come or go with it, "type id"
};

// Device id -> properties that were asked for it.
using AskedProps = std::map<std::string, base::Json>;
struct TreeSide {
  const record::DeviceTree& tree;
  const AskedProps& asked;
};

struct TreeComparison {
  std::vector<TreeDifference> differences;
  // Objects that differ because of a device that does, and how many the earlier tree had: not told of again.
  std::map<std::string, int> told_objects;
};

class DeviceTreeCompare {
 public:
  explicit DeviceTreeCompare(const record::GatePolicy& gate) : gate_(gate) {}

  // `leave_out`: paths, of nodes and objects, that are not to be compared. A property that was asked for differently is
  // no difference.
  TreeComparison compare(const TreeSide& before, const TreeSide& after, bool other_build,
                         const std::function<bool(const std::string&)>& leave_out);

  // How often an entry of device_tree_known.def held a difference back.
  const std::map<std::string, std::int64_t>& held_back() const { return held_back_; }
  std::uint64_t revision() const { return revision_; }

 private:
  struct Pass;  // one compare()
  bool hold_back(const std::string& name);
  bool known(const char* what, const std::string& one, const std::string& other, const std::string& prefix = "");

  record::GatePolicy gate_;
  std::map<std::string, std::int64_t> held_back_;
  std::uint64_t revision_ = 0;
};

// "ide-hd ide0-hd0 on ide.0", "ps2-mouse on main-system-bus", "virtio-blk-device of vd0", "bus ide.0".
std::string tree_words(const record::TreePath& path, const record::TreeNode& node, const std::string& owner);

}  // namespace migsoak::detect
