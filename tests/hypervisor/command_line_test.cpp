#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "hypervisor/device_type.h"
#include "hypervisor/machine_spec.h"

namespace migsoak::hypervisor {
namespace {

using base::ErrorKind;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

MachineSpec plain() {
  MachineSpec spec;
  spec.side = "a";
  spec.qemu = "qemu-system-x86_64";
  spec.run_dir = "/run/x";
  spec.instance = "q1";
  return spec;
}

DeviceSpec virtio_disk(const std::string& id) {
  DeviceSpec device;
  device.id = id;
  device.type = "virtio-blk";
  device.image_path = "/images/" + id + ".raw";
  return device;
}

DeviceSpec vhost_disk(const std::string& id) {
  DeviceSpec device;
  device.id = id;
  device.type = "vhost-user-blk";
  device.socket_path = "/run/x/" + id + ".s";
  return device;
}

std::vector<std::string> arguments(const MachineSpec& spec) {
  auto argv = command_line(spec);
  EXPECT_TRUE(argv) << argv.error().describe();
  return argv.value_or(std::vector<std::string>{});
}

// Values of every occurrence of an option.
std::vector<std::string> values_of(const std::vector<std::string>& argv, const std::string& option) {
  std::vector<std::string> values;
  for (std::size_t i = 0; i + 1 < argv.size(); ++i) {
    if (argv[i] == option) values.push_back(argv[i + 1]);
  }
  return values;
}

base::Error refusal(const MachineSpec& spec) {
  const auto argv = command_line(spec);
  EXPECT_FALSE(argv);
  return argv ? base::Error{} : argv.error();
}

TEST(CommandLine, OfABareMachine) {
  EXPECT_THAT(arguments(plain()),
              ElementsAre("qemu-system-x86_64", "-name", "q1,debug-threads=on", "-nodefaults", "-no-user-config",
                          "-display", "none", "-msg", "timestamp=off", "-no-reboot", "-machine",
                          "q35,memory-backend=ram0", "-accel", "tcg,tb-size=64", "-smp", "1", "-m", "128M", "-object",
                          "memory-backend-memfd,id=ram0,size=134217728,share=on", "-chardev",
                          "socket,id=qmp0,path=/run/x/q1.q,server=on,wait=off", "-mon", "chardev=qmp0,mode=control",
                          "-chardev", "socket,id=console,path=/run/x/q1.c,server=on,wait=off", "-chardev",
                          "socket,id=agent,path=/run/x/q1.a,server=on,wait=off", "-serial", "chardev:console",
                          "-serial", "chardev:agent"));
}

TEST(CommandLine, OfAMachineWithoutAGuest) {
  MachineSpec spec = plain();
  spec.run_dir = "/run/a,b";
  spec.machine = "pc,memory-backend=ram";
  spec.guestless = GuestlessSpec{{"-m", "16M", "-device", "e1000,id=d0"}};
  spec.incoming = true;
  // Of a guest; there is none.
  spec.memory_bytes = 0;
  spec.devices = {virtio_disk("vd0")};
  spec.image.kernel = "/g/vmlinuz";
  EXPECT_THAT(
      arguments(spec),
      ElementsAre("qemu-system-x86_64", "-name", "q1,debug-threads=on", "-nodefaults", "-no-user-config", "-display",
                  "none", "-msg", "timestamp=off", "-S", "-machine", "pc,memory-backend=ram", "-accel",
                  "tcg,tb-size=64", "-chardev", "socket,id=qmp0,path=/run/a,,b/q1.q,server=on,wait=off", "-mon",
                  "chardev=qmp0,mode=control", "-qtest", "unix:/run/a,,b/q1.t,server=on,wait=off", "-qtest-log", "none",
                  "-m", "16M", "-device", "e1000,id=d0", "-incoming", "defer"));
  spec.run_dir = "/run/" + std::string(107, 'x');
  EXPECT_THAT(refusal(spec).message, HasSubstr("the kernel takes 107"));
}

TEST(CommandLine, WrapsAndAppends) {
  MachineSpec spec = plain();
  spec.wrapper = {"valgrind", "-q"};
  spec.extra_args = {"-S"};
  const auto argv = arguments(spec);
  EXPECT_EQ(argv[0], "valgrind");
  EXPECT_EQ(argv[1], "-q");
  EXPECT_EQ(argv[2], "qemu-system-x86_64");
  EXPECT_EQ(argv.back(), "-S");
}

TEST(CommandLine, OfADestinationDiffersByIncomingAlone) {
  MachineSpec source = plain();
  source.image.kernel = "/g/vmlinuz";
  source.image.initramfs = "/g/initramfs";
  source.devices = {virtio_disk("vd0"), vhost_disk("vd1")};
  MachineSpec destination = source;
  destination.incoming = true;
  auto expected = arguments(source);
  EXPECT_THAT(expected, Contains("-kernel"));
  EXPECT_THAT(values_of(expected, "-append"), ElementsAre(HasSubstr("console=ttyS0")));
  expected.insert(expected.end(), {"-incoming", "defer"});
  EXPECT_EQ(arguments(destination), expected);
}

TEST(CommandLine, OfRamThatHotUpgradesKeep) {
  MachineSpec spec = plain();
  spec.aux_ram_share = true;
  EXPECT_THAT(values_of(arguments(spec), "-machine"), ElementsAre("q35,memory-backend=ram0,aux-ram-share=on"));
  EXPECT_THAT(values_of(arguments(spec), "-object"), ElementsAre(HasSubstr("memory-backend-memfd")));
  spec.ram_path = "/ram/a,b";
  EXPECT_THAT(values_of(arguments(spec), "-object"),
              ElementsAre("memory-backend-file,mem-path=/ram/a,,b,id=ram0,size=134217728,share=on"));
}

TEST(CommandLine, OfADestinationWithChannels) {
  MachineSpec spec = plain();
  spec.incoming_channels = {"unix:/run/x/m", R"({"channel-type":"cpr"})"};
  EXPECT_THAT(values_of(arguments(spec), "-incoming"), ::testing::IsEmpty()) << "it boots";
  spec.incoming = true;
  EXPECT_THAT(values_of(arguments(spec), "-incoming"), ElementsAre("unix:/run/x/m", R"({"channel-type":"cpr"})"));
}

TEST(CommandLine, GivesDevicesSlotsInOrder) {
  MachineSpec spec = plain();
  spec.devices = {virtio_disk("vd0"), vhost_disk("vd1")};
  spec.devices[0].props = {{"discard", false}, {"queue-size", 128}};
  const auto argv = arguments(spec);
  EXPECT_THAT(
      values_of(argv, "-device"),
      ElementsAre("virtio-blk-pci,id=vd0,addr=0x4,drive=vd0-raw,serial=vd0,share-rw=on,discard=off,queue-size=128",
                  "vhost-user-blk-pci,id=vd1,addr=0x5,chardev=vd1-char,num-queues=1"));
  EXPECT_THAT(values_of(argv, "-chardev"), Contains("socket,id=vd1-char,path=/run/x/vd1.s"));
  EXPECT_THAT(values_of(argv, "-blockdev"),
              Contains("driver=file,node-name=vd0-file,filename=/images/vd0.raw,locking=off,cache.direct=on,"
                       "discard=unmap"));
}

TEST(CommandLine, AgreesWithTheGuestOnAddresses) {
  DeviceSet devices = {virtio_disk("vd0"), virtio_disk("vd1"), virtio_disk("vd2")};
  devices[1].address = "0x10";
  for (const char* id : {"rp0", "rp1"}) {
    DeviceSpec port;
    port.id = id;
    port.type = "root-port";
    devices.push_back(port);
  }
  devices[2].bus = "rp1";
  devices[2].address = "0x0";
  ASSERT_TRUE(pin_addresses(devices));
  EXPECT_EQ(pci_address(devices, devices[0]), "0000:00:04.0");
  EXPECT_EQ(pci_address(devices, devices[1]), "0000:00:10.0");
  EXPECT_EQ(pci_address(devices, devices[2]), "0000:02:00.0");
  EXPECT_EQ(devices[3].address, "0x5");
}

TEST(CommandLine, OfEveryDeviceType) {
  for (const std::string& type : device_type_names()) {
    MachineSpec spec = plain();
    spec.devices = {virtio_disk("x0")};
    spec.devices[0].type = type;
    spec.devices[0].socket_path = "/run/x/s";
    if (type == "scsi-disk") spec.devices[0].bus = "scsi0.0";
    if (type == "serial-port") spec.devices[0].bus = "ports0.0";
    spec.devices[0].address = "0x7";
    const auto devices = values_of(arguments(spec), "-device");
    ASSERT_EQ(devices.size(), 1u) << type;
    EXPECT_THAT(devices[0], ::testing::AnyOf(HasSubstr(",id=x0,"), ::testing::EndsWith(",id=x0"))) << type;
    EXPECT_THAT(devices[0], ::testing::ContainsRegex("=(0x)?7(,|$)")) << type;
  }
}

TEST(CommandLine, MakesRoomForCpusAndMemory) {
  MachineSpec spec = plain();
  spec.cpus_max = 4;
  spec.memory_slots = 4;
  EXPECT_THAT(values_of(arguments(spec), "-smp"), ElementsAre("1,sockets=4,cores=1,threads=1,maxcpus=4"));
  EXPECT_THAT(values_of(arguments(spec), "-m"), ElementsAre("128M,slots=4,maxmem=640M"));
}

TEST(CommandLine, OfRamThatIsNoMultipleOf256KiB) {
  MachineSpec spec = plain();
  spec.memory_extra_bytes = kOddMemoryBytes;
  EXPECT_THAT(values_of(arguments(spec), "-m"), ElementsAre("131080K"));
  EXPECT_THAT(values_of(arguments(spec), "-object"),
              ElementsAre("memory-backend-memfd,id=ram0,size=134225920,share=on"));
  spec.memory_slots = 2;
  EXPECT_THAT(values_of(arguments(spec), "-m"), ElementsAre("131080K,slots=2,maxmem=393224K"));
}

TEST(CommandLine, RefusesAnAddressTwice) {
  MachineSpec spec = plain();
  spec.devices = {virtio_disk("a"), virtio_disk("b")};
  spec.devices[0].address = spec.devices[1].address = "0x5";
  EXPECT_THAT(refusal(spec).describe(), HasSubstr("device b: address 0x5 is taken by device a"));
}

TEST(CommandLine, RendersPropertiesByType) {
  MachineSpec spec = plain();
  spec.devices = {vhost_disk("vd0")};
  spec.devices[0].props = {{"a-text", "x,y=z"}, {"b-on", true}, {"c-big", 18446744073709551615ULL}, {"num-queues", 4}};
  EXPECT_THAT(values_of(arguments(spec), "-device"),
              ElementsAre("vhost-user-blk-pci,id=vd0,addr=0x4,chardev=vd0-char,a-text=x,,y=z,b-on=on,"
                          "c-big=18446744073709551615,num-queues=4"));
}

TEST(CommandLine, EscapesCommasInPaths) {
  MachineSpec spec = plain();
  spec.run_dir = "/run/a,b";
  spec.devices = {virtio_disk("vd0")};
  spec.devices[0].image_path = "/images/a,b.raw";
  const auto argv = arguments(spec);
  EXPECT_THAT(values_of(argv, "-chardev"), Contains("socket,id=qmp0,path=/run/a,,b/q1.q,server=on,wait=off"));
  EXPECT_THAT(values_of(argv, "-blockdev"), Contains(HasSubstr("filename=/images/a,,b.raw,")));
}

TEST(CommandLine, RefusesPropertiesADeviceCantTake) {
  for (const base::Json& value : {base::Json(nullptr), base::Json(1.5), base::Json::array({1}), base::Json::object()}) {
    MachineSpec spec = plain();
    spec.devices = {virtio_disk("vd0")};
    spec.devices[0].props = {{"discard", value}};
    const auto error = refusal(spec);
    EXPECT_EQ(error.kind, ErrorKind::bad_input);
    EXPECT_THAT(error.describe(), HasSubstr("device vd0: property 'discard'"));
  }
  for (const char* name : {"id", "drive", "serial", "addr", "bus", "", "a,b", "a=b", "ünï"}) {
    MachineSpec spec = plain();
    spec.devices = {virtio_disk("vd0")};
    spec.devices[0].props = {{name, "x"}};
    EXPECT_EQ(refusal(spec).kind, ErrorKind::bad_input) << name;
  }
}

TEST(CommandLine, RefusesWhatNoQemuCanBe) {
  std::vector<std::pair<const char*, std::function<void(MachineSpec&)>>> faults = {
      {"unknown type 'virtio-blq'; did you mean 'virtio-blk'?",
       [](MachineSpec& spec) { (spec.devices = {virtio_disk("a")})[0].type = "virtio-blq"; }},
      {"is there twice",
       [](MachineSpec& spec) {
         spec.devices = {virtio_disk("a"), vhost_disk("a")};
       }},
      {"must start with a letter", [](MachineSpec& spec) { spec.devices = {vhost_disk("0,a")}; }},
      {"at most 20 bytes", [](MachineSpec& spec) { spec.devices = {virtio_disk(std::string(21, 'a'))}; }},
      {"needs a disk image", [](MachineSpec& spec) { (spec.devices = {virtio_disk("a")})[0].image_path = ""; }},
      {"needs a target", [](MachineSpec& spec) { (spec.devices = {vhost_disk("a")})[0].socket_path = ""; }},
      {"107", [](MachineSpec& spec) { spec.run_dir = "/" + std::string(120, 'x'); }},
      {"multiple of 1 MiB", [](MachineSpec& spec) { spec.memory_bytes = 12345; }},
      {"multiple of 8 KiB", [](MachineSpec& spec) { spec.memory_extra_bytes = 4096; }},
      {"at least 1", [](MachineSpec& spec) { spec.cpus = 0; }},
      {"unknown accelerator", [](MachineSpec& spec) { spec.accel = "auto"; }},
      {"more than 27 devices",
       [](MachineSpec& spec) {
         for (int i = 0; i < 28; ++i) spec.devices.push_back(vhost_disk("d" + std::to_string(i)));
       }},
  };
  for (const auto& [told, plant] : faults) {
    MachineSpec spec = plain();
    plant(spec);
    const auto error = refusal(spec);
    EXPECT_EQ(error.kind, ErrorKind::bad_input) << told;
    EXPECT_THAT(error.describe(), HasSubstr(told));
  }
}

TEST(DeviceTypes, AreNamedOnce) {
  auto names = device_type_names();
  EXPECT_THAT(names, Contains("virtio-blk"));
  EXPECT_THAT(names, Contains("vhost-user-blk"));
  std::sort(names.begin(), names.end());
  EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());
}

// Whose target connects to it: OVS and testpmd as clients.
TEST(CommandLine, a_vhost_user_disk_may_listen) {
  MachineSpec spec = plain();
  spec.devices = {vhost_disk("vd0")};
  spec.devices.front().listens = true;
  spec.devices.front().reconnect_ms = 100;  // means nothing to one that listens
  EXPECT_THAT(values_of(arguments(spec), "-chardev"),
              Contains("socket,id=" + chardev_of("vd0") + ",path=/run/x/vd0.s,server=on"));
}

TEST(DeviceTypes, SayWhatTheyNeedOfATarget) {
  EXPECT_EQ(endpoint_of("vhost-user-blk"), target::EndpointType::block);
  for (const char* type : {"virtio-blk", "virtio-net", "cpu", "no-such-type"}) {
    EXPECT_EQ(endpoint_of(type), std::nullopt) << type;
  }
  for (const char* type : {"vhost-user-blk", "virtio-blk", "scsi-disk"}) EXPECT_TRUE(needs_image(type)) << type;
  for (const char* type : {"virtio-net", "virtio-scsi", "memory"}) EXPECT_FALSE(needs_image(type)) << type;
}

// QEMU 11.1 knows no "reconnect" any more, 7.2 no "reconnect-ms".
TEST(CommandLine, a_vhost_user_disk_reconnects_in_the_words_of_its_build) {
  const auto chardev = [](const std::string& version, int reconnect_ms) {
    MachineSpec spec = plain();
    spec.version = version;
    spec.devices = {vhost_disk("vd0")};
    spec.devices.front().reconnect_ms = reconnect_ms;
    const std::vector<std::string> chardevs = values_of(arguments(spec), "-chardev");
    const auto own = std::find_if(chardevs.begin(), chardevs.end(),
                                  [](const std::string& text) { return text.find("vd0-char") != std::string::npos; });
    return own == chardevs.end() ? std::string() : *own;
  };
  for (const char* version : {"7.2.22", "10.0.2", "11.1.2", ""})
    EXPECT_THAT(chardev(version, 0), Not(HasSubstr("rec")));
  for (const char* version : {"", "5.2.0", "7.2.22", "9.1.3"}) {
    EXPECT_THAT(chardev(version, 100), HasSubstr(",reconnect=1")) << version;
    EXPECT_THAT(chardev(version, 2001), HasSubstr(",reconnect=3")) << version;
  }
  for (const char* version : {"9.2.0", "10.0.2", "11.1.2"}) {
    EXPECT_THAT(chardev(version, 100), HasSubstr(",reconnect-ms=100")) << version;
  }
}

}  // namespace
}  // namespace migsoak::hypervisor
