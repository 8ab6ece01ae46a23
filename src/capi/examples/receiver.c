/* Receives a file of a session, and writes it to where it belongs in a file on disk: blocks need not come in order, and
 * several receivers share the work. Without FILE it lists what there is.
 *
 * usage: receiver SESSION [FILE TO]
 */
#define _POSIX_C_SOURCE 200809L
#include <antiphon.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int failed(const char *what)
{
    fprintf(stderr, "receiver: %s: %s\n", what, antiphon_error_text());
    return 1;
}

int main(int argc, char **argv)
{
    shmem_session *session;
    shmem_file *file;
    shmem_block block;
    antiphon_error error;
    uint64_t bytes = 0;
    int to;
    if (argc != 2 && argc != 4) {
        fprintf(stderr, "usage: receiver SESSION [FILE TO]\n");
        return 2;
    }
    if (shmem_session_connect(strtoull(argv[1], NULL, 16), NULL, &session) != ANTIPHON_OK) return failed("connect");
    if (argc == 2) {
        const shmem_entry *entries;
        size_t entries_len, nth;
        if (shmem_list(session, &entries, &entries_len) != ANTIPHON_OK) return failed("list");
        for (nth = 0; nth < entries_len; nth++)
            printf("%s: %zu part(s), %zu reader(s)\n", entries[nth].name, entries[nth].parts_len, entries[nth].readers);
        shmem_session_close(session);
        return 0;
    }
    if (shmem_open(session, argv[2], SHMEM_READ, NULL, &file) != ANTIPHON_OK) return failed("open");
    to = open(argv[3], O_WRONLY | O_CREAT, 0644);
    if (to < 0) {
        perror(argv[3]);
        return 1;
    }
    while ((error = shmem_block_claim(file, &block)) == ANTIPHON_OK) {
        size_t done = 0;
        while (done < block.len) {
            ssize_t now =
                pwrite(to, (const char *)block.data + done, block.len - done, (off_t)(block.offset + done));
            if (now < 0) {
                /* Somebody else may have more room: the block goes to the next receiver, marked. */
                perror(argv[3]);
                shmem_block_drop(file, &block);
                shmem_close(file);
                return 1;
            }
            done += (size_t)now;
        }
        bytes += block.len;
        if (shmem_block_complete(file, &block, 0) != ANTIPHON_OK) return failed("complete");
        /* From here on nothing of the block may be touched. */
    }
    if (error != ANTIPHON_END) return failed("claim");
    fprintf(stderr, "receiver: %" PRIu64 " bytes\n", bytes);
    close(to);
    shmem_close(file);
    shmem_session_close(session);
    return 0;
}
