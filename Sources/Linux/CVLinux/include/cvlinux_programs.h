// Starting a program and supervising it: the supervisor is the parent of its root process, and of
// all processes that it leaves behind. Between clone and exec there is only C. Functions return a
// negative error number on failure.
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

// The headers hide these without _GNU_SOURCE, which an importer may not define.
#define V_CLONE_PIDFD 0x1000
#define V_CLOSE_RANGE_CLOEXEC 4
#define V_SPAWN_SETSID 0x80
#define V_TIOCGPTPEER 0x5441
#define V_WAIT_ALL 0x40000000  // __WALL
// The signal that the supervisor gets when its keeper has died.
#define V_KEEPER_DEATH SIGUSR1
int execvpe(const char *file, char *const arguments[], char *const environment[]);
int pipe2(int ends[2], int flags);
extern char **environ;

// ---- The keeper

// Starts `path` in a session of its own; only `channel` is open, as descriptor 3.
static inline int v_keeper_spawn(const char *path, const char *const *arguments, int channel) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(
      &attributes, V_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawn_file_actions_adddup2(&actions, channel, 3);
  for (int fd = 0; fd < 3; fd++)
    posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
  pid_t pid = 0;
  int error =
      posix_spawn(&pid, path, &actions, &attributes, (char *const *)arguments, environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return error != 0 ? -error : pid;
}

// Both ends whole frames, closed at exec.
static inline int v_channel_make(int ends[2]) {
  return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0 ? -errno
                                                                                         : 0;
}

// ---- Reports of the supervisor

enum v_report_kind {
  v_report_directory = 1,  // 0 the one asked for, 1 the home directory, 2 the root
  v_report_running,
  v_report_no_group,  // and an error number, as in the next two
  v_report_no_user,
  v_report_no_program,
  v_report_stopped,
  v_report_continued,
  v_report_ended,  // a wait status
};

struct v_report {
  int32_t kind;
  int32_t value;
  uint64_t milliseconds;  // of an end: the processor time that it used
};

static inline int v_report_put(int channel, const struct v_report *report) {
  ssize_t count;
  do {
    count = send(channel, report, sizeof *report, MSG_NOSIGNAL);
  } while (count < 0 && errno == EINTR);
  return count < 0 ? -errno : 0;
}

static inline int v_report_send(int channel, int kind, int value) {
  struct v_report report = {kind, value, 0};
  return v_report_put(channel, &report);
}

static inline uint64_t v_milliseconds(const struct rusage *used) {
  return (uint64_t)(used->ru_utime.tv_sec + used->ru_stime.tv_sec) * 1000 +
         (uint64_t)(used->ru_utime.tv_usec + used->ru_stime.tv_usec) / 1000;
}

// The next report: 1, or 0 at the end; and the pid of its sender, in the receiver's namespace.
static inline int v_report_receive(int channel, struct v_report *report, int32_t *sender) {
  // struct ucred, which the headers hide too.
  struct {
    int32_t pid, uid, gid;
  } who;
  union {
    struct cmsghdr header;
    char octets[CMSG_SPACE(sizeof who)];
  } control;
  struct iovec part = {report, sizeof *report};
  struct msghdr message = {.msg_iov = &part,
                           .msg_iovlen = 1,
                           .msg_control = &control,
                           .msg_controllen = sizeof control};
  ssize_t count;
  do {
    count = recvmsg(channel, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (count < 0 && errno == EINTR);
  if (count < 0) return -errno;
  if (count != sizeof *report) return 0;
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  *sender = 0;
  if (header != NULL && header->cmsg_len == CMSG_LEN(sizeof who)) {
    memcpy(&who, CMSG_DATA(header), sizeof who);
    *sender = who.pid;
  }
  return 1;
}

static inline int v_report_channel(int ends[2]) {
  int one = 1;
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) return -errno;
  setsockopt(ends[0], SOL_SOCKET, SO_PASSCRED, &one, sizeof one);
  return 0;
}

// ---- Terminals

// A terminal of `uid`: its master, and in `slave` the other end.
static inline int v_terminal_open(uint32_t uid, int *slave) {
  int unlocked = 0;
  int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
  if (master < 0) return -errno;
  *slave = -1;
  if (ioctl(master, TIOCSPTLCK, &unlocked) == 0)
    *slave = ioctl(master, V_TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (*slave < 0 || fchown(*slave, uid, (gid_t)-1) < 0) {
    int error = errno;
    close(master);
    if (*slave >= 0) close(*slave);
    return -error;
  }
  return master;
}

// The kernel sends SIGWINCH to the foreground if the size changes.
static inline int v_terminal_resize(int master, uint16_t rows, uint16_t columns) {
  struct winsize size = {.ws_row = rows, .ws_col = columns};
  return ioctl(master, TIOCSWINSZ, &size) < 0 ? -errno : 0;
}

// ---- The program

struct v_program_plan {
  const char *const *arguments;
  const char *const *environment;
  const char *directory;  // empty: none is asked for
  const char *home;
  uint32_t uid, gid;
  const uint32_t *groups;
  size_t group_count;
  const char *const *groups_joined;  // cgroup.procs files
  const char *kill_file;             // cgroup.kill, or empty
  int32_t keeper_end;                // of the channel for reports
  int32_t session_nice;              // for autogroup, 0 leaves it
  int32_t process_nice;
  int32_t streams[3];  // what become descriptors 0, 1 and 2
  int32_t has_terminal;
  uint32_t mask;  // as umask(2)
};

static inline int v_put_text(const char *path, const char *text) {
  int file = open(path, O_WRONLY | O_CLOEXEC);
  if (file < 0) return -errno;
  ssize_t count = write(file, text, strlen(text));
  int error = errno;
  close(file);
  return count < 0 ? -error : 0;
}

// All signals as at a login.
static inline void v_signals_reset(void) {
  uint64_t action[4] = {0};
  sigset_t none;
  // Not glibc's function: it leaves out two signals, which posix_spawn leaves ignored.
  for (int number = 1; number < 65; number++)
    syscall(SYS_rt_sigaction, number, action, NULL, sizeof(uint64_t));
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

// The error number that a child wrote before it ended; 0 if its exec closed the pipe.
static inline int v_failure_read(int failure) {
  int error = 0;
  ssize_t count;
  do {
    count = read(failure, &error, sizeof error);
  } while (count < 0 && errno == EINTR);
  return count == sizeof error ? error : 0;
}

// The child of the supervisor: it becomes the user, then the program.
static inline void v_program_become(const struct v_program_plan *plan, int reports, int failure) {
  sigset_t set;
  sigfillset(&set);
  sigprocmask(SIG_SETMASK, &set, NULL);
  // A process group of its own, but in the session of the supervisor: so the terminal can stop it,
  // which Linux refuses for a group without a parent in its session.
  setpgid(0, 0);
  for (const char *const *group = plan->groups_joined; *group != NULL; group++) {
    int result = v_put_text(*group, "0");
    if (result < 0) {
      v_report_send(reports, v_report_no_group, -result);
      _exit(127);
    }
  }
  for (int fd = 0; fd < 3; fd++) dup2(plan->streams[fd], fd);
  if (plan->has_terminal) tcsetpgrp(0, getpid());
  v_signals_reset();
  syscall(SYS_close_range, 3, ~0U, V_CLOSE_RANGE_CLOEXEC);
  // Not glibc's function: it would look for the keeper's threads.
  if (syscall(SYS_setgroups, plan->group_count, plan->groups) < 0 ||
      syscall(SYS_setresgid, plan->gid, plan->gid, plan->gid) < 0 ||
      syscall(SYS_setresuid, plan->uid, plan->uid, plan->uid) < 0) {
    v_report_send(reports, v_report_no_user, errno);
    _exit(127);
  }
  umask(plan->mask);
  int place = 0;
  if (plan->directory[0] == 0 || chdir(plan->directory) < 0) {
    place = chdir(plan->home) == 0 ? 1 : 2;
    if (place == 2 && chdir("/") < 0) place = 2;
  }
  // A keeper that does not want it any more does not listen.
  if (v_report_send(reports, v_report_directory, place) < 0) _exit(127);
  environ = (char **)plan->environment;
  execvpe(plan->arguments[0], (char *const *)plan->arguments, environ);
  int error = errno;
  if (write(failure, &error, sizeof error) < 0) _exit(126);
  _exit(127);
}

static inline void v_program_enter(const struct v_program_plan *plan) {
  char nice[16];
  struct rlimit files;
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, NULL);
  prctl(PR_SET_NAME, "v-init");
  prctl(PR_SET_PDEATHSIG, V_KEEPER_DEATH);
  // Processes that the program leaves behind become this process's children, not init's.
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  setsid();
  if (plan->has_terminal) ioctl(plan->streams[0], TIOCSCTTY, 0);
  if (plan->session_nice != 0) {
    nice[0] = (char)('0' + plan->session_nice / 10);
    nice[1] = (char)('0' + plan->session_nice % 10);
    nice[2] = 0;
    v_put_text("/proc/self/autogroup", nice);
  }
  if (plan->process_nice != 0) setpriority(PRIO_PROCESS, 0, plan->process_nice);
  // The node has a higher limit than programs expect: select(2) ends at 1,024.
  if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur > 1024) {
    files.rlim_cur = 1024;
    setrlimit(RLIMIT_NOFILE, &files);
  }
}

struct v_children {
  int left;  // negative where Linux does not list them
  int reaped;
};

// Goes through the children once: reaps those that have ended, all but `spared`, and sends
// `number`, if it is not 0, to the others. Children that end meanwhile may be left out.
static inline struct v_children v_children_pass(pid_t spared, int number) {
  struct v_children found = {0, 0};
  char text[4096];
  pid_t pid = 0;
  ssize_t count;
  int file = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
  if (file < 0) {
    found.left = -errno;
    return found;
  }
  while ((count = read(file, text, sizeof text)) > 0) {
    for (ssize_t i = 0; i < count; i++) {
      if (text[i] >= '0' && text[i] <= '9') {
        pid = pid * 10 + (text[i] - '0');
        continue;
      }
      if (pid > 0 && pid != spared) {
        if (waitpid(pid, NULL, WNOHANG | V_WAIT_ALL) == pid) {
          found.reaped++;
        } else {
          found.left++;
          if (number != 0) kill(pid, number);
        }
      }
      pid = 0;
    }
  }
  close(file);
  return found;
}

// Kills all children, then ends this process.
static inline void v_program_end(const struct v_program_plan *plan) {
  for (;;) {
    if (plan->kill_file[0] != 0) v_put_text(plan->kill_file, "1");
    struct v_children found = v_children_pass(0, SIGKILL);
    if (found.left <= 0 && found.reaped == 0) _exit(1);
    // Their children are left to the next pass.
    if (found.left > 0) waitpid(-1, NULL, V_WAIT_ALL);
  }
}

// Reports on the root process; returns whether it has ended. It is not reaped: as long as one of
// the program's processes runs, its number is given neither to a process nor to a group.
static inline int v_program_tell(pid_t program) {
  siginfo_t info;
  struct rusage used;
  for (;;) {
    info.si_pid = 0;
    if (waitid(P_PID, (id_t)program, &info, WSTOPPED | WCONTINUED | WNOHANG) < 0) break;
    if (info.si_pid == 0) break;
    int is_stop = info.si_code == CLD_STOPPED;
    v_report_send(1, is_stop ? v_report_stopped : v_report_continued, info.si_status);
  }
  info.si_pid = 0;
  if (syscall(SYS_waitid, P_PID, program, &info, WEXITED | WNOHANG | WNOWAIT, &used) < 0 ||
      info.si_pid == 0)
    return 0;
  struct v_report report = {v_report_ended, info.si_status, v_milliseconds(&used)};
  if (info.si_code == CLD_EXITED) report.value = (info.si_status & 0xFF) << 8;
  v_report_put(1, &report);
  return 1;
}

// Starts the program and reports on it; adopts processes that it leaves behind, and ends with the
// last of them.
static inline void v_program_supervise(
    const struct v_program_plan *plan, pid_t keeper, int reports) {
  int failure[2], error = 0, has_ended = 0;
  sigset_t awaited;
  // A copy of it would make a report of success reach nobody, after the keeper has closed its own.
  close(plan->keeper_end);
  v_program_enter(plan);
  if (pipe2(failure, O_CLOEXEC) < 0) _exit(1);
  long program = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
  if (program == 0) v_program_become(plan, reports, failure[1]);
  if (program < 0) {
    v_report_send(reports, v_report_no_program, errno);
    _exit(1);
  }
  // Everything else is closed: the streams, and the descriptors that the program's exec closes.
  if (dup2(failure[0], 0) < 0 || dup2(reports, 1) < 0) _exit(1);
  syscall(SYS_close_range, 2, ~0U, 0);
  error = v_failure_read(0);
  if (error != 0) {
    v_report_send(1, v_report_no_program, error);
    _exit(1);
  }
  // A keeper may have died before the signal for its death was requested; then it reads nothing.
  if (v_report_send(1, v_report_running, 0) < 0) v_program_end(plan);
  sigemptyset(&awaited);
  sigaddset(&awaited, SIGCHLD);
  sigaddset(&awaited, V_KEEPER_DEATH);
  for (;;) {
    if (getppid() != keeper) v_program_end(plan);
    if (!has_ended) has_ended = v_program_tell((pid_t)program);
    struct v_children found;
    do {
      found = v_children_pass((pid_t)program, 0);
    } while (found.reaped > 0);
    if (has_ended && found.left < 0) {
      pid_t reaped;
      do {
        reaped = waitpid(-1, NULL, WNOHANG | V_WAIT_ALL);
      } while (reaped > 0);
      if (reaped < 0) found.left = 0;
    }
    if (has_ended && found.left == 0) break;
    sigwaitinfo(&awaited, NULL);
  }
  waitpid((pid_t)program, NULL, V_WAIT_ALL);
  _exit(0);
}

// Starts the supervisor; returns its pid, and in `death` a descriptor that is readable once it has
// ended. The caller has no other thread.
static inline int v_program_start(const struct v_program_plan *plan, int reports, int *death) {
  pid_t keeper = getpid();
  long pid = syscall(SYS_clone, V_CLONE_PIDFD | SIGCHLD, NULL, death, NULL, NULL);
  if (pid == 0) v_program_supervise(plan, keeper, reports);
  return pid < 0 ? -errno : (int)pid;
}

// The wait status of an ended process, and the processor time of it and of the children that it
// reaped.
static inline int v_program_reap(int pid, int *status, uint64_t *milliseconds) {
  struct rusage used;
  pid_t result;
  do {
    result = wait4(pid, status, V_WAIT_ALL, &used);
  } while (result < 0 && errno == EINTR);
  if (result < 0) return -errno;
  *milliseconds = v_milliseconds(&used);
  return 0;
}

// ---- A program that ends with the process that started it

// Starts a program, with no signal blocked; its pid. It is sent SIGTERM when the calling thread has
// ended, however that came.
static inline int v_child_start(char *const *arguments, char *const *environment) {
  int failure[2], error = 0;
  pid_t parent = getpid();
  if (pipe2(failure, O_CLOEXEC) < 0) return -errno;
  long child = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    v_signals_reset();
    if (getppid() == parent) execvpe(arguments[0], arguments, environment);
    error = errno;
    if (write(failure[1], &error, sizeof error) < 0) _exit(126);
    _exit(127);
  }
  if (child < 0) error = errno;
  close(failure[1]);
  if (child > 0) {
    error = v_failure_read(failure[0]);
    if (error != 0) waitpid((pid_t)child, NULL, V_WAIT_ALL);
  }
  close(failure[0]);
  return error != 0 ? -error : (int)child;
}

// Becomes the program that this process runs anew, with nothing open but the standard streams;
// returns where that fails.
static inline void v_begin_anew(char *const *arguments) {
  syscall(SYS_close_range, 3, ~0U, V_CLOSE_RANGE_CLOEXEC);
  execv("/proc/self/exe", arguments);
}

// ---- Signals

// A user can stop the child that signals for that user, so the wait for it is limited.
#define V_SIGNALLER_MILLISECONDS 1000

// Signals processes with a user's ids and no other rights, as kill(2) does, up to the first of
// `targets` that is refused. Ended processes do not count, unless all have ended (ESRCH). A child
// does it: a user may signal any process with the user's ids, and the keeper must not be one.
static inline int v_kill_as(
    uint32_t uid, uint32_t gid, const int32_t *targets, size_t count, int number) {
  int ended = -1, status = 0;
  long child =
      syscall(SYS_clone, V_CLONE_PIDFD | SIGCHLD, NULL, &ended, NULL, NULL);
  if (child < 0) return -errno;
  if (child == 0) {
    int result = ESRCH;
    if (syscall(SYS_setgroups, 0, NULL) < 0 || syscall(SYS_setresgid, gid, gid, gid) < 0 ||
        syscall(SYS_setresuid, uid, uid, uid) < 0)
      _exit(errno);
    for (size_t i = 0; i < count; i++) {
      if (kill(targets[i], number) == 0) {
        result = 0;
      } else if (errno != ESRCH) {
        _exit(errno);
      }
    }
    _exit(result);
  }
  struct pollfd death = {.fd = ended, .events = POLLIN};
  if (poll(&death, 1, V_SIGNALLER_MILLISECONDS) <= 0) kill((pid_t)child, SIGKILL);
  close(ended);
  pid_t result;
  do {
    result = waitpid((pid_t)child, &status, V_WAIT_ALL);
  } while (result < 0 && errno == EINTR);
  if (result < 0) return -errno;
  return WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
}
