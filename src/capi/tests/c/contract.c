/* Everything in antiphon.h, in one process, and every mistake that is to be seen. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include <pthread.h>
#include <sys/wait.h>

static const char *name_of(const char *what)
{
    static char names[8][64];
    static int next;
    char *name = names[next++ % 8];
    snprintf(name, 64, "t%ld-c-%s", (long)getpid(), what);
    return name;
}

static void mistakes_are_errors(void)
{
    antiphon_channel *channel = NULL;
    antiphon_publisher *publisher = NULL;
    antiphon_consumer *consumer = NULL;
    antiphon_message message;
    shmem_block block;
    antiphon_channel_options options;
    void *lent = NULL;
    size_t len = 0;
    const char *name = name_of("mistakes");
    memset(&block, 0, sizeof block);

    RETURNS(ANTIPHON_ERROR_BAD_ARGUMENT, antiphon_channel_create(NULL, NULL, &channel));
    RETURNS(ANTIPHON_ERROR_BAD_ARGUMENT, antiphon_channel_create(name, NULL, NULL));
    RETURNS(ANTIPHON_ERROR_BAD_NAME, antiphon_channel_create("no/such", NULL, &channel));
    RETURNS(ANTIPHON_ERROR_BAD_NAME, antiphon_channel_create("\xff\xfe", NULL, &channel));
    RETURNS(ANTIPHON_ERROR_NOT_FOUND, antiphon_channel_open(name, NULL, &channel));
    CHECK(strstr(antiphon_error_text(), "create it first") != NULL);
    CHECK(strcmp(antiphon_error_name(ANTIPHON_ERROR_NOT_FOUND), "ANTIPHON_ERROR_NOT_FOUND") == 0);
    CHECK(strcmp(antiphon_error_name(12345), "an unknown number") == 0);
    CHECK(strchr(antiphon_version(), '.') != NULL);
    memset(&options, 0, sizeof options);
    RETURNS(ANTIPHON_ERROR_BAD_ARGUMENT, antiphon_channel_create(name, &options, &channel)); /* no size */
    options.size = sizeof options;
    options.capacity = 7;
    RETURNS(ANTIPHON_ERROR_BAD_OPTION, antiphon_channel_create(name, &options, &channel));
    options.capacity = 65536;
    options.wait = 99;
    RETURNS(ANTIPHON_ERROR_BAD_ARGUMENT, antiphon_channel_create(name, &options, &channel));
    CHECK(channel == NULL);
    options.wait = ANTIPHON_WAIT_PARK;
    OK(antiphon_channel_create(name, &options, &channel));
    CHECK(antiphon_channel_capacity(channel) == 65536);
    CHECK(strcmp(antiphon_channel_name(channel), name) == 0);
    RETURNS(ANTIPHON_ERROR_BAD_ARGUMENT, antiphon_publisher_open(channel, NULL));
    RETURNS(ANTIPHON_ERROR_BAD_HANDLE, antiphon_publisher_open(NULL, &publisher));
    OK(antiphon_publisher_open(channel, &publisher));
    RETURNS(ANTIPHON_ERROR_SEAT_TAKEN, antiphon_publisher_open_timeout(channel, &publisher, 1000));
    CHECK(antiphon_error_pid() == (uint32_t)getpid());
    OK(antiphon_consumer_open_timeout(channel, &consumer, SECOND));

    /* Handles that are none, or of another kind. */
    RETURNS(ANTIPHON_ERROR_BAD_HANDLE, antiphon_publish(NULL, "x", 1));
    RETURNS(ANTIPHON_ERROR_BAD_HANDLE, antiphon_publish((antiphon_publisher *)(void *)consumer, "x", 1));
    RETURNS(ANTIPHON_ERROR_BAD_HANDLE, antiphon_publish((antiphon_publisher *)(void *)&message, "x", 1));
    RETURNS(ANTIPHON_ERROR_BAD_HANDLE, antiphon_consume((antiphon_consumer *)(void *)publisher, &message));
    RETURNS(ANTIPHON_ERROR_BAD_HANDLE, antiphon_channel_close((antiphon_channel *)(void *)publisher));
    RETURNS(ANTIPHON_ERROR_BAD_HANDLE, shmem_block_claim((shmem_file *)(void *)publisher, &block));
    CHECK(antiphon_channel_name((antiphon_channel *)(void *)publisher) == NULL);
    CHECK(antiphon_channel_capacity(NULL) == 0 && shmem_host_id(NULL) == 0 && shmem_name(NULL, &len) == NULL);
    CHECK(strlen(antiphon_error_text()) > 0);

    /* Arguments that cannot be, and what does not fit what is in hand. */
    RETURNS(ANTIPHON_ERROR_BAD_ARGUMENT, antiphon_publish(publisher, NULL, 1));
    RETURNS(ANTIPHON_ERROR_BAD_ARGUMENT, antiphon_publish(publisher, "x", SIZE_MAX));
    RETURNS(ANTIPHON_ERROR_BAD_ARGUMENT, antiphon_call(publisher, "x", 1, (const void **)&lent, NULL));
    RETURNS(ANTIPHON_ERROR_BAD_ARGUMENT, antiphon_consume(consumer, NULL));
    RETURNS(ANTIPHON_ERROR_BAD_ARGUMENT, antiphon_message_done(consumer));
    RETURNS(ANTIPHON_ERROR_BAD_ARGUMENT, antiphon_reply(consumer, "x", 1));
    RETURNS(ANTIPHON_ERROR_BAD_ARGUMENT, antiphon_message_next_round(consumer, &message));
    RETURNS(ANTIPHON_ERROR_BAD_ARGUMENT, antiphon_loan_publish(publisher, 0));
    RETURNS(ANTIPHON_ERROR_BAD_ARGUMENT, antiphon_loan_drop(publisher));
    RETURNS(ANTIPHON_ERROR_TOO_LONG, antiphon_loan(publisher, 65537, &lent));
    OK(antiphon_loan(publisher, 10, &lent));
    RETURNS(ANTIPHON_ERROR_BAD_ARGUMENT, antiphon_publish(publisher, "x", 1)); /* a loan is out */
    RETURNS(ANTIPHON_ERROR_BAD_ARGUMENT, antiphon_loan(publisher, 10, &lent));
    RETURNS(ANTIPHON_ERROR_BAD_ARGUMENT, antiphon_loan_publish(publisher, 11));
    OK(antiphon_loan_drop(publisher));
    RETURNS(ANTIPHON_NOTHING_YET, antiphon_try_consume(consumer, &message));
    RETURNS(ANTIPHON_ERROR_TIMED_OUT, antiphon_consume_timeout(consumer, &message, 1000));
    CHECK(antiphon_error_delivered() == ANTIPHON_DELIVERED_NO);
    RETURNS(ANTIPHON_ERROR_TIMED_OUT, antiphon_call_timeout(publisher, "x", 1, NULL, NULL, 1000));
    CHECK(antiphon_error_delivered() == ANTIPHON_DELIVERED_NO);

    /* Closing: once. */
    OK(antiphon_publisher_close(publisher));
    RETURNS(ANTIPHON_ERROR_BAD_HANDLE, antiphon_publisher_close(publisher));
    RETURNS(ANTIPHON_ERROR_BAD_HANDLE, antiphon_publish(publisher, "x", 1));
    OK(antiphon_publisher_close(NULL));
    RETURNS(ANTIPHON_ERROR_DISCONNECTED, antiphon_consume(consumer, &message));
    CHECK(antiphon_error_is_final() == 0);
    OK(antiphon_consumer_close(consumer));
    OK(antiphon_channel_close(channel));
    RETURNS(ANTIPHON_ERROR_BAD_HANDLE, antiphon_channel_close(channel));
    RETURNS(ANTIPHON_ERROR_NOT_FOUND, antiphon_channel_unlink(name));
}

static void messages_come_whole(void)
{
    static const size_t lens[] = {0, 1, 7, 8, 48, 49, 104, 105, 500, 4096, 65535, 65536};
    antiphon_channel *channel;
    antiphon_publisher *publisher;
    antiphon_consumer *consumer;
    antiphon_message message;
    antiphon_channel_options options;
    unsigned char *bytes = (unsigned char *)malloc(65536);
    void *lent;
    size_t at, len;

    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.capacity = 65536;
    CHECK(bytes != NULL);
    OK(antiphon_channel_private(&options, &channel));
    OK(antiphon_publisher_open(channel, &publisher));
    OK(antiphon_consumer_open(channel, &consumer));
    OK(antiphon_channel_close(channel)); /* The ends keep it. */
    for (at = 0; at < sizeof lens / sizeof *lens; at++) {
        len = lens[at];
        fill(bytes, at, len);
        OK(antiphon_publish(publisher, bytes, len));
        RETURNS(ANTIPHON_NOTHING_YET, antiphon_try_publish(publisher, bytes, len));
        OK(antiphon_consume(consumer, &message));
        CHECK(message.len == len && message.data_len == len && !message.is_call && !message.redelivered);
        CHECK(is_filled(message.data, at, len));
        OK(antiphon_message_done(consumer));

        OK(antiphon_try_publish(publisher, bytes, len));
        OK(antiphon_consume_copy(consumer, &message));
        CHECK(message.len == len && message.data_len == len && is_filled(message.data, at, len));
        /* It is done with, though it is still here. */
        OK(antiphon_loan_timeout(publisher, len, &lent, SECOND));
        CHECK(is_filled(message.data, at, len));
        fill(lent, at + 1, len);
        OK(antiphon_loan_publish(publisher, len / 2));
        OK(antiphon_consume_timeout(consumer, &message, SECOND));
        CHECK(message.len == len / 2 && is_filled(message.data, at + 1, len / 2));
        /* Not done with: the next one is, with it. */
        RETURNS(ANTIPHON_NOTHING_YET, antiphon_try_loan(publisher, 1, &lent));
        RETURNS(ANTIPHON_NOTHING_YET, antiphon_try_consume(consumer, &message));
    }
    OK(antiphon_consumer_close(consumer));
    RETURNS(ANTIPHON_ERROR_DISCONNECTED, antiphon_call(publisher, "x", 1, NULL, NULL));
    CHECK(antiphon_error_is_final() == 1);
    OK(antiphon_publisher_close(publisher));
    free(bytes);
}

#define LONG (300 * 1024)

static void *answers(void *channel)
{
    antiphon_consumer *consumer;
    antiphon_message message;
    unsigned char *bytes = (unsigned char *)malloc(LONG);
    size_t got = 0;
    antiphon_error outcome;
    CHECK(bytes != NULL);
    OK(antiphon_consumer_open((antiphon_channel *)channel, &consumer));
    /* The very bytes that stand in the region, as a reply that is written to where they stand. */
    OK(antiphon_consume(consumer, &message));
    CHECK(message.is_call && message.len == 1000);
    OK(antiphon_reply(consumer, (const char *)message.data + 1, message.len - 1));
    /* What was copied out, likewise. */
    OK(antiphon_consume_copy(consumer, &message));
    CHECK(message.is_call);
    OK(antiphon_reply_timeout(consumer, message.data, message.len, PATIENCE));
    RETURNS(ANTIPHON_ERROR_BAD_ARGUMENT, antiphon_reply(consumer, "twice", 5));
    /* In rounds. */
    OK(antiphon_consume(consumer, &message));
    CHECK(message.len == LONG && message.data_len == 65536);
    do {
        CHECK(is_filled(message.data, got, message.data_len));
        got += message.data_len;
        outcome = antiphon_message_next_round(consumer, &message);
    } while (outcome == ANTIPHON_OK);
    RETURNS(ANTIPHON_END, outcome);
    CHECK(got == LONG);
    fill(bytes, 7, LONG);
    OK(antiphon_reply(consumer, bytes, LONG));
    /* Copied out, and flowing. */
    OK(antiphon_consume_copy_timeout(consumer, &message, PATIENCE));
    CHECK(message.len == LONG && message.data_len == LONG && is_filled(message.data, 3, LONG));
    OK(antiphon_message_done(consumer));
    OK(antiphon_consume(consumer, &message));
    RETURNS(ANTIPHON_ERROR_NOT_A_CALL, antiphon_reply(consumer, "x", 1));
    OK(antiphon_consumer_close(consumer));
    free(bytes);
    return NULL;
}

static void calls_are_answered(void)
{
    antiphon_channel *channel;
    antiphon_publisher *publisher;
    antiphon_channel_options options;
    pthread_t thread;
    unsigned char *bytes = (unsigned char *)malloc(LONG);
    const void *reply;
    size_t reply_len;
    void *lent;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.capacity = 65536;
    CHECK(bytes != NULL);
    OK(antiphon_channel_open_or_create(name_of("calls"), &options, &channel));
    OK(antiphon_publisher_open(channel, &publisher));
    CHECK(pthread_create(&thread, NULL, answers, channel) == 0);
    fill(bytes, 0, LONG);
    OK(antiphon_call(publisher, bytes, 1000, &reply, &reply_len));
    CHECK(reply_len == 999 && is_filled(reply, 1, 999));
    OK(antiphon_loan(publisher, 20, &lent));
    fill(lent, 9, 20);
    OK(antiphon_loan_call_timeout(publisher, 20, &reply, &reply_len, PATIENCE));
    CHECK(reply_len == 20 && is_filled(reply, 9, 20));
    OK(antiphon_call_timeout(publisher, bytes, LONG, &reply, &reply_len, PATIENCE));
    CHECK(reply_len == LONG && is_filled(reply, 7, LONG));
    fill(bytes, 3, LONG);
    RETURNS(ANTIPHON_ERROR_NO_REPLY, antiphon_call(publisher, bytes, LONG, &reply, &reply_len));
    OK(antiphon_publish_timeout(publisher, bytes, 3, PATIENCE));
    CHECK(pthread_join(thread, NULL) == 0);
    OK(antiphon_publisher_close(publisher));
    OK(antiphon_channel_close(channel));
    free(bytes);
}

static shmem_host *hosted(uint64_t *id)
{
    shmem_host *host;
    shmem_host_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.id = ((uint64_t)getpid() << 32) | 0xc0;
    options.block_bytes = 4096;
    options.blocks = 4;
    OK(shmem_session_host(&options, &host));
    *id = shmem_host_id(host);
    CHECK(*id == options.id);
    return host;
}

struct work {
    shmem_file *file;
    uint64_t bytes;
};

static void *reads(void *given)
{
    struct work *work = (struct work *)given;
    shmem_block block;
    antiphon_error outcome;
    while ((outcome = shmem_block_claim(work->file, &block)) == ANTIPHON_OK) {
        CHECK(is_filled(block.data, block.offset, block.len));
        work->bytes += block.len;
        OK(shmem_block_complete(work->file, &block, 0));
        CHECK(block.data == NULL);
    }
    RETURNS(ANTIPHON_END, outcome);
    return NULL;
}

/* Threads that complete what another one claims. */
#define HANDS 3
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static shmem_block queue[4];
static int queued, over;

static void *completes(void *file)
{
    for (;;) {
        shmem_block block;
        pthread_mutex_lock(&lock);
        while (queued == 0 && !over) pthread_cond_wait(&changed, &lock);
        if (queued == 0) {
            pthread_mutex_unlock(&lock);
            return NULL;
        }
        block = queue[--queued];
        pthread_cond_signal(&changed);
        pthread_mutex_unlock(&lock);
        fill(block.data, block.offset, block.len);
        OK(shmem_block_complete((shmem_file *)file, &block, block.len));
    }
}

static void files_come_whole(int guard_blocks)
{
    uint64_t id;
    shmem_host *host = hosted(&id);
    shmem_session *session;
    shmem_session_options options;
    shmem_file *file, *reader, *any;
    shmem_open_options at;
    shmem_block block, other, copy;
    const shmem_entry *entries;
    size_t entries_len, name_len;
    struct work work[2];
    pthread_t threads[2], hands[HANDS];
    const uint64_t blocks = 400;
    uint64_t nth;
    int thread;

    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.guard_blocks = (uint32_t)guard_blocks;
    options.wait_ns = SECOND;
    RETURNS(ANTIPHON_ERROR_NO_HOST, shmem_session_connect(id + 1, NULL, &session));
    OK(shmem_session_connect(id, &options, &session));
    RETURNS(ANTIPHON_ERROR_NO_FILE, shmem_open(session, "frames", SHMEM_READ, NULL, &file));
    RETURNS(ANTIPHON_NOTHING_YET, shmem_open(session, NULL, SHMEM_READ_ANY, NULL, &file));
    RETURNS(ANTIPHON_ERROR_BAD_ARGUMENT, shmem_open(session, NULL, SHMEM_READ, NULL, &file));
    RETURNS(ANTIPHON_ERROR_BAD_ARGUMENT, shmem_open(session, "frames", 0, NULL, &file));
    RETURNS(ANTIPHON_ERROR_BAD_OPTION, shmem_open(session, "", SHMEM_WRITE, NULL, &file));

    /* Four threads write, two read. */
    OK(shmem_open(session, "frames", SHMEM_WRITE, NULL, &file));
    CHECK(strcmp(shmem_name(file, &name_len), "frames") == 0 && name_len == 6);
    for (thread = 0; thread < 2; thread++) {
        work[thread].bytes = 0;
        OK(shmem_open(session, "frames", SHMEM_READ, NULL, &work[thread].file));
        CHECK(pthread_create(&threads[thread], NULL, reads, &work[thread]) == 0);
    }
    over = queued = 0;
    for (thread = 0; thread < HANDS; thread++) CHECK(pthread_create(&hands[thread], NULL, completes, file) == 0);
    for (nth = 0; nth < blocks; nth++) {
        OK(shmem_block_claim(file, &block));
        CHECK(block.len == 4096 && !block.again);
        pthread_mutex_lock(&lock);
        while (queued == 4) pthread_cond_wait(&changed, &lock);
        queue[queued++] = block;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&lock);
    }
    pthread_mutex_lock(&lock);
    over = 1;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    for (thread = 0; thread < HANDS; thread++) CHECK(pthread_join(hands[thread], NULL) == 0);
    OK(shmem_finish_timeout(file, PATIENCE));
    RETURNS(ANTIPHON_ERROR_FINISHED, shmem_block_claim(file, &block));
    for (thread = 0; thread < 2; thread++) {
        CHECK(pthread_join(threads[thread], NULL) == 0);
        OK(shmem_close(work[thread].file));
    }
    CHECK(work[0].bytes + work[1].bytes == blocks * 4096);
    OK(shmem_close(file));

    /* By a name of any bytes, at an offset; the end by a block of no bytes. */
    memset(&at, 0, sizeof at);
    at.size = sizeof at;
    at.name_len = 5;
    at.offset = 1 << 20;
    OK(shmem_open(session, "a\0b\xff.", SHMEM_WRITE, &at, &file));
    OK(shmem_list(session, &entries, &entries_len));
    CHECK(entries_len == 1 && entries[0].name_len == 5 && memcmp(entries[0].name, "a\0b\xff.", 6) == 0);
    CHECK(entries[0].parts_len == 1 && entries[0].parts[0].offset == 1 << 20 && entries[0].readers == 0);
    OK(shmem_block_claim_at(file, (1 << 20) + 8192, &block));
    CHECK(block.offset == (1 << 20) + 8192);
    RETURNS(ANTIPHON_NOTHING_YET, shmem_open(session, NULL, SHMEM_READ_ANY, NULL, &reader) == ANTIPHON_OK
                                      ? shmem_block_try_claim(reader, &other)
                                      : ANTIPHON_ERROR_OTHER);
    RETURNS(ANTIPHON_ERROR_TIMED_OUT, shmem_block_claim_timeout(reader, &other, 1000));
    RETURNS(ANTIPHON_NOTHING_YET, shmem_open(session, NULL, SHMEM_READ_ANY, NULL, &any));
    fill(block.data, 0, 100);
    copy = block;
    RETURNS(ANTIPHON_ERROR_TOO_LONG, shmem_block_complete(file, &block, 4097));
    /* Still in hand. */
    OK(shmem_block_complete(file, &block, 100));
    RETURNS(ANTIPHON_ERROR_BAD_HANDLE, shmem_block_complete(file, &block, 100));
    RETURNS(ANTIPHON_ERROR_BAD_HANDLE, shmem_block_complete(file, &copy, 100));
    RETURNS(ANTIPHON_ERROR_BAD_HANDLE, shmem_block_drop(file, &copy));
    RETURNS(ANTIPHON_ERROR_BAD_ARGUMENT, shmem_block_complete(file, NULL, 100));
    OK(shmem_block_claim(reader, &other));
    CHECK(other.len == 100 && is_filled(other.data, 0, 100) && !other.again);
    OK(shmem_block_drop(reader, &other));
    OK(shmem_block_claim(reader, &other));
    CHECK(other.again && is_filled(other.data, 0, 100));
    RETURNS(ANTIPHON_ERROR_BAD_HANDLE, shmem_block_complete(file, &other, 100)); /* the other file's */
    OK(shmem_block_complete(reader, &other, 0));
    RETURNS(ANTIPHON_ERROR_BAD_ARGUMENT, shmem_finish(reader));
    RETURNS(ANTIPHON_ERROR_BAD_ARGUMENT, shmem_block_claim_at(reader, 0, &other));
    OK(shmem_block_try_claim(file, &block));
    OK(shmem_block_complete(file, &block, 0));
    RETURNS(ANTIPHON_ERROR_FINISHED, shmem_block_try_claim_at(file, 0, &block));
    RETURNS(ANTIPHON_END, shmem_block_try_claim(reader, &other));
    OK(shmem_close(reader));
    OK(shmem_close(file));

    /* Cancelled, with blocks in hand. */
    OK(shmem_open(session, "cancelled", SHMEM_WRITE, NULL, &file));
    OK(shmem_block_claim(file, &block));
    OK(shmem_cancel(file, "for the test"));
    RETURNS(ANTIPHON_ERROR_CANCELLED, shmem_block_complete(file, &block, 1));
    CHECK(strstr(antiphon_error_text(), "for the test") != NULL);
    OK(shmem_close(file));
    RETURNS(ANTIPHON_ERROR_NO_FILE, shmem_session_cancel(session, "nothing", "no reason"));
    /* Left open with a block in hand, for the next writer. */
    OK(shmem_open(session, "left", SHMEM_WRITE, NULL, &file));
    OK(shmem_block_claim(file, &block));
    OK(shmem_close(file));
    RETURNS(ANTIPHON_ERROR_BAD_HANDLE, shmem_block_complete(file, &block, 1));
    at.name_len = 0;
    at.offset = 0;
    at.wait_ns = SECOND;
    OK(shmem_open(session, "left", SHMEM_WRITE, NULL, &file));
    OK(shmem_open(session, "left", SHMEM_READ, &at, &reader));
    OK(shmem_block_claim_at_timeout(file, 4096, &block, SECOND));
    CHECK(block.again && block.offset == 0);
    OK(shmem_block_complete(file, &block, 0));
    RETURNS(ANTIPHON_END, shmem_block_claim(reader, &other));
    OK(shmem_close(file));
    OK(shmem_close(reader));
    OK(shmem_session_close(session));
    RETURNS(ANTIPHON_ERROR_BAD_HANDLE, shmem_list(session, &entries, &entries_len));
    OK(shmem_host_close(host));
}

static void a_child_cannot_use_its_parents_handles(void)
{
    antiphon_channel *channel;
    antiphon_publisher *publisher;
    int status;
    pid_t child;
    OK(antiphon_channel_create(name_of("fork"), NULL, &channel));
    OK(antiphon_publisher_open(channel, &publisher));
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        RETURNS(ANTIPHON_ERROR_FORKED, antiphon_publish(publisher, "x", 1));
        OK(antiphon_publisher_close(publisher));
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    OK(antiphon_publish(publisher, "x", 1));
    OK(antiphon_publisher_close(publisher));
    OK(antiphon_channel_unlink(antiphon_channel_name(channel)));
    OK(antiphon_channel_close(channel));
}

int main(void)
{
    alarm(300);
    mistakes_are_errors();
    messages_come_whole();
    calls_are_answered();
    files_come_whole(0);
    files_come_whole(1);
    a_child_cannot_use_its_parents_handles();
    puts("ok contract");
    return 0;
}
