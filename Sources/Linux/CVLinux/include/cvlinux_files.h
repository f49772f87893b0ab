// Calls on files and users that Swift's Glibc lacks, or that must act on one thread only.
// Every function returns a negative error number on failure.
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <linux/stat.h>
#include <pwd.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

// The headers hide these without _GNU_SOURCE, which an importer may not define.
#define V_O_PATH 010000000
#define V_AT_EMPTY_PATH 0x1000
#define V_AT_EACCESS 0x200
#define V_AT_SYMLINK_FOLLOW 0x400
#define V_RWF_NOWAIT 0x8
#define V_RENAME_NOREPLACE 1
#define V_RENAME_EXCHANGE 2

// The result of a call, or its negative error number; an interrupted call is repeated.
#define V_CALL(type, call)                                \
  do {                                                    \
    type v_call_result;                                   \
    do {                                                  \
      v_call_result = (type)(call);                       \
    } while (v_call_result < 0 && errno == EINTR);        \
    return v_call_result < 0 ? -(type)errno : v_call_result; \
  } while (0)

// ---- Opening

static inline int v_openat2(
    int directory, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
  struct open_how how;
  memset(&how, 0, sizeof how);
  how.flags = flags;
  how.mode = mode;
  how.resolve = resolve;
  V_CALL(int, syscall(SYS_openat2, directory, path, &how, sizeof how));
}

static inline int v_openat(int directory, const char *path, int flags) {
  V_CALL(int, openat(directory, path, flags));
}

// ---- Locks of open file descriptions

#define V_F_OFD_GETLK 36
#define V_F_OFD_SETLK 37

// Takes a lock of `type` (F_RDLCK, F_WRLCK, F_UNLCK) on `count` octets, 0 for all to the end.
static inline int v_lock_range(int file, int type, int64_t start, int64_t count) {
  struct flock lock;
  memset(&lock, 0, sizeof lock);
  lock.l_type = (short)type;
  lock.l_whence = SEEK_SET;
  lock.l_start = start;
  lock.l_len = count;
  V_CALL(int, fcntl(file, V_F_OFD_SETLK, &lock));
}

// Replaces the wanted lock by one that conflicts with it; its type is F_UNLCK if there is none.
static inline int v_query_lock(int file, int *type, int64_t *start, int64_t *count) {
  struct flock lock;
  memset(&lock, 0, sizeof lock);
  lock.l_type = (short)*type;
  lock.l_whence = SEEK_SET;
  lock.l_start = *start;
  lock.l_len = *count;
  int result = fcntl(file, V_F_OFD_GETLK, &lock);
  *type = lock.l_type;
  *start = lock.l_start;
  *count = lock.l_len;
  return result < 0 ? -errno : 0;
}

static inline int v_flock(int file, int operation) { V_CALL(int, flock(file, operation)); }

// ---- Extended attributes, by a path, because calls on them take no O_PATH descriptor

static inline int64_t v_getxattr(const char *path, const char *name, void *value, size_t count) {
  V_CALL(int64_t, getxattr(path, name, value, count));
}

static inline int64_t v_listxattr(const char *path, char *names, size_t count) {
  V_CALL(int64_t, listxattr(path, names, count));
}

static inline int v_setxattr(
    const char *path, const char *name, const void *value, size_t count, int flags) {
  V_CALL(int, setxattr(path, name, value, count, flags));
}

static inline int v_removexattr(const char *path, const char *name) {
  V_CALL(int, removexattr(path, name));
}

// ---- The state of an object

// The result of statx, with times in nanoseconds since 1970.
struct v_object_state {
  uint64_t device, inode, generation, device_number, size, allocated_bytes;
  int64_t accessed, modified, changed, born;
  uint32_t mode, links, uid, gid, block_size;
};

static inline int64_t v_nanoseconds(struct statx_timestamp stamp) {
  int64_t result;
  if (__builtin_mul_overflow(stamp.tv_sec, 1000000000LL, &result) ||
      __builtin_add_overflow(result, (int64_t)stamp.tv_nsec, &result))
    return stamp.tv_sec < 0 ? INT64_MIN : INT64_MAX;
  return result;
}

// A number that differs between two objects that had one inode number one after the other: a hash
// of the file handle (which has the file system's own generation), else the time of birth. The
// clock of births ticks in milliseconds, so it alone would not tell a file from its successor.
static inline uint64_t v_generation(int descriptor, int64_t born) {
  struct {
    uint32_t byte_count;
    int32_t type;
    unsigned char bytes[128];
  } handle;
  handle.byte_count = sizeof handle.bytes;
  int mount;
  if (syscall(SYS_name_to_handle_at, descriptor, "", &handle, &mount, V_AT_EMPTY_PATH) != 0)
    return (uint64_t)born;
  uint64_t hash = 0xcbf29ce484222325ULL ^ (uint32_t)handle.type;
  for (uint32_t i = 0; i < handle.byte_count && i < sizeof handle.bytes; i++)
    hash = (hash ^ handle.bytes[i]) * 0x100000001b3ULL;
  return hash;
}

static inline int v_describe(int descriptor, struct v_object_state *state) {
  struct statx found;
  long result;
  do {
    result = syscall(SYS_statx, descriptor, "", V_AT_EMPTY_PATH,
                     STATX_BASIC_STATS | STATX_BTIME, &found);
  } while (result < 0 && errno == EINTR);
  if (result < 0) return -errno;
  state->device = (uint64_t)found.stx_dev_major << 32 | found.stx_dev_minor;
  state->inode = found.stx_ino;
  // The device number has the form of the wire: major in the high word.
  state->device_number = (uint64_t)found.stx_rdev_major << 32 | found.stx_rdev_minor;
  state->size = found.stx_size;
  state->allocated_bytes = found.stx_blocks * 512;
  state->accessed = v_nanoseconds(found.stx_atime);
  state->modified = v_nanoseconds(found.stx_mtime);
  state->changed = v_nanoseconds(found.stx_ctime);
  state->born = found.stx_mask & STATX_BTIME ? v_nanoseconds(found.stx_btime) : 0;
  state->mode = found.stx_mode;
  state->links = found.stx_nlink;
  state->uid = found.stx_uid;
  state->gid = found.stx_gid;
  state->block_size = found.stx_blksize;
  state->generation = v_generation(descriptor, state->born);
  return 0;
}

// The mode of a named object in a directory; a link is not followed.
static inline int64_t v_mode_of(int directory, const char *name) {
  struct statx found;
  if (syscall(SYS_statx, directory, name, AT_SYMLINK_NOFOLLOW, STATX_TYPE, &found) < 0)
    return -(int64_t)errno;
  return found.stx_mode;
}

// Size and mode only: what a read or a write needs.
static inline int v_size_and_mode(int descriptor, uint64_t *size, uint32_t *mode) {
  struct stat found;
  if (fstat(descriptor, &found) < 0) return -errno;
  *size = (uint64_t)found.st_size;
  *mode = found.st_mode;
  return 0;
}

static inline int v_access(int descriptor, int mask) {
  V_CALL(int, syscall(SYS_faccessat2, descriptor, "", mask, V_AT_EMPTY_PATH | V_AT_EACCESS));
}

static inline int64_t v_readlink(int descriptor, char *buffer, size_t size) {
  V_CALL(int64_t, readlinkat(descriptor, "", buffer, size));
}

static inline int v_fstatfs(int descriptor, struct statfs *state) {
  V_CALL(int, fstatfs(descriptor, state));
}

// ---- Octets

static inline int64_t v_pread(int descriptor, void *data, size_t count, int64_t at, int flags) {
  struct iovec part = {data, count};
  V_CALL(int64_t, syscall(SYS_preadv2, descriptor, &part, 1L, at, 0L, flags));
}

static inline int64_t v_pwrite(
    int descriptor, const void *data, size_t count, int64_t at, int flags) {
  struct iovec part = {(void *)data, count};
  V_CALL(int64_t, syscall(SYS_pwritev2, descriptor, &part, 1L, at, 0L, flags));
}

// Whole linux_dirent64 records from `position` on.
static inline int64_t v_entries(int descriptor, int64_t position, void *buffer, size_t size) {
  if (lseek(descriptor, position, SEEK_SET) < 0) return -(int64_t)errno;
  V_CALL(int64_t, syscall(SYS_getdents64, descriptor, buffer, size));
}

static inline int v_fsync(int descriptor, int is_data_only) {
  V_CALL(int, is_data_only ? fdatasync(descriptor) : fsync(descriptor));
}

// ---- Names

static inline int v_mkdir(int directory, const char *name, uint32_t mode) {
  V_CALL(int, mkdirat(directory, name, mode));
}

static inline int v_symlink(const char *target, int directory, const char *name) {
  V_CALL(int, symlinkat(target, directory, name));
}

// `device_number` has the major number in the high word, as in `v_object_state`.
static inline int v_mknod(
    int directory, const char *name, uint32_t mode, uint64_t device_number) {
  uint64_t major = device_number >> 32, minor = device_number & 0xffffffff;
  // The kernel's encoding, the one mknod takes.
  uint64_t device = (minor & 0xff) | (major & 0xfff) << 8 | (minor & ~0xffULL) << 12;
  V_CALL(int, syscall(SYS_mknodat, directory, name, mode, device));
}

// `source` is a name in the process's directory of descriptors.
static inline int v_link(int source_directory, const char *source, int directory,
                         const char *name) {
  V_CALL(int, linkat(source_directory, source, directory, name, V_AT_SYMLINK_FOLLOW));
}

static inline int v_unlink(int directory, const char *name, int is_directory) {
  V_CALL(int, unlinkat(directory, name, is_directory ? AT_REMOVEDIR : 0));
}

static inline int v_rename(int old_directory, const char *old_name, int new_directory,
                           const char *new_name, unsigned flags) {
  V_CALL(int, syscall(SYS_renameat2, old_directory, old_name, new_directory, new_name, flags));
}

// ---- Attributes

static inline int v_chmod(int directory, const char *name, uint32_t mode) {
  V_CALL(int, fchmodat(directory, name, mode, 0));
}

static inline int v_chown(int descriptor, uint32_t uid, uint32_t gid) {
  V_CALL(int, fchownat(descriptor, "", uid, gid, V_AT_EMPTY_PATH));
}

static inline int v_utimens(int descriptor, const struct timespec times[2]) {
  V_CALL(int, syscall(SYS_utimensat, descriptor, "", times, V_AT_EMPTY_PATH));
}

static inline int v_ftruncate(int descriptor, int64_t size) {
  V_CALL(int, ftruncate(descriptor, size));
}

// ---- Credentials of the calling thread (glibc would change those of all threads)

// Changing fsuid from 0 takes CAP_DAC_OVERRIDE, CAP_CHOWN, CAP_FOWNER and the other capabilities on
// files from this thread, and changing it back to 0 restores them: capabilities(7).
static inline int v_take_credentials(
    uint32_t uid, uint32_t gid, const uint32_t *groups, size_t count) {
  if (syscall(SYS_setgroups, count, groups) < 0) return -errno;
  syscall(SYS_setfsgid, gid);
  syscall(SYS_setfsuid, uid);
  // These two calls do not report failure; called with an impossible id they return the present
  // one.
  if ((uint32_t)syscall(SYS_setfsgid, -1) != gid) return -EPERM;
  if ((uint32_t)syscall(SYS_setfsuid, -1) != uid) return -EPERM;
  return 0;
}

// The same for the user alone, without groups.
static inline int v_take_user(uint32_t uid) {
  syscall(SYS_setfsuid, uid);
  return (uint32_t)syscall(SYS_setfsuid, -1) == uid ? 0 : -EPERM;
}

// Opens a file to read with a user's rights and without capabilities: one that fsuid does not
// remove, such as CAP_SYS_PTRACE, would let a user read every process. `own` are the credentials
// that the thread returns to; if that fails, the process ends.
static inline int v_open_as(
    const char *path, uint32_t uid, uint32_t gid, const uint32_t *groups, size_t count,
    uint32_t own_uid, uint32_t own_gid, const uint32_t *own_groups, size_t own_count) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct own[_LINUX_CAPABILITY_U32S_3], none[_LINUX_CAPABILITY_U32S_3];
  if (syscall(SYS_capget, &header, own) != 0) return -errno;
  int result = v_take_credentials(uid, gid, groups, count);
  memcpy(none, own, sizeof none);
  for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) none[i].effective = 0;
  if (result == 0 && syscall(SYS_capset, &header, none) != 0) result = -errno;
  if (result == 0) {
    result = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (result < 0) result = -errno;
  }
  // First the right to take the credentials back.
  if (syscall(SYS_capset, &header, own) != 0) abort();
  if (v_take_credentials(own_uid, own_gid, own_groups, own_count) != 0) abort();
  return result;
}

// Gives up CAP_SYS_RESOURCE in this thread and those that it starts, if it has it.
static inline void v_drop_resource_capability(void) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
  if (syscall(SYS_capget, &header, data) != 0) return;
  data[0].effective &= ~(1u << CAP_SYS_RESOURCE);
  data[0].permitted &= ~(1u << CAP_SYS_RESOURCE);
  syscall(SYS_capset, &header, data);
}

static inline int v_groups(uint32_t *groups, int count_max) {
  V_CALL(int, getgroups(count_max, groups));
}

// ---- Users and groups

#define V_USER_BUFFER_BYTES 1048576

// Whether the error of a lookup means that there is no such entry, rather than that the lookup
// failed: a full table of descriptors, or a name service that is down, tells nothing about a user.
static inline int v_says_absent(int result) {
  return result == 0 || result == ENOENT || result == ESRCH;
}

// Fills in the data of a user: ids, at most *group_count groups, and home directory and shell of
// less than `size` octets each. 0 if there is no such user, else 1.
static inline int v_user_account(
    const char *name, uint32_t *uid, uint32_t *gid, uint32_t *groups, int *group_count, char *home,
    char *shell, size_t size) {
  char *buffer = (char *)malloc(V_USER_BUFFER_BYTES);
  if (buffer == NULL) return -ENOMEM;
  struct passwd entry, *found = NULL;
  int result = getpwnam_r(name, &entry, buffer, V_USER_BUFFER_BYTES, &found);
  if (found != NULL) {
    int count = *group_count;
    *uid = entry.pw_uid;
    *gid = entry.pw_gid;
    // Groups that could not be read are left out; only errno tells.
    errno = 0;
    if (getgrouplist(name, entry.pw_gid, groups, group_count) < 0) *group_count = count;
    result = errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == EIO ? errno : 0;
    int fits = strlen(entry.pw_dir) < size && strlen(entry.pw_shell) < size;
    strcpy(home, fits ? entry.pw_dir : "");
    strcpy(shell, fits ? entry.pw_shell : "");
  }
  free(buffer);
  if (!v_says_absent(result)) return -result;
  return found != NULL;
}

// Fills in the gid of a group; 0 if there is none, else 1.
static inline int v_group_by_name(const char *name, uint32_t *gid) {
  char *buffer = (char *)malloc(V_USER_BUFFER_BYTES);
  if (buffer == NULL) return -ENOMEM;
  struct group entry, *found = NULL;
  int result = getgrnam_r(name, &entry, buffer, V_USER_BUFFER_BYTES, &found);
  if (found != NULL) *gid = entry.gr_gid;
  free(buffer);
  return found != NULL ? 1 : v_says_absent(result) ? 0 : -result;
}

// The length of the name of a user or group, which is put into `name`; 0 if there is none.
static inline int v_name_of_id(uint32_t id, int is_group, char *name, size_t size) {
  char *buffer = (char *)malloc(V_USER_BUFFER_BYTES);
  if (buffer == NULL) return -ENOMEM;
  const char *text = NULL;
  struct passwd user, *found_user = NULL;
  struct group group, *found_group = NULL;
  int result;
  if (is_group) {
    result = getgrgid_r(id, &group, buffer, V_USER_BUFFER_BYTES, &found_group);
    if (found_group != NULL) text = group.gr_name;
  } else {
    result = getpwuid_r(id, &user, buffer, V_USER_BUFFER_BYTES, &found_user);
    if (found_user != NULL) text = user.pw_name;
  }
  size_t length = text == NULL ? 0 : strlen(text);
  if (length >= size) length = 0;
  memcpy(name, text == NULL ? "" : text, length);
  free(buffer);
  return text != NULL || v_says_absent(result) ? (int)length : -result;
}

// When a file was last changed, in nanoseconds; 0 if there is none.
static inline int64_t v_changed_at(const char *path) {
  struct statx found;
  if (syscall(SYS_statx, AT_FDCWD, path, 0, STATX_CTIME, &found) < 0) return 0;
  return v_nanoseconds(found.stx_ctime);
}

// Nanoseconds of the monotonic clock, as of its last tick.
static inline int64_t v_coarse_clock(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return (int64_t)now.tv_sec * 1000000000LL + now.tv_nsec;
}
