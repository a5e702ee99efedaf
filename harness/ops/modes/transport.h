// Transport: how the migration stream gets from one QEMU to the other. One file per transport, one line in
// transports.def. Internal to ops/modes.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "ops/modes/mode.h"

namespace migsoak::ops {

// The destination listens; `source_uri` is what the source's `migrate` takes.
struct OpenChannel {
  std::string source_uri;
  std::string socket_path;  // removed at the end, when there is one
  OpenChannel() = default;
  ~OpenChannel();
  OpenChannel(const OpenChannel&) = delete;
  OpenChannel& operator=(const OpenChannel&) = delete;
};

// Which end an error is about, for the outcome.
struct ChannelError {
  End end = End::destination;
  base::Error error;
};
using ChannelResult = tl::expected<std::unique_ptr<OpenChannel>, ChannelError>;

// A channel over a unix socket, as `migrate` and -incoming take it (qapi/migration.json, MigrationChannel).
base::Json unix_channel(const char* type, const std::string& path);

struct Transport {
  std::string name;
  // Has the destination listen (`migrate-incoming`).
  ChannelResult (*open)(MigrationContext& context);
};
const std::vector<Transport>& transports();
const Transport* find_transport(const std::string& name);

// `migrate-incoming` on the destination, typed for ChannelResult.
tl::expected<void, ChannelError> listen_on(MigrationContext& context, const std::string& uri);

}  // namespace migsoak::ops
