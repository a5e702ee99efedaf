// Exec generations: what goes on when a pid gets a new image.
#include "probes/ancestry.h"

namespace migsoak::probes {

namespace {
constexpr std::size_t kGenerationsMax = 16384;  // entries; ids grow, so the oldest go
}

void adopt_generation(ProbeState& state, std::int64_t old_process_id, const Subject& next) {
  ProbeState::Impl& impl = state.impl();
  impl.generations[next.process_id] = generation_of(impl, old_process_id) + 1;
  if (impl.generations.size() > kGenerationsMax) impl.generations.erase(impl.generations.begin());
  // The ledger says what it held at the last look; when there was none since the exec before this one, what was handed
  // on then.
  for (auto* held : {&impl.ledger, &impl.before_exec}) {
    const auto old = held->find(old_process_id);
    if (old == held->end()) continue;
    impl.before_exec.try_emplace(next.process_id, std::move(old->second));
    held->erase(old);
  }
  found_next_generation(impl, old_process_id, next);
  adopt(state, next);
}

int generation_of(const ProbeState::Impl& state, std::int64_t process_id) {
  const auto known = state.generations.find(process_id);
  return known == state.generations.end() ? 0 : known->second;
}

}  // namespace migsoak::probes
