#include "record/config_space.h"

#include <algorithm>

#include "record/json_fields.h"

namespace migsoak::record {

namespace {

// Calls `read` for each element of a list that may be absent; false when it is no list or an element is refused.
template <typename T, typename Read>
bool read_list(const base::Json& json, const char* key, std::vector<T>& into, Read&& read) {
  const auto found = json.find(key);
  if (found == json.end()) return true;
  if (!found->is_array()) return false;
  return std::all_of(found->begin(), found->end(),
                     [&](const base::Json& item) { return item.is_object() && read(item, into.emplace_back()); });
}

bool read_bar(const base::Json& json, ConfigBar& bar) {
  return read_field(json, "index", bar.index) && read_field(json, "kind", bar.kind) &&
         read_field(json, "address", bar.address) && read_field(json, "size", bar.size);
}

bool read_function(const base::Json& json, ConfigFunction& function) {
  return read_field(json, "address", function.address) && read_field(json, "path", function.path) &&
         read_field(json, "id", function.id) && read_field(json, "device", function.device) &&
         read_field(json, "size", function.size) && read_field(json, "bytes", function.bytes) &&
         read_field(json, "writable", function.writable) && read_field(json, "device_config", function.device_config) &&
         read_list(json, "bars", function.bars, read_bar);
}

bool read_queue(const base::Json& json, Virtqueue& queue) {
  return read_field(json, "index", queue.index) && read_field(json, "size", queue.size) &&
         read_field(json, "size_default", queue.size_default);
}

bool read_virtio_device(const base::Json& json, VirtioDevice& device) {
  return read_field(json, "id", device.id) && read_field(json, "type", device.type) &&
         read_field(json, "property", device.property) && read_field(json, "property_value", device.property_value) &&
         read_list(json, "queues", device.queues, read_queue);
}

void put_text(base::Json& json, const char* key, const std::string& value) {
  if (!value.empty()) json[key] = value;
}

}  // namespace

const ConfigFunction* ConfigSpace::find(const std::string& path) const {
  const auto found = std::find_if(functions.begin(), functions.end(), [&](const auto& f) { return f.path == path; });
  return found == functions.end() ? nullptr : &*found;
}

const VirtioDevice* Virtqueues::find(const std::string& id) const {
  const auto found = std::find_if(devices.begin(), devices.end(), [&](const auto& d) { return d.id == id; });
  return found == devices.end() ? nullptr : &*found;
}

base::Json to_json(const ConfigSpace& space) {
  base::Json functions = base::Json::array();
  for (const ConfigFunction& function : space.functions) {
    base::Json json = {{"path", function.path}, {"device", function.device}};
    put_text(json, "address", function.address);
    put_text(json, "id", function.id);
    put_text(json, "bytes", function.bytes);
    put_text(json, "writable", function.writable);
    put_text(json, "device_config", function.device_config);
    if (function.size != 0) json["size"] = function.size;
    for (const ConfigBar& bar : function.bars) {
      json["bars"].push_back({{"index", bar.index}, {"kind", bar.kind}, {"address", bar.address}, {"size", bar.size}});
    }
    functions.push_back(std::move(json));
  }
  return {{"method", space.method}, {"functions", functions}};
}

base::Result<ConfigSpace> config_space_from_json(const base::Json& json) {
  ConfigSpace space;
  if (!json.is_object() || !read_field(json, "method", space.method) ||
      !read_list(json, "functions", space.functions, read_function)) {
    return wrong_field("config-space document");
  }
  return space;
}

base::Json to_json(const Virtqueues& virtqueues) {
  base::Json devices = base::Json::array();
  for (const VirtioDevice& device : virtqueues.devices) {
    base::Json json = {{"id", device.id}, {"type", device.type}};
    put_text(json, "property", device.property);
    if (device.property_value) json["property_value"] = *device.property_value;
    for (const Virtqueue& queue : device.queues) {
      json["queues"].push_back({{"index", queue.index}, {"size", queue.size}, {"size_default", queue.size_default}});
    }
    devices.push_back(std::move(json));
  }
  return {{"devices", devices}};
}

base::Result<Virtqueues> virtqueues_from_json(const base::Json& json) {
  Virtqueues virtqueues;
  if (!json.is_object() || !read_list(json, "devices", virtqueues.devices, read_virtio_device)) {
    return wrong_field("virtqueues document");
  }
  return virtqueues;
}

}  // namespace migsoak::record
