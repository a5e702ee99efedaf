#include "guest/plug_board.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace migsoak::guest {

namespace {

constexpr int kRootPorts = 6;

}  // namespace

LiveMachine PlugBoard::machine(const std::string& type) {
  LiveMachine machine;
  machine.type = type;
  machine.memory = "262152K,slots=4,maxmem=1G";  // no multiple of 256 KiB, as LiveMachine's own
  machine.cpus = "1,maxcpus=4";
  for (int i = 0; type == "q35" && i < kRootPorts; ++i) {
    machine.more.insert(machine.more.end(), {"-device", fmt::format("pcie-root-port,id=rp{0},chassis={1},addr={2:#x}",
                                                                    i, i + 1, 0x10 + i)});
  }
  return machine;
}

PlugBoard::PlugBoard(LiveGuest& guest, const std::string& type) : guest_(guest), type_(type), client_(guest.reactor()) {
  const auto connected = client_.connect(guest.qmp_path(), patient());
  EXPECT_TRUE(connected) << connected.error().describe();
}

base::Json PlugBoard::execute(const std::string& command, const base::Json& arguments) {
  const auto reply = client_.execute(command, arguments, patient());
  EXPECT_TRUE(reply) << command << ": " << reply.error().describe();
  return reply ? *reply : base::Json();
}

void PlugBoard::plug(const std::string& driver, const std::string& id, base::Json properties) {
  properties["driver"] = driver;
  properties["id"] = id;
  execute("device_add", properties);
}

std::string PlugBoard::plug_pci(const std::string& driver, const std::string& id, int place, base::Json properties) {
  if (type_ == "pc") {
    properties["bus"] = "pci.0";
    properties["addr"] = fmt::format("{:#x}", 0x10 + place);
    plug(driver, id, properties);
    return fmt::format("0000:00:{:02x}.0", 0x10 + place);
  }
  properties["bus"] = fmt::format("rp{}", place);
  plug(driver, id, properties);
  return fmt::format("0000:{:02x}:00.0", place + 1);  // firmware numbers the buses in the order of the ports
}

std::string PlugBoard::place_text(int place) const {
  return type_ == "pc" ? fmt::format("bus=pci.0,addr={:#x}", 0x10 + place) : fmt::format("bus=rp{}", place);
}

void PlugBoard::plug_cpu(const std::string& id) {
  for (const base::Json& slot : execute("query-hotpluggable-cpus")) {
    if (slot.contains("qom-path") || slot["props"].value("core-id", 0) + slot["props"].value("socket-id", 0) != 1) {
      continue;
    }
    plug(slot["type"], id, slot["props"]);
    return;
  }
  ADD_FAILURE() << "no free CPU slot";
}

bool PlugBoard::unplug(const std::string& id) {
  ask_unplug(id);
  return wait_deleted(id);
}

bool PlugBoard::wait_deleted(const std::string& id) {
  // Of a CPU QEMU (7.2, 10.0, 11.1) names only its interrupt controller.
  const auto deleted = [&] {
    return client_.has_event("DEVICE_DELETED", "device", id) ||
           client_.has_event("DEVICE_DELETED", "path", "/machine/peripheral/" + id + "/lapic");
  };
  const bool done =
      guest_.reactor().run_until(deleted, base::Deadline::in(std::chrono::seconds(20))) == proc::Wait::ready;
  client_.take_events();
  return done;
}

std::string PlugBoard::add_disk_file(const std::string& name, std::uint64_t bytes) {
  const std::string path = guest_.path(name);
  std::ofstream(path).flush();
  std::filesystem::resize_file(path, bytes);
  execute("blockdev-add", {{"driver", "file"}, {"node-name", name}, {"filename", path}, {"locking", "off"}});
  return name;
}

}  // namespace migsoak::guest
