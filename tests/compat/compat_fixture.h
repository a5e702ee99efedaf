// CompatFixture: the system's QEMU in a contained run directory, surveyed against itself or against a double.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "compat/survey.h"
#include "fleet/inspect.h"
#include "proc/contained_test.h"

namespace migsoak::compat {

// Generous: a deadline of a test is for hangs, not for speed.
inline base::Deadline soon() {
  return base::Deadline::in(std::chrono::seconds(100));
}

class CompatFixture : public proc::ContainedTest {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(ContainedTest::SetUp());
    proc::Reactor reactor;
    auto build = fleet::inspect_build({reactor, *containment_}, {"", "qemu-system-x86_64", {}, {}}, soon());
    ASSERT_TRUE(build) << build.error().describe();
    build_ = std::move(*build);
  }

  SurveyRequest request(const std::vector<DevicePair>& devices, const std::string& wanted = "pc") const {
    SurveyRequest request;
    request.builds.from = build_;
    request.builds.to = build_;
    request.builds.machine = fleet::choose_machine({build_}, wanted).value_or(wanted);
    request.devices = devices;
    return request;
  }
  base::Result<SurveyReport> run(const SurveyRequest& request) {
    return survey({*containment_, run_dir_->path(), nullptr}, request, soon());
  }
  // The report of one device; fails the test and is empty when there is none.
  DeviceReport survey_one(const DevicePair& device, const std::string& machine = "pc",
                          Placement placement = Placement::root) {
    SurveyRequest wanted = request({device}, machine);
    wanted.builds.placement = placement;
    const auto report = run(wanted);
    if (!report || report->devices.size() != 1) {
      ADD_FAILURE() << (report ? "not one device" : report.error().describe());
      return {};
    }
    return report->devices.front();
  }

  fleet::Build build_;
};

inline DevicePair pair_of(const std::string& driver, const std::string& from, const std::string& to) {
  return {driver, from, to, true};
}
inline const ByteReport* byte_at(const DeviceReport& report, std::size_t offset) {
  for (const ByteReport& byte : report.bytes) {
    if (byte.offset == offset) return &byte;
  }
  return nullptr;
}
inline const StateReport* state_of(const DeviceReport& report, GuestState state) {
  for (const StateReport& one : report.states) {
    if (one.state == state) return &one;
  }
  return nullptr;
}

}  // namespace migsoak::compat
