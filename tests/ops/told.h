// Told: a migration's listener that does what a test says.
#pragma once

#include <functional>

#include "ops/modes/migration_listener.h"

namespace migsoak::ops {

struct Told : MigrationListener {
  std::function<void(End, const SentSettings&)> on_settings;
  std::function<void(const base::Json&)> on_channel;
  std::function<void()> on_started, on_progress;
  std::function<void(MigrationPhase)> on_reached;
  std::function<base::Result<hypervisor::Machine*>(base::Deadline)> on_raise;
  std::function<base::Result<void>()> on_release;

  void settings_sent(End end, const SentSettings& settings) override {
    if (on_settings) on_settings(end, settings);
  }
  void channel_opened(const base::Json& arguments) override {
    if (on_channel) on_channel(arguments);
  }
  void started() override {
    if (on_started) on_started();
  }
  void progress() override {
    if (on_progress) on_progress();
  }
  void reached(MigrationPhase phase) override {
    if (on_reached) on_reached(phase);
  }
  base::Result<hypervisor::Machine*> raise(base::Deadline deadline) override {
    if (on_raise) return on_raise(deadline);
    return base::fail(base::ErrorKind::environment, "this test has nobody to raise");
  }
  base::Result<void> release_source() override {
    if (on_release) return on_release();
    return base::fail(base::ErrorKind::environment, "this test has nobody to release");
  }
};

}  // namespace migsoak::ops
