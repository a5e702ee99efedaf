// Runs as a gate sees them, made up: clean ones, with figures drawn around those of a real one (precopy under TCG).
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "gate/evidence.h"
#include "gate/gate.h"

namespace migsoak::gate {

inline const Day kDay{std::chrono::year(2026), std::chrono::month(12), std::chrono::day(1)};

inline record::Manifest manifest_of(const std::string& name = "nightly") {
  record::Manifest manifest;
  manifest.run = name + "-20261128T000000Z";
  manifest.scenario = name;
  manifest.scenario_text = "name = \"" + name + "\"\niterations = 3000\nseed = 1\n[[side]]\nname = \"a\"\n";
  manifest.sides = {{"a", "qemu-system-x86_64", "7.2.22"}, {"b", "qemu-system-x86_64", "7.2.22"}};
  manifest.environment = {{"packages", {{"qemu", "7.2"}}},
                          {"guest_image_hash", "fceb"},
                          {"boot_id", "4ea8"},
                          {"host_kernel", "6.1"},
                          {"cores", 2},
                          {"memory_bytes", 25276514304},
                          {"accel", "tcg"},
                          {"containment", "pid-namespace"}};
  return manifest;
}

inline record::Finding leak(double rate = 4) {
  record::Finding finding;
  finding.detector = "fd-leak";
  finding.process = "target:disk0";
  finding.kind = "eventfd";
  finding.rate_per_iteration = rate;
  finding.title = "target:disk0 gains exactly 4 eventfds per iteration";
  finding.fingerprint = "fd-leak-0123456789ab";
  return finding;
}

// A clean run that came to its end, without figures.
inline RunEvidence clean(std::int64_t iterations = 3000) {
  RunEvidence run;
  run.database = "results.db";
  run.manifest = manifest_of();
  run.end = {iterations, iterations, 0, record::end_reason::kFinished};
  run.recorded = record::Verdict::pass;
  run.told = iterations;
  return run;
}

// What one iteration measures.
struct Measured {
  double downtime_ms, total_ms, ram_bytes, gap_ms;
  bool failed = false;
  std::int64_t started_unix_ms = 0;
};

// `downtime` times as long as else; an iteration each second, so that two of these were made in turns; long tails, and
// now and then a host that was busy. `failed_of_1000` iterations fail.
inline std::vector<Measured> measure(std::uint64_t seed, int iterations, double downtime = 1, int fails_every = 0) {
  base::Rng rng(seed);
  const auto between = [&rng](double least, double most) {
    return least + (most - least) * static_cast<double>(rng.below(1'000'000)) / 1e6;
  };
  std::vector<Measured> all;
  for (int i = 0; i < iterations; ++i) {
    const double busy = rng.below(20) == 0 ? between(1, 4) : 1;
    const double paused = (50 + between(0, 20) + between(0, 20) + between(0, 20)) * busy * downtime;
    all.push_back({std::floor(paused), between(300, 420) * busy, between(1.0e8, 1.1e8), paused + between(5, 30),
                   fails_every > 0 && i % fails_every == 0, 1000 * i});
  }
  return all;
}

inline RunEvidence run_of(const std::vector<Measured>& measured) {
  RunEvidence run = clean(static_cast<std::int64_t>(measured.size()));
  for (const Measured& one : measured) {
    run.started_unix_ms.push_back(one.started_unix_ms);
    if (one.failed) {
      ++run.failures;
      continue;
    }
    run.values[{"migration", "downtime_ms", "precopy"}].push_back(one.downtime_ms);
    run.values[{"migration", "total_ms", "precopy"}].push_back(one.total_ms);
    run.values[{"migration", "ram_bytes", "precopy"}].push_back(one.ram_bytes);
    run.values[{"guest", "heartbeat_gap_ms", "precopy"}].push_back(one.gap_ms);
  }
  std::sort(run.started_unix_ms.begin(), run.started_unix_ms.end());
  for (auto& [key, values] : run.values) std::sort(values.begin(), values.end());
  return run;
}

// Two halves, drawn.
inline std::pair<RunEvidence, RunEvidence> halves_of(std::vector<Measured> measured, base::Rng& rng) {
  for (std::size_t i = measured.size(); i > 1; --i) std::swap(measured[i - 1], measured[rng.below(i)]);
  const auto middle = measured.begin() + static_cast<std::ptrdiff_t>(measured.size() / 2);
  return {run_of({measured.begin(), middle}), run_of({middle, measured.end()})};
}

// The lines of one name; of `about`.
inline std::vector<Line> lines_of(const Decision& decision, const std::string& about, const std::string& name = "") {
  std::vector<Line> found;
  for (const Line& line : decision.lines) {
    if (line.about == about && (name.empty() || line.name == name)) found.push_back(line);
  }
  return found;
}

}  // namespace migsoak::gate
