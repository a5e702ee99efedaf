#include "detect/device_tree_compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <regex>
#include <set>

#include "detect/catalog.h"

namespace migsoak::detect {

namespace {

using record::DeviceTree;
using record::TreeNode;
using record::TreePath;

constexpr std::size_t kBelowListedMax = 16;

std::string last_name(const TreePath& path) {
  return path.substr(path.rfind('/') + 1);
}

std::string asked_value(const AskedProps& asked, const std::string& id, const std::string& property) {
  const auto props = asked.find(id);
  if (props == asked.end() || !props->second.is_object()) return "";
  const auto value = props->second.find(property);
  return value == props->second.end() ? "" : base::dump_json(*value);
}

// Objects made by -device, device_add and -object, without what they are composed of.
bool is_users_object(const std::string& object) {
  for (const std::string prefix : {"/peripheral/", "/peripheral-anon/"}) {
    if (object.rfind(prefix, 0) == 0) return object.find('/', prefix.size()) == std::string::npos;
  }
  return false;
}

// Is the object part of a device (or bus) that is told of as such?
bool is_of(const std::string& object, const TreePath& path, const TreeNode& node) {
  if (!node.id.empty()) return record::has_component(object, node.id);
  const std::string type = " (" + node.type + ')';
  const bool ends = object.size() > type.size() && object.compare(object.size() - type.size(), type.size(), type) == 0;
  if (node.bus) return ends && record::has_component(object, last_name(path));
  return ends || object.find('[' + node.type + ']') != std::string::npos;
}

struct KnownPattern {
  std::string name, what;
  std::regex pattern;
};

const std::vector<KnownPattern>& known_patterns() {
  static const std::vector<KnownPattern> kPatterns = [] {
    std::vector<KnownPattern> patterns;
    for (const DeviceTreeKnown& entry : device_tree_known()) {
      if (!entry.pattern.empty()) patterns.push_back({entry.name, entry.what, std::regex(entry.pattern)});
    }
    return patterns;
  }();
  return kPatterns;
}

}  // namespace

std::string tree_words(const TreePath& path, const TreeNode& node, const std::string& owner) {
  if (node.bus) return "bus " + last_name(path);
  if (!node.id.empty() || owner.empty()) {
    std::string words = node.id.empty() ? node.type : node.type + ' ' + node.id;
    const std::string name = last_name(path);
    if (name.rfind('@', 0) == 0) words += " at " + name.substr(1);
    const TreePath bus = record::parent_of(path);
    return bus.empty() ? words : words + " on " + last_name(bus);
  }
  return node.type + " of " + owner;
}

bool DeviceTreeCompare::hold_back(const std::string& name) {
  if (!excluded(gate_, name)) return false;
  ++held_back_[name];
  ++revision_;
  return true;
}

bool DeviceTreeCompare::known(const char* what, const std::string& one, const std::string& other,
                              const std::string& prefix) {
  for (const KnownPattern& entry : known_patterns()) {
    if (entry.what != what) continue;
    const bool matches = other.empty() ? std::regex_match(prefix + one, entry.pattern)
                                       : std::regex_match(prefix + one + '>' + other, entry.pattern) ||
                                             std::regex_match(prefix + other + '>' + one, entry.pattern);
    if (matches && hold_back(entry.name)) return true;
  }
  return false;
}

struct DeviceTreeCompare::Pass {
  Pass(DeviceTreeCompare& owner_in, const TreeSide& before_in, const TreeSide& after_in, bool other_build_in,
       const std::function<bool(const std::string&)>& leave_out_in)
      : owner(owner_in), before(before_in), after(after_in), other_build(other_build_in), leave_out(leave_out_in) {}

  DeviceTreeCompare& owner;
  const TreeSide &before, &after;
  bool other_build;
  const std::function<bool(const std::string&)>& leave_out;
  std::vector<TreeDifference> found;
  std::map<std::string, int> told_objects;
  struct OneSided {
    TreePath path;
    TreeNode node;
    bool quiet = false;  // held back, or left out
  };
  std::vector<OneSided> told;  // nodes that are on one side only, and all below them

  void only_in(const DeviceTree& one, const DeviceTree& other, TreeChange change);
  void pair_moves();
  void compare_nodes();
  void compare_props(const TreePath& path, const TreeNode& then, const TreeNode& now);
  void compare_prop(TreeDifference difference);
  void compare_objects();
  void compare_object(const std::string& object, int count_before, int count_after);
};

// The outermost of what only `one` has; all below comes with it.
void DeviceTreeCompare::Pass::only_in(const DeviceTree& one, const DeviceTree& other, TreeChange change) {
  std::map<TreePath, std::size_t> outermost;  // path -> index in found; npos: held back
  for (const auto& [path, node] : one.nodes) {
    if (other.nodes.count(path) > 0) continue;
    const auto above = outermost.find(record::parent_of(path));
    if (above != outermost.end()) {
      const std::size_t index = above->second;
      outermost[path] = index;
      told.push_back({path, node, index == std::string::npos});
      if (index == std::string::npos || node.bus || found[index].below.size() >= kBelowListedMax) continue;
      found[index].below.push_back(node.id.empty() ? node.type : node.type + ' ' + node.id);
      continue;
    }
    const bool quiet = leave_out(path) || (other_build && owner.known("device", node.type, ""));
    outermost[path] = quiet ? std::string::npos : found.size();
    told.push_back({path, node, quiet});
    if (quiet) continue;
    TreeDifference difference;
    difference.change = change;
    difference.path = path;
    difference.owner = record::owner_of(one, path);
    difference.node = node;
    found.push_back(std::move(difference));
  }
}

// The same device elsewhere.
void DeviceTreeCompare::Pass::pair_moves() {
  for (TreeDifference& extra : found) {
    if (extra.change != TreeChange::extra || extra.node.id.empty()) continue;
    const auto missing = std::find_if(found.begin(), found.end(), [&](const TreeDifference& other) {
      return other.change == TreeChange::missing && other.node.id == extra.node.id &&
             other.node.type == extra.node.type;
    });
    if (missing == found.end()) continue;
    extra.change = TreeChange::moved;
    extra.former = missing->path;
    missing->path.clear();
  }
  std::erase_if(found, [](const TreeDifference& difference) { return difference.path.empty(); });
}

void DeviceTreeCompare::Pass::compare_nodes() {
  for (const auto& [path, now] : after.tree.nodes) {
    const auto then = before.tree.nodes.find(path);
    if (then == before.tree.nodes.end() || then->second == now || leave_out(path)) continue;
    if (then->second.type == now.type) {
      compare_props(path, then->second, now);
      continue;
    }
    const bool quiet = other_build && owner.known("retyped", then->second.type, now.type);
    told.push_back({path, then->second, quiet});
    told.push_back({path, now, quiet});
    if (quiet) continue;
    TreeDifference difference;
    difference.change = TreeChange::retyped;
    difference.path = path;
    difference.owner = record::owner_of(after.tree, path);
    difference.node = now;
    difference.before = then->second.type;
    difference.after = now.type;
    found.push_back(std::move(difference));
  }
}

void DeviceTreeCompare::Pass::compare_props(const TreePath& path, const TreeNode& then, const TreeNode& now) {
  TreeDifference difference;
  difference.change = TreeChange::property;
  difference.path = path;
  difference.owner = record::owner_of(after.tree, path);
  difference.node = now;
  for (const auto& [name, value] : now.props) {
    const auto former = then.props.find(name);
    if (former != then.props.end() && former->second == value) continue;
    difference.property = name;
    difference.after = value;
    difference.before.reset();
    if (former != then.props.end()) difference.before = former->second;
    compare_prop(difference);
  }
  for (const auto& [name, value] : then.props) {
    if (now.props.count(name) > 0) continue;
    difference.property = name;
    difference.before = value;
    difference.after.reset();
    compare_prop(difference);
  }
}

void DeviceTreeCompare::Pass::compare_prop(TreeDifference difference) {
  if (asked_value(before.asked, difference.owner, difference.property) !=
      asked_value(after.asked, difference.owner, difference.property)) {
    return;
  }
  if (difference.before && difference.after) {
    const std::string prefix = difference.node.type + ' ' + difference.property + ' ';
    if (owner.known("handle", *difference.before, *difference.after, prefix)) return;
    if (other_build && owner.known("property", *difference.before, *difference.after, prefix)) return;
  } else if (other_build && owner.hold_back("build-properties")) {
    return;
  }
  found.push_back(std::move(difference));
}

void DeviceTreeCompare::Pass::compare_objects() {
  for (const auto& [object, count] : after.tree.objects) {
    const auto then = before.tree.objects.find(object);
    compare_object(object, then == before.tree.objects.end() ? 0 : then->second, count);
  }
  for (const auto& [object, count] : before.tree.objects) {
    if (after.tree.objects.count(object) == 0) compare_object(object, count, 0);
  }
}

void DeviceTreeCompare::Pass::compare_object(const std::string& object, int count_before, int count_after) {
  if (count_before == count_after || leave_out(object)) return;
  const auto device = std::find_if(told.begin(), told.end(),
                                   [&](const OneSided& known) { return is_of(object, known.path, known.node); });
  if (device != told.end()) {
    if (!device->quiet) told_objects[object] = count_before;
    return;
  }
  if (other_build && !is_users_object(object) && owner.hold_back("build-objects")) return;
  // What an object is composed of comes and goes with it.
  const auto above = std::find_if(found.begin(), found.end(), [&](const TreeDifference& difference) {
    const bool is_object =
        difference.change == TreeChange::object_extra || difference.change == TreeChange::object_missing;
    return is_object && object.rfind(difference.path.substr(0, difference.path.rfind(" (")) + '/', 0) == 0;
  });
  if (above != found.end()) {
    if (above->below.size() < kBelowListedMax) above->below.push_back(object);
    return;
  }
  TreeDifference difference;
  difference.change = count_after > count_before ? TreeChange::object_extra : TreeChange::object_missing;
  difference.path = object;
  found.push_back(std::move(difference));
}

TreeComparison DeviceTreeCompare::compare(const TreeSide& before, const TreeSide& after, bool other_build,
                                          const std::function<bool(const std::string&)>& leave_out) {
  Pass pass(*this, before, after, other_build, leave_out);
  if (before.tree == after.tree) return {};
  pass.only_in(after.tree, before.tree, TreeChange::extra);
  pass.only_in(before.tree, after.tree, TreeChange::missing);
  pass.pair_moves();
  pass.compare_nodes();
  pass.compare_objects();
  return {std::move(pass.found), std::move(pass.told_objects)};
}

}  // namespace migsoak::detect
