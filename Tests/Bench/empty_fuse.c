// A FUSE server with nothing behind it: every name is a directory, and nothing may be kept. The
// floor that a stat through /v is measured against.
//   empty_fuse DIR     mounts on DIR and serves until it is unmounted or ended
#define FUSE_USE_VERSION 314
#include <errno.h>
#include <fuse_lowlevel.h>
#include <stdio.h>
#include <string.h>

static struct stat directory(fuse_ino_t inode) {
  return (struct stat){.st_ino = inode, .st_mode = S_IFDIR | 0755, .st_nlink = 2};
}

static void lookup(fuse_req_t request, fuse_ino_t parent, const char *name) {
  // Another number for each level is enough: one path is looked at.
  struct fuse_entry_param entry = {.ino = parent + 1 + (name[0] == '.'), .generation = 1};
  entry.attr = directory(entry.ino);
  fuse_reply_entry(request, &entry);
}

static void getattr(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *file) {
  (void)file;
  struct stat status = directory(inode);
  fuse_reply_attr(request, &status, 0);
}

static void forget(fuse_req_t request, fuse_ino_t inode, uint64_t count) {
  (void)inode, (void)count;
  fuse_reply_none(request);
}

int main(int argc, char **argv) {
  if (argc != 2) return fprintf(stderr, "see the source\n"), 2;
  char *options[] = {argv[0], "-osubtype=empty,fsname=empty"};
  struct fuse_args arguments = FUSE_ARGS_INIT(2, options);
  struct fuse_lowlevel_ops operations = {
      .lookup = lookup, .getattr = getattr, .forget = forget};
  struct fuse_session *session =
      fuse_session_new(&arguments, &operations, sizeof operations, NULL);
  if (!session || fuse_set_signal_handlers(session) != 0) return 1;
  if (fuse_session_mount(session, argv[1]) != 0) return 1;
  int result = fuse_session_loop(session);
  fuse_session_unmount(session);
  fuse_session_destroy(session);
  return result != 0;
}
