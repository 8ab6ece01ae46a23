/* Answers each word that it is called with by the same word backwards, until the caller leaves.
 *
 * usage: answerer NAME
 */
#include <antiphon.h>
#include <stdio.h>

static int failed(const char *what)
{
    fprintf(stderr, "answerer: %s: %s\n", what, antiphon_error_text());
    return 1;
}

int main(int argc, char **argv)
{
    antiphon_channel *channel;
    antiphon_consumer *consumer;
    antiphon_message message;
    antiphon_error error;
    if (argc != 2) {
        fprintf(stderr, "usage: answerer NAME\n");
        return 2;
    }
    if (antiphon_channel_create(argv[1], NULL, &channel) != ANTIPHON_OK) return failed("create");
    if (antiphon_consumer_open(channel, &consumer) != ANTIPHON_OK) return failed("sit down");
    puts("ready");
    fflush(stdout);
    while ((error = antiphon_consume(consumer, &message)) == ANTIPHON_OK) {
        char backwards[64];
        size_t at;
        /* In place: message.data is in the region, and this process's until the reply. A call too long for us is let
         * go of, and its caller told that there is no reply. */
        if (!message.is_call || message.len > sizeof backwards) {
            antiphon_message_done(consumer);
            continue;
        }
        for (at = 0; at < message.len; at++) backwards[at] = ((const char *)message.data)[message.len - 1 - at];
        if (antiphon_reply(consumer, backwards, message.len) != ANTIPHON_OK) failed("reply");
    }
    antiphon_consumer_close(consumer);
    antiphon_channel_close(channel);
    return error == ANTIPHON_ERROR_DISCONNECTED ? 0 : failed("consume");
}
