// qemu-storage-daemon: raw images behind file nodes, one vhost-user-blk export per disk and slot.
//
// An export serves one client at a time (qemu-storage-daemon(1), "vhost-user-blk"), so source and destination of a
// migration each need their own; both write to the same node, hence locking=off. Every export answers
// VIRTIO_BLK_T_GET_ID with the constant "vhost_user_blk" (QEMU, block/export/vhost-user-blk-server.c,
// vu_blk_exp_create): the guest can't tell disks apart by serial, and sees no change at a switch-over.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "base/text.h"
#include "base/unique_fd.h"
#include "target/listening_target.h"

namespace migsoak::target {

namespace {

// QEMU's option syntax: a comma inside a value is doubled (qemu(1), "-blockdev").
std::string option_value(const std::string& text) {
  std::string out;
  for (const char c : text) {
    out += c;
    if (c == ',') out += ',';
  }
  return out;
}

// tmpfs refused O_DIRECT before Linux 6.6, overlays of several kinds still do.
bool supports_direct_io(const std::string& path) {
  const base::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
  return fd.valid();
}

// One image: its file node, its raw node, one export per slot.
base::Result<void> append_disk(const TargetSpec& spec, std::size_t index, std::vector<std::string>& command,
                               std::map<std::string, std::string>& sockets) {
  const Disk& disk = spec.disks[index];
  const bool direct = supports_direct_io(disk.image);
  if (spec.aio == "native" && !direct) {
    return base::fail(base::ErrorKind::environment,
                      fmt::format("aio = 'native' needs O_DIRECT, which the file system of {} refuses", disk.image));
  }
  command.insert(command.end(),
                 {"--blockdev", fmt::format("driver=file,node-name=f{},filename={},locking=off,cache.direct={},aio={}",
                                            index, option_value(disk.image), direct ? "on" : "off", spec.aio)});
  command.insert(command.end(), {"--blockdev", fmt::format("driver=raw,node-name=disk{0},file=f{0}", index)});
  for (const std::string& slot : spec.slots) {
    // A target with one disk needs no second word in its (short) socket paths.
    MIGSOAK_ASSIGN(std::string path, socket_path(spec, (spec.disks.size() == 1 ? "" : "." + disk.id) + "." + slot));
    command.insert(command.end(),
                   {"--export", fmt::format("type=vhost-user-blk,id=e{}-{},node-name=disk{},writable=on,num-queues={},"
                                            "addr.type=unix,addr.path={}",
                                            index, slot, index, disk.queues, option_value(path))});
    if (!sockets.emplace(socket_key(disk.id, slot), std::move(path)).second) {
      return base::fail(base::ErrorKind::bad_input,
                        fmt::format("two exports are called '{}'", socket_key(disk.id, slot)));
    }
  }
  return {};
}

}  // namespace

base::Result<CommandLine> qemu_storage_daemon_command(const TargetSpec& spec) {
  if (spec.slots.empty()) return base::fail(base::ErrorKind::bad_input, "no export to offer: no device uses it");
  if (spec.aio != "threads" && spec.aio != "native" && spec.aio != "io_uring") {
    return base::fail(base::ErrorKind::bad_input,
                      fmt::format("aio = '{}': threads, native or io_uring", base::printable(spec.aio, 40)));
  }
  if (spec.disks.empty()) return base::fail(base::ErrorKind::bad_input, "no disk to serve");
  CommandLine command;
  command.argv.push_back(spec.executable.empty() ? "qemu-storage-daemon" : spec.executable);
  if (spec.workers > 0) {
    command.argv.insert(command.argv.end(),
                        {"--object", fmt::format("main-loop,id=loop0,thread-pool-max={}", spec.workers)});
  }
  for (std::size_t index = 0; index < spec.disks.size(); ++index) {
    MIGSOAK_TRY(append_disk(spec, index, command.argv, command.sockets));
  }
  return command;
}

}  // namespace migsoak::target
