// Synthetic records with the size and habits of a real soak: one storage daemon, a new QEMU per iteration, ping-pong.
#pragma once

#include <fmt/format.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "record/manifest.h"
#include "record/observation.h"

namespace migsoak::synthetic {

inline record::Manifest manifest(std::int64_t iterations = 1500) {
  record::Manifest manifest;
  manifest.run = "synthetic-20260101T000000Z";
  manifest.scenario = "synthetic";
  manifest.scenario_text = "name = \"synthetic\"\niterations = 1500\n";
  manifest.scenario_dir = "/somewhere";
  manifest.seed = 18446744073709551615ull;
  manifest.iterations_planned = iterations;
  manifest.started_unix_ms = 1767225600000;
  manifest.migsoak_version = "0.1.0";
  manifest.sides = {{"a", "qemu-system-x86_64", "7.2.22"}, {"b", "qemu-system-x86_64", "7.2.22"}};
  manifest.targets = {{"disk0", "qemu-storage-daemon", "one", 1024, {{"vd0", "vhost-user-blk", 1}}}};
  manifest.gate.limits["downtime_ms_max"] = 3000;
  manifest.environment = {{"kernel", "6.1.0"}, {"accelerator", "tcg"}, {"cpus", 2}};
  return manifest;
}

class Run {
 public:
  explicit Run(std::uint64_t seed = 1) : rng_(seed) {}

  // eventfd_leak: gained by the target per iteration.
  record::Observation next(int eventfd_leak = 0) {
    record::Observation o = begun();
    const bool forth = iteration_ % 2 == 0;
    o.status = record::IterationStatus::completed;
    o.phase = "quiet";
    o.context = "qemus=1;targets=1";
    o.duration_ms = 280 + noise(60);
    if (iteration_ == 0) boot(o);
    const std::string name = forth ? "qemu:b" : "qemu:a";
    const std::int64_t born = ++process_;
    o.processes_born.push_back(
        {born, name, 4000 + born, 100000 + 31 * born, 0, "qemu-system-x86_64", iteration_, 1024});
    give_birth(o, born, forth ? "b" : "a");
    // The booted QEMU is gone before the first quiet point: nobody saw its descriptors.
    for (int fd = 0; fd < kQemuFds && iteration_ > 0; ++fd) o.deaths.push_back({qemu_, fd});
    o.processes_ended.push_back({qemu_, true, 0, 0, false, ""});
    qemu_ = born;
    target_turnover(o, eventfd_leak);
    sample(o, name);
    if (iteration_ % 4 == 0) {
      o.events.push_back({"log-line", name, born, "spawn", 12.5, "warning: TCG doesn't support requested feature", {}});
      o.events.back().detail = base::Json::object();
    }
    documents(o, forth ? "a" : "b", forth ? "b" : "a", born);
    ++iteration_;
    return o;
  }

  // What begin() is given of the next iteration.
  record::Observation begun() const {
    record::Observation o;
    o.iteration = iteration_;
    const bool forth = iteration_ % 2 == 0;
    o.plan = {iteration_, forth ? "a" : "b", forth ? "b" : "a", "precopy", "unix"};
    o.started_unix_ms = 1767225600000 + 300 * iteration_;
    return o;
  }

 private:
  static constexpr int kQemuFds = 29;
  static constexpr int kTargetFds = 15;
  static constexpr int kTargetTurnover = 8;  // of them replaced in every migration

  double noise(std::uint64_t span) { return static_cast<double>(rng_.below(span * 1000)) / 1000.0; }

  void boot(record::Observation& o) {
    o.processes_born.push_back({++process_, "harness", 100, 5, 0, "migsoak", 0, 1024});
    harness_ = process_;
    o.processes_born.push_back({++process_, "target:disk0", 101, 7, 0, "qemu-storage-daemon", 0, 1024});
    target_ = process_;
    o.processes_born.push_back({++process_, "qemu:a", 102, 9, 0, "qemu-system-x86_64", 0, 1024});
    qemu_ = process_;
    for (int fd = 0; fd < kTargetFds; ++fd) o.births.push_back({target_, fd, fd < 7 ? "eventfd" : "unix", ""});
    record::Event event;
    event.kind = record::event_kind::kLineageStart;
    event.subject = "guest";
    event.detail = {{"boot_side", "a"}, {"boot_ms", 2100.5}};
    o.events.push_back(event);
  }

  // Pipes and log files carry an inode or a path that no other process has.
  void give_birth(record::Observation& o, std::int64_t process, const std::string& side) const {
    for (int fd = 0; fd < kQemuFds; ++fd) {
      record::DescriptorBirth birth{process, fd, "eventfd", "anon_inode:[eventfd]"};
      if (fd < 6) {
        birth = {process, fd, "pipe", fmt::format("pipe:[{}]", 1'000'000 + process * 97 + fd)};
      } else if (fd < 12) {
        birth = {process, fd, "regular", fmt::format("/tmp/migsoak.x7/q{}-{}.log{}", side, process, fd)};
      } else if (fd % 3 == 0) {
        birth = {process, fd, "unix", "peer=target:disk0"};
      }
      o.births.push_back(std::move(birth));
    }
  }

  void target_turnover(record::Observation& o, int eventfd_leak) {
    for (int fd = 3; fd < 3 + kTargetTurnover && iteration_ > 0; ++fd) {
      o.deaths.push_back({target_, fd});
      o.births.push_back({target_, fd, fd < 7 ? "eventfd" : "unix", fd < 7 ? "" : "peer=" + o.plan.destination_side});
    }
    for (int i = 0; i < eventfd_leak; ++i) {
      o.births.push_back({target_, kTargetFds + leaked_++, "eventfd", ""});
    }
  }

  // What a q35 with five functions and a disk gives.
  static base::Json config_space(bool guest) {
    base::Json functions = base::Json::array();
    for (int slot : {0, 4, 31, 32, 33}) {
      std::string bytes = fmt::format("{:04x}", 0x1af4 + slot);
      while (bytes.size() < 300) bytes += guest ? "07011000a5" : "0000100000";
      functions.push_back({{"path", fmt::format("0000:00:{:02x}.0", slot)},
                           {"address", fmt::format("0000:00:{:02x}.0", slot)},
                           {"id", slot == 4 ? "vd0" : ""},
                           {"device", "1af4:1001"},
                           {"bytes", bytes},
                           {"size", 256},
                           {"bars", {{{"index", 0}, {"kind", "io"}, {"address", guest ? 0xc000 : 0}, {"size", 128}}}}});
    }
    return {{"method", "ecam"}, {"functions", functions}};
  }
  void documents(record::Observation& o, const std::string& from, const std::string& to, std::int64_t born) const {
    const base::Json queues = {{"devices",
                                {{{"id", "vd0"},
                                  {"type", "vhost-user-blk"},
                                  {"property", "queue-size"},
                                  {"property_value", 128},
                                  {"queues", {{{"index", 0}, {"size", 128}, {"size_default", 128}}}}}}}};
    const base::Json set = {{"devices", {{{"id", "vd0"}, {"type", "vhost-user-blk"}, {"address", "0x4"}}}}};
    namespace kind = record::document_kind;
    o.documents = {{kind::kConfigSpace, "qemu:" + from, born - 1, "source", config_space(true)},
                   {kind::kVirtqueues, "qemu:" + from, born - 1, "source", queues},
                   {kind::kDeviceSet, "qemu:" + from, born - 1, "source", set},
                   {kind::kConfigSpace, "qemu:" + to, born, "destination", config_space(false)},
                   {kind::kVirtqueues, "qemu:" + to, born, "destination", queues},
                   {kind::kDeviceSet, "qemu:" + to, born, "destination", set}};
  }

  void process_samples(record::Observation& o, const std::string& name, std::int64_t id, int fds, int eventfds,
                       bool busy) {
    const auto add = [&](const char* metric, double value) { o.samples.push_back({name, id, metric, value}); };
    add("fd.total", fds);
    add("fd.eventfd", eventfds);
    add("fd.unix", 8);
    add("fd.pipe", 2);
    add("fd.epoll", 1);
    add("fd.memfd", 1);
    add("fd.peak", fds + 4);
    add("threads", 4);
    add("mappings", busy ? 140 + static_cast<double>(rng_.below(4)) : 142);
    add("rss_bytes", 90e6 + (busy ? 4096.0 * static_cast<double>(rng_.below(999)) : 0));
    add("pss_bytes", 80e6 + (busy ? 1024.0 * static_cast<double>(rng_.below(999)) : 0));
    add("heap_bytes", 9e6 + (busy ? 4096.0 * static_cast<double>(rng_.below(99)) : 0));
    add("anon_bytes", 7e6 + (busy ? 4096.0 * static_cast<double>(rng_.below(99)) : 0));
    add("children", 0);
    add("zombies", 0);
  }

  void sample(record::Observation& o, const std::string& qemu_name) {
    process_samples(o, qemu_name, qemu_, kQemuFds, 12, true);
    process_samples(o, "target:disk0", target_, kTargetFds + leaked_, 7 + leaked_, rng_.below(3) == 0);
    process_samples(o, "harness", harness_, 21, 3, rng_.below(3) == 0);
    const auto add = [&](const char* subject, const char* metric, double value) {
      o.samples.push_back({subject, 0, metric, value});
    };
    add("migration", "total_ms", 80 + noise(40));
    add("migration", "downtime_ms", 4 + static_cast<double>(rng_.below(9)));
    add("migration", "setup_ms", 1);
    add("migration", "ram_bytes", 87e6 + static_cast<double>(rng_.below(1'000'000)));
    add("migration", "ram_dirty_sync_count", 3);
    add("guest", "heartbeat_gap_ms", 20 + noise(30));
    add("guest", "ram_verified_bytes", 33554432);
    add("guest:disk:vd0", "verified_bytes", 8388608 + 4096.0 * static_cast<double>(rng_.below(200)));
    add("guest:disk:vd0", "written_bytes", 1e6 + 4096.0 * static_cast<double>(rng_.below(200)));
    add("host", "file_nr", 1200 + static_cast<double>(rng_.below(64)));
    add("host", "iteration_ms", o.duration_ms);
    add("host", "spawn_ms", 50 + noise(20));
  }

  base::Rng rng_;
  std::int64_t iteration_ = 0, process_ = 0, qemu_ = 0, target_ = 0, harness_ = 0;
  int leaked_ = 0;
};

// Of one lane's Run what the whole run has as `iteration`: its processes are not those of other lanes' Runs.
inline void give_to_lane(record::Observation& o, int lane, std::int64_t iteration) {
  o.lane = lane;
  o.iteration = o.plan.iteration = iteration;
  const std::int64_t first_id = 10000LL * lane;
  for (auto& process : o.processes_born) process.id += first_id;
  for (auto& end : o.processes_ended) end.process_id += first_id;
  for (auto& birth : o.births) birth.process_id += first_id;
  for (auto& death : o.deaths) death.process_id += first_id;
  for (auto& sample : o.samples) sample.process_id += sample.process_id != 0 ? first_id : 0;
  for (auto& event : o.events) event.process_id += event.process_id != 0 ? first_id : 0;
}

}  // namespace migsoak::synthetic
