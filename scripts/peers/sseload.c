/*
 * sseload - SSE fan-out load generator and latency meter (Linux, one thread, epoll).
 *
 * Build:  gcc -O2 -Wall -o sseload sseload.c
 *
 * Usage:  sseload [options] HOST PORT PATH NCLIENTS SECONDS
 *
 *   %d in PATH is the client's number (a channel for each); a published event must still reach
 *   every client exactly once.
 *
 *   Opens NCLIENTS connections, sends "GET PATH" with Accept: text/event-stream on each,
 *   waits until every one has its response headers, prints "connected N in S s", then runs
 *   the phases and prints one JSON line for each on stdout.
 *
 *   An event is recognised by the marker  "t":<digits>  in its data, where the digits are
 *   CLOCK_MONOTONIC nanoseconds at publish time.  Chunked framing, \n or \r\n line ends,
 *   comments and keep-alives are therefore all tolerated (one marker == one event).
 *
 * Publishing (HTTP POST over keep-alive connections, from this process):
 *   -p LIST     phases, comma separated (default "r5,w1,w16"):
 *                 rX   publish X events/s (latency phase)
 *                 wK   saturation: keep K events outstanding; an event is outstanding until
 *                      it has been received by every client (closed loop, so nothing
 *                      overflows and the expected count is exact)
 *                 wKxN the same, ending when N events have been published (SECONDS is then a limit)
 *                 l    only listen (somebody else publishes)
 *               each may end in @S: so many seconds instead of SECONDS
 *   -n REPS     run the whole phase list REPS times (default 1)
 *   -u H:P/PATH where to POST (default HOST:PORT/pub)
 *   -b TEMPLATE POST body; @T@ -> timestamp ns, @N@ -> sequence number.  Default: a JSON
 *               object of about 130 bytes.  "-b @FILE" reads the template from FILE.
 *   -C TYPE     Content-Type of the POST (default application/json)
 *   -A HDR      extra header of the POST (e.g. -A 'Authorization: Bearer KEY')
 * Measuring:
 *   -P PIDS     comma separated server pids; they and all their descendants are summed:
 *               CPU (utime+stime of /proc/PID/stat) and memory (PSS of smaps_rollup), memory
 *               before connecting and 1 s after all are connected
 *   -O PIDS     processes whose CPU is known and no disturbance (a database): not in other_pct
 *   -G K        measure memory also 1 s after the first K clients are connected; kb_grown is what
 *               each later client cost, so that nothing paid once is counted
 *   -g PATH     probe: in phases whose name ends in g (r5g, w1g), GET PATH on one more
 *               connection every 2 ms (never overlapping); gives the latency an unrelated
 *               request sees while fan-outs run, from when it was due; those that fell due while
 *               one was waited for are counted, too (no coordinated omission).  probe_err: answers
 *               other than 200, and closed connections.  It costs server CPU: read cpu_us elsewhere
 *   -x N        with phase l: exact number of events each client should get
 * Connecting:
 *   -c K        at most K connections in the making at a time (default 100)
 *   -w TEXT     a client counts as connected when TEXT (at most 31 bytes) has come after its headers
 *   -H HDR      extra request header, repeatable (e.g. -H 'Last-Event-ID: 7')
 *   -s          spin (epoll_wait timeout 0) rather than sleep: the server then never pays
 *               for waking this process; use when this process has a core of its own
 *   -l LABEL    put into each JSON line
 *   -k SECONDS  drain limit after each phase (default 10)
 *
 * Needs a file descriptor for each client; raises the soft limit to the hard one.  Source
 * addresses 127.0.0.1, 127.0.0.2, ... are used, 25000 clients each, when HOST is 127.*.
 *
 * Output fields: phase, n, published, expected, received, lost, dup, stray, secs, dps
 * (deliveries/s), eps (events/s), p50/p90/p99/p999/max (us, over all deliveries),
 * last_p50/last_max (us, to the last client of each event), first_p50 (us, first client),
 * cpu_us (server CPU us per delivery), cpu_pct (server), cli_pct (own CPU), other_pct (CPU
 * used by everything else on the machine, 100 = one core: throw the run away when it is
 * not near 0), closed (clients closed by the server), probe_* (us).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

#define CARRY 32
#define RING 8192
#define MAXPUB 128
#define SUB 64 /* histogram sub-buckets for each power of two */

typedef unsigned long long u64;

static u64 now_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}
static void die(const char *m) {
    perror(m);
    exit(1);
}

/* ---- histogram: log-linear, < 1.6 % error, in units of 100 ns ---- */
typedef struct {
    u64 b[64 * SUB], n, max;
} Hist;
static int hidx(u64 v) {
    if (v < SUB) return (int)v;
    int e = 63 - __builtin_clzll(v); /* >= 6 */
    return (e - 5) * SUB + (int)((v >> (e - 6)) & (SUB - 1));
}
static double hval(int i) {
    if (i < SUB) return i;
    int e = i / SUB + 5;
    return (double)((u64)(SUB + i % SUB) << (e - 6)) + 0.5 * (double)(1ULL << (e - 6));
}
static void hadd(Hist *h, u64 ns) {
    h->b[hidx(ns / 100)]++;
    h->n++;
    if (ns > h->max) h->max = ns;
}
static double hpct(const Hist *h, double p) { /* us */
    u64 want = (u64)(p / 100.0 * h->n), c = 0;
    for (int i = 0; i < 64 * SUB; i++) {
        c += h->b[i];
        if (c > want) return hval(i) / 10.0;
    }
    return h->max / 1e3;
}

/* ---- processes: the given pids and their descendants ---- */
static int roots[64], nroots, others[64], nothers;
static int tree(const int *from, int nfrom, int *out, int cap) {
    static int pid[8192], ppid[8192];
    int n = 0, k = 0;
    DIR *d = opendir("/proc");
    struct dirent *e;
    while (d && (e = readdir(d)) && n < 8192) {
        if (!isdigit((unsigned char)e->d_name[0])) continue;
        char path[300], buf[512];
        snprintf(path, sizeof path, "/proc/%s/stat", e->d_name);
        FILE *f = fopen(path, "r");
        if (!f) continue;
        size_t r = fread(buf, 1, sizeof buf - 1, f);
        fclose(f);
        buf[r] = 0;
        char *p = strrchr(buf, ')');
        if (!p) continue;
        pid[n] = atoi(e->d_name);
        ppid[n++] = atoi(p + 4);
    }
    if (d) closedir(d);
    for (int i = 0; i < nfrom && k < cap; i++) out[k++] = from[i];
    for (int i = 0; i < k; i++)
        for (int j = 0; j < n && k < cap; j++)
            if (ppid[j] == out[i]) out[k++] = pid[j];
    return k;
}
static double cpu_of(const int *from, int nfrom) {
    int p[512], k = nfrom ? tree(from, nfrom, p, 512) : 0;
    double s = 0;
    for (int i = 0; i < k; i++) {
        char path[64], buf[1024];
        snprintf(path, sizeof path, "/proc/%d/stat", p[i]);
        FILE *f = fopen(path, "r");
        if (!f) continue;
        size_t r = fread(buf, 1, sizeof buf - 1, f);
        fclose(f);
        buf[r] = 0;
        char *q = strrchr(buf, ')');
        unsigned long ut = 0, st = 0;
        if (q) sscanf(q + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &ut, &st);
        s += (double)(ut + st) / sysconf(_SC_CLK_TCK);
    }
    return s;
}
static double cpu_secs(void) { return cpu_of(roots, nroots); }
static double busy_secs(void) { /* all CPUs, everything but idle and iowait */
    unsigned long long v[10] = {0}, s = 0;
    FILE *f = fopen("/proc/stat", "r");
    if (!f) return 0;
    if (fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", v, v + 1, v + 2, v + 3, v + 4, v + 5, v + 6, v + 7) == 8)
        s = v[0] + v[1] + v[2] + v[5] + v[6];
    fclose(f);
    return (double)s / sysconf(_SC_CLK_TCK);
}
static double pss_kb(void) {
    int p[512], k = tree(roots, nroots, p, 512);
    double kb = 0;
    for (int i = 0; i < k; i++) {
        char path[64], line[256];
        snprintf(path, sizeof path, "/proc/%d/smaps_rollup", p[i]);
        FILE *f = fopen(path, "r");
        if (!f) continue;
        while (fgets(line, sizeof line, f)) {
            long v;
            if (sscanf(line, "Pss: %ld", &v) == 1) kb += v;
        }
        fclose(f);
    }
    return kb;
}

/* ---- state ---- */
static char posthdr[512] = "";
enum { CONNECTING, HEADERS, WAITING, STREAM, CLOSED };
typedef struct {
    int fd;
    uint8_t st, clen;
    char carry[CARRY];
    uint32_t got;
} Conn;
typedef struct { /* publisher or probe connection */
    int fd, busy, hdr_done, chunked, status, closes;
    long need;
    u64 t0;
    char buf[4096];
    int len;
} Req;
typedef struct {
    u64 t, first, last;
    uint32_t got;
} Ev;

static int ep, N, spin, closed_n, connected, opened, fails;
static Conn *C;
static Req pub[MAXPUB], probe;
static int npub;
static Ev ring[RING];
static u64 seq, base_seq, done_seq; /* events [base_seq, seq) are this phase's */
static u64 hint, received, stray, dups, pub_err, probe_err;
static u64 probe_due, probe_stop; /* when the one under way was due; none is from then on */
#define PROBE_NS 2000000ULL
static Hist lat, lastlat, firstlat, plat;
static char req[4096], req_tail[4096], *tmpl, *ctype = "application/json", pubpath[512] = "/pub", pubhost[128];
static const char *await_text, *path_arg;
static int many; /* every client has a path of its own */
static struct sockaddr_in dst, pdst;
static char iobuf[1 << 18];
static const char *probe_path;

static void addfd(int fd, u64 tag, uint32_t ev) {
    struct epoll_event e = {.events = ev, .data.u64 = tag};
    if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) < 0) die("epoll_ctl");
}
#define TAG_PUB (1ULL << 40)
#define TAG_PROBE (1ULL << 41)

static void open_client(int i) {
    Conn *c = &C[i];
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) die("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if ((ntohl(dst.sin_addr.s_addr) >> 24) == 127 && i >= 25000) {
        struct sockaddr_in s = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001 + i / 25000)};
        setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        if (bind(c->fd, (void *)&s, sizeof s) < 0) die("bind");
    }
    c->st = CONNECTING;
    c->clen = 0;
    if (connect(c->fd, (void *)&dst, sizeof dst) < 0 && errno != EINPROGRESS) die("connect");
    addfd(c->fd, i, EPOLLIN | EPOLLOUT);
    opened++;
}

static void deliver(Conn *c, u64 t, u64 now) {
    /* which event is it? start at the one this loop saw last */
    u64 lo = seq > RING ? seq - RING : 0;
    if (lo < base_seq) lo = base_seq;
    u64 k = hint;
    if (k + 1 < seq && ring[(k + 1) % RING].t == t) hint = ++k;
    if (!(k >= lo && k < seq && ring[k % RING].t == t)) {
        u64 j;
        for (j = done_seq > lo ? done_seq : lo; j < seq; j++)
            if (ring[j % RING].t == t) break;
        if (j == seq) {
            for (j = lo; j < done_seq; j++)
                if (ring[j % RING].t == t) break;
            if (j == done_seq) {
                stray++;
                return;
            }
        }
        k = hint = j;
    }
    Ev *e = &ring[k % RING];
    u64 l = now - t;
    hadd(&lat, l);
    received++;
    c->got++;
    if (++e->got == 1) e->first = now;
    if (e->got == (uint32_t)(N - closed_n)) e->last = now;
    if (e->got > (uint32_t)N) dups++;
    while (done_seq < seq && ring[done_seq % RING].got >= (uint32_t)(N - closed_n)) {
        Ev *d = &ring[done_seq++ % RING];
        hadd(&lastlat, d->last - d->t);
        hadd(&firstlat, d->first - d->t);
    }
}
static int listen_mode;
static void scan(Conn *c, char *b, int len, u64 now) {
    char *p = b, *end = b + len, *keep = end - (len < CARRY - 1 ? len : CARRY - 1);
    while (p < end) {
        char *m = memmem(p, end - p, "\"t\":", 4);
        if (!m) break;
        char *q = m + 4;
        while (q < end && *q == ' ') q++; /* jsonb prints "t": 1 */
        u64 t = 0;
        while (q < end && *q >= '0' && *q <= '9') t = t * 10 + (*q++ - '0');
        if (q == end) { /* may go on in the next read */
            keep = m;
            break;
        }
        p = q;
        if (keep < q) keep = q;
        if (listen_mode) {
            hadd(&lat, now - t);
            received++;
            c->got++;
        } else
            deliver(c, t, now);
    }
    if (end - keep > CARRY) keep = end - CARRY;
    c->clen = end - keep;
    memcpy(c->carry, keep, c->clen);
}
static void client_closed(Conn *c) {
    if (c->st != STREAM) fails++; /* one that was refused is no client: the counts would lie */
    close(c->fd);
    c->st = CLOSED;
    closed_n++;
}
static int make_request(int i) {
    static int ready;
    if (ready && !many) return ready;
    int n = snprintf(req, sizeof req, "GET ");
    for (const char *p = path_arg; *p && n < (int)sizeof req - 600; p++) {
        if (p[0] == '%' && p[1] == 'd') {
            n += sprintf(req + n, "%d", i);
            p++;
        } else
            req[n++] = *p;
    }
    n += snprintf(req + n, sizeof req - n, "%s", req_tail);
    if (n >= (int)sizeof req) {
        fprintf(stderr, "request too long\n");
        exit(2);
    }
    return ready = n;
}
static void on_client(int i, uint32_t ev) {
    Conn *c = &C[i];
    if (c->st == CLOSED) return;
    if (c->st == CONNECTING && (ev & (EPOLLOUT | EPOLLERR | EPOLLHUP))) {
        int err = 0;
        socklen_t l = sizeof err;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &l);
        int reqlen = make_request(i);
        if (err || send(c->fd, req, reqlen, MSG_NOSIGNAL) != reqlen) {
            client_closed(c);
            return;
        }
        struct epoll_event e = {.events = EPOLLIN, .data.u64 = i};
        epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
        c->st = HEADERS;
        return;
    }
    if (!(ev & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    memcpy(iobuf, c->carry, c->clen);
    ssize_t r = recv(c->fd, iobuf + c->clen, sizeof iobuf - c->clen, 0);
    if (r <= 0) {
        if (r < 0 && (errno == EAGAIN || errno == EINTR)) return;
        client_closed(c);
        return;
    }
    u64 now = now_ns();
    int len = c->clen + r;
    if (c->st == HEADERS) {
        char *h = memmem(iobuf, len, "\r\n\r\n", 4);
        if (!h) { /* only the last 3 bytes matter, and the status line was seen */
            if (c->clen == 0 && strncmp(iobuf + 8, " 200", 4)) fprintf(stderr, "bad response: %.60s\n", iobuf);
            int k = len < 3 ? len : 3;
            memcpy(c->carry, iobuf + len - k, c->clen = k);
            return;
        }
        if (c->clen == 0 && strncmp(iobuf + 8, " 200", 4)) {
            iobuf[len] = 0;
            fprintf(stderr, "bad response: %.300s\n", iobuf);
            client_closed(c);
            return;
        }
        c->clen = 0;
        int off = h + 4 - iobuf;
        if (!await_text) {
            c->st = STREAM;
            connected++;
            if (off < len) scan(c, iobuf + off, len - off, now);
            return;
        }
        c->st = WAITING;
        memmove(iobuf, iobuf + off, len -= off);
    }
    if (c->st == WAITING) {
        int want = strlen(await_text);
        char *m = memmem(iobuf, len, await_text, want);
        if (!m) { /* it may be cut by the end of this read */
            int k = len < want - 1 ? len : want - 1;
            memcpy(c->carry, iobuf + len - k, c->clen = k);
            return;
        }
        c->st = STREAM;
        connected++;
        c->clen = 0;
        int off = m + want - iobuf;
        if (off < len) scan(c, iobuf + off, len - off, now);
        return;
    }
    scan(c, iobuf, len, now);
}

/* ---- plain requests: publisher, probe ---- */
static void req_open(Req *r, struct sockaddr_in *to, u64 tag) {
    int one = 1;
    r->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (r->fd < 0 || connect(r->fd, (void *)to, sizeof *to) < 0) die("connect (publisher)");
    setsockopt(r->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(r->fd, F_SETFL, O_NONBLOCK);
    r->busy = r->len = r->hdr_done = 0;
    addfd(r->fd, tag, EPOLLIN);
}
static void req_send(Req *r, const char *b, int len) {
    r->busy = 1;
    r->len = r->hdr_done = 0;
    r->t0 = now_ns();
    if (send(r->fd, b, len, MSG_NOSIGNAL) != len) die("send (publisher)");
}
static int on_req(Req *r, struct sockaddr_in *to, u64 tag) { /* 1: response complete */
    ssize_t n = recv(r->fd, r->buf + r->len, sizeof r->buf - 1 - r->len, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    if (n <= 0) {
        int was = r->busy;
        r->closes++;
        r->status = 0; /* of no answer */
        close(r->fd);
        req_open(r, to, tag);
        return was;
    }
    r->len += n;
    r->buf[r->len] = 0;
    if (!r->hdr_done) {
        char *h = strstr(r->buf, "\r\n\r\n");
        if (!h) return 0;
        r->hdr_done = h + 4 - r->buf;
        r->status = atoi(r->buf + 9);
        char *cl = strcasestr(r->buf, "\r\ncontent-length:");
        r->need = cl && cl < h ? atol(cl + 17) : 0;
        char *te = strcasestr(r->buf, "\r\ntransfer-encoding: chunked");
        r->chunked = te && te < h;
    }
    int done = r->chunked ? strstr(r->buf + r->hdr_done - 2, "\r\n0\r\n\r\n") != NULL || !strncmp(r->buf + r->hdr_done, "0\r\n\r\n", 5)
                          : r->len - r->hdr_done >= r->need;
    if (!done && r->len > (int)sizeof r->buf - 64) { /* long body: drop it, keep the tail */
        int k = 16;
        if (!r->chunked) r->need -= r->len - r->hdr_done - k;
        memmove(r->buf + r->hdr_done, r->buf + r->len - k, k);
        r->len = r->hdr_done + k;
    }
    if (done) r->busy = 0;
    return done;
}
static int publish(void) {
    Req *r = NULL;
    for (int i = 0; i < npub; i++)
        if (!pub[i].busy) {
            r = &pub[i];
            break;
        }
    if (!r) return 0;
    char body[8192], msg[9000];
    int n = 0;
    u64 t = now_ns();
    for (const char *p = tmpl; *p && n < (int)sizeof body - 32;) {
        if (!strncmp(p, "@T@", 3)) {
            n += sprintf(body + n, "%llu", t);
            p += 3;
        } else if (!strncmp(p, "@N@", 3)) {
            n += sprintf(body + n, "%llu", seq);
            p += 3;
        } else
            body[n++] = *p++;
    }
    int m = snprintf(msg, sizeof msg, "POST %s HTTP/1.1\r\nHost: %s\r\n%sContent-Type: %s\r\nContent-Length: %d\r\n\r\n%.*s",
                     pubpath, pubhost, posthdr, ctype, n, n, body);
    ring[seq % RING] = (Ev){.t = t};
    seq++;
    req_send(r, msg, m);
    return 1;
}

/* A probe is over: its latency from when it was due, and that of each one that was due since. */
static void probed(u64 now) {
    if (probe.status != 200) probe_err++;
    do {
        hadd(&plat, now - probe_due);
        probe_due += PROBE_NS;
    } while (probe_due <= now && probe_due < probe_stop);
}

static void poll_once(int timeout_ms) {
    struct epoll_event ev[512];
    int n = epoll_wait(ep, ev, 512, spin ? 0 : timeout_ms);
    for (int i = 0; i < n; i++) {
        u64 t = ev[i].data.u64;
        if (t & TAG_PUB) {
            Req *r = &pub[t & 0xffff];
            if (on_req(r, &pdst, t) && (r->status < 200 || r->status > 299)) {
                if (!pub_err++) fprintf(stderr, "publish failed: %.200s\n", r->buf);
            }
        } else if (t & TAG_PROBE) {
            int closes = probe.closes, done = on_req(&probe, &dst, TAG_PROBE);
            if (probe.closes != closes)
                probe_err++;
            else if (done)
                probed(now_ns());
        } else
            on_client((int)t, ev[i].events);
    }
}

static double own_cpu(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_utime.tv_sec + u.ru_stime.tv_sec + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void run_phase(const char *ph, double secs, double drain, long expect, const char *label) {
    const char *ppath = probe_path && strchr(ph, 'g') ? probe_path : NULL;
    double rate = ph[0] == 'r' ? atof(ph + 1) : 0;
    u64 win = ph[0] == 'w' ? strtoull(ph + 1, NULL, 10) : 0;
    const char *x = win ? strchr(ph, 'x') : NULL;
    const char *at = strchr(ph, '@');
    if (at) secs = atof(at + 1);
    u64 most = x ? strtoull(x + 1, NULL, 10) : ~0ULL;
    listen_mode = ph[0] == 'l';
    memset(&lat, 0, sizeof lat);
    memset(&lastlat, 0, sizeof lastlat);
    memset(&firstlat, 0, sizeof firstlat);
    memset(&plat, 0, sizeof plat);
    received = stray = dups = pub_err = probe_err = 0;
    base_seq = done_seq = hint = seq;
    for (int i = 0; i < N; i++) C[i].got = 0;
    int closed0 = closed_n;
    char preq[512];
    int preqlen = ppath ? snprintf(preq, sizeof preq, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", ppath, pubhost) : 0;
    double b0 = busy_secs(), c0 = cpu_secs(), a0 = cpu_of(others, nothers), o0 = own_cpu();
    u64 t0 = now_ns(), stop = t0 + (u64)(secs * 1e9), next = t0, last_seen = t0, r0 = 0;
    u64 limit = stop + (u64)(drain * 1e9);
    probe_due = t0;
    probe_stop = stop;
    for (;;) {
        u64 now = now_ns();
        if (seq - base_seq >= most && now < stop) { /* that was all: what is left is the drain */
            stop = now;
            limit = stop + (u64)(drain * 1e9);
        }
        if (now >= stop && (listen_mode || done_seq == seq) && !probe.busy) break;
        if (now >= limit) break;
        int tmo = 5;
        if (now < stop) {
            if (rate > 0) {
                if (now >= next && publish()) next += (u64)(1e9 / rate);
                if (next > now) {
                    u64 d = (next - now) / 1000000;
                    if (d < 5) tmo = (int)d;
                }
            } else if (win)
                while (seq - done_seq < win && seq - base_seq < most && publish()) {}
        }
        if (ppath && !probe.busy && now >= probe_due && now < stop) req_send(&probe, preq, preqlen);
        if (ppath && tmo > 1) tmo = 1;
        poll_once(tmo);
        if (received != r0) {
            r0 = received;
            last_seen = now_ns();
        }
    }
    if (probe.busy) { /* it was never answered, and is no one's later on */
        probe_err++;
        close(probe.fd);
        req_open(&probe, &dst, TAG_PROBE);
    }
    double el = (last_seen - t0) / 1e9, c1 = cpu_secs(), a1 = cpu_of(others, nothers), o1 = own_cpu(), b1 = busy_secs(), wall = (now_ns() - t0) / 1e9;
    if (el <= 0) el = wall;
    u64 published = seq - base_seq;
    u64 expected = listen_mode ? (u64)expect * N : published * N;
    long uneven = 0;
    for (int i = 0; i < N; i++) uneven += C[i].got != (listen_mode ? (u64)expect : published);
    printf("{\"label\":\"%s\",\"phase\":\"%s\",\"n\":%d,\"published\":%llu,\"expected\":%llu,\"received\":%llu,"
           "\"lost\":%lld,\"dup\":%llu,\"stray\":%llu,\"uneven_clients\":%ld,\"secs\":%.3f,\"dps\":%.0f,\"eps\":%.2f,"
           "\"p50\":%.0f,\"p90\":%.0f,\"p99\":%.0f,\"p999\":%.0f,\"max\":%.0f,"
           "\"first_p50\":%.0f,\"last_p50\":%.0f,\"last_max\":%.0f,"
           "\"cpu_us\":%.3f,\"cpu_pct\":%.0f,\"cli_pct\":%.0f,\"other_pct\":%.0f,\"closed\":%d,\"pub_err\":%llu",
           label, ph, N, published, expected, received, (long long)(expected - received), dups, stray, uneven, el,
           received / el, published / el, hpct(&lat, 50), hpct(&lat, 90), hpct(&lat, 99), hpct(&lat, 99.9),
           lat.max / 1e3, hpct(&firstlat, 50), hpct(&lastlat, 50), lastlat.max / 1e3,
           received && nroots ? (c1 - c0) * 1e6 / received : 0.0, (c1 - c0) / wall * 100, (o1 - o0) / wall * 100,
           (b1 - b0 - (c1 - c0) - (a1 - a0) - (o1 - o0)) / wall * 100, closed_n - closed0, pub_err);
    if (ppath)
        printf(",\"probe_n\":%llu,\"probe_p50\":%.0f,\"probe_p99\":%.0f,\"probe_max\":%.0f,\"probe_err\":%llu", plat.n,
               hpct(&plat, 50), hpct(&plat, 99), plat.max / 1e3, probe_err);
    printf("}\n");
    fflush(stdout);
}

int main(int argc, char **argv) {
    int o, reps = 1, conc = 100, grown = 0;
    long expect = 0;
    double drain = 10;
    const char *label = "";
    char *phases = "r5,w1,w16", hdrs[2048] = "", *puburl = NULL;
    tmpl = "{\"t\":@T@,\"seq\":@N@,\"kind\":\"price\",\"symbol\":\"ACME\",\"bid\":101.25,\"ask\":101.27,"
           "\"note\":\"the quick brown fox jumps\"}";
    while ((o = getopt(argc, argv, "p:n:u:b:C:A:P:O:G:g:x:c:w:H:sl:k:")) != -1) switch (o) {
        case 'p': phases = optarg; break;
        case 'n': reps = atoi(optarg); break;
        case 'u': puburl = optarg; break;
        case 'b':
            tmpl = optarg;
            if (*optarg == '@' && strncmp(optarg, "@T@", 3) && strncmp(optarg, "@N@", 3)) {
                FILE *f = fopen(optarg + 1, "r");
                if (!f) die(optarg + 1);
                tmpl = calloc(1, 8192);
                if (!fread(tmpl, 1, 8000, f)) die("template");
                fclose(f);
            }
            break;
        case 'C': ctype = optarg; break;
        case 'P':
            for (char *p = strtok(optarg, ","); p && nroots < 64; p = strtok(NULL, ",")) roots[nroots++] = atoi(p);
            break;
        case 'O':
            for (char *p = strtok(optarg, ","); p && nothers < 64; p = strtok(NULL, ",")) others[nothers++] = atoi(p);
            break;
        case 'G': grown = atoi(optarg); break;
        case 'w':
            await_text = optarg;
            if (!*optarg || strlen(optarg) >= CARRY) return fprintf(stderr, "bad -w\n"), 2;
            break;
        case 'g': probe_path = optarg; break;
        case 'x': expect = atol(optarg); break;
        case 'c': conc = atoi(optarg); break;
        case 'H':
            strncat(hdrs, optarg, sizeof hdrs - strlen(hdrs) - 4);
            strcat(hdrs, "\r\n");
            break;
        case 'A': snprintf(posthdr, sizeof posthdr, "%s\r\n", optarg); break;
        case 's': spin = 1; break;
        case 'l': label = optarg; break;
        case 'k': drain = atof(optarg); break;
        default: return 2;
        }
    if (argc - optind < 5) {
        fprintf(stderr, "usage: sseload [options] HOST PORT PATH NCLIENTS SECONDS (see the top of sseload.c)\n");
        return 2;
    }
    const char *host = argv[optind];
    path_arg = argv[optind + 2];
    many = strstr(path_arg, "%d") != NULL;
    int port = atoi(argv[optind + 1]);
    double secs = atof(argv[optind + 4]);
    N = atoi(argv[optind + 3]);
    dst = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
    if (inet_pton(AF_INET, host, &dst.sin_addr) != 1) die("HOST must be an IPv4 address");
    pdst = dst;
    snprintf(pubhost, sizeof pubhost, "%s:%d", host, port);
    if (puburl) {
        char h[100];
        int pp;
        if (sscanf(puburl, "%99[^:]:%d%500s", h, &pp, pubpath) != 3) return fprintf(stderr, "bad -u\n"), 2;
        inet_pton(AF_INET, h, &pdst.sin_addr);
        pdst.sin_port = htons(pp);
    }
    struct rlimit rl;
    getrlimit(RLIMIT_NOFILE, &rl);
    rl.rlim_cur = rl.rlim_max;
    setrlimit(RLIMIT_NOFILE, &rl);
    if ((rlim_t)N + 200 > rl.rlim_max) fprintf(stderr, "warning: only %ld file descriptors\n", (long)rl.rlim_max);
    snprintf(req_tail, sizeof req_tail, " HTTP/1.1\r\nHost: %s:%d\r\nAccept: text/event-stream\r\nCache-Control: no-cache\r\n%s\r\n", host, port,
             hdrs);
    C = calloc(N ? N : 1, sizeof *C);
    ep = epoll_create1(0);

    double m0 = nroots ? pss_kb() : 0, mg = 0, cc0 = cpu_secs(), ca0 = cpu_of(others, nothers), cb0 = busy_secs(), co0 = own_cpu();
    u64 t0 = now_ns(), lastnews = t0, rested = 0;
    int seen = 0, first = grown > 0 && grown < N ? grown : 0;
    while (connected + closed_n < N) {
        int upto = first ? first : N;
        while (opened < upto && opened - connected - closed_n < conc) open_client(opened);
        if (first && connected + closed_n >= first) {
            u64 from = now_ns();
            while (now_ns() < from + 1000000000ULL) poll_once(50);
            mg = nroots ? pss_kb() : 0;
            rested = (lastnews = now_ns()) - from;
            first = 0;
            continue;
        }
        poll_once(100);
        if (connected != seen) {
            seen = connected;
            lastnews = now_ns();
        } else if (now_ns() - lastnews > 20000000000ULL)
            break;
    }
    double ct = (now_ns() - t0 - rested) / 1e9, ccpu = cpu_secs() - cc0;
    double cother = busy_secs() - cb0 - ccpu - (cpu_of(others, nothers) - ca0) - (own_cpu() - co0);
    fprintf(stderr, "connected %d in %.3f s\n", connected, ct);
    u64 settle = now_ns() + 1000000000ULL;
    while (now_ns() < settle) poll_once(50);
    double m1 = nroots ? pss_kb() : 0;
    printf("{\"label\":\"%s\",\"phase\":\"connect\",\"n\":%d,\"connected\":%d,\"failed\":%d,\"secs\":%.3f,\"cps\":%.0f,"
           "\"cpu_us_per_conn\":%.1f,\"pss0_kb\":%.0f,\"pss1_kb\":%.0f,\"kb_per_conn\":%.3f,\"kb_grown\":%.3f,\"closed\":%d,"
           "\"conc\":%d,\"other_pct\":%.0f}\n",
           label, N, connected, fails, ct, connected / ct, connected ? ccpu * 1e6 / connected : 0, m0, m1,
           connected ? (m1 - m0) / connected : 0, mg > 0 ? (m1 - mg) / (N - grown) : 0, closed_n, conc,
           cother / (ct + rested / 1e9) * 100);
    fflush(stdout);
    if (connected < N || closed_n) {
        fprintf(stderr, "only %d of %d connected\n", connected, N);
        return 1;
    }
    if (probe_path) req_open(&probe, &dst, TAG_PROBE);
    for (int r = 0; r < reps; r++) {
        char list[512];
        snprintf(list, sizeof list, "%s", phases);
        char *save = NULL;
        for (char *p = strtok_r(list, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
            int want = p[0] == 'w' ? atoi(p + 1) : p[0] == 'r' ? 4 : 0;
            if (want > MAXPUB) want = MAXPUB;
            while (npub < want) {
                req_open(&pub[npub], &pdst, TAG_PUB | npub);
                npub++;
            }
            if (!r && p == list && *p != 'l') { /* warm-up: two events, not counted */
                base_seq = done_seq = hint = seq;
                for (int k = 0; k < 2; k++) {
                    publish();
                    u64 lim = now_ns() + 5000000000ULL;
                    while (now_ns() < lim && done_seq < seq) poll_once(5);
                }
            }
            run_phase(p, secs, drain, expect, label);
        }
    }
    return 0;
}
