// Linux calls of the node's loop that Swift's Glibc module lacks, and sealing one packet in place.
#pragma once

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <pthread.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

// ---- epoll and timers ----

static inline int v_epoll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }

// Edge-triggered: one waiting thread is woken for each new event.
static inline int v_epoll_add(int epoll, int fd) {
  struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data = {.fd = fd}};
  return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

// Data that waits on `fd` already counts as a new event.
static inline int v_epoll_again(int epoll, int fd) {
  struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data = {.fd = fd}};
  return epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event);
}

static inline int v_epoll_remove(int epoll, int fd) {
  return epoll_ctl(epoll, EPOLL_CTL_DEL, fd, 0);
}

// Waits for one event and returns its descriptor, or -1.
static inline int v_epoll_wait(int epoll, int timeout_ms) {
  struct epoll_event event;
  int count = epoll_wait(epoll, &event, 1, timeout_ms);
  return count == 1 ? event.data.fd : -1;
}

static inline int v_timer_create(void) {
  return timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
}

// Fires once at an absolute time of the monotonic clock.
static inline int v_timer_set(int timer, int64_t nanoseconds) {
  if (nanoseconds < 1) nanoseconds = 1;
  struct itimerspec when = {
      .it_value = {.tv_sec = nanoseconds / 1000000000, .tv_nsec = nanoseconds % 1000000000}};
  return timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, 0);
}

int pthread_setname_np(pthread_t thread, const char *name);

// The name in ps and top; at most 15 octets.
static inline int v_thread_name(pthread_t thread, const char *name) {
  return pthread_setname_np(thread, name);
}

// ---- UDP ----

// A nonblocking socket bound to an address and port in host byte order, or -errno.
static inline int v_udp_open(uint32_t address, uint16_t port, int is_shared) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  int one = 1, zero = 0, size = 4 << 20, whole = IP_PMTUDISC_OMIT;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  // What is larger than a link carries is fragmented, here or by a router. What a network says
  // about its links is not believed: a stranger could say it too.
  setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &whole, sizeof whole);
  // Without this a socket that never joined still gets every group that any socket of the host
  // joined.
  setsockopt(fd, IPPROTO_IP, IP_MULTICAST_ALL, &zero, sizeof zero);
  if (is_shared) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  setsockopt(fd, IPPROTO_UDP, UDP_GRO, &one, sizeof one);
  struct sockaddr_in name = {.sin_family = AF_INET,
                             .sin_port = htons(port),
                             .sin_addr = {.s_addr = htonl(address)}};
  if (bind(fd, (struct sockaddr *)&name, sizeof name) != 0) {
    int error = errno;
    close(fd);
    return -error;
  }
  return fd;
}

static inline int v_udp_send_groups_from(int fd, uint32_t interface_address) {
  struct in_addr address = {.s_addr = htonl(interface_address)};
  int one = 1;
  setsockopt(fd, IPPROTO_IP, IP_MULTICAST_LOOP, &one, sizeof one);
  setsockopt(fd, IPPROTO_IP, IP_MULTICAST_TTL, &one, sizeof one);
  return setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &address, sizeof address);
}

static inline int v_udp_join(int fd, uint32_t group, uint32_t interface_address) {
  struct ip_mreq request = {.imr_multiaddr = {.s_addr = htonl(group)},
                            .imr_interface = {.s_addr = htonl(interface_address)}};
  return setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request);
}

static inline int v_udp_port(int fd) {
  struct sockaddr_in name;
  socklen_t size = sizeof name;
  if (getsockname(fd, (struct sockaddr *)&name, &size) != 0) return -errno;
  return ntohs(name.sin_port);
}

// Sends `size` octets as datagrams of `stride` octets (the last may be shorter) in one call.
// Returns 0 or -errno.
static inline int v_udp_send(int fd, uint32_t address, uint16_t port, const void *bytes,
                             size_t size, size_t stride) {
  struct sockaddr_in name = {.sin_family = AF_INET,
                             .sin_port = htons(port),
                             .sin_addr = {.s_addr = htonl(address)}};
  if (size <= stride) {
    ssize_t sent = sendto(fd, bytes, size, 0, (struct sockaddr *)&name, sizeof name);
    return sent < 0 ? -errno : 0;
  }
  struct iovec piece = {.iov_base = (void *)bytes, .iov_len = size};
  struct msghdr message = {
      .msg_name = &name, .msg_namelen = sizeof name, .msg_iov = &piece, .msg_iovlen = 1};
  union {
    char bytes[CMSG_SPACE(sizeof(uint16_t))];
    struct cmsghdr align;
  } control;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof control.bytes;
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = IPPROTO_UDP;
  header->cmsg_type = UDP_SEGMENT;
  header->cmsg_len = CMSG_LEN(sizeof(uint16_t));
  uint16_t value = (uint16_t)stride;
  memcpy(CMSG_DATA(header), &value, sizeof value);
  return sendmsg(fd, &message, 0) < 0 ? -errno : 0;
}

// Datagrams of one source that the kernel delivered together.
struct v_received {
  uint32_t address;
  uint32_t size;
  // Octets of each datagram but the last.
  uint32_t stride;
  uint16_t port;
};

enum { V_RECEIVED_MAX = 2 };

struct v_mmsghdr {
  struct msghdr header;
  unsigned int size;
};

// Receives waiting datagrams, up to V_RECEIVED_MAX pieces, the i-th at `bytes + i * each`. Returns
// their number or -errno; fewer than the maximum means that none is left.
static inline int v_udp_receive(int fd, uint8_t *bytes, size_t each, struct v_received *out) {
  struct sockaddr_in names[V_RECEIVED_MAX];
  struct iovec pieces[V_RECEIVED_MAX];
  struct v_mmsghdr messages[V_RECEIVED_MAX];
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
  } controls[V_RECEIVED_MAX];
  for (int i = 0; i < V_RECEIVED_MAX; i++) {
    pieces[i] = (struct iovec){.iov_base = bytes + i * each, .iov_len = each};
    messages[i] = (struct v_mmsghdr){.header = {.msg_name = &names[i],
                                                .msg_namelen = sizeof names[i],
                                                .msg_iov = &pieces[i],
                                                .msg_iovlen = 1,
                                                .msg_control = controls[i].bytes,
                                                .msg_controllen = sizeof controls[i].bytes}};
  }
  int count = (int)syscall(SYS_recvmmsg, fd, messages, V_RECEIVED_MAX, MSG_DONTWAIT, 0);
  if (count < 0) return -errno;
  for (int i = 0; i < count; i++) {
    struct msghdr *message = &messages[i].header;
    out[i] = (struct v_received){.address = ntohl(names[i].sin_addr.s_addr),
                                 .size = messages[i].size,
                                 .stride = messages[i].size,
                                 .port = ntohs(names[i].sin_port)};
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part)) {
      if (part->cmsg_level != IPPROTO_UDP || part->cmsg_type != UDP_GRO) continue;
      int value;
      memcpy(&value, CMSG_DATA(part), sizeof value);
      if (value > 0) out[i].stride = (uint32_t)value;
    }
  }
  return count;
}

// ---- sealing: AES-128-GCM in place ----

// HKDF-SHA256. Returns 1 if `out` was filled.
static inline int v_hkdf(const uint8_t *secret, size_t secret_size, const uint8_t *info,
                         size_t info_size, uint8_t *out, size_t out_size) {
  static const uint8_t salt[] = "v cluster key";
  EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, 0);
  int ok = context && EVP_PKEY_derive_init(context) > 0 &&
           EVP_PKEY_CTX_set_hkdf_md(context, EVP_sha256()) > 0 &&
           EVP_PKEY_CTX_set1_hkdf_salt(context, salt, sizeof salt - 1) > 0 &&
           EVP_PKEY_CTX_set1_hkdf_key(context, secret, (int)secret_size) > 0 &&
           EVP_PKEY_CTX_add1_hkdf_info(context, info, (int)info_size) > 0 &&
           EVP_PKEY_derive(context, out, &out_size) > 0;
  EVP_PKEY_CTX_free(context);
  return ok;
}

// A cipher context with its key, for one thread and one direction; NULL without memory.
static inline void *v_cipher_new(const uint8_t *key) {
  EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
  if (context && EVP_CipherInit_ex(context, EVP_aes_128_gcm(), 0, key, 0, 1) > 0) return context;
  EVP_CIPHER_CTX_free(context);
  return 0;
}

static inline void v_cipher_free(void *context) { EVP_CIPHER_CTX_free(context); }

// The clear, authenticated part: 12 octets in front and 12 behind, as one piece.
static inline int v_authenticate(EVP_CIPHER_CTX *context, const uint8_t *clear,
                                 const uint8_t *trailer) {
  uint8_t both[24];
  int count;
  memcpy(both, clear, 12);
  memcpy(both + 12, trailer, 12);
  return EVP_CipherUpdate(context, 0, &count, both, sizeof both);
}

// Encrypts `size` octets at `body` in place and writes the tag; 12 octets of `clear` and 12 of
// `trailer` are authenticated with them.
static inline int v_seal(void *context, const uint8_t *nonce, const uint8_t *clear,
                         const uint8_t *trailer, uint8_t *body, int size, uint8_t *tag) {
  int count;
  return EVP_CipherInit_ex(context, 0, 0, 0, nonce, 1) > 0 &&
         v_authenticate(context, clear, trailer) > 0 &&
         EVP_CipherUpdate(context, body, &count, body, size) > 0 &&
         EVP_CipherFinal_ex(context, body + count, &count) > 0 &&
         EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, 16, tag) > 0;
}

// The inverse; returns 1 if the tag is right, else the octets at `body` are invalid.
static inline int v_open_sealed(void *context, const uint8_t *nonce, const uint8_t *clear,
                                const uint8_t *trailer, uint8_t *body, int size,
                                const uint8_t *tag) {
  int count;
  return EVP_CipherInit_ex(context, 0, 0, 0, nonce, 0) > 0 &&
         v_authenticate(context, clear, trailer) > 0 &&
         EVP_CipherUpdate(context, body, &count, body, size) > 0 &&
         EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, 16, (void *)tag) > 0 &&
         EVP_CipherFinal_ex(context, body + count, &count) > 0;
}
