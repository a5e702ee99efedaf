// tcp: the loopback, on a port that the kernel chooses and the destination's query-migrate tells
// (MigrationInfo, socket-address, since QEMU 4.0).
#include "ops/modes/transport.h"

namespace migsoak::ops {

ChannelResult open_tcp(MigrationContext& context) {
  const auto destination_error = [](base::Error error) {
    return tl::unexpected<ChannelError>({End::destination, std::move(error)});
  };
  if (auto listening = listen_on(context, "tcp:127.0.0.1:0"); !listening) {
    return tl::unexpected<ChannelError>(std::move(listening.error()));
  }
  auto status = context.destination->qmp().execute("query-migrate", base::Json::object(), context.deadline);
  if (!status) return destination_error(std::move(status.error()));
  const auto addresses = base::json_get<base::Json>(*status, "socket-address", base::Json::array());
  for (const auto& address : addresses) {
    const auto port = base::json_get<std::string>(address, "port", "");
    if (port.empty() || port.find_first_not_of("0123456789") != std::string::npos) continue;
    auto channel = std::make_unique<OpenChannel>();
    channel->source_uri = "tcp:127.0.0.1:" + port;
    return channel;
  }
  return destination_error(
      {base::ErrorKind::subject, "the destination's query-migrate names no port: " + base::dump_json(*status), {}});
}

}  // namespace migsoak::ops
