// PlugBoard: plugs devices into a LiveGuest over QMP and unplugs them, and knows where the guest finds them.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/json.h"
#include "guest/live_guest.h"
#include "qmp/client.h"

namespace migsoak::guest {

class PlugBoard {
 public:
  // The machine with room for hotplug: 256 MiB, memory slots, 4 CPUs at most, and on q35 root ports.
  static LiveMachine machine(const std::string& type);

  explicit PlugBoard(LiveGuest& guest, const std::string& type);

  // Runs a QMP command; a failure fails the test.
  base::Json execute(const std::string& command, const base::Json& arguments = base::Json::object());
  // device_add at the n-th place for PCI devices; returns the guest's PCI address of it.
  std::string plug_pci(const std::string& driver, const std::string& id, int place, base::Json properties);
  // "bus=...,addr=..." of that place on a command line.
  std::string place_text(int place) const;
  // device_add with these properties.
  void plug(const std::string& driver, const std::string& id, base::Json properties);
  // device_add of a vCPU.
  void plug_cpu(const std::string& id);
  // device_del; true when DEVICE_DELETED comes in time.
  bool unplug(const std::string& id);
  void ask_unplug(const std::string& id) { execute("device_del", {{"id", id}}); }
  bool wait_deleted(const std::string& id);
  // A sparse file with a block node on it; returns the node's name.
  std::string add_disk_file(const std::string& name, std::uint64_t bytes);

 private:
  LiveGuest& guest_;
  std::string type_;
  qmp::Client client_;
};

}  // namespace migsoak::guest
