#include "compat/virtio_driver.h"

#include <algorithm>

#include "pci/fields.h"

namespace migsoak::compat {

namespace {

constexpr std::uint32_t kAcknowledge = 1, kDriver = 2, kDriverOk = 4, kFeaturesOk = 8;
constexpr std::uint32_t kRingPageBytes = 4096;
// Rings: the second quarter of the 16 MiB and on, 64 KiB a queue (a ring of 1024 takes 26 KiB).
constexpr std::uint32_t kRingsStart = 4u << 20;
constexpr std::uint32_t kRingBytes = 64u << 10;
constexpr int kCommonConfig = 1;  // virtio_pci_cap.cfg_type
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
constexpr Register kLegacyStatus = 0x12;

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
      for (const pci::Capability& capability : pci::capabilities(view.image_from)) {
        if (capability.virtio_cfg_type != kCommonConfig) continue;
        index = view.image_from.u8(capability.offset + 4);
        offset_ = view.image_from.u32(capability.offset + 8);
      }
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

 private:
  ConfigPoint point_;
  bool modern_;
  std::uint64_t offset_ = 0;
  BarSizes bar_;
  std::uint64_t address_ = 0;
};

struct LookAnswers {
  std::size_t features_low = 0, features_high = 0, count = 0;
  std::vector<std::size_t> sizes;
};

LookAnswers ask(QtestScript& script, const Registers& registers, bool modern) {
  LookAnswers asked;
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

VirtioQueues understand(const LookAnswers& asked, const QtestAnswers& answers, bool modern) {
  VirtioQueues queues;
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
  return queues;
}

base::Result<std::vector<VirtioQueues>> look(Throwaway& vm, const Layout& layout, GuestState state,
                                             const std::vector<std::size_t>& subset,
                                             const std::vector<ConfigView>& views, bool reset,
                                             base::Deadline deadline) {
  const bool modern = state == GuestState::modern_driver;
  QtestScript script;
  std::vector<LookAnswers> asked;
  for (const std::size_t index : subset) {
    const Registers registers(layout, layout.devices()[index], views[index], modern);
    if (reset) {
      registers.place(script);
      registers.write(script, 1, modern ? kStatus : kLegacyStatus, 0);
      registers.write(script, 1, modern ? kStatus : kLegacyStatus, kAcknowledge | kDriver);
    }
    asked.push_back(ask(script, registers, modern));
  }
  std::vector<VirtioQueues> queues;
  if (script.empty()) return queues;
  MIGSOAK_ASSIGN(const QtestAnswers answers, vm.run(script, deadline));
  for (const LookAnswers& one : asked) queues.push_back(understand(one, answers, modern));
  return queues;
}

void start_modern(QtestScript& script, const Registers& registers, const VirtioQueues& queues, std::uint32_t rings) {
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

void start_legacy(QtestScript& script, const Registers& registers, const VirtioQueues& queues, std::uint32_t rings) {
  registers.write(script, 4, kLegacyGuestFeatures, static_cast<std::uint32_t>(queues.features));
  for (std::uint32_t queue = 0; queue < queues.sizes.size(); ++queue) {
    registers.write(script, 2, kLegacyQueueSelect, queue);
    registers.write(script, 4, kLegacyQueuePfn, (rings + queue * kRingBytes) / kRingPageBytes);
  }
  registers.write(script, 1, kLegacyStatus, kAcknowledge | kDriver | kDriverOk);
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

base::Result<std::vector<VirtioQueues>> reset_and_look(Throwaway& vm, const Layout& layout, GuestState state,
                                                       const std::vector<std::size_t>& subset,
                                                       const std::vector<ConfigView>& views, base::Deadline deadline) {
  return look(vm, layout, state, subset, views, true, deadline);
}

base::Result<std::vector<VirtioQueues>> look_again(Throwaway& destination, const Layout& layout, GuestState state,
                                                   const std::vector<std::size_t>& subset,
                                                   const std::vector<ConfigView>& views, base::Deadline deadline) {
  return look(destination, layout, state, subset, views, false, deadline);
}

base::Result<std::vector<VirtioQueues>> start_drivers(Throwaway& source, const Layout& layout, GuestState state,
                                                      const std::vector<std::size_t>& subset,
                                                      const std::vector<ConfigView>& views, base::Deadline deadline) {
  MIGSOAK_ASSIGN(auto looked, look(source, layout, state, subset, views, true, deadline));
  const bool modern = state == GuestState::modern_driver;
  QtestScript script;
  for (std::size_t i = 0; i < subset.size(); ++i) {
    const PlacedDevice& device = layout.devices()[subset[i]];
    const Registers registers(layout, device, views[subset[i]], modern);
    const auto rings = kRingsStart + static_cast<std::uint32_t>(device.index * kQueuesLooked) * kRingBytes;
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

}  // namespace migsoak::compat
