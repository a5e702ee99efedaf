// bench_record: what a long record costs to write and to read. A synthetic one, in which machine types, documents,
// hotplug, log lines, failures and findings occur, goes through the recorder and is then read as `report`, `report
// --junit` and `judge` do. Prints time, peak memory and bytes per iteration; demands nothing.
//
//   bench_record [--iterations N] [--db FILE]     a FILE that exists is read only, and kept in any case
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>

#include "detect/judge.h"
#include "engine/recorder.h"
#include "record/run_end.h"
#include "report/report.h"
#include "store/store.h"
#include "store/synthetic.h"

namespace migsoak::bench {
namespace {

namespace fs = std::filesystem;
using base::Result;

constexpr std::int64_t kLineageIterations = 100;

record::Manifest manifest(std::int64_t iterations) {
  record::Manifest manifest = synthetic::manifest(iterations);
  manifest.scenario_text =
      "name = \"synthetic\"\n[guest]\nmachine = [\"q35\", \"pc\"]\n[hotplug]\n[hotplug.kinds]\ncpu = 1\nvirtio-blk = "
      "1\n";
  manifest.gate.severity["log-signature"] = record::Severity::warn;
  return manifest;
}

// Every second iteration plugs or unplugs something, and the guest confirms it.
void add_hotplug(record::Observation& o) {
  if (o.iteration % 2 != 0) return;
  const bool plug = o.iteration % 4 == 0;
  const std::string kind = o.iteration % 8 < 4 ? "cpu" : "virtio-blk";
  o.plan.operations.push_back({kind, plug ? "plug" : "unplug", "settled", "hp0", "rp0", "0x0"});
  o.events.push_back({record::event_kind::kHotplug,
                      "guest",
                      0,
                      "hotplug",
                      12.25,
                      "",
                      {{"kind", kind},
                       {"action", plug ? "plug" : "unplug"},
                       {"timing", "settled"},
                       {"device", "hp0"},
                       {"machine", o.plan.machine},
                       {"address", "rp0/0x0"},
                       {"result", "done"},
                       {"confirmed", true},
                       {"took_ms", 30 + 0.001 * static_cast<double>(o.iteration % 9973)}}});
}

// The bytes that arrive are those that were sent: a drift in every byte of every iteration is no soak.
void agree_on_config_space(record::Observation& o) {
  base::Json *source = nullptr, *destination = nullptr;
  for (record::Document& document : o.documents) {
    if (document.kind != record::document_kind::kConfigSpace) continue;
    (document.point == "source" ? source : destination) = &document.content;
  }
  if (source == nullptr || destination == nullptr) return;
  for (std::size_t i = 0; i < (*source)["functions"].size(); ++i) {
    (*source)["functions"][i]["bytes"] = (*destination)["functions"][i]["bytes"];
  }
}

void add_trouble(record::Observation& o) {
  if (o.iteration % 20 == 7) {  // noise that is a finding, again and again
    o.events.push_back({record::event_kind::kLogLine, "qemu:a", 0, "migrate", 3,
                        "qemu-system-x86_64: Failed to load virtio-blk:virtio", base::Json::object()});
  }
  if (o.iteration % 1000 != 999) return;
  o.status = record::IterationStatus::failed;
  o.events.push_back({record::event_kind::kMigrationFailed,
                      "qemu:b",
                      0,
                      "migrate",
                      40,
                      "",
                      {{"error_desc", "load of migration failed"}, {"status", "failed"}, {"side", "destination"}}});
}

Result<void> write(const std::string& path, std::int64_t iterations) {
  MIGSOAK_ASSIGN(const auto store, store::Store::create(path, manifest(iterations)));
  engine::Recorder recorder(*store);
  synthetic::Run run;
  record::ProcessInstance harness;
  for (std::int64_t i = 0; i < iterations; ++i) {
    record::Observation o = run.next();
    o.lineage = static_cast<int>(i / kLineageIterations);
    o.plan.machine = o.lineage % 2 == 0 ? "q35" : "pc";
    if (i == 0) harness = o.processes_born.front();
    if (i > 0 && i % kLineageIterations == 0) o.processes_born.push_back(harness);
    agree_on_config_space(o);
    add_hotplug(o);
    add_trouble(o);
    MIGSOAK_TRY(recorder.begin(o));
    MIGSOAK_TRY(recorder.finish(o));
  }
  return recorder.end({iterations, iterations, 0, record::end_reason::kFinished});
}

Result<void> read_text(const std::string& path) {
  MIGSOAK_ASSIGN(const auto store, store::Store::open(path));
  MIGSOAK_ASSIGN(const std::string text, report::text(*store, 100, false));
  std::cout << (std::getenv("MIGSOAK_BENCH_SHOW") != nullptr ? text : "");
  return {};
}

Result<void> read_junit(const std::string& path) {
  MIGSOAK_ASSIGN(const auto store, store::Store::open(path));
  std::vector<std::string> names;
  for (const detect::DetectorInfo& detector : detect::detectors()) names.push_back(detector.name);
  std::ofstream out("/dev/null");
  return report::junit(*store, names, out);
}

Result<void> judge(const std::string& path) {
  MIGSOAK_ASSIGN(const auto store, store::Store::open(path, /*writable=*/true));
  detect::Judge judge(store->manifest());
  MIGSOAK_TRY(store->for_each_observation([&judge](const record::Observation& observation) -> Result<void> {
    judge.observe(observation);
    return {};
  }));
  return store->replace_findings(judge.findings(), judge.exclusions());
}

Result<void> read_only(const std::string& path) {
  MIGSOAK_ASSIGN(const auto store, store::Store::open(path));
  return store->for_each_observation([](const record::Observation&) -> Result<void> { return {}; });
}

// In a process of its own, so that the peak is its own.
bool measure(const char* name, std::int64_t iterations, const std::function<Result<void>()>& work) {
  const auto began = std::chrono::steady_clock::now();
  const pid_t child = ::fork();
  if (child < 0) return false;
  if (child == 0) {
    const Result<void> done = work();
    if (!done) std::cerr << name << ": " << done.error().describe() << '\n';
    std::cout.flush();
    ::_exit(done ? 0 : 1);
  }
  int status = 0;
  rusage usage{};
  if (::wait4(child, &status, 0, &usage) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0) return false;
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  const auto cpu = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  const double busy = cpu(usage.ru_utime) + cpu(usage.ru_stime);
  std::cout << fmt::format("{:<8} {:>9.2f} s  {:>9.2f} s cpu  {:>9.1f} us cpu per iteration  {:>7.1f} MiB\n", name,
                           seconds, busy, busy * 1e6 / static_cast<double>(iterations),
                           static_cast<double>(usage.ru_maxrss) / 1024);
  std::cout.flush();
  return true;
}

int run(std::int64_t iterations, const std::string& wanted_path) {
  std::string directory = (fs::temp_directory_path() / "migsoak-bench-XXXXXX").string();
  std::string path = wanted_path;
  if (path.empty()) {
    if (::mkdtemp(directory.data()) == nullptr) return 1;
    path = directory + "/results.db";
  }
  bool good = fs::exists(path) || measure("write", iterations, [&] { return write(path, iterations); });
  std::error_code error;
  const auto bytes = static_cast<double>(fs::file_size(path, error));
  std::cout << fmt::format("{} iterations, {:.0f} bytes each\n", iterations, bytes / static_cast<double>(iterations));
  std::cout.flush();
  good = good && measure("read", iterations, [&] { return read_only(path); }) &&
         measure("report", iterations, [&] { return read_text(path); }) &&
         measure("junit", iterations, [&] { return read_junit(path); }) &&
         measure("judge", iterations, [&] { return judge(path); });
  if (wanted_path.empty()) fs::remove_all(directory, error);
  return good ? 0 : 1;
}

}  // namespace
}  // namespace migsoak::bench

int main(int argc, char** argv) {
  CLI::App app("What a long record costs to write and to read");
  std::int64_t iterations = 1000;
  std::string path;
  app.add_option("--iterations", iterations, "How many; of a FILE that exists, how many it holds")
      ->check(CLI::PositiveNumber);
  app.add_option("--db", path, "Where the record is, or is to be written");
  CLI11_PARSE(app, argc, argv);
  return migsoak::bench::run(iterations, path);
}
