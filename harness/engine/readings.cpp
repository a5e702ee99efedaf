// A reading speaks to its QEMU's QMP client, which goes with the QEMU: one whose process is forgotten is dropped.
#include "engine/readings.h"

#include <utility>

#include "base/version.h"
#include "engine/operations.h"

namespace migsoak::engine {

base::Deadline Readings::answer_deadline() const {
  return base::Deadline::in(std::chrono::seconds(lineage_.context().scenario.deadline.answer_s));
}

void Readings::begin_config(Vm* vm, hypervisor::ReadPoint point, bool running) {
  if (!lineage_.context().scenario.config_space || vm == nullptr) return;
  reads_.done("config-space");
  if (!vm->machine->qmp().connected()) {
    return reads_.failed("config-space", vm->name, vm->process_id, "its QMP is closed");
  }
  const hypervisor::MachineSpec& spec = vm->machine->spec();
  hypervisor::ConfigReadRequest request;
  request.point = point;
  request.subject = vm->name;
  request.process_id = vm->process_id;
  request.side = spec.side;
  request.running = running;
  request.tells_virtqueues = !base::older_version(spec.version, "7.2");
  config_at(point) = {vm->process_id, lineage_.config_reader().begin(vm->machine->qmp(), request)};
}

// A QEMU that is gone or hangs tells of itself otherwise too.
void Readings::finish_config(hypervisor::ReadPoint point) {
  const auto reading = std::exchange(config_at(point).reading, nullptr);
  if (reading == nullptr || lineage_.find(config_at(point).process_id) == nullptr) return;
  const auto began = base::Clock::now();
  auto documents = reading->finish(answer_deadline());
  const hypervisor::ConfigReadRequest request = reading->request();
  if (!documents) {
    reads_.failed("config-space", request.subject, request.process_id, documents.error().message);
    const bool queues = request.tells_virtqueues && !request.running;
    if (queues) reads_.failed("virtqueues", request.subject, request.process_id, documents.error().message);
  }
  for (const hypervisor::MissedRead& missed : reading->missed()) {
    reads_.failed(missed.read, request.subject, request.process_id, missed.why);
  }
  journal_.sample("host", 0, point == hypervisor::ReadPoint::source ? "read_source_ms" : "read_destination_ms",
                  base::milliseconds_between(began, base::Clock::now()));
  if (!documents) return;
  for (const record::Document& document : *documents) {
    if (document.kind == record::document_kind::kVirtqueues) reads_.done("virtqueues");
  }
  journal_.documents(std::move(*documents));
}

void Readings::drop_destination() {
  destination_.reading.reset();
  waiting_tree_.reading.reset();
}

void Readings::config(Vm* vm, hypervisor::ReadPoint point, bool running) {
  begin_config(vm, point, running);
  finish_config(point);
}

Readings::TreeOf Readings::send_for_tree(Vm* vm, const char* point) {
  if (!lineage_.context().scenario.device_tree || vm == nullptr) return {};
  reads_.done("device-tree");
  if (!vm->machine->qmp().connected()) {
    reads_.failed("device-tree", vm->name, vm->process_id, "its QMP is closed");
    return {};
  }
  return {vm->process_id, lineage_.tree_reader().begin(vm->machine->qmp(), vm->name, vm->process_id, point)};
}

void Readings::take_tree(const hypervisor::DeviceTreeReading& reading, const char* took) {
  const auto began = base::Clock::now();
  auto documents = lineage_.tree_reader().finish(reading, answer_deadline());
  journal_.sample("host", 0, took, base::milliseconds_between(began, base::Clock::now()));
  if (!documents) {
    return reads_.failed("device-tree", reading.subject, reading.process_id, documents.error().message);
  }
  for (const record::Document& document : *documents) {
    if (!base::json_get<bool>(document.content, "cut", false)) continue;
    reads_.failed("device-tree", reading.subject, reading.process_id, "there is more of it than the reader takes");
  }
  journal_.documents(std::move(*documents));
}

void Readings::begin_tree(Vm* vm, const char* point) {
  tree_ = send_for_tree(vm, point);
}

void Readings::finish_tree() {
  const TreeOf tree = std::exchange(tree_, {});
  // A QEMU whose end was noted meanwhile is forgotten, its client with it.
  if (!tree.reading || lineage_.current() == nullptr || lineage_.current()->process_id != tree.process_id) return;
  take_tree(*tree.reading, "read_tree_ms");
}

void Readings::begin_waiting_tree(Vm* vm) {
  waiting_tree_ = send_for_tree(vm, "waiting");
}

void Readings::finish_waiting_tree() {
  const TreeOf tree = std::exchange(waiting_tree_, {});
  if (tree.reading && lineage_.find(tree.process_id) != nullptr) take_tree(*tree.reading, "read_waiting_tree_ms");
}

void Readings::tree(Vm* vm, const char* point) {
  begin_tree(vm, point);
  finish_tree();
}

// A daemon that has ended or hangs tells of itself otherwise too.
void Readings::domains(const char* point) {
  const auto began = base::Clock::now();
  const auto all = lineage_.daemons().domains(answer_deadline());
  if (all.empty()) return;
  reads_.done("domains");
  for (const hypervisor::Driver::DaemonDomains& of_daemon : all) {
    const std::string name = of_daemon.daemon->name();
    const DaemonInstance* instance = lineage_.daemons().find(name);
    const std::int64_t process_id = instance == nullptr ? 0 : instance->process_id;
    if (!of_daemon.domains) {
      reads_.failed("domains", name, process_id, of_daemon.domains.error().message);
      continue;
    }
    journal_.document({record::document_kind::kDomains, name, process_id, point, *of_daemon.domains});
  }
  journal_.sample("host", 0, "read_domains_ms", base::milliseconds_between(began, base::Clock::now()));
}

base::Result<void> Readings::config_by_guest() {
  const auto began = base::Clock::now();
  MIGSOAK_ASSIGN(auto seen, lineage_.guest_view().look(lineage_.channel(), answer_deadline()));
  if (!seen) return {};
  journal_.sample("host", 0, "read_guest_ms", base::milliseconds_between(began, base::Clock::now()));
  journal_.document(std::move(*seen));
  return {};
}

void Readings::device_set(const Vm& vm, const char* point) {
  record::Document document;
  document.kind = record::document_kind::kDeviceSet;
  document.subject = vm.name;
  document.process_id = vm.process_id;
  document.point = point;
  document.content = device_set_json(lineage_, vm.devices, vm.machine->spec().side, vm.slot);
  journal_.document(std::move(document));
}

}  // namespace migsoak::engine
