// state-unwritable: the source can't write its state. Where the state goes into a file, its directory is not there
// (permissions would not stop root); where it goes through a socket, the socket is not there.
#include "ops/upgrade_failures/upgrade_failure.h"

namespace migsoak::ops {

UpgradeFailure upgrade_failure_state_unwritable() {
  UpgradeFailure failure;
  failure.name = "state-unwritable";
  failure.summary = "the source can't write its state: no directory for the file, or no socket to write to";
  failure.sabotages_path = true;
  failure.sabotage_channels = [](MigrationChannels& channels, ProcessOrder order) {
    const std::string nowhere = channels.run_dir + "/no-such-directory";
    switch (order) {
      case ProcessOrder::beside: channels.run_dir = nowhere; break;
      // The cpr channel works, so that the new process comes up; the main one has gone.
      case ProcessOrder::waiting: channels.main_socket = nowhere + "/main"; break;
      case ProcessOrder::afterwards:
      case ProcessOrder::in_place: channels.state_file = nowhere + "/state"; break;
    }
  };
  return failure;
}

}  // namespace migsoak::ops
