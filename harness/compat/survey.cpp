#include "compat/survey.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "base/text.h"
#include "compat/machine_compat.h"
#include "compat/vmstate.h"
#include "fleet/vmstate_dump.h"

namespace migsoak::compat {
using base::ErrorKind;

namespace {

// Each worker has QEMUs of its own side by side; more than this gains nothing even on a large machine.
constexpr unsigned kWorkersMax = 8;
constexpr auto kExplanationMax = std::chrono::seconds(20);

using BatchFacts = base::Result<std::vector<DeviceFacts>>;

// The batches of both directions, handed to workers one by one.
struct Work {
  struct Item {
    const BuildPair* builds;
    std::vector<DevicePair> devices;
    std::optional<BatchFacts> outcome;
    std::vector<DeviceFacts> controls;  // of the devices that wanted one
  };
  std::vector<Item> items;
  std::mutex mutex;
  std::size_t next = 0;
  std::size_t finished = 0;

  Item* take() {
    const std::lock_guard lock(mutex);
    return next < items.size() ? &items[next++] : nullptr;
  }
  void finish(Item& item, BatchFacts outcome, std::vector<DeviceFacts> controls) {
    const std::lock_guard lock(mutex);
    item.outcome = std::move(outcome);
    item.controls = std::move(controls);
    ++finished;
  }
  bool done() {
    const std::lock_guard lock(mutex);
    return finished == items.size();
  }
};

// Batches of about equal size, so that the workers end together.
void add_batches(Work& work, const BuildPair& builds, const std::vector<DevicePair>& all, std::size_t workers) {
  std::vector<DevicePair> devices;
  // Those with a backend process want shared RAM, which is not everybody's: they keep to themselves.
  std::vector<DevicePair> with_exports;
  for (const DevicePair& device : all) {
    (needs_vhost_export(device.driver) ? with_exports : devices).push_back(device);
  }
  for (std::size_t at = 0; at < with_exports.size(); at += kDevicesPerVm) {
    const auto begin = with_exports.begin() + static_cast<std::ptrdiff_t>(at);
    const auto end = begin + static_cast<std::ptrdiff_t>(std::min(kDevicesPerVm, with_exports.size() - at));
    work.items.push_back({&builds, {begin, end}, std::nullopt, {}});
  }
  std::size_t batches = (devices.size() + kDevicesPerVm - 1) / kDevicesPerVm;
  if (batches > 1) batches = (batches + workers - 1) / workers * workers;
  for (std::size_t i = 0; i < batches; ++i) {
    Work::Item item{&builds, {}, std::nullopt, {}};
    // Dealt like cards: neighbours in the list are often of a kind (all the VGAs), and better apart.
    for (std::size_t at = i; at < devices.size(); at += batches) item.devices.push_back(devices[at]);
    if (!item.devices.empty()) work.items.push_back(std::move(item));
  }
}

struct Explanations {
  std::optional<base::Json> vmstate_from, vmstate_to;
  std::optional<std::vector<CompatProperty>> properties_from, properties_to;
};

Explanations gather_explanations(CompatHost& lab, const BuildPair& builds, base::Deadline deadline) {
  Explanations explanations;
  const bool one_build = builds.from.binary == builds.to.binary && builds.from.args == builds.to.args;
  if (one_build) return explanations;
  const auto own = base::Deadline::in(kExplanationMax).sooner(deadline);
  const fleet::Host host{lab.reactor, lab.containment};
  const auto begin_dump = [&](const fleet::Build& build) {
    return fleet::VmstateDump::begin(host, build, builds.machine,
                                     fmt::format("{}/{}.vmstate", lab.run_dir, lab.next_name()));
  };
  auto from = begin_dump(builds.from);
  auto to = begin_dump(builds.to);
  explanations.properties_from = machine_properties(host, builds.from, builds.machine, own);
  explanations.properties_to = machine_properties(host, builds.to, builds.machine, own);
  if (from) {
    if (auto dump = from->finish(own)) explanations.vmstate_from = std::move(*dump);
  }
  if (to) {
    if (auto dump = to->finish(own)) explanations.vmstate_to = std::move(*dump);
  }
  return explanations;
}

// The source's build to itself, for the devices with trouble that needs one.
std::vector<DeviceFacts> run_controls(CompatHost& lab, const BuildPair& builds, const BatchFacts& outcome,
                                      base::Deadline deadline) {
  std::vector<DevicePair> devices;
  if (outcome) {
    for (const DeviceFacts& facts : *outcome) {
      if (!wants_control(facts)) continue;
      devices.push_back(facts.device);
      devices.back().properties_to = facts.device.properties_from;
    }
  }
  if (devices.empty()) return {};
  const BuildPair own{builds.from, builds.from, builds.machine, builds.placement};
  return run_batch(lab, own, devices, deadline).value_or(std::vector<DeviceFacts>{});
}

SurveyReport empty_report(const BuildPair& builds) {
  SurveyReport report;
  report.from = builds.from.name.empty() ? builds.from.binary : builds.from.name;
  report.to = builds.to.name.empty() ? builds.to.binary : builds.to.name;
  report.from_version = builds.from.version;
  report.to_version = builds.to.version;
  report.machine = builds.machine;
  report.placement = builds.placement;
  return report;
}

BuildPair turned_round(const BuildPair& builds) {
  return {builds.to, builds.from, builds.machine, builds.placement};
}

DevicePair turned_round(const DevicePair& device) {
  DevicePair other = device;
  std::swap(other.properties_from, other.properties_to);
  return other;
}

// Devices in the order they were asked for, whatever batch they were in.
base::Result<void> collect(Work& work, const BuildPair& builds, const std::vector<DevicePair>& devices,
                           const Explanations& explanations, bool reverse, SurveyReport& report) {
  const auto& vmstate_from = reverse ? explanations.vmstate_to : explanations.vmstate_from;
  const auto& vmstate_to = reverse ? explanations.vmstate_from : explanations.vmstate_to;
  const auto& properties_from = reverse ? explanations.properties_to : explanations.properties_from;
  const auto& properties_to = reverse ? explanations.properties_from : explanations.properties_to;
  std::vector<std::pair<std::size_t, DeviceReport>> ordered;
  for (Work::Item& item : work.items) {
    if (item.builds != &builds) continue;
    MIGSOAK_ASSIGN(const auto facts, std::move(*item.outcome));
    for (const DeviceFacts& one : facts) {
      const auto control = std::find_if(item.controls.begin(), item.controls.end(), [&](const DeviceFacts& own) {
        return own.device.driver == one.device.driver && own.device.properties_from == one.device.properties_from;
      });
      DeviceReport device = judge(one, control == item.controls.end() ? nullptr : &*control);
      if (vmstate_from && vmstate_to) device.vmstate = compare_vmstate(*vmstate_from, *vmstate_to, one.device.driver);
      device.machine_compat = compare_machine_properties(properties_from, properties_to, one.device.driver);
      const auto at = std::find_if(devices.begin(), devices.end(), [&](const DevicePair& pair) {
        return pair.driver == one.device.driver && pair.properties_from == one.device.properties_from &&
               pair.properties_to == one.device.properties_to;
      });
      ordered.emplace_back(at - devices.begin(), std::move(device));
    }
  }
  std::stable_sort(ordered.begin(), ordered.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (auto& [position, device] : ordered) {
    if (device.unknown_to_both && device.device.asked_for) {
      return base::fail(ErrorKind::bad_input,
                        fmt::format("{}: {}", base::printable(device_text(device.device, Side::from)), device.reason));
    }
    report.devices.push_back(std::move(device));
  }
  return {};
}

// "virtio-blk" -> "virtio-blk-pci". kind bad_input: no such device on either side.
base::Result<void> resolve_names(const BuildPair& builds, std::vector<DevicePair>& devices) {
  for (DevicePair& device : devices) {
    for (const auto& type : builds.from.devices) {
      if (type.alias == device.driver) device.driver = type.name;
    }
    if (builds.from.has_device(device.driver) || builds.to.has_device(device.driver)) continue;
    std::vector<std::string> names;
    for (const fleet::DeviceType& type : builds.from.devices) names.push_back(type.name);
    const std::string near = base::nearest_name(device.driver, names);
    return base::fail(
        ErrorKind::bad_input,
        fmt::format("neither QEMU {} nor QEMU {} has a device '{}'{}", builds.from.version, builds.to.version,
                    base::printable(device.driver), near.empty() ? "" : ", did you mean '" + near + "'?"));
  }
  return {};
}

}  // namespace

Compatibility SurveyReport::worst() const {
  Compatibility worst = Compatibility::same;
  const auto take = [&](Compatibility one) {
    const auto rank = [](Compatibility c) {
      return c == Compatibility::incompatible ? 3 : c == Compatibility::unknown ? 2 : c == Compatibility::compatible;
    };
    if (rank(one) > rank(worst)) worst = one;
  };
  for (const DeviceReport& device : devices) take(device.verdict);
  for (const SurveyReport& other : reverse) take(other.worst());
  return worst;
}

std::vector<DevicePair> common_devices(const fleet::Build& from, const fleet::Build& to,
                                       std::vector<std::string>* left_out) {
  std::vector<DevicePair> devices;
  for (const fleet::DeviceType& type : from.devices) {
    if (type.bus != "PCI") continue;
    if (to.has_device(type.name)) {
      devices.push_back({type.name, "", "", false});
    } else if (left_out != nullptr) {
      left_out->push_back(fmt::format("{} (only in {})", type.name, from.version));
    }
  }
  for (const fleet::DeviceType& type : to.devices) {
    if (type.bus == "PCI" && !from.has_device(type.name) && left_out != nullptr) {
      left_out->push_back(fmt::format("{} (only in {})", type.name, to.version));
    }
  }
  return devices;
}

base::Result<SurveyReport> survey(const SurveyHost& host, const SurveyRequest& request, base::Deadline deadline) {
  const auto begun = base::Clock::now();
  const BuildPair& forward = request.builds;
  const BuildPair backward = turned_round(forward);
  SurveyReport report = empty_report(forward);
  std::vector<DevicePair> devices = request.devices;
  MIGSOAK_TRY(resolve_names(forward, devices));
  if (devices.empty()) devices = common_devices(forward.from, forward.to, &report.left_out);
  MIGSOAK_TRY(Layout::make(forward.machine, forward.placement, {}));
  std::vector<DevicePair> other_way;
  for (const DevicePair& device : devices) other_way.push_back(turned_round(device));

  const std::size_t workers = std::clamp(std::thread::hardware_concurrency(), 1u, kWorkersMax);
  Work work;
  add_batches(work, forward, devices, workers);
  if (request.both_directions) add_batches(work, backward, other_way, workers);

  proc::StopRequest stop;  // one Ctrl-C is enough here; the Reactor wants two
  const auto run = [&](std::size_t number) {
    proc::Reactor reactor(&stop);
    hypervisor::Drivers drivers(reactor, host.containment);
    CompatHost lab{reactor, host.containment, drivers.named("direct"), host.run_dir, fmt::format("{}v", number), 0};
    while (Work::Item* item = work.take()) {
      auto outcome = run_batch(lab, *item->builds, item->devices, deadline);
      auto controls = run_controls(lab, *item->builds, outcome, deadline);
      work.finish(*item, std::move(outcome), std::move(controls));
    }
  };
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < std::min(workers, work.items.size()); ++i) threads.emplace_back(run, i);

  Explanations explanations;
  std::atomic<bool> explained{false};
  threads.emplace_back([&] {
    proc::Reactor reactor(&stop);
    hypervisor::Drivers drivers(reactor, host.containment);
    CompatHost lab{reactor, host.containment, drivers.named("direct"), host.run_dir, "x", 0};
    explanations = gather_explanations(lab, forward, deadline);
    explained = true;
  });
  proc::Reactor reactor;
  const auto watch = [&] {
    if (host.stop != nullptr && host.stop->level() >= 1 && stop.level() == 0) {
      stop.raise();
      stop.raise();
    }
    return explained && work.done();
  };
  while (!watch()) reactor.run_until(watch, base::Deadline::in(std::chrono::seconds(1)), std::chrono::milliseconds(5));
  threads.clear();
  if (host.stop != nullptr && host.stop->level() >= 1) return base::fail(ErrorKind::interrupted, "interrupted");

  MIGSOAK_TRY(collect(work, forward, devices, explanations, false, report));
  if (request.both_directions) {
    report.reverse.push_back(empty_report(backward));
    report.reverse.front().left_out = report.left_out;
    MIGSOAK_TRY(collect(work, backward, other_way, explanations, true, report.reverse.front()));
  }
  report.seconds = base::milliseconds_between(begun, base::Clock::now()) / 1000;
  return report;
}

}  // namespace migsoak::compat
