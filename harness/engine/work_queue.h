// WorkQueue: the iterations of a run that are still to be done, handed out to its lanes a stretch at a time. A stretch
// is one guest's life: it never goes over the end of a lineage (run.lineage, and with it a pair of sides), and what an
// earlier session finished is in none. Starts nothing; thread-safe.
#pragma once

#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <vector>

namespace migsoak::engine {

// Iterations from begin on, end not included.
struct Stretch {
  std::int64_t begin = 0, end = 0;
  std::int64_t size() const { return end - begin; }
  bool operator==(const Stretch&) const = default;
};

// A set of iterations, cheap where they come in order.
class IterationSet {
 public:
  void add(std::int64_t iteration) { add(Stretch{iteration, iteration + 1}); }
  void add(Stretch stretch);
  // Of `range`, what is not in here; in order.
  std::vector<Stretch> missing_of(Stretch range) const;
  std::int64_t last() const;  // the greatest, -1 when empty

 private:
  std::vector<Stretch> stretches_;
};

class WorkQueue {
 public:
  // `missing`: in order, disjoint. `lineage`: run.lineage. 0: a guest lives as long as the run does, so what is missing
  // is cut into blocks, one for each lane if there is enough: even blocks of a new run, and of a resumed one every
  // missing stretch gets lanes by its length.
  WorkQueue(std::vector<Stretch> missing, std::int64_t lineage, int lanes);

  // How many lanes have something to do; at least 1.
  int lanes() const { return lanes_; }
  // The next stretch, lowest first; none: all is handed out.
  std::optional<Stretch> take();

  // Of a stretch that was taken: this is done, and that will not be, as the scenario has it.
  void finished(std::int64_t iteration);
  void left_out(Stretch rest);

  std::int64_t missing() const;  // neither finished nor left out
  std::int64_t left_out() const;

 private:
  mutable std::mutex mutex_;
  std::deque<Stretch> pieces_;  // not yet handed out
  std::int64_t lineage_;
  int lanes_ = 1;
  std::int64_t missing_ = 0, left_out_ = 0;
};

}  // namespace migsoak::engine
