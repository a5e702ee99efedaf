// qemu-storage-daemon: raw images behind file nodes, or disks without any; one vhost-user-blk export per disk and slot.
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
#include "target/target_kind.h"

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

void append_image(const ServedDevice& disk, std::size_t index, const std::string& aio, std::vector<std::string>& argv) {
  if (disk.image.empty()) {
    argv.insert(argv.end(), {"--blockdev", fmt::format("driver=null-co,read-zeroes=on,node-name=disk{}", index)});
    return;
  }
  argv.insert(
      argv.end(),
      {"--blockdev", fmt::format("driver=file,node-name=f{},filename={},locking=off,cache.direct={},aio={}", index,
                                 option_value(disk.image), supports_direct_io(disk.image) ? "on" : "off", aio)});
  argv.insert(argv.end(), {"--blockdev", fmt::format("driver=raw,node-name=disk{0},file=f{0}", index)});
}

// One disk: its nodes, one export per slot.
base::Result<void> append_disk(const TargetSpec& spec, std::size_t index, const std::string& aio, Layout& layout) {
  const ServedDevice& disk = spec.devices[index];
  std::vector<std::string>& argv = layout.argv;
  append_image(disk, index, aio, argv);
  for (const std::string& slot : spec.slots) {
    // A target with one disk needs no second word in its (short) socket paths.
    MIGSOAK_ASSIGN(std::string path, socket_path(spec, (spec.devices.size() == 1 ? "" : "." + disk.id) + "." + slot));
    argv.insert(argv.end(),
                {"--export", fmt::format("type=vhost-user-blk,id=e{}-{},node-name=disk{},writable=on,num-queues={},"
                                         "addr.type=unix,addr.path={}",
                                         index, slot, index, disk.queues, option_value(path))});
    const std::string key = endpoint_key(disk.id, slot);
    if (!layout.endpoints.emplace(key, Endpoint{EndpointType::block, std::move(path), Listener::target}).second) {
      return base::fail(base::ErrorKind::bad_input, fmt::format("two exports are called '{}'", key));
    }
  }
  return {};
}

base::Result<Layout> lay_out_daemon(const TargetSpec& spec, const OptionValues& options) {
  Layout layout;
  layout.argv.push_back(program_of(spec));
  if (options.integer("workers") > 0) {
    layout.argv.insert(layout.argv.end(),
                       {"--object", fmt::format("main-loop,id=loop0,thread-pool-max={}", options.integer("workers"))});
  }
  for (std::size_t index = 0; index < spec.devices.size(); ++index) {
    MIGSOAK_TRY(append_disk(spec, index, options.text("aio"), layout));
  }
  return layout;
}

base::Result<void> prepare_daemon(const TargetSpec& spec, const OptionValues& options, const Layout&) {
  for (const ServedDevice& disk : spec.devices) {
    if (options.text("aio") != "native" || disk.image.empty() || supports_direct_io(disk.image)) continue;
    return base::fail(base::ErrorKind::environment,
                      fmt::format("aio = 'native' needs O_DIRECT, which the file system of {} refuses", disk.image));
  }
  return {};
}

}  // namespace

TargetKind target_kind_qemu_storage_daemon() {
  TargetKind kind{};
  kind.name = "qemu-storage-daemon";
  kind.summary = "QEMU's storage daemon: a vhost-user-blk export per slot, one raw image";
  kind.program = "qemu-storage-daemon";
  kind.options = {{"aio", OptionType::text, "threads", {"threads", "native", "io_uring"}, 0, 0},
                  // Of aio threads; 0: the daemon's own default.
                  {"workers", OptionType::integer, 0, {}, 0, 1024}};
  kind.serves = {EndpointType::block};
  kind.null_disks = true;
  kind.restart.fails_requests_when_asked = true;
  kind.lay_out = lay_out_daemon;
  kind.prepare = prepare_daemon;
  return kind;
}

}  // namespace migsoak::target
