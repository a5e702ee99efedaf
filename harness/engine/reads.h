// Reads: what an iteration wanted to read, and what came of it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "record/journal.h"
#include "record/reads.h"

namespace migsoak::engine {

class Reads {
 public:
  explicit Reads(record::Journal& journal) : journal_(journal) {}  // borrows

  // It was wanted, and is whole as far as one knows.
  void done(const std::string& read) { whole_.try_emplace(read, true); }
  // It was wanted of this process and failed, or was cut short. Told at the end, unless the process turns out to have
  // ended unasked in this iteration: then that is what there is to tell.
  void failed(const std::string& read, const std::string& subject, std::int64_t process_id, const std::string& why);
  // At the iteration's end: events, and a sample for each read that was wanted. Counts what others have recorded as
  // failed (probes).
  void conclude();

 private:
  record::Journal& journal_;
  std::map<std::string, bool> whole_;
  std::vector<record::FailedRead> failed_;
};

}  // namespace migsoak::engine
