// virtio-blk: a disk that QEMU serves itself from a raw file. Source and destination have the file open at the same
// time, so image locking is off and the page cache is bypassed (cache.direct: what one wrote, the other reads).
#include <fmt/format.h>

#include "base/text.h"
#include "hypervisor/device_type.h"

namespace migsoak::hypervisor {

namespace {
constexpr std::size_t kSerialBytesMax = 20;  // VIRTIO_BLK_ID_BYTES, virtio 1.2 section 5.2.6
}

base::Result<void> append_virtio_blk(const DeviceSpec& device, const std::string& address,
                                     std::vector<std::string>& argv) {
  if (device.image_path.empty()) {
    return base::fail(base::ErrorKind::bad_input, fmt::format("device {}: virtio-blk needs a disk image", device.id));
  }
  if (device.id.size() > kSerialBytesMax) {
    return base::fail(base::ErrorKind::bad_input,
                      fmt::format("device {}: the id is the disk's serial number and may have at most {} bytes",
                                  base::printable(device.id), kSerialBytesMax));
  }
  MIGSOAK_ASSIGN(const std::string props,
                 render_properties(device, {"id", "driver", "addr", "bus", "drive", "serial", "share-rw"}));
  argv.push_back("-blockdev");
  argv.push_back(fmt::format("driver=file,node-name={}-file,filename={},locking=off,cache.direct=on,discard=unmap",
                             device.id, escape_commas(device.image_path)));
  argv.push_back("-blockdev");
  argv.push_back(fmt::format("driver=raw,node-name={0}-raw,file={0}-file,cache.direct=on,discard=unmap", device.id));
  argv.push_back("-device");
  argv.push_back(
      fmt::format("virtio-blk-pci,id={0},addr={1},drive={0}-raw,serial={0},share-rw=on{2}", device.id, address, props));
  return {};
}

}  // namespace migsoak::hypervisor
