// UDP for both versions of IP, the addresses of this host, and what the network reports.
#pragma once

#include <errno.h>
#include <time.h>
#include <linux/errqueue.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef IPV6_MULTICAST_ALL
#define IPV6_MULTICAST_ALL 29
#endif

// ---- addresses ----

// In host byte order; an IPv4 address as IPv6 maps it, ::ffff:a.b.c.d.
struct v_address {
  uint64_t high, low;
  // The interface, for an address that holds on one link.
  uint32_t scope;
  uint16_t port;
};

union v_name {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
};

static inline int v_is_ipv4(const struct v_address *address) {
  return address->high == 0 && address->low >> 32 == 0xFFFF;
}

static inline struct in6_addr v_octets(uint64_t high, uint64_t low) {
  uint64_t parts[2] = {__builtin_bswap64(high), __builtin_bswap64(low)};
  if (__BYTE_ORDER == __BIG_ENDIAN) parts[0] = high, parts[1] = low;
  struct in6_addr octets;
  memcpy(&octets, parts, sizeof octets);
  return octets;
}

// The name of an address for a socket of `family`: one of AF_INET has no other addresses than IPv4.
static inline socklen_t v_fill_name(int family, const struct v_address *address,
                                    union v_name *name) {
  if (family == AF_INET) {
    name->v4 = (struct sockaddr_in){.sin_family = AF_INET,
                                    .sin_port = htons(address->port),
                                    .sin_addr = {.s_addr = htonl((uint32_t)address->low)}};
    return sizeof name->v4;
  }
  name->v6 = (struct sockaddr_in6){.sin6_family = AF_INET6,
                                   .sin6_port = htons(address->port),
                                   .sin6_addr = v_octets(address->high, address->low),
                                   .sin6_scope_id = address->scope};
  return sizeof name->v6;
}

static inline struct v_address v_address_of_octets(const void *octets) {
  uint64_t parts[2];
  memcpy(parts, octets, sizeof parts);
  if (__BYTE_ORDER == __LITTLE_ENDIAN)
    parts[0] = __builtin_bswap64(parts[0]), parts[1] = __builtin_bswap64(parts[1]);
  return (struct v_address){.high = parts[0], .low = parts[1]};
}

static inline struct v_address v_address_of_ipv4(uint32_t network_order) {
  return (struct v_address){.low = 0xFFFFull << 32 | ntohl(network_order)};
}

static inline struct v_address v_address_of_name(const union v_name *name) {
  struct v_address address;
  if (name->any.sa_family == AF_INET) {
    address = v_address_of_ipv4(name->v4.sin_addr.s_addr);
  } else {
    address = v_address_of_octets(&name->v6.sin6_addr);
    address.scope = name->v6.sin6_scope_id;
  }
  address.port = ntohs(name->v4.sin_port); // at the same place in both
  return address;
}

// ---- UDP ----

// struct in6_pktinfo, which is hidden.
struct v_pktinfo6 {
  struct in6_addr source;
  uint32_t interface;
};

static inline void v_udp_set(int fd, int level, int option, int value) {
  setsockopt(fd, level, option, &value, sizeof value);
}

// AF_INET6, whose sockets serve both versions, or AF_INET where Linux has no IPv6.
static inline int v_udp_family(void) {
  int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return AF_INET;
  close(fd);
  return AF_INET6;
}

// A nonblocking socket bound to `own`, or -errno.
static inline int v_udp_open(int family, struct v_address own, int is_shared) {
  int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  v_udp_set(fd, SOL_SOCKET, SO_RCVBUF, 4 << 20);
  v_udp_set(fd, SOL_SOCKET, SO_SNDBUF, 4 << 20);
  // What is larger than a link carries is fragmented, here or by a router. What a network says
  // about its links is not believed: a stranger could say it too.
  v_udp_set(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_OMIT);
  // Without this a socket that never joined still gets every group that any socket of the host
  // joined.
  v_udp_set(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0);
  v_udp_set(fd, IPPROTO_IP, IP_MULTICAST_LOOP, 1);
  v_udp_set(fd, IPPROTO_IP, IP_MULTICAST_TTL, 1);
  if (family == AF_INET6) {
    v_udp_set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    v_udp_set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_OMIT);
    v_udp_set(fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0);
    v_udp_set(fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 1);
    v_udp_set(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 1);
  }
  if (is_shared) v_udp_set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  v_udp_set(fd, IPPROTO_UDP, UDP_GRO, 1);
  union v_name name;
  socklen_t size = v_fill_name(family, &own, &name);
  if (bind(fd, &name.any, size) != 0) {
    int error = errno;
    close(fd);
    return -error;
  }
  return fd;
}

// The membership ends with the socket.
static inline int v_udp_join(int fd, struct v_address group, uint32_t interface) {
  if (v_is_ipv4(&group)) {
    struct ip_mreqn request = {.imr_multiaddr = {.s_addr = htonl((uint32_t)group.low)},
                               .imr_ifindex = (int)interface};
    return setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request);
  }
  struct ipv6_mreq request = {.ipv6mr_multiaddr = v_octets(group.high, group.low),
                              .ipv6mr_interface = interface};
  return setsockopt(fd, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &request, sizeof request);
}

static inline int v_udp_port(int fd) {
  union v_name name;
  socklen_t size = sizeof name;
  if (getsockname(fd, &name.any, &size) != 0) return -errno;
  return ntohs(name.v4.sin_port);
}

static inline void *v_add_control(struct msghdr *message, int level, int type, size_t size) {
  struct cmsghdr *header =
      (struct cmsghdr *)((char *)message->msg_control + message->msg_controllen);
  message->msg_controllen += CMSG_SPACE(size);
  header->cmsg_level = level;
  header->cmsg_type = type;
  header->cmsg_len = CMSG_LEN(size);
  return memset(CMSG_DATA(header), 0, size);
}

// Sends `size` octets as datagrams of `stride` octets (the last may be shorter) in one call, by one
// interface or, with 0, as the routes say. `own` is the socket's IPv4 address, if it has one: Linux
// forgets it when the interface is given. Returns 0 or -errno.
static inline int v_udp_send(int fd, int family, struct v_address to, uint32_t interface,
                             uint32_t own, const void *bytes, size_t size, size_t stride) {
  union v_name name;
  struct iovec piece = {.iov_base = (void *)bytes, .iov_len = size};
  union {
    char bytes[CMSG_SPACE(sizeof(uint16_t)) + CMSG_SPACE(sizeof(struct v_pktinfo6))];
    struct cmsghdr align;
  } control;
  struct msghdr message = {.msg_name = &name,
                           .msg_namelen = v_fill_name(family, &to, &name),
                           .msg_iov = &piece,
                           .msg_iovlen = 1,
                           .msg_control = control.bytes};
  if (size > stride) {
    uint16_t value = (uint16_t)stride;
    memcpy(v_add_control(&message, IPPROTO_UDP, UDP_SEGMENT, sizeof value), &value, sizeof value);
  }
  if (interface && v_is_ipv4(&to)) {
    struct in_pktinfo *info = v_add_control(&message, IPPROTO_IP, IP_PKTINFO, sizeof *info);
    info->ipi_ifindex = (int)interface;
    info->ipi_spec_dst.s_addr = htonl(own);
  } else if (interface) {
    struct v_pktinfo6 *info = v_add_control(&message, IPPROTO_IPV6, IPV6_PKTINFO, sizeof *info);
    info->interface = interface;
  }
  for (int tries = 0; sendmsg(fd, &message, 0) < 0; tries++) {
    // What the network said of an earlier packet; it is said once, instead of sending this one.
    int is_report = errno == ECONNREFUSED || errno == EHOSTUNREACH || errno == ENETUNREACH ||
                    errno == ENOPROTOOPT || errno == EHOSTDOWN || errno == EACCES;
    if (!is_report || tries == 2) return -errno;
  }
  return 0;
}

// Datagrams of one source that the kernel delivered together.
struct v_received {
  struct v_address source;
  uint32_t size;
  // Octets of each datagram but the last.
  uint32_t stride;
};

enum { V_RECEIVED_MAX = 2 };

struct v_mmsghdr {
  struct msghdr header;
  unsigned int size;
};

// Receives waiting datagrams, up to V_RECEIVED_MAX pieces, the i-th at `bytes + i * each`. Returns
// their number or -errno; fewer than the maximum means that none is left.
static inline int v_udp_receive(int fd, uint8_t *bytes, size_t each, struct v_received *out) {
  union v_name names[V_RECEIVED_MAX];
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
    out[i] = (struct v_received){.source = v_address_of_name(&names[i]),
                                 .size = messages[i].size,
                                 .stride = messages[i].size};
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part)) {
      if (part->cmsg_level != IPPROTO_UDP || part->cmsg_type != UDP_GRO) continue;
      int value;
      memcpy(&value, CMSG_DATA(part), sizeof value);
      if (value > 0) out[i].stride = (uint32_t)value;
    }
  }
  return count;
}

// ---- the addresses of this host ----

struct v_interface_address {
  struct v_address address;
  uint32_t interface;
  // Up and connected, and no part of another interface, as a port of a bridge is.
  int is_running;
  int is_loopback;
  int has_multicast;
  // Not to be used yet: another host of the network might have it.
  int is_tentative;
};

// A socket that becomes readable when an interface or an address has changed, or -errno.
static inline int v_route_open(void) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0) return -errno;
  struct sockaddr_nl name = {.nl_family = AF_NETLINK,
                             .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR};
  if (bind(fd, (struct sockaddr *)&name, sizeof name) == 0) return fd;
  int error = errno;
  close(fd);
  return -error;
}

// What has changed is not read: too many changes are lost, and all addresses are asked for anyway.
static inline void v_route_drain(int fd) {
  char bytes[64];
  while (recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) >= 0 || errno != EAGAIN) {
    if (errno == EBADF || errno == ENOTSOCK) return;
  }
}

// 0 for a part of another interface.
static inline uint32_t v_interface_flags(int fd, uint32_t interface) {
  struct ifreq request = {.ifr_ifindex = (int)interface};
  char path[64];
  if (ioctl(fd, SIOCGIFNAME, &request) != 0 || ioctl(fd, SIOCGIFFLAGS, &request) != 0) return 0;
  snprintf(path, sizeof path, "/sys/class/net/%.16s/master", request.ifr_name);
  return access(path, F_OK) == 0 ? 0 : (uint16_t)request.ifr_flags;
}

static inline int v_route_address(int fd, const struct nlmsghdr *header,
                                  struct v_interface_address *out) {
  const struct ifaddrmsg *data = NLMSG_DATA(header);
  uint32_t flags = data->ifa_flags;
  const void *found = 0;
  int left = (int)IFA_PAYLOAD(header);
  for (const struct rtattr *part = IFA_RTA(data); RTA_OK(part, left); part = RTA_NEXT(part, left)) {
    // The other end of a point-to-point link is IFA_ADDRESS, this one IFA_LOCAL.
    if (part->rta_type == IFA_LOCAL || (part->rta_type == IFA_ADDRESS && !found))
      found = RTA_DATA(part);
    if (part->rta_type == IFA_FLAGS) memcpy(&flags, RTA_DATA(part), sizeof flags);
  }
  if (!found || (data->ifa_family != AF_INET && data->ifa_family != AF_INET6)) return 0;
  uint32_t four;
  memcpy(&four, found, sizeof four);
  out->address =
      data->ifa_family == AF_INET ? v_address_of_ipv4(four) : v_address_of_octets(found);
  if (data->ifa_scope == RT_SCOPE_LINK && data->ifa_family == AF_INET6)
    out->address.scope = data->ifa_index;
  out->interface = data->ifa_index;
  uint32_t state = v_interface_flags(fd, data->ifa_index);
  out->is_running = (state & (IFF_UP | IFF_RUNNING)) == (IFF_UP | IFF_RUNNING);
  out->is_loopback = (state & IFF_LOOPBACK) != 0;
  out->has_multicast = (state & IFF_MULTICAST) != 0;
  out->is_tentative = (flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)) != 0;
  return 1;
}

// The addresses of all interfaces, `max` at most; returns their number, or -errno.
static inline int v_interface_addresses(struct v_interface_address *out, int max) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), count = 0;
  if (fd < 0) return -errno;
  struct {
    struct nlmsghdr header;
    struct ifaddrmsg data;
  } request = {.header = {.nlmsg_len = sizeof request,
                          .nlmsg_type = RTM_GETADDR,
                          .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP}};
  union {
    char bytes[16384];
    struct nlmsghdr align;
  } answer;
  int error = send(fd, &request, sizeof request, 0) < 0 ? errno : 0, is_done = 0;
  while (!error && !is_done) {
    ssize_t size = recv(fd, answer.bytes, sizeof answer.bytes, 0);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) error = size < 0 ? errno : EIO;
    int left = size > 0 ? (int)size : 0;
    for (struct nlmsghdr *part = &answer.align; NLMSG_OK(part, left);
         part = NLMSG_NEXT(part, left)) {
      if (part->nlmsg_type == NLMSG_ERROR) error = EIO;
      is_done = is_done || part->nlmsg_type == NLMSG_DONE;
      if (part->nlmsg_type == RTM_NEWADDR && count < max)
        count += v_route_address(fd, part, &out[count]);
    }
  }
  close(fd);
  return error ? -error : count;
}

// ---- what the network reports ----

// From now on `v_udp_error` tells what happened to packets of this socket.
static inline void v_udp_report_errors(int fd, int family) {
  v_udp_set(fd, IPPROTO_IP, IP_RECVERR, 1);
  if (family == AF_INET6) v_udp_set(fd, IPPROTO_IPV6, IPV6_RECVERR, 1);
}

// The next report: 1 if a destination cannot be reached, which is then in `out`, 0 for any other,
// or -errno.
static inline int v_udp_error(int fd, struct v_address *out) {
  union v_name name = {};
  union {
    char bytes[512];
    struct cmsghdr align;
  } control;
  struct msghdr message = {.msg_name = &name,
                           .msg_namelen = sizeof name,
                           .msg_control = control.bytes,
                           .msg_controllen = sizeof control.bytes};
  if (recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) return -errno;
  for (struct cmsghdr *part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
    if (!(part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_RECVERR) &&
        !(part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_RECVERR))
      continue;
    struct sock_extended_err report;
    memcpy(&report, CMSG_DATA(part), sizeof report);
    *out = v_address_of_name(&name);
    // Destination unreachable, but for fragmentation needed.
    return (report.ee_origin == SO_EE_ORIGIN_ICMP && report.ee_type == 3 && report.ee_code != 4) ||
           (report.ee_origin == SO_EE_ORIGIN_ICMP6 && report.ee_type == 1);
  }
  return 0;
}
