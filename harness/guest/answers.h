// The agent's answers turned into the structs of channel.h. Pure; the guest is hostile: numbers are clamped, strings
// made printable, lists bounded.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "guest/channel.h"

namespace migsoak::guest {

base::Result<Hello> hello_from_answer(const base::Json& answer);
base::Result<VerifyReport> verify_from_answer(const base::Json& answer);
base::Result<std::map<std::string, std::string>> pci_config_from_answer(const base::Json& answer);
base::Result<std::map<std::string, std::string>> pci_digests_from_answer(const base::Json& answer);
base::Result<Inventory> inventory_from_answer(const base::Json& answer);
base::Result<AwaitReport> await_from_answer(const base::Json& answer);
base::Result<AdoptReport> adopt_from_answer(const base::Json& answer);
base::Result<ReleaseReport> release_from_answer(const base::Json& answer);
// kind subject when the answer is not {"ok": true, ...}.
base::Result<void> check_answer(const std::string& command, const base::Json& answer);

// "key=value ..." of a flat JSON object; kind bad_input for what the protocol can't carry.
base::Result<std::string> arguments_text(const base::Json& arguments);

// Fields of a hostile object: a count up to 2^53 (0 for what is none), a printable name, a report of one disk.
std::uint64_t count_of(const base::Json& object, std::string_view key);
double milliseconds_of(const base::Json& object, std::string_view key);
std::string name_of(const base::Json& object, std::string_view key);
DiskReport disk_from_json(const base::Json& item);
// The rows of "devices"; false when they are not what they should be.
bool read_device_uses(const base::Json& answer, std::vector<DeviceUse>& uses);
bool is_pci_address(const std::string& text);
// kind subject.
tl::unexpected<base::Error> nonsense(const char* command, const base::Json& answer);

}  // namespace migsoak::guest
