#include "compat/virtio_driver.h"

#include <algorithm>
#include <array>
#include <chrono>

#include "pci/fields.h"

namespace migsoak::compat {

namespace {

constexpr std::uint32_t kAcknowledge = 1, kDriver = 2, kDriverOk = 4, kFeaturesOk = 8;
constexpr std::uint32_t kRingPageBytes = 4096;
// Rings: the second quarter of the 16 MiB and on, 64 KiB a queue (a ring of 1024 takes 26 KiB).
constexpr std::uint32_t kRingsStart = 4u << 20;
constexpr std::uint32_t kRingBytes = 64u << 10;
constexpr int kCommonConfig = 1, kNotifyConfig = 2, kDeviceConfig = 4;  // virtio_pci_cap.cfg_type
constexpr std::size_t kCommandAt = 0x04;

using Register = std::uint32_t;
// virtio_pci_common_cfg
constexpr Register kFeatureSelect = 0x00;
constexpr Register kFeature = 0x04;
constexpr Register kGuestFeatureSelect = 0x08;
constexpr Register kGuestFeature = 0x0c;
constexpr Register kQueueCount = 0x12;
constexpr Register kStatus = 0x14;
constexpr Register kQueueSelect = 0x16;
constexpr Register kQueueSize = 0x18;
constexpr Register kQueueEnable = 0x1c;
constexpr Register kQueueDesc = 0x20;
constexpr Register kQueueDriver = 0x28;
constexpr Register kQueueDevice = 0x30;
// The legacy header in BAR0
constexpr Register kLegacyFeatures = 0x00;
constexpr Register kLegacyGuestFeatures = 0x04;
constexpr Register kLegacyQueuePfn = 0x08;
constexpr Register kLegacyQueueSize = 0x0c;
constexpr Register kLegacyQueueSelect = 0x0e;
constexpr Register kLegacyNotify = 0x10;
constexpr Register kLegacyStatus = 0x12;
constexpr Register kLegacyDeviceConfig = 0x14;  // while MSI-X is off, which nobody switches on here

// A VIRTIO_BLK_T_GET_ID request (virtio 1.2, 5.2.6): behind the ring of queue 0, in that queue's 64 KiB.
constexpr std::uint32_t kRequestAt = 32u << 10;
constexpr std::uint32_t kRequestHeaderBytes = 16, kSerialBytes = 20;
constexpr std::uint32_t kGetId = 8, kDescNext = 1, kDescDeviceWrites = 2;
constexpr std::uint32_t kNoStatus = 0xff, kStatusGood = 0;
constexpr std::uint64_t kRingPacked = std::uint64_t{1} << 34;
constexpr auto kSerialMax = std::chrono::seconds(2);

const BarSizes* find_bar(const std::vector<BarSizes>& bars, int index) {
  const auto found =
      std::find_if(bars.begin(), bars.end(), [&](const auto& sizes) { return sizes.bar.index == index; });
  return found == bars.end() ? nullptr : &*found;
}

// Where one device's registers are, once its BAR is placed.
class Registers {
 public:
  Registers(const Layout& layout, const PlacedDevice& device, const ConfigView& view, bool modern)
      : point_(point_of(layout, device)), modern_(modern) {
    const auto bars = bars_of_both(view);
    int index = 0;
    if (modern_) {
      if (const auto common = region(view, kCommonConfig)) {
        index = common->bar;
        offset_ = common->offset;
      }
      const auto of_same_bar = [&](int type) -> std::optional<std::uint64_t> {
        const auto found = region(view, type);
        return found && found->bar == index ? std::optional(found->offset) : std::nullopt;
      };
      device_config_ = of_same_bar(kDeviceConfig);
      notify_ = of_same_bar(kNotifyConfig);
    } else {
      device_config_ = kLegacyDeviceConfig;
      notify_ = kLegacyNotify;
    }
    if (const BarSizes* sizes = find_bar(bars, index)) {
      bar_ = *sizes;
      address_ = bar_addresses(device, {bar_}, false).front();
    }
  }
  // The guest's first steps: the BAR is placed and decoded.
  void place(QtestScript& script) const {
    write_bar(script, point_, bar_.bar, address_);
    point_.write(script, kCommandAt, 2, 0x7);
  }
  void write(QtestScript& script, int width, std::uint32_t reg, std::uint32_t value) const {
    if (modern_) {
      script.write(width, address_ + offset_ + reg, value);
    } else {
      script.out(width, static_cast<std::uint32_t>(address_) + reg, value);
    }
  }
  std::size_t read(QtestScript& script, int width, std::uint32_t reg) const {
    return modern_ ? script.read(width, address_ + offset_ + reg)
                   : script.in(width, static_cast<std::uint32_t>(address_) + reg);
  }
  bool has_device_config() const { return device_config_.has_value(); }
  std::size_t read_device_config(QtestScript& script, const pci::VirtioConfigAccess& access) const {
    const std::uint64_t at = address_ + *device_config_ + access.offset;
    return modern_ ? script.read(access.bytes, at) : script.in(access.bytes, static_cast<std::uint32_t>(at));
  }
  bool can_notify() const { return notify_.has_value(); }
  // Queue 0; the first queue's offset in the notification area is 0 in all of QEMU's devices.
  void notify(QtestScript& script) const {
    const std::uint64_t at = address_ + *notify_;
    modern_ ? script.write(2, at, 0) : script.out(2, static_cast<std::uint32_t>(at), 0);
  }

 private:
  struct Region {
    int bar = 0;
    std::uint64_t offset = 0;
  };
  static std::optional<Region> region(const ConfigView& view, int type) {
    for (const pci::Capability& capability : pci::capabilities(view.image_from)) {
      if (capability.virtio_cfg_type != type) continue;
      return Region{view.image_from.u8(capability.offset + 4), view.image_from.u32(capability.offset + 8)};
    }
    return std::nullopt;
  }

  ConfigPoint point_;
  bool modern_;
  std::uint64_t offset_ = 0;
  std::optional<std::uint64_t> device_config_, notify_;
  BarSizes bar_;
  std::uint64_t address_ = 0;
};

struct LookAnswers {
  std::size_t features_low = 0, features_high = 0, count = 0;
  std::vector<std::size_t> sizes;
  std::string type;
  std::vector<std::size_t> config;
};

LookAnswers ask(QtestScript& script, const Registers& registers, const std::string& driver, bool modern) {
  LookAnswers asked;
  asked.type = pci::virtio_type_of(driver);
  if (registers.has_device_config()) {
    for (const auto& access : pci::virtio_config_accesses(asked.type)) {
      asked.config.push_back(registers.read_device_config(script, access));
    }
  }
  if (modern) {
    registers.write(script, 4, kFeatureSelect, 0);
    asked.features_low = registers.read(script, 4, kFeature);
    registers.write(script, 4, kFeatureSelect, 1);
    asked.features_high = registers.read(script, 4, kFeature);
    asked.count = registers.read(script, 2, kQueueCount);
  } else {
    asked.features_low = registers.read(script, 4, kLegacyFeatures);
  }
  for (std::uint32_t queue = 0; queue < kQueuesLooked; ++queue) {
    registers.write(script, 2, modern ? kQueueSelect : kLegacyQueueSelect, queue);
    asked.sizes.push_back(registers.read(script, 2, modern ? kQueueSize : kLegacyQueueSize));
  }
  return asked;
}

VirtioView understand(const LookAnswers& asked, const QtestAnswers& answers, bool modern) {
  VirtioView queues;
  queues.features = answers.number(asked.features_low);
  if (modern) {
    queues.features |= std::uint64_t{answers.number(asked.features_high)} << 32;
    queues.queue_count = answers.number(asked.count) & 0xffff;
  }
  for (const std::size_t size : asked.sizes) {
    const std::uint32_t value = answers.number(size) & 0xffff;
    if (value == 0 || value == 0xffff) break;
    queues.sizes.push_back(value);
  }
  std::vector<std::uint32_t> config;
  for (const std::size_t answer : asked.config) config.push_back(answers.number(answer));
  queues.config = pci::virtio_config_bytes(asked.type, config);
  return queues;
}

base::Result<std::vector<VirtioView>> look(ProbeVm& vm, const Layout& layout, GuestState state,
                                           const std::vector<std::size_t>& subset, const std::vector<ConfigView>& views,
                                           bool reset, base::Deadline deadline) {
  const bool modern = state == GuestState::modern_driver;
  QtestScript script;
  std::vector<LookAnswers> asked;
  for (const std::size_t index : subset) {
    const PlacedDevice& device = layout.devices()[index];
    const Registers registers(layout, device, views[index], modern);
    if (reset) {
      registers.place(script);
      registers.write(script, 1, modern ? kStatus : kLegacyStatus, 0);
      registers.write(script, 1, modern ? kStatus : kLegacyStatus, kAcknowledge | kDriver);
    }
    asked.push_back(ask(script, registers, device.device.driver, modern));
  }
  std::vector<VirtioView> queues;
  if (script.empty()) return queues;
  MIGSOAK_ASSIGN(const QtestAnswers answers, vm.run(script, deadline));
  for (const LookAnswers& one : asked) queues.push_back(understand(one, answers, modern));
  return queues;
}

void start_modern(QtestScript& script, const Registers& registers, const VirtioView& queues, std::uint32_t rings) {
  for (std::uint32_t half = 0; half < 2; ++half) {
    registers.write(script, 4, kGuestFeatureSelect, half);
    registers.write(script, 4, kGuestFeature, static_cast<std::uint32_t>(queues.features >> (32 * half)));
  }
  registers.write(script, 1, kStatus, kAcknowledge | kDriver | kFeaturesOk);
  for (std::uint32_t queue = 0; queue < queues.sizes.size(); ++queue) {
    const std::uint32_t desc = rings + queue * kRingBytes;
    const std::uint32_t avail = desc + 16 * queues.sizes[queue];
    const std::uint32_t used = (avail + 6 + 2 * queues.sizes[queue] + 3) & ~3u;
    registers.write(script, 2, kQueueSelect, queue);
    for (const auto& [reg, value] : {std::pair{kQueueDesc, desc}, {kQueueDriver, avail}, {kQueueDevice, used}}) {
      registers.write(script, 4, reg, value);
      registers.write(script, 4, reg + 4, 0);
    }
    registers.write(script, 2, kQueueEnable, 1);
  }
  registers.write(script, 1, kStatus, kAcknowledge | kDriver | kFeaturesOk | kDriverOk);
}

void start_legacy(QtestScript& script, const Registers& registers, const VirtioView& queues, std::uint32_t rings) {
  registers.write(script, 4, kLegacyGuestFeatures, static_cast<std::uint32_t>(queues.features));
  for (std::uint32_t queue = 0; queue < queues.sizes.size(); ++queue) {
    registers.write(script, 2, kLegacyQueueSelect, queue);
    registers.write(script, 4, kLegacyQueuePfn, (rings + queue * kRingBytes) / kRingPageBytes);
  }
  registers.write(script, 1, kLegacyStatus, kAcknowledge | kDriver | kDriverOk);
}

std::uint32_t rings_of(const PlacedDevice& device) {
  return kRingsStart + static_cast<std::uint32_t>(device.index * kQueuesLooked) * kRingBytes;
}

// One request: header, the device's answer, its status.
void submit_get_id(QtestScript& script, const Registers& registers, std::uint32_t ring, std::uint32_t ring_size) {
  struct Descriptor {
    std::uint32_t address, length, flags;
  };
  const std::uint32_t header = ring + kRequestAt, answer = header + kRequestHeaderBytes, status = answer + kSerialBytes;
  const std::array<Descriptor, 3> chain{{{header, kRequestHeaderBytes, kDescNext},
                                         {answer, kSerialBytes, kDescNext | kDescDeviceWrites},
                                         {status, 1, kDescDeviceWrites}}};
  script.write(4, header, kGetId);
  script.write(1, status, kNoStatus);
  for (std::uint32_t i = 0; i < chain.size(); ++i) {
    const std::uint32_t at = ring + 16 * i;
    script.write(4, at, chain[i].address);
    script.write(4, at + 4, 0);
    script.write(4, at + 8, chain[i].length);
    script.write(2, at + 12, chain[i].flags);
    script.write(2, at + 14, i + 1 < chain.size() ? i + 1 : 0);
  }
  const std::uint32_t available = ring + 16 * ring_size;
  script.write(2, available + 4, 0);
  script.write(2, available + 2, 1);
  registers.notify(script);
}

std::string serial_text(const std::vector<std::uint8_t>& bytes) {
  return std::string(bytes.begin(), std::find(bytes.begin(), bytes.end(), 0));
}

// A disk whose requests QEMU itself serves: a vhost-user back end does nothing for a VM that is paused.
bool tells_serial(const PlacedDevice& device, const Registers& registers, const VirtioView& view) {
  return device.device.driver.starts_with("virtio-blk") && registers.can_notify() && !view.sizes.empty() &&
         (view.features & kRingPacked) == 0;
}

}  // namespace

bool driver_applies(GuestState state, const ConfigView& view) {
  constexpr std::uint16_t kVirtioVendor = 0x1af4;
  if (view.image_from.u16(0) != kVirtioVendor) return false;
  const auto bars = bars_of_both(view);
  if (state == GuestState::legacy_driver) {
    // Transitional devices have ids 0x1000 to 0x103f (virtio 1.2, 4.1.2).
    const BarSizes* bar0 = find_bar(bars, 0);
    return bar0 != nullptr && bar0->bar.kind == pci::BarKind::io && (view.image_from.u16(2) & 0xffc0) == 0x1000;
  }
  if (state != GuestState::modern_driver) return false;
  for (const pci::Capability& capability : pci::capabilities(view.image_from)) {
    if (capability.virtio_cfg_type != kCommonConfig) continue;
    return find_bar(bars, view.image_from.u8(capability.offset + 4)) != nullptr;
  }
  return false;
}

base::Result<std::vector<VirtioView>> reset_and_look(ProbeVm& vm, const Layout& layout, GuestState state,
                                                     const std::vector<std::size_t>& subset,
                                                     const std::vector<ConfigView>& views, base::Deadline deadline) {
  return look(vm, layout, state, subset, views, true, deadline);
}

base::Result<std::vector<VirtioView>> look_again(ProbeVm& destination, const Layout& layout, GuestState state,
                                                 const std::vector<std::size_t>& subset,
                                                 const std::vector<ConfigView>& views, base::Deadline deadline) {
  return look(destination, layout, state, subset, views, false, deadline);
}

base::Result<std::vector<VirtioView>> start_drivers(ProbeVm& source, const Layout& layout, GuestState state,
                                                    const std::vector<std::size_t>& subset,
                                                    const std::vector<ConfigView>& views, base::Deadline deadline) {
  MIGSOAK_ASSIGN(auto looked, look(source, layout, state, subset, views, true, deadline));
  const bool modern = state == GuestState::modern_driver;
  QtestScript script;
  for (std::size_t i = 0; i < subset.size(); ++i) {
    const PlacedDevice& device = layout.devices()[subset[i]];
    const Registers registers(layout, device, views[subset[i]], modern);
    const std::uint32_t rings = rings_of(device);
    if (modern) {
      start_modern(script, registers, looked[i], rings);
    } else {
      start_legacy(script, registers, looked[i], rings);
    }
  }
  if (!script.empty()) {
    MIGSOAK_TRY(source.run(script, deadline));
  }
  return looked;
}

base::Result<void> ask_serials(ProbeVm& vm, const Layout& layout, GuestState state,
                               const std::vector<std::size_t>& subset, const std::vector<ConfigView>& views,
                               std::vector<VirtioView>& looked, base::Deadline deadline) {
  const bool modern = state == GuestState::modern_driver;
  QtestScript requests;
  std::vector<std::size_t> asked;  // positions in `subset`
  for (std::size_t i = 0; i < subset.size() && i < looked.size(); ++i) {
    const PlacedDevice& device = layout.devices()[subset[i]];
    const Registers registers(layout, device, views[subset[i]], modern);
    if (!tells_serial(device, registers, looked[i])) continue;
    submit_get_id(requests, registers, rings_of(device), looked[i].sizes.front());
    asked.push_back(i);
  }
  if (asked.empty()) return {};
  MIGSOAK_TRY(vm.run(requests, deadline));
  const auto enough = base::Deadline::in(kSerialMax).sooner(deadline);
  while (!asked.empty() && !enough.passed()) {
    QtestScript looks;
    std::vector<std::pair<std::size_t, std::size_t>> answers_of;
    for (const std::size_t i : asked) {
      const std::uint32_t answer = rings_of(layout.devices()[subset[i]]) + kRequestAt + kRequestHeaderBytes;
      const std::size_t status = looks.read(1, answer + kSerialBytes);
      answers_of.emplace_back(status, looks.read_block(answer, kSerialBytes));
    }
    MIGSOAK_ASSIGN(const QtestAnswers answers, vm.run(looks, deadline));
    std::vector<std::size_t> silent;
    for (std::size_t k = 0; k < asked.size(); ++k) {
      const std::uint32_t status = answers.number(answers_of[k].first) & 0xff;
      if (status == kNoStatus) silent.push_back(asked[k]);
      if (status == kStatusGood)
        looked[asked[k]].serial = serial_text(answers.block(answers_of[k].second, kSerialBytes));
    }
    asked = std::move(silent);
  }
  return {};
}

}  // namespace migsoak::compat
