// A QEMU that refuses what the readers ask, or answers something else: said, never passed over.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "hypervisor/config_reader.h"
#include "hypervisor/device_tree_reader.h"
#include "hypervisor/device_tree_text.h"
#include "qmp/client.h"
#include "qmp/scripted_peer.h"

namespace migsoak::hypervisor {
namespace {

using base::Json;
using ::testing::HasSubstr;

// Command, or the human monitor's line -> the answer; null: an error of the class CommandNotFound.
using Answer = std::function<Json(const std::string& command)>;

Json good_answer(const std::string& command) {
  if (command == "query-pci") {
    const Json id = {{"vendor", 0x1af4}, {"device", 0x1001}};
    const Json disk = {{"bus", 0}, {"slot", 4}, {"function", 0}, {"qdev_id", "vd0"}, {"regions", Json::array()},
                       {"id", id}};
    return {{{"bus", 0}, {"devices", {disk}}}};
  }
  if (command == "x-query-virtio")
    return {{{"path", "/machine/peripheral/vd0/virtio-backend"}, {"name", "virtio-blk"}}};
  if (command == "x-query-virtio-queue-status") return {{"vring-num", 256}, {"vring-num-default", 256}};
  if (command == "qom-get") return 256;
  if (command.rfind("i /w", 0) == 0) return "portl[0x0cfc] = 0x00001af4\r\n";
  return "";
}

class MissedReads : public testing::Test {
 protected:
  void answer_with(const Answer& answer) {
    peer_ = std::make_unique<qmp::ScriptedPeer>([answer](qmp::PeerSocket& socket) {
      socket.negotiate();
      for (;;) {
        const Json command = socket.read_command();
        if (command.is_null()) return;
        std::string name = command.value("execute", "");
        if (name == "human-monitor-command") name = command["arguments"].value("command-line", "");
        const Json result = answer(name);
        if (!result.is_null()) {
          socket.answer(command, result);
          continue;
        }
        const Json error = {{"class", "CommandNotFound"}, {"desc", "The command " + name + " has not been found"}};
        socket.write_line(base::dump_json({{"error", error}, {"id", command.value("id", Json())}}));
      }
    });
    ASSERT_TRUE(client_.connect(peer_->path(), soon()));
  }
  static base::Deadline soon() { return base::Deadline::in(std::chrono::seconds(20)); }
  std::unique_ptr<ConfigReading> read(const Answer& answer) {
    answer_with(answer);
    auto reading = reader_.begin(client_, {ReadPoint::source, "qemu:a", 7, "a"});
    const auto documents = reading->finish(soon());
    EXPECT_TRUE(documents) << documents.error().describe();
    return reading;
  }

  proc::Reactor reactor_;
  qmp::Client client_{reactor_};
  ConfigReader reader_;
  std::unique_ptr<qmp::ScriptedPeer> peer_;
};

TEST_F(MissedReads, NothingIsMissedOfAQemuThatAnswers) {
  EXPECT_TRUE(read(good_answer)->missed().empty());
}

TEST_F(MissedReads, ABuildThatDoesNotTellOfVirtqueuesIsNoFailure) {
  EXPECT_TRUE(
      read([](const std::string& command) { return command == "x-query-virtio" ? Json() : good_answer(command); })
          ->missed()
          .empty());
}

// One that has told of them since 7.2 and does not any more.
TEST_F(MissedReads, ABuildThatHasToTellOfVirtqueuesAndDoesNot) {
  answer_with([](const std::string& command) { return command == "x-query-virtio" ? Json() : good_answer(command); });
  ConfigReadRequest request{ReadPoint::source, "qemu:a", 7, "a"};
  request.tells_virtqueues = true;
  const auto reading = reader_.begin(client_, request);
  ASSERT_TRUE(reading->finish(soon()));
  ASSERT_EQ(reading->missed().size(), 1U);
  EXPECT_EQ(reading->missed()[0].read, "virtqueues");
}

TEST_F(MissedReads, NoPortsMeanNoBytes) {
  const auto reading = read([](const std::string& command) -> Json {
    return command.rfind("i /w", 0) == 0 ? Json("unknown command: 'i'\r\n") : good_answer(command);
  });
  ASSERT_EQ(reading->missed().size(), 1U);
  EXPECT_EQ(reading->missed()[0].read, "config-space");
}

TEST_F(MissedReads, AFunctionOfWhichAWordIsMissing) {
  int reads = 0;
  const auto reading = read([&reads](const std::string& command) -> Json {
    return command.rfind("i /w", 0) == 0 && ++reads == 20 ? Json("garbage") : good_answer(command);
  });
  ASSERT_EQ(reading->missed().size(), 1U);
  EXPECT_EQ(reading->missed()[0].read, "config-space");
  EXPECT_THAT(reading->missed()[0].why, HasSubstr("0000:00:04.0"));
}

TEST_F(MissedReads, QueuesThatAreNotTold) {
  const auto reading = read([](const std::string& command) -> Json {
    return command == "x-query-virtio-queue-status" ? Json() : good_answer(command);
  });
  ASSERT_EQ(reading->missed().size(), 1U);
  EXPECT_EQ(reading->missed()[0].read, "virtqueues");
  EXPECT_THAT(reading->missed()[0].why, HasSubstr("vd0"));
}

// The human monitor answers with a sentence, which is no tree.
TEST_F(MissedReads, ASentenceIsNoTree) {
  answer_with([](const std::string& command) -> Json {
    if (command == "info qom-tree") return "/machine (pc-machine)\r\n";
    return "unknown command: 'info qtree'\r\n";
  });
  DeviceTreeReader reader;
  const auto documents = reader.finish(reader.begin(client_, "qemu:a", 7, "arrived"), soon());
  ASSERT_FALSE(documents);
  EXPECT_EQ(documents.error().kind, base::ErrorKind::subject);
  EXPECT_THAT(documents.error().describe(), HasSubstr("not a tree: unknown command: 'info qtree'"));
}

// Firmware decides it, so before a load it is another one than after.
TEST(DeviceTreeText, WhereFirmwarePutsThingsStandsInNoTree) {
  const auto tree = [](const std::string& property, const std::string& value) {
    return parse_device_tree("bus: main-system-bus\n  type System\n  dev: some-device, id \"\"\n    " + property +
                                 " = " + value + "\n    pci-hole64-size = 34359738368 (32 GiB)\n",
                             "/machine (pc-q35-7.2-machine)\n");
  };
  EXPECT_EQ(tree("MCFG", "2952790016 (0xb0000000)"), tree("MCFG", "-1 (0xffffffffffffffff)"));
  EXPECT_EQ(tree("smb_io_base", "1792 (0x700)"), tree("smb_io_base", "45312 (0xb100)"));
  EXPECT_EQ(tree("busnr", "0 (0x0)"), tree("busnr", "7 (0x7)"));
  EXPECT_NE(tree("port", "1"), tree("port", "2"));
}

}  // namespace
}  // namespace migsoak::hypervisor
