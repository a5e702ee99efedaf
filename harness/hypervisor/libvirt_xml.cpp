#include "hypervisor/libvirt_xml.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <pugixml.hpp>
#include <set>
#include <sstream>
#include <string_view>

#include "base/text.h"
#include "hypervisor/device_type.h"
#include "hypervisor/sockets.h"
#include "proc/run_dir.h"

namespace migsoak::hypervisor {
using base::ErrorKind;

namespace {

constexpr std::uint64_t kXmlMiB = 1u << 20;
constexpr const char* kIdPrefix = "ua-";
constexpr int kTranslationCacheMiB = 64;  // as the direct driver has it
constexpr int kPciSlots = 32;             // of a bus
constexpr int kScsiTargets = 256;         // of a virtio-scsi controller

pugi::xml_node element(pugi::xml_node parent, const char* name) {
  return parent.append_child(name);
}
template <typename Value>
pugi::xml_node attribute(pugi::xml_node node, const char* name, const Value& value) {
  if constexpr (std::is_same_v<Value, std::string>) {
    node.append_attribute(name).set_value(value.c_str());
  } else {
    node.append_attribute(name).set_value(value);
  }
  return node;
}
void leaf(pugi::xml_node parent, const char* name, const std::string& value) {
  element(parent, name).text().set(value.c_str());
}

bool is_id_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

tl::unexpected<base::Error> not_by_libvirt(const std::string& what, const std::string& why) {
  return base::fail(ErrorKind::bad_input, fmt::format("{} can't be had with driver \"libvirt\": {}", what, why));
}

class DomainXml {
 public:
  DomainXml(const MachineSpec& spec, const LibvirtIdentity& identity) : spec_(spec), identity_(identity) {}

  base::Result<std::string> make() {
    MIGSOAK_TRY(check());
    domain_ = document_.append_child("domain");
    attribute(domain_, "type", spec_.accel == "kvm" ? "kvm" : "qemu");
    attribute(domain_, "xmlns:qemu", "http://libvirt.org/schemas/domain/qemu/1.0");
    add_machine();
    devices_ = element(domain_, "devices");
    leaf(devices_, "emulator", spec_.qemu);
    attribute(attribute(element(devices_, "controller"), "type", "usb"), "model", "none");
    add_serial(0, console_socket_path(spec_));
    add_serial(1, agent_socket_path(spec_));
    MIGSOAK_TRY(add_devices());
    add_overrides();
    add_command_line();
    return text_of(document_.root());
  }

  base::Result<std::string> make_device(const DeviceSpec& device) {
    number_controllers(spec_.devices);
    devices_ = element(document_.root(), "devices");
    MIGSOAK_TRY(device_parts(device));
    MIGSOAK_TRY(add_device(device));
    if (!overridden_.empty()) {
      return not_by_libvirt(fmt::format("a property of {}, which is plugged", device.id),
                            "it overrides properties of what is there from the start");
    }
    return text_of(devices_.first_child());
  }

 private:
  static std::string text_of(pugi::xml_node node) {
    std::ostringstream out;
    node.print(out, " ", pugi::format_indent | pugi::format_no_declaration);
    return out.str();
  }

  // Controllers count by kind; a device behind one names it. Root ports number PCI buses, of which 0 is the root.
  void number_controllers(const DeviceSet& devices) {
    std::map<std::string, int> next = {{"root-port", 1}};
    for (const DeviceSpec& device : devices) {
      if (device.type == "virtio-scsi" || device.type == "virtio-serial" || device.type == "root-port") {
        controllers_[device.id] = next[device.type]++;
      }
    }
  }

  base::Result<void> check() const {
    if (spec_.guestless) return not_by_libvirt("a machine without a guest", "it has no word for qtest");
    if (spec_.memory_bytes == 0 || (spec_.memory_bytes + spec_.memory_extra_bytes) % kXmlMiB != 0) {
      return not_by_libvirt(fmt::format("RAM of {} bytes", spec_.memory_bytes + spec_.memory_extra_bytes),
                            "it rounds RAM up to a whole MiB");
    }
    if (spec_.cpus < 1) return base::fail(ErrorKind::bad_input, fmt::format("{} cpus: at least 1", spec_.cpus));
    if (spec_.accel != "kvm" && spec_.accel != "tcg") {
      return base::fail(ErrorKind::bad_input, "unknown accelerator '" + base::printable(spec_.accel) + "'");
    }
    if (!spec_.wrapper.empty()) return not_by_libvirt("a wrapper", "libvirtd starts QEMU itself");
    if (!spec_.ram_path.empty()) return not_by_libvirt("RAM in a file of a given name", "it names the file itself");
    if (spec_.aux_ram_share) return not_by_libvirt("aux-ram-share", "it has no word for it");
    if (spec_.cpus_max > spec_.cpus) return not_by_libvirt("room for CPUs", "not yet");
    if (spec_.machine.find(',') != std::string::npos) {
      return not_by_libvirt("machine '" + base::printable(spec_.machine) + "'", "it takes the type alone");
    }
    for (const auto& path : {agent_socket_path(spec_), console_socket_path(spec_)}) {
      MIGSOAK_TRY(proc::check_socket_path(path));
    }
    return {};
  }

  void add_machine() {
    leaf(domain_, "name", identity_.name);
    leaf(domain_, "uuid", identity_.uuid);
    const std::uint64_t memory = spec_.memory_bytes + spec_.memory_extra_bytes;
    // With the DIMMs in it: libvirt adds them up for a new domain only, not for one that arrives.
    const auto dimms = std::count_if(spec_.devices.begin(), spec_.devices.end(), [](const DeviceSpec& device) {
      return is_attached_to(Attachment::memory, device.type);
    });
    add_size(domain_, "memory", memory + static_cast<std::uint64_t>(dimms) * kDimmBytes);
    if (spec_.memory_slots > 0) {
      attribute(add_size(domain_, "maxMemory", memory + static_cast<std::uint64_t>(spec_.memory_slots) * kDimmBytes),
                "slots", spec_.memory_slots);
    }
    leaf(domain_, "vcpu", std::to_string(spec_.cpus));
    pugi::xml_node backing = element(domain_, "memoryBacking");
    attribute(element(backing, "source"), "type", "memfd");
    attribute(element(backing, "access"), "mode", "shared");
    pugi::xml_node os = element(domain_, "os");
    pugi::xml_node type = element(os, "type");
    attribute(attribute(type, "arch", "x86_64"), "machine", spec_.machine);
    type.text().set("hvm");
    if (!spec_.image.kernel.empty()) {
      leaf(os, "kernel", spec_.image.kernel);
      if (!spec_.image.initramfs.empty()) leaf(os, "initrd", spec_.image.initramfs);
      leaf(os, "cmdline", kKernelArguments);
    }
    // A DIMM belongs to a NUMA node.
    if (spec_.memory_slots > 0) {
      pugi::xml_node cell = element(element(element(domain_, "cpu"), "numa"), "cell");
      attribute(attribute(cell, "id", 0), "cpus", fmt::format("0-{}", spec_.cpus - 1));
      attribute(attribute(cell, "memory", std::to_string(memory / kXmlMiB)), "unit", "MiB");
    }
    pugi::xml_node features = element(domain_, "features");
    element(features, "acpi");
    element(features, "apic");
    if (spec_.accel == "tcg") {
      pugi::xml_node cache = element(element(features, "tcg"), "tb-cache");
      attribute(cache, "unit", "MiB");
      cache.text().set(kTranslationCacheMiB);
    }
    // A guest that reboots or crashes must not come back as if nothing had been.
    for (const char* action : {"on_poweroff", "on_reboot", "on_crash"}) leaf(domain_, action, "destroy");
  }

  static pugi::xml_node add_size(pugi::xml_node parent, const char* name, std::uint64_t bytes) {
    pugi::xml_node size = element(parent, name);
    attribute(size, "unit", "MiB");
    size.text().set(std::to_string(bytes / kXmlMiB).c_str());
    return size;
  }

  void add_serial(int port, const std::string& path) {
    pugi::xml_node serial = element(devices_, "serial");
    attribute(serial, "type", "unix");
    attribute(attribute(element(serial, "source"), "mode", "bind"), "path", path);
    attribute(attribute(element(serial, "target"), "type", "isa-serial"), "port", port);
  }

  base::Result<void> add_devices() {
    DeviceSet devices = spec_.devices;
    std::set<std::string> ids;
    for (const DeviceSpec& device : devices) {
      if (!ids.insert(device.id).second) {
        return base::fail(ErrorKind::bad_input, fmt::format("device id '{}' is there twice", device.id));
      }
    }
    MIGSOAK_TRY(pin_addresses(devices));
    number_controllers(devices);
    bool balloon = false;
    for (const DeviceSpec& device : devices) {
      MIGSOAK_TRY(device_parts(device));  // id, properties, image and socket are there
      MIGSOAK_TRY(add_device(device));
      balloon = balloon || device.type == "virtio-balloon";
    }
    if (!balloon) attribute(element(devices_, "memballoon"), "model", "none");
    return {};
  }

  base::Result<void> add_device(const DeviceSpec& device) {
    const std::string what = fmt::format("device {} ({})", device.id, device.type);
    if (endpoint_of(device.type) == target::EndpointType::block) {
      if (device.listens) return not_by_libvirt(what, "its vhost-user disks connect, and the target does so too");
      return add_vhost_user_disk(device);
    } else if (device.type == "virtio-blk" || device.type == "scsi-disk") {
      return add_file_disk(device);
    } else if (device.type == "virtio-scsi") {
      return add_controller(device, "scsi", "virtio-scsi");
    } else if (device.type == "virtio-serial") {
      return add_controller(device, "virtio-serial", nullptr);
    } else if (device.type == "root-port") {
      return add_controller(device, "pci", "pcie-root-port");
    } else if (device.type == "virtio-net") {
      return add_net(device);
    } else if (device.type == "virtio-rng") {
      pugi::xml_node rng = element(devices_, "rng");
      attribute(rng, "model", "virtio");
      pugi::xml_node backend = element(rng, "backend");
      attribute(backend, "model", "random");
      backend.text().set("/dev/urandom");
      return finish_pci(rng, device);
    } else if (device.type == "virtio-balloon") {
      pugi::xml_node balloon = element(devices_, "memballoon");
      attribute(balloon, "model", "virtio");
      return finish_pci(balloon, device);
    } else if (is_attached_to(Attachment::memory, device.type)) {
      add_dimm(device);
      return {};
    } else if (device.type == "serial-port") {
      return add_port(device);
    } else {
      return not_by_libvirt(what, "not yet");
    }
  }

  base::Result<void> add_vhost_user_disk(const DeviceSpec& device) {
    pugi::xml_node disk = element(devices_, "disk");
    attribute(attribute(disk, "type", "vhostuser"), "device", "disk");
    attribute(disk, "snapshot", "no");
    pugi::xml_node driver = element(disk, "driver");
    attribute(attribute(driver, "name", "qemu"), "type", "raw");
    // A scenario's own num-queues overrides it.
    if (device.props.count("num-queues") == 0) attribute(driver, "queues", 1);
    pugi::xml_node source = element(disk, "source");
    attribute(attribute(source, "type", "unix"), "path", device.socket_path);
    if (device.reconnect_ms > 0) {
      const int seconds = (device.reconnect_ms + 999) / 1000;
      attribute(attribute(element(source, "reconnect"), "enabled", "yes"), "timeout", seconds);
    }
    MIGSOAK_ASSIGN(const std::string name, pci_disk_name(device));
    attribute(attribute(element(disk, "target"), "dev", name), "bus", "virtio");
    return finish_pci(disk, device);
  }

  base::Result<void> add_file_disk(const DeviceSpec& device) {
    const bool scsi = device.type == "scsi-disk";
    pugi::xml_node disk = element(devices_, "disk");
    attribute(attribute(disk, "type", "file"), "device", "disk");
    pugi::xml_node driver = element(disk, "driver");
    // What one end wrote the other reads: no page cache in between.
    attribute(attribute(attribute(attribute(driver, "name", "qemu"), "type", "raw"), "cache", "none"), "discard",
              "unmap");
    attribute(element(disk, "source"), "file", device.image_path);
    pugi::xml_node as = element(disk, "target");
    element(disk, "shareable");
    leaf(disk, "serial", device.id);
    if (!scsi) {
      MIGSOAK_ASSIGN(const std::string name, pci_disk_name(device));
      attribute(attribute(as, "dev", name), "bus", "virtio");
      return finish_pci(disk, device);
    }
    MIGSOAK_ASSIGN(const int controller, controller_of(device, ".0"));
    const auto target = static_cast<int>(number_of(device.address));
    attribute(attribute(as, "dev", disk_name("sd", controller * kScsiTargets + target)), "bus", "scsi");
    pugi::xml_node address = element(disk, "address");
    attribute(attribute(attribute(address, "type", "drive"), "controller", controller), "bus", 0);
    attribute(attribute(address, "target", target), "unit", 0);
    finish(disk, device);
    return {};
  }

  base::Result<void> add_controller(const DeviceSpec& device, const char* type, const char* model) {
    pugi::xml_node controller = element(devices_, "controller");
    attribute(attribute(controller, "type", type), "index", controllers_[device.id]);
    if (model != nullptr) attribute(controller, "model", model);
    return finish_pci(controller, device);
  }

  // Of the kinds of network that need nothing of the host the only one that libvirt plugs.
  base::Result<void> add_net(const DeviceSpec& device) {
    pugi::xml_node net = element(devices_, "interface");
    attribute(net, "type", "user");
    attribute(element(net, "mac"), "address", mac_of(device));
    attribute(element(net, "model"), "type", "virtio");
    if (device.props.count("romfile") == 0) attribute(element(net, "rom"), "enabled", "no");
    return finish_pci(net, device);
  }

  void add_dimm(const DeviceSpec& device) {
    pugi::xml_node dimm = element(devices_, "memory");
    attribute(dimm, "model", "dimm");
    pugi::xml_node target = element(dimm, "target");
    add_size(target, "size", kDimmBytes);
    leaf(target, "node", "0");
    pugi::xml_node address = element(dimm, "address");
    attribute(attribute(address, "type", "dimm"), "slot", static_cast<int>(number_of(device.address)));
    attribute(address, "base", fmt::format("{:#x}", dimm_address(device)));
    finish(dimm, device);
  }

  base::Result<void> add_port(const DeviceSpec& device) {
    MIGSOAK_ASSIGN(const int controller, controller_of(device, ".0"));
    pugi::xml_node channel = element(devices_, "channel");
    attribute(channel, "type", "null");
    attribute(attribute(element(channel, "target"), "type", "virtio"), "name", device.id);
    pugi::xml_node address = element(channel, "address");
    attribute(attribute(attribute(address, "type", "virtio-serial"), "controller", controller), "bus", 0);
    attribute(address, "port", static_cast<int>(number_of(device.address)));
    finish(channel, device);
    return {};
  }

  base::Result<int> controller_of(const DeviceSpec& device, const std::string& suffix) const {
    std::string id = device.bus;
    if (id.ends_with(suffix)) id.resize(id.size() - suffix.size());
    const auto found = controllers_.find(id);
    if (found != controllers_.end()) return found->second;
    return base::fail(ErrorKind::bad_input,
                      fmt::format("device {}: there is no controller '{}'", device.id, base::printable(device.bus)));
  }

  // The PCI bus that a device is on: 0, or that of a root port.
  base::Result<int> pci_bus_of(const DeviceSpec& device) const {
    if (device.bus.empty()) return 0;
    return controller_of(device, "");
  }

  base::Result<void> finish_pci(pugi::xml_node node, const DeviceSpec& device) {
    MIGSOAK_ASSIGN(const int bus, pci_bus_of(device));
    pugi::xml_node address = element(node, "address");
    attribute(attribute(attribute(address, "type", "pci"), "domain", "0x0000"), "bus", fmt::format("{:#04x}", bus));
    attribute(attribute(address, "slot", fmt::format("{:#04x}", number_of(device.address))), "function", "0x0");
    finish(node, device);
    return {};
  }

  void finish(pugi::xml_node node, const DeviceSpec& device) {
    attribute(element(node, "alias"), "name", libvirt_device_id(device.id));
    if (!device.props.empty()) overridden_.push_back(device);
  }

  // By its place, not by its turn: both ends of a migration must call a disk the same, whatever came and went before.
  static std::string disk_name(const char* prefix, int place) {
    std::string letters;
    for (int n = place; n >= 0; n = n / 26 - 1) letters.insert(letters.begin(), static_cast<char>('a' + n % 26));
    return prefix + letters;
  }
  base::Result<std::string> pci_disk_name(const DeviceSpec& device) const {
    MIGSOAK_ASSIGN(const int bus, pci_bus_of(device));
    return disk_name("vd", bus * kPciSlots + static_cast<int>(number_of(device.address)));
  }

  void add_overrides() {
    if (overridden_.empty()) return;
    pugi::xml_node overrides = element(domain_, "qemu:override");
    for (const DeviceSpec& device : overridden_) {
      pugi::xml_node of_device = element(overrides, "qemu:device");
      attribute(of_device, "alias", libvirt_device_id(device.id));
      pugi::xml_node frontend = element(of_device, "qemu:frontend");
      for (const auto& [name, value] : device.props) add_property(frontend, name, value);
    }
  }

  static void add_property(pugi::xml_node frontend, const std::string& name, const base::Json& value) {
    pugi::xml_node property = element(frontend, "qemu:property");
    attribute(property, "name", name);
    if (value.is_boolean()) {
      attribute(attribute(property, "type", "bool"), "value", value.get<bool>() ? "true" : "false");
    } else if (value.is_number_unsigned()) {
      attribute(attribute(property, "type", "unsigned"), "value", std::to_string(value.get<std::uint64_t>()));
    } else if (value.is_number_integer()) {
      attribute(attribute(property, "type", "signed"), "value", std::to_string(value.get<std::int64_t>()));
    } else {
      attribute(attribute(property, "type", "string"), "value", value.get<std::string>());
    }
  }

  void add_command_line() {
    pugi::xml_node line = element(domain_, "qemu:commandline");
    for (const auto* arguments : {&spec_.qemu_args, &spec_.extra_args}) {
      for (const std::string& argument : *arguments) attribute(element(line, "qemu:arg"), "value", argument);
    }
    std::map<std::string, std::string> env = spec_.env;
    for (const auto& [name, value] : identity_.env) env[name] = value;
    for (const auto& [name, value] : env) {
      attribute(attribute(element(line, "qemu:env"), "name", name), "value", value);
    }
  }

  const MachineSpec& spec_;
  const LibvirtIdentity& identity_;
  pugi::xml_document document_;
  pugi::xml_node domain_, devices_;
  std::map<std::string, int> controllers_;  // by the device's id
  DeviceSet overridden_;
};

}  // namespace

std::string libvirt_device_id(const std::string& id) {
  return kIdPrefix + id;
}

std::string with_own_ids(std::string answer, const std::vector<std::string>& ids) {
  const std::size_t length = std::char_traits<char>::length(kIdPrefix);
  for (std::size_t at = answer.find(kIdPrefix); at != std::string::npos; at = answer.find(kIdPrefix, at + 1)) {
    const bool begins = at == 0 || !is_id_character(answer[at - 1]);
    const bool known = std::any_of(ids.begin(), ids.end(), [&](const std::string& id) {
      const std::size_t end = at + length + id.size();
      return answer.compare(at + length, id.size(), id) == 0 &&
             (end >= answer.size() || answer[end] == '.' || !is_id_character(answer[end]));
    });
    if (begins && known) answer.erase(at, length);
  }
  return answer;
}

std::string with_libvirt_ids(std::string command, const std::vector<std::string>& ids) {
  const std::string folder = "/machine/peripheral/";
  for (std::size_t at = command.find(folder); at != std::string::npos; at = command.find(folder, at + 1)) {
    const std::size_t begin = at + folder.size();
    const std::string id = command.substr(begin, command.find_first_of("/\"", begin) - begin);
    if (std::find(ids.begin(), ids.end(), id) != ids.end()) command.insert(begin, kIdPrefix);
  }
  return command;
}

base::Result<std::string> domain_xml(const MachineSpec& spec, const LibvirtIdentity& identity) {
  return DomainXml(spec, identity).make();
}

base::Result<std::string> device_xml(const MachineSpec& spec, const DeviceSpec& device) {
  return DomainXml(spec, {}).make_device(device);
}

std::string with_machine_of(const std::string& running, const std::string& xml) {
  pugi::xml_document theirs, ours;
  if (!theirs.load_string(running.c_str()) || !ours.load_string(xml.c_str())) return xml;
  pugi::xml_node domain = ours.child("domain");
  const pugi::xml_node from = theirs.child("domain");
  const pugi::xml_attribute type = from.child("os").child("type").attribute("machine");
  if (type) domain.child("os").child("type").attribute("machine").set_value(type.value());
  if (const pugi::xml_node cpu = from.child("cpu")) {
    pugi::xml_node own = domain.child("cpu");
    if (!own) own = domain.append_child("cpu");
    for (const pugi::xml_attribute& attribute : cpu.attributes()) own.append_copy(attribute);
    for (const pugi::xml_node& part : cpu.children()) {
      if (std::string_view(part.name()) != "numa") own.append_copy(part);
    }
  }
  std::ostringstream text;
  ours.save(text, "  ", pugi::format_default | pugi::format_no_declaration);
  return text.str();
}

std::string why_not_attached(const std::string& type) {
  if (type == "virtio-balloon") return "libvirt gives a domain its one balloon at its start";
  if (is_attached_to(Attachment::cpu, type)) return "not yet";
  return "";
}

}  // namespace migsoak::hypervisor
