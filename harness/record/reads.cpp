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

void record_failed_read(const FailedRead& failed, Journal& journal) {
  journal.event(event_kind::kReadFailed, failed.subject)
      .process(failed.process_id)
      .text(base::printable(failed.read + " of " + failed.subject + " was not read: " + failed.why, 400))
      .detail({{"read", failed.read}, {"why", base::printable(failed.why, 300)}})
      .since(failed.phase, failed.at_ms);
}

}  // namespace migsoak::record
