// FindingBook: the findings of one detector, deduplicated by fingerprint, with what the judge wants to know of them.
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

class FindingBook {
 public:
  explicit FindingBook(std::string detector) : detector_(std::move(detector)) {}

  void begin_iteration() { struck_.clear(); }

  struct Strike {
    record::Finding& finding;
    bool fresh;  // just made: the caller fills in title and evidence
  };
  // The finding with this identity, made when it is new; counts the occurrence and notes the iteration.
  // `text` is folded (record::normalise_text) into the fingerprint.
  Strike strike(std::int64_t iteration, const std::string& process, const std::string& kind, const std::string& text,
                std::int64_t times = 1);
  // One that strike() made before.
  record::Finding& find(const std::string& process, const std::string& kind, const std::string& text);
  // For changes made through a reference from strike() or find().
  void touch() { ++revision_; }

  std::vector<record::Finding> all() const;
  std::uint64_t revision() const { return revision_; }
  const std::vector<std::string>& struck() const { return struck_; }

 private:
  std::string detector_;
  std::map<std::string, record::Finding> findings_;
  std::vector<std::string> struck_;
  std::uint64_t revision_ = 0;
};

// What a harness series shows is the harness's own fault, all else the subject's.
record::Blame blame_of(const std::string& process);

// A detector whose findings live in a book.
class BookDetector : public Detector {
 public:
  explicit BookDetector(std::string detector) : book_(std::move(detector)) {}
  void observe(const record::Observation& observation) final {
    book_.begin_iteration();
    fold(observation);
  }
  std::vector<record::Finding> findings() const override { return book_.all(); }
  std::uint64_t revision() const override { return book_.revision(); }
  const std::vector<std::string>& struck() const override { return book_.struck(); }

 protected:
  virtual void fold(const record::Observation& observation) = 0;
  FindingBook book_;
};

}  // namespace migsoak::detect
