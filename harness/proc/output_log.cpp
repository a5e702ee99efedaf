#include "proc/output_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/text.h"

namespace migsoak::proc {

namespace {
constexpr std::size_t kPartialBytesMax = 1024;  // as read, before escaping
constexpr std::size_t kTailBytes = 64 << 10;
}  // namespace

base::Result<void> OutputLog::open(const std::string& path, std::uint64_t bytes_max, bool append) {
  if (path.empty()) return {};
  const int how = append ? O_APPEND : O_TRUNC;
  file_.reset(::open(path.c_str(), O_WRONLY | O_CREAT | how | O_CLOEXEC | O_NOCTTY, 0644));
  if (!file_.valid()) return base::fail_errno("can't open log file " + base::printable(path), errno);
  tail_max_ = static_cast<std::size_t>(std::min<std::uint64_t>(kTailBytes, bytes_max / 2));
  head_left_ = bytes_max - tail_max_;
  struct stat there {};
  if (append && ::fstat(file_.get(), &there) == 0) {
    const auto size = static_cast<std::uint64_t>(there.st_size);
    if (size >= bytes_max) file_.reset();
    head_left_ -= std::min(head_left_, size);
  }
  return {};
}

void OutputLog::append(std::string_view bytes) {
  if (captured_.size() < capture_max_) captured_.append(bytes.substr(0, capture_max_ - captured_.size()));
  write_file(bytes);
  while (!bytes.empty()) {
    const std::size_t newline = bytes.find('\n');
    const std::string_view piece = bytes.substr(0, newline);
    const std::size_t kept = std::min(piece.size(), kPartialBytesMax - partial_.size());
    partial_.append(piece.substr(0, kept));
    partial_cut_ += piece.size() - kept;
    if (newline == std::string_view::npos) return;
    end_line();
    bytes.remove_prefix(newline + 1);
  }
}

void OutputLog::end_line() {
  if (partial_cut_ == 0 && !partial_.empty() && partial_.back() == '\r') partial_.pop_back();
  lines_.push(base::printable(partial_, base::LineRing::kLineBytesMax));
  partial_.clear();
  partial_cut_ = 0;
}

void OutputLog::write_file(std::string_view bytes) {
  if (!file_.valid()) return;
  const std::size_t direct = static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), head_left_));
  std::string_view head = bytes.substr(0, direct);
  while (!head.empty()) {
    const ssize_t written = ::write(file_.get(), head.data(), head.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return file_.reset();  // a full disk must not end the run; the lines are still there
    head.remove_prefix(static_cast<std::size_t>(written));
  }
  head_left_ -= direct;
  bytes.remove_prefix(direct);
  if (bytes.empty()) return;
  beyond_head_ += bytes.size();
  tail_.append(bytes);
  if (tail_.size() > 2 * tail_max_) tail_.erase(0, tail_.size() - tail_max_);
}

void OutputLog::finish() {
  if (!partial_.empty() || partial_cut_ > 0) end_line();
  if (!file_.valid()) return;
  if (tail_.size() > tail_max_) tail_.erase(0, tail_.size() - tail_max_);
  if (beyond_head_ > 0) {
    std::string end;
    if (beyond_head_ > tail_.size()) {
      end = "\n[... " + std::to_string(beyond_head_ - tail_.size()) + " bytes dropped ...]\n";
    }
    end += tail_;
    if (::write(file_.get(), end.data(), end.size()) < 0) beyond_head_ = 0;  // nothing else to be done about it
  }
  file_.reset();
  tail_.clear();
}

}  // namespace migsoak::proc
