// Endpoint: where a device of one QEMU and its target meet.
#pragma once

#include <string>
#include <string_view>

namespace migsoak::target {

// What is served there.
enum class EndpointType { block, net, fs };
constexpr std::string_view to_string(EndpointType type) {
  switch (type) {
    case EndpointType::block: return "block";
    case EndpointType::net: return "net";
    case EndpointType::fs: return "fs";
  }
  return "?";
}

// Who listens on the socket; the other one connects.
enum class Listener { target, qemu };

struct Endpoint {
  EndpointType type = EndpointType::block;
  std::string socket;
  Listener listener = Listener::target;
};

}  // namespace migsoak::target
