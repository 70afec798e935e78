/*
 * hookload - posts prepared requests over keep-alive connections (Linux, one thread, epoll).
 *
 * Build:  gcc -O2 -Wall -o hookload hookload.c
 *
 * Usage:  hookload [options] HOST PORT REQUESTS ANSWERS
 *
 *   REQUESTS: a file of requests, each a 32-bit length (this machine's byte order) and its bytes.
 *   Each is sent once, as it stands, so nothing is made or signed while it is measured.
 *   A connection has one request outstanding: the next leaves when the answer is whole.
 *
 *   -c N        connections (default 64)
 *   -w SECONDS  warming up, which no figure has (default 0.3)
 *   -t SECONDS  measured after that (default 2)
 *   -r RATE     requests/s altogether; default: as fast as they are answered
 *   -p PID      the server, for its CPU
 *
 * It sleeps while it waits: the core is free for whoever else has work (a database).
 *
 * ANSWERS gets a line for each request that was sent: its number, when it was sent and when its
 * answer was whole (CLOCK_MONOTONIC ns; 0: never), the status, and the `id` of a body that says
 * "received": true ("-": it says something else).
 * Stdout: one line of JSON: begin and end of what was measured (ns), the CPU of the server and of
 * this program within it (us).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAXCONN 1024
#define ROOM 16384
#define IDLEN 64
#define DRAIN 30000000000ULL /* ns that answers may take at the end */

typedef unsigned long long u64;

typedef struct {
    u64 sent, done;
    int status;
    char id[IDLEN];
} Answer;

typedef struct {
    int fd;
    long request; /* -1: idle */
    size_t have;
    char buf[ROOM + 1];
} Conn;

static Conn conns[MAXCONN];
static Conn *idle[MAXCONN];
static int nidle;
static const char **requests;
static uint32_t *lengths;
static long total, next_request, outstanding;
static Answer *answers;

static void die(const char *m) {
    perror(m);
    exit(1);
}
static void fail(const char *m) {
    fprintf(stderr, "%s\n", m);
    exit(1);
}
static u64 now_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}
static double cpu_us(clockid_t clock) {
    struct timespec ts;
    if (clock_gettime(clock, &ts)) return 0; /* it has ended: its answers are missing, too */
    return ts.tv_sec * 1e6 + ts.tv_nsec / 1e3;
}

static void load(const char *path) {
    int fd = open(path, O_RDONLY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st)) die(path);
    char *all = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (all == MAP_FAILED) die(path);
    uint32_t length;
    for (char *at = all; at < all + st.st_size; at += 4 + length, total++) {
        memcpy(&length, at, 4);
    }
    requests = calloc(total, sizeof *requests);
    lengths = calloc(total, sizeof *lengths);
    answers = calloc(total, sizeof *answers);
    if (!total || !requests || !lengths || !answers) fail("no requests");
    char *at = all;
    for (long i = 0; i < total; i++) {
        memcpy(&lengths[i], at, 4);
        requests[i] = at + 4;
        at += 4 + lengths[i];
    }
}

static void send_next(Conn *conn) {
    long i = conn->request = next_request++;
    conn->have = 0;
    outstanding++;
    answers[i].sent = now_ns();
    if (send(conn->fd, requests[i], lengths[i], MSG_NOSIGNAL) != (ssize_t)lengths[i])
        fail("a request could not be sent whole");
}

/* Whether the answer is whole; then it is noted. */
static int whole(Conn *conn) {
    conn->buf[conn->have] = 0;
    char *end = strstr(conn->buf, "\r\n\r\n");
    if (!end) return 0;
    char *length = strcasestr(conn->buf, "\r\ncontent-length:");
    if (!length || length > end) fail("an answer without a Content-Length");
    char *body = end + 4;
    size_t size = (size_t)atol(length + 17);
    size_t here = conn->have - (size_t)(body - conn->buf);
    if (here < size) return 0;
    if (here > size) fail("more than one answer to one request");
    Answer *answer = &answers[conn->request];
    answer->done = now_ns();
    answer->status = atoi(conn->buf + 9);
    char *id = strstr(body, "\"id\":");
    int received = strstr(body, "\"received\": true") || strstr(body, "\"received\":true");
    if (!received || !id || sscanf(id + 5, " \"%63[^\"]", answer->id) != 1)
        strcpy(answer->id, "-");
    return 1;
}

/* Take what came; returns whether the connection is idle now. */
static int take(Conn *conn) {
    ssize_t n = recv(conn->fd, conn->buf + conn->have, ROOM - conn->have, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    if (n <= 0) fail("the server closed a connection");
    if (conn->request < 0) fail("an answer to no request");
    conn->have += (size_t)n;
    if (!whole(conn)) {
        if (conn->have == ROOM) fail("an answer is too long");
        return 0;
    }
    conn->request = -1;
    outstanding--;
    return 1;
}

static void write_answers(const char *path) {
    FILE *file = fopen(path, "w");
    if (!file) die(path);
    for (long i = 0; i < next_request; i++) {
        Answer *a = &answers[i];
        fprintf(file, "%ld %llu %llu %d %s\n", i, a->sent, a->done, a->status,
                a->done ? a->id : "-");
    }
    if (fclose(file)) die(path);
}

int main(int argc, char **argv) {
    int n = 64, option, epoll = epoll_create1(0);
    double warm = 0.3, seconds = 2, rate = 0;
    clockid_t server = CLOCK_PROCESS_CPUTIME_ID, own = CLOCK_PROCESS_CPUTIME_ID;
    while ((option = getopt(argc, argv, "c:w:t:r:p:")) != -1) {
        if (option == 'c') n = atoi(optarg);
        else if (option == 'w') warm = atof(optarg);
        else if (option == 't') seconds = atof(optarg);
        else if (option == 'r') rate = atof(optarg);
        else if (option != 'p' || clock_getcpuclockid(atoi(optarg), &server)) fail("see the source");
    }
    if (argc - optind != 4 || n < 1 || n > MAXCONN) fail("hookload [options] HOST PORT REQUESTS ANSWERS");
    argv += optind;
    load(argv[2]);

    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
    if (inet_pton(AF_INET, argv[0], &to.sin_addr) != 1) fail("HOST is no IPv4 address");
    for (int i = 0; i < n; i++) {
        Conn *conn = &conns[i];
        int on = 1;
        conn->fd = socket(AF_INET, SOCK_STREAM, 0);
        if (conn->fd < 0 || connect(conn->fd, (struct sockaddr *)&to, sizeof to)) die("connect");
        setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        fcntl(conn->fd, F_SETFL, O_NONBLOCK);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = conn};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, conn->fd, &event)) die("epoll_ctl");
        conn->request = -1;
        idle[nidle++] = conn;
    }

    u64 start = now_ns(), begin = 0, end = 0, now;
    u64 begins = start + (u64)(warm * 1e9), ends = begins + (u64)(seconds * 1e9);
    double server_us = 0, own_us = 0;
    while (!end || outstanding) {
        now = now_ns();
        if (!begin && now >= begins) {
            begin = now;
            server_us = cpu_us(server);
            own_us = cpu_us(own);
        }
        if (begin && !end && (now >= ends || (next_request == total && !outstanding))) {
            end = now;
            server_us = cpu_us(server) - server_us;
            own_us = cpu_us(own) - own_us;
        }
        if (!begin && next_request == total && !outstanding) fail("too few requests");
        if (end && now > end + DRAIN) break;
        long due = rate > 0 ? (long)((now - start) / 1e9 * rate) + 1 : total;
        while (!end && nidle && next_request < total && next_request < due)
            send_next(idle[--nidle]);
        struct epoll_event events[MAXCONN];
        int found = epoll_wait(epoll, events, n, rate > 0 ? 1 : 10);
        for (int i = 0; i < found; i++) {
            Conn *conn = events[i].data.ptr;
            if (!take(conn)) continue;
            if (rate > 0 || end || next_request == total) idle[nidle++] = conn;
            else send_next(conn);
        }
    }
    write_answers(argv[3]);
    printf("{\"begin\": %llu, \"end\": %llu, \"server_us\": %.1f, \"own_us\": %.1f}\n", begin, end,
           server_us, own_us);
    return 0;
}
