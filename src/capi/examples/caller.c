/* Calls a program that answers, and prints what it says: start `answerer demo` first.
 *
 * usage: caller NAME WORD...
 */
#include <antiphon.h>
#include <stdio.h>
#include <string.h>

#define SECOND UINT64_C(1000000000)

static int failed(const char *what)
{
    fprintf(stderr, "caller: %s: %s\n", what, antiphon_error_text());
    return 1;
}

int main(int argc, char **argv)
{
    antiphon_channel *channel;
    antiphon_publisher *publisher;
    int nth;
    if (argc < 2) {
        fprintf(stderr, "usage: caller NAME WORD...\n");
        return 2;
    }
    if (antiphon_channel_open(argv[1], NULL, &channel) != ANTIPHON_OK) return failed("open");
    if (antiphon_publisher_open(channel, &publisher) != ANTIPHON_OK) return failed("sit down");
    for (nth = 2; nth < argc; nth++) {
        const void *reply;
        size_t reply_len;
        antiphon_error error =
            antiphon_call_timeout(publisher, argv[nth], strlen(argv[nth]), &reply, &reply_len, 10 * SECOND);
        if (error != ANTIPHON_OK) {
            /* Whether it may be repeated is a question of its own. */
            if (antiphon_error_delivered() == ANTIPHON_DELIVERED_NO) fprintf(stderr, "caller: nobody has heard it\n");
            return failed("call");
        }
        printf("%.*s\n", (int)reply_len, (const char *)reply);
    }
    antiphon_publisher_close(publisher);
    antiphon_channel_close(channel);
    return 0;
}
