// VirtioDriver: does to a virtio device's registers what a guest's driver does when it sets up its queues (virtio 1.2,
// 3.1.1 and 4.1; legacy: 4.1.4.8), so that the queues are part of what migrates. The rings are zeroed guest memory.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/result.h"
#include "compat/guest_state.h"
#include "compat/layout.h"
#include "compat/probe_vm.h"
#include "pci/virtio_config.h"

namespace migsoak::compat {

// What a driver reads of a device.
struct VirtioView {
  std::uint64_t features = 0;         // offered by the device
  std::uint32_t queue_count = 0;      // 0: unknown (legacy has no such register, or there is no such device)
  std::vector<std::uint32_t> sizes;   // of the first kQueuesLooked queues
  pci::VirtioConfigBytes config;      // its device configuration; empty: not known
  std::optional<std::string> serial;  // a disk's answer to VIRTIO_BLK_T_GET_ID; none: it was not asked, or is silent
  bool operator==(const VirtioView&) const = default;
};
inline constexpr std::size_t kQueuesLooked = 8;

// Has the device registers for that kind of driver? `state`: legacy_driver or modern_driver.
bool driver_applies(GuestState state, const ConfigView& view);

// Resets the devices of `subset` and reads what they offer: their build's own idea of their queues and configuration.
// One entry per member of `subset`. Places their BARs; `state` says through which registers.
base::Result<std::vector<VirtioView>> reset_and_look(ProbeVm& vm, const Layout& layout, GuestState state,
                                                     const std::vector<std::size_t>& subset,
                                                     const std::vector<ConfigView>& views, base::Deadline deadline);

// reset_and_look(), then accepts every feature offered, sets up the queues, DRIVER_OK. Returns what was looked at.
base::Result<std::vector<VirtioView>> start_drivers(ProbeVm& source, const Layout& layout, GuestState state,
                                                    const std::vector<std::size_t>& subset,
                                                    const std::vector<ConfigView>& views, base::Deadline deadline);

// What a driver that is already running sees: no reset.
base::Result<std::vector<VirtioView>> look_again(ProbeVm& destination, const Layout& layout, GuestState state,
                                                 const std::vector<std::size_t>& subset,
                                                 const std::vector<ConfigView>& views, base::Deadline deadline);

// Asks the disks among `subset`, with start_drivers() behind them, for their serial (VIRTIO_BLK_T_GET_ID), by the first
// request on their rings. `looked`: what was looked at there, filled in. A source is asked once its state is saved, so
// that neither the request nor its interrupt is part of what migrates. QEMU answers in its main loop: a moment later.
base::Result<void> ask_serials(ProbeVm& vm, const Layout& layout, GuestState state,
                               const std::vector<std::size_t>& subset, const std::vector<ConfigView>& views,
                               std::vector<VirtioView>& looked, base::Deadline deadline);

}  // namespace migsoak::compat
