#include "hypervisor/virtqueue_reader.h"

#include <algorithm>

#include "base/text.h"

namespace migsoak::hypervisor {

namespace {

constexpr std::size_t kDevicesMax = 64;
// The first queues tell how a device was made; asking for one that it does not have is refused, which costs little.
constexpr int kQueuesAsked = 3;
constexpr std::size_t kPathBytesMax = 300;

const char* virtqueue_property(const std::string& type) {
  static constexpr std::pair<const char*, const char*> kTable[] = {
#define VIRTQUEUE_PROPERTY(type, property) {type, property},
#include "hypervisor/virtqueue_properties.def"
#undef VIRTQUEUE_PROPERTY
  };
  for (const auto& [name, property] : kTable) {
    if (type == name) return property;
  }
  return "";
}

// "vd0" of "/machine/peripheral/vd0/virtio-backend"; the whole path where the device has no id of ours.
std::string id_in_path(const std::string& path) {
  constexpr std::string_view kPrefix = "/machine/peripheral/", kSuffix = "/virtio-backend";
  if (path.rfind(kPrefix, 0) != 0 || path.size() <= kPrefix.size() + kSuffix.size() ||
      path.compare(path.size() - kSuffix.size(), kSuffix.size(), kSuffix) != 0) {
    return base::printable(path, kPathBytesMax);
  }
  return base::printable(path.substr(kPrefix.size(), path.size() - kPrefix.size() - kSuffix.size()), kPathBytesMax);
}

}  // namespace

std::vector<std::pair<std::string, base::Json>> VirtqueueAnswers::commands_for(const base::Json& devices) {
  std::vector<std::pair<std::string, base::Json>> commands;
  if (!devices.is_array() || devices.size() > kDevicesMax) return commands;
  result_.emplace();
  for (const base::Json& listed : devices) {
    const std::string path = base::json_get<std::string>(listed, "path", "");
    if (path.empty()) continue;
    record::VirtioDevice device;
    device.id = id_in_path(path);
    device.type = base::json_text(listed, "name", kPathBytesMax);
    device.property = virtqueue_property(device.type);
    const std::size_t index = result_->devices.size();
    for (int queue = 0; queue < kQueuesAsked; ++queue) {
      commands.emplace_back("x-query-virtio-queue-status", base::Json{{"path", path}, {"queue", queue}});
      questions_.push_back({index, queue});
    }
    if (!device.property.empty()) {
      commands.emplace_back("qom-get", base::Json{{"path", path}, {"property", device.property}});
      questions_.push_back({index, -1});
    }
    result_->devices.push_back(std::move(device));
  }
  return commands;
}

std::string VirtqueueAnswers::take(const std::vector<base::Result<base::Json>>& answers) {
  for (std::size_t i = 0; i < std::min(answers.size(), questions_.size()); ++i) {
    if (!answers[i]) continue;
    record::VirtioDevice& device = result_->devices[questions_[i].device];
    if (questions_[i].queue < 0) {
      if (answers[i]->is_number_integer()) device.property_value = answers[i]->get<std::int64_t>();
    } else {
      device.queues.push_back({questions_[i].queue, base::json_get<std::int64_t>(*answers[i], "vring-num", 0),
                               base::json_get<std::int64_t>(*answers[i], "vring-num-default", 0)});
    }
  }
  std::sort(result_->devices.begin(), result_->devices.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  for (const record::VirtioDevice& device : result_->devices) {
    if (device.queues.empty()) return "no queue of " + device.id + " was told of";
  }
  return "";
}

}  // namespace migsoak::hypervisor
