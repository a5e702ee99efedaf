// Connects to a unix socket, waits up to the given milliseconds for its first bytes, prints up to 64 of them.
// Exit status: 0 something came · 1 nothing came in time · 2 closed without a byte · 3 no connection.
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char** argv) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (argc != 3 || strlen(argv[1]) >= sizeof address.sun_path) return 3;
  memcpy(address.sun_path, argv[1], strlen(argv[1]));
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (fd < 0 || connect(fd, (struct sockaddr*)&address, sizeof address) != 0) return 3;
  struct pollfd wait = {.fd = fd, .events = POLLIN};
  if (poll(&wait, 1, atoi(argv[2])) != 1) return 1;
  char data[64];
  const ssize_t bytes = recv(fd, data, sizeof data, 0);
  if (bytes <= 0) return 2;
  fwrite(data, 1, (size_t)bytes, stdout);
  return 0;
}
