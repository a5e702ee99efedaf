#include "fixture.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

namespace migsoak::probes {
namespace {

TEST_F(ProbesTest, first_sight_makes_every_descriptor_a_birth) {
  const auto target = make_fixture("target:disk0");
  const record::Observation first = look({subject_of("target:disk0", 7, target->pid())});
  EXPECT_EQ(first.births.size(), 4u);  // 0, 1, 2 and the socket it is told what to do by
  EXPECT_TRUE(first.deaths.empty());
  EXPECT_EQ(sample(first, "target:disk0", "fd.total"), 4);
  EXPECT_TRUE(events(first, record::event_kind::kUnsettled).empty());

  const record::Observation second = look({subject_of("target:disk0", 7, target->pid())});
  EXPECT_TRUE(second.births.empty());
  EXPECT_TRUE(second.deaths.empty());
  EXPECT_EQ(sample(second, "target:disk0", "fd.total"), 4);
}

TEST_F(ProbesTest, leaks_are_counted_by_kind) {
  const auto target = make_fixture("target:disk0");
  const Subject subject = subject_of("target:disk0", 1, target->pid());
  look({subject});
  for (int cycle = 1; cycle <= 3; ++cycle) {
    std::set<int> opened;
    for (int i = 0; i < 4; ++i) opened.insert(static_cast<int>(target->tell("eventfd")));
    const int memfd = static_cast<int>(target->tell("memfd guest-ram"));
    const record::Observation observation = look({subject});
    EXPECT_EQ(sample(observation, "target:disk0", "fd.eventfd"), 4 * cycle);
    EXPECT_EQ(sample(observation, "target:disk0", "fd.memfd"), cycle);
    EXPECT_EQ(sample(observation, "target:disk0", "fd.total"), 4 + 5 * cycle);
    ASSERT_EQ(observation.births.size(), 5u);
    EXPECT_TRUE(observation.deaths.empty());
    for (const record::DescriptorBirth& birth : observation.births) {
      EXPECT_EQ(birth.process_id, 1);
      EXPECT_EQ(birth.kind, birth.fd == memfd ? "memfd" : "eventfd");
      if (birth.fd != memfd) {
        EXPECT_EQ(opened.count(birth.fd), 1u);
      }
    }
    EXPECT_THAT(birth_detail(observation, 1, memfd), ::testing::HasSubstr("guest-ram"));
  }
}

TEST_F(ProbesTest, a_closed_descriptor_dies_once_and_its_kind_goes_to_zero) {
  const auto target = make_fixture("target:disk0");
  const Subject subject = subject_of("target:disk0", 1, target->pid());
  const int fd = static_cast<int>(target->tell("epoll"));
  EXPECT_EQ(sample(look({subject}), "target:disk0", "fd.epoll"), 1);
  target->tell(fmt::format("close {}", fd));
  const record::Observation after = look({subject});
  ASSERT_EQ(after.deaths.size(), 1u);
  EXPECT_EQ(after.deaths[0].fd, fd);
  EXPECT_EQ(after.deaths[0].process_id, 1);
  EXPECT_TRUE(after.births.empty());
  EXPECT_EQ(sample(after, "target:disk0", "fd.epoll"), 0);
  EXPECT_TRUE(look({subject}).deaths.empty());
}

// The count stays, the descriptor does not: only its identity tells.
TEST_F(ProbesTest, a_reused_number_is_a_death_and_a_birth) {
  const auto target = make_fixture("target:disk0");
  const Subject subject = subject_of("target:disk0", 1, target->pid());
  const int eventfd = static_cast<int>(target->tell("eventfd"));
  const int memfd = static_cast<int>(target->tell("memfd ram"));
  look({subject});
  target->tell(fmt::format("renew {}", eventfd));
  target->tell(fmt::format("close {}", memfd));
  ASSERT_EQ(target->tell("memfd ram"), memfd);
  const record::Observation after = look({subject});
  ASSERT_EQ(after.births.size(), 2u);
  ASSERT_EQ(after.deaths.size(), 2u);
  EXPECT_EQ(std::set<int>({after.births[0].fd, after.births[1].fd}), std::set<int>({eventfd, memfd}));
  EXPECT_EQ(std::set<int>({after.deaths[0].fd, after.deaths[1].fd}), std::set<int>({eventfd, memfd}));
}

TEST_F(ProbesTest, unix_sockets_name_their_peer) {
  const auto target = make_fixture("target:disk0");
  const auto qemu = make_fixture("qemu:a");
  const std::string path = run_dir_->path() + "/disk0.a0";
  expected_files_.insert(path);
  const int listening = static_cast<int>(target->tell("listen " + path));
  const int client = static_cast<int>(qemu->tell("connect " + path));
  const int server = static_cast<int>(target->tell(fmt::format("accept {}", listening)));
  const long pair = target->tell("socketpair");

  const record::Observation observation =
      look({subject_of("harness", 1, ::getpid()), subject_of("target:disk0", 2, target->pid()),
            subject_of("qemu:a", 3, qemu->pid())});
  EXPECT_EQ(birth_detail(observation, 2, listening), "unix listening disk0.a0");
  EXPECT_EQ(birth_detail(observation, 2, server), "unix peer=qemu:a");
  EXPECT_EQ(birth_detail(observation, 3, client), "unix peer=target:disk0");
  EXPECT_EQ(birth_detail(observation, 2, static_cast<int>(pair / 1000)), "unix peer=target:disk0");
  EXPECT_EQ(birth_detail(observation, 2, kFixtureFd), "unix peer=harness");
  EXPECT_EQ(sample(observation, "target:disk0", "fd.unix"), 5);
}

TEST_F(ProbesTest, tcp_sockets_are_told_from_unix_ones) {
  const base::UniqueFd listening(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::listen(listening.get(), 1), 0);  // binds to a free port
  const record::Observation observation = look({subject_of("harness", 1, ::getpid())});
  EXPECT_THAT(birth_detail(observation, 1, listening.get()), ::testing::StartsWith("tcp "));
  EXPECT_EQ(sample(observation, "harness", "fd.tcp"), 1);
}

TEST_F(ProbesTest, a_socket_whose_peer_hung_up_says_so) {
  const auto target = make_fixture("target:disk0");
  const long pair = target->tell("socketpair");
  target->tell(fmt::format("close {}", pair % 1000));
  const record::Observation observation = look({subject_of("target:disk0", 2, target->pid())});
  EXPECT_EQ(birth_detail(observation, 2, static_cast<int>(pair / 1000)), "unix peer=gone");
  // Its peer is the test, which is no subject here.
  EXPECT_EQ(birth_detail(observation, 2, kFixtureFd), "unix peer=other");
}

TEST_F(ProbesTest, a_new_generation_starts_from_nothing_and_the_old_ledger_is_dropped) {
  const auto qemu = make_fixture("qemu:a");
  const auto first = look({subject_of("qemu:a", 1, qemu->pid())});
  const auto again = look({subject_of("qemu:a", 2, qemu->pid())});  // exec: same pid, next process
  EXPECT_EQ(again.births.size(), first.births.size());
  for (const record::DescriptorBirth& birth : again.births) EXPECT_EQ(birth.process_id, 2);
  EXPECT_TRUE(again.deaths.empty());
  // Were the ledger of 1 kept, nothing would be born here.
  EXPECT_EQ(look({subject_of("qemu:a", 1, qemu->pid())}).births.size(), first.births.size());
}

// The harness looks at itself: what it opens to look must not appear.
TEST_F(ProbesTest, looking_at_ourselves_leaves_no_trace) {
  const Subject harness = subject_of("harness", 1, ::getpid());
  const auto first = look({harness});
  for (const record::DescriptorBirth& birth : first.births) {
    EXPECT_THAT(birth.detail, ::testing::Not(::testing::StartsWith("/proc/")));
  }
  for (int i = 0; i < 5; ++i) {
    const auto next = look({harness});
    EXPECT_TRUE(next.births.empty());
    EXPECT_TRUE(next.deaths.empty());
    EXPECT_EQ(sample(next, "harness", "fd.total"), sample(first, "harness", "fd.total"));
  }
}

}  // namespace
}  // namespace migsoak::probes
