// Numbers about a process: stat, memory, limits.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/text.h"
#include "proc/proc_fs.h"
#include "proc/proc_text.h"

namespace migsoak::proc {

namespace {

constexpr std::size_t kStatBytesMax = 4096;  // 52 numbers and a comm of at most 64 bytes

// "Rss:     1234 kB" -> 1234 * 1024
std::optional<std::int64_t> kilobyte_field(std::string_view line, std::string_view name) {
  if (line.rfind(name, 0) != 0) return std::nullopt;
  line.remove_prefix(name.size());
  const std::int64_t kilobytes = number_or<std::int64_t>(take_word(line), -1);
  if (kilobytes < 0 || kilobytes > (std::int64_t{1} << 50) || take_word(line) != "kB") return std::nullopt;
  return kilobytes * 1024;
}

}  // namespace

// pid (comm) state ppid ... with num_threads as field 20, starttime 22, exit_code 52 (proc(5)). comm may hold
// anything, so the fields begin after the *last* parenthesis.
base::Result<ProcStat> parse_stat(std::string_view text) {
  const auto bad = [] { return base::fail(base::ErrorKind::subject, "not the text of /proc/PID/stat"); };
  if (text.size() > kStatBytesMax) return bad();
  const std::size_t open = text.find(" (");
  const std::size_t close = text.rfind(") ");
  if (open == std::string_view::npos || close == std::string_view::npos || close < open + 2) return bad();
  ProcStat stat;
  stat.pid = number_or<pid_t>(text.substr(0, open), 0);
  stat.comm = base::printable(text.substr(open + 2, close - open - 2));
  std::string_view rest = text.substr(close + 2);
  if (!rest.empty() && rest.back() == '\n') rest.remove_suffix(1);
  std::vector<std::string_view> fields;  // fields[0] is field 3
  for (std::string_view word = take_word(rest); !word.empty(); word = take_word(rest)) fields.push_back(word);
  constexpr std::size_t kFirst = 3;
  // One more than is needed: the last field of a truncated text may be half of a number.
  if (fields.size() < 23 - kFirst + 1 || fields[0].size() != 1 || stat.pid <= 0) return bad();
  stat.state = fields[0][0];
  stat.parent = number_or<pid_t>(fields[4 - kFirst], -1);
  stat.thread_count = number_or<int>(fields[20 - kFirst], -1);
  stat.start_ticks = number_or<std::int64_t>(fields[22 - kFirst], -1);
  if (stat.parent < 0 || stat.thread_count < 0 || stat.start_ticks < 0) return bad();
  if (fields.size() > 52 - kFirst) stat.exit_code = number_or<int>(fields[52 - kFirst], 0);
  return stat;
}

base::Result<ProcStat> read_stat(pid_t pid) {
  MIGSOAK_ASSIGN(const std::string text, read_process_file(pid, "stat"));
  return parse_stat(text);
}

double age_ms(const ProcStat& stat) {
  const base::Result<std::string> uptime = read_at(AT_FDCWD, "/proc/uptime", 4096);
  if (!uptime) return 0;
  const double since_boot = std::strtod(uptime->c_str(), nullptr);
  const double started = static_cast<double>(stat.start_ticks) / static_cast<double>(::sysconf(_SC_CLK_TCK));
  return std::max(0.0, (since_boot - started) * 1000.0);
}

base::Result<MemoryUse> parse_memory(std::string_view smaps_rollup, std::string_view maps) {
  MemoryUse use;
  int found = 0;
  while (!smaps_rollup.empty()) {
    const std::string_view line = take_line(smaps_rollup);
    if (const auto rss = kilobyte_field(line, "Rss:")) use.rss_bytes = *rss, ++found;
    if (const auto pss = kilobyte_field(line, "Pss:")) use.pss_bytes = *pss, ++found;
    if (const auto anonymous = kilobyte_field(line, "Anonymous:")) use.anonymous_bytes = *anonymous, ++found;
  }
  if (found != 3) return base::fail(base::ErrorKind::subject, "smaps_rollup without Rss, Pss and Anonymous");
  while (!maps.empty()) {
    const std::string_view line = take_line(maps);
    if (line.empty()) continue;
    ++use.mappings;
    // A file name could end so too, but then there is a slash before it.
    if (line.size() < 7 || line.substr(line.size() - 7) != " [heap]" || line.find('/') != std::string_view::npos) {
      continue;
    }
    const std::size_t dash = line.find('-');
    const std::size_t space = line.find(' ');
    if (dash == std::string_view::npos || space < dash) continue;
    const auto from = number_or<std::uint64_t>(line.substr(0, dash), 0, 16);
    const auto to = number_or<std::uint64_t>(line.substr(dash + 1, space - dash - 1), 0, 16);
    if (to > from) use.heap_bytes += static_cast<std::int64_t>(to - from);
  }
  return use;
}

base::Result<MemoryUse> read_memory(pid_t pid) {
  MIGSOAK_ASSIGN(const std::string rollup, read_process_file(pid, "smaps_rollup"));
  MIGSOAK_ASSIGN(const std::string maps, read_process_file(pid, "maps"));
  // maps of a process that has just ended is empty, not an error.
  if (maps.empty()) return process_gone(pid, "maps", ESRCH);
  return parse_memory(rollup, maps);
}

std::optional<std::int64_t> parse_nofile_limit(std::string_view limits) {
  constexpr std::string_view kName = "Max open files";
  while (!limits.empty()) {
    std::string_view line = take_line(limits);
    if (line.rfind(kName, 0) != 0) continue;
    line.remove_prefix(kName.size());
    const std::int64_t soft = number_or<std::int64_t>(take_word(line), -1);
    if (soft >= 0) return soft;
    return std::nullopt;  // "unlimited" can't be for this resource (getrlimit(2))
  }
  return std::nullopt;
}

base::Result<std::int64_t> read_nofile_limit(pid_t pid) {
  MIGSOAK_ASSIGN(const std::string text, read_process_file(pid, "limits"));
  const std::optional<std::int64_t> limit = parse_nofile_limit(text);
  if (!limit) return base::fail(base::ErrorKind::subject, "no \"Max open files\" in /proc/PID/limits");
  return *limit;
}

std::optional<pid_t> parse_innermost_pid(std::string_view status) {
  constexpr std::string_view kName = "NSpid:";
  while (!status.empty()) {
    std::string_view line = take_line(status);
    if (line.rfind(kName, 0) != 0) continue;
    line.remove_prefix(kName.size());
    const auto last = line.find_last_of(" \t");
    const auto pid = number_or<pid_t>(last == std::string_view::npos ? line : line.substr(last + 1), 0);
    if (pid > 0) return pid;
    return std::nullopt;
  }
  return std::nullopt;
}

std::optional<pid_t> innermost_pid(pid_t pid) {
  const auto text = read_process_file(pid, "status");
  return text ? parse_innermost_pid(*text) : std::nullopt;
}

}  // namespace migsoak::proc
