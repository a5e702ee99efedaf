#include "record/device_tree.h"

#include <algorithm>

#include "record/json_fields.h"

namespace migsoak::record {

namespace {

constexpr const char* kBoard = "board";
constexpr const char* kPeripheral = "/peripheral/";

// The id of the outermost device on the path that has one: whose part the node is in.
std::string part_of(const DeviceTree& tree, const TreePath& path) {
  for (std::size_t end = path.find('/');; end = path.find('/', end + 1)) {
    const auto node = tree.nodes.find(path.substr(0, end));
    if (node != tree.nodes.end() && !node->second.id.empty()) return node->second.id;
    if (end == std::string::npos) return kBoard;
  }
}

// "/peripheral/vd0/virtio-bus (virtio-pci-bus)" -> "vd0".
std::string peripheral_of(const std::string& object) {
  const std::string prefix = kPeripheral;
  if (object.rfind(prefix, 0) != 0) return "";
  return object.substr(prefix.size(), object.find_first_of("/ ", prefix.size()) - prefix.size());
}

base::Json to_json(const TreeNode& node) {
  if (node.bus) return {{"bus", node.type}};
  base::Json json = {{"type", node.type}, {"props", node.props}};
  if (!node.id.empty()) json["id"] = node.id;
  return json;
}

bool read_node(const base::Json& json, TreeNode& node) {
  if (!json.is_object()) return false;
  node.bus = json.contains("bus");
  const base::Json props = base::json_get(json, "props", base::Json::object());
  if (!props.is_object()) return false;
  for (const auto& [name, value] : props.items()) {
    if (!value.is_string()) return false;
    node.props.emplace_hint(node.props.end(), name, value.get<std::string>());
  }
  return read_field(json, node.bus ? "bus" : "type", node.type) && read_field(json, "id", node.id);
}

bool read_part(const base::Json& part, DeviceTree& tree) {
  if (!part.is_object() || !read_field(part, "cut", tree.cut)) return false;
  const base::Json nothing = base::Json::object();
  const auto nodes = part.find("nodes"), objects = part.find("objects");
  for (const auto& [path, json] : (nodes == part.end() ? nothing : *nodes).items()) {
    if (!read_node(json, tree.nodes[path])) return false;
  }
  for (const auto& [path, count] : (objects == part.end() ? nothing : *objects).items()) {
    if (!count.is_number_integer()) return false;
    tree.objects[path] += count.get<int>();
  }
  return true;
}

}  // namespace

bool has_component(const std::string& path, const std::string& name) {
  if (name.empty()) return false;
  for (std::size_t at = path.find(name); at != std::string::npos; at = path.find(name, at + 1)) {
    const std::size_t end = at + name.size();
    // A QOM path ends in " (type)".
    const bool ends = end == path.size() || path[end] == '/' || path.compare(end, 2, " (") == 0;
    if (ends && (at == 0 || path[at - 1] == '/')) return true;
  }
  return false;
}

TreePath parent_of(const TreePath& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

std::string owner_of(const DeviceTree& tree, const TreePath& path) {
  for (TreePath at = path; !at.empty(); at = parent_of(at)) {
    const auto node = tree.nodes.find(at);
    if (node != tree.nodes.end() && !node->second.id.empty()) return node->second.id;
  }
  return "";
}

std::vector<base::Json> to_parts(const DeviceTree& tree) {
  std::map<std::string, base::Json> parts;
  std::map<std::string, std::string> part_of_id;
  parts[kBoard] = {{"part", kBoard}};
  for (const auto& [path, node] : tree.nodes) {
    const std::string name = part_of(tree, path);
    if (!node.id.empty()) part_of_id.emplace(node.id, name);
    base::Json& part = parts[name];
    part["part"] = name;
    part["nodes"][path] = to_json(node);
  }
  for (const auto& [path, count] : tree.objects) {
    const std::string id = peripheral_of(path);
    const auto known = part_of_id.find(id);
    const std::string name = id.empty() ? kBoard : known != part_of_id.end() ? known->second : id;
    base::Json& part = parts[name];
    part["part"] = name;
    part["objects"][path] = count;
  }
  if (tree.cut) parts[kBoard]["cut"] = true;
  std::vector<base::Json> contents{std::move(parts[kBoard])};
  parts.erase(kBoard);
  for (auto& [name, part] : parts) contents.push_back(std::move(part));
  return contents;
}

base::Result<DeviceTree> tree_from_parts(const std::vector<const base::Json*>& parts) {
  DeviceTree tree;
  for (const base::Json* part : parts) {
    bool cut = false;
    std::swap(cut, tree.cut);
    if (!read_part(*part, tree)) return wrong_field("device-tree document");
    tree.cut = tree.cut || cut;
  }
  return tree;
}

std::vector<const base::Json*> tree_parts_at(const Observation& observation, const std::string& point) {
  std::vector<const base::Json*> parts;
  for (const Document& document : observation.documents) {
    if (document.kind == document_kind::kDeviceTree && document.point == point) parts.push_back(&document.content);
  }
  return parts;
}

}  // namespace migsoak::record
