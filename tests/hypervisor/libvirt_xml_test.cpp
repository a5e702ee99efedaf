#include "hypervisor/libvirt_xml.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pugixml.hpp>
#include <sstream>

#include "hypervisor/libvirt_domains.h"

namespace migsoak::hypervisor {
namespace {

using base::ErrorKind;
using ::testing::HasSubstr;

MachineSpec domain_spec() {
  MachineSpec spec;
  spec.side = "a";
  spec.qemu = "/usr/bin/qemu-system-x86_64";
  spec.machine = "pc-q35-7.2";
  spec.run_dir = "/run/x";
  spec.instance = "q1";
  spec.image.kernel = "/images/vmlinuz";
  spec.image.initramfs = "/images/initramfs.cpio";
  return spec;
}

DeviceSpec domain_device(const std::string& id, const std::string& type) {
  DeviceSpec device;
  device.id = id;
  device.type = type;
  if (type == "vhost-user-blk") device.socket_path = "/run/x/" + id + ".s";
  if (type == "virtio-blk" || type == "scsi-disk") device.image_path = "/images/" + id + ".img";
  return device;
}

class DomainXml : public testing::Test {
 protected:
  void make(const MachineSpec& spec) {
    const auto xml = domain_xml(spec, {"guest", "6d696773-6f61-4b00-8000-000000000001", {{"MIGSOAK_RUN", "r1"}}});
    ASSERT_TRUE(xml) << xml.error().describe();
    text_ = *xml;
    ASSERT_TRUE(document_.load_string(text_.c_str())) << text_;
  }
  // What an XPath expression gives as a string; "" where nothing is there.
  std::string at(const char* path) const { return pugi::xpath_query(path).evaluate_string(document_); }
  double count(const char* path) const {
    return pugi::xpath_query((std::string("count(") + path + ")").c_str()).evaluate_number(document_);
  }
  static std::string refusal(const MachineSpec& spec) {
    const auto xml = domain_xml(spec, {"guest", "u"});
    EXPECT_FALSE(xml);
    if (xml) return "";
    EXPECT_EQ(xml.error().kind, ErrorKind::bad_input);
    return xml.error().describe();
  }

  std::string text_;
  pugi::xml_document document_;
};

TEST_F(DomainXml, TheMachineIsThatOfTheCommandLine) {
  MachineSpec spec = domain_spec();
  spec.memory_bytes = 192u << 20;
  spec.cpus = 2;
  make(spec);
  EXPECT_EQ(at("/domain/@type"), "qemu");
  EXPECT_EQ(at("/domain/name"), "guest");
  EXPECT_EQ(at("/domain/memory/@unit"), "MiB");
  EXPECT_EQ(at("/domain/memory"), "192");
  EXPECT_EQ(at("/domain/vcpu"), "2");
  EXPECT_EQ(at("/domain/memoryBacking/source/@type"), "memfd");
  EXPECT_EQ(at("/domain/memoryBacking/access/@mode"), "shared");
  EXPECT_EQ(at("/domain/os/type/@machine"), "pc-q35-7.2");
  EXPECT_EQ(at("/domain/os/kernel"), "/images/vmlinuz");
  EXPECT_EQ(at("/domain/os/initrd"), "/images/initramfs.cpio");
  EXPECT_EQ(at("/domain/os/cmdline"), kKernelArguments);
  EXPECT_EQ(at("/domain/features/tcg/tb-cache"), "64");
  EXPECT_EQ(at("/domain/on_reboot"), "destroy");
  EXPECT_EQ(at("/domain/devices/emulator"), "/usr/bin/qemu-system-x86_64");
  EXPECT_EQ(at("/domain/devices/controller[@type='usb']/@model"), "none");
  EXPECT_EQ(at("/domain/devices/memballoon/@model"), "none");
  // The console is the first port, the agent the second: where Machine says that they are.
  EXPECT_EQ(at("/domain/devices/serial[target/@port='0']/source/@path"), "/run/x/q1.c");
  EXPECT_EQ(at("/domain/devices/serial[target/@port='1']/source/@path"), "/run/x/q1.a");
  EXPECT_EQ(at("/domain/devices/serial[2]/source/@mode"), "bind");
  spec.accel = "kvm";
  make(spec);
  EXPECT_EQ(at("/domain/@type"), "kvm");
  EXPECT_EQ(count("/domain/features/tcg"), 0);
}

TEST_F(DomainXml, DevicesHaveTheirNamesAndAddresses) {
  MachineSpec spec = domain_spec();
  DeviceSpec port = domain_device("port1", "serial-port");
  port.bus = "ser0.0";
  port.address = "3";
  DeviceSpec lun = domain_device("sd1", "scsi-disk");
  lun.bus = "scsi0.0";
  lun.address = "2";
  DeviceSpec vhost = domain_device("vd0", "vhost-user-blk");
  vhost.reconnect_ms = 1500;
  spec.devices = {vhost,
                  domain_device("blk1", "virtio-blk"),
                  domain_device("scsi0", "virtio-scsi"),
                  lun,
                  domain_device("net0", "virtio-net"),
                  domain_device("rng0", "virtio-rng"),
                  domain_device("bal0", "virtio-balloon"),
                  domain_device("ser0", "virtio-serial"),
                  port};
  make(spec);
  const auto slot = [&](const std::string& id) {
    return at(("//devices/*[alias/@name='ua-" + id + "']/address[@type='pci']/@slot").c_str());
  };
  EXPECT_EQ(slot("vd0"), "0x04");
  EXPECT_EQ(slot("blk1"), "0x05");
  EXPECT_EQ(slot("scsi0"), "0x06");
  EXPECT_EQ(slot("net0"), "0x07");
  EXPECT_EQ(slot("rng0"), "0x08");
  EXPECT_EQ(slot("bal0"), "0x09");
  EXPECT_EQ(slot("ser0"), "0x0a");
  EXPECT_EQ(at("//disk[@type='vhostuser']/source/@path"), "/run/x/vd0.s");
  EXPECT_EQ(at("//disk[@type='vhostuser']/source/reconnect/@timeout"), "2");  // whole seconds
  EXPECT_EQ(at("//disk[@type='vhostuser']/driver/@queues"), "1");
  EXPECT_EQ(at("//disk[@type='vhostuser']/target/@dev"), "vde");  // by its slot
  EXPECT_EQ(at("//disk[alias/@name='ua-sd1']/target/@dev"), "sdc");
  EXPECT_EQ(at("//interface/@type"), "user");
  EXPECT_EQ(at("//disk[alias/@name='ua-blk1']/source/@file"), "/images/blk1.img");
  EXPECT_EQ(at("//disk[alias/@name='ua-blk1']/driver/@cache"), "none");
  EXPECT_EQ(count("//disk[alias/@name='ua-blk1']/shareable"), 1);
  EXPECT_EQ(at("//disk[alias/@name='ua-blk1']/serial"), "blk1");
  EXPECT_EQ(at("//disk[alias/@name='ua-sd1']/address/@target"), "2");
  EXPECT_EQ(at("//disk[alias/@name='ua-sd1']/address/@controller"), "0");
  EXPECT_EQ(at("//channel[alias/@name='ua-port1']/address/@port"), "3");
  EXPECT_EQ(at("//memballoon/@model"), "virtio");
  EXPECT_EQ(count("//memballoon"), 1);
}

TEST_F(DomainXml, BehindARootPortADeviceIsOnItsBus) {
  MachineSpec spec = domain_spec();
  spec.devices = {domain_device("rp0", "root-port"), domain_device("rp1", "root-port"),
                  domain_device("vb0", "virtio-blk")};
  spec.devices[2].bus = "rp1";
  spec.devices[2].address = "0x0";
  make(spec);
  EXPECT_EQ(at("//controller[alias/@name='ua-rp1']/@model"), "pcie-root-port");
  EXPECT_EQ(at("//controller[alias/@name='ua-rp1']/@index"), "2");
  EXPECT_EQ(at("//controller[alias/@name='ua-rp1']/address/@bus"), "0x00");
  EXPECT_EQ(at("//disk/address/@bus") + at("//disk/address/@slot"), "0x020x00");
}

TEST_F(DomainXml, DimmsHaveTheirSlotsAndANode) {
  MachineSpec spec = domain_spec();
  spec.memory_slots = 4;
  spec.devices = {domain_device("dm1", "memory")};
  spec.devices[0].address = "1";
  make(spec);
  EXPECT_EQ(at("/domain/memory"), "256");  // the DIMM included
  EXPECT_EQ(at("/domain/maxMemory"), "640");
  EXPECT_EQ(at("/domain/maxMemory/@slots"), "4");
  EXPECT_EQ(at("/domain/cpu/numa/cell/@memory"), "128");
  EXPECT_EQ(at("/domain/cpu/numa/cell/@cpus"), "0-0");
  EXPECT_EQ(at("//devices/memory/target/size"), "128");
  EXPECT_EQ(at("//devices/memory/address/@base"), "0x108000000");
}

// What is plugged is in the destination's XML what it is here, and libvirt compares the two: names of disks, too,
// whatever else came and went.
TEST_F(DomainXml, APluggedDeviceIsTheOneOfADomainThatHasIt) {
  MachineSpec spec = domain_spec();
  spec.devices = {domain_device("scsi0", "virtio-scsi"), domain_device("ser0", "virtio-serial")};
  spec.devices[0].address = "0x4";
  spec.devices[1].address = "0x5";
  DeviceSpec lun = domain_device("sd0", "scsi-disk");
  lun.bus = "scsi0.0";
  lun.address = "3";
  DeviceSpec port = domain_device("sp0", "serial-port");
  port.bus = "ser0.0";
  port.address = "2";
  DeviceSet plugged = {domain_device("vb0", "virtio-blk"), domain_device("vu0", "vhost-user-blk"),
                       domain_device("vn0", "virtio-net"), domain_device("vr0", "virtio-rng")};
  for (std::size_t i = 0; i < plugged.size(); ++i) plugged[i].address = slot_name(static_cast<int>(9 + i));
  plugged.push_back(lun);
  plugged.push_back(port);
  plugged.push_back(domain_device("dm1", "memory"));
  plugged.back().address = "1";
  spec.memory_slots = 4;
  for (const DeviceSpec& device : plugged) {
    SCOPED_TRACE(device.id);
    const auto alone = device_xml(spec, device);
    ASSERT_TRUE(alone) << alone.error().describe();
    MachineSpec with = spec;
    with.devices.push_back(domain_device("other", "virtio-blk"));
    with.devices.back().address = "0x8";
    with.devices.push_back(device);
    make(with);
    std::ostringstream of_domain;
    pugi::xpath_query(("//devices/*[alias/@name='ua-" + device.id + "']").c_str())
        .evaluate_node(document_)
        .node()
        .print(of_domain, " ", pugi::format_indent | pugi::format_no_declaration);
    EXPECT_EQ(*alone, of_domain.str());
  }
}

TEST_F(DomainXml, WhatCantBePluggedSaysWhy) {
  const MachineSpec spec = domain_spec();
  DeviceSpec device = domain_device("vb0", "virtio-blk");
  device.address = "0x9";
  device.props = {{"discard", false}};
  const auto with_property = device_xml(spec, device);
  ASSERT_FALSE(with_property);
  EXPECT_EQ(with_property.error().kind, ErrorKind::bad_input);
  EXPECT_THAT(with_property.error().describe(), HasSubstr("a property of vb0"));
  device = domain_device("vb0", "virtio-blk");
  device.bus = "rp9";
  EXPECT_FALSE(device_xml(spec, device));
  EXPECT_THAT(why_not_attached("virtio-balloon"), HasSubstr("one balloon"));
  EXPECT_EQ(why_not_attached("virtio-blk"), "");
}

TEST_F(DomainXml, PropertiesAreOverriddenWithTheirTypes) {
  MachineSpec spec = domain_spec();
  spec.devices = {domain_device("vd0", "vhost-user-blk"), domain_device("rng0", "virtio-rng")};
  spec.devices[0].props = {{"num-queues", 2u}, {"config-wce", false}, {"bootindex", -1}, {"packed", "on"}};
  make(spec);
  const auto property = [&](const std::string& name, const char* key) {
    return at(("//qemu:device[@alias='ua-vd0']/qemu:frontend/qemu:property[@name='" + name + "']/@" + key).c_str());
  };
  EXPECT_EQ(count("//qemu:device"), 1);
  EXPECT_EQ(property("num-queues", "type") + property("num-queues", "value"), "unsigned2");
  EXPECT_EQ(property("config-wce", "type") + property("config-wce", "value"), "boolfalse");
  EXPECT_EQ(property("bootindex", "type") + property("bootindex", "value"), "signed-1");
  EXPECT_EQ(property("packed", "type") + property("packed", "value"), "stringon");
  EXPECT_EQ(count("//disk/driver/@queues"), 0);  // said once
}

TEST_F(DomainXml, ASidesArgumentsAndEnvironmentGoToQemu) {
  MachineSpec spec = domain_spec();
  spec.env = {{"LD_PRELOAD", "/x.so"}};
  spec.qemu_args = {"-L", "/firmware"};
  spec.extra_args = {"-global", "a.b=<&\">"};
  make(spec);
  EXPECT_EQ(at("//qemu:commandline/qemu:env[@name='LD_PRELOAD']/@value"), "/x.so");
  EXPECT_EQ(at("//qemu:commandline/qemu:env[@name='MIGSOAK_RUN']/@value"), "r1");
  EXPECT_EQ(count("//qemu:commandline/qemu:arg"), 4);
  EXPECT_EQ(at("//qemu:commandline/qemu:arg[4]/@value"), "a.b=<&\">");
}

TEST_F(DomainXml, TakesMachineAndCpuFromADomainThatRuns) {
  const std::string running =
      "<domain><os><type machine='pc-q35-7.2'>hvm</type></os><cpu mode='custom' match='exact'><model>qemu64</model>"
      "<numa><cell id='7'/></numa></cpu><devices><disk/></devices></domain>";
  const std::string plain = "<domain><os><type machine='q35'>hvm</type></os><devices/></domain>";
  const std::string with_numa =
      "<domain><os><type machine='q35'>hvm</type></os><cpu><numa><cell id='0'/></numa></cpu></domain>";
  pugi::xml_document document;
  ASSERT_TRUE(document.load_string(with_machine_of(running, plain).c_str()));
  const pugi::xml_node domain = document.child("domain");
  EXPECT_STREQ(domain.child("os").child("type").attribute("machine").value(), "pc-q35-7.2");
  EXPECT_STREQ(domain.child("cpu").attribute("match").value(), "exact");
  EXPECT_STREQ(domain.child("cpu").child_value("model"), "qemu64");
  EXPECT_FALSE(domain.child("cpu").child("numa")) << "nodes are the machine's own";
  EXPECT_FALSE(domain.child("devices").first_child());
  pugi::xml_document other;
  ASSERT_TRUE(other.load_string(with_machine_of(running, with_numa).c_str()));
  const pugi::xml_node cpu = other.child("domain").child("cpu");
  EXPECT_STREQ(cpu.child_value("model"), "qemu64");
  EXPECT_STREQ(cpu.child("numa").child("cell").attribute("id").value(), "0");
  EXPECT_EQ(with_machine_of("no XML", plain), plain);
}

TEST_F(DomainXml, DevicesHaveTheSetsNamesForWhoAsksQemu) {
  const std::vector<std::string> ids = {"vd0", "scsi0"};
  const auto told = [&](const char* answer) { return with_own_ids(answer, ids); };
  EXPECT_EQ(told(R"x({"qdev_id":"ua-vd0"})x"), R"x({"qdev_id":"vd0"})x");
  EXPECT_EQ(told(R"x("/machine/peripheral/ua-vd0/virtio-backend")x"), R"x("/machine/peripheral/vd0/virtio-backend")x");
  EXPECT_EQ(told(R"x("id \"ua-scsi0\"\r\n bus: ua-scsi0.0")x"), R"x("id \"scsi0\"\r\n bus: scsi0.0")x");
  EXPECT_EQ(told(R"x("/ua-vd0 (vhost-user-blk-pci)")x"), R"x("/vd0 (vhost-user-blk-pci)")x");
  for (const char* others : {"ua-vd01", "aqua-vd0", "virtio-disk0", "ua-", "ua-vd", ""})
    EXPECT_EQ(told(others), others);
  const auto asked = [&](const char* command) { return with_libvirt_ids(command, ids); };
  EXPECT_EQ(asked(R"x({"path":"/machine/peripheral/vd0/virtio-backend"})x"),
            R"x({"path":"/machine/peripheral/ua-vd0/virtio-backend"})x");
  EXPECT_EQ(asked(R"x({"path":"/machine/peripheral/vd0"})x"), R"x({"path":"/machine/peripheral/ua-vd0"})x");
  EXPECT_EQ(asked(R"x({"path":"/machine/peripheral/vd01/x"})x"), R"x({"path":"/machine/peripheral/vd01/x"})x");
  EXPECT_EQ(asked("/machine/peripheral/"), "/machine/peripheral/");
}

TEST_F(DomainXml, WhatLibvirtHasNoWordsForIsRefusedWithTheReason) {
  MachineSpec spec = domain_spec();
  spec.memory_extra_bytes = kOddMemoryBytes;
  EXPECT_THAT(refusal(spec), HasSubstr("whole MiB"));
  spec = domain_spec();
  spec.guestless = GuestlessSpec{};
  EXPECT_THAT(refusal(spec), HasSubstr("a machine without a guest"));
  spec = domain_spec();
  spec.wrapper = {"valgrind"};
  EXPECT_THAT(refusal(spec), HasSubstr("starts QEMU itself"));
  spec = domain_spec();
  spec.ram_path = "/dev/shm/ram";
  EXPECT_THAT(refusal(spec), HasSubstr("RAM in a file"));
  spec = domain_spec();
  spec.aux_ram_share = true;
  EXPECT_THAT(refusal(spec), HasSubstr("aux-ram-share"));
  spec = domain_spec();
  spec.machine = "q35,smm=off";
  EXPECT_THAT(refusal(spec), HasSubstr("the type alone"));
  spec = domain_spec();
  spec.devices = {domain_device("vd0", "vhost-user-blk")};
  spec.devices[0].listens = true;
  EXPECT_THAT(refusal(spec), HasSubstr("device vd0"));
  spec.devices = {domain_device("sd1", "scsi-disk")};
  spec.devices[0].bus = "none.0";
  EXPECT_THAT(refusal(spec), HasSubstr("no controller 'none.0'"));
  spec.devices = {domain_device("vd0", "vhost-user-blk"), domain_device("vd0", "virtio-rng")};
  EXPECT_THAT(refusal(spec), HasSubstr("twice"));
}

TEST(LibvirtDomains, DevicesGoByTheNamesOfTheSet) {
  MachineSpec spec = domain_spec();
  spec.devices = {domain_device("vd0", "vhost-user-blk"), domain_device("rng0", "virtio-rng")};
  const auto xml = domain_xml(spec, {"guest", "6d696773-6f61-4b00-8000-000000000001", {}});
  ASSERT_TRUE(xml) << xml.error().message;
  EXPECT_EQ(device_names_in(*xml).value(), base::Json({"rng0", "vd0"}));
  EXPECT_EQ(device_names_in("<domain><devices><disk><alias name='disk0'/></disk></devices></domain>").value(),
            base::Json::array());
  const auto none = device_names_in("<domain");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().kind, base::ErrorKind::subject);
}

}  // namespace
}  // namespace migsoak::hypervisor
