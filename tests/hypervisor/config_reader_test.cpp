#include "hypervisor/config_reader.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <csignal>
#include <iostream>
#include <set>

#include "hypervisor/config_commands.h"
#include "pci/config_image.h"
#include "pci/fields.h"
#include "pci/virtio_config.h"
#include "real_qemu.h"

namespace migsoak::hypervisor {
namespace {

using record::ConfigFunction;
using record::ConfigSpace;
using ::testing::HasSubstr;

class ConfigReaderTest : public RealQemu {
 protected:
  MachineSpec with_disks(const std::string& instance, const std::string& machine, bool incoming) {
    MachineSpec spec = RealQemu::spec(instance, incoming);
    spec.machine = machine;
    spec.extra_args = {"-blockdev", "driver=null-co,node-name=n0", "-device",
                       "virtio-blk-pci,id=vd0,drive=n0,addr=0x4,queue-size=64"};
    return spec;
  }
  MachineSpec with_root_port(const std::string& instance, bool incoming) {
    MachineSpec spec = with_disks(instance, "q35", incoming);
    spec.extra_args.insert(spec.extra_args.end(),
                           {"-device", "pcie-root-port,id=rp1,bus=pcie.0,addr=0x8,chassis=1", "-blockdev",
                            "driver=null-co,node-name=n1", "-device", "virtio-blk-pci,id=vd1,drive=n1,bus=rp1"});
    return spec;
  }
  // The fields of its device configuration that may not change of themselves.
  static std::string what_it_is(const ConfigFunction& function) {
    const auto bytes = pci::virtio_config_from_hex(function.device_config);
    const std::string type = function.id == "nic0" ? "net" : "blk";
    std::string text;
    for (const auto& field : pci::virtio_config_fields(type)) {
      if (field.kind == pci::ConfigFieldKind::changes) continue;
      text += field.name() + ' ' + pci::virtio_config_value(field, bytes).value_or("none") + '\n';
    }
    return text;
  }
  // Until firmware has given the BARs of these devices their addresses and has them decoded; then paused. A device
  // behind a port comes after the port itself.
  void let_firmware_run(Machine& machine, const std::set<std::string>& ids = {"vd0"}) {
    const base::Deadline deadline = soon();
    for (;;) {
      const auto answer = machine.qmp().execute("query-pci", base::Json::object(), deadline);
      ASSERT_TRUE(answer) << answer.error().describe();
      const auto listed = parse_query_pci(*answer);
      ASSERT_TRUE(listed);
      const auto placed = std::count_if(listed->begin(), listed->end(), [&](const ListedFunction& one) {
        return ids.count(one.function.id) != 0 && !one.function.bars.empty() && one.function.bars.back().address != 0;
      });
      if (placed != static_cast<std::ptrdiff_t>(ids.size())) continue;
      ASSERT_TRUE(machine.qmp().execute("stop", base::Json::object(), deadline));
      return;
    }
  }
  std::string monitor(Machine& machine, const std::string& line) {
    const auto answer = machine.qmp().execute("human-monitor-command", {{"command-line", line}}, soon());
    return answer ? answer->get<std::string>() : answer.error().describe();
  }
  std::vector<record::Document> read(Machine& machine, ReadPoint point, bool all = false) {
    const auto before = base::Clock::now();
    auto reading = reader_.begin(machine.qmp(), {point, "qemu:a", 7, "a", all});
    auto documents = reading->finish(soon());
    EXPECT_TRUE(documents) << documents.error().describe();
    std::cout << reading->commands_sent() << " commands, " << base::milliseconds_between(before, base::Clock::now())
              << " ms\n";
    commands_ = reading->commands_sent();
    return documents ? *documents : std::vector<record::Document>{};
  }
  static ConfigSpace space_of(const std::vector<record::Document>& documents) {
    for (const record::Document& document : documents) {
      if (document.kind != record::document_kind::kConfigSpace) continue;
      auto space = record::config_space_from_json(document.content);
      EXPECT_TRUE(space);
      if (space) return *space;
    }
    ADD_FAILURE() << "no config-space document";
    return {};
  }
  static pci::ConfigImage image_of(const ConfigSpace& space, const std::string& path) {
    const ConfigFunction* function = space.find(path);
    if (function == nullptr || function->size == 0) {
      ADD_FAILURE() << path << " was not read";
      return pci::ConfigImage(pci::kConventionalBytes);
    }
    return *pci::from_hex(function->bytes, static_cast<std::size_t>(function->size));
  }

  ConfigReader reader_;
  int commands_ = 0;
};

TEST_F(ConfigReaderTest, AllFunctionsOfAQ35SourceAndItsLatchStays) {
  auto machine = raise(with_root_port("q1", false));
  ASSERT_TRUE(machine);
  let_firmware_run(*machine, {"vd0", "vd1"});
  monitor(*machine, "o /w 0xcf8 0x80001234");
  const auto documents = read(*machine, ReadPoint::source);
  EXPECT_THAT(monitor(*machine, "i /w 0xcf8"), HasSubstr("0x80001234"));
  const ConfigSpace space = space_of(documents);
  EXPECT_EQ(space.method, "ecam");
  EXPECT_EQ(documents[0].point, "source");
  EXPECT_EQ(documents[0].process_id, 7);

  const ConfigFunction* disk = space.find("0000:00:04.0");
  ASSERT_NE(disk, nullptr);
  EXPECT_EQ(disk->id, "vd0");
  EXPECT_EQ(disk->device, "1af4:1001");
  EXPECT_EQ(disk->address, "0000:00:04.0");
  ASSERT_FALSE(disk->bars.empty());
  EXPECT_EQ(disk->bars[0].kind, "io");
  EXPECT_EQ(disk->bars[0].size, 0x80u);
  const pci::ConfigImage image = image_of(space, "0000:00:04.0");
  EXPECT_EQ(image.u16(0), 0x1af4);
  EXPECT_EQ(pci::bars(image)[0].address, disk->bars[0].address) << "registers and query-pci agree";

  // Behind the port: all 4096 bytes, named by slots from the root.
  const ConfigFunction* behind = space.find("0000:00:08.0:00.0");
  ASSERT_NE(behind, nullptr);
  EXPECT_EQ(behind->id, "vd1");
  EXPECT_EQ(behind->size, 4096);
  EXPECT_NE(behind->address, "");
  EXPECT_EQ(space.find("0000:00:08.0")->id, "rp1");
  EXPECT_NE(space.find("0000:00:1f.2"), nullptr) << "what comes with the machine is read too";
}

TEST_F(ConfigReaderTest, AWaitingQ35IsReadThroughAndLeftAsItWas) {
  auto machine = raise(with_root_port("q1", true));
  ASSERT_TRUE(machine);
  const auto first = read(*machine, ReadPoint::destination);
  EXPECT_EQ(first[0].point, "destination");
  const ConfigSpace space = space_of(first);
  EXPECT_EQ(space.method, "ecam");
  const ConfigFunction* behind = space.find("0000:00:08.0:00.0");
  ASSERT_NE(behind, nullptr) << "bridges have no bus numbers yet";
  EXPECT_EQ(behind->id, "vd1");
  EXPECT_EQ(behind->address, "");
  EXPECT_EQ(behind->size, 4096);
  EXPECT_EQ(image_of(space, "0000:00:08.0:00.0").u16(2), 0x1042);
  // The images show no trace of the reading, and neither does the machine.
  EXPECT_EQ(image_of(space, "0000:00:00.0").u32(0x60) & 1, 0u);
  EXPECT_EQ(image_of(space, "0000:00:08.0").u32(0x18), 0u);
  EXPECT_THAT(monitor(*machine, "xp /1xw 0xb0000000"), HasSubstr("Cannot access memory"));
  EXPECT_THAT(monitor(*machine, "i /w 0xcf8"), HasSubstr("0x00000000"));
  const auto listed = machine->qmp().execute("query-pci", base::Json::object(), soon());
  ASSERT_TRUE(listed);
  const auto functions = parse_query_pci(*listed);
  ASSERT_TRUE(functions);
  for (const ListedFunction& function : *functions) EXPECT_EQ(function.secondary_bus, 0);
  EXPECT_EQ(read(*machine, ReadPoint::destination, true)[0].content, first[0].content);
}

// What lies behind a BAR: on a source where the guest's firmware has put it, on a destination through the window in
// configuration space, behind a port too. Nothing is left behind.
TEST_F(ConfigReaderTest, DeviceConfigurationOnBothEnds) {
  for (const char* board : {"q35", "pc"}) {
    reader_ = ConfigReader();
    const bool ports = std::string(board) == "q35";
    const auto made = [&](const std::string& instance, bool incoming) {
      MachineSpec spec = ports ? with_root_port(instance, incoming) : with_disks(instance, board, incoming);
      spec.extra_args.insert(
          spec.extra_args.end(),
          {"-netdev", "hubport,id=h0,hubid=0", "-device",
           "virtio-net-pci,id=nic0,netdev=h0,addr=0x6,rombar=0,mac=52:54:00:00:00:07,host_mtu=1400"});
      return raise(std::move(spec));
    };
    const auto source = made("q1", false);
    const auto destination = made("q2", true);
    ASSERT_TRUE(source && destination);
    let_firmware_run(*source,
                     ports ? std::set<std::string>{"vd0", "vd1", "nic0"} : std::set<std::string>{"vd0", "nic0"});
    const std::string before = monitor(*destination, "info pci");
    const ConfigSpace there = space_of(read(*destination, ReadPoint::destination));
    const ConfigSpace here = space_of(read(*source, ReadPoint::source));
    EXPECT_EQ(monitor(*destination, "info pci"), before);
    for (const char* path : {"0000:00:04.0", "0000:00:06.0", "0000:00:08.0:00.0"}) {
      const ConfigFunction* at_source = here.find(path);
      const ConfigFunction* at_destination = there.find(path);
      if (!ports && std::string(path) == "0000:00:08.0:00.0") continue;
      ASSERT_TRUE(at_source != nullptr && at_destination != nullptr) << board << ' ' << path;
      EXPECT_NE(at_source->device_config, "") << board << ' ' << path;
      EXPECT_EQ(what_it_is(*at_source), what_it_is(*at_destination)) << board << ' ' << path;
    }
    const auto bytes = pci::virtio_config_from_hex(there.find("0000:00:06.0")->device_config);
    std::string seen;
    for (const auto& field : pci::virtio_config_fields("net")) {
      const auto value = pci::virtio_config_value(field, bytes);
      if (field.field == "mac" || field.field == "mtu") seen += value.value_or("none") + ' ';
    }
    EXPECT_EQ(seen, "52:54:00:00:00:07 1400 ") << board;
    // Known by now: not again so soon.
    EXPECT_EQ(space_of(read(*source, ReadPoint::source)).find("0000:00:06.0")->device_config, "");
  }
}

TEST_F(ConfigReaderTest, BridgesBehindBridges) {
  MachineSpec spec = with_disks("q1", "pc", true);
  spec.extra_args.insert(spec.extra_args.end(), {"-device", "pci-bridge,id=br1,chassis_nr=1,addr=0x8", "-device",
                                                 "pci-bridge,id=br2,chassis_nr=2,bus=br1,addr=0x3", "-device",
                                                 "virtio-rng-pci,id=rng0,bus=br2,addr=0x5"});
  auto machine = raise(std::move(spec));
  ASSERT_TRUE(machine);
  const ConfigSpace space = space_of(read(*machine, ReadPoint::destination));
  EXPECT_EQ(space.method, "ports");
  const ConfigFunction* deep = space.find("0000:00:08.0:03.0:05.0");
  ASSERT_NE(deep, nullptr);
  EXPECT_EQ(deep->id, "rng0");
  EXPECT_EQ(image_of(space, deep->path).u16(2), 0x1005);
}

TEST_F(ConfigReaderTest, PcIsReadThroughItsPortsNowAndThen) {
  auto machine = raise(with_disks("q1", "pc", false));
  ASSERT_TRUE(machine);
  let_firmware_run(*machine);
  monitor(*machine, "o /w 0xcf8 0x80000010");
  const ConfigSpace first = space_of(read(*machine, ReadPoint::source));
  EXPECT_EQ(first.method, "ports");
  const pci::ConfigImage image = image_of(first, "0000:00:04.0");
  EXPECT_EQ(pci::bars(image)[0].address, first.find("0000:00:04.0")->bars[0].address);
  EXPECT_EQ(pci::capabilities(image).size(), 6u);

  // The next ones: BARs only; a device that was not there before at once.
  const ConfigSpace second = space_of(read(*machine, ReadPoint::source));
  EXPECT_LT(commands_, 12);
  EXPECT_EQ(second.find("0000:00:04.0")->size, 0);
  EXPECT_EQ(second.find("0000:00:04.0")->bars, first.find("0000:00:04.0")->bars);
  ASSERT_TRUE(machine->qmp().execute(
      "device_add", {{"driver", "virtio-rng-pci"}, {"id", "rng0"}, {"bus", "pci.0"}, {"addr", "0x6"}}, soon()));
  const ConfigSpace third = space_of(read(*machine, ReadPoint::source));
  EXPECT_EQ(third.find("0000:00:04.0")->size, 0);
  EXPECT_EQ(third.find("0000:00:06.0")->size, 256);
  EXPECT_EQ(space_of(read(*machine, ReadPoint::source, true)).find("0000:00:04.0")->size, 256);
  EXPECT_THAT(monitor(*machine, "i /w 0xcf8"), HasSubstr("0x80000010"));
}

TEST_F(ConfigReaderTest, PcIsReadAgainFunctionByFunctionOnBothSides) {
  auto source = raise(with_disks("q1", "pc", false));
  auto destination = raise(with_disks("q2", "pc", true));
  ASSERT_TRUE(source && destination);
  let_firmware_run(*source);
  const auto read_now = [this](Machine& machine, ReadPoint point) {
    std::set<std::string> paths;
    const ConfigSpace space = space_of(read(machine, point));
    for (const ConfigFunction& function : space.functions) {
      if (function.size > 0) paths.insert(function.path);
    }
    return paths;
  };
  const std::set<std::string> all = read_now(*destination, ReadPoint::destination);
  EXPECT_EQ(all.size(), 5u);
  EXPECT_EQ(read_now(*source, ReadPoint::source), all);
  std::set<std::string> again;
  for (int reading = 1; reading < 3 * static_cast<int>(all.size()); ++reading) {
    const auto paths = read_now(*destination, ReadPoint::destination);
    EXPECT_EQ(paths.size(), reading % 3 == 0 ? 1u : 0u) << "reading " << reading;
    EXPECT_EQ(read_now(*source, ReadPoint::source), paths) << "reading " << reading;
    again.insert(paths.begin(), paths.end());
  }
  EXPECT_EQ(again.size(), all.size() - 1) << "in turn";
  const auto last = read_now(*destination, ReadPoint::destination);
  again.insert(last.begin(), last.end());
  EXPECT_EQ(again, all);
}

TEST_F(ConfigReaderTest, VirtqueuesWithTheirProperty) {
  auto machine = raise(with_disks("q1", "q35", true));
  ASSERT_TRUE(machine);
  const auto documents = read(*machine, ReadPoint::destination);
  ASSERT_EQ(documents.size(), 2u);
  EXPECT_EQ(documents[1].kind, record::document_kind::kVirtqueues);
  const auto queues = record::virtqueues_from_json(documents[1].content);
  ASSERT_TRUE(queues);
  const record::VirtioDevice* disk = queues->find("vd0");
  ASSERT_NE(disk, nullptr);
  EXPECT_EQ(disk->type, "virtio-blk");
  EXPECT_EQ(disk->property, "queue-size");
  EXPECT_EQ(disk->property_value, 64);
  ASSERT_EQ(disk->queues.size(), 1u);
  EXPECT_EQ(disk->queues[0].size_default, 64);
}

TEST_F(ConfigReaderTest, OfARunningMachineOnlyWhatTouchesNothing) {
  auto machine = raise(with_disks("q1", "q35", false));
  ASSERT_TRUE(machine);
  auto reading = reader_.begin(machine->qmp(), {ReadPoint::source, "qemu:a", 1, "a", false, true});
  const auto documents = reading->finish(soon());
  ASSERT_TRUE(documents) << documents.error().describe();
  EXPECT_EQ(reading->commands_sent(), 1);
  ASSERT_EQ(documents->size(), 1u);
  const ConfigSpace space = space_of(*documents);
  EXPECT_EQ(space.method, "none");
  EXPECT_EQ(space.find("0000:00:04.0")->bars[0].size, 0x80u);
  EXPECT_EQ(space.find("0000:00:04.0")->size, 0);
}

TEST_F(ConfigReaderTest, InTheBackground) {
  auto machine = raise(with_disks("q1", "q35", true));
  ASSERT_TRUE(machine);
  auto reading = reader_.begin(machine->qmp(), {ReadPoint::destination, "qemu:a", 1, "a", false});
  EXPECT_FALSE(reading->done());
  reactor_.run_until(
      [&] {
        reading->advance();
        return reading->done();
      },
      soon());
  EXPECT_TRUE(reading->done());
  EXPECT_TRUE(reading->finish(base::Deadline::in(std::chrono::milliseconds(0))));
}

TEST_F(ConfigReaderTest, AMachineThatGoesAwayIsAnErrorNotAHang) {
  auto machine = raise(with_disks("q1", "q35", true));
  ASSERT_TRUE(machine);
  // Stopped first: it could have answered everything by the time it is killed.
  ASSERT_EQ(::kill(machine->qemu_pid(), SIGSTOP), 0);
  auto reading = reader_.begin(machine->qmp(), {ReadPoint::destination, "qemu:a", 1, "a", false});
  machine->kill();
  const auto documents = reading->finish(soon());
  ASSERT_FALSE(documents);
  EXPECT_EQ(documents.error().kind, base::ErrorKind::subject);
}

TEST(ConfigCommands, WhatTheMonitorMayAnswer) {
  EXPECT_EQ(parse_port("portl[0x0cfc] = 0xb0000001\r\n"), 0xb0000001u);
  EXPECT_EQ(parse_port("portl[0x0cf8] = 0000000000\r\n"), 0u);
  EXPECT_FALSE(parse_port("unknown command: 'i'\r\n"));
  EXPECT_FALSE(parse_port("portl[0x0cfc] = nonsense"));
  EXPECT_FALSE(parse_port(7));
  EXPECT_EQ(parse_physical("00000000b0000000: 0x29c08086 0x00000001\r\n00000000b0000008: 0x06000000\r\n").size(), 12u);
  EXPECT_EQ(parse_physical("00000000b0000000: 0x29c08086\r\n")[1], 0x80);
  EXPECT_TRUE(parse_physical("00000000b0000000: Cannot access memory\r\n").empty());
  EXPECT_TRUE(parse_physical("00000000b0000000: 0x29c08086 0x00\r\nb0000000: Cannot access memory\r\n").empty());
  EXPECT_EQ(config_address({1, 4, 2}, 0x10), 0x80012210u);
  EXPECT_EQ(ecam_address(0xb0000000, {1, 4, 2}), 0xb0122000u);
}

TEST(ConfigCommands, HostileQueryPci) {
  for (const char* text :
       {"{}", R"([{"devices":7}])", R"([{"devices":[7]}])", R"([{"devices":[{"bus":0,"slot":99,"function":0}]}])",
        R"([{"devices":[{"slot":1,"function":0}]}])"}) {
    EXPECT_FALSE(parse_query_pci(*base::parse_json(text))) << text;
  }
  base::Json deep = {{"bus", 0}, {"slot", 1}, {"function", 0}};
  for (int i = 0; i < 12; ++i) {
    deep = {{"bus", 0}, {"slot", 1}, {"function", 0}, {"pci_bridge", {{"devices", base::Json::array({deep})}}}};
  }
  EXPECT_FALSE(parse_query_pci(base::Json::array({{{"bus", 0}, {"devices", base::Json::array({deep})}}})));
}

}  // namespace
}  // namespace migsoak::hypervisor
