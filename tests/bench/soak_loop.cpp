// bench_soak_loop: what the soak loop (probes, detectors, database; run.config_space and run.device_tree off) costs
// against a bare loop (spawn, migrate, first heartbeat, quit) of the same QEMUs, target and guest; and what reading and
// comparing configuration space, virtqueues and device tree costs against the loop without it.
//
// Blocks of all variants alternate, the order reversed in every other round, each on a fresh lineage whose boot and
// first migrations are not timed. A ratio is taken within a round, so that what disturbs the machine for longer than a
// round disturbs both sides of it; the median over the rounds and the extremes are printed. For figures that mean
// something the machine should have nothing else to do: its load is printed.
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <optional>

#include "base/log.h"
#include "base/text.h"
#include "block.h"
#include "fleet/fleet.h"
#include "plan/load.h"
#include "proc/containment.h"
#include "proc/program.h"

namespace migsoak::bench {
namespace {

constexpr const char* kUpgradeBuild = "debian:forky";
constexpr const char* kDevicesScenario = MIGSOAK_SOURCE_DIR "/tests/bench/devices.toml";

constexpr const char* kLibvirt = "libvirt-pingpong";

struct Variant {
  const char* name;
  bool bare;
  bool raise_early;
  bool verify;
  const char* machine = nullptr;  // given: of kDevicesScenario, on that machine
  bool config_space = true;
  const char* ships = nullptr;  // given: of the scenario that ships under this name
};
constexpr Variant kVariants[] = {
    {"bare", true, false, false},
    {"full", false, false, false, nullptr, false},
    {"early", false, true, false, nullptr, false},
    {"full+verify", false, false, true, nullptr, false},
    {"early+verify", false, true, true, nullptr, false},
    {"everything", false, false, true},
    {"pc", false, false, false, "pc"},
    {"pc-without", false, false, false, "pc", false},
    {"q35", false, false, false, "q35"},
    {"q35-without", false, false, false, "q35", false},
    {"exec-bare", true, false, false, nullptr, false, "cpr-exec"},
    {"exec", false, false, false, nullptr, true, "cpr-exec"},
    {"transfer-bare", true, false, false, nullptr, false, "cpr-transfer"},
    {"transfer", false, false, false, nullptr, true, "cpr-transfer"},
    {"libvirt-bare", true, false, false, nullptr, false, kLibvirt},
    {"libvirt", false, false, false, nullptr, true, kLibvirt},
};
enum : std::size_t {
  kBare,
  kFull,
  kEarly,
  kFullVerify,
  kEarlyVerify,
  kEverything,
  kPc,
  kPcWithout,
  kQ35,
  kQ35Without,
  kExecBare,
  kExec,
  kTransferBare,
  kTransfer,
  kLibvirtBare,
  kLibvirtFull
};
constexpr std::size_t kVariantCount = std::size(kVariants);
// Of a round, forwards and backwards in turn: the bare block lies between the two that are compared with it.
constexpr std::size_t kOrder[kVariantCount] = {
    kEverything, kFull,       kBare, kEarly,    kEarlyVerify, kFullVerify,   kPc,          kPcWithout,
    kQ35,        kQ35Without, kExec, kExecBare, kTransfer,    kTransferBare, kLibvirtBare, kLibvirtFull};

struct Options {
  std::string scenario = MIGSOAK_SOURCE_DIR "/scenarios/vhost-fd-exhaustion.toml";
  std::string out;  // databases; empty: results/runs/bench-<UTC time>-<pid> below the working directory
  std::string tsv;
  int rounds = 5;
  BlockSize size;
  std::vector<std::string> sets;
  std::vector<std::string> only;
  bool keep = false;
};

// Linear between the two neighbours.
double percentile(std::vector<double> values, double percent) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const double place = percent / 100 * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (values[above] - values[below]) * (place - static_cast<double>(below));
}

double median(const std::vector<double>& values) {
  return percentile(values, 50);
}

std::string load_average() {
  std::ifstream in("/proc/loadavg");
  std::string one, five, fifteen;
  in >> one >> five >> fifteen;
  return fmt::format("{} {} {}", one, five, fifteen);
}

class Bench {
 public:
  explicit Bench(Options options)
      : options_(std::move(options)), rates_(kVariantCount), periods_(kVariantCount), phases_(kVariantCount) {}

  base::Result<void> run() {
    std::filesystem::create_directories(options_.out);
    fmt::print("{} iterations a block after {} untimed, {} rounds; {} cores, load average {}\n", options_.size.timed,
               options_.size.untimed, options_.rounds, sysconf(_SC_NPROCESSORS_ONLN), load_average());
    const auto build = fleet::find(kUpgradeBuild);
    has_upgrade_build_ = build && build->has_value();
    if (!has_upgrade_build_)
      fmt::print("without hot upgrades: {0} is not there; migsoak fleet add {0}\n", kUpgradeBuild);
    has_libvirt_ = proc::find_program("libvirtd") || proc::find_program("/usr/sbin/libvirtd");
    if (!has_libvirt_) fmt::print("without libvirt: there is no libvirtd; apt-get install libvirt-daemon\n");
    for (int round = 0; round < options_.rounds; ++round) MIGSOAK_TRY(run_round(round));
    print_figures();
    return write_tsv();
  }

 private:
  bool wanted(const Variant& variant) const {
    const bool libvirt = variant.ships == kLibvirt;
    if (variant.ships != nullptr && !(libvirt ? has_libvirt_ : has_upgrade_build_)) return false;
    return options_.only.empty() ||
           std::find(options_.only.begin(), options_.only.end(), variant.name) != options_.only.end();
  }

  base::Result<void> run_round(int round) {
    fmt::print("round {}  load {}\n", round, load_average());
    for (std::size_t step = 0; step < kVariantCount; ++step) {
      const std::size_t which = kOrder[round % 2 == 0 ? step : kVariantCount - 1 - step];
      if (!wanted(kVariants[which])) continue;
      MIGSOAK_ASSIGN(Block block, run_block(kVariants[which], round), std::string(kVariants[which].name));
      fmt::print("  {:<13} {:6.3f} iterations/s\n", kVariants[which].name, block.iterations_per_s);
      std::fflush(stdout);
      rates_[which].push_back(block.iterations_per_s);
      periods_[which].insert(periods_[which].end(), block.periods_ms.begin(), block.periods_ms.end());
      for (auto& [name, values] : block.phases_ms) {
        auto& all = phases_[which][name];
        all.insert(all.end(), values.begin(), values.end());
      }
    }
    return {};
  }

  base::Result<Block> run_block(const Variant& variant, int round) const {
    std::vector<std::string> sets = options_.sets;
    sets.push_back(fmt::format("guest.workload={}", variant.verify ? "verify" : "dirty"));
    sets.push_back(fmt::format("run.raise_early={}", variant.raise_early));
    // One more than is timed: its start is the end of the last, and what is raised early for it belongs to the last.
    sets.push_back(fmt::format("iterations={}", options_.size.untimed + options_.size.timed + 1));
    if (variant.machine != nullptr) sets.push_back(fmt::format("guest.machine={}", variant.machine));
    sets.push_back(fmt::format("run.config_space={}", variant.config_space));
    sets.push_back(fmt::format("run.device_tree={}", variant.config_space));
    const std::string file = variant.ships != nullptr
                                 ? fmt::format("{}/scenarios/{}.toml", MIGSOAK_SOURCE_DIR, variant.ships)
                             : variant.machine != nullptr ? kDevicesScenario
                                                          : options_.scenario;
    MIGSOAK_ASSIGN(const scenario::Scenario scenario, plan::load_scenario(file, sets));
    if (variant.bare) return run_bare_block(scenario, options_.size);
    const std::filesystem::path folder = fmt::format("{}/{}-{}", options_.out, variant.name, round);
    std::filesystem::create_directories(folder);
    auto block = run_full_block(scenario, options_.size, folder / "results.db");
    if (block && !options_.keep) std::filesystem::remove_all(folder);
    return block;
  }

  // Of two variants, by round; empty when one of them was not run.
  std::vector<double> ratios(std::size_t of, std::size_t to) const {
    std::vector<double> all;
    for (std::size_t i = 0; i < std::min(rates_[of].size(), rates_[to].size()); ++i) {
      all.push_back(rates_[of][i] / rates_[to][i]);
    }
    return all;
  }

  static std::string spread(const std::vector<double>& values) {
    if (values.empty()) return "not run";
    const auto [least, most] = std::minmax_element(values.begin(), values.end());
    return fmt::format("{:.3f}  ({:.3f} to {:.3f})", median(values), *least, *most);
  }

  void print_figures() const {
    fmt::print("\nload average at the end {}\niterations/s, median (extremes):\n", load_average());
    for (std::size_t which = 0; which < kVariantCount; ++which) {
      fmt::print("  {:<13} {}\n", kVariants[which].name, spread(rates_[which]));
    }
    fmt::print("ratios within a round, median (extremes), configuration space and device tree left out:\n");
    fmt::print("  full / bare              {}\n", spread(ratios(kFull, kBare)));
    fmt::print("  early / bare             {}\n", spread(ratios(kEarly, kBare)));
    fmt::print("everything on, configuration space, virtqueues, device tree and verification:\n");
    fmt::print("  everything / bare        {}\n", spread(ratios(kEverything, kBare)));
    fmt::print("with configuration space, virtqueues and device tree read and compared, without:\n");
    fmt::print("  pc / pc-without          {}\n", spread(ratios(kPc, kPcWithout)));
    fmt::print("  q35 / q35-without        {}\n", spread(ratios(kQ35, kQ35Without)));
    fmt::print("hot upgrades, everything on, against a bare loop of the same:\n");
    fmt::print("  exec / exec-bare         {}\n", spread(ratios(kExec, kExecBare)));
    fmt::print("  transfer / transfer-bare {}\n", spread(ratios(kTransfer, kTransferBare)));
    fmt::print("through libvirt, everything on, against the same calls alone; and against QEMUs of ours:\n");
    fmt::print("  libvirt / libvirt-bare   {}\n", spread(ratios(kLibvirtFull, kLibvirtBare)));
    fmt::print("  libvirt / everything     {}\n", spread(ratios(kLibvirtFull, kEverything)));
    print_periods();
    fmt::print("verification adds, ms per iteration:\n  without overlap {:.1f}   raised early {:.1f}\n",
               added_ms(kFullVerify, kFull), added_ms(kEarlyVerify, kEarly));
    fmt::print("phases, median ms:\n");
    for (std::size_t which = 0; which < kVariantCount; ++which) {
      fmt::print("  {:<13}", kVariants[which].name);
      for (const auto& [name, values] : phases_[which]) {
        fmt::print(" {} {:.1f}", name.substr(0, name.size() - 3), median(values));
      }
      fmt::print("\n");
    }
  }

  void print_periods() const {
    fmt::print("one iteration, ms, 10th, 25th and 50th percentile of all rounds; what it makes of bare / this:\n");
    for (std::size_t which = 0; which < kVariantCount; ++which) {
      if (periods_[which].empty()) continue;
      std::string times, ratios_text;
      for (const double percent : {10, 25, 50}) {
        const double ms = percentile(periods_[which], percent);
        times += fmt::format(" {:6.1f}", ms);
        if (!periods_[kBare].empty() && kVariants[which].machine == nullptr && kVariants[which].ships == nullptr) {
          ratios_text += fmt::format(" {:.3f}", percentile(periods_[kBare], percent) / ms);
        }
      }
      fmt::print("  {:<13}{}   {}\n", kVariants[which].name, times, ratios_text);
    }
  }

  double added_ms(std::size_t with, std::size_t without) const {
    std::vector<double> added;
    for (std::size_t i = 0; i < std::min(rates_[with].size(), rates_[without].size()); ++i) {
      added.push_back(1000.0 / rates_[with][i] - 1000.0 / rates_[without][i]);
    }
    return median(added);
  }

  base::Result<void> write_tsv() const {
    if (options_.tsv.empty()) return {};
    std::ofstream out(options_.tsv);
    for (std::size_t which = 0; which < kVariantCount; ++which) {
      out << fmt::format("{}_per_s\t{:.3f}\n", kVariants[which].name, median(rates_[which]));
    }
    out << fmt::format("full_to_bare\t{:.3f}\nearly_to_bare\t{:.3f}\neverything_to_bare\t{:.3f}\n",
                       median(ratios(kFull, kBare)), median(ratios(kEarly, kBare)), median(ratios(kEverything, kBare)));
    out << fmt::format("config_space_pc\t{:.3f}\nconfig_space_q35\t{:.3f}\n", median(ratios(kPc, kPcWithout)),
                       median(ratios(kQ35, kQ35Without)));
    out << fmt::format("cpr_exec\t{:.3f}\ncpr_transfer\t{:.3f}\n", median(ratios(kExec, kExecBare)),
                       median(ratios(kTransfer, kTransferBare)));
    out << fmt::format("libvirt_to_bare\t{:.3f}\n", median(ratios(kLibvirtFull, kLibvirtBare)));
    out << fmt::format("verify_adds_ms\t{:.1f}\nearly_verify_adds_ms\t{:.1f}\n", added_ms(kFullVerify, kFull),
                       added_ms(kEarlyVerify, kEarly));
    out.close();
    if (!out) return base::fail(base::ErrorKind::environment, "can't write " + options_.tsv);
    return {};
  }

  const Options options_;
  bool has_upgrade_build_ = false, has_libvirt_ = false;
  std::vector<std::vector<double>> rates_;    // by variant and round
  std::vector<std::vector<double>> periods_;  // by variant, all rounds
  std::vector<std::map<std::string, std::vector<double>>> phases_;
};

constexpr const char* kUsage =
    "bench_soak_loop [--smoke] [--rounds N] [--block N] [--untimed N] [--only VARIANT]... [--scenario FILE]\n"
    "                [--set PATH=VALUE]... [--out DIR] [--keep] [--tsv FILE]\n"
    "variants: bare full early full+verify early+verify everything; of tests/bench/devices.toml pc pc-without q35\n"
    "q35-without; of scenarios/cpr-*.toml exec exec-bare transfer transfer-bare (they need debian:forky in the "
    "fleet); of scenarios/libvirt-pingpong.toml libvirt libvirt-bare\n";

std::optional<int> count_from(const std::string& text) {
  if (text.empty() || text.size() > 6 || text.find_first_not_of("0123456789") != std::string::npos) return std::nullopt;
  const int count = std::stoi(text);
  return count > 0 ? std::optional<int>(count) : std::nullopt;
}

bool parse(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--smoke") {
      options.rounds = 1;
      options.size = {1, 2};
      continue;
    }
    if (word == "--keep") {
      options.keep = true;
      continue;
    }
    if (++i == argc) return false;
    const std::string value = argv[i];
    const std::optional<int> count = count_from(value);
    if (word == "--rounds" && count) {
      options.rounds = *count;
    } else if (word == "--block" && count) {
      options.size.timed = *count;
    } else if (word == "--untimed" && count) {
      options.size.untimed = *count;
    } else if (word == "--scenario") {
      options.scenario = value;
    } else if (word == "--out") {
      options.out = value;
    } else if (word == "--tsv") {
      options.tsv = value;
    } else if (word == "--set") {
      options.sets.push_back(value);
    } else if (word == "--only") {
      options.only.push_back(value);
    } else {
      return false;
    }
  }
  if (options.out.empty()) {
    options.out = fmt::format("results/runs/bench-{:%Y%m%dT%H%M%SZ}-{}", fmt::gmtime(std::time(nullptr)), getpid());
  }
  return true;
}

int run_main(int argc, char** argv) {
  Options options;
  if (!parse(argc, argv, options)) {
    fmt::print(stderr, "{}", kUsage);
    return 2;
  }
  const auto done = Bench(options).run();
  if (!options.keep) {
    // Only what is empty: a block that failed stays to be looked at.
    std::error_code ignored;
    std::filesystem::remove(options.out, ignored);
  }
  if (done) return 0;
  fmt::print(stderr, "bench_soak_loop: {}\n", done.error().describe());
  return 1;
}

}  // namespace
}  // namespace migsoak::bench

int main(int argc, char** argv) {
  migsoak::base::init_log();
  signal(SIGPIPE, SIG_IGN);
  if (argc > 1 && std::string(argv[1]) == "guardian") {
    return migsoak::proc::guardian_main(std::vector<std::string>(argv + 1, argv + argc));
  }
  return migsoak::bench::run_main(argc, argv);
}
