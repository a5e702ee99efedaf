// A synthetic soak: observations as the engine would record them, with faults planted by the test. No processes.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/rng.h"
#include "detect/judge.h"
#include "record/expected_trouble.h"
#include "record/journal.h"

namespace migsoak::detect::testing {

inline record::Manifest manifest(int devices = 1, int queues = 1) {
  record::Manifest m;
  m.run = "test-run";
  m.scenario = "test";
  m.sides = {{"a", "qemu-system-x86_64", "7.2.22"}, {"b", "qemu-system-x86_64", "7.2.22"}};
  record::TargetInfo target{"disk0", "qemu-storage-daemon", "one", 1024, {}};
  for (int i = 0; i < devices; ++i) target.devices.push_back({"vd" + std::to_string(i), "vhost-user-blk", queues});
  m.targets = {target};
  return m;
}

// One lineage that ping-pongs between sides a and b, with a target, two QEMUs and the harness.
class Soak {
 public:
  explicit Soak(std::int64_t nofile = 1024) : nofile_(nofile) {}

  // The next iteration, clean.
  record::Observation step() {
    ++iteration_;
    record::Observation o;
    o.iteration = iteration_;
    o.lineage = lineage_;
    o.status = record::IterationStatus::completed;
    o.phase = "quiet";
    o.context = "qemus=1";
    const bool even = iteration_ % 2 == 0;
    o.plan = {iteration_, even ? "a" : "b", even ? "b" : "a", "precopy", "unix"};
    if (target_id_ == 0) {
      target_id_ = ++last_id_;
      o.processes_born.push_back(
          {target_id_, "target:disk0", 4000 + target_id_, 1, 0, "qemu-storage-daemon", iteration_, nofile_});
    }
    if (harness_id_ == 0) {
      harness_id_ = ++last_id_;
      o.processes_born.push_back({harness_id_, "harness", 3999, 1, 0, "migsoak", iteration_, 1024});
    }
    if (qemu_id_ != 0) o.processes_ended.push_back({qemu_id_, true, 0, 0, false, ""});
    qemu_id_ = ++last_id_;
    o.processes_born.push_back({qemu_id_, qemu(), 5000 + qemu_id_, 1, 0, "qemu-system-x86_64", iteration_, 1024});
    fds(o, "target:disk0", target_id_, {{"eventfd", 6}, {"unix", 3}, {"memfd", 1}, {"regular", 2}, {"epoll", 3}});
    fds(o, qemu(), qemu_id_, {{"eventfd", 9}, {"unix", 5}, {"memfd", 1}, {"pipe", 2}});
    fds(o, "harness", harness_id_, {{"unix", 8}, {"epoll", 2}, {"regular", 4}});
    for (const auto& [name, id] : {std::pair<std::string, std::int64_t>{"target:disk0", target_id_},
                                   {qemu(), qemu_id_},
                                   {"harness", harness_id_}}) {
      set(o, name, id, "threads", 4);
      set(o, name, id, "mappings", 142);
      set(o, name, id, "rss_bytes", 24e6);
      set(o, name, id, "pss_bytes", 20e6);
      set(o, name, id, "heap_bytes", 6e6);
      set(o, name, id, "anon_bytes", 12e6);
    }
    o.samples.push_back({"guest", 0, "heartbeat_gap_ms", 120});
    o.samples.push_back({"migration", 0, "downtime_ms", 12});
    return o;
  }

  // Names and ids as of the last step().
  std::string qemu() const { return iteration_ % 2 == 0 ? "qemu:b" : "qemu:a"; }
  std::int64_t target_id() const { return target_id_; }
  std::int64_t qemu_id() const { return qemu_id_; }
  std::int64_t harness_id() const { return harness_id_; }
  std::int64_t last_iteration() const { return iteration_; }
  void new_lineage() {
    ++lineage_;
    qemu_id_ = 0;
  }
  void restart_target() { target_id_ = 0; }

  static void set(record::Observation& o, const std::string& subject, std::int64_t id, const std::string& metric,
                  double value) {
    for (record::Sample& sample : o.samples) {
      if (sample.subject == subject && sample.metric == metric) {
        sample.value = value;
        return;
      }
    }
    o.samples.push_back({subject, id, metric, value});
  }
  static double get(const record::Observation& o, const std::string& subject, const std::string& metric) {
    for (const record::Sample& sample : o.samples) {
      if (sample.subject == subject && sample.metric == metric) return sample.value;
    }
    return 0;
  }
  // Adds to a metric; descriptors also to fd.total.
  static void add(record::Observation& o, const std::string& subject, const std::string& metric, double amount) {
    std::int64_t id = 0;
    for (const record::Sample& sample : o.samples) {
      if (sample.subject == subject && sample.process_id != 0) id = sample.process_id;
    }
    set(o, subject, id, metric, get(o, subject, metric) + amount);
    if (metric.rfind("fd.", 0) == 0 && metric != "fd.total" && metric != "fd.peak") {
      set(o, subject, id, "fd.total", get(o, subject, "fd.total") + amount);
    }
  }

 private:
  static void fds(record::Observation& o, const std::string& name, std::int64_t id,
                  const std::map<std::string, int>& kinds) {
    double total = 0;
    for (const auto& [kind, count] : kinds) {
      o.samples.push_back({name, id, "fd." + kind, static_cast<double>(count)});
      total += count;
    }
    o.samples.push_back({name, id, "fd.total", total});
  }

  std::int64_t nofile_;
  std::int64_t iteration_ = -1;
  int lineage_ = 0;
  std::int64_t last_id_ = 0, target_id_ = 0, qemu_id_ = 0, harness_id_ = 0;
};

using Change = std::function<void(record::Observation&, Soak&)>;

inline const std::string kTarget = "target:disk0";

// Runs `iterations` iterations through a judge; `change` plants the fault.
inline void run(Judge& judge, Soak& soak, int iterations, const Change& change = nullptr) {
  for (int i = 0; i < iterations; ++i) {
    record::Observation o = soak.step();
    if (change) change(o, soak);
    judge.observe(o);
  }
}

inline std::vector<record::Finding> judged(int iterations, const Change& change, record::Manifest m = manifest()) {
  Judge judge(std::move(m));
  Soak soak;
  run(judge, soak, iterations, change);
  return judge.findings();
}

inline std::vector<record::Finding> of(const std::vector<record::Finding>& findings, const std::string& detector) {
  std::vector<record::Finding> out;
  for (const record::Finding& finding : findings) {
    if (finding.detector == detector) out.push_back(finding);
  }
  return out;
}

inline std::string describe(const std::vector<record::Finding>& findings) {
  std::string out;
  for (const record::Finding& finding : findings) out += finding.detector + ": " + finding.title + "\n";
  return out.empty() ? "(none)" : out;
}

inline record::Event event(const char* kind, const std::string& subject, const std::string& text = "",
                           base::Json detail = base::Json::object(), const std::string& phase = "migrate") {
  record::Event e;
  e.kind = kind;
  e.subject = subject;
  e.text = text;
  e.phase = phase;
  e.detail = std::move(detail);
  return e;
}

// The event as the engine records it now, where it is one of the older kinds of record/expected_trouble.h.
inline record::Event in_todays_form(const record::Event& old) {
  const auto trouble = record::expected_trouble_from(old);
  if (!trouble) return old;
  record::Observation observation;
  record::Journal journal(observation);
  record::record_trouble(journal, *trouble, old.process_id);
  return observation.events.front();
}

// Older records are judged like today's: the same change, with all events in today's form.
inline Change in_todays_form(const Change& change) {
  return [change](record::Observation& o, Soak& soak) {
    change(o, soak);
    for (record::Event& one : o.events) one = in_todays_form(one);
  };
}
inline std::vector<record::Finding> judged_both(int iterations, const Change& change,
                                                const record::Manifest& m = manifest()) {
  const std::vector<record::Finding> old = judged(iterations, change, m);
  EXPECT_EQ(describe(judged(iterations, in_todays_form(change), m)), describe(old));
  return old;
}

}  // namespace migsoak::detect::testing
