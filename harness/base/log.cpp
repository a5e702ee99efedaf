#include "base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>

#include <cstdlib>
#include <string>

namespace migsoak::base {

void init_log() {
  auto logger = spdlog::get("migsoak");
  if (!logger) logger = spdlog::stderr_color_mt("migsoak");
  spdlog::set_default_logger(logger);
  spdlog::set_pattern("migsoak: %l: %v");
  const char* level = std::getenv("MIGSOAK_LOG");
  spdlog::set_level(level != nullptr ? spdlog::level::from_str(level) : spdlog::level::warn);
}

}  // namespace migsoak::base
