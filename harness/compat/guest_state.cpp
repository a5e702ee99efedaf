#include "compat/guest_state.h"

#include <algorithm>

namespace migsoak::compat {

namespace {

constexpr std::size_t kCommandRegister = 0x04;
constexpr std::uint32_t kDecodeEverything = 0x7;  // I/O, memory, bus master
constexpr std::uint64_t kBelow4GEnd = 0xfe000000;
constexpr std::uint64_t kHalfway32 = 0x80000000;  // a 32-bit BAR too large for the windows
constexpr std::uint64_t kHigh64 = 0x8000000000;   // a 64-bit one
constexpr std::uint32_t kRomEnable = 0x1;

std::uint64_t round_up(std::uint64_t value, std::uint64_t step) {
  return (value + step - 1) / step * step;
}

std::uint64_t even_address(std::uint64_t cursor, const BarSizes& sizes) {
  const std::uint64_t step = 2 * std::max(sizes.from, sizes.to);
  const std::uint64_t even = round_up(cursor, step);
  if (sizes.bar.kind == pci::BarKind::io || even + step <= kBelow4GEnd) return even;
  return sizes.bar.kind == pci::BarKind::mem64 ? round_up(kHigh64, step) : round_up(kHalfway32, step);
}

void write_extreme(QtestScript& script, const ConfigPoint& point, const pci::ConfigImage& image, std::uint32_t value) {
  for (const WritableDword& dword : writable_dwords(image)) {
    if (dword.allowed != 0) point.write(script, dword.offset, 4, value & dword.allowed);
  }
}

}  // namespace

std::string_view to_string(GuestState state) {
  switch (state) {
#define STATE(name, text, what) \
  case GuestState::name:        \
    return text;
#include "compat/states.def"
#undef STATE
  }
  return "?";
}

std::string_view what_it_is(GuestState state) {
  switch (state) {
#define STATE(name, text, what) \
  case GuestState::name:        \
    return what;
#include "compat/states.def"
#undef STATE
  }
  return "?";
}

std::vector<BarSizes> bars_of_both(const ConfigView& view) {
  std::vector<BarSizes> both;
  for (const pci::Bar& bar : pci::bars(view.image_from, &view.mask_from)) {
    BarSizes sizes{bar, bar.size, 0};
    for (const pci::Bar& other : pci::bars(view.image_to, &view.mask_to)) {
      if (other.index == bar.index && other.kind == bar.kind) sizes.to = other.size;
    }
    if (sizes.from != 0 && sizes.to != 0) both.push_back(sizes);
  }
  return both;
}

std::vector<std::uint64_t> bar_addresses(const PlacedDevice& device, const std::vector<BarSizes>& bars, bool odd) {
  std::uint64_t io = device.io_window;
  std::uint64_t memory = device.memory_window;
  std::vector<std::uint64_t> addresses;
  for (const BarSizes& sizes : bars) {
    std::uint64_t& cursor = sizes.bar.kind == pci::BarKind::io ? io : memory;
    const std::uint64_t even = even_address(cursor, sizes);
    addresses.push_back(even + (odd ? std::min(sizes.from, sizes.to) : 0));
    if (even < kBelow4GEnd) cursor = even + 2 * std::max(sizes.from, sizes.to);
  }
  return addresses;
}

void write_bar(QtestScript& script, const ConfigPoint& point, const pci::Bar& bar, std::uint64_t address) {
  const auto low = static_cast<std::uint32_t>(address);
  point.write(script, bar.offset, 4, bar.kind == pci::BarKind::rom ? low | kRomEnable : low);
  if (bar.kind == pci::BarKind::mem64) {
    point.write(script, bar.offset + 4, 4, static_cast<std::uint32_t>(address >> 32));
  }
}

base::Result<void> bring_about(ProbeVm& source, const Layout& layout, GuestState state,
                               const std::vector<std::size_t>& subset, const std::vector<ConfigView>& views,
                               base::Deadline deadline) {
  QtestScript script;
  for (const std::size_t index : subset) {
    const PlacedDevice& device = layout.devices()[index];
    const ConfigPoint point = point_of(layout, device);
    const ConfigView& view = views[index];
    if (state == GuestState::all_ones || state == GuestState::all_zeros) {
      write_extreme(script, point, view.image_from, state == GuestState::all_ones ? 0xffffffff : 0);
    } else if (state == GuestState::bars_even || state == GuestState::bars_odd) {
      const auto bars = bars_of_both(view);
      const auto addresses = bar_addresses(device, bars, state == GuestState::bars_odd);
      for (std::size_t i = 0; i < bars.size(); ++i) write_bar(script, point, bars[i].bar, addresses[i]);
      point.write(script, kCommandRegister, 2, kDecodeEverything);
    }
  }
  if (script.empty()) return {};
  MIGSOAK_TRY(source.run(script, deadline));
  return {};
}

}  // namespace migsoak::compat
