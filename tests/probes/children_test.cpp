// Pids that a fixture answers with are those of its PID namespace; the host's are found in its tree.
#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "fixture.h"

namespace migsoak::probes {
namespace {

namespace kind = record::event_kind;

class ChildrenTest : public ProbesTest {
 protected:
  // Waits until `count` children of `parent` are zombies (or are not).
  bool wait_children(pid_t parent, bool zombies, std::size_t count) {
    return wait_until([&] { return children(parent, zombies).size() == count; });
  }
  static std::vector<pid_t> children(pid_t parent, bool zombies) {
    std::vector<pid_t> found;
    for (const pid_t pid : proc::children_of(parent)) {
      const auto stat = proc::read_stat(pid);
      if (stat && (stat->state == 'Z') == zombies) found.push_back(pid);
    }
    return found;
  }
  bool wait_reparented(std::size_t count) {
    return wait_until([&] { return containment_->reparented().size() == count; });
  }
};

TEST_F(ChildrenTest, a_zombie_is_reported_once_with_its_parent) {
  const auto qemu = make_fixture("qemu:a");
  const Subject subject = subject_of("qemu:a", 3, qemu->pid());
  qemu->tell("zombie");
  ASSERT_TRUE(wait_children(qemu->pid(), true, 1));
  const record::Observation observation = look({subject});
  const auto found = events(observation, kind::kZombie);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].subject, "qemu:a");
  EXPECT_EQ(found[0].process_id, 3);
  EXPECT_EQ(found[0].detail["pid"], children(qemu->pid(), true).front());
  EXPECT_EQ(found[0].detail["parent_pid"], qemu->pid());
  EXPECT_EQ(found[0].detail["parent"], "qemu:a");
  EXPECT_EQ(found[0].detail["parent_command"], proc::command_of(qemu->pid()));
  EXPECT_FALSE(found[0].detail["command"].get<std::string>().empty());
  EXPECT_GE(found[0].detail["age_ms"].get<double>(), 0);
  EXPECT_EQ(sample(observation, "qemu:a", "zombies"), 1);
  EXPECT_EQ(sample(observation, "qemu:a", "children"), 0);

  const record::Observation second = look({subject});
  EXPECT_TRUE(events(second, kind::kZombie).empty());
  EXPECT_EQ(sample(second, "qemu:a", "zombies"), 1);

  qemu->tell("zombie");
  ASSERT_TRUE(wait_children(qemu->pid(), true, 2));
  const record::Observation third = look({subject});
  EXPECT_EQ(events(third, kind::kZombie).size(), 1u);
  EXPECT_EQ(sample(third, "qemu:a", "zombies"), 2);
}

TEST_F(ChildrenTest, a_zombie_that_is_waited_for_is_gone_from_the_count) {
  const auto qemu = make_fixture("qemu:a");
  const Subject subject = subject_of("qemu:a", 3, qemu->pid());
  const long zombie = qemu->tell("zombie");
  ASSERT_TRUE(wait_children(qemu->pid(), true, 1));
  EXPECT_EQ(sample(look({subject}), "qemu:a", "zombies"), 1);
  qemu->tell(fmt::format("reap {}", zombie));
  const auto after = look({subject});
  EXPECT_EQ(sample(after, "qemu:a", "zombies"), 0);
  EXPECT_TRUE(events(after, kind::kZombie).empty());
}

TEST_F(ChildrenTest, a_living_child_is_counted_and_no_orphan) {
  const auto target = make_fixture("target:disk0");
  const Subject subject = subject_of("target:disk0", 1, target->pid());
  EXPECT_EQ(sample(look({subject}), "target:disk0", "children"), 0);
  target->tell("child");
  const auto observation = look({subject});
  EXPECT_EQ(sample(observation, "target:disk0", "children"), 1);
  EXPECT_EQ(sample(observation, "target:disk0", "zombies"), 0);
  EXPECT_TRUE(observation.events.empty());
}

TEST_F(ChildrenTest, a_zombie_below_a_child_is_the_subjects_too) {
  const auto target = make_fixture("target:disk0");
  target->tell("family");
  const auto child = proc::children_of(target->pid());
  ASSERT_EQ(child.size(), 1u);
  const auto grandchild = proc::children_of(child[0]);
  ASSERT_EQ(grandchild.size(), 1u);
  ASSERT_EQ(::kill(grandchild[0], SIGKILL), 0);
  ASSERT_TRUE(wait_children(child[0], true, 1));
  const auto observation = look({subject_of("target:disk0", 1, target->pid())});
  const auto found = events(observation, kind::kZombie);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].subject, "target:disk0");
  EXPECT_EQ(found[0].detail["parent_pid"], child[0]);
  EXPECT_EQ(sample(observation, "target:disk0", "children"), 1);
}

TEST_F(ChildrenTest, a_process_seen_below_its_parent_is_traced_after_its_parent_died) {
  const auto target = make_fixture("target:disk0");
  const Subject subject = subject_of("target:disk0", 9, target->pid());
  target->tell("family");
  const pid_t child = proc::children_of(target->pid()).at(0);
  const pid_t grandchild = proc::children_of(child).at(0);
  record::Observation before;
  Scene scene = scene_of({subject});
  look_before_teardown(scene, state_, before);
  EXPECT_TRUE(before.events.empty());
  EXPECT_TRUE(before.samples.empty());

  ASSERT_EQ(::kill(child, SIGKILL), 0);
  ASSERT_TRUE(wait_reparented(1));
  const auto observation = look({subject});
  const auto found = events(observation, kind::kOrphan);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].subject, "target:disk0");
  EXPECT_EQ(found[0].process_id, 9);
  EXPECT_EQ(found[0].detail["pid"], grandchild);
  EXPECT_EQ(found[0].detail["descends_from"], "target:disk0");
  EXPECT_EQ(found[0].detail["reparented"], true);
  EXPECT_GE(found[0].detail["age_ms"].get<double>(), 0);
  EXPECT_TRUE(events(look({subject}), kind::kOrphan).empty()) << "once per process";
}

// setsid, double fork, empty environment, never seen by any look: only the mark it inherited tells.
TEST_F(ChildrenTest, a_daemon_without_a_past_is_traced_by_its_mark) {
  const auto target = make_fixture("target:disk0");
  const auto qemu = make_fixture("qemu:a");
  const Subject target_subject = subject_of("target:disk0", 1, target->pid());
  const Subject qemu_subject = subject_of("qemu:a", 2, qemu->pid());
  adopt(state_, target_subject);
  adopt(state_, qemu_subject);
  qemu->tell("left-behind");
  std::vector<record::Event> found;
  ASSERT_TRUE(wait_until([&] {
    const std::vector<Subject> subjects{subject_of("harness", 3, ::getpid()), target_subject, qemu_subject};
    found = events(look(subjects), kind::kOrphan);
    return !found.empty();
  }));
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].subject, "qemu:a");
  EXPECT_EQ(found[0].process_id, 2);
  EXPECT_FALSE(found[0].detail["command"].get<std::string>().empty());
}

TEST_F(ChildrenTest, an_orphan_is_traced_when_its_ancestor_is_long_gone) {
  auto qemu = make_fixture("qemu:a");
  adopt(state_, subject_of("qemu:a", 5, qemu->pid()));
  qemu->tell("left-behind");
  ASSERT_TRUE(wait_reparented(1));
  qemu.reset();
  const auto found = events(look({}), kind::kOrphan);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].subject, "qemu:a");
  EXPECT_EQ(found[0].process_id, 5);
}

// All lanes of a run have one guardian.
TEST_F(ChildrenTest, what_another_lane_has_started_is_told_there) {
  const auto qemu = make_fixture("qemu:a");
  ProbeState other(1);
  adopt(other, subject_of("qemu:a", 5, qemu->pid()));
  qemu->tell("left-behind");
  ASSERT_TRUE(wait_reparented(1));
  EXPECT_TRUE(events(look({}), kind::kOrphan).empty());
  record::Observation there;
  Scene scene = scene_of({});
  run_probes(scene, other, there);
  const auto found = events(there, kind::kOrphan);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].process_id, 5);
}

TEST_F(ChildrenTest, without_a_mark_the_environment_is_asked) {
  auto target = make_fixture("target:disk0@b");
  target->tell("child");
  ASSERT_EQ(proc::children_of(target->pid()).size(), 1u);
  target.reset();  // never looked at
  ASSERT_TRUE(wait_reparented(1));
  const auto found = events(look({}), kind::kOrphan);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].subject, "target:disk0@b");
}

TEST_F(ChildrenTest, the_known_processes_of_the_harness_are_neither) {
  const auto target = make_fixture("target:disk0");
  const auto other = make_fixture("target:disk1");
  ASSERT_EQ(::kill(other->pid(), SIGKILL), 0);
  ASSERT_TRUE(wait_until([&] {
    const auto stat = proc::read_stat(other->pid());
    return !stat || stat->state == 'Z';
  }));
  known_.insert(other->pid());
  const auto observation = look({subject_of("harness", 1, ::getpid()), subject_of("target:disk0", 2, target->pid())});
  EXPECT_TRUE(events(observation, kind::kZombie).empty());
  EXPECT_TRUE(events(observation, kind::kOrphan).empty());
  EXPECT_EQ(sample(observation, "harness", "zombies"), 0);
}

TEST_F(ChildrenTest, a_child_the_harness_forgot_is_the_harnesss_zombie) {
  if (containment_->level() == proc::ContainmentLevel::marker) {
    GTEST_SKIP() << "a subreaper can't tell its own dead children from adopted ones";
  }
  pid_t forgotten = 0;
  containment_->on_spawner_thread([&] {
    forgotten = ::fork();
    if (forgotten == 0) ::_exit(0);
  });
  ASSERT_GT(forgotten, 0);
  ASSERT_TRUE(wait_until([&] {
    const auto stat = proc::read_stat(forgotten);
    return stat && stat->state == 'Z';
  }));
  const auto found = events(look({subject_of("harness", 1, ::getpid())}), kind::kZombie);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].subject, "harness");
  EXPECT_EQ(found[0].detail["pid"], forgotten);
  ::waitpid(forgotten, nullptr, 0);
}

}  // namespace
}  // namespace migsoak::probes
