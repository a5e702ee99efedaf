#include "detect/fd_generations.h"

#include <algorithm>

namespace migsoak::detect {

void ExecSteps::add(std::int64_t pid_life, int generation, std::int32_t iteration, std::int32_t value,
                    ClassId class_id) {
  if (pid_life != pid_life_) cut();
  pid_life_ = pid_life;
  const auto [anchor, fresh] = anchors_.try_emplace(class_id, Anchor{generation, value});
  if (fresh || generation <= anchor->second.generation) {
    anchor->second = {generation, value};
    return;
  }
  steps_.push_back({iteration, value - anchor->second.value, generation - anchor->second.generation, class_id});
  if (steps_.size() > static_cast<std::size_t>(kExecSteps)) steps_.pop_front();
  anchor->second = {generation, value};
}

std::optional<LeakProof> ExecSteps::proof() const {
  if (steps_.size() < static_cast<std::size_t>(kExecSteps)) return std::nullopt;
  const Step& first = steps_.front();
  const bool equal = std::all_of(steps_.begin(), steps_.end(), [&](const Step& step) {
    return step.rise > 0 && std::int64_t{step.rise} * first.generations == std::int64_t{first.rise} * step.generations;
  });
  if (!equal) return std::nullopt;
  LeakProof proof;
  proof.rule = "exec-generation";
  proof.rate = static_cast<double>(first.rise) / first.generations;
  proof.step = proof.rate;
  proof.since_iteration = first.iteration;
  proof.window_first = first.iteration;
  proof.window_last = steps_.back().iteration;
  proof.points = kExecSteps;
  for (const Step& step : steps_) {
    if (std::find(proof.classes.begin(), proof.classes.end(), step.class_id) == proof.classes.end()) {
      proof.classes.push_back(step.class_id);
    }
  }
  return proof;
}

}  // namespace migsoak::detect
