#include "guest/live_guest.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "base/text.h"
#include "guest/socket_stream.h"
#include "proc/proc_fs.h"

namespace migsoak::guest {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

bool listens(const std::string& path) {
  const auto sockets = proc::read_unix_sockets();
  return sockets && std::any_of(sockets->begin(), sockets->end(), [&](const auto& socket) {
           return socket.second.listening && socket.second.path == path;
         });
}

}  // namespace

LiveGuest::LiveGuest(std::vector<LiveDisk> disks, LiveMachine machine)
    : disks_(std::move(disks)), machine_(std::move(machine)) {}

LiveGuest::~LiveGuest() {
  channel_.reset();
  console_.reset();
  current_.reset();
  containment_.reset();
}

base::Result<std::unique_ptr<LiveGuest::Qemu>> LiveGuest::start_qemu(bool incoming) {
  MIGSOAK_ASSIGN(const GuestImage image, locate_image());
  auto qemu = std::make_unique<Qemu>();
  qemu->name = fmt::format("q{}", ++qemus_started_);
  const std::string base = run_dir_->path() + "/" + qemu->name;
  std::vector<std::string> argv = {"qemu-system-x86_64",
                                   "-M",
                                   machine_.type,
                                   "-accel",
                                   "tcg",
                                   "-m",
                                   machine_.memory,
                                   "-smp",
                                   machine_.cpus,
                                   "-nodefaults",
                                   "-display",
                                   "none",
                                   "-kernel",
                                   image.kernel,
                                   "-initrd",
                                   image.initramfs,
                                   "-append",
                                   "console=ttyS0 loglevel=4 panic=0 no_timer_check cryptomgr.notests"};
  for (const char* port : {"console", "agent", "monitor"}) {
    argv.insert(argv.end(), {"-chardev", fmt::format("socket,id={0},path={1}.{0},server=on,wait=off", port, base)});
  }
  argv.insert(argv.end(), {"-serial", "chardev:console", "-serial", "chardev:agent", "-mon", "chardev=monitor"});
  argv.insert(argv.end(), {"-qmp", fmt::format("unix:{}.qmp,server=on,wait=off", base)});
  argv.insert(argv.end(), machine_.more.begin(), machine_.more.end());
  for (std::size_t i = 0; i < disks_.size(); ++i) {
    const std::string node = fmt::format("d{}", i);
    argv.insert(argv.end(),
                {"-blockdev", fmt::format("driver=file,node-name={}f,filename={},locking=off", node, disk_path(i))});
    std::string top = node + "f";
    if (disks_[i].writes_fail) {
      argv.insert(argv.end(), {"-blockdev", fmt::format("driver=blkdebug,node-name={0}e,image={0}f,"
                                                        "inject-error.0.event=none,inject-error.0.iotype=write,"
                                                        "inject-error.0.errno=5",
                                                        node)});
      top = node + "e";
    }
    argv.insert(argv.end(), {"-device", fmt::format("virtio-blk-pci,id={0},addr={1:#x},drive={2},serial={3},"
                                                    "share-rw=on,werror=report,rerror=report",
                                                    node, 4 + i, top, disks_[i].serial)});
  }
  if (incoming) argv.insert(argv.end(), {"-incoming", "unix:" + base + ".migration"});

  proc::SpawnSpec spec;
  spec.name = "qemu:" + qemu->name;
  spec.argv = argv;
  MIGSOAK_ASSIGN(qemu->child, proc::ChildProcess::spawn(reactor_, *containment_, spec));
  MIGSOAK_ASSIGN(qemu->console_stream, console_->attach(base + ".console", patient()));
  MIGSOAK_ASSIGN(qemu->channel_stream, channel_->attach(base + ".agent", patient()));
  return qemu;
}

base::Result<Hello> LiveGuest::boot() {
  MIGSOAK_ASSIGN(run_dir_, proc::RunDir::create("guest-test"));
  proc::ContainmentOptions options;
  options.run_id = "guest-test";
  options.run_dir = run_dir_->path();
  MIGSOAK_ASSIGN(containment_, proc::Containment::start(options));
  channel_ = std::make_unique<GuestChannel>(reactor_);
  console_ = std::make_unique<Console>(reactor_, "");
  for (std::size_t i = 0; i < disks_.size(); ++i) {
    std::ofstream(disk_path(i)).flush();
    std::filesystem::resize_file(disk_path(i), disks_[i].size_bytes);
  }
  MIGSOAK_ASSIGN(current_, start_qemu(false));
  auto hello = channel_->wait_hello(patient());
  if (!hello) {
    // A guest that does not come up is rare and says nothing: keep what QEMU was at.
    for (const auto& [name, stack] : proc::capture_stacks(qemu_pid())) {
      hello.error().message += fmt::format("\n{}:\n{}", name, stack);
    }
    hello.error().message += "\n" + base::join(current_->child->last_lines(), "\n");
  }
  return hello;
}

base::Result<std::string> LiveGuest::monitor(const Qemu& qemu, const std::string& line) {
  MIGSOAK_ASSIGN(auto stream,
                 SocketStream::connect(reactor_, run_dir_->path() + "/" + qemu.name + ".monitor", patient()));
  std::string text;
  stream->on_bytes([&text](std::string_view bytes) { text += bytes; });
  const auto prompts = [&text] {
    std::size_t count = 0;
    for (std::size_t at = 0; (at = text.find("(qemu) ", at)) != std::string::npos; ++at) ++count;
    return count;
  };
  reactor_.run_until([&] { return prompts() >= 1; }, patient());
  stream->send_now(line + "\n");
  reactor_.run_until([&] { return prompts() >= 2; }, patient());
  return text;
}

base::Result<void> LiveGuest::migrate() {
  MIGSOAK_ASSIGN(auto next, start_qemu(true));
  const std::string migration_socket = run_dir_->path() + "/" + next->name + ".migration";
  // QEMU opens it well after the character devices, and the path is there a moment before anybody listens.
  if (reactor_.run_until([&] { return listens(migration_socket); }, patient(), milliseconds(5)) != proc::Wait::ready) {
    return base::fail(base::ErrorKind::timeout, "no destination listens on " + migration_socket);
  }
  MIGSOAK_TRY(monitor(*current_, "migrate_set_parameter max-bandwidth 10G"));
  MIGSOAK_TRY(monitor(*current_, "migrate -d unix:" + migration_socket));
  if (auto beat = channel_->wait_heartbeat(next->channel_stream, patient()); !beat) {
    const auto state = monitor(*current_, "info migrate");
    return base::fail(beat.error().kind, beat.error().describe() + "\n" + (state ? *state : state.error().describe()) +
                                             base::join(next->child->last_lines(), "\n"));
  }
  channel_->make_active(next->channel_stream);
  current_->child->stop(seconds(10));
  channel_->detach(current_->channel_stream);
  console_->detach(current_->console_stream);
  current_ = std::move(next);
  return {};
}

}  // namespace migsoak::guest
