// unix: a socket file in the run directory.
#include "ops/modes/transport.h"
#include "proc/run_dir.h"

namespace migsoak::ops {

WireResult open_unix(MigrationContext& context) {
  auto wire = std::make_unique<Wire>();
  const std::string path = context.channels.run_dir + "/" + context.channels.tag + ".m";
  if (auto fits = proc::check_socket_path(path); !fits) {
    return tl::unexpected<WireError>({End::destination, std::move(fits.error())});
  }
  wire->socket_path = path;
  wire->source_uri = "unix:" + path;
  if (auto listening = listen_on(context, wire->source_uri); !listening) {
    return tl::unexpected<WireError>(std::move(listening.error()));
  }
  return wire;
}

}  // namespace migsoak::ops
