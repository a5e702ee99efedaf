// Observations compared field by field, with a line that says where they differ.
#pragma once

#include <gtest/gtest.h>

#include <cmath>

#include "record/observation.h"

namespace migsoak::record {

inline void expect_equal(const Observation& a, const Observation& b) {
  SCOPED_TRACE("iteration " + std::to_string(a.iteration));
  EXPECT_EQ(a.iteration, b.iteration);
  EXPECT_EQ(a.lane, b.lane);
  EXPECT_EQ(a.lineage, b.lineage);
  EXPECT_EQ(a.plan, b.plan);
  EXPECT_EQ(a.status, b.status);
  EXPECT_EQ(a.phase, b.phase);
  EXPECT_EQ(a.started_unix_ms, b.started_unix_ms);
  EXPECT_EQ(a.duration_ms, b.duration_ms);
  EXPECT_EQ(a.context, b.context);
  ASSERT_EQ(a.processes_born.size(), b.processes_born.size());
  for (std::size_t i = 0; i < a.processes_born.size(); ++i) {
    const ProcessInstance &x = a.processes_born[i], &y = b.processes_born[i];
    EXPECT_TRUE(x.id == y.id && x.name == y.name && x.pid == y.pid && x.start_ticks == y.start_ticks &&
                x.generation == y.generation && x.command == y.command && x.born_iteration == y.born_iteration &&
                x.fd_limit == y.fd_limit)
        << "process " << i;
  }
  ASSERT_EQ(a.processes_ended.size(), b.processes_ended.size());
  for (std::size_t i = 0; i < a.processes_ended.size(); ++i) {
    const ProcessEnd &x = a.processes_ended[i], &y = b.processes_ended[i];
    EXPECT_TRUE(x.process_id == y.process_id && x.expected == y.expected && x.exit_code == y.exit_code &&
                x.signal == y.signal && x.core_dumped == y.core_dumped && x.last_lines == y.last_lines)
        << "end " << i;
  }
  ASSERT_EQ(a.samples.size(), b.samples.size());
  for (std::size_t i = 0; i < a.samples.size(); ++i) {
    const Sample &x = a.samples[i], &y = b.samples[i];
    EXPECT_TRUE(x.subject == y.subject && x.process_id == y.process_id && x.metric == y.metric &&
                (x.value == y.value || (std::isnan(x.value) && std::isnan(y.value))))
        << "sample " << i << ": " << x.subject << ' ' << x.metric << ' ' << x.value << " became " << y.subject << ' '
        << y.metric << ' ' << y.value;
  }
  ASSERT_EQ(a.births.size(), b.births.size());
  for (std::size_t i = 0; i < a.births.size(); ++i) {
    const DescriptorBirth &x = a.births[i], &y = b.births[i];
    EXPECT_TRUE(x.process_id == y.process_id && x.fd == y.fd && x.kind == y.kind && x.detail == y.detail)
        << "birth " << i;
  }
  ASSERT_EQ(a.deaths.size(), b.deaths.size());
  for (std::size_t i = 0; i < a.deaths.size(); ++i) {
    EXPECT_TRUE(a.deaths[i].process_id == b.deaths[i].process_id && a.deaths[i].fd == b.deaths[i].fd) << "death " << i;
  }
  ASSERT_EQ(a.events.size(), b.events.size());
  for (std::size_t i = 0; i < a.events.size(); ++i) {
    const Event &x = a.events[i], &y = b.events[i];
    EXPECT_TRUE(x.kind == y.kind && x.subject == y.subject && x.process_id == y.process_id && x.phase == y.phase &&
                x.at_ms == y.at_ms && x.text == y.text)
        << "event " << i;
    EXPECT_EQ(x.detail, y.detail) << "event " << i;
  }
  ASSERT_EQ(a.documents.size(), b.documents.size());
  for (std::size_t i = 0; i < a.documents.size(); ++i) {
    const Document &x = a.documents[i], &y = b.documents[i];
    EXPECT_TRUE(x.kind == y.kind && x.subject == y.subject && x.process_id == y.process_id && x.point == y.point)
        << "document " << i;
    EXPECT_EQ(x.content, y.content) << "document " << i;
  }
}

}  // namespace migsoak::record
