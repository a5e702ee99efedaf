// Internal to hypervisor: one reading's state and steps. config_reader.cpp sends and collects, config_reading.cpp
// decides what is read, device_config_reading.cpp reads what lies behind a virtio device's BAR.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "hypervisor/config_commands.h"
#include "hypervisor/config_reader.h"
#include "hypervisor/virtqueue_reader.h"
#include "pci/config_image.h"
#include "pci/virtio_config.h"

namespace migsoak::hypervisor {

// Configuration mechanism #1 (PCI Local Bus 3.0, section 3.2.2.3.2).
inline constexpr std::uint16_t kAddressPort = 0xcf8, kDataPort = 0xcfc;
using Answers = std::vector<base::Result<base::Json>>;

struct ReadFunction {
  ListedFunction listed;
  bool numbered_by_us = false;  // its bus has a number only for this reading
  pci::ConfigImage image;
  pci::VirtioConfigBytes device_config;
};

struct ConfigReading::Impl {
  Impl(qmp::Monitor& client_in, ConfigReadRequest request_in) : client(client_in), request(std::move(request_in)) {}

  // Commands in flight, and what is to be done with their answers.
  struct Batch {
    std::vector<std::uint64_t> ids;
    std::function<void(Answers)> then;
  };
  struct Command {
    std::string name;
    base::Json arguments = base::Json::object();
  };
  void send(const std::vector<Command>& commands, std::function<void(Answers)> then);
  void send_lines(const std::vector<std::string>& lines, std::function<void(Answers)> then);
  bool answered(const Batch& batch) const;
  void take(std::size_t index, base::Deadline deadline);

  // The steps, in order.
  void begin();
  void on_devices(const base::Json& answer);
  bool number_bridges();
  void start_bytes();
  void on_ecam(const Answers& answers);
  void read_through_ecam(std::vector<std::string> before);
  void read_extended(const Answers& answers, std::size_t skip);
  std::string known_one_to_read() const;
  void choose_turn();
  void read_through_ports();
  void read_device_configs();  // then puts back
  bool has_turn(const ListedFunction& listed) const;
  void put_back();
  std::vector<record::Document> documents() const;

  bool destination() const { return request.point == ReadPoint::destination; }
  std::string key_of(const ListedFunction& listed) const { return listed.function.path + ' ' + listed.function.device; }

  qmp::Monitor& client;
  ConfigReadRequest request;
  std::shared_ptr<ConfigReader::Memory> memory;
  std::shared_ptr<std::string> turn;
  int number = 0;    // of this reading
  bool due = false;  // for one that is known

  std::deque<Batch> batches;
  int sent = 0;
  std::optional<base::Error> failure;

  std::vector<ReadFunction> functions;
  std::string method = "none";
  std::string again;  // key of the function whose turn it is, though it is known; empty: none
  std::optional<std::uint32_t> latch;
  std::uint64_t ecam = 0;
  std::optional<std::uint32_t> ecam_register;  // what it held before it was switched on
  int numbering_rounds = 0;
  std::vector<PciLocation> numbered;  // bridges that got bus numbers, outermost first
  VirtqueueAnswers virtqueues;

  // One reason for each read is enough.
  void miss(const std::string& read, const std::string& why) {
    const auto same = [&read](const MissedRead& other) { return other.read == read; };
    if (std::none_of(missed.begin(), missed.end(), same)) missed.push_back({read, why});
  }
  std::vector<MissedRead> missed;
};

}  // namespace migsoak::hypervisor
