#include "hypervisor/device_tree_text.h"

#include <algorithm>
#include <vector>

#include "base/text.h"

namespace migsoak::hypervisor {

namespace {

using record::DeviceTree;
using record::TreeNode;

constexpr std::string_view kTreeLinesKept[] = {
#define TREE_LINE_KEPT(beginning, reason) beginning,
#define TREE_PROPERTY_LEFT_OUT(property, reason)
#define TREE_OBJECT_LEFT_OUT(type, reason)
#include "hypervisor/device_tree_left_out.def"
#undef TREE_OBJECT_LEFT_OUT
#undef TREE_PROPERTY_LEFT_OUT
#undef TREE_LINE_KEPT
};
constexpr std::string_view kTreePropertiesLeftOut[] = {
#define TREE_LINE_KEPT(beginning, reason)
#define TREE_PROPERTY_LEFT_OUT(property, reason) property,
#define TREE_OBJECT_LEFT_OUT(type, reason)
#include "hypervisor/device_tree_left_out.def"
#undef TREE_OBJECT_LEFT_OUT
#undef TREE_PROPERTY_LEFT_OUT
#undef TREE_LINE_KEPT
};
constexpr std::string_view kTreeObjectsLeftOut[] = {
#define TREE_LINE_KEPT(beginning, reason)
#define TREE_PROPERTY_LEFT_OUT(property, reason)
#define TREE_OBJECT_LEFT_OUT(type, reason) type,
#include "hypervisor/device_tree_left_out.def"
#undef TREE_OBJECT_LEFT_OUT
#undef TREE_PROPERTY_LEFT_OUT
#undef TREE_LINE_KEPT
};

bool begins(std::string_view text, std::string_view with) {
  return text.substr(0, with.size()) == with;
}

// A name in a path: bounded, printable, and without what separates names.
std::string path_name(std::string_view text) {
  std::string name = base::printable(text, kTreeNameBytes);
  std::replace(name.begin(), name.end(), '/', '|');
  return name;
}

// QEMU prints strings in quotes, and numbers in two notations: `256 (0x100)`, `34359738368 (32 GiB)`.
std::string property_value(std::string_view text) {
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"') {
    return base::printable(text.substr(1, text.size() - 2), kTreeValueBytes);
  }
  const bool number = !text.empty() && (text.front() == '-' || (text.front() >= '0' && text.front() <= '9'));
  if (number && text.back() == ')') text = text.substr(0, text.find(" ("));
  return base::printable(text, kTreeValueBytes);
}

struct TreeLine {
  std::size_t indent = 0;
  std::string_view text;
};

// The lines of a text, one after the other; false at its end.
bool next_line(std::string_view& rest, TreeLine& line) {
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view text = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    while (!text.empty() && (text.back() == '\r' || text.back() == ' ')) text.remove_suffix(1);
    line.indent = std::min(text.find_first_not_of(' '), text.size());
    line.text = text.substr(line.indent);
    if (!line.text.empty()) return true;
  }
  return false;
}

class QtreeParser {
 public:
  explicit QtreeParser(DeviceTree& tree) : tree_(tree) {}
  void take(const TreeLine& line);
  void finish();

 private:
  struct Open {
    std::size_t indent = 0;
    std::string name;
    TreeNode node;
    std::vector<Open> below;
  };
  void open(std::size_t indent, std::string name, TreeNode node);
  void close_until(std::size_t indent);
  void close();
  void take_line(std::string_view text);
  void place(const std::string& parent, std::vector<Open>& siblings);

  DeviceTree& tree_;
  std::vector<Open> stack_;  // from the root; what is closed moves into its parent
  std::vector<Open> roots_;
  std::size_t count_ = 0;
  std::map<std::string, int> used_;  // paths, and how many wanted each
};

void QtreeParser::open(std::size_t indent, std::string name, TreeNode node) {
  close_until(indent);
  if (stack_.size() >= kTreeDepthMax || count_ >= kTreeNodesMax) {
    tree_.cut = true;
    return;
  }
  ++count_;
  stack_.push_back({indent, std::move(name), std::move(node), {}});
}

void QtreeParser::close_until(std::size_t indent) {
  while (!stack_.empty() && stack_.back().indent >= indent) close();
}

void QtreeParser::close() {
  Open done = std::move(stack_.back());
  stack_.pop_back();
  (stack_.empty() ? roots_ : stack_.back().below).push_back(std::move(done));
}

void QtreeParser::take(const TreeLine& line) {
  TreeNode node;
  if (begins(line.text, "bus: ")) {
    node.bus = true;
    return open(line.indent, path_name(line.text.substr(5)), std::move(node));
  }
  if (begins(line.text, "dev: ")) {
    const std::string_view rest = line.text.substr(5);
    const std::size_t comma = std::min(rest.find(", id \""), rest.size());
    node.type = base::printable(rest.substr(0, comma), kTreeNameBytes);
    if (comma + 6 < rest.size()) node.id = path_name(rest.substr(comma + 6, rest.size() - comma - 7));
    std::string name = node.id;
    return open(line.indent, std::move(name), std::move(node));
  }
  if (!stack_.empty() && line.indent > stack_.back().indent) take_line(line.text);
}

void QtreeParser::take_line(std::string_view text) {
  TreeNode& node = stack_.back().node;
  if (node.bus) {
    if (begins(text, "type ")) node.type = base::printable(text.substr(5), kTreeNameBytes);
    return;
  }
  std::string name;
  std::string value;
  const std::size_t equals = text.find(" = ");
  if (equals != std::string_view::npos && text.find(' ') == equals) {
    name = base::printable(text.substr(0, equals), kTreeNameBytes);
    const auto& left_out = kTreePropertiesLeftOut;
    if (std::find(std::begin(left_out), std::end(left_out), name) != std::end(left_out)) return;
    value = property_value(text.substr(equals + 3));
  } else if (text.size() > 2 && text.substr(text.size() - 2) == " =") {
    name = base::printable(text.substr(0, text.size() - 2), kTreeNameBytes);
  } else if (std::any_of(std::begin(kTreeLinesKept), std::end(kTreeLinesKept),
                         [&](std::string_view beginning) { return begins(text, beginning); })) {
    const std::size_t last = text.rfind(' ');
    name = base::printable(text.substr(0, last), kTreeNameBytes);
    if (last != std::string_view::npos) value = base::printable(text.substr(last + 1), kTreeValueBytes);
  } else if (const std::size_t at = text.find(", pci id "); begins(text, "class ") && at != std::string_view::npos) {
    name = "pci id";
    value = base::printable(text.substr(at + 9), kTreeValueBytes);
  } else {
    return;
  }
  if (node.props.size() < kTreePropsMax) {
    node.props[name] = std::move(value);
  } else {
    tree_.cut = true;
  }
}

// Siblings are printed in reverse: the last one was made first.
void QtreeParser::place(const std::string& parent, std::vector<Open>& siblings) {
  for (auto sibling = siblings.rbegin(); sibling != siblings.rend(); ++sibling) {
    std::string name = sibling->name;
    if (name.empty()) {
      const auto address = sibling->node.props.find("addr");
      name = address != sibling->node.props.end() ? '@' + path_name(address->second) : path_name(sibling->node.type);
    }
    const std::string path = parent.empty() ? name : parent + '/' + name;
    if (path.size() > kTreePathBytes) {
      tree_.cut = true;
      continue;
    }
    const int number = ++used_[path];
    const std::string numbered = number == 1 ? path : path + '#' + std::to_string(number);
    tree_.nodes.emplace(numbered, std::move(sibling->node));
    place(numbered, sibling->below);
  }
}

void QtreeParser::finish() {
  while (!stack_.empty()) close();
  place("", roots_);
}

// "device[13]" -> "device[ich9-ahci]". A name without an index stays as it is.
std::string object_name(std::string_view name, const std::string& type) {
  const std::size_t bracket = name.rfind('[');
  const bool indexed =
      bracket != std::string_view::npos && name.back() == ']' && bracket + 2 < name.size() &&
      name.substr(bracket + 1, name.size() - bracket - 2).find_first_not_of("0123456789") == std::string_view::npos;
  if (!indexed) return path_name(name);
  return path_name(std::string(name.substr(0, bracket)) + '[' + type + ']');
}

void parse_objects(std::string_view text, DeviceTree& tree) {
  std::vector<std::pair<std::size_t, std::string>> open;  // indentation and path, from the root
  TreeLine line;
  while (next_line(text, line)) {
    const std::size_t at = line.text.rfind(" (");
    if (line.text.front() != '/' || at == std::string_view::npos || line.text.back() != ')') continue;
    const std::string type = base::printable(line.text.substr(at + 2, line.text.size() - at - 3), kTreeNameBytes);
    while (!open.empty() && open.back().first >= line.indent) open.pop_back();
    if (std::find(std::begin(kTreeObjectsLeftOut), std::end(kTreeObjectsLeftOut), type) !=
        std::end(kTreeObjectsLeftOut)) {
      continue;
    }
    // The root is /machine itself.
    const bool root = line.indent == 0;
    std::string path =
        root ? "" : (open.empty() ? "" : open.back().second) + '/' + object_name(line.text.substr(1, at - 1), type);
    if (open.size() >= kTreeDepthMax || path.size() > kTreePathBytes || tree.objects.size() >= kTreeNodesMax) {
      tree.cut = true;
      continue;
    }
    ++tree.objects[(root ? "/" : path) + " (" + type + ')'];
    open.emplace_back(line.indent, std::move(path));
  }
}

}  // namespace

record::DeviceTree parse_device_tree(std::string_view qtree, std::string_view qom_tree) {
  DeviceTree tree;
  tree.cut = qtree.size() > kTreeTextBytesMax || qom_tree.size() > kTreeTextBytesMax;
  QtreeParser parser(tree);
  TreeLine line;
  for (std::string_view rest = qtree.substr(0, kTreeTextBytesMax); next_line(rest, line);) parser.take(line);
  parser.finish();
  parse_objects(qom_tree.substr(0, kTreeTextBytesMax), tree);
  return tree;
}

}  // namespace migsoak::hypervisor
