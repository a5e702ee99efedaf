// The channel against scripted peers on real sockets.
#include "guest/channel.h"

#include <gmock/gmock.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>

#include "guest/console.h"
#include "guest/line_frame.h"
#include "guest/scripted_agent.h"

namespace migsoak::guest {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using namespace std::chrono_literals;

base::Deadline soon() {
  return base::Deadline::in(20s);
}

class ChannelTest : public ::testing::Test {
 protected:
  ChannelTest() {
    std::string folder = (std::filesystem::temp_directory_path() / "migsoak-channel-XXXXXX").string();
    EXPECT_NE(mkdtemp(folder.data()), nullptr);
    folder_ = folder;
  }
  ~ChannelTest() override { std::filesystem::remove_all(folder_); }

  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  // A QEMU with the guest's channel on it; returns the stream.
  int attach(ScriptedAgent& agent, const std::string& name) {
    const auto stream = channel_.attach(path(name), soon());
    EXPECT_TRUE(stream);
    agent.accept();
    return stream ? *stream : -1;
  }
  void wait_until(const std::function<bool()>& predicate) {
    EXPECT_EQ(reactor_.run_until(predicate, soon()), proc::Wait::ready);
  }

  proc::Reactor reactor_;
  GuestChannel channel_{reactor_};
  std::string folder_;
};

TEST_F(ChannelTest, SaysHelloAfterTheAgentHasBooted) {
  ScriptedAgent agent(path("a"));
  attach(agent, "a");
  reactor_.poll();
  EXPECT_THAT(agent.heard(), IsEmpty()) << "a booting guest must not be talked to";
  agent.say_line("B");
  // Answering from inside the wait: the predicate runs between handlers.
  bool answered = false;
  std::thread peer([&] {
    for (int i = 0; i < 2000 && !answered; ++i) {
      for (const std::string& line : agent.heard()) {
        const std::string id = line.substr(2, line.find(' ', 2) - 2);
        agent.say_line("A " + id + R"( 1 2 {"ok":true,"agent_version":"1","kernel":"6.1",)");
        agent.say_line("H 1 1");
        agent.say_line("A " + id + R"( 2 2 "boot_ms":1500.5,"disks":["vd0","vd1"]})");
        answered = true;
      }
      std::this_thread::sleep_for(1ms);
    }
  });
  const auto hello = channel_.wait_hello(soon());
  peer.join();
  ASSERT_TRUE(hello) << hello.error().describe();
  EXPECT_EQ(hello->kernel, "6.1");
  EXPECT_DOUBLE_EQ(hello->boot_ms, 1500.5);
  EXPECT_THAT(hello->disks, ElementsAre("vd0", "vd1"));
  EXPECT_THAT(channel_.take_protocol_errors(), IsEmpty());
}

TEST_F(ChannelTest, FollowsTheGuestOverASwitchOver) {
  ScriptedAgent source(path("a"));
  ScriptedAgent destination(path("b"));
  const int old_stream = attach(source, "a");
  const int new_stream = attach(destination, "b");
  const std::string cut = frame_line("H 2 20");
  // All of it is there before the reactor looks: the new stream's handler may run first.
  destination.say(cut.substr(5) + frame_line("H 3 30"));
  source.say(frame_line("H 1 10") + cut.substr(0, 5));
  const auto beat = channel_.wait_heartbeat(new_stream, soon());
  ASSERT_TRUE(beat) << beat.error().describe();
  EXPECT_EQ(beat->sequence, 2u);
  EXPECT_EQ(beat->stream, new_stream);
  wait_until([&] { return channel_.last_heartbeat()->sequence == 3; });
  EXPECT_EQ(channel_.heartbeats_on(old_stream), 1u);
  EXPECT_EQ(channel_.take_gap().lost, 0u);
  EXPECT_THAT(channel_.take_protocol_errors(), IsEmpty());
  source.hang_up();
  wait_until([&] { return !channel_.stream_open(old_stream); });
  channel_.detach(old_stream);
  EXPECT_TRUE(channel_.stream_open(new_stream));
}

TEST_F(ChannelTest, RepeatsARequestToTheDestinationWithTheSameId) {
  ScriptedAgent source(path("a"));
  ScriptedAgent destination(path("b"));
  attach(source, "a");
  const int new_stream = attach(destination, "b");
  ASSERT_TRUE(channel_.begin_verify(1, 2));
  const auto [id, command] = source.wait_request(reactor_);
  EXPECT_EQ(command, "verify disk_bytes_min=2 ram_bytes_min=1");
  EXPECT_FALSE(channel_.verify_answered());
  channel_.make_active(new_stream);
  const auto [same_id, same_command] = destination.wait_request(reactor_);
  EXPECT_EQ(same_id, id);
  EXPECT_EQ(same_command, command);
  // Nobody answers: once a second it comes again.
  EXPECT_EQ(destination.wait_request(reactor_).first, id);
  destination.say_line("A " + id + R"( 1 1 {"ok":true,"ram":{"verified_bytes":7},"disks":[]})");
  const auto report = channel_.finish_verify(soon());
  ASSERT_TRUE(report) << report.error().describe();
  EXPECT_EQ(report->ram.verified_bytes, 7u);
  EXPECT_TRUE(report->ram.good());
}

TEST_F(ChannelTest, ASilentGuestIsATimeoutThatSaysSo) {
  ScriptedAgent agent(path("a"));
  attach(agent, "a");
  const auto answer = channel_.command("ping", base::Json::object(), base::Deadline::in(50ms));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, base::ErrorKind::timeout);
  EXPECT_THAT(answer.error().describe(), HasSubstr("no heartbeat ever"));
}

TEST_F(ChannelTest, AWaitEndsWhenTheLastQemuIsGone) {
  ScriptedAgent agent(path("a"));
  attach(agent, "a");
  agent.hang_up();
  const auto hello = channel_.wait_hello(soon());
  ASSERT_FALSE(hello);
  EXPECT_EQ(hello.error().kind, base::ErrorKind::subject);
}

TEST_F(ChannelTest, AHostileGuestIsBoundedAndEscaped) {
  ScriptedAgent agent(path("a"));
  attach(agent, "a");
  agent.say_line("H 1 1");
  agent.say(std::string(100'000, '\xff') + "\n");
  std::string rubbish;
  for (int i = 0; i < 300; ++i) rubbish += frame_line("X \x1b]0;pwned\x07");
  agent.say(rubbish);
  agent.say_line("A 1 1 1 {\"ok\":true}");  // nobody asked
  agent.say_line("H 1 1");                  // a heartbeat twice
  agent.say_line("H 3 1");
  wait_until([&] { return channel_.last_heartbeat() && channel_.last_heartbeat()->sequence == 3; });
  const std::vector<std::string> errors = channel_.take_protocol_errors();
  EXPECT_LE(errors.size(), 210u);
  for (const std::string& line : errors) {
    EXPECT_LE(line.size(), 210u);
    EXPECT_EQ(line.find_first_of("\x1b\x07\xff"), std::string::npos) << line;
  }
  EXPECT_THAT(errors, ::testing::Contains(HasSubstr("... and")));
  EXPECT_THAT(channel_.take_protocol_errors(), IsEmpty());
}

TEST_F(ChannelTest, AnAnswerThatIsNoObjectIsTheSubjectsFault) {
  ScriptedAgent agent(path("a"));
  attach(agent, "a");
  ASSERT_TRUE(channel_.begin_verify(1, 1));
  const auto [id, command] = agent.wait_request(reactor_);
  agent.say_line("A " + id + " 1 1 [[[[");
  const auto report = channel_.finish_verify(soon());
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().kind, base::ErrorKind::subject);
}

TEST_F(ChannelTest, AttachSaysWhatIsWrong) {
  const auto nobody = channel_.attach(path("nobody"), base::Deadline::in(30ms));
  ASSERT_FALSE(nobody);
  EXPECT_EQ(nobody.error().kind, base::ErrorKind::timeout);
  const auto too_long = channel_.attach(path(std::string(120, 'x')), soon());
  ASSERT_FALSE(too_long);
  EXPECT_EQ(too_long.error().kind, base::ErrorKind::bad_input);
}

TEST_F(ChannelTest, DestructionWithARequestUnderWayIsClean) {
  ScriptedAgent agent(path("a"));
  {
    GuestChannel channel(reactor_);
    ASSERT_TRUE(channel.attach(path("a"), soon()));
    agent.accept();
    ASSERT_TRUE(channel.begin_verify(1, 1));
    agent.say_line("H 1 1");
  }
  reactor_.poll();
}

TEST_F(ChannelTest, ConsoleKeepsALogOfBoundedSizeAndJoinsStreams) {
  ScriptedAgent source(path("a"));
  ScriptedAgent destination(path("b"));
  Console console(reactor_, path("console.log"), 300);
  ASSERT_TRUE(console.attach(path("a"), soon()));
  source.accept();
  ASSERT_TRUE(console.attach(path("b"), soon()));
  destination.accept();
  source.say("first\nKernel pa");
  destination.say("nic - not syncing: test\n");
  EXPECT_EQ(reactor_.run_until([&] { return console.panicked(); }, soon()), proc::Wait::ready);
  EXPECT_THAT(console.last_lines(), ElementsAre("first", "Kernel panic - not syncing: test"));
  EXPECT_THAT(console.take_alarm_lines(), SizeIs(1));
  for (int i = 0; i < 100; ++i) destination.say("more and more\n");
  destination.say("end\n");
  EXPECT_EQ(reactor_.run_until([&] { return console.last_lines().back() == "end"; }, soon()), proc::Wait::ready);
  EXPECT_LE(std::filesystem::file_size(path("console.log")), 360u);
}

}  // namespace
}  // namespace migsoak::guest
