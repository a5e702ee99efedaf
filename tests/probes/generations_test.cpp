// A pid that execs: the fixture replaces its own image, as QEMU does in cpr-exec.
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include "fixture.h"

namespace migsoak::probes {
namespace {

namespace kind = record::event_kind;

class GenerationsTest : public ProbesTest {
 protected:
  // Replaces the image of `fixture`; it answers from the new one.
  static void exec(Fixture& fixture) {
    fixture.tell("exec");
    EXPECT_GT(fixture.tell("pid"), 0);
  }
  bool wait_zombies(pid_t parent, std::size_t count) {
    return wait_until([&] {
      std::size_t found = 0;
      for (const pid_t pid : proc::children_of(parent)) {
        const auto stat = proc::read_stat(pid);
        found += stat && stat->state == 'Z' ? 1 : 0;
      }
      return found == count;
    });
  }
  void look_before_exec(const Subject& subject, record::Observation& into) {
    Scene scene = scene_of({subject});
    look_before_teardown(scene, state_, into);
  }
  record::Observation look_at(std::int64_t iteration, const Subject& subject) {
    record::Observation observation;
    observation.iteration = iteration;
    Scene scene = scene_of({subject});
    run_probes(scene, state_, observation);
    return observation;
  }
};

TEST_F(GenerationsTest, what_survives_an_exec_is_told_from_what_the_new_image_opened) {
  const auto qemu = make_fixture("qemu:a");
  const int leaked = static_cast<int>(qemu->tell("eventfd"));
  const int closed = static_cast<int>(qemu->tell("eventfd"));
  const int ram = static_cast<int>(qemu->tell("memfd ram0"));
  const int lost = static_cast<int>(qemu->tell("memfd lost"));
  for (const int fd : {leaked, ram, lost}) qemu->tell(fmt::format("hand-down {}", fd));
  const Subject first = subject_of("qemu:a", 1, qemu->pid());
  look_at(3, first);

  exec(*qemu);
  EXPECT_EQ(qemu->tell("eventfd"), closed) << "the number, and the kernel's id, are free again";
  qemu->tell(fmt::format("map {}", ram));
  qemu->tell(fmt::format("close-on-exec {}", ram));  // as QEMU does with what it takes over by name
  const Subject second = subject_of("qemu:b", 2, qemu->pid());
  adopt_generation(state_, 1, second);
  const record::Observation observation = look_at(4, second);
  EXPECT_EQ(observation.births.size(), 8u) << "0, 1, 2, the fixture's socket, and four";
  EXPECT_TRUE(observation.deaths.empty()) << "the old instance's descriptors end with it";
  EXPECT_EQ(birth_detail(observation, 2, leaked),
            "eventfd kept over exec since iteration 3, not close-on-exec: anon_inode:[eventfd]");
  EXPECT_EQ(birth_detail(observation, 2, closed), "eventfd anon_inode:[eventfd]");
  EXPECT_EQ(birth_detail(observation, 2, ram), "memfd kept over exec since iteration 3, mapped: /memfd:ram0 (deleted)");
  EXPECT_EQ(birth_detail(observation, 2, lost),
            "memfd kept over exec since iteration 3, not mapped, not close-on-exec: /memfd:lost (deleted)");
  EXPECT_EQ(sample(observation, "qemu:b", "fd.eventfd"), 2);

  const record::Observation again = look_at(5, second);
  EXPECT_TRUE(again.births.empty()) << again.births.front().detail;
  EXPECT_TRUE(again.deaths.empty());
  qemu->tell(fmt::format("close {}", leaked));
  ASSERT_EQ(look_at(6, second).deaths.size(), 1u);
}

// Numbers, and the kernel's ids of eventfds, are handed out lowest-free: what is opened last before an exec may look
// like something that was closed a moment before.
TEST_F(GenerationsTest, what_is_left_open_at_the_exec_is_not_taken_for_an_older_one) {
  const auto qemu = make_fixture("qemu:a");
  const int number = static_cast<int>(qemu->tell("eventfd"));
  look_at(3, subject_of("qemu:a", 1, qemu->pid()));
  qemu->tell(fmt::format("close {}", number));
  ASSERT_EQ(qemu->tell("eventfd"), number);
  qemu->tell(fmt::format("hand-down {}", number));
  exec(*qemu);
  const Subject second = subject_of("qemu:b", 2, qemu->pid());
  adopt_generation(state_, 1, second);
  EXPECT_EQ(birth_detail(look_at(4, second), 2, number), "eventfd not close-on-exec: anon_inode:[eventfd]");
  exec(*qemu);
  const Subject third = subject_of("qemu:a", 3, qemu->pid());
  adopt_generation(state_, 2, third);
  EXPECT_EQ(birth_detail(look_at(5, third), 3, number),
            "eventfd kept over exec since iteration 4, not close-on-exec: anon_inode:[eventfd]");
}

// An exec after which nobody looked, because the iteration failed, is no gap in the ledger.
TEST_F(GenerationsTest, the_date_is_that_of_the_birth_over_many_execs) {
  const auto qemu = make_fixture("qemu:a");
  const int leaked = static_cast<int>(qemu->tell("memfd lost"));
  qemu->tell(fmt::format("hand-down {}", leaked));
  look_at(0, subject_of("qemu:a", 1, qemu->pid()));
  for (std::int64_t id = 2; id <= 5; ++id) {
    exec(*qemu);
    adopt_generation(state_, id - 1, subject_of("qemu:a", id, qemu->pid()));
    if (id == 3) continue;
    const auto observation = look_at(id, subject_of("qemu:a", id, qemu->pid()));
    EXPECT_EQ(birth_detail(observation, id, leaked),
              "memfd kept over exec since iteration 0, not mapped, not close-on-exec: /memfd:lost (deleted)");
  }
}

TEST_F(GenerationsTest, a_zombie_of_the_old_image_is_reported_once_and_as_its_child) {
  const auto qemu = make_fixture("qemu:a");
  const Subject first = subject_of("qemu:a", 1, qemu->pid());
  adopt(state_, first);
  qemu->tell("zombie");
  ASSERT_TRUE(wait_zombies(qemu->pid(), 1));
  record::Observation before;
  look_before_exec(first, before);
  ASSERT_EQ(events(before, kind::kZombie).size(), 1u);
  EXPECT_EQ(events(before, kind::kZombie)[0].detail["generation"], 0);
  EXPECT_EQ(events(before, kind::kZombie)[0].detail["seen_in_generation"], 0);

  exec(*qemu);
  const Subject second = subject_of("qemu:b", 2, qemu->pid());
  adopt_generation(state_, 1, second);
  const auto observation = look_at(1, second);
  EXPECT_TRUE(events(observation, kind::kZombie).empty()) << "it was reported";
  EXPECT_EQ(sample(observation, "qemu:b", "zombies"), 1) << "and is still there";
}

// Alive at the exec, dead afterwards: the image that would have waited is gone.
TEST_F(GenerationsTest, a_child_that_outlives_its_image_and_dies_is_the_old_images_zombie) {
  const auto qemu = make_fixture("qemu:a");
  const Subject first = subject_of("qemu:a", 1, qemu->pid());
  adopt(state_, first);
  qemu->tell("child");
  const pid_t child = proc::children_of(qemu->pid()).at(0);
  record::Observation before;
  look_before_exec(first, before);
  EXPECT_TRUE(before.events.empty());
  exec(*qemu);
  const Subject second = subject_of("qemu:b", 2, qemu->pid());
  adopt_generation(state_, 1, second);
  ASSERT_EQ(::kill(child, SIGKILL), 0);
  ASSERT_TRUE(wait_zombies(qemu->pid(), 1));
  const auto found = events(look_at(1, second), kind::kZombie);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].subject, "qemu:a");
  EXPECT_EQ(found[0].process_id, 1);
  EXPECT_EQ(found[0].detail["parent_pid"], qemu->pid());
  EXPECT_EQ(found[0].detail["generation"], 0);
  EXPECT_EQ(found[0].detail["seen_in_generation"], 1);
}

// A new image may fork before the harness has heard of it.
TEST_F(GenerationsTest, what_a_new_image_starts_before_it_is_known_is_its_own) {
  const auto qemu = make_fixture("qemu:a");
  const Subject first = subject_of("qemu:a", 1, qemu->pid());
  adopt(state_, first);
  record::Observation before;
  look_before_exec(first, before);
  exec(*qemu);
  qemu->tell("zombie");
  qemu->tell("left-behind");
  ASSERT_TRUE(wait_zombies(qemu->pid(), 1));
  ASSERT_TRUE(wait_until([&] { return containment_->reparented().size() == 1; }));
  const Subject second = subject_of("qemu:b", 2, qemu->pid());
  adopt_generation(state_, 1, second);
  const auto observation = look_at(1, second);
  for (const char* what : {kind::kZombie, kind::kOrphan}) {
    const auto found = events(observation, what);
    ASSERT_EQ(found.size(), 1u) << what;
    EXPECT_EQ(found[0].subject, "qemu:b");
    EXPECT_EQ(found[0].process_id, 2);
    EXPECT_EQ(found[0].detail["generation"], 1);
  }
}

// Detached by one generation, alive in the next: nothing but the mark ties it to either.
TEST_F(GenerationsTest, a_detached_grandchild_is_an_orphan_of_the_generation_that_left_it) {
  const auto qemu = make_fixture("qemu:a");
  const Subject first = subject_of("qemu:a", 1, qemu->pid());
  adopt(state_, first);
  qemu->tell("left-behind");
  ASSERT_TRUE(wait_until([&] { return containment_->reparented().size() == 1; }));
  exec(*qemu);
  const Subject second = subject_of("qemu:b", 2, qemu->pid());
  adopt_generation(state_, 1, second);
  const auto found = events(look_at(1, second), kind::kOrphan);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].subject, "qemu:a");
  EXPECT_EQ(found[0].process_id, 1);
  EXPECT_EQ(found[0].detail["generation"], 0);
  exec(*qemu);
  const Subject third = subject_of("qemu:a", 3, qemu->pid());
  adopt_generation(state_, 2, third);
  EXPECT_TRUE(events(look_at(2, third), kind::kOrphan).empty()) << "once per process";
}

// The exec failed: the old image goes on, and what it starts afterwards is still its own.
TEST_F(GenerationsTest, an_exec_that_did_not_come_changes_nothing) {
  const auto qemu = make_fixture("qemu:a");
  const Subject subject = subject_of("qemu:a", 1, qemu->pid());
  adopt(state_, subject);
  look_at(0, subject);
  record::Observation before;
  look_before_exec(subject, before);
  qemu->tell("left-behind");
  ASSERT_TRUE(wait_until([&] { return containment_->reparented().size() == 1; }));
  const auto observation = look_at(1, subject);
  EXPECT_TRUE(observation.births.empty());
  const auto found = events(observation, kind::kOrphan);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].subject, "qemu:a");
  EXPECT_EQ(found[0].process_id, 1);
}

}  // namespace
}  // namespace migsoak::probes
