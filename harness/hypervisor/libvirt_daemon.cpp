#include "hypervisor/libvirt_daemon.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <utility>

#include "base/text.h"
#include "hypervisor/tls_certificates.h"
#include "proc/program.h"
#include "proc/run_dir.h"

namespace migsoak::hypervisor {
using base::ErrorKind;
namespace fs = std::filesystem;

namespace {

constexpr const char* kProgram = "libvirtd";
// Where Debian has it: not in an ordinary user's PATH.
constexpr const char* kUsualPath = "/usr/sbin/libvirtd";

// What a system daemon has compiled in and writes to. The whole of each is replaced by a directory of the side's own,
// so nothing of the host is there to be touched: its libvirt, its system bus (machined would register our VMs), its
// udev.
constexpr std::array<const char*, 4> kReplaced = {"/run", "/var/lib", "/var/log", "/var/cache"};

// Where libvirtd has its drivers; Debian's first.
constexpr std::array<const char*, 3> kDriverFolders = {"/usr/lib/x86_64-linux-gnu/libvirt/connection-driver",
                                                       "/usr/lib64/libvirt/connection-driver",
                                                       "/usr/lib/libvirt/connection-driver"};
constexpr const char* kQemuDriver = "libvirt_driver_qemu.so";

// What a daemon keeps on purpose when its domains have gone.
constexpr std::array<std::pair<const char*, const char*>, 3> kKept = {
    {{"var/log", "what the QEMUs of its domains said"},
     {"var/cache", "what it found out about the programs it starts"},
     {"etc/libvirt/qemu/guest.xml", "a definition that was asked for: its daemon tells of it (detect/xml_drift.cpp)"}}};

// Run by sh as `sh enter.sh DIRECTORY PROGRAM [ARGUMENT…]` in a new mount namespace; becomes the daemon, in one pid.
constexpr const char* kEnter = R"(# Made by migsoak for one private libvirtd; see hypervisor/libvirt_daemon.h.
set -e
own=$1
shift
# /etc is the host's, entry for entry, but for the users and libvirt's own.
mount --rbind /etc "$own/host-etc"
mount --bind "$own/etc" /etc
for directory in run var/lib var/log var/cache; do
  mount --bind "$own/$directory" "/$directory"
done
# Control groups are the host's business.
umount -R -l /sys/fs/cgroup 2>/dev/null || true
# Its pids are those of the PID namespace that the run lives in.
mount -t proc proc /proc
exec "$@"
)";

base::Result<void> write_text(const std::string& path, const std::string& content) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << content;
  file.close();
  if (!file) return base::fail(ErrorKind::environment, "can't write " + path);
  return {};
}

base::Result<void> make_directory(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return base::fail(ErrorKind::environment, "can't make " + path + ": " + error.message());
  return {};
}

std::string whole_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

base::Result<std::string> random_uuid() {
  std::string uuid = whole_file("/proc/sys/kernel/random/uuid");
  while (!uuid.empty() && uuid.back() == '\n') uuid.pop_back();
  if (uuid.size() != 36) return base::fail(ErrorKind::environment, "the kernel gave no UUID");
  return uuid;
}

base::Result<std::string> find_libvirtd() {
  for (const char* candidate : {kProgram, kUsualPath}) {
    if (auto found = proc::find_program(candidate)) return *found;
  }
  return base::fail(ErrorKind::bad_input,
                    "driver \"libvirt\" needs a libvirtd, and there is none: apt-get install libvirt-daemon");
}

// A system daemon's: nothing that it mounts is seen outside.
std::vector<std::string> in_mount_namespace(const std::vector<std::string>& command) {
  std::vector<std::string> argv{"unshare", "--mount", "--propagation", "private"};
  argv.insert(argv.end(), command.begin(), command.end());
  return argv;
}

// Not where the root directory is no mount, as in a bare chroot (EINVAL), nor without CAP_SYS_ADMIN.
base::Result<void> check_mount_namespace(proc::Reactor& reactor, proc::Containment& containment,
                                         base::Deadline deadline) {
  proc::SpawnSpec spec;
  spec.name = "unshare";
  spec.argv = in_mount_namespace({"true"});
  MIGSOAK_ASSIGN(const proc::CommandOutput output, proc::run_command(reactor, containment, spec, deadline));
  if (output.status.success()) return {};
  const std::string line = base::printable(output.out.substr(0, output.out.find('\n')), 200);
  return base::fail(ErrorKind::bad_input,
                    fmt::format("driver \"libvirt\" gives a libvirtd that runs as root a mount namespace of its own, "
                                "and there can be none here ({}): run as an ordinary user",
                                line.empty() ? proc::to_string(output.status) : line));
}

bool lies_in(const std::string& path, const std::string& directory) {
  std::error_code ignored;
  const std::string real = fs::weakly_canonical(path, ignored).string();
  return real == directory || real.rfind(directory + "/", 0) == 0;
}

// `file` with `line` added, unless an entry of that name is there.
std::string with_entry(std::string file, const std::string& name, const std::string& line) {
  if (file.rfind(name + ":", 0) == 0 || file.find("\n" + name + ":") != std::string::npos) return file;
  if (!file.empty() && file.back() != '\n') file += '\n';
  return file + line + "\n";
}

}  // namespace

LibvirtDaemon::LibvirtDaemon(LibvirtPlace place, bool system)
    : place_(std::move(place)), system_(system), directory_(place_.run_dir + "/lv-" + place_.side) {}

base::Result<std::unique_ptr<LibvirtDaemon>> LibvirtDaemon::start(proc::Reactor& reactor,
                                                                  proc::Containment& containment,
                                                                  const LibvirtPlace& place) {
  const bool system = ::geteuid() == 0;
  MIGSOAK_ASSIGN(const std::string program, find_libvirtd());
  std::unique_ptr<LibvirtDaemon> daemon(new LibvirtDaemon(place, system));
  const std::string& own = daemon->directory_;
  for (const char* replaced : kReplaced) {
    if (system && lies_in(place.run_dir, replaced)) {
      return base::fail(ErrorKind::environment, fmt::format("the run directory {} lies in {}, of which a private "
                                                            "libvirtd gets its own: set MIGSOAK_RUN_BASE",
                                                            place.run_dir, replaced));
    }
  }
  std::error_code ignored;
  fs::remove_all(own, ignored);  // a predecessor's
  MIGSOAK_TRY(daemon->make_directories());
  MIGSOAK_TRY(daemon->configure());
  if (system) MIGSOAK_TRY(daemon->make_system_root());

  proc::SpawnSpec spec;
  spec.name = daemon->name();
  spec.env = place.env;
  spec.log_file = fmt::format("{}/libvirtd-{}.log", place.log_dir, place.side);
  if (system) {
    spec.argv = in_mount_namespace({"sh", own + "/enter.sh", own, program});
  } else {
    spec.argv = {program};
    spec.env["XDG_RUNTIME_DIR"] = own + "/run";
    spec.env["XDG_CONFIG_HOME"] = own + "/etc";
    spec.env["XDG_CACHE_HOME"] = own + "/var/cache";
    spec.env["XDG_DATA_HOME"] = own + "/var/lib";
    // A session's daemon would tell its bus.
    spec.env["DBUS_SESSION_BUS_ADDRESS"] = "unix:path=" + own + "/no-bus";
    spec.env["DBUS_SYSTEM_BUS_ADDRESS"] = "unix:path=" + own + "/no-bus";
  }
  // The QEMU driver alone, as a virtqemud has it: networks, storage pools and the host's devices are no part of this.
  if (daemon->has_own_drivers()) spec.env["LIBVIRT_DRIVER_DIR"] = own + "/drivers";
  MIGSOAK_ASSIGN(daemon->child_, proc::ChildProcess::spawn(reactor, containment, spec));
  return daemon;
}

base::Result<void> LibvirtDaemon::start_again(proc::Reactor& reactor, proc::Containment& containment) {
  // One that was killed leaves its socket, at which nobody listens.
  ::unlink(socket().c_str());
  proc::SpawnSpec spec = child_->spec();
  spec.log_append = true;
  MIGSOAK_ASSIGN(child_, proc::ChildProcess::spawn(reactor, containment, spec));
  return {};
}

void LibvirtDaemon::begin_stop(bool by_kill) {
  (void)child_->signal(by_kill ? SIGKILL : SIGTERM);  // one that has ended needs none
}

// The longest is a session's: that of a domain's monitor. A system daemon binds its own by the short names of its
// namespace, and its clients come by this one's sibling.
base::Result<void> LibvirtDaemon::check_paths(const LibvirtPlace& place) {
  return proc::check_socket_path(
      LibvirtDaemon(place, ::geteuid() == 0).directory_ +
      (::geteuid() == 0 ? "/run/libvirt/libvirt-sock" : "/etc/libvirt/qemu/lib/domain-1000000-guest/monitor.sock"));
}

base::Result<void> LibvirtDaemon::make_directories() const {
  for (const char* name : {"etc/libvirt", "host-etc", "run", "var/lib", "var/log", "var/cache"}) {
    MIGSOAK_TRY(make_directory(directory_ + "/" + name));
  }
  ::chmod((directory_ + "/run").c_str(), 0700);
  return {};
}

// Nothing of what libvirt does for a host's safety, and all as one user: what it leaves to the machine is not under
// test. What QEMU says goes into a file without a virtlogd in between.
base::Result<void> LibvirtDaemon::configure() const {
  MIGSOAK_ASSIGN(const std::string uuid, random_uuid());
  MIGSOAK_TRY(write_text(directory_ + "/etc/libvirt/libvirtd.conf", fmt::format("host_uuid = \"{}\"\n"
                                                                                "auth_unix_rw = \"none\"\n"
                                                                                "log_level = 3\n"
                                                                                "log_outputs = \"3:stderr\"\n",
                                                                                uuid)));
  std::string qemu =
      "security_driver = \"none\"\n"
      "migrate_tls_x509_verify = 1\n"
      "stdio_handler = \"file\"\n"
      "log_timestamp = 0\n";
  const std::string certificates = directory_ + "/etc/libvirt/tls";
  MIGSOAK_TRY(write_tls_certificates(certificates));
  qemu += fmt::format("migrate_tls_x509_cert_dir = \"{}\"\n", certificates);
  if (system_) {
    qemu +=
        "user = \"root\"\n"
        "group = \"root\"\n"
        "dynamic_ownership = 0\n"
        "remember_owner = 0\n"
        "namespaces = []\n"
        "cgroup_controllers = []\n";
  }
  return write_text(directory_ + "/etc/libvirt/qemu.conf", qemu);
}

base::Result<void> LibvirtDaemon::make_system_root() const {
  MIGSOAK_TRY(write_text(directory_ + "/enter.sh", kEnter));
  const std::string etc = directory_ + "/etc";
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/etc", error)) {
    const std::string name = entry.path().filename();
    if (name == "libvirt" || name == "passwd" || name == "group") continue;
    std::error_code ignored;
    fs::create_symlink(directory_ + "/host-etc/" + name, etc + "/" + name, ignored);
  }
  if (error) return base::fail(ErrorKind::environment, "can't read /etc: " + error.message());
  // A system daemon does not start without this user, whoever its QEMUs run as.
  MIGSOAK_TRY(write_text(etc + "/passwd", with_entry(whole_file("/etc/passwd"), "libvirt-qemu",
                                                     "libvirt-qemu:x:64055:64055::/nonexistent:/usr/sbin/nologin")));
  return write_text(etc + "/group", with_entry(whole_file("/etc/group"), "libvirt-qemu", "libvirt-qemu:x:64055:"));
}

bool LibvirtDaemon::has_own_drivers() const {
  for (const char* folder : kDriverFolders) {
    const std::string driver = std::string(folder) + "/" + kQemuDriver;
    std::error_code error;
    if (!fs::exists(driver, error)) continue;
    fs::create_directory(directory_ + "/drivers", error);
    fs::create_symlink(driver, directory_ + "/drivers/" + kQemuDriver, error);
    return !error;
  }
  return false;
}

void LibvirtDaemon::note_own_files() {
  own_files_ = {};
  for (const auto& [name, reason] : kKept) own_files_.files.insert(directory_ + "/" + name);
  std::error_code error;
  for (fs::recursive_directory_iterator entry(directory_, error), end; !error && entry != end; entry.increment(error)) {
    (entry->symlink_status().type() == fs::file_type::directory ? own_files_.directories : own_files_.files)
        .insert(entry->path());
  }
}

// Behind what gives a system daemon its mount namespace, the daemon's own command line stands last.
std::string LibvirtDaemon::program() const {
  return std::filesystem::path(child_->spec().argv.back()).filename();
}

bool LibvirtDaemon::has_socket() const {
  struct stat info {};
  return ::lstat(socket().c_str(), &info) == 0 && S_ISSOCK(info.st_mode);
}

std::string LibvirtDaemon::uri() const {
  return fmt::format("qemu+unix:///{}?socket={}/run/libvirt/libvirt-sock", system_ ? "system" : "session", directory_);
}

std::string LibvirtDaemon::pid_file(const std::string& domain) const {
  return fmt::format("{}/run/libvirt/qemu/{}{}.pid", directory_, system_ ? "" : "run/", domain);
}

std::string LibvirtDaemon::log_file(const std::string& domain) const {
  return system_ ? fmt::format("{}/var/log/libvirt/qemu/{}.log", directory_, domain)
                 : fmt::format("{}/var/cache/libvirt/qemu/log/{}.log", directory_, domain);
}

base::Result<std::string> identify_libvirt(proc::Reactor& reactor, proc::Containment& containment,
                                           base::Deadline deadline) {
  MIGSOAK_ASSIGN(const std::string program, find_libvirtd());
  proc::SpawnSpec spec;
  spec.name = "libvirtd --version";
  spec.argv = {program, "--version"};
  MIGSOAK_ASSIGN(const proc::CommandOutput output, proc::run_command(reactor, containment, spec, deadline));
  // "/usr/sbin/libvirtd (libvirt) 9.0.0"
  const std::string line = base::printable(output.out.substr(0, output.out.find('\n')), 200);
  const auto space = line.rfind(' ');
  if (!output.status.success() || space == std::string::npos || line.find("(libvirt)") == std::string::npos) {
    return base::fail(ErrorKind::bad_input, fmt::format("{} is no libvirtd: its --version said '{}'", program, line));
  }
  if (::geteuid() == 0) MIGSOAK_TRY(check_mount_namespace(reactor, containment, deadline));
  return "libvirtd " + line.substr(space + 1);
}

}  // namespace migsoak::hypervisor
