// thread-leak: threads that are never joined. QEMU's thread pools hold up to 64 workers and fluctuate, so only what
// goes beyond a pool's growth counts: a leak of one per iteration is proven at about iteration 75.
#include "detect/catalog.h"
#include "detect/growth.h"

namespace migsoak::detect {

std::unique_ptr<Detector> make_thread_leak(const record::Manifest& manifest) {
  GrowthConfig config;
  config.detector = "thread-leak";
  config.metrics = {"threads"};
  config.wants = [](const std::string&, const std::string&) { return true; };
  config.slope_min = gate_limit(manifest.gate, "thread_growth_per_iteration");
  if (excluded(manifest.gate, "pool-warm-up")) config.pool_max = gate_limit(manifest.gate, "thread_pool_max");
  config.span_min = 50;
  config.noun = "threads";
  config.amount = count_words;
  return std::make_unique<GrowthDetector>(std::move(config));
}

}  // namespace migsoak::detect
