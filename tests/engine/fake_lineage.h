// FakeLineage: a lineage whose QEMUs are fake_vm's: a whole iteration on one thread, with no process started.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/iteration.h"
#include "fake_vm/fake_driver.h"
#include "plan/load.h"
#include "proc/proc_fs.h"
#include "store/scratch.h"
#include "store/store.h"

namespace migsoak::engine {

// Does something at a place of the table of steps, and keeps the names of those that were run.
class StepHook : public StepListener {
 public:
  enum class When { before, after };
  void at(const std::string& step, When when, std::function<void()> what) {
    step_ = step;
    when_ = when;
    what_ = std::move(what);
  }
  bool done() const { return done_; }
  const std::vector<std::string>& steps() const { return steps_; }

  void begins(const Step& step) override {
    steps_.emplace_back(step.name);
    act(step, When::before);
  }
  void ended(const Step& step) override { act(step, When::after); }

 private:
  void act(const Step& step, When when) {
    if (what_ == nullptr || done_ || step.name != step_ || when != when_) return;
    done_ = true;
    what_();
  }

  std::string step_;
  When when_ = When::before;
  std::function<void()> what_;
  bool done_ = false;
  std::vector<std::string> steps_;
};

class FakeLineage {
 protected:
  explicit FakeLineage(const std::string& more = "") {
    const std::string text =
        "name = \"fake\"\niterations = 10\n[guest]\nmachine = \"q35\"\naccel = \"tcg\"\n"
        "[[side]]\nname = \"a\"\n[[side]]\nname = \"b\"\n[run]\nconfig_space = false\ndevice_tree = false\n" +
        more;
    scenario_ = plan::parse_scenario(text, "fake.toml", "/", {}).value();
    for (const char* folder : {"run", "logs", "ram"}) std::filesystem::create_directory(directory_.file(folder));
    preflight_.accel = "tcg";
    preflight_.wants_aux_ram_share = true;
    preflight_.qemu["qemu-system-x86_64"] = {"/no/such/qemu", "11.1.0", "fake", ""};
    preflight_.builds["qemu-system-x86_64"] = {};
    record::Manifest manifest;
    manifest.run = manifest.scenario = "fake";
    manifest.iterations_planned = 10;
    manifest.sides = {{"a", "fake", "11.1.0"}, {"b", "fake", "11.1.0"}};
    store_ = store::Store::create(directory_.file("results.db"), manifest).value();
    recorder_ = std::make_unique<Recorder>(*store_);
    auto driver = std::make_unique<fake_vm::FakeDriver>(reactor_);
    fake_ = driver.get();
    drivers_ = std::make_unique<hypervisor::Drivers>(fake_vm::drivers_of(std::move(driver)));
    harness_.id = recorder_->next_process_id();
    harness_.name = "harness";
    harness_.pid = ::getpid();
    harness_.start_ticks = proc::read_stat(::getpid())->start_ticks;
    lineage_ = std::make_unique<Lineage>(context(), 0, "q35", hypervisor::DeviceSet{});
  }

  LaneContext context() {
    return {scenario_,
            preflight_,
            reactor_,
            *containment_,
            *drivers_,
            *recorder_,
            stop_,
            0,
            1,
            directory_.file("run"),
            directory_.file("logs"),
            harness_,
            directory_.file("ram")};
  }

  // One iteration from where the guest is to the other side.
  record::Observation iterate(const std::string& mode = "precopy", StepHook* hook = nullptr,
                              const std::string& expect = record::kExpectCompletes) {
    const Vm* current = lineage_->current();
    const std::string from = current != nullptr ? current->machine->spec().side : "a";
    record::Observation observation;
    observation.iteration = iterations_++;
    observation.plan = {observation.iteration, from, from == "a" ? "b" : "a", mode, "unix", "q35"};
    observation.plan.expect = expect;
    if (adjust_) adjust_(observation.plan);
    if (observation.iteration == 0) observation.processes_born.push_back(harness_);
    EXPECT_TRUE(recorder_->begin(observation));
    IterationRunner runner(*lineage_, observation, base::Clock::now(), next_side_, hook);
    result_ = runner.run(/*boots=*/current == nullptr);
    return observation;
  }
  // What detectors say of it.
  std::vector<std::string> findings_of(const record::Observation& observation) {
    const auto findings = recorder_->finish(observation);
    EXPECT_TRUE(findings) << findings.error().describe();
    std::vector<std::string> said;
    if (findings) {
      for (const record::Finding& finding : *findings) said.push_back(finding.detector + " " + finding.process);
    }
    return said;
  }
  // "unexpected-exit qemu:b", in the order of the record; not what is recorded of every iteration.
  static std::vector<std::string> events_of(const record::Observation& observation) {
    std::vector<std::string> events;
    for (const record::Event& event : observation.events) {
      if (event.kind != record::event_kind::kLineageStart) events.push_back(event.kind + " " + event.subject);
    }
    return events;
  }
  static const record::Event* event_of(const record::Observation& observation, const std::string& kind) {
    const auto found = std::find_if(observation.events.begin(), observation.events.end(),
                                    [&kind](const record::Event& event) { return event.kind == kind; });
    return found != observation.events.end() ? &*found : nullptr;
  }

  const scratch::Directory directory_;
  scenario::Scenario scenario_;
  preflight::Preflight preflight_;
  proc::StopRequest stop_;
  proc::Reactor reactor_{&stop_};
  const std::unique_ptr<proc::Containment> containment_ = proc::Containment::without_processes();
  std::unique_ptr<hypervisor::Drivers> drivers_;
  fake_vm::FakeDriver* fake_ = nullptr;
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<Recorder> recorder_;
  record::ProcessInstance harness_;
  std::unique_ptr<Lineage> lineage_;
  StepResult result_ = StepResult::ok;
  std::int64_t iterations_ = 0;
  std::function<void(record::Plan&)> adjust_;  // of the next iterations
  std::string next_side_;                      // the destination after the next one is raised there early
};

}  // namespace migsoak::engine
