// fd: a socket pair; each QEMU is given its end over QMP (getfd, SCM_RIGHTS) and owns it from then on.
#include <sys/socket.h>

#include <cerrno>

#include "ops/modes/transport.h"

namespace migsoak::ops {

namespace {
constexpr const char* kName = "migration";
}

ChannelResult open_fd(MigrationContext& context) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return tl::unexpected<ChannelError>({End::source, base::fail_errno("socketpair", errno).value()});
  }
  // Ours are closed on return: only the QEMUs hold the channel then, and each sees the other's end.
  const base::UniqueFd source_end(ends[0]);
  const base::UniqueFd destination_end(ends[1]);
  const base::Json arguments{{"fdname", kName}};
  const auto on_source = context.source->qmp().send("getfd", arguments, source_end.get());
  const auto on_destination = context.destination->qmp().send("getfd", arguments, destination_end.get());
  auto source_reply = context.source->qmp().take_reply(on_source, context.deadline);
  auto destination_reply = context.destination->qmp().take_reply(on_destination, context.deadline);
  if (!source_reply) {
    return tl::unexpected<ChannelError>({End::source, std::move(source_reply.error()).with_context("getfd")});
  }
  if (!destination_reply) {
    return tl::unexpected<ChannelError>({End::destination, std::move(destination_reply.error()).with_context("getfd")});
  }
  auto channel = std::make_unique<OpenChannel>();
  channel->source_uri = std::string("fd:") + kName;
  if (auto listening = listen_on(context, channel->source_uri); !listening) {
    // The source would keep its end in its ledger.
    const auto close = context.source->qmp().send("closefd", arguments);
    if (const auto closed = context.source->qmp().take_reply(close, context.deadline); !closed) {
      listening.error().error.context.push_back("closefd on the source failed as well: " + closed.error().describe());
    }
    return tl::unexpected<ChannelError>(std::move(listening.error()));
  }
  return channel;
}

}  // namespace migsoak::ops
