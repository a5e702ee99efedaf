#include "engine/operations.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "hypervisor/device_type.h"
#include "ops/hotplug/hotplug.h"
#include "plan/device_plan.h"

namespace migsoak::engine {

using base::Deadline;
using base::ErrorKind;
using base::Result;
using hypervisor::DeviceSet;
using hypervisor::DeviceSpec;
using record::PlannedOperation;
namespace kind = record::event_kind;

namespace {

// An agent that refuses a command is not the guest's trouble but ours: it and the harness disagree.
Result<base::Json> accepted(const Result<base::Json>& answer, const char* command) {
  if (!answer || base::json_get<bool>(*answer, "ok", false)) return answer;
  return base::fail(ErrorKind::environment,
                    fmt::format("the guest's agent refused {}: {}", command, base::json_text(*answer, "error", 200)));
}

StepOutcome step_of(const Result<void>& done, const char* waiting_for) {
  if (done) return StepResult::ok;
  return Trouble{"guest", 0, done.error(), waiting_for};
}

// QEMU said no, as opposed to: it is gone.
bool refused_by_qemu(const base::Error& error, Vm& vm) {
  return error.kind == ErrorKind::subject && vm.machine->alive() && vm.machine->qmp().connected();
}

}  // namespace

Deadline OperationRunner::answer_deadline() const {
  return Deadline::in(std::chrono::seconds(lineage_.context().scenario.deadline.answer_s));
}

bool OperationRunner::in_set(const std::string& id) const {
  const DeviceSet& devices = lineage_.devices();
  return std::any_of(devices.begin(), devices.end(), [&id](const DeviceSpec& device) { return device.id == id; });
}

std::string OperationRunner::occupant(const PlannedOperation& operation) const {
  const std::string wanted = hypervisor::place_of(device_of(operation));
  for (const DeviceSpec& device : lineage_.devices()) {
    if (hypervisor::place_of(device) == wanted) return device.id;
  }
  return "";
}

DeviceSet OperationRunner::planned() const {
  DeviceSet devices = lineage_.devices();
  for (const PlannedOperation& operation : journal_.plan().operations) {
    // An unplug that is under way at the switch-over: the destination still has the device.
    if (operation.action == "unplug" && operation.timing == "at-once") continue;
    // History that went otherwise than planned: the device is there already.
    if (operation.action == "plug" && in_set(operation.device)) continue;
    apply_operation(operation, devices);
  }
  return devices;
}

void OperationRunner::record(const Running& running, const char* result, bool confirmed, const std::string& error,
                             const std::string& side) {
  const PlannedOperation& operation = running.operation;
  const std::string name =
      fmt::format("{} of {} {} ({})", operation.action, operation.kind, operation.device, operation.timing);
  auto event = journal_.event(kind::kHotplug, "guest");
  event.text(error.empty() ? fmt::format("{}: {}", name, result) : fmt::format("{}: {}: {}", name, result, error))
      .detail({{"kind", operation.kind},
               {"action", operation.action},
               {"timing", operation.timing},
               {"device", operation.device},
               {"machine", journal_.plan().machine},
               {"result", result},
               {"confirmed", confirmed}});
  // A clean operation says no more than that: the same text each time costs the database nothing.
  if (running.bar0) event.detail("bar0", {{"address", running.bar0->address}, {"size", running.bar0->size}});
  if (!error.empty()) event.detail("error", base::printable(error, 400));
  if (!side.empty()) event.detail("side", side);
}

Result<bool> OperationRunner::await(const DeviceSpec& device, bool present) {
  const ops::HotplugKind* hotplug = ops::find_hotplug_kind(device.type);
  base::Json arguments = hotplug->guest_identity(lineage_.devices(), device, lineage_.context().scenario.guest.cpus);
  // Where the guest can only count, the number itself says what is wanted.
  arguments["state"] = present ? "present" : "absent";
  const auto wait = std::chrono::seconds(lineage_.context().scenario.deadline.answer_s);
  // The guest gives up first, and says what it sees.
  arguments["timeout_ms"] = std::max<std::int64_t>(500, std::chrono::milliseconds(wait).count() - 2000);
  const auto answer = accepted(lineage_.channel().command("await", arguments, answer_deadline()), "await");
  if (!answer) return tl::unexpected<base::Error>(answer.error());
  return base::json_get<bool>(*answer, "holds", false);
}

guest::DiskIdentity OperationRunner::disk_identity(const DeviceSpec& device) const {
  const base::Json sign = ops::find_hotplug_kind(device.type)->guest_identity(lineage_.devices(), device, 0);
  guest::DiskIdentity identity;
  identity.pci_address = base::json_get<std::string>(sign, "pci_address", "");
  identity.serial = base::json_get<std::string>(sign, "serial", "");
  return identity;
}

// On a conventional bus the legacy BAR0 goes where there is room, which is what case 2 turns on. Behind a root port
// every device has a window of its own.
Result<void> OperationRunner::note_bar0(const DeviceSpec& device, Running& running) {
  if (is_pcie(lineage_.machine()) || hypervisor::pci_address(lineage_.devices(), device).empty()) return {};
  hypervisor::Machine& machine = *lineage_.current()->machine;
  MIGSOAK_ASSIGN(running.bar0, ops::bar0_of(machine, device.id, answer_deadline()));
  if (running.bar0) (running.bar0->odd_multiple() ? lineage_.bar0_odd : lineage_.bar0_even) = true;
  return {};
}

// A disk that comes back has to hold what it held when it went.
Result<std::string> OperationRunner::attach_workload(const DeviceSpec& device) {
  if (!hypervisor::is_disk_type(device.type) || lineage_.context().scenario.guest.workload != "verify") return "";
  guest::DiskIdentity identity = disk_identity(device);
  identity.id = device.id;
  const auto report = lineage_.channel().adopt_disk(identity, answer_deadline());
  if (report) {
    verification_.record_disk(report->disk);
    return "";
  }
  // The agent says why it does not take it; a guest that is gone shows at the next look.
  if (report.error().kind == ErrorKind::subject) return base::printable(report.error().message, 200);
  return tl::unexpected<base::Error>(report.error());
}

// A disk that was never taken up (the guest did not show it) has nothing to let go of: the agent refuses, and that is
// all right.
Result<void> OperationRunner::detach_workload(const DeviceSpec& device) {
  if (!hypervisor::is_disk_type(device.type) || lineage_.context().scenario.guest.workload != "verify") return {};
  const auto report = lineage_.channel().release_disk(disk_identity(device), answer_deadline());
  if (report) {
    verification_.record_disk(report->disk);
    return {};
  }
  if (report.error().kind == ErrorKind::subject) return {};
  return tl::unexpected<base::Error>(report.error());
}

Result<void> OperationRunner::plug(Vm& vm, const PlannedOperation& operation, base::Clock::time_point began) {
  Running running{operation, began};
  if (in_set(operation.device)) {
    record(running, "skipped", false, "the device is there already");
    return {};
  }
  // Told where it went wrong: a refusal now would be the plan's own doing.
  if (const std::string other = occupant(operation); !other.empty()) {
    record(running, "skipped", false, "its address is still taken by " + other);
    return {};
  }
  if (lineage_.context().scenario.hotplug.sweep > 0 && lineage_.bar0_even && lineage_.bar0_odd) {
    record(running, "skipped", false, "the sweep is over: BAR0 has stood on odd and on even multiples of its size");
    return {};
  }
  const DeviceSpec device = device_of(operation);
  const std::string& side = vm.machine->spec().side;
  auto done = vm.machine->devices().plug(lineage_.device_for(device, side, vm.slot), answer_deadline());
  if (!done && refused_by_qemu(done.error(), vm)) {
    record(running, "refused", false, done.error().describe());
    return {};
  }
  if (!done) return done;
  lineage_.devices().push_back(device);
  if (operation.timing == "at-once") {
    at_once_.push_back(running);
    return {};
  }
  return confirm_plug(device, running);
}

Result<void> OperationRunner::confirm_plug(const DeviceSpec& device, Running& running) {
  MIGSOAK_ASSIGN(const bool seen, await(device, true));
  if (!seen) {
    record(running, "done", false, "the guest does not show it");
    return {};
  }
  MIGSOAK_TRY(note_bar0(device, running));
  MIGSOAK_ASSIGN(const std::string trouble, attach_workload(device));
  record(running, "done", trouble.empty(), trouble);
  return {};
}

Result<void> OperationRunner::unplug(Vm& vm, const PlannedOperation& operation, base::Clock::time_point began) {
  Running running{operation, began};
  if (!in_set(operation.device)) {
    record(running, "skipped", false, "the device is not there");
    return {};
  }
  MIGSOAK_TRY(detach_workload(device_of(operation)));
  auto asked = vm.machine->devices().request_unplug(operation.device, answer_deadline());
  if (!asked && refused_by_qemu(asked.error(), vm)) {
    record(running, "refused", false, asked.error().describe());
    return {};
  }
  if (!asked) return asked;
  if (operation.timing == "at-once") {
    at_once_.push_back(running);
    return {};
  }
  return finish_unplug(vm, running);
}

// True: gone. False: the deadline passed. Errors: the guest or its QEMU is gone.
Result<bool> OperationRunner::wait_unplugged(hypervisor::Machine& machine, const std::string& id) {
  // DEVICE_DELETED says so, but not of every device: under TCG a CPU leaves the machine without it. Now and then the
  // device tree is asked.
  constexpr std::chrono::milliseconds kAskEvery{100};
  const Deadline deadline = answer_deadline();
  const auto lost = [&] { return !machine.alive() || lineage_.console().panicked(); };
  while (!deadline.passed()) {
    const auto over = [&] { return machine.devices().unplugged(id) || lost(); };
    const auto waited = lineage_.context().reactor.run_until(over, Deadline::in(kAskEvery).sooner(deadline));
    if (waited == proc::Wait::interrupted) {
      return base::fail(ErrorKind::interrupted, "interrupted during an unplug");
    }
    if (lost()) return base::fail(ErrorKind::subject, fmt::format("lost during the unplug of {}", id));
    if (machine.devices().unplugged(id)) return true;
    // QEMU's answer has its own time: at the end of the guest's it would be QEMU that seems to hang.
    MIGSOAK_ASSIGN(const bool there, machine.devices().has_device(id, answer_deadline()));
    if (!there) return true;
  }
  return false;
}

Result<void> OperationRunner::finish_unplug(Vm& vm, Running& running) {
  const std::string& id = running.operation.device;
  hypervisor::Machine& machine = *vm.machine;
  // Where it was seen to be gone there is nothing to wait for.
  if (!running.seen_gone) {
    MIGSOAK_ASSIGN(const bool gone, wait_unplugged(machine, id));
    running.seen_gone = gone;
  }
  if (!running.seen_gone) {
    record(running, "unacknowledged", false, "the device is still there");
    journal_.event(kind::kHang, "guest")
        .text(fmt::format("the guest never let go of {} after device_del", id))
        .detail({{"waiting_for", "DEVICE_DELETED of " + id},
                 {"waited_ms", base::milliseconds_between(running.began, base::Clock::now())}});
    return {};
  }
  const DeviceSpec device = device_of(running.operation);
  const std::string& side = machine.spec().side;
  // A backend that its device does not give back is QEMU's affair, and shows in its descriptors.
  (void)machine.devices().drop_backends(lineage_.device_for(device, side, vm.slot), answer_deadline());
  std::erase_if(lineage_.devices(), [&id](const DeviceSpec& other) { return other.id == id; });
  MIGSOAK_ASSIGN(const bool confirmed, await(device, false));
  record(running, "done", confirmed, confirmed ? "" : "the guest still shows it");
  return {};
}

StepOutcome OperationRunner::adopt_boot_disks() {
  return step_of(try_adopt_boot_disks(), "start of the guest's disks");
}

Result<void> OperationRunner::try_adopt_boot_disks() {
  for (const DeviceSpec& device : lineage_.devices()) {
    const bool scsi = hypervisor::is_attached_to(hypervisor::Attachment::scsi, device.type);
    if (!scsi || !hypervisor::is_disk_type(device.type)) continue;
    MIGSOAK_ASSIGN(const bool seen, await(device, true));
    if (!seen) continue;
    MIGSOAK_TRY(attach_workload(device));
  }
  return {};
}

StepOutcome OperationRunner::run_settled(Vm& source) {
  return step_of(run_timed("settled", source), "hotplug before the migration");
}

StepOutcome OperationRunner::begin_at_once(Vm& source) {
  return step_of(run_timed("at-once", source), "hotplug at the migration");
}

Result<void> OperationRunner::run_timed(const std::string& timing, Vm& source) {
  for (const PlannedOperation& operation : journal_.plan().operations) {
    if (operation.timing != timing) continue;
    const auto began = base::Clock::now();
    MIGSOAK_TRY(operation.action == "plug" ? plug(source, operation, began) : unplug(source, operation, began));
  }
  return {};
}

void OperationRunner::send_refused(Vm& source) {
  for (const PlannedOperation& operation : journal_.plan().operations) {
    if (operation.timing != "refused") continue;
    Running running{operation, base::Clock::now()};
    qmp::Monitor& client = source.machine->qmp();
    if (operation.action == "unplug") {
      running.reply = client.send("device_del", {{"id", operation.device}});
    } else {
      // QEMU looks at the migration before it looks at properties: no backend is needed for a refusal.
      const auto parts =
          hypervisor::device_parts(lineage_.device_for(device_of(operation), source.machine->spec().side, source.slot));
      if (!parts) continue;
      base::Json arguments = base::Json::object();
      for (const auto& [name, value] : parts->frontend) {
        if (name == "driver" || name == "id" || name == "bus") arguments[name] = value;
      }
      running.reply = client.send("device_add", arguments);
    }
    refused_.push_back(std::move(running));
  }
}

void OperationRunner::conclude_refused(Vm& source, bool migrated) {
  for (const Running& running : refused_) {
    const auto reply = source.machine->qmp().take_reply(running.reply, Deadline::in(std::chrono::seconds(2)));
    if (!reply && reply.error().message.find("not allowed while migrating") != std::string::npos) {
      record(running, "expected-refusal", true);
    } else if (!reply && !refused_by_qemu(reply.error(), source)) {
      // It is gone or hangs, which is told elsewhere.
      record(running, "skipped", false, reply.error().describe());
    } else if (!migrated) {
      record(running, "skipped", false, "the migration had failed by then");
    } else if (!reply) {
      record(running, "refused", false, reply.error().describe());
    } else {
      record(running, "not-refused", false, "QEMU changed its devices while it was migrating");
    }
  }
  refused_.clear();
}

StepOutcome OperationRunner::conclude(Vm& current) {
  return step_of(try_conclude(current), "hotplug after the migration");
}

Result<void> OperationRunner::try_conclude(Vm& current) {
  for (Running& running : std::exchange(at_once_, {})) {
    const PlannedOperation& operation = running.operation;
    if (operation.action == "plug") {
      MIGSOAK_TRY(confirm_plug(device_of(operation), running));
      continue;
    }
    // The request does not travel with the guest's state, or the source has let go already: asked again. That it is
    // gone by now is as good: the guest had it in hand when it came over.
    auto asked = current.machine->devices().request_unplug(operation.device, answer_deadline());
    const auto says = [&asked](const char* words) {
      return !asked && asked.error().message.find(words) != std::string::npos;
    };
    running.seen_gone = says("not found");
    const bool fine = asked || running.seen_gone || says("already in the process");
    if (!fine && refused_by_qemu(asked.error(), current)) {
      record(running, "refused", false, asked.error().describe(), current.machine->spec().side);
      continue;
    }
    if (!fine) return asked;
    MIGSOAK_TRY(finish_unplug(current, running));
  }
  return {};
}

base::Json device_set_json(const Lineage& lineage, const DeviceSet& devices, const std::string& side,
                           const std::string& slot) {
  base::Json list = base::Json::array();
  for (const DeviceSpec& device : devices) {
    const auto parts = hypervisor::device_parts(lineage.device_for(device, side, slot));
    if (!parts) continue;
    base::Json entry{{"id", device.id}, {"type", device.type}, {"bus", device.bus}, {"address", device.address}};
    base::Json props = base::Json::object();
    for (const auto& [name, value] : parts->frontend) {
      if (name == "driver") {
        entry["driver"] = value;
      } else if (name != "id" && name != "bus" && name != "addr") {
        props[name] = value;
      }
    }
    entry["props"] = std::move(props);
    if (const std::string address = hypervisor::pci_address(devices, device); !address.empty()) entry["pci"] = address;
    list.push_back(std::move(entry));
  }
  return {{"devices", std::move(list)}};
}

}  // namespace migsoak::engine
