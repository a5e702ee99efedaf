#include "detect/fd_generations.h"

#include <algorithm>

namespace migsoak::detect {

namespace {
constexpr int kLastStandardStream = 2;

LeakProof proof_of(double rate, std::int32_t first, std::int32_t last) {
  LeakProof proof;
  proof.rule = "exec-generation";
  proof.rate = rate;
  proof.step = rate;
  proof.since_iteration = first;
  proof.window_first = first;
  proof.window_last = last;
  proof.points = kGenerations;
  return proof;
}
}  // namespace

std::map<std::int64_t, std::map<std::string, InheritedFds>> inherited_in(const record::Observation& observation) {
  std::map<std::int64_t, std::map<std::string, InheritedFds>> inherited;
  for (const record::DescriptorBirth& birth : observation.births) {
    if (birth.fd > kLastStandardStream && starts_with(birth.detail, record::kNotCloseOnExec)) {
      InheritedFds& of_kind = inherited[birth.process_id][birth.kind];
      ++of_kind.count;
      of_kind.example = birth.detail;
    }
  }
  return inherited;
}

void GenerationGrowth::add(std::int64_t pid_life, int generation, std::int32_t iteration, std::int32_t value,
                           ClassId class_id) {
  if (pid_life != pid_life_) cut();
  pid_life_ = pid_life;
  const auto [anchor, fresh] = anchors_.try_emplace(class_id, Anchor{generation, value});
  if (fresh || generation <= anchor->second.generation) {
    anchor->second = {generation, value};
    return;
  }
  steps_.push_back({iteration, value - anchor->second.value, generation - anchor->second.generation, class_id});
  if (steps_.size() > static_cast<std::size_t>(kGenerations)) steps_.pop_front();
  anchor->second = {generation, value};
}

std::optional<LeakProof> GenerationGrowth::proof() const {
  if (steps_.size() < static_cast<std::size_t>(kGenerations)) return std::nullopt;
  const Step& first = steps_.front();
  const bool equal = std::all_of(steps_.begin(), steps_.end(), [&](const Step& step) {
    return step.rise > 0 && std::int64_t{step.rise} * first.generations == std::int64_t{first.rise} * step.generations;
  });
  if (!equal) return std::nullopt;
  LeakProof proof =
      proof_of(static_cast<double>(first.rise) / first.generations, first.iteration, steps_.back().iteration);
  for (const Step& step : steps_) {
    if (std::find(proof.classes.begin(), proof.classes.end(), step.class_id) == proof.classes.end()) {
      proof.classes.push_back(step.class_id);
    }
  }
  return proof;
}

void GenerationGrowth::add_inherited(const std::string& process, std::int32_t iteration, std::int32_t count,
                                     ClassId class_id) {
  auto& images = images_[process];
  images.push_back({iteration, count, class_id});
  if (images.size() > static_cast<std::size_t>(kGenerations)) images.pop_front();
}

std::optional<LeakProof> GenerationGrowth::proof_by_inherited(const std::string& process) const {
  const auto found = images_.find(process);
  if (found == images_.end() || found->second.size() < static_cast<std::size_t>(kGenerations)) return std::nullopt;
  const std::deque<Image>& images = found->second;
  const std::int32_t each = images.front().inherited;
  const bool equal =
      std::all_of(images.begin(), images.end(), [&](const Image& image) { return image.inherited == each; });
  if (each <= 0 || !equal) return std::nullopt;
  LeakProof proof = proof_of(each, images.front().iteration, images.back().iteration);
  proof.classes = {images.back().class_id};
  return proof;
}

}  // namespace migsoak::detect
