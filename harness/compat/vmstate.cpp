#include "compat/vmstate.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/text.h"

namespace migsoak::compat {
using base::Json;

namespace {

constexpr int kVmstateDepthMax = 12;

// Some dumps hold the same field name more than once (arrays of structs): the n-th of a name is compared with the n-th.
std::map<std::string, const Json*> by_name(const Json& array, const char* key) {
  std::map<std::string, const Json*> named;
  if (!array.is_array()) return named;
  std::map<std::string, int> seen;
  for (const Json& item : array) {
    const auto name = base::json_get<std::string>(item, key, "");
    const int count = seen[name]++;
    named.emplace(count == 0 ? name : fmt::format("{}#{}", name, count + 1), &item);
  }
  return named;
}

const Json& member(const Json& object, const char* key) {
  static const Json kNothing;
  const auto found = object.is_object() ? object.find(key) : object.end();
  return object.is_object() && found != object.end() ? *found : kNothing;
}

class Compare {
 public:
  void description(const std::string& where, const Json& from, const Json& to, int depth);
  std::vector<std::string> take() {
    if (count_ > lines_.size()) lines_.push_back(fmt::format("and {} more", count_ - lines_.size()));
    return std::move(lines_);
  }
  void say(const std::string& line) {
    if (++count_ <= kVmstateLines) lines_.push_back(base::printable(line, 300));
  }

 private:
  void number(const std::string& where, const char* key, const Json& from, const Json& to) {
    const auto a = base::json_get<std::int64_t>(from, key, 0), b = base::json_get<std::int64_t>(to, key, 0);
    if (a != b) say(fmt::format("{}: {} {} on the source, {} on the destination", where, key, a, b));
  }
  void children(const std::string& where, const char* list, const char* key, const Json& from, const Json& to,
                int depth);

  std::vector<std::string> lines_;
  std::size_t count_ = 0;
};

void Compare::children(const std::string& where, const char* list, const char* key, const Json& from, const Json& to,
                       int depth) {
  const bool fields = std::string_view(list) == "Fields";
  const auto a = by_name(member(from, list), key), b = by_name(member(to, list), key);
  const std::string kind = fields ? "field" : "subsection";
  for (const auto& [name, item] : a) {
    const auto other = b.find(name);
    if (other == b.end()) {
      say(fmt::format("{}: {} '{}' on the source only", where, kind, name));
    } else if (fields) {
      const std::string here = where + "/" + name;
      number(here, "version_id", *item, *other->second);
      // Of a struct it is what the struct takes in QEMU's memory, not in the stream.
      if (!item->contains("Description")) number(here, "size", *item, *other->second);
      description(here, member(*item, "Description"), member(*other->second, "Description"), depth + 1);
    } else {
      description(where + "/" + name, *item, *other->second, depth + 1);
    }
  }
  for (const auto& [name, item] : b) {
    if (a.count(name) == 0) say(fmt::format("{}: {} '{}' on the destination only", where, kind, name));
  }
}

void Compare::description(const std::string& where, const Json& from, const Json& to, int depth) {
  if (depth > kVmstateDepthMax || (!from.is_object() && !to.is_object())) return;
  number(where, "version_id", from, to);
  number(where, "minimum_version_id", from, to);
  children(where, "Fields", "field", from, to, depth);
  children(where, "Subsections", "name", from, to, depth);
}

}  // namespace

std::vector<std::string> vmstate_types(std::string_view driver) {
  std::vector<std::string> types{std::string(driver)};
  for (const std::string_view suffix : {"-non-transitional", "-transitional"}) {
    if (driver.ends_with(suffix)) driver.remove_suffix(suffix.size());
  }
  if (driver.starts_with("virtio-") && driver.ends_with("-pci")) {
    types.push_back(std::string(driver.substr(0, driver.size() - 4)) + "-device");
  } else if (driver.starts_with("vhost-user-") && driver.ends_with("-pci")) {
    types.emplace_back(driver.substr(0, driver.size() - 4));
  } else if (driver == "virtio-vga") {
    types.emplace_back("virtio-gpu-device");
  }
  return types;
}

std::vector<std::string> compare_vmstate(const Json& from, const Json& to, std::string_view driver) {
  Compare compare;
  for (const std::string& type : vmstate_types(driver)) {
    const Json &a = member(from, type.c_str()), &b = member(to, type.c_str());
    if (a.is_null() && b.is_null()) continue;
    if (a.is_null() || b.is_null()) {
      compare.say(fmt::format("{}: described on the {} only", type, a.is_null() ? "destination" : "source"));
      continue;
    }
    if (base::json_get<std::string>(a, "Name", "") != base::json_get<std::string>(b, "Name", "")) {
      compare.say(type + ": the section's type name differs");
    }
    compare.description(type, member(a, "Description"), member(b, "Description"), 0);
  }
  return compare.take();
}

}  // namespace migsoak::compat
