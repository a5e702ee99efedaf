// Two scenarios, one for each kind of bus, and what may be different in them. Where a load passes although the devices
// differ, the lineage goes on, and nothing but the detector tells.
#include <fmt/format.h>

#include "recall_cases.h"

namespace migsoak::integration {

namespace {

// Two disks with the small BAR0 (0x40 bytes) of a build without discard and write-zeroes. SeaBIOS puts them side by
// side: the first one's is at an even multiple of its size, the second one's at an odd one.
constexpr const char* kConventional = R"(name = "recall-pc"
[guest]
machine = "pc"
workload = "idle"
[[side]]
name = "a"
[[side]]
name = "b"
[[device]]
id = "vd0"
type = "virtio-blk"
[device.props]
discard = false
write-zeroes = false
[[device]]
id = "vd1"
type = "virtio-blk"
[device.props]
discard = false
write-zeroes = false
)";

// A disk plugged behind a root port, with an extended capability. And a network card that the harness knows nothing of:
// some property of it can be another one without the command line's saying so.
constexpr const char* kExpress = R"(name = "recall-q35"
[guest]
machine = "q35"
workload = "idle"
[[side]]
name = "a"
extra_args = ["-netdev", "hubport,id=hub0,hubid=0", "-device", "e1000e,id=nic0,addr=0x10,rombar=0,netdev=hub0"]
[[side]]
name = "b"
extra_args = ["-netdev", "hubport,id=hub0,hubid=0", "-device", "e1000e,id=nic0,addr=0x10,rombar=0,netdev=hub0"]
[[device]]
id = "vd0"
type = "virtio-blk"
[hotplug]
ports = 1
[hotplug.props.virtio-blk]
ats = true
[[hotplug.step]]
kind = "virtio-blk"
)";

// A network card as a site with large frames has it.
constexpr const char* kNetwork = R"(name = "recall-net"
[guest]
machine = "pc"
workload = "idle"
[[side]]
name = "a"
[[side]]
name = "b"
[[device]]
id = "nic0"
type = "virtio-net"
[device.props]
host_mtu = 8901
)";

constexpr const char* kDrift = "config-space-drift";
constexpr const char* kTree = "qtree-drift";

Case on_bus(const char* scenario, const std::string& name, std::vector<std::string> settings, std::vector<Row> rows) {
  Case result;
  result.name = name;
  result.scenario = scenario;
  result.iterations = 4;
  result.settings = std::move(settings);
  result.rows = std::move(rows);
  return result;
}

// The wrapper, on side b: at its second start, which is iteration 2's, and never again.
std::vector<std::string> changed_once(const std::string& device, const std::string& properties) {
  return {"side.b.wrapper={faults}/device_change",
          "side.b.env.FAULT_DEVICE=" + device,
          "side.b.env.FAULT_PROPERTIES=" + properties,
          "side.b.env.FAULT_STATE={dir}/starts",
          "side.b.env.FAULT_AT=2",
          "side.b.env.FAULT_LIMIT=1"};
}

// A refused load is a failed migration too.
Case refused(Case one) {
  one.companions = {{"migration-failure", "qemu:b", "", "the refusal itself"}};
  return one;
}

// What a wrapper makes of a device is another property in its tree too.
Case seen_in_tree(Case one) {
  one.companions.push_back({kTree, "qemu:b", "property-changed", "the properties themselves"});
  return one;
}

std::vector<Case> bar_sizes() {
  const std::string words = "BAR0 I/O: source 0x40 bytes at 0xc0";
  const auto large = [](const std::string& disk) -> std::vector<std::string> {
    return {"device." + disk + ".on.b.discard=true", "device." + disk + ".on.b.write-zeroes=true"};
  };
  const std::string back = "b to a: BAR0 I/O: source 0x80 bytes at 0xc000, destination 0x40 bytes; the load passed";
  return {
      on_bus(kConventional, "bar_size_passes", large("vd0"),
             {{kDrift,
               "qemu:b",
               "silent",
               "BAR size, even place",
               0,
               0,
               {},
               {words + "00, destination 0x80", "vd0 ", "property discard: source false, destination true",
                "the load passed silently"}},
              {kDrift, "qemu:a", "silent", "BAR size, way back", 1, 1, {}, {back, "vd0 "}}}),
      refused(on_bus(kConventional, "bar_size_refused", large("vd1"),
                     {{kDrift,
                       "qemu:b",
                       "refused",
                       "BAR size, odd place",
                       0,
                       0,
                       {},
                       {words + "40, destination 0x80", "vd1 (virtio-blk, 0000:00:05.0)", "bit 6 is not writable there",
                        "cmask 0xff, wmask 0x80", "property discard: source false, destination true"}}})),
      seen_in_tree(on_bus(
          kConventional, "bar_size_changes", changed_once("vd0", "discard=on,write-zeroes=on"),
          {{kDrift, "qemu:b", "silent", "BAR size, one start", 2, 2, {}, {words + "00, destination 0x80", "vd0 "}},
           {kDrift, "qemu:b", "drift", "BAR size, one start", 2, 2, {}, {"iteration 0 0x40 bytes, iteration 2 0x80"}},
           {kDrift, "qemu:a", "silent", "BAR size, way back", 3, 3, {}, {back, "vd0 "}}}))};
}

std::vector<Case> properties() {
  return {
      refused(on_bus(kConventional, "property_refused", {"device.vd1.on.b.vectors=9"},
                     {{kDrift,
                       "qemu:b",
                       "refused",
                       "vectors=9",
                       0,
                       0,
                       {},
                       {"vd1 (virtio-blk, 0000:00:05.0)", "MSI-X table size (byte 0x9a): source 0x01, destination 0x08",
                        "property vectors: source not set, destination 9"}}})),
      // The queues are as large as the build made them where the guest booted.
      on_bus(kConventional, "queue_size", {"device.vd1.on.b.queue-size=128"},
             {{kDrift,
               "qemu:a",
               "virtqueue",
               "queue-size=128",
               0,
               0,
               {},
               {"vd1 (virtio-blk, 0000:00:05.0)", "virtqueue 0 has 256 entries", "made it with 128"}},
              // The most segments of a request follow the queue's size.
              {kDrift,
               "qemu:b",
               "silent",
               "queue-size=128",
               0,
               0,
               {},
               {"vd1 ", "virtio_blk_config.seg_max (seg-max-adjust): source 254, destination 126"}},
              {kDrift, "qemu:a", "silent", "the way back", 1, 1, {}, {"source 126, destination 254"}}})};
}

// What the guest reads behind a BAR: neither configuration space nor the stream tells.
std::vector<Case> device_configurations() {
  return {on_bus(kNetwork, "host_mtu", {"device.nic0.on.b.host_mtu=1500"},
                 {{kDrift,
                   "qemu:b",
                   "silent",
                   "host_mtu=1500",
                   0,
                   0,
                   {},
                   {"nic0 (virtio-net, 0000:00:04.0), a to b: virtio_net_config.mtu (host_mtu): source 8901, "
                    "destination 1500: after the load the guest reads another value; the load passed silently",
                    "property host_mtu: source 8901, destination 1500"}},
                  {kDrift, "qemu:a", "silent", "the way back", 1, 1, {}, {"source 1500, destination 8901"}}}),
          on_bus(kExpress, "plugged_block_size", {"hotplug.on.b.virtio-blk.physical_block_size=4096"},
                 {{kDrift,
                   "qemu:b",
                   "silent",
                   "of a plugged disk",
                   0,
                   0,
                   {},
                   {"vb0 (virtio-blk, 0000:01:00.0)",
                    "virtio_blk_config.topology.physical_block_exp (physical_block_size): source 0, destination 3"}},
                  {kDrift, "qemu:a", "silent", "the way back", 1, 1, {}, {"vb0 ", "source 3, destination 0"}}})};
}

std::vector<Case> capabilities() {
  return {// What the destination lacks, QEMU does not check.
          on_bus(kExpress, "capability_missing", {"hotplug.on.b.virtio-blk.ats=false"},
                 {{kDrift,
                   "qemu:b",
                   "silent",
                   "a capability less",
                   0,
                   0,
                   {},
                   {"vb0 (virtio-blk, 0000:01:00.0)", "source has ATS, which the other does not have",
                    "the load passed silently", "property ats: source true, destination false"}}}),
          refused(on_bus(kExpress, "capability_extra", {"hotplug.on.a.virtio-blk.ats=false"},
                         {{kDrift,
                           "qemu:b",
                           "refused",
                           "a capability more",
                           0,
                           0,
                           {},
                           {"vb0 (virtio-blk, 0000:01:00.0)", "ATS id (byte 0x100): source 0x00, destination 0x0f",
                            "property ats: source false, destination true"}}})),
          on_bus(kExpress, "capability_changes", changed_once("vb0", "ats=off"),
                 {{kDrift,
                   "qemu:b",
                   "silent",
                   "a capability, one start",
                   2,
                   2,
                   {},
                   {"vb0 (virtio-blk, 0000:01:00.0)", "source has ATS, which the other does not have",
                    "the load passed silently"}},
                  {kDrift, "qemu:b", "drift", "a capability, one start", 2, 2, {}, {"vb0 ", "ATS"}},
                  {kTree,
                   "qemu:b",
                   "property-changed",
                   "a capability, one start",
                   2,
                   2,
                   {},
                   {"virtio-blk-pci vb0 on rp0 on qemu:b: ats is false, where qemu:a had true"}}}),
          // The network card itself compares that property when it loads.
          seen_in_tree(refused(on_bus(kExpress, "byte_changes", changed_once("nic0", "subsys=0x1234"),
                                      {{kDrift,
                                        "qemu:b",
                                        "drift",
                                        "a byte, one start",
                                        2,
                                        2,
                                        {},
                                        {"nic0 (8086:10d3, 0000:00:10.0) on b",
                                         "subsystem id (byte 0x2e): iteration 0 0x0000, iteration 2 0x1234"}}})))};
}

Case usb_hub_missing(const std::string& on_a, const std::string& on_b) {
  return on_bus(kConventional, "usb_hub_missing", {on_a, on_b},
                {{kTree,
                  "qemu:b",
                  "device-missing",
                  "a USB hub less",
                  0,
                  0,
                  {},
                  {"qemu:b lacks usb-hub hub0 on usb0.0, which qemu:a had", "seen before the load"}},
                 {"migration-failure",
                  "qemu:b",
                  "vmstate",
                  "a USB hub less",
                  0,
                  0,
                  {},
                  {"/usb-hub: the source has this device (instance 0), the destination does not",
                   "(explained by qtree-drift: device-missing usb-hub hub0)"}}});
}

// The device tree, before the load and where the guest has arrived. What has no state in the stream does not keep a
// load from passing.
std::vector<Case> trees() {
  const auto extra = [](const std::string& side, const std::string& words) {
    return "side." + side + ".extra_args=[" + words + "]";
  };
  const std::string disk = R"("-blockdev","driver=null-co,node-name=n0,read-zeroes=on","-device",)";
  return {
      // Case 3 (b).
      on_bus(
          kConventional, "ide_disk_extra", {extra("b", disk + R"("ide-hd,id=ide0-hd0,drive=n0")")},
          {{kTree,
            "qemu:b",
            "device-extra",
            "an ide-hd more",
            0,
            0,
            {},
            {"qemu:b has ide-hd ide0-hd0 on ide.1, which qemu:a had not and the plan did not ask for (iteration 0)"}}}),
      on_bus(kConventional, "device_missing", {extra("a", R"("-device","isa-debug-exit,id=exit0,iobase=0xf4")")},
             {{kTree,
               "qemu:b",
               "device-missing",
               "a device less",
               0,
               0,
               {},
               {"qemu:b lacks isa-debug-exit exit0 on isa.0, which qemu:a had"}}}),
      // Also seen before anything is sent, as any PCI function; there and back.
      on_bus(kConventional, "pci_device_extra", {extra("b", R"("-device","pci-testdev,id=ghost0,addr=0x1b")")},
             {{kTree,
               "qemu:b",
               "device-extra",
               "a PCI device more",
               0,
               0,
               {},
               {"0000:00:1b.0", "which a does not have", "the plan did not ask for it"}},
              {kTree, "qemu:a", "device-missing", "the way back", 1, 1, {}, {"which b has"}}}),
      // Public report LP 1586611: told before the load, which then fails for it. No PCI function tells.
      usb_hub_missing(extra("a", R"("-device","piix3-usb-uhci,id=usb0,addr=0x1a","-device","usb-hub,id=hub0")"),
                      extra("b", R"("-device","piix3-usb-uhci,id=usb0,addr=0x1a")")),
      // Neither configuration space nor queues tell.
      on_bus(kConventional, "property_changes", changed_once("vd1", "request-merging=off"),
             {{kTree,
               "qemu:b",
               "property-changed",
               "one start",
               2,
               2,
               {},
               {"virtio-blk-device of vd1 on qemu:b: request-merging is false, where qemu:a had true"}}})};
}

// What was plugged into a is not what b has from its start.
Case plugged_disk() {
  return on_bus(kExpress, "plugged_property_changes",
                {"side.b.wrapper={faults}/device_change", "side.b.env.FAULT_DEVICE=vb0",
                 "side.b.env.FAULT_PROPERTIES=serial=other"},
                {{kTree,
                  "qemu:b",
                  "property-changed",
                  "of a plugged disk",
                  0,
                  0,
                  {},
                  {"virtio-blk-device of vb0 on qemu:b: serial is other, where qemu:a had vb0"}}});
}

// A port that refuses what is plugged into it, on both sides alike.
Case deaf_port() {
  Case one = on_bus(kExpress, "port_refuses", {},
                    {{kTree,
                      "qemu:a",
                      "hotplug-refused",
                      "root port, hotplug=off",
                      0,
                      0,
                      {},
                      {"refused to plug virtio-blk vb0 at rp0", "does not support hotplugging"}}});
  for (const std::string side : {"side.a.", "side.b."}) {
    one.settings.insert(one.settings.end(), {side + "wrapper={faults}/device_change", side + "env.FAULT_DEVICE=rp0",
                                             side + "env.FAULT_PROPERTIES=hotplug=off"});
  }
  return one;
}

}  // namespace

std::vector<Case> device_cases() {
  std::vector<Case> cases = bar_sizes();
  for (Case& one : properties()) cases.push_back(std::move(one));
  for (Case& one : device_configurations()) cases.push_back(std::move(one));
  for (Case& one : capabilities()) cases.push_back(std::move(one));
  for (Case& one : trees()) cases.push_back(std::move(one));
  cases.push_back(deaf_port());
  cases.push_back(plugged_disk());
  cases.push_back(on_bus(kConventional, "nothing_planted_pc_devices", {}, {}));
  cases.push_back(on_bus(kExpress, "nothing_planted_q35_devices", {}, {}));
  for (Case& one : cases) {
    if (one.rows.empty()) one.iterations = 6;
  }
  return cases;
}

}  // namespace migsoak::integration
