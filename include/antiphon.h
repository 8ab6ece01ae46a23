/*
 * antiphon: call and answer between two programs on one machine, over shared memory.
 * Made by cbindgen from src/capi/src; docs/c.md tells how to use it.
 *
 * WHAT A CALL RETURNS is 0 where it went well, a positive outcome that is no error, or a negative error. What an error
 * was about is kept for the thread it happened to: antiphon_error_text() and the others.
 *
 * HANDLES are opaque, and no addresses. One that is NULL, closed or of another kind is ANTIPHON_ERROR_BAD_HANDLE.
 *
 * MEMORY is never the caller's to free. What a call returns a pointer to says how long that is good.
 *
 * THREADS: two threads must not be in calls on the same handle at once, but where a function says so; different handles
 * have nothing to do with each other. Any thread may use any handle. Where misuse is seen it is ANTIPHON_ERROR_BUSY.
 *
 * A FORKED CHILD must not use its parent's handles: it gets ANTIPHON_ERROR_FORKED.
 *
 * TIMES are in nanoseconds. OPTIONS may be NULL; otherwise zero them, and set `size` to their sizeof. What is zero in
 * them is as without options.
 */

#ifndef ANTIPHON_H
#define ANTIPHON_H

#include <stddef.h>
#include <stdint.h>

// What a call returns. A number means the same for ever, and none is used again; there may be new ones.
enum antiphon_error
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // It went well.
    ANTIPHON_OK = 0,
    // Nothing is there yet, and the call was not to wait. No error.
    ANTIPHON_NOTHING_YET = 1,
    // Nothing is left, and nothing will come. No error.
    ANTIPHON_END = 2,
    // A pointer that must not be NULL, a length that cannot be, a call that does not fit what is in hand.
    ANTIPHON_ERROR_BAD_ARGUMENT = -1,
    // A handle, or a block, that is none, was closed, or is of another kind.
    ANTIPHON_ERROR_BAD_HANDLE = -2,
    // Another thread is in a call on this handle.
    ANTIPHON_ERROR_BUSY = -3,
    // A mistake in the library, caught. The handle is of no use any more: close it.
    ANTIPHON_ERROR_PANICKED = -4,
    // More handles, or blocks in hand, than there can be at once.
    ANTIPHON_ERROR_TOO_MANY = -5,
    // The name cannot be used.
    ANTIPHON_ERROR_BAD_NAME = -10,
    // An option has a value that it cannot have.
    ANTIPHON_ERROR_BAD_OPTION = -11,
    // Nothing has this name.
    ANTIPHON_ERROR_NOT_FOUND = -12,
    // A living process holds what has this name: see antiphon_error_pid().
    ANTIPHON_ERROR_IN_USE = -13,
    // The channel is persistent and holds a message that nobody has consumed.
    ANTIPHON_ERROR_HOLDS_MESSAGE = -14,
    // A living process sits in this seat: see antiphon_error_pid().
    ANTIPHON_ERROR_SEAT_TAKEN = -15,
    // The process at the other end is dead: see antiphon_error_delivered().
    ANTIPHON_ERROR_PEER_DIED = -16,
    // The other end left in order.
    ANTIPHON_ERROR_DISCONNECTED = -17,
    // The time was up: see antiphon_error_delivered().
    ANTIPHON_ERROR_TIMED_OUT = -18,
    // The other end gave up in the middle of something long.
    ANTIPHON_ERROR_ABORTED = -19,
    // The consumer let go of the call without an answer.
    ANTIPHON_ERROR_NO_REPLY = -20,
    // A reply was given to a message that asked for none.
    ANTIPHON_ERROR_NOT_A_CALL = -21,
    // The caller no longer waits for this reply.
    ANTIPHON_ERROR_CALLER_GONE = -22,
    // The file is ending: no block is given to writers any more.
    ANTIPHON_ERROR_FINISHED = -23,
    // The file was cancelled, for the reason that the text says.
    ANTIPHON_ERROR_CANCELLED = -24,
    // Parts of the file are missing, and who was to fill them is gone.
    ANTIPHON_ERROR_UNFILLED = -25,
    // No living host answers for the session.
    ANTIPHON_ERROR_NO_HOST = -26,
    // The session has no file of this name.
    ANTIPHON_ERROR_NO_FILE = -27,
    // The host could not do what it was asked to do.
    ANTIPHON_ERROR_REFUSED = -28,
    // Too many bytes for what was asked.
    ANTIPHON_ERROR_TOO_LONG = -29,
    // The shared-memory file system is full.
    ANTIPHON_ERROR_NO_SPACE = -30,
    // The region was made by something that works differently.
    ANTIPHON_ERROR_INCOMPATIBLE = -31,
    // What has this name is not what was to be opened.
    ANTIPHON_ERROR_NOT_A_CHANNEL = -32,
    // Another name is shortened to the same name of the operating system.
    ANTIPHON_ERROR_NAME_COLLISION = -33,
    // The system refuses access.
    ANTIPHON_ERROR_NOT_PERMITTED = -34,
    // The other end, or a stranger, wrote what no peer that keeps the protocol writes.
    ANTIPHON_ERROR_CORRUPT = -35,
    // The handle was made before a fork and used in the child.
    ANTIPHON_ERROR_FORKED = -36,
    // Another process has been creating, opening or removing this name for too long.
    ANTIPHON_ERROR_STUCK = -37,
    // A call of the operating system failed: see antiphon_error_errno().
    ANTIPHON_ERROR_SYSTEM = -39,
    // Anything that has no number of its own; the text says what.
    ANTIPHON_ERROR_OTHER = -99,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum antiphon_error antiphon_error;
#else
typedef int32_t antiphon_error;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What became of a message when a call failed after it may have been handed over.
enum antiphon_delivered
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // That is no question for this error.
    ANTIPHON_DELIVERED_NO_QUESTION = 0,
    // No consumer has acted on it, and none will: it can be sent again.
    ANTIPHON_DELIVERED_NO = 1,
    // A consumer may have acted on it.
    ANTIPHON_DELIVERED_UNKNOWN = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum antiphon_delivered antiphon_delivered;
#else
typedef int32_t antiphon_delivered;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How an end waits for the other one.
enum antiphon_wait
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Spins for as long as that has been paying off lately, then sleeps.
    ANTIPHON_WAIT_ADAPTIVE = 0,
    // Never sleeps: the fastest answer, for the price of a whole processor.
    ANTIPHON_WAIT_SPIN = 1,
    // Sleeps at once: the least work, and the slowest answer.
    ANTIPHON_WAIT_PARK = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum antiphon_wait antiphon_wait;
#else
typedef uint32_t antiphon_wait;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What a file is opened for.
enum shmem_access
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // To read it.
    SHMEM_READ = 1,
    // To write it; it is made where it is not there.
    SHMEM_WRITE = 2,
    // To read any file that nobody reads; the name is NULL.
    SHMEM_READ_ANY = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum shmem_access shmem_access;
#else
typedef uint32_t shmem_access;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// A channel that this process has open: exactly one publisher, exactly one consumer.
typedef struct antiphon_channel antiphon_channel;

// The end that consumes and replies.
typedef struct antiphon_consumer antiphon_consumer;

// The end that publishes and calls.
typedef struct antiphon_publisher antiphon_publisher;

// A file that is open, to be read or to be written.
typedef struct shmem_file shmem_file;

// A session's host, on a thread of its own.
typedef struct shmem_host shmem_host;

// A connection to a session. Nothing is kept open between two calls.
typedef struct shmem_session shmem_session;

// How a channel is made, and how its ends wait.
typedef struct antiphon_channel_options {
    // sizeof(antiphon_channel_options)
    size_t size;
    // The payload's bytes: a message up to this long is one piece. A multiple of 65,536; 0 for 4 MiB. Whoever creates
    // the channel decides.
    size_t capacity;
    // One of antiphon_wait.
    uint32_t wait;
    // The permission bits of what is created; 0 for 0600.
    uint32_t mode;
    // 1 where what is created keeps its name, and its message, whoever leaves it.
    uint32_t persistent;
    // Zero.
    uint32_t reserved;
} antiphon_channel_options;

// A message that was consumed.
typedef struct antiphon_message {
    // Where its bytes stand.
    const void *data;
    // How many stand there: all, or of a message longer than the capacity one round.
    size_t data_len;
    // The whole message's bytes.
    size_t len;
    // 1 where the publisher waits for a reply.
    uint32_t is_call;
    // 1 where a consumer has had this message before, and died with it.
    uint32_t redelivered;
    // For later versions; left as it is.
    uint64_t reserved[2];
} antiphon_message;

// A block in hand.
typedef struct shmem_block {
    // Where its bytes stand: to be written by a writer, to be read by a reader.
    void *data;
    // How many there are to be read, or how many there is room for.
    size_t len;
    // Where they belong in the file.
    uint64_t offset;
    // 1 where another one had it before, and died over it or let go of it.
    uint32_t again;
    // Zero.
    uint32_t reserved;
    // The library's own.
    uint64_t token;
    // For later versions.
    uint64_t reserved_too;
} shmem_block;

// How a session is hosted.
typedef struct shmem_host_options {
    // sizeof(shmem_host_options)
    size_t size;
    // The session's id, for callers that know it and for a host that comes after a dead one; 0 for a new one.
    uint64_t id;
    // The bytes of a block: a multiple of 4,096, at most 64 MiB; 0 for 1 MiB.
    size_t block_bytes;
    // How many blocks each file has, at most 256; 0 for 8.
    size_t blocks;
    // The permission bits of what is created; 0 for 0600.
    uint32_t mode;
    // Zero.
    uint32_t reserved;
} shmem_host_options;

// How one connects to a session.
typedef struct shmem_session_options {
    // sizeof(shmem_session_options)
    size_t size;
    // How long to wait for a host, where there is none; 0 not at all.
    uint64_t wait_ns;
    // How long each later call may take; 0 for 10 s.
    uint64_t patience_ns;
    // 1 where each block is to be out of reach as soon as it is completed or let go of, so that who touches it later
    // faults right there: for finding mistakes, at two system calls a block.
    uint32_t guard_blocks;
    // Zero.
    uint32_t reserved;
} shmem_session_options;

// One block file of a name: its shared memory is called "/%016X-%08X", of the session's id and this number.
typedef struct shmem_part {
    // Where in the file it begins.
    uint64_t offset;
    // Its number in the session.
    uint32_t number;
    // For later versions.
    uint32_t reserved;
} shmem_part;

// A file that can be read.
typedef struct shmem_entry {
    // Its name, with a NUL behind it. There may be others in it.
    const char *name;
    // The name's bytes, without the NUL behind it.
    size_t name_len;
    // Its block files: several, where it is written sparsely.
    const struct shmem_part *parts;
    // How many those are.
    size_t parts_len;
    // How many read it: each of them gets some of its blocks.
    size_t readers;
    // For later versions.
    uint64_t reserved;
} shmem_entry;

// How a file is opened.
typedef struct shmem_open_options {
    // sizeof(shmem_open_options)
    size_t size;
    // The bytes of the name, which may then be any; 0 where it ends in NUL.
    size_t name_len;
    // To write: where in the file this begins. Each offset is a block file of its own, and together they are the file.
    uint64_t offset;
    // To read: how long to wait for a file that is not there yet; 0 not at all.
    uint64_t wait_ns;
} shmem_open_options;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The library's version, such as "0.1.0". Any thread.
const char *antiphon_version(void);

// Makes a channel, or takes over one whose every holder is dead. ANTIPHON_ERROR_IN_USE where one lives. Any thread.
antiphon_error antiphon_channel_create(const char *name,
                                       const struct antiphon_channel_options *options,
                                       struct antiphon_channel **channel);

// Opens a channel that is there. ANTIPHON_ERROR_NOT_FOUND where none is. Any thread.
antiphon_error antiphon_channel_open(const char *name,
                                     const struct antiphon_channel_options *options,
                                     struct antiphon_channel **channel);

// Opens a channel, and makes it where it is not there. Any thread.
antiphon_error antiphon_channel_open_or_create(const char *name,
                                               const struct antiphon_channel_options *options,
                                               struct antiphon_channel **channel);

// Makes a channel with a name that nobody thinks of (antiphon_channel_name() tells it, for a child), which it loses as
// soon as both ends are attached. Any thread.
antiphon_error antiphon_channel_private(const struct antiphon_channel_options *options,
                                        struct antiphon_channel **channel);

// Takes a channel's name away: those who have it open keep it, and nobody else comes. Any thread.
antiphon_error antiphon_channel_unlink(const char *name);

// The channel's name: good until it is closed. NULL where the handle is none. Several threads at once may ask.
const char *antiphon_channel_name(const struct antiphon_channel *channel);

// The bytes up to which a message is one piece. 0 where the handle is none. Several threads at once may ask.
size_t antiphon_channel_capacity(const struct antiphon_channel *channel);

// Lets go of a channel. Its ends, if any are open, keep it. NULL is nothing to close. No other thread may be in a call
// on this handle.
antiphon_error antiphon_channel_close(struct antiphon_channel *channel);

// Takes the publisher's seat: ANTIPHON_ERROR_SEAT_TAKEN where a living process has it. Several threads at once may.
antiphon_error antiphon_publisher_open(struct antiphon_channel *channel,
                                       struct antiphon_publisher **publisher);

// antiphon_publisher_open() that waits for the seat. Several threads at once may.
antiphon_error antiphon_publisher_open_timeout(struct antiphon_channel *channel,
                                               struct antiphon_publisher **publisher,
                                               uint64_t timeout_ns);

// Takes the consumer's seat: ANTIPHON_ERROR_SEAT_TAKEN where a living process has it. Several threads at once may.
antiphon_error antiphon_consumer_open(struct antiphon_channel *channel,
                                      struct antiphon_consumer **consumer);

// antiphon_consumer_open() that waits for the seat. Several threads at once may.
antiphon_error antiphon_consumer_open_timeout(struct antiphon_channel *channel,
                                              struct antiphon_consumer **consumer,
                                              uint64_t timeout_ns);

// Waits for the next message, and leaves it where it stands: `message->data` is in the region, good until the message
// is replied to or done with, or until the next one is consumed, which is done with this one too. Another process could
// change what stands there: copy first what you check. Of a message longer than the capacity it is the first round.
// One thread at a time.
antiphon_error antiphon_consume(struct antiphon_consumer *consumer,
                                struct antiphon_message *message);

// antiphon_consume() with a limit. One thread at a time.
antiphon_error antiphon_consume_timeout(struct antiphon_consumer *consumer,
                                        struct antiphon_message *message,
                                        uint64_t timeout_ns);

// antiphon_consume() of a message that is there, else ANTIPHON_NOTHING_YET. One thread at a time.
antiphon_error antiphon_try_consume(struct antiphon_consumer *consumer, struct antiphon_message *message);

// Waits for the next message, however long, and copies it out: `message->data` is this process's own, all of it, good
// until the next message is consumed. A long one comes while the publisher still writes it. One that asks for no reply
// is done with when this returns. One thread at a time.
antiphon_error antiphon_consume_copy(struct antiphon_consumer *consumer,
                                     struct antiphon_message *message);

// antiphon_consume_copy() with a limit, for all of it. One thread at a time.
antiphon_error antiphon_consume_copy_timeout(struct antiphon_consumer *consumer,
                                             struct antiphon_message *message,
                                             uint64_t timeout_ns);

// Lets go of this round of a message longer than the capacity, and waits for the next: `message` tells of that.
// ANTIPHON_END where there is none. One thread at a time.
antiphon_error antiphon_message_next_round(struct antiphon_consumer *consumer,
                                           struct antiphon_message *message);

// Replies to the message in hand, and is done with it, whatever this returns but ANTIPHON_ERROR_BAD_ARGUMENT. The reply
// may be a part of the message. ANTIPHON_ERROR_CALLER_GONE where nobody waits for it any more. One thread at a time.
antiphon_error antiphon_reply(struct antiphon_consumer *consumer,
                              const void *data,
                              size_t len);

// antiphon_reply() with a limit, for a long one. One thread at a time.
antiphon_error antiphon_reply_timeout(struct antiphon_consumer *consumer,
                                      const void *data,
                                      size_t len,
                                      uint64_t timeout_ns);

// Done with the message in hand: its place is the publisher's again; a caller gets ANTIPHON_ERROR_NO_REPLY. A process
// that ends without this leaves the message to the next consumer. One thread at a time.
antiphon_error antiphon_message_done(struct antiphon_consumer *consumer);

// Leaves the consumer's seat, done with the message in hand. NULL is nothing to close. No other thread may be in a call
// on this handle.
antiphon_error antiphon_consumer_close(struct antiphon_consumer *consumer);

// What this thread's last error was about, and what to do about it: one line without its end, "" where there was none.
// Good until the thread's next error. Any thread.
const char *antiphon_error_text(void);

// What became of the message that was in hand when this thread's last error came. Any thread.
antiphon_delivered antiphon_error_delivered(void);

// The process that this thread's last error was about: who is dead, who has the seat or the name. 0 where that is
// unknown, or no question. Any thread.
uint32_t antiphon_error_pid(void);

// 1 where nobody new can come to the other end, since the channel is private; otherwise 0. Any thread.
uint32_t antiphon_error_is_final(void);

// The system's errno of this thread's last error, or 0. Any thread.
int antiphon_error_errno(void);

// The name of a number that a call returned, such as "ANTIPHON_ERROR_PEER_DIED". Good for ever. Any thread.
const char *antiphon_error_name(int32_t code);

// Claims the next block: a free one to be filled, or a complete one to be read. Waits for it. `block` tells where it is,
// good until it is completed or let go of. ANTIPHON_END at the end of a file that is read, and then none of its memory
// can be touched any more. One thread at a time; others may complete meanwhile.
antiphon_error shmem_block_claim(struct shmem_file *file,
                                 struct shmem_block *block);

// shmem_block_claim() with a limit. One thread at a time; others may complete meanwhile.
antiphon_error shmem_block_claim_timeout(struct shmem_file *file,
                                         struct shmem_block *block,
                                         uint64_t timeout_ns);

// shmem_block_claim() if that needs no waiting, else ANTIPHON_NOTHING_YET. One thread at a time; others may complete
// meanwhile.
antiphon_error shmem_block_try_claim(struct shmem_file *file,
                                     struct shmem_block *block);

// Claims a block for the bytes from `offset` of the file on, to write out of order. What another writer died over goes
// first all the same: `block->offset` says which it is. One thread at a time; others may complete meanwhile.
antiphon_error shmem_block_claim_at(struct shmem_file *file,
                                    uint64_t offset,
                                    struct shmem_block *block);

// shmem_block_claim_at() with a limit. One thread at a time; others may complete meanwhile.
antiphon_error shmem_block_claim_at_timeout(struct shmem_file *file,
                                            uint64_t offset,
                                            struct shmem_block *block,
                                            uint64_t timeout_ns);

// shmem_block_claim_at() if that needs no waiting, else ANTIPHON_NOTHING_YET. One thread at a time; others may complete
// meanwhile.
antiphon_error shmem_block_try_claim_at(struct shmem_file *file,
                                        uint64_t offset,
                                        struct shmem_block *block);

// Hands a block on. A writer says how many bytes it filled: 0 is the end of the file, as of read(); then no block is
// given to writers any more. Of a reader `len` says nothing, and the block is free again. Its memory is not to be touched
// after that: once the file is at its end and nothing of it is in hand, and with `guard_blocks` at once, who does gets
// SIGSEGV. `block->data` is NULL then. Several threads at once may, each with blocks of its own.
antiphon_error shmem_block_complete(struct shmem_file *file,
                                    struct shmem_block *block,
                                    size_t len);

// Lets go of a block, unfilled or unread: it goes to the next claim of that side, marked `again`. Several threads at once
// may, each with blocks of its own.
antiphon_error shmem_block_drop(struct shmem_file *file,
                                struct shmem_block *block);

// Nothing more will be written but what was claimed before: as a block of zero bytes, and then waits until all of that is
// completed, by whatever writer. ANTIPHON_ERROR_UNFILLED where somebody died over some of it: claim that and fill it, and
// finish again. One thread at a time; others may complete meanwhile.
antiphon_error shmem_finish(struct shmem_file *file);

// shmem_finish() with a limit; after that the file is ending all the same. One thread at a time; others may complete
// meanwhile.
antiphon_error shmem_finish_timeout(struct shmem_file *file,
                                    uint64_t timeout_ns);

// Ends the file for everybody, with a reason: what stands in it is lost. One thread at a time; others may complete
// meanwhile.
antiphon_error shmem_cancel(struct shmem_file *file,
                            const char *reason);

// The file's name, with a NUL behind it, and its bytes at `*name_len` unless that is NULL: good until it is closed. NULL
// where the handle is none. Several threads at once may ask.
const char *shmem_name(const struct shmem_file *file,
                       size_t *name_len);

// Closes a file. Blocks in hand are let go of; a file that was not finished stays open to other writers. None of its
// memory can be touched any more. NULL is nothing to close. No other thread may be in a call on this handle.
antiphon_error shmem_close(struct shmem_file *file);

// Publishes a message. Waits until the message before it was consumed; a message longer than the capacity, until it
// was consumed itself. When this returns ANTIPHON_OK the message is not lost, whoever dies. One thread at a time.
antiphon_error antiphon_publish(struct antiphon_publisher *publisher,
                                const void *data,
                                size_t len);

// antiphon_publish() with a limit. One thread at a time.
antiphon_error antiphon_publish_timeout(struct antiphon_publisher *publisher,
                                        const void *data,
                                        size_t len,
                                        uint64_t timeout_ns);

// Publishes if that needs no waiting; ANTIPHON_NOTHING_YET where the last message was not consumed yet. At most the
// capacity. One thread at a time.
antiphon_error antiphon_try_publish(struct antiphon_publisher *publisher,
                                    const void *data,
                                    size_t len);

// Publishes, and waits for what the consumer replies: `*reply` and `*reply_len` tell where that stands, in this
// process, until the next call by this publisher. Both may be NULL. ANTIPHON_ERROR_NO_REPLY where the consumer let go of
// the message. One thread at a time.
antiphon_error antiphon_call(struct antiphon_publisher *publisher,
                             const void *data,
                             size_t len,
                             const void **reply,
                             size_t *reply_len);

// antiphon_call() with a limit: after ANTIPHON_ERROR_TIMED_OUT antiphon_error_delivered() says whether the call was
// withdrawn. One thread at a time.
antiphon_error antiphon_call_timeout(struct antiphon_publisher *publisher,
                                     const void *data,
                                     size_t len,
                                     const void **reply,
                                     size_t *reply_len,
                                     uint64_t timeout_ns);

// Lends `len` bytes of the region, at `*data`, to be written in place and then published without a copy. They hold
// whatever was there before. Waits until the last message was consumed. One loan at a time, good until it is published,
// called or let go of. One thread at a time.
antiphon_error antiphon_loan(struct antiphon_publisher *publisher,
                             size_t len,
                             void **data);

// antiphon_loan() with a limit. One thread at a time.
antiphon_error antiphon_loan_timeout(struct antiphon_publisher *publisher,
                                     size_t len,
                                     void **data,
                                     uint64_t timeout_ns);

// antiphon_loan() if that needs no waiting, else ANTIPHON_NOTHING_YET. One thread at a time.
antiphon_error antiphon_try_loan(struct antiphon_publisher *publisher, size_t len, void **data);

// Publishes the first `len` bytes of the loan. One thread at a time.
antiphon_error antiphon_loan_publish(struct antiphon_publisher *publisher, size_t len);

// Publishes the first `len` bytes of the loan as a call, and waits for the reply as antiphon_call() does. One thread at
// a time.
antiphon_error antiphon_loan_call(struct antiphon_publisher *publisher,
                                  size_t len,
                                  const void **reply,
                                  size_t *reply_len);

// antiphon_loan_call() with a limit. One thread at a time.
antiphon_error antiphon_loan_call_timeout(struct antiphon_publisher *publisher,
                                          size_t len,
                                          const void **reply,
                                          size_t *reply_len,
                                          uint64_t timeout_ns);

// Lets go of the loan: nothing is published. One thread at a time.
antiphon_error antiphon_loan_drop(struct antiphon_publisher *publisher);

// Leaves the publisher's seat. NULL is nothing to close. No other thread may be in a call on this handle.
antiphon_error antiphon_publisher_close(struct antiphon_publisher *publisher);

// Hosts a session: files are opened and found by their names through it, and data never passes through it. On a thread
// of the library's own, until it is closed or this process ends. ANTIPHON_ERROR_IN_USE where the id is hosted. Any
// thread.
antiphon_error shmem_session_host(const struct shmem_host_options *options,
                                  struct shmem_host **host);

// The session's id, to connect to; 0 where the handle is none. Several threads at once may ask.
uint64_t shmem_host_id(const struct shmem_host *host);

// Ends the hosting. Who has a file open goes on with it, and what nobody has read stays for the next host of the id. NULL
// is nothing to close. No other thread may be in a call on this handle.
antiphon_error shmem_host_close(struct shmem_host *host);

// Connects to a session by its id. ANTIPHON_ERROR_NO_HOST where nobody hosts it. Any thread.
antiphon_error shmem_session_connect(uint64_t id,
                                     const struct shmem_session_options *options,
                                     struct shmem_session **session);

// Lets go of a session, and of what it listed. Files that were opened by it stay open. NULL is nothing to close. No other
// thread may be in a call on this handle.
antiphon_error shmem_session_close(struct shmem_session *session);

// The files that can be read, in the order in which they were opened: `*entries` and `*entries_len`, good until the next
// list by this handle, or until it is closed. It may be stale by the time one reads it. One thread at a time.
antiphon_error shmem_list(struct shmem_session *session,
                          const struct shmem_entry **entries,
                          size_t *entries_len);

// Opens a file for what `access` says, one of shmem_access: to read it, to write it, or to read any that nobody reads
// (ANTIPHON_NOTHING_YET where there is none). Several processes may write a file, and several read it: each block has
// one owner. Several threads at once may.
antiphon_error shmem_open(struct shmem_session *session,
                          const char *name,
                          uint32_t access,
                          const struct shmem_open_options *options,
                          struct shmem_file **file);

// Ends a file for everybody, with a reason, by its name (one that ends in NUL): what stands in it is lost. Several
// threads at once may.
antiphon_error shmem_session_cancel(struct shmem_session *session,
                                    const char *name,
                                    const char *reason);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* ANTIPHON_H */
