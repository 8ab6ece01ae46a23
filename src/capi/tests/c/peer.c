/* One end of a channel or of a file, for the Rust tests: they start it, stand at the other end, and kill it.
 *
 * publish NAME LOG      publishes numbered messages; each is logged once it is acknowledged
 * consume NAME LOG      logs each message, then is done with it
 * call NAME             calls for ever, and checks each reply
 * answer NAME           answers each call by what it said, backwards
 * write SESSION LEN     writes `LEN` bytes of the file "work", with others, and finishes
 * read SESSION LOG      logs each block of the file "work", then completes it
 * hold NAME             takes one message, says whether it came again, and waits to be killed over it
 * hold-write SESSION, hold-read SESSION
 *                       likewise, a block
 * storm-publisher NAME, storm-consumer NAME, storm-writer SESSION, storm-reader SESSION
 *                       uses everything for a while beside somebody who breaks the protocol, touches every byte it is
 *                       told of, and ends
 */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include <fcntl.h>
#include <time.h>

struct line {
    uint64_t number;
    uint64_t len;
    uint64_t again;
};

static int log_to = -1;

static void log_line(uint64_t number, uint64_t len, uint64_t again)
{
    struct line line;
    line.number = number;
    line.len = len;
    line.again = again;
    /* One write: whole, or not there. */
    CHECK(write(log_to, &line, sizeof line) == (ssize_t)sizeof line);
}

static void open_log(const char *path)
{
    log_to = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    CHECK(log_to >= 0);
}

static size_t len_of(uint64_t number)
{
    static const size_t lens[] = {8, 16, 48, 100, 300, 5000, 40000, 65536, 150000};
    return lens[number % (sizeof lens / sizeof *lens)];
}

static unsigned char bytes[200000];

static antiphon_channel *open_channel(const char *name)
{
    antiphon_channel *channel;
    antiphon_channel_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.capacity = 65536;
    OK(antiphon_channel_open_or_create(name, &options, &channel));
    return channel;
}

static int is_news(antiphon_error error)
{
    return error == ANTIPHON_ERROR_PEER_DIED || error == ANTIPHON_ERROR_DISCONNECTED || error == ANTIPHON_ERROR_ABORTED;
}

static void publish(const char *name, uint64_t from)
{
    antiphon_publisher *publisher;
    uint64_t number;
    OK(antiphon_publisher_open_timeout(open_channel(name), &publisher, PATIENCE));
    puts("ready");
    fflush(stdout);
    for (number = from;; number++) {
        size_t len = len_of(number);
        antiphon_error error;
        fill(bytes, number, len);
        memcpy(bytes, &number, 8);
        do {
            void *lent;
            if (number % 3 == 0 && len <= 65536) {
                error = antiphon_loan_timeout(publisher, len, &lent, PATIENCE);
                if (error == ANTIPHON_OK) {
                    memcpy(lent, bytes, len);
                    error = antiphon_loan_publish(publisher, len);
                }
            } else {
                error = antiphon_publish_timeout(publisher, bytes, len, PATIENCE);
            }
        } while (is_news(error));
        OK(error);
        log_line(number, len, 0);
    }
}

static void check_message(const void *data, size_t len, uint64_t *number)
{
    CHECK(len >= 8);
    memcpy(number, data, 8);
    CHECK(len == len_of(*number));
    CHECK(is_filled((const char *)data + 8, *number + 8, len - 8));
}

static void consume(const char *name)
{
    antiphon_consumer *consumer;
    antiphon_message message;
    OK(antiphon_consumer_open_timeout(open_channel(name), &consumer, PATIENCE));
    puts("ready");
    fflush(stdout);
    for (;;) {
        uint64_t number;
        /* In place where it is one piece. */
        antiphon_error error = antiphon_consume_timeout(consumer, &message, PATIENCE);
        if (is_news(error)) continue;
        OK(error);
        if (message.data_len < message.len) {
            size_t got = 0;
            uint64_t first = 0;
            do {
                if (got == 0) memcpy(&first, message.data, 8);
                CHECK(is_filled((const char *)message.data + (got == 0 ? 8 : 0), first + got + (got == 0 ? 8 : 0),
                                message.data_len - (got == 0 ? 8 : 0)));
                got += message.data_len;
                error = antiphon_message_next_round(consumer, &message);
            } while (error == ANTIPHON_OK);
            if (is_news(error)) continue;
            RETURNS(ANTIPHON_END, error);
            CHECK(got == len_of(first));
            number = first;
        } else {
            check_message(message.data, message.data_len, &number);
        }
        log_line(number, message.len, message.redelivered);
        OK(antiphon_message_done(consumer));
    }
}

static void call(const char *name)
{
    antiphon_publisher *publisher;
    uint64_t number;
    OK(antiphon_publisher_open_timeout(open_channel(name), &publisher, PATIENCE));
    puts("ready");
    fflush(stdout);
    for (number = 0;; number++) {
        size_t len = len_of(number), reply_len, at;
        const void *reply;
        antiphon_error error;
        fill(bytes, number, len);
        error = antiphon_call_timeout(publisher, bytes, len, &reply, &reply_len, PATIENCE);
        if (is_news(error) || error == ANTIPHON_ERROR_NO_REPLY) continue;
        OK(error);
        CHECK(reply_len == len);
        for (at = 0; at < len; at++) CHECK(((const unsigned char *)reply)[at] == bytes[len - 1 - at]);
    }
}

static void answer(const char *name)
{
    antiphon_consumer *consumer;
    antiphon_message message;
    OK(antiphon_consumer_open_timeout(open_channel(name), &consumer, PATIENCE));
    puts("ready");
    fflush(stdout);
    for (;;) {
        size_t at;
        antiphon_error error = antiphon_consume_copy_timeout(consumer, &message, PATIENCE);
        if (is_news(error)) continue;
        OK(error);
        for (at = 0; at < message.len; at++)
            bytes[at] = ((const unsigned char *)message.data)[message.len - 1 - at];
        error = antiphon_reply_timeout(consumer, bytes, message.len, PATIENCE);
        if (!is_news(error) && error != ANTIPHON_ERROR_CALLER_GONE) OK(error);
    }
}

static shmem_file *open_file(const char *session_id, uint32_t access)
{
    shmem_session *session;
    shmem_session_options options;
    shmem_open_options opening;
    shmem_file *file;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.wait_ns = PATIENCE;
    OK(shmem_session_connect(strtoull(session_id, NULL, 16), &options, &session));
    memset(&opening, 0, sizeof opening);
    opening.size = sizeof opening;
    if (access == SHMEM_READ) opening.wait_ns = PATIENCE;
    OK(shmem_open(session, "work", access, &opening, &file));
    return file;
}

static void write_file(const char *session, uint64_t len)
{
    shmem_file *file = open_file(session, SHMEM_WRITE);
    antiphon_error error;
    puts("ready");
    fflush(stdout);
    for (;;) {
        shmem_block block;
        uint64_t left;
        error = shmem_block_claim_timeout(file, &block, PATIENCE);
        if (is_news(error)) continue;
        if (error == ANTIPHON_ERROR_FINISHED) break;
        OK(error);
        left = block.offset < len ? len - block.offset : 0;
        if (left > block.len) left = block.len;
        fill(block.data, block.offset, (size_t)left);
        OK(shmem_block_complete(file, &block, (size_t)left));
    }
    while ((error = shmem_finish_timeout(file, PATIENCE)) == ANTIPHON_ERROR_UNFILLED) {
        shmem_block block;
        OK(shmem_block_claim_timeout(file, &block, PATIENCE));
        CHECK(block.again);
        fill(block.data, block.offset, block.len);
        OK(shmem_block_complete(file, &block, block.len));
    }
    OK(error);
    OK(shmem_close(file));
}

static void read_file(const char *session)
{
    shmem_file *file = open_file(session, SHMEM_READ);
    shmem_block block;
    puts("ready");
    fflush(stdout);
    for (;;) {
        antiphon_error error = shmem_block_claim_timeout(file, &block, PATIENCE);
        if (is_news(error)) continue;
        if (error == ANTIPHON_END) break;
        OK(error);
        CHECK(is_filled(block.data, block.offset, block.len));
        log_line(block.offset, block.len, block.again);
        OK(shmem_block_complete(file, &block, 0));
    }
    OK(shmem_close(file));
}

static void hold(const char *name)
{
    antiphon_consumer *consumer;
    antiphon_message message;
    antiphon_error error;
    OK(antiphon_consumer_open_timeout(open_channel(name), &consumer, PATIENCE));
    do error = antiphon_consume_timeout(consumer, &message, PATIENCE);
    while (is_news(error));
    OK(error);
    printf("%s %u\n", (const char *)message.data, (unsigned)message.redelivered);
    fflush(stdout);
    for (;;) pause();
}

static void hold_block(const char *session, uint32_t access)
{
    shmem_file *file = open_file(session, access);
    shmem_block block;
    antiphon_error error;
    do error = shmem_block_claim_timeout(file, &block, PATIENCE);
    while (is_news(error));
    OK(error);
    printf("%lu %u\n", (unsigned long)block.offset, (unsigned)block.again);
    fflush(stdout);
    for (;;) pause();
}

/* ---- Beside somebody who breaks the protocol: every outcome may come, but no crash, no hang, no stray access. ---- */

#define SHORTLY (2 * SECOND / 1000)

static volatile unsigned sum;

static void touch(const void *data, size_t len)
{
    size_t at;
    for (at = 0; at < len; at += 64) sum += ((const volatile unsigned char *)data)[at];
    if (len > 0) sum += ((const volatile unsigned char *)data)[len - 1];
}

static int goes_on(void)
{
    static time_t began;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (began == 0) began = now.tv_sec;
    return now.tv_sec - began < 3;
}

static void storm_publisher(const char *name)
{
    antiphon_channel *channel;
    antiphon_publisher *publisher = NULL;
    uint64_t number;
    if (antiphon_channel_open(name, NULL, &channel) != ANTIPHON_OK) return;
    puts("ready");
    fflush(stdout);
    for (number = 0; goes_on(); number++) {
        size_t len = len_of(number), reply_len;
        const void *reply;
        void *lent;
        if (publisher == NULL && antiphon_publisher_open_timeout(channel, &publisher, SHORTLY) != ANTIPHON_OK) {
            publisher = NULL;
            continue;
        }
        antiphon_publish_timeout(publisher, bytes, len, SHORTLY);
        if (antiphon_call_timeout(publisher, bytes, len, &reply, &reply_len, SHORTLY) == ANTIPHON_OK)
            touch(reply, reply_len);
        if (antiphon_try_loan(publisher, len, &lent) == ANTIPHON_OK) {
            memset(lent, 1, len);
            antiphon_loan_publish(publisher, len / 2);
        }
        if (number % 50 == 49) {
            OK(antiphon_publisher_close(publisher));
            publisher = NULL;
        }
    }
    OK(antiphon_publisher_close(publisher));
    OK(antiphon_channel_close(channel));
}

static void storm_consumer(const char *name)
{
    antiphon_channel *channel;
    antiphon_consumer *consumer = NULL;
    antiphon_message message;
    uint64_t number;
    if (antiphon_channel_open(name, NULL, &channel) != ANTIPHON_OK) return;
    puts("ready");
    fflush(stdout);
    for (number = 0; goes_on(); number++) {
        antiphon_error error;
        if (consumer == NULL && antiphon_consumer_open_timeout(channel, &consumer, SHORTLY) != ANTIPHON_OK) {
            consumer = NULL;
            continue;
        }
        error = number % 2 ? antiphon_consume_copy_timeout(consumer, &message, SHORTLY)
                           : antiphon_consume_timeout(consumer, &message, SHORTLY);
        if (error == ANTIPHON_OK) {
            touch(message.data, message.data_len);
            if (number % 7 == 0) antiphon_message_next_round(consumer, &message);
            if (number % 3 == 0)
                antiphon_reply_timeout(consumer, bytes, len_of(number), SHORTLY);
            else if (number % 3 == 1)
                antiphon_reply_timeout(consumer, message.data, message.data_len, SHORTLY);
        }
        if (number % 50 == 49) {
            OK(antiphon_consumer_close(consumer));
            consumer = NULL;
        }
    }
    OK(antiphon_consumer_close(consumer));
    OK(antiphon_channel_close(channel));
}

static void storm_file(const char *session, uint32_t access)
{
    shmem_file *file = open_file(session, access);
    uint64_t number;
    puts("ready");
    fflush(stdout);
    for (number = 0; goes_on(); number++) {
        shmem_block block[2];
        size_t nth;
        for (nth = 0; nth < 2; nth++) {
            memset(&block[nth], 0, sizeof block[nth]);
            if (shmem_block_claim_timeout(file, &block[nth], SHORTLY) != ANTIPHON_OK) continue;
            touch(block[nth].data, block[nth].len);
            if (access == SHMEM_WRITE) memset(block[nth].data, 1, block[nth].len);
        }
        for (nth = 0; nth < 2; nth++) {
            touch(block[nth].data, block[nth].len);
            if (number % 5 == 0)
                shmem_block_drop(file, &block[nth]);
            else
                shmem_block_complete(file, &block[nth], block[nth].len);
        }
    }
    OK(shmem_close(file));
}

int main(int argc, char **argv)
{
    const char *role = argc > 2 ? argv[1] : "";
    alarm(120);
    if (argc > 3 && strcmp(role, "write") != 0) open_log(argv[3]);
    if (strcmp(role, "publish") == 0)
        publish(argv[2], strtoull(argv[4], NULL, 10));
    else if (strcmp(role, "consume") == 0)
        consume(argv[2]);
    else if (strcmp(role, "call") == 0)
        call(argv[2]);
    else if (strcmp(role, "answer") == 0)
        answer(argv[2]);
    else if (strcmp(role, "write") == 0)
        write_file(argv[2], strtoull(argv[3], NULL, 10));
    else if (strcmp(role, "read") == 0)
        read_file(argv[2]);
    else if (strcmp(role, "hold") == 0)
        hold(argv[2]);
    else if (strcmp(role, "hold-write") == 0)
        hold_block(argv[2], SHMEM_WRITE);
    else if (strcmp(role, "hold-read") == 0)
        hold_block(argv[2], SHMEM_READ);
    else if (strcmp(role, "storm-publisher") == 0)
        storm_publisher(argv[2]);
    else if (strcmp(role, "storm-consumer") == 0)
        storm_consumer(argv[2]);
    else if (strcmp(role, "storm-writer") == 0)
        storm_file(argv[2], SHMEM_WRITE);
    else if (strcmp(role, "storm-reader") == 0)
        storm_file(argv[2], SHMEM_READ);
    else
        return 2;
    return 0;
}
