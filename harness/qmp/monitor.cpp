#include "qmp/monitor.h"

#include <utility>

namespace migsoak::qmp {

base::Result<base::Json> Monitor::execute(const std::string& command, const base::Json& arguments,
                                          base::Deadline deadline, int descriptor) {
  auto reply = take_reply(send(command, arguments, descriptor), deadline);
  if (!reply) return tl::unexpected<base::Error>(std::move(reply.error()).with_context(command));
  return reply;
}

}  // namespace migsoak::qmp
