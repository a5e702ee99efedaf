// LineageWatch: the processes of a lineage, the guest's console and the user's wish to stop, as an iteration sees them.
#pragma once

#include "engine/iteration_context.h"
#include "engine/step.h"

namespace migsoak::engine {

class LineageWatch : public ProcessWatch {
 public:
  explicit LineageWatch(IterationContext& iteration) : iteration_(iteration) {}
  // Ends that are forgotten are null in the context afterwards.
  StepResult check() override;
  StepResult explain(const Trouble& trouble) override;

 private:
  StepResult explain_timeout(const Trouble& trouble);

  IterationContext& iteration_;
};

}  // namespace migsoak::engine
