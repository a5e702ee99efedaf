// FindingSet: the findings of one detector, deduplicated by fingerprint, with what the judge wants to know of them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "detect/judge.h"

namespace migsoak::detect {

// A subject can produce any number of different troubles (a log full of noise); beyond this they share one finding.
inline constexpr std::size_t kFindingsMax = 200;
// Iterations listed in a finding's evidence.
inline constexpr std::size_t kIterationsListedMax = 32;

class FindingSet {
 public:
  explicit FindingSet(std::string detector) : detector_(std::move(detector)) {}

  void begin_iteration() { touched_.clear(); }

  struct Reported {
    record::Finding& finding;
    bool fresh;  // just made: the caller fills in title and evidence
  };
  // The finding with this identity, made when it is new; counts the occurrence and notes the iteration.
  // `text` is folded (record::normalise_text) into the fingerprint.
  Reported report(std::int64_t iteration, const std::string& process, const std::string& kind, const std::string& text,
                  std::int64_t times = 1);
  // One that report() made before.
  record::Finding& find(const std::string& process, const std::string& kind, const std::string& text);
  // For changes made through a reference from report() or find().
  void touch() { ++revision_; }

  std::vector<record::Finding> all() const;
  std::uint64_t revision() const { return revision_; }
  const std::vector<std::string>& touched() const { return touched_; }

 private:
  std::string detector_;
  std::map<std::string, record::Finding> findings_;
  std::vector<std::string> touched_;
  std::uint64_t revision_ = 0;
};

// What a harness series shows is the harness's own fault, all else the subject's.
record::Blame blame_of(const std::string& process);

// A detector whose findings live in a book.
class FindingSetDetector : public Detector {
 public:
  explicit FindingSetDetector(std::string detector) : found_(std::move(detector)) {}
  void observe(const record::Observation& observation) final {
    found_.begin_iteration();
    fold(observation);
  }
  std::vector<record::Finding> findings() const override { return found_.all(); }
  std::uint64_t revision() const override { return found_.revision(); }
  const std::vector<std::string>& touched() const override { return found_.touched(); }

 protected:
  virtual void fold(const record::Observation& observation) = 0;
  FindingSet found_;
};

}  // namespace migsoak::detect
