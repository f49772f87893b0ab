// A plain UDP echo: the floor that Sends are measured against.
//   udp_echo serve PORT          answers until killed; also what `v bench --echo` wants: the first
//                                four octets say how many octets the answer has
//   udp_echo ask ADDRESS PORT N  N round trips of 64 octets, one after another; one JSON object
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

static double now_us(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1e6 + time.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

int main(int argc, char **argv) {
  enum { shortest = 64, longest = 16384 };
  static char bytes[65536];
  struct sockaddr_in name = {.sin_family = AF_INET};
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (argc == 3 && !strcmp(argv[1], "serve")) {
    name.sin_port = htons(atoi(argv[2]));
    if (bind(fd, (struct sockaddr *)&name, sizeof name) != 0) return perror("bind"), 1;
    for (;;) {
      struct sockaddr_in from;
      socklen_t size = sizeof from;
      ssize_t count = recvfrom(fd, bytes, sizeof bytes, 0, (struct sockaddr *)&from, &size);
      uint32_t wanted;
      memcpy(&wanted, bytes, sizeof wanted);
      wanted = ntohl(wanted) < longest ? ntohl(wanted) : longest;
      if (count >= 4) sendto(fd, bytes, wanted, 0, (struct sockaddr *)&from, size);
    }
  }
  if (argc != 5 || strcmp(argv[1], "ask")) return fprintf(stderr, "see the source\n"), 2;
  int count = atoi(argv[4]);
  double *times = calloc(count, sizeof *times);
  name.sin_port = htons(atoi(argv[3]));
  inet_pton(AF_INET, argv[2], &name.sin_addr);
  if (connect(fd, (struct sockaddr *)&name, sizeof name) != 0) return perror("connect"), 1;
  memcpy(bytes, &(uint32_t){htonl(shortest)}, 4);
  for (int i = -200; i < count; i++) {
    double start = now_us();
    if (send(fd, bytes, shortest, 0) < 0 || recv(fd, bytes, sizeof bytes, 0) < 0)
      return perror("echo"), 1;
    if (i >= 0) times[i] = now_us() - start;
  }
  qsort(times, count, sizeof *times, compare);
  printf("{\"count\":%d,\"min_us\":%.3f,\"p50_us\":%.3f,\"p99_us\":%.3f,\"max_us\":%.3f}\n", count,
         times[0], times[count / 2], times[count * 99 / 100], times[count - 1]);
  return 0;
}
