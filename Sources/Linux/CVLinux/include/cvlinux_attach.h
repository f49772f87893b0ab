// The local socket between a node and the processes attached to it: AF_UNIX, whole frames.
// Every function returns a negative error number on failure.
#pragma once

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

// The headers hide these without _GNU_SOURCE, which an importer may not define.
int accept4(int fd, struct sockaddr *name, socklen_t *size, int flags);

struct v_peer_credentials {
  int32_t pid;
  uint32_t uid;
  uint32_t gid;
};

static inline int v_attach_socket(const char *path, struct sockaddr_un *name) {
  memset(name, 0, sizeof *name);
  name->sun_family = AF_UNIX;
  if (strlen(path) >= sizeof name->sun_path) return -ENAMETOOLONG;
  strcpy(name->sun_path, path);
  int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  return fd < 0 ? -errno : fd;
}

// Room for a burst of large frames; only root gets all of it.
static inline void v_attach_room(int fd) {
  int size = 2 << 20;
  if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) != 0)
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

static inline int v_attach_connect(const char *path) {
  struct sockaddr_un name;
  int fd = v_attach_socket(path, &name);
  if (fd < 0) return fd;
  if (connect(fd, (struct sockaddr *)&name, sizeof name) != 0) {
    int error = errno;
    close(fd);
    return -error;
  }
  v_attach_room(fd);
  return fd;
}

// A listening socket that every user may connect to. A socket without a listener is replaced;
// anything else at `path` is left alone (-EADDRINUSE).
static inline int v_attach_listen(const char *path) {
  int other = v_attach_connect(path);
  if (other >= 0) {
    close(other);
    return -EADDRINUSE;
  }
  if (other == -ECONNREFUSED) {
    struct stat found;
    if (lstat(path, &found) == 0 && !S_ISSOCK(found.st_mode)) return -EADDRINUSE;
    unlink(path);
  } else if (other != -ENOENT) {
    return other == -EAGAIN ? -EADDRINUSE : other;
  }
  struct sockaddr_un name;
  int fd = v_attach_socket(path, &name);
  if (fd < 0) return fd;
  if (bind(fd, (struct sockaddr *)&name, sizeof name) != 0 || chmod(path, 0666) != 0 ||
      listen(fd, 4096) != 0) {
    int error = errno;
    close(fd);
    return -error;
  }
  return fd;
}

static inline int v_attach_accept(int listener, struct v_peer_credentials *peer) {
  int fd = accept4(listener, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return -errno;
  socklen_t size = sizeof *peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, peer, &size) != 0) {
    int error = errno;
    close(fd);
    return -error;
  }
  v_attach_room(fd);
  return fd;
}

// Returns free memory to the machine: the allocator would keep most of a burst.
static inline void v_memory_trim(void) { malloc_trim(0); }

static inline int v_attach_wait(int fd, short events, int timeout_ms) {
  struct pollfd entry = {.fd = fd, .events = events};
  int count = poll(&entry, 1, timeout_ms);
  return count < 0 ? -errno : count;
}

// Waits until a frame can be read; 0 if none came in time.
static inline int v_frame_wait(int fd, int timeout_ms) {
  return v_attach_wait(fd, POLLIN, timeout_ms);
}

// The whole size of the next frame, even if it did not fit; 0 at the end.
static inline int64_t v_frame_receive(int fd, void *bytes, size_t size) {
  ssize_t count;
  do {
    count = recv(fd, bytes, size, MSG_DONTWAIT | MSG_TRUNC);
  } while (count < 0 && errno == EINTR);
  return count < 0 ? -errno : count;
}

// Sends a frame whole or not at all; with `waits` only when there is room.
static inline int v_frame_send(int fd, const void *bytes, size_t size, int waits) {
  while (send(fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
    if (errno == EINTR) continue;
    if (errno != EAGAIN || !waits) return -errno;
    v_attach_wait(fd, POLLOUT, -1);
  }
  return 0;
}

// Makes `epoll` (a set with this one member) readable, once, as soon as `fd` has room to write: so
// a set that watches for reading can also watch for room.
static inline int v_epoll_arm_room(int epoll, int fd) {
  struct epoll_event event = {.events = EPOLLOUT | EPOLLONESHOT, .data = {.fd = fd}};
  if (epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event) == 0) return 0;
  return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}
