// Linux calls of the node's loop that Swift's Glibc module lacks, and sealing one packet in place.
#pragma once

#include <errno.h>
#include <pthread.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

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

// Beside a descriptor: it has errors to tell. Descriptors are far smaller.
enum { V_EVENT_ERROR = 1 << 30 };

// Waits for one event and returns its descriptor, or -1.
static inline int v_epoll_wait(int epoll, int timeout_ms) {
  struct epoll_event event;
  int count = epoll_wait(epoll, &event, 1, timeout_ms);
  if (count != 1) return -1;
  return event.data.fd | (event.events & EPOLLERR ? V_EVENT_ERROR : 0);
}

static inline int v_timer_create(void) {
  return timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
}

// Fires once at an absolute time of the boot clock.
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
