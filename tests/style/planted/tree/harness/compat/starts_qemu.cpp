// It goes through hypervisor/driver.h as well.
void starts_qemu() {
  proc::SpawnSpec spec;
}
