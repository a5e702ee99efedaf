#include "record/reads.h"

#include "base/text.h"

namespace migsoak::record {

const std::vector<ReadInfo>& reads() {
  static const std::vector<ReadInfo> kTable = {
#define READ(name, words, detectors) {name, words, detectors},
#include "record/reads.def"
#undef READ
  };
  return kTable;
}

std::string read_metric(const std::string& name) {
  return "read." + name;
}

Event read_failed(const std::string& read, const std::string& subject, std::int64_t process_id,
                  const std::string& why) {
  Event event;
  event.kind = event_kind::kReadFailed;
  event.subject = subject;
  event.process_id = process_id;
  event.detail = {{"read", read}, {"why", base::printable(why, 300)}};
  event.text = base::printable(read + " of " + subject + " was not read: " + why, 400);
  return event;
}

}  // namespace migsoak::record
