#include "hypervisor/device_tree_reader.h"

#include <algorithm>

#include "base/text.h"
#include "hypervisor/device_tree_text.h"

namespace migsoak::hypervisor {

namespace {

// One for each build of a ping-pong, before and after a load, and a few for devices that come and go.
constexpr std::size_t kTreesRemembered = 8;
constexpr std::size_t kAnswerShownBytes = 120;

// The human monitor has no errors: what it can't do it says in words.
base::Result<std::string> text_answer(qmp::Monitor& client, std::uint64_t id, const char* beginning,
                                      base::Deadline deadline) {
  MIGSOAK_ASSIGN(const base::Json answer, client.take_reply(id, deadline));
  if (!answer.is_string()) return base::fail(base::ErrorKind::subject, "a monitor command did not answer with text");
  std::string text = answer.get<std::string>();
  if (text.rfind(beginning, 0) == 0) return text;
  return base::fail(base::ErrorKind::subject, "not a tree: " + base::printable(text, kAnswerShownBytes));
}

}  // namespace

DeviceTreeReading DeviceTreeReader::begin(qmp::Monitor& client, const std::string& subject, std::int64_t process_id,
                                          const std::string& point) const {
  DeviceTreeReading reading;
  reading.client = &client;
  reading.subject = subject;
  reading.process_id = process_id;
  reading.point = point;
  reading.qtree = client.send("human-monitor-command", {{"command-line", "info qtree"}});
  reading.qom_tree = client.send("human-monitor-command", {{"command-line", "info qom-tree"}});
  return reading;
}

base::Result<std::vector<record::Document>> DeviceTreeReader::finish(const DeviceTreeReading& reading,
                                                                     base::Deadline deadline) {
  const std::string what = "device tree of " + reading.subject;
  MIGSOAK_ASSIGN(std::string qtree, text_answer(*reading.client, reading.qtree, "bus: ", deadline), what);
  MIGSOAK_ASSIGN(std::string qom_tree, text_answer(*reading.client, reading.qom_tree, "/machine", deadline), what);
  auto known = std::find_if(known_.begin(), known_.end(),
                            [&](const Known& k) { return k.qtree == qtree && k.qom_tree == qom_tree; });
  if (known == known_.end()) {
    if (known_.size() >= kTreesRemembered) known_.pop_back();
    known_.push_front({std::move(qtree), std::move(qom_tree), {}});
    known = known_.begin();
    known->parts = record::to_parts(parse_device_tree(known->qtree, known->qom_tree));
  }
  std::vector<record::Document> documents;
  documents.reserve(known->parts.size());
  for (const base::Json& part : known->parts) {
    documents.push_back({record::document_kind::kDeviceTree, reading.subject, reading.process_id, reading.point, part});
  }
  return documents;
}

}  // namespace migsoak::hypervisor
