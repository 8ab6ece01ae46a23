/* The MPI contestants: the same exchanges as the others, between rank 0 and rank 1.
 *
 * usage: mpirun -np 2 exchange FOLDER
 *
 * Each rank reads its orders from the FIFO FOLDER/orders-RANK and answers on FOLDER/answers-RANK, so that both sleep in
 * a plain read between two samples: MPI's own waits spin. src/order.rs says what an order is.
 */
#define _GNU_SOURCE
#include <mpi.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int rank;
static struct buffer {
    char *at;
    size_t bytes;
} outgoing, incoming;

static void fail(const char *what)
{
    fprintf(stderr, "rank %d: %s\n", rank, what);
    MPI_Abort(MPI_COMM_WORLD, 1);
}

/* Private to this process, and with every page touched. */
static void make_room(struct buffer *buffer, size_t bytes)
{
    if (bytes <= buffer->bytes)
        return;
    free(buffer->at);
    buffer->at = malloc(bytes);
    if (buffer->at == NULL)
        fail("no memory for the buffers");
    memset(buffer->at, 7, bytes);
    buffer->bytes = bytes;
}

/* What is large is not kept: there are many contestants. */
static void give_up_what_is_large(struct buffer *buffer)
{
    if (buffer->bytes <= (size_t)64 << 20)
        return;
    free(buffer->at);
    buffer->at = NULL;
    buffer->bytes = 0;
}

static void there(size_t bytes)
{
    if (rank == 0)
        MPI_Send(outgoing.at, (int)bytes, MPI_BYTE, 1, 0, MPI_COMM_WORLD);
    else
        MPI_Recv(incoming.at, (int)bytes, MPI_BYTE, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

static void back(size_t bytes)
{
    if (rank == 1)
        MPI_Send(outgoing.at, (int)bytes, MPI_BYTE, 0, 0, MPI_COMM_WORLD);
    else
        MPI_Recv(incoming.at, (int)bytes, MPI_BYTE, 1, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

static void exchange(const char *play, long count, size_t bytes)
{
    if (strcmp(play, "one-way") == 0) {
        for (long n = 0; n < count; n++)
            there(bytes);
        if (count > 0)
            back(1);
    } else if (strcmp(play, "round-trip") == 0 || strcmp(play, "one-core") == 0) {
        for (long n = 0; n < count; n++) {
            there(bytes);
            back(bytes);
        }
    } else {
        fail("an order for something that MPI does not do");
    }
}

static void stay_on(int processor)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        fail("this processor cannot be had");
}

static FILE *open_wire(const char *folder, const char *what, const char *mode)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s-%d", folder, what, rank);
    FILE *wire = fopen(path, mode);
    if (wire == NULL)
        fail("the FIFOs cannot be opened");
    return wire;
}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (argc != 2)
        fail("usage: exchange FOLDER");
    FILE *orders = open_wire(argv[1], "orders", "r");
    FILE *answers = open_wire(argv[1], "answers", "w");
    char library[MPI_MAX_LIBRARY_VERSION_STRING];
    int length;
    MPI_Get_library_version(library, &length);
    library[strcspn(library, "\n,")] = 0;
    fprintf(answers, "ready %d %s\n", (int)getpid(), library);
    fflush(answers);

    char line[256], play[32];
    long warm, count;
    size_t bytes;
    int processor, keep;
    while (fgets(line, sizeof line, orders) != NULL) {
        if (sscanf(line, "%31s %zu %ld %ld %d %d", play, &bytes, &warm, &count, &processor, &keep) != 6)
            fail("an order that makes no sense");
        stay_on(processor);
        int both = strcmp(play, "one-way") != 0;
        make_room(&outgoing, both || rank == 0 ? bytes : 1);
        make_room(&incoming, both || rank == 1 ? bytes : 1);
        struct timespec began, ended;
        exchange(play, warm, bytes);
        clock_gettime(CLOCK_MONOTONIC, &began);
        exchange(play, count, bytes);
        clock_gettime(CLOCK_MONOTONIC, &ended);
        if (!keep) {
            give_up_what_is_large(&outgoing);
            give_up_what_is_large(&incoming);
        }
        long long nanos = (ended.tv_sec - began.tv_sec) * 1000000000LL + (ended.tv_nsec - began.tv_nsec);
        fprintf(answers, "took %lld\n", nanos);
        fflush(answers);
    }
    MPI_Finalize();
    return 0;
}
