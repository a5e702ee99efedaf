#include "pci/virtio_config.h"

#include <gmock/gmock.h>

#include <set>

namespace migsoak::pci {
namespace {

using ::testing::IsEmpty;

const VirtioConfigField& field_of(const std::vector<VirtioConfigField>& fields, std::string_view name) {
  for (const VirtioConfigField& field : fields) {
    if (field.field == name) return field;
  }
  ADD_FAILURE() << "no field " << name;
  return fields.front();
}

// By offset, without overlaps, aligned as a driver reads them; a reason stands with each that may differ.
TEST(VirtioConfig, TheTableIsInOrder) {
  std::set<std::string> names;
  std::string_view type;
  std::size_t end = 0;
  for (const VirtioConfigField& field : virtio_config_fields()) {
    if (field.type != type) end = 0;
    type = field.type;
    EXPECT_GE(field.offset, end) << field.name();
    end = field.offset + field.bytes;
    EXPECT_LE(end, 256u) << field.name();
    EXPECT_TRUE(names.insert(field.name()).second) << field.name();
    EXPECT_EQ(field.kind == ConfigFieldKind::fixed, field.reason.empty()) << field.name();
  }
  for (const char* each : {"net", "blk", "scsi", "balloon", "serial", "vga"}) {
    EXPECT_FALSE(virtio_config_fields(each).empty()) << each;
    for (const VirtioConfigAccess& access : virtio_config_accesses(each)) {
      EXPECT_EQ(access.offset % static_cast<std::size_t>(access.bytes), 0u) << each << ' ' << access.offset;
    }
  }
  EXPECT_THAT(virtio_config_fields("rng"), IsEmpty());
  EXPECT_THAT(virtio_config_fields(""), IsEmpty());
}

TEST(VirtioConfig, ValuesAndWhatIsNotThere) {
  // mac in two reads, status, pairs (none), mtu
  const VirtioConfigBytes bytes = virtio_config_bytes("net", {0x12005452, 0x5634, 1, 0, 1500, 0xffffffff, 0xff});
  const auto fields = virtio_config_fields("net");
  EXPECT_EQ(virtio_config_value(field_of(fields, "mac"), bytes), "52:54:00:12:34:56");
  EXPECT_EQ(virtio_config_value(field_of(fields, "mtu"), bytes), "1500");
  EXPECT_EQ(virtio_config_value(field_of(fields, "max_virtqueue_pairs"), bytes), std::nullopt);
  EXPECT_EQ(virtio_config_value(field_of(fields, "speed"), bytes), std::nullopt) << "beyond the structure's end";
  EXPECT_EQ(virtio_config_value(field_of(fields, "supported_hash_types"), bytes), std::nullopt) << "not read";
  EXPECT_EQ(field_of(fields, "mtu").name(), "virtio_net_config.mtu");
  EXPECT_EQ(virtio_config_from_hex(to_hex(bytes)), bytes);
  for (const char* bad : {"1", "zz", "0x", "+1"}) EXPECT_THAT(virtio_config_from_hex(bad), IsEmpty()) << bad;
  EXPECT_THAT(virtio_config_from_hex(std::string(1 << 20, '0')), IsEmpty());
}

TEST(VirtioConfig, TypesByDeviceId) {
  EXPECT_EQ(virtio_type_of_device(0x1af4, 0x1000), "net");
  EXPECT_EQ(virtio_type_of_device(0x1af4, 0x1041), "net");
  EXPECT_EQ(virtio_type_of_device(0x1af4, 0x1048), "scsi");
  EXPECT_EQ(virtio_type_of_device(0x1af4, 0x1110), "");  // ivshmem
  EXPECT_EQ(virtio_type_of_device(0x8086, 0x1000), "");
  EXPECT_EQ(virtio_type_of_device(0x1af4, 0x0000), "");
}

}  // namespace
}  // namespace migsoak::pci
