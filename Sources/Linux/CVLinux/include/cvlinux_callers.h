// Whether a process is root with all of Linux's rights over this host.
#pragma once

#include <errno.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

// The number of a process's user namespace; 0 if it cannot be read.
static inline uint64_t v_user_namespace(const char *path) {
  struct stat found;
  return stat(path, &found) == 0 ? found.st_ino : 0;
}

// 1 if a process has CAP_SYS_ADMIN in this process's own user namespace, which is the initial one
// unless the node runs in a container; 0 if not, or if that is unknown. Number 0 stands for a
// process that this one cannot see.
static inline int v_is_full_root(int32_t pid) {
  if (pid <= 0) return 0;
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = pid};
  struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};
  if (syscall(SYS_capget, &header, data) != 0) return 0;
  if ((data[CAP_TO_INDEX(CAP_SYS_ADMIN)].effective & CAP_TO_MASK(CAP_SYS_ADMIN)) == 0) return 0;
  char path[40];
  snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
  uint64_t theirs = v_user_namespace(path);
  // Many threads may do this at once, with the same result.
  static _Atomic uint64_t known;
  uint64_t own = known;
  if (own == 0) known = own = v_user_namespace("/proc/self/ns/user");
  return theirs != 0 && theirs == own;
}

// The same for the process that connected `socket`, whose number is `pid`: its number must not
// belong to another process by now. Linux before 6.5 cannot check that; then the number is trusted.
static inline int v_is_full_root_peer(int socket, int32_t pid) {
  int process = -1;
  socklen_t size = sizeof process;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &process, &size) != 0)
    return errno == ENOPROTOOPT ? v_is_full_root(pid) : 0;
  int is_full = v_is_full_root(pid);
  // Readable once the process has ended.
  struct pollfd ended = {.fd = process, .events = POLLIN};
  if (poll(&ended, 1, 0) != 0) is_full = 0;
  close(process);
  return is_full;
}

// Does what Linux does for a pipe of its own without a reader: `thread` is in write(2).
static inline void v_signal_broken_pipe(int32_t thread) {
  if (thread > 0) syscall(SYS_tkill, thread, SIGPIPE);
}
