// unix: a socket file in the run directory.
#include "ops/modes/transport.h"
#include "proc/run_dir.h"

namespace migsoak::ops {

ChannelResult open_unix(MigrationContext& context) {
  auto channel = std::make_unique<OpenChannel>();
  const std::string path = context.channels.run_dir + "/" + context.channels.tag + ".m";
  if (auto fits = proc::check_socket_path(path); !fits) {
    return tl::unexpected<ChannelError>({End::destination, std::move(fits.error())});
  }
  channel->socket_path = path;
  channel->source_uri = "unix:" + path;
  if (auto listening = listen_on(context, channel->source_uri); !listening) {
    return tl::unexpected<ChannelError>(std::move(listening.error()));
  }
  return channel;
}

}  // namespace migsoak::ops
