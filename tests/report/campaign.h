// A database with a leak, a waived log line and a run's end, as report's tests need it.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "report/report.h"
#include "store/scratch.h"
#include "store/store.h"
#include "store/synthetic.h"

namespace migsoak::report {

// The JUnit file as one text.
inline base::Result<std::string> junit_text(const store::Store& store, const std::vector<std::string>& detectors = {}) {
  std::ostringstream out;
  MIGSOAK_TRY(junit(store, detectors, out));
  return out.str();
}

inline record::Finding leak() {
  record::Finding finding;
  finding.detector = "fd-leak";
  finding.process = "target:disk0";
  finding.kind = "eventfd";
  finding.first_iteration = 0;
  finding.detected_iteration = 9;
  finding.rate_per_iteration = 4.0;
  finding.exhausts_at_iteration = 143;
  finding.title = "target:disk0 gains exactly 4 eventfds per iteration; reaches RLIMIT_NOFILE 1024 at iteration 143";
  finding.fingerprint = "fd-leak-0123456789ab";
  finding.evidence = {{"confidence", "exact: +4 in each of 10 iterations"}, {"limit", 1024}, {"base", 7}};
  return finding;
}

struct Campaign {
  explicit Campaign(const std::string& name = "results.db", int iterations = 30, int eventfd_leak = 4) {
    auto created = store::Store::create(directory.file(name), synthetic::manifest(iterations));
    EXPECT_TRUE(created) << created.error().describe();
    store = std::move(*created);
    synthetic::Run run;
    for (int i = 0; i < iterations; ++i) {
      EXPECT_TRUE(store->begin(run.begun()));
      EXPECT_TRUE(store->finish(run.next(eventfd_leak),
                                eventfd_leak != 0 && i >= 9 ? record::Verdict::fail : record::Verdict::pass));
    }
  }
  scratch::Directory directory;
  std::unique_ptr<store::Store> store;
};

}  // namespace migsoak::report
