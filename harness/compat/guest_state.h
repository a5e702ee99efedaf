// GuestState: what is written into the devices of a throwaway source before it migrates.
#pragma once

#include <string_view>
#include <vector>

#include "base/deadline.h"
#include "base/result.h"
#include "compat/config_access.h"
#include "compat/layout.h"
#include "compat/probe_vm.h"
#include "pci/config_image.h"

namespace migsoak::compat {

enum class GuestState {
#define STATE(name, text, what) name,
#include "compat/states.def"
#undef STATE
};
inline constexpr GuestState kGuestStates[] = {
#define STATE(name, text, what) GuestState::name,
#include "compat/states.def"
#undef STATE
};
std::string_view to_string(GuestState state);
std::string_view what_it_is(GuestState state);

// What both builds make of one device at reset.
struct ConfigView {
  pci::ConfigImage image_from, image_to;
  pci::ConfigImage mask_from, mask_to;  // writable bits
};

// One BAR that both builds have. `from` and `to` in bytes.
struct BarSizes {
  pci::Bar bar;
  std::uint64_t from = 0, to = 0;
};
std::vector<BarSizes> bars_of_both(const ConfigView& view);

// Where BAR number k of the device is put: the k-th even multiple, or the odd one above it, within its windows.
std::vector<std::uint64_t> bar_addresses(const PlacedDevice& device, const std::vector<BarSizes>& bars, bool odd);
void write_bar(QtestScript& script, const ConfigPoint& point, const pci::Bar& bar, std::uint64_t address);

// Applies one of the states that live in configuration space to the devices of `subset` (indices); the drivers' states
// are set up by virtio_driver.h.
base::Result<void> bring_about(ProbeVm& source, const Layout& layout, GuestState state,
                               const std::vector<std::size_t>& subset, const std::vector<ConfigView>& views,
                               base::Deadline deadline);

}  // namespace migsoak::compat
