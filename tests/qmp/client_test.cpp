#include "qmp/client.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scripted_peer.h"

namespace migsoak::qmp {
namespace {

using base::Deadline;
using base::ErrorKind;
using base::Json;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

Deadline soon() {
  return Deadline::in(seconds(10));
}

class ClientTest : public ::testing::Test {
 protected:
  proc::Reactor reactor_;
  Client client_{reactor_};
};

TEST_F(ClientTest, NegotiatesAndExecutes) {
  ScriptedPeer peer([](PeerSocket& socket) {
    socket.write_line(kGreeting);
    const Json negotiation = socket.read_command();
    EXPECT_EQ(negotiation.value("execute", ""), "qmp_capabilities");
    socket.answer(negotiation);
    const Json command = socket.read_command();
    EXPECT_EQ(command.value("execute", ""), "query-status");
    EXPECT_FALSE(command.contains("arguments"));
    socket.answer(command, {{"running", true}});
  });
  ASSERT_TRUE(client_.connect(peer.path(), soon()));
  EXPECT_TRUE(client_.connected());
  const auto reply = client_.execute("query-status", Json::object(), soon());
  ASSERT_TRUE(reply) << reply.error().describe();
  EXPECT_EQ((*reply)["running"], true);
  EXPECT_EQ(client_.protocol_error(), "");
}

TEST_F(ClientTest, PipelinesAndMatchesByIdInAnyOrder) {
  ScriptedPeer peer([](PeerSocket& socket) {
    socket.negotiate();
    const Json first = socket.read_command(), second = socket.read_command(), third = socket.read_command();
    socket.answer(third, "three");
    socket.answer(first, "one");
    socket.write_line(base::dump_json(
        {{"error", {{"class", "GenericError"}, {"desc", "no\nsuch"}}}, {"id", second.value("id", Json())}}));
    socket.read_command();
  });
  // Queued before there is a connection, behind the negotiation.
  client_.begin_connect(peer.path());
  const auto first = client_.send("one"), second = client_.send("two"), third = client_.send("three");
  ASSERT_TRUE(client_.wait_connected(soon()));
  EXPECT_EQ(client_.take_reply(first, soon()).value(), "one");
  EXPECT_TRUE(client_.replied(third));
  EXPECT_EQ(client_.take_reply(third, soon()).value(), "three");
  const auto refused = client_.take_reply(second, soon());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::subject);
  EXPECT_EQ(refused.error().message, "GenericError: no\\x0asuch") << "hostile text is escaped";
}

TEST_F(ClientTest, WaitsForASocketThatIsNotThereYet) {
  const std::string path = "/tmp/migsoak-qmp-absent/q";
  const auto result = client_.connect(path, Deadline::in(milliseconds(50)));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, ErrorKind::timeout);
  EXPECT_THAT(result.error().message, HasSubstr("nothing listens on"));
  bool asked = false;
  const auto given_up = client_.connect(path, soon(), [&] { return asked = true; });
  ASSERT_FALSE(given_up);
  EXPECT_TRUE(asked);
  EXPECT_EQ(given_up.error().kind, ErrorKind::subject);
}

TEST_F(ClientTest, CollectsEvents) {
  ScriptedPeer peer([](PeerSocket& socket) {
    socket.negotiate();
    socket.write_line(R"({"event": "STOP", "timestamp": {"seconds": 1, "microseconds": 2}})");
    socket.write_line(R"({"event": "MIGRATION", "data": {"status": "active"}})");
    socket.answer(socket.read_command());
    socket.read_command();
  });
  ASSERT_TRUE(client_.connect(peer.path(), soon()));
  ASSERT_TRUE(client_.execute("anything", Json::object(), soon()));
  EXPECT_TRUE(client_.has_event("STOP"));
  EXPECT_TRUE(client_.has_event("MIGRATION", "status", "active"));
  EXPECT_FALSE(client_.has_event("MIGRATION", "status", "completed"));
  EXPECT_FALSE(client_.has_event("RESUME"));
  const auto events = client_.take_events();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].name, "STOP");
  EXPECT_FALSE(client_.has_event("STOP"));
}

TEST_F(ClientTest, BoundsTheEventInboxAndKeepsTheLatest) {
  ScriptedPeer peer([](PeerSocket& socket) {
    socket.negotiate();
    std::string flood;
    for (int i = 0; i < 12'000; ++i)
      flood += R"({"event": "NOISE"})"
               "\n";
    socket.write(flood);
    socket.write_line(R"({"event": "RESUME"})");
    socket.answer(socket.read_command());
    socket.read_command();
  });
  ASSERT_TRUE(client_.connect(peer.path(), soon()));
  ASSERT_TRUE(client_.execute("anything", Json::object(), soon()));
  EXPECT_TRUE(client_.has_event("RESUME"));
  EXPECT_EQ(client_.take_events().size(), 10'000u);
}

TEST_F(ClientTest, BoundsTheBytesOfTheEventInbox) {
  ScriptedPeer peer([](PeerSocket& socket) {
    socket.negotiate();
    const std::string big(3u << 20, 'x');
    for (int i = 0; i < 13; ++i) socket.write_line(R"({"event": "BIG", "data": {"x": ")" + big + R"("}})");
    socket.answer(socket.read_command());
    socket.read_command();
  });
  ASSERT_TRUE(client_.connect(peer.path(), soon()));
  ASSERT_TRUE(client_.execute("anything", Json::object(), Deadline::in(seconds(60))));
  EXPECT_LE(client_.take_events().size(), 11u);
}

TEST_F(ClientTest, PassesADescriptor) {
  ScriptedPeer peer([](PeerSocket& socket) {
    socket.negotiate();
    const Json command = socket.read_command();
    char byte = 0;
    const bool same = socket.descriptor.valid() && ::read(socket.descriptor.get(), &byte, 1) == 1 && byte == 'x';
    socket.answer(command, same);
    socket.read_command();
  });
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  base::UniqueFd read_end(ends[0]);
  const base::UniqueFd write_end(ends[1]);
  ASSERT_EQ(::write(write_end.get(), "x", 1), 1);
  client_.begin_connect(peer.path());
  const auto id = client_.send("getfd", {{"fdname", "f"}}, read_end.get());
  read_end.reset();  // borrowed, and closed before it can have been sent
  const auto reply = client_.take_reply(id, soon());
  ASSERT_TRUE(reply) << reply.error().describe();
  EXPECT_EQ(*reply, true);
}

// What a peer may send instead of QMP, and what of it must be told.
struct Nonsense {
  const char* name;
  std::string bytes;
  const char* told;
};
class NonsenseTest : public ClientTest, public ::testing::WithParamInterface<Nonsense> {};

TEST_P(NonsenseTest, IsAProtocolErrorAndATypedFailure) {
  ScriptedPeer peer([bytes = GetParam().bytes](PeerSocket& socket) {
    socket.negotiate();
    socket.read_command();
    socket.write(bytes);
    socket.read_command();
  });
  ASSERT_TRUE(client_.connect(peer.path(), soon()));
  const auto reply = client_.execute("query-status", Json::object(), soon());
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().kind, ErrorKind::subject);
  EXPECT_THAT(client_.protocol_error(), HasSubstr(GetParam().told));
  EXPECT_LT(client_.protocol_error().size(), 600u);
  EXPECT_FALSE(client_.connected());
  const auto later = client_.execute("query-status", Json::object(), soon());
  ASSERT_FALSE(later);
  EXPECT_EQ(later.error().kind, ErrorKind::subject);
}

INSTANTIATE_TEST_SUITE_P(Kinds, NonsenseTest,
                         ::testing::Values(Nonsense{"garbage", "\x01\xff\x1b[31mgarbage\n",
                                                    "not a JSON object: \\x01\\xff\\x1b[31mgarbage"},
                                           Nonsense{"array", "[1]\n", "not a JSON object"},
                                           Nonsense{"deep", std::string(100'000, '[') + "\n", "not a JSON object"},
                                           Nonsense{"unknown_id",
                                                    R"({"return": {}, "id": 4711})"
                                                    "\n",
                                                    "was not sent"},
                                           Nonsense{"negative_id",
                                                    R"({"return": {}, "id": -1})"
                                                    "\n",
                                                    "without our id"},
                                           Nonsense{"text_id",
                                                    R"({"return": {}, "id": "x"})"
                                                    "\n",
                                                    "without our id"},
                                           Nonsense{"no_id",
                                                    R"({"error": {"class": "GenericError", "desc": "x"}})"
                                                    "\n",
                                                    "without our id"},
                                           Nonsense{"nameless_event",
                                                    R"({"event": 7})"
                                                    "\n",
                                                    "event without a name"},
                                           Nonsense{"neither",
                                                    R"({"hello": 1})"
                                                    "\n",
                                                    "neither reply nor event"},
                                           Nonsense{"huge_line", std::string((16u << 20) + 1, 'x'), "beyond 16 MiB"}),
                         [](const auto& test) { return std::string(test.param.name); });

TEST_F(ClientTest, RefusesAPeerThatIsNoQmp) {
  ScriptedPeer peer([](PeerSocket& socket) {
    socket.write_line("SSH-2.0-OpenSSH_9.2");
    socket.read_command();
  });
  const auto result = client_.connect(peer.path(), soon());
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, ErrorKind::subject);
  EXPECT_THAT(client_.protocol_error(), HasSubstr("SSH-2.0"));
}

TEST_F(ClientTest, TellsASilentPeerFromAnAbsentOne) {
  ScriptedPeer peer([](PeerSocket& socket) { socket.read_command(); });
  const auto result = client_.connect(peer.path(), Deadline::in(milliseconds(100)));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, ErrorKind::timeout);
  EXPECT_THAT(result.error().message, HasSubstr("said nothing"));
}

TEST_F(ClientTest, FailsEverythingPendingWhenThePeerClosesInMidReply) {
  ScriptedPeer peer([](PeerSocket& socket) {
    socket.negotiate();
    socket.read_command();
    socket.write(R"({"return": {"runn)");
  });
  ASSERT_TRUE(client_.connect(peer.path(), soon()));
  const auto first = client_.send("one"), second = client_.send("two");
  for (const auto id : {first, second}) {
    const auto reply = client_.take_reply(id, soon());
    ASSERT_FALSE(reply);
    EXPECT_EQ(reply.error().kind, ErrorKind::subject);
  }
  EXPECT_EQ(client_.end_reason(), "the peer closed it in the middle of a line");
  EXPECT_EQ(client_.protocol_error(), "") << "a crash is no breach of the protocol";
}

TEST_F(ClientTest, KeepsWhatThePeerSaidBeforeItClosed) {
  ScriptedPeer peer([](PeerSocket& socket) {
    socket.negotiate();
    socket.answer(socket.read_command(), "bye");
    socket.write_line(R"({"event": "SHUTDOWN"})");
  });
  ASSERT_TRUE(client_.connect(peer.path(), soon()));
  const auto id = client_.send("quit");
  reactor_.run_until([&] { return !client_.connected(); }, soon());
  EXPECT_EQ(client_.take_reply(id, soon()).value(), "bye");
  EXPECT_TRUE(client_.has_event("SHUTDOWN"));
}

TEST_F(ClientTest, TimesOutAndDropsTheLateAnswer) {
  ScriptedPeer peer([](PeerSocket& socket) {
    socket.negotiate();
    const Json slow = socket.read_command();
    const Json next = socket.read_command();  // sent after the first had timed out
    socket.answer(slow, "late");
    socket.answer(next, "prompt");
    socket.read_command();
  });
  ASSERT_TRUE(client_.connect(peer.path(), soon()));
  const auto reply = client_.execute("slow", Json::object(), Deadline::in(milliseconds(30)));
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().kind, ErrorKind::timeout);
  EXPECT_EQ(client_.execute("next", Json::object(), soon()).value(), "prompt");
  EXPECT_EQ(client_.protocol_error(), "");
}

TEST_F(ClientTest, SendsMoreThanTheSocketHolds) {
  ScriptedPeer peer([](PeerSocket& socket) {
    socket.negotiate();
    for (Json command = socket.read_command(); !command.is_null(); command = socket.read_command()) {
      socket.answer(command, command["arguments"]["text"].get<std::string>().size());
    }
  });
  ASSERT_TRUE(client_.connect(peer.path(), soon()));
  const std::string text(3u << 20, 'y');
  const auto first = client_.send("big", {{"text", text}}), second = client_.send("big", {{"text", "z"}});
  EXPECT_EQ(client_.take_reply(first, soon()).value(), text.size());
  EXPECT_EQ(client_.take_reply(second, soon()).value(), 1u);
}

TEST_F(ClientTest, GivesUpOnAPeerThatDoesNotRead) {
  std::atomic<bool> done{false};
  ScriptedPeer peer([&](PeerSocket& socket) {
    socket.negotiate();
    while (!done) std::this_thread::yield();
  });
  ASSERT_TRUE(client_.connect(peer.path(), soon()));
  const std::string text(1u << 20, 'y');
  for (int i = 0; i < 20; ++i) client_.send("big", {{"text", text}});
  EXPECT_FALSE(client_.connected());
  EXPECT_THAT(client_.end_reason(), HasSubstr("does not read"));
  done = true;
}

TEST_F(ClientTest, DestructionWithWorkInFlightIsHarmless) {
  ScriptedPeer peer([](PeerSocket& socket) {
    socket.negotiate();
    socket.read_command();
  });
  {
    Client other(reactor_);
    ASSERT_TRUE(other.connect(peer.path(), soon()));
    other.send("anything");
  }
  reactor_.poll();
}

}  // namespace
}  // namespace migsoak::qmp
