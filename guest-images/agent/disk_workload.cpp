#include "disk_workload.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "boot.h"
#include "clock.h"
#include "json_text.h"
#include "pattern.h"
#include "wire.h"

namespace migsoak::agent {

namespace {

constexpr std::int64_t kErrorPauseNs = 100'000'000;

std::chrono::steady_clock::time_point clock_point(std::int64_t monotonic_ns_point) {
  return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(monotonic_ns_point));
}

}  // namespace

DiskWorkload::DiskWorkload(BlockDevice device, std::string id, std::uint64_t area_bytes_max,
                           std::unique_ptr<DiskArea> kept)
    : device_(std::move(device)),
      id_(std::move(id)),
      area_(kept != nullptr ? std::move(kept) : std::make_unique<DiskArea>()) {
  usable_ = !device_.read_only && area_->open(device_, area_bytes_max);
  if (!usable_) {
    say("disk %s: not usable: %s", id_.c_str(), device_.read_only ? "read-only" : strerror(errno));
    return;
  }
  busy_.assign(area_->block_count(), false);
  const std::lock_guard lock(mutex_);
  start_thread(&DiskWorkload::check_forever, 0);
}

// With the mutex held.
void DiskWorkload::start_thread(void (DiskWorkload::*body)(int), int index) {
  ++threads_alive_;
  threads_.emplace_back([this, body, index] {
    (this->*body)(index);
    const std::lock_guard lock(mutex_);
    --threads_alive_;
    changed_.notify_all();
  });
}

void DiskWorkload::begin_initialise(std::uint64_t seed) {
  const std::lock_guard lock(mutex_);
  if (!usable_ || job_ != Job::none || initialised_ == seed) return;
  seed_ = seed;
  initialised_ = seed;
  job_ = Job::initialise;
  changed_.notify_all();
}

void DiskWorkload::continue_with(std::uint64_t seed) {
  const std::lock_guard lock(mutex_);
  seed_ = seed;
  initialised_ = seed;
}

std::uint64_t DiskWorkload::in_flight() {
  const std::lock_guard lock(mutex_);
  return static_cast<std::uint64_t>(in_flight_);
}

void DiskWorkload::begin_verify(std::uint64_t bytes_min) {
  const std::lock_guard lock(mutex_);
  if (!usable_ || job_ != Job::none) return;  // still at the last one: report() says so
  job_ = Job::verify;
  job_bytes_min_ = bytes_min;
  changed_.notify_all();
}

bool DiskWorkload::hold(std::int64_t until_ns) {
  std::unique_lock lock(mutex_);
  held_ = true;
  const auto span = std::chrono::nanoseconds(std::max<std::int64_t>(until_ns - monotonic_ns(), 0));
  return changed_.wait_for(lock, span, [this] { return job_ == Job::none && in_flight_ == 0; });
}

bool DiskWorkload::wait_idle(std::int64_t until_ns) {
  std::unique_lock lock(mutex_);
  const auto span = std::chrono::nanoseconds(std::max<std::int64_t>(until_ns - monotonic_ns(), 0));
  return changed_.wait_for(lock, span, [this] { return job_ == Job::none; });
}

void DiskWorkload::set_load(std::uint64_t bytes_per_s, int queue_depth) {
  const std::lock_guard lock(mutex_);
  if (!usable_) return;
  bytes_per_s_ = bytes_per_s;
  writers_wanted_ = bytes_per_s == 0 ? 0 : std::clamp(queue_depth, 1, 32);
  while (writers_started_ < writers_wanted_) {
    start_thread(&DiskWorkload::write_forever, writers_started_++);
  }
  changed_.notify_all();
}

void DiskWorkload::expect_removal(bool expected) {
  const std::lock_guard lock(mutex_);
  removal_expected_ = expected;
}

bool DiskWorkload::removal_expected() {
  const std::lock_guard lock(mutex_);
  return removal_expected_;
}

bool DiskWorkload::end(std::int64_t until_ns) {
  {
    std::unique_lock lock(mutex_);
    ending_ = true;
    changed_.notify_all();
    if (!changed_.wait_until(lock, clock_point(until_ns), [this] { return threads_alive_ == 0; })) return false;
  }
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  area_->close();
  return true;
}

void DiskWorkload::check_forever(int) {
  for (;;) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return ending_ || (job_ != Job::none && in_flight_ == 0); });
    if (ending_) return;
    const Job job = job_;
    const std::uint64_t bytes_min = job_bytes_min_;
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    const std::uint64_t salted_seed =
        pattern_base(seed_, static_cast<std::uint64_t>(now.tv_sec), static_cast<std::uint64_t>(now.tv_nsec));
    lock.unlock();  // writers keep off while a job is set
    DiskCheck check;
    bool ok = true;
    if (job == Job::initialise) {
      ok = area_->initialise(salted_seed);
    } else {
      check = area_->verify(bytes_min);
    }
    lock.lock();
    if (!ok && !removal_expected_) ++write_errors_;
    last_check_ = std::move(check);
    job_ = Job::none;
    held_ = false;
    changed_.notify_all();
  }
}

bool DiskWorkload::extent_is_free(std::uint64_t first_block, std::uint64_t count) const {
  for (std::uint64_t block = first_block; block < first_block + count; ++block) {
    if (busy_[block]) return false;
  }
  return true;
}

void DiskWorkload::write_forever(int index) {
  Shuffle shuffle(0);
  {
    const std::lock_guard lock(mutex_);
    shuffle = Shuffle(pattern_base(seed_, crc32(device_.serial), static_cast<std::uint64_t>(index)));
  }
  void* buffer = DiskArea::allocate_buffer(DiskArea::kExtentBlocksMax * kBlockBytes);
  std::int64_t due_ns = monotonic_ns();
  for (;;) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ending_ || (job_ == Job::none && !held_ && index < writers_wanted_); });
    if (ending_) break;
    const std::uint64_t count =
        std::min<std::uint64_t>(1 + shuffle.below(DiskArea::kExtentBlocksMax), area_->block_count());
    const std::uint64_t first_block = shuffle.below(area_->block_count() - count + 1);
    if (!extent_is_free(first_block, count)) continue;
    std::fill_n(busy_.begin() + static_cast<std::ptrdiff_t>(first_block), count, true);
    const std::uint64_t sequence = area_->next_sequence();
    ++in_flight_;
    lock.unlock();

    const bool ok = area_->write_extent(first_block, count, sequence, buffer);

    lock.lock();
    std::fill_n(busy_.begin() + static_cast<std::ptrdiff_t>(first_block), count, false);
    area_->note_write(first_block, count, sequence, ok);
    --in_flight_;
    if (ok) written_bytes_ += count * kBlockBytes;
    if (!ok && !removal_expected_) ++write_errors_;
    const std::uint64_t rate =
        std::max<std::uint64_t>(bytes_per_s_, 1) / static_cast<std::uint64_t>(std::max(writers_wanted_, 1));
    if (in_flight_ == 0) changed_.notify_all();

    // Stopped while this was in flight: no pace to keep, or the next start would wait for it.
    if (bytes_per_s_ == 0) {
      due_ns = monotonic_ns();
      continue;
    }
    const auto pause_ns =
        static_cast<std::int64_t>(count * kBlockBytes * 1'000'000'000 / std::max<std::uint64_t>(rate, 1));
    const std::int64_t now_ns = monotonic_ns();
    due_ns = std::max(due_ns + (ok ? pause_ns : kErrorPauseNs), now_ns);
    changed_.wait_until(lock, clock_point(due_ns), [this] { return ending_; });
  }
  free(buffer);
}

std::string DiskWorkload::report() {
  const std::lock_guard lock(mutex_);
  const bool hangs = job_ != Job::none;
  const DiskCheck none;
  const DiskCheck& check = hangs || !usable_ ? none : last_check_;
  const auto count = [&check](BlockFault fault) { return check.counts[static_cast<int>(fault)]; };
  // A disk that does not answer, that can't be used or that went away verifies nothing and says so as an I/O error;
  // save for one that was to go.
  const bool is_gone = gone();
  const std::uint64_t check_errors = removal_expected_ ? 0 : count(BlockFault::io_error);
  const bool out_of_order = is_gone ? !removal_expected_ : hangs || !usable_;
  const std::uint64_t io_errors = check_errors + write_errors_ + (out_of_order ? 1 : 0);
  JsonObject json;
  json.text("id", id_)
      .text("pci_address", device_.pci_address)
      .number("verified_bytes", check.verified_bytes)
      .number("written_bytes", written_bytes_)
      .number("lost", count(BlockFault::lost))
      .number("stale", count(BlockFault::stale))
      .number("torn", count(BlockFault::torn))
      .number("misplaced", count(BlockFault::misplaced))
      .number("garbage", count(BlockFault::garbage))
      .number("io_errors", io_errors)
      .boolean("hangs", hangs)
      .boolean("usable", usable_);
  if (!device_.scsi.empty()) json.text("scsi", device_.scsi);
  if (is_gone) json.boolean("gone", true);
  if (removal_expected_) json.boolean("removal_expected", true);
  if (!check.first.empty() && (check_errors != 0 || count(BlockFault::io_error) == 0)) json.raw("first", check.first);
  written_bytes_ = 0;
  write_errors_ = 0;
  return json.str();
}

}  // namespace migsoak::agent
