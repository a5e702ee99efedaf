// memory-growth: memory that a process goes on taking after its pools have filled.
//
// The traps: a clean storage daemon's RSS creeps by half a megabyte over 60 migrations while coroutine stacks are
// touched, SPDK's by 1.15 MB per migration for 28 migrations, then both stay flat. Hence the warm-up.
#include "detect/catalog.h"
#include "detect/growth.h"

namespace migsoak::detect {

std::unique_ptr<Detector> make_memory_growth(const record::Manifest& manifest) {
  GrowthConfig config;
  config.detector = "memory-growth";
  config.metrics = {"heap_bytes", "anon_bytes", "pss_bytes", "rss_bytes"};
  // A QEMU's resident set holds the guest's RAM; what the guest touches is its own business.
  config.wants = [](const std::string& process, const std::string& metric) {
    return !is_qemu(process) || metric == "heap_bytes" || metric == "anon_bytes";
  };
  config.slope_min = gate_limit(manifest.gate, "memory_growth_bytes_per_iteration");
  if (excluded(manifest.gate, "pool-warm-up")) {
    config.warm_up = static_cast<std::int32_t>(gate_limit(manifest.gate, "pool_warm_up_iterations"));
  }
  config.span_min = 62;
  config.amount = byte_words;
  return std::make_unique<GrowthDetector>(std::move(config));
}

}  // namespace migsoak::detect
