// children: who is below each process of the topology, who died there without being waited for, and who outlived it.
//
// Every pid seen below a subject is remembered with the subject's name (ancestry): once re-parented, a process no
// longer tells where it came from. One that was never seen in its tree (born and orphaned between two looks) is traced
// as ancestry.h says.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <tuple>

#include "base/text.h"
#include "probes/ancestry.h"

namespace migsoak::probes {

namespace {

constexpr std::size_t kTreeMax = 512;  // processes below one subject; a fork bomb must not stop the harness

struct Zombie {
  const Subject* subject = nullptr;  // below which it hangs
  proc::ProcStat stat;
  std::string name;  // of the exec generation that started it
  std::int64_t process_id = 0;
};
struct Orphan {
  proc::ProcStat stat;
};

bool is_zombie(const proc::ProcStat& stat) {
  return stat.state == 'Z' || stat.state == 'X';
}

bool still_there(const proc::ProcStat& stat) {
  const auto now = proc::read_stat(stat.pid);
  return now && now->start_ticks == stat.start_ticks;
}

bool still_zombie(const proc::ProcStat& stat) {
  const auto now = proc::read_stat(stat.pid);
  return now && now->start_ticks == stat.start_ticks && is_zombie(*now);
}

bool still_orphan(const proc::ProcStat& stat) {
  const auto now = proc::read_stat(stat.pid);
  return now && now->start_ticks == stat.start_ticks && !is_zombie(*now);
}

class ChildrenLook {
 public:
  ChildrenLook(Scene& scene, ProbeState& state, record::Observation& into)
      : scene_(scene), state_(state), impl_(state.impl()), into_(into) {
    reparented_.insert(scene.reparented.begin(), scene.reparented.end());
    for (const Subject& subject : scene.subjects) subject_pids_.insert(subject.pid);
  }

  void run(bool with_samples) {
    for (const Subject& subject : scene_.subjects) {
      if (!has_vanished(state_, subject)) walk(subject);
    }
    collect_orphans();
    second_look();
    for (const Zombie& zombie : zombies_) report(zombie);
    for (const Orphan& orphan : orphans_) report(orphan);
    if (with_samples) add_samples();
    forget_the_gone();
  }

 private:
  // The topology's own processes are subjects themselves, and what was re-parented belongs to nobody's tree.
  bool belongs_elsewhere(const Subject& subject, pid_t pid) const {
    return scene_.known_processes.count(pid) != 0 || subject.own_children.count(pid) != 0 ||
           subject_pids_.count(pid) != 0 || reparented_.count(pid) != 0 || pid == scene_.guardian_pid;
  }

  void walk(const Subject& subject) {
    adopt(state_, subject);  // the first sight, unless the engine did at its birth
    if (const auto own = proc::read_stat(subject.pid)) remember(impl_, subject, *own);
    children_[subject.process_id] = 0;
    std::vector<pid_t> tree{subject.pid};
    for (std::size_t i = 0; i < tree.size() && tree.size() < kTreeMax; ++i) {
      for (const pid_t pid : proc::children_of(tree[i])) {
        if (belongs_elsewhere(subject, pid)) continue;
        const auto stat = proc::read_stat(pid);
        if (!stat) continue;  // gone again: never anyone's trouble
        // Without a PID namespace the harness is the subreaper, and an orphan that dropped the run's marker from its
        // environment looks like a child of ours.
        if (subject.pid == ::getpid() && !is_zombie(*stat) && descends_by_mark(impl_, pid)) {
          orphans_.push_back({*stat});
          continue;
        }
        Subject parent;
        std::tie(parent.name, parent.process_id) = generation_of_child(impl_, subject, *stat);
        remember(impl_, parent, *stat);
        if (is_zombie(*stat)) {
          zombies_.push_back({&subject, *stat, parent.name, parent.process_id});
          continue;
        }
        if (i == 0) ++children_[subject.process_id];
        tree.push_back(pid);
      }
    }
  }

  void collect_orphans() {
    for (const pid_t pid : scene_.reparented) {
      if (scene_.known_processes.count(pid) != 0 || subject_pids_.count(pid) != 0 || pid == scene_.guardian_pid ||
          pid == ::getpid()) {
        continue;
      }
      if (is_of_another_lane(impl_, pid)) continue;
      const auto stat = proc::read_stat(pid);
      // A dead one is waiting for the guardian, which reaps it.
      if (stat && !is_zombie(*stat)) orphans_.push_back({*stat});
    }
  }

  static ProcessKey key_of(const proc::ProcStat& stat) { return {stat.pid, stat.start_ticks}; }

  // Waits only for suspects that are new; then keeps those which are still there.
  void second_look() {
    const auto all_gone = [&] {
      return std::none_of(zombies_.begin(), zombies_.end(),
                          [&](const Zombie& zombie) {
                            return impl_.zombies_reported.count(key_of(zombie.stat)) == 0 && still_zombie(zombie.stat);
                          }) &&
             std::none_of(orphans_.begin(), orphans_.end(), [&](const Orphan& orphan) {
               return impl_.orphans_reported.count(key_of(orphan.stat)) == 0 && still_orphan(orphan.stat);
             });
    };
    if (!zombies_.empty() || !orphans_.empty()) give_time_to_vanish(all_gone);
    std::erase_if(zombies_, [](const Zombie& zombie) { return !still_zombie(zombie.stat); });
    std::erase_if(orphans_, [](const Orphan& orphan) { return !still_orphan(orphan.stat); });
  }

  void report(const Zombie& zombie) {
    if (!impl_.zombies_reported.insert(key_of(zombie.stat)).second) return;
    const std::string command = proc::command_of(zombie.stat.pid);
    const std::string parent_command = proc::command_of(zombie.stat.parent);
    const double age_ms = proc::age_ms(zombie.stat);
    const int generation = generation_of(impl_, zombie.process_id);
    const int generation_now = generation_of(impl_, zombie.subject->process_id);
    const std::string& parent = zombie.name;
    std::string text = fmt::format("{} (pid {}) ended and its parent {} (pid {}) in {} did not wait for it", command,
                                   zombie.stat.pid, parent_command, zombie.stat.parent, parent);
    if (generation_now > 0)
      text += fmt::format("; child of exec generation {}, seen in {}", generation, generation_now);
    record_event(scene_, record::event_kind::kZombie, parent, zombie.process_id, text,
                 {{"pid", zombie.stat.pid},
                  {"parent_pid", zombie.stat.parent},
                  {"parent", parent},
                  {"parent_command", parent_command},
                  {"command", command},
                  {"age_ms", age_ms},
                  {"generation", generation},
                  {"seen_in_generation", generation_now}},
                 into_);
  }

  void report(const Orphan& orphan) {
    if (!impl_.orphans_reported.insert(key_of(orphan.stat)).second) return;
    const auto [name, process_id] = origin_of(scene_, impl_, orphan.stat);
    const std::string command = proc::command_of(orphan.stat.pid);
    const int generation = generation_of(impl_, process_id);
    const std::string of = generation > 0 ? fmt::format("{} (exec generation {})", name, generation) : name;
    record_event(
        scene_, record::event_kind::kOrphan, name, process_id,
        fmt::format("{} (pid {}), a descendant of {}, lives on without its parent", command, orphan.stat.pid, of),
        {{"pid", orphan.stat.pid},
         {"command", command},
         {"age_ms", proc::age_ms(orphan.stat)},
         {"descends_from", name},
         {"generation", generation},
         {"reparented", true}},
        into_);
    // Its own children, once it has gone too, descend from the same process.
    Subject origin;
    origin.name = name;
    origin.process_id = process_id;
    remember(impl_, origin, orphan.stat);
  }

  void add_samples() {
    for (const Subject& subject : scene_.subjects) {
      if (has_vanished(state_, subject)) continue;
      const auto zombies = std::count_if(zombies_.begin(), zombies_.end(),
                                         [&](const Zombie& zombie) { return zombie.subject == &subject; });
      add_sample(into_, subject, "children", children_[subject.process_id]);
      add_sample(into_, subject, "zombies", static_cast<double>(zombies));
    }
  }

  // A soak runs for weeks: what is remembered of the dead must stay bounded.
  void forget_the_gone() {
    const auto is_gone = [](const ProcessKey& key) {
      proc::ProcStat stat;
      stat.pid = key.first;
      stat.start_ticks = key.second;
      return !still_there(stat);
    };
    std::erase_if(impl_.zombies_reported, is_gone);
    std::erase_if(impl_.orphans_reported, is_gone);
    prune_ancestry(impl_);
  }

  Scene& scene_;
  ProbeState& state_;
  ProbeState::Impl& impl_;
  record::Observation& into_;
  std::set<pid_t> reparented_, subject_pids_;
  std::map<std::int64_t, int> children_;  // process id -> living direct children
  std::vector<Zombie> zombies_;
  std::vector<Orphan> orphans_;
};

}  // namespace

void look_at_children(Scene& scene, ProbeState& state, record::Observation& into, bool with_samples) {
  ChildrenLook(scene, state, into).run(with_samples);
}

void run_children(Scene& scene, ProbeState& state, record::Observation& into) {
  look_at_children(scene, state, into, /*with_samples=*/true);
}

}  // namespace migsoak::probes
