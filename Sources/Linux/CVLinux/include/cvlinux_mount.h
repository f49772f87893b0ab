// What VMount needs from Linux: the kernel's side of FUSE and its flags that are newer than the
// installed header (protocol 7.38 to 7.45), and calls that Swift's Glibc does not import.
#pragma once
#include <errno.h>
#include <linux/fuse.h>
#include <linux/stat.h>
#include <stddef.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

// FUSE_INIT flags2: bit n is protocol bit 32 + n.
enum {
  V_FUSE_DIRECT_IO_ALLOW_MMAP = 1u << 4,
  V_FUSE_PASSTHROUGH = 1u << 5,
  V_FUSE_HAS_RESEND = 1u << 7,
};

// The reply to INIT in protocol 7.45; the installed header still calls its end unused.
struct v_fuse_init_out {
  uint32_t major;
  uint32_t minor;
  uint32_t max_readahead;
  uint32_t flags;
  uint16_t max_background;
  uint16_t congestion_threshold;
  uint32_t max_write;
  uint32_t time_gran;
  uint16_t max_pages;
  uint16_t map_alignment;
  uint32_t flags2;
  uint32_t max_stack_depth;
  uint16_t request_timeout;
  uint16_t unused[11];
};
_Static_assert(sizeof(struct v_fuse_init_out) == 64, "the kernel reads 64 octets");

// Mounts a FUSE file system on a directory; 0 or -1 with errno.
static inline int v_mount_fuse(const char *source, const char *target, const char *options) {
  return mount(source, target, "fuse.v", MS_NOSUID | MS_NODEV, options);
}

// The file system on a mount point, without a request to it; 0 if that is unknown.
static inline uint64_t v_mount_device(const char *target) {
  struct statx found;
  const int without_request = 0x4000 | 0x800;  // AT_STATX_DONT_SYNC, AT_NO_AUTOMOUNT
  if (syscall(SYS_statx, AT_FDCWD, target, without_request, 0, &found) != 0) return 0;
  return (uint64_t)found.stx_dev_major << 32 | found.stx_dev_minor;
}

// The open flag that lets an inode be read and written through its backing file.
enum { V_FOPEN_PASSTHROUGH = 1 << 7 };

// Registers an open file as a backing file of the connection; its number, or -1 with errno.
//
// Linux later reads and writes it for every user with the rights of the thread that did this. With
// the rights of nobody, writes clear set-user bits and do not use a disk's reserve; the file is
// open already, so no other right is needed.
static inline int v_fuse_backing_open(int fuse, int fd) {
  struct {
    int32_t fd;
    uint32_t flags;
    uint64_t padding;
  } map = {.fd = fd};
  _Static_assert(sizeof map == 16, "FUSE_DEV_IOC_BACKING_OPEN takes 16 octets");
  syscall(SYS_setfsuid, 65534);
  int result = ioctl(fuse, _IOW(229, 1, map), &map);
  int error = errno;
  syscall(SYS_setfsuid, geteuid());
  errno = error;
  return result;
}

static inline int v_fuse_backing_close(int fuse, int backing) {
  uint32_t number = (uint32_t)backing;
  return ioctl(fuse, _IOW(229, 2, uint32_t), &number);
}

// Removes a mount from the name space at once, even if it is in use.
static inline int v_unmount_detached(const char *target) {
  return umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW);
}
