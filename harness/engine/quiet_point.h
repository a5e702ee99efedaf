// The quiet point of an iteration: counts have settled, and everything is sampled. Also what is sampled before it, of
// processes that will not live to see it.
#pragma once

#include <cstdint>
#include <map>

#include "engine/iteration_context.h"
#include "engine/settle.h"
#include "engine/step.h"

namespace migsoak::engine {

// The most descriptors that each target had while the guest moved.
class DescriptorPeaks {
 public:
  // Borrows both.
  DescriptorPeaks(Lineage& lineage, record::Journal& journal) : lineage_(lineage), journal_(journal) {}
  void sample();
  void record() const;

 private:
  Lineage& lineage_;
  record::Journal& journal_;
  std::map<std::int64_t, int> peaks_;  // process id -> descriptors
};

class QuietPoint {
 public:
  QuietPoint(IterationContext& iteration, const DescriptorPeaks& peaks) : iteration_(iteration), peaks_(peaks) {}
  // Waits until counts have settled.
  StepOutcome settle();
  // Samples everything.
  StepOutcome sample();

 private:
  IterationContext& iteration_;
  const DescriptorPeaks& peaks_;
  SettleReport settled_;
};

// What is to be seen of a process while it is itself: children that it did not wait for, and the like.
void sample_before_teardown(Lineage& lineage, record::Journal& journal, const Vm& vm);

}  // namespace migsoak::engine
