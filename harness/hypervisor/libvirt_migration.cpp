#include "hypervisor/libvirt_migration.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cassert>
#include <cerrno>

#include "base/text.h"
#include "base/unique_fd.h"
#include "hypervisor/libvirt_ways.h"
#include "hypervisor/tls_certificates.h"

namespace migsoak::hypervisor {
using base::ErrorKind;

namespace {

// libvirtd's own choice begins with the same port in every daemon, and two that choose at the same time meet there. One
// that the kernel has just given away it does not give to the next.
base::Result<int> free_port() {
  const base::UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* const general = reinterpret_cast<sockaddr*>(&address);
  if (!socket.valid() || ::bind(socket.get(), general, size) != 0 || ::getsockname(socket.get(), general, &size) != 0) {
    return base::fail_errno("no free port", errno);
  }
  return ntohs(address.sin_port);
}

// Parameters as libvirt takes them; what is empty or 0 is left out.
class TypedParameters {
 public:
  TypedParameters() = default;
  ~TypedParameters() { virTypedParamsFree(all_, count_); }
  TypedParameters(const TypedParameters&) = delete;
  TypedParameters& operator=(const TypedParameters&) = delete;

  void add(const char* name, const std::string& value) {
    if (!value.empty()) virTypedParamsAddString(&all_, &count_, &room_, name, value.c_str());
  }
  void add_large(const char* name, std::int64_t value) {
    if (value > 0) virTypedParamsAddULLong(&all_, &count_, &room_, name, static_cast<unsigned long long>(value));
  }
  void add(const char* name, std::int64_t value) {
    if (value > 0) virTypedParamsAddInt(&all_, &count_, &room_, name, static_cast<int>(value));
  }
  virTypedParameterPtr all() const { return all_; }
  unsigned count() const { return static_cast<unsigned>(count_); }

 private:
  virTypedParameterPtr all_ = nullptr;
  int count_ = 0, room_ = 0;
};

struct JobFigure {
  const char* parameter;
  const char* metric;
  double factor;
};
constexpr JobFigure kJobFigures[] = {
    {VIR_DOMAIN_JOB_TIME_ELAPSED, "total_ms", 1},
    {VIR_DOMAIN_JOB_DOWNTIME, "downtime_ms", 1},
    {VIR_DOMAIN_JOB_SETUP_TIME, "setup_ms", 1},
    {VIR_DOMAIN_JOB_MEMORY_PROCESSED, "ram_bytes", 1},
    {VIR_DOMAIN_JOB_MEMORY_TOTAL, "ram_total_bytes", 1},
    {VIR_DOMAIN_JOB_MEMORY_REMAINING, "remaining_bytes", 1},
    {VIR_DOMAIN_JOB_MEMORY_ITERATION, "ram_dirty_sync_count", 1},
    {VIR_DOMAIN_JOB_MEMORY_NORMAL, "ram_normal_pages", 1},
    {VIR_DOMAIN_JOB_MEMORY_CONSTANT, "ram_duplicate_pages", 1},
    {VIR_DOMAIN_JOB_MEMORY_BPS, "ram_mbit_per_s", 8e-6},
};

// They stay with the domain, so with the destination.
base::Result<base::Json> job_figures(virConnectPtr connection, const std::string& uuid) {
  const LibvirtDomain domain = hold_domain(virDomainLookupByUUIDString(connection, uuid.c_str()));
  if (!domain) return libvirt_error("look-up of the domain");
  virTypedParameterPtr parameters = nullptr;
  int type = 0, count = 0;
  if (virDomainGetJobStats(domain.get(), &type, &parameters, &count, VIR_DOMAIN_JOB_STATS_COMPLETED) != 0) {
    return libvirt_error("statistics of the job");
  }
  base::Json figures = base::Json::object();
  for (const JobFigure& figure : kJobFigures) {
    unsigned long long value = 0;
    int number = 0;
    if (virTypedParamsGetULLong(parameters, count, figure.parameter, &value) == 1) {
      figures[figure.metric] = static_cast<double>(value) * figure.factor;
    } else if (virTypedParamsGetInt(parameters, count, figure.parameter, &number) == 1) {
      figures[figure.metric] = number * figure.factor;
    }
  }
  virTypedParamsFree(parameters, count);
  return figures;
}

}  // namespace

base::Result<void> undefine_guest(virConnectPtr connection, const std::string& uuid) {
  const LibvirtDomain domain = hold_domain(virDomainLookupByUUIDString(connection, uuid.c_str()));
  if (!domain) return libvirt_error("look-up of the definition");
  if (virDomainUndefineFlags(domain.get(), 0) != 0) return libvirt_error("undefine of the domain");
  return {};
}

// All that the call uses is its own: it may outlive the migration.
struct LibvirtMigration::Call {
  LibvirtDomain domain;
  LibvirtConnection destination;
  std::string destination_uri, destination_xml, migrate_uri, listen_address;
  std::string socket_path;  // of transport unix
  std::string state_path;   // not empty: saved and restored
  unsigned flags = VIR_MIGRATE_LIVE;
  std::int64_t bandwidth_mib = 0, parallel_connections = 0;
  unsigned downtime_limit_ms = 0;
  bool undefine_destination = false;
};

base::Result<std::unique_ptr<DrivenMigration>> LibvirtMigration::begin(LibvirtEnds ends, LibvirtJob job) {
  if (const std::string why = libvirt_conflict(job.transport, job.way); !why.empty()) {
    return base::fail(ErrorKind::bad_input, why);
  }
  Call call;
  call.domain = ends.domain;
  call.destination = ends.destination;
  call.destination_uri = ends.destination_uri;
  call.destination_xml = std::move(job.destination_xml);
  call.bandwidth_mib = job.way.bandwidth_mib;
  call.downtime_limit_ms = job.downtime_limit_ms;
  if (job.transport == kSaved) call.state_path = job.state_path;
  if (job.way.managed == kPeerToPeer) call.flags |= VIR_MIGRATE_PEER2PEER;
  if (job.transport == kTunnelled) {
    call.flags |= VIR_MIGRATE_TUNNELLED;
  } else if (job.transport == "unix") {
    call.socket_path = job.socket_path;
    call.migrate_uri = "unix://" + job.socket_path;
  } else if (job.transport == "tcp") {
    MIGSOAK_ASSIGN(const int port, free_port());
    call.migrate_uri = fmt::format("tcp://127.0.0.1:{}", port);
    call.listen_address = "127.0.0.1";
  } else if (job.transport != kSaved) {
    return base::fail(ErrorKind::bad_input, "libvirt has no transport '" + base::printable(job.transport) + "'");
  }
  for (const std::string& name : job.way.flags) {
    const LibvirtFlag* flag = find_libvirt_flag(name);
    if (flag == nullptr) return base::fail(ErrorKind::bad_input, "libvirt has no flag '" + base::printable(name) + "'");
    call.flags |= flag->value;
  }
  // libvirt takes it without parallel connections for a mistake.
  if ((call.flags & VIR_MIGRATE_PARALLEL) != 0) call.parallel_connections = job.way.parallel_connections;
  if (job.files_shared) call.flags |= VIR_MIGRATE_UNSAFE;
  // A definition that was left here when the guest went: the one that comes may differ.
  call.undefine_destination = std::exchange(ends.destination_defines, false);
  std::unique_ptr<LibvirtMigration> migration(new LibvirtMigration(std::move(ends)));
  migration->run(std::move(call));
  return migration;
}

LibvirtMigration::~LibvirtMigration() {
  if (!over()) LibvirtMigration::abort();
}

void LibvirtMigration::run(Call call) {
  const bool persists = (call.flags & VIR_MIGRATE_PERSIST_DEST) != 0;
  const bool undefines = (call.flags & VIR_MIGRATE_UNDEFINE_SOURCE) != 0;
  auto inbox = ends_.inbox;
  // The guest's sides: touched on the lane's thread only.
  const auto conclude = [weak = std::weak_ptr(state_), guest = std::weak_ptr(ends_.guest), persists, undefines,
                         source = &ends_.source_defines,
                         destination = &ends_.destination_defines](base::Result<void> result) {
    const auto held = guest.lock();
    if (held != nullptr && result && persists) *destination = true;
    if (held != nullptr && result && undefines) *source = false;
    if (const auto state = weak.lock()) state->emplace(std::move(result));
  };
  thread_.run([call = std::move(call), inbox = std::move(inbox), conclude] {
    auto result = std::make_shared<base::Result<void>>(migrate(call));
    inbox->post([conclude, result] { conclude(std::move(*result)); });
  });
}

// From the first call's return on the guest is in the file alone. Whichever call fails, nobody loads it again: a guest
// that went on from an old state would find its disks in a newer one.
base::Result<void> LibvirtMigration::save_and_restore(const Call& call) {
  const char* path = call.state_path.c_str();
  base::Result<void> result;
  if (virDomainSaveFlags(call.domain.get(), path, nullptr, VIR_DOMAIN_SAVE_RUNNING) != 0) {
    result = libvirt_error("save");
  } else if (virDomainRestoreFlags(call.destination.get(), path, call.destination_xml.c_str(),
                                   VIR_DOMAIN_SAVE_RUNNING) != 0) {
    result = libvirt_error("restore");
  }
  ::unlink(path);
  return result;
}

base::Result<void> LibvirtMigration::migrate(const Call& call) {
  if (call.undefine_destination) MIGSOAK_TRY(undefine_guest(call.destination.get(), uuid_of(call.domain.get())));
  if (!call.state_path.empty()) return save_and_restore(call);
  if (call.downtime_limit_ms > 0 && virDomainMigrateSetMaxDowntime(call.domain.get(), call.downtime_limit_ms, 0) != 0) {
    return libvirt_error("limit of the downtime");
  }
  TypedParameters parameters;
  parameters.add(VIR_MIGRATE_PARAM_DEST_XML, call.destination_xml);
  parameters.add(VIR_MIGRATE_PARAM_URI, call.migrate_uri);
  parameters.add(VIR_MIGRATE_PARAM_LISTEN_ADDRESS, call.listen_address);
  // Whatever it connects to: the name in the certificates of both ends.
  if ((call.flags & VIR_MIGRATE_TLS) != 0) parameters.add(VIR_MIGRATE_PARAM_TLS_DESTINATION, kTlsName);
  parameters.add_large(VIR_MIGRATE_PARAM_BANDWIDTH, call.bandwidth_mib);
  parameters.add(VIR_MIGRATE_PARAM_PARALLEL_CONNECTIONS, call.parallel_connections);
  if ((call.flags & VIR_MIGRATE_PEER2PEER) != 0) {
    const int migrated = virDomainMigrateToURI3(call.domain.get(), call.destination_uri.c_str(), parameters.all(),
                                                parameters.count(), call.flags);
    if (migrated == 0) return {};
  } else if (hold_domain(virDomainMigrate3(call.domain.get(), call.destination.get(), parameters.all(),
                                           parameters.count(), call.flags))) {
    return {};
  }
  const auto failed = libvirt_error("migration");
  // A QEMU that refuses what it is sent exits at once, without a thought for the socket it listened on.
  if (!call.socket_path.empty()) ::unlink(call.socket_path.c_str());
  return failed;
}

base::Result<void> LibvirtMigration::result() const {
  assert(over());
  return **state_;
}

void LibvirtMigration::abort() {
  ends_.source_calls.run([domain = ends_.domain] { virDomainAbortJob(domain.get()); });
}

void LibvirtMigration::start_postcopy() {
  if (*asking_postcopy_) return;
  *asking_postcopy_ = true;
  ends_.source_calls.run([domain = ends_.domain, inbox = ends_.inbox, weak = std::weak_ptr(asking_postcopy_)] {
    const bool begun = virDomainMigrateStartPostCopy(domain.get(), 0) == 0;
    inbox->post([weak, begun] {
      const auto asking = weak.lock();
      if (asking != nullptr && !begun) *asking = false;
    });
  });
}

std::vector<std::pair<std::string, double>> LibvirtMigration::figures(base::Deadline deadline) {
  const auto told =
      call_libvirt<base::Json>(ends_.reactor, ends_.inbox, ends_.destination_calls, deadline, "statistics of the job",
                               [connection = ends_.destination, uuid = uuid_of(ends_.domain.get())] {
                                 return job_figures(connection.get(), uuid);
                               });
  std::vector<std::pair<std::string, double>> figures;
  if (!told) return figures;
  for (const auto& [metric, value] : told->items()) figures.emplace_back(metric, value.get<double>());
  return figures;
}

}  // namespace migsoak::hypervisor
