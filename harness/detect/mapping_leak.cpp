// mapping-leak: mappings that are never unmapped.
//
// The trap: a clean storage daemon gains exactly two per migration for about 60 iterations (142 to 266: QEMU's
// coroutine pool, a stack and a guard page each), then none. Hence both a warm-up and a bound: a leak is what goes on
// growing after the one and beyond the other.
#include "detect/catalog.h"
#include "detect/growth.h"

namespace migsoak::detect {

std::unique_ptr<Detector> make_mapping_leak(const record::Manifest& manifest) {
  GrowthConfig config;
  config.detector = "mapping-leak";
  config.metrics = {"mappings"};
  config.wants = [](const std::string&, const std::string&) { return true; };
  config.slope_min = gate_limit(manifest.gate, "mapping_growth_per_iteration");
  if (excluded(manifest.gate, "pool-warm-up")) {
    config.pool_max = gate_limit(manifest.gate, "mapping_pool_max");
    config.warm_up = static_cast<std::int32_t>(gate_limit(manifest.gate, "pool_warm_up_iterations"));
  }
  config.span_min = 55;
  config.noun = "mappings";
  config.amount = count_words;
  return std::make_unique<GrowthDetector>(std::move(config));
}

}  // namespace migsoak::detect
