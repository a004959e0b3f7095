/* A load generator for POP3 and LMTP servers: one process, one thread, epoll; it must not be the bottleneck.
 *
 *   load MODE --port N [--clients N] [--seconds S] [--warmup S] [--limit N] [--users N] [--first-user N] ...
 *
 *   poll    connect, USER, PASS, STAT, UIDL, QUIT, and again; an operation is a session
 *   retr    log in once, then RETR one message after the other; an operation is a message
 *   lmtp    LHLO once, then MAIL, RCPT, DATA (pipelined, as Postfix does) and a unique message each time
 *   idle    log in --clients sessions, say so, wait for the end of standard input, NOOP each of them, QUIT
 *   slow    log in, RETR the first message, read 64 KiB of it and then nothing more
 *
 * Prints one line of JSON. Whatever a server says that is not the right answer is an error, and an error makes
 * the result void (exit code 1): a server that is fast at failing is not fast.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum mode { POLL, RETR, LMTP, IDLE, SLOW };
enum state { GREETING, USER, PASS, STAT, UIDL, UIDL_LINES, RETR_OK, BODY, NOOP, QUIT, LHLO, ENVELOPE, STORED, AT_REST, AT_END, DEAD };

struct conn {
    int fd, index, user, replies;
    unsigned events;
    enum state state;
    SSL *ssl;
    int handshaking;
    double began; /* of the operation */
    size_t line_length, octets, expected;
    long lines, number;
    char tail[5];
    char line[600];
    char *head;      /* what is to be sent: a piece of one's own, then a piece that all share */
    size_t head_left, shared_left;
    const char *shared;
    char own[1400];
};

static struct {
    enum mode mode;
    int port, clients, users, first_user, addresses, expect, tls;
    long limit;
    double seconds, warmup;
    size_t size;
    const char *user, *password;
} o = {.clients = 8, .users = 8, .addresses = 1, .expect = -1, .seconds = 2, .warmup = 0.3, .size = 5000,
       .user = "u%d@bench.test", .password = "bench password %d"};

static int epoll, open_sessions;
static SSL_CTX *tls;
static double start_counting, stop_at, began_counting, ended_counting;
static long operations, started, errors, messages;
static unsigned long long octets;
static double *latencies;
static size_t latency_count, latency_room;
static char first_error[300], *content, buffer[1 << 20];
static size_t content_length;
static struct conn *connections;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void wrong(struct conn *c, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    if (!errors++) vsnprintf(first_error, sizeof first_error, format, arguments);
    va_end(arguments);
    if (c->state != DEAD) {
        c->state = DEAD;
        close(c->fd);
    }
}

static void done(struct conn *c, size_t size) {
    double t = now();
    messages++;
    if (t < start_counting || t > stop_at) return;
    operations++;
    octets += size;
    if (latency_count == latency_room) {
        latency_room = latency_room ? latency_room * 2 : 65536;
        latencies = realloc(latencies, latency_room * sizeof *latencies);
    }
    latencies[latency_count++] = t - c->began;
    ended_counting = t;
}

static int over(void) { return now() >= stop_at || (o.limit && started >= o.limit); }

/* Output. */

static void watch(struct conn *c, unsigned events) {
    if (c->events == events) return;
    struct epoll_event e = {.events = events, .data.ptr = c};
    epoll_ctl(epoll, c->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &e);
    c->events = events;
}

static void push(struct conn *c) {
    while (c->head_left || c->shared_left) {
        ssize_t n;
        if (c->ssl) {
            n = SSL_write(c->ssl, c->head, (int)c->head_left);
            if (n <= 0) {
                int why = SSL_get_error(c->ssl, (int)n);
                if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) break;
                return wrong(c, "TLS write failed in state %d", c->state);
            }
        } else {
            struct iovec pieces[2] = {{c->head, c->head_left}, {(void *)c->shared, c->shared_left}};
            n = writev(c->fd, pieces, 2);
            if (n < 0) {
                if (errno == EAGAIN) break;
                return wrong(c, "write: %s in state %d", strerror(errno), c->state);
            }
        }
        size_t from_head = (size_t)n < c->head_left ? (size_t)n : c->head_left;
        c->head += from_head, c->head_left -= from_head;
        c->shared += n - from_head, c->shared_left -= n - from_head;
    }
    watch(c, EPOLLIN | (c->head_left || c->shared_left ? EPOLLOUT : 0));
}

static void say(struct conn *c, enum state next, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    c->head = c->own;
    c->head_left = vsnprintf(c->own, sizeof c->own, format, arguments);
    va_end(arguments);
    c->state = next;
    push(c);
}

static void say_about(struct conn *c, enum state next, const char *command, const char *format) {
    char text[300];
    snprintf(text, sizeof text, format, c->user);
    say(c, next, "%s %s\r\n", command, text);
}

/* The conversation. */

static void connect_again(struct conn *c) {
    if (over()) {
        c->state = DEAD;
        return;
    }
    int index = c->index;
    memset(c, 0, sizeof *c);
    c->index = index;
    /* Sessions of one client go through the users in turn; clients begin at different ones. */
    c->user = o.first_user + (int)((o.mode == POLL ? started++ : index) % o.users);
    c->began = now();
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        perror("socket");
        exit(2);
    }
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (o.addresses > 1) {
        setsockopt(c->fd, IPPROTO_IP, 24 /* IP_BIND_ADDRESS_NO_PORT */, &one, sizeof one);
        struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000101 + index % o.addresses)};
        if (bind(c->fd, (struct sockaddr *)&from, sizeof from)) return wrong(c, "bind: %s", strerror(errno));
    }
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(o.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) return wrong(c, "connect: %s", strerror(errno));
    if (tls) {
        c->ssl = SSL_new(tls);
        SSL_set_fd(c->ssl, c->fd);
        SSL_set_connect_state(c->ssl);
        c->handshaking = 1;
        watch(c, EPOLLIN | EPOLLOUT);
    } else
        watch(c, EPOLLIN);
}

static void next_message(struct conn *c) {
    if (over()) return say(c, QUIT, "QUIT\r\n");
    c->began = now();
    if (o.mode == LMTP) {
        c->replies = 0;
        int user = o.first_user + (int)(started++ % o.users);
        char to[200];
        snprintf(to, sizeof to, o.user, user);
        return say(c, ENVELOPE, "MAIL FROM:<load@elsewhere.test>\r\nRCPT TO:<%s>\r\nDATA\r\n", to);
    }
    started++;
    c->number = c->number % (o.expect > 0 ? o.expect : 1) + 1;
    say(c, RETR_OK, "RETR %ld\r\n", c->number);
}

static void send_content(struct conn *c) {
    int n = snprintf(c->own, sizeof c->own,
                     "From: Load <load@elsewhere.test>\r\nTo: Bench <bench@bench.test>\r\nSubject: message %ld of %d\r\n"
                     "Message-ID: <%ld.%d.%.0f@elsewhere.test>\r\nDate: Mon, 02 Mar 2026 10:00:00 +0000\r\n"
                     "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n",
                     started, c->index, started, c->index, now() * 1e6);
    c->head = c->own;
    c->head_left = n;
    c->shared = content;
    c->shared_left = content_length;
    c->state = STORED;
    push(c);
}

static void greeted(struct conn *c) {
    if (o.mode == LMTP) return say(c, LHLO, "LHLO load.elsewhere.test\r\n");
    say_about(c, USER, "USER", o.user);
}

static void logged_in(struct conn *c) {
    switch (o.mode) {
    case POLL: return say(c, STAT, "STAT\r\n");
    case IDLE: open_sessions++; c->state = AT_REST; return;
    default: next_message(c);
    }
}

static void pop3_line(struct conn *c, const char *line) {
    if (strncmp(line, "+OK", 3)) return wrong(c, "in state %d: %.200s", c->state, line);
    long number;
    switch (c->state) {
    case GREETING: return greeted(c);
    case USER: return say_about(c, PASS, "PASS", o.password);
    case PASS: return logged_in(c);
    case STAT:
        if (sscanf(line, "+OK %ld", &number) != 1 || (o.expect >= 0 && number != o.expect))
            return wrong(c, "STAT: %.200s, expected %d messages", line, o.expect);
        c->expected = number;
        return say(c, UIDL, "UIDL\r\n");
    case UIDL: c->state = UIDL_LINES; c->lines = 0; memset(c->tail, 0, 5); memcpy(c->tail + 3, "\r\n", 2); return;
    case RETR_OK:
        if (sscanf(line, "+OK %zu", &c->expected) != 1) return wrong(c, "RETR: %.200s", line);
        if (c->expected < o.size) return wrong(c, "RETR: %.100s, expected at least %zu octets", line, o.size);
        c->state = BODY; c->octets = 0; memset(c->tail, 0, 5); memcpy(c->tail + 3, "\r\n", 2); return;
    case NOOP: open_sessions--; return say(c, QUIT, "QUIT\r\n");
    case QUIT: c->state = AT_END; return;
    default: wrong(c, "unasked for: %.200s", line);
    }
}

static void lmtp_line(struct conn *c, const char *line) {
    if (line[3] == '-') return;
    switch (c->state) {
    case GREETING:
        if (strncmp(line, "220", 3)) break;
        return greeted(c);
    case LHLO:
        if (strncmp(line, "250", 3)) break;
        return next_message(c);
    case ENVELOPE: {
        const char *right[] = {"250", "250", "354"};
        if (strncmp(line, right[c->replies], 3)) break;
        if (++c->replies == 3) send_content(c);
        return;
    }
    case STORED:
        if (strncmp(line, "250", 3) || c->head_left || c->shared_left) break;
        done(c, content_length);
        return next_message(c);
    case QUIT:
        if (strncmp(line, "221", 3)) break;
        c->state = AT_END;
        return;
    default: break;
    }
    wrong(c, "in state %d: %.200s", c->state, line);
}

static void keep_tail(struct conn *c, const char *data, size_t n) {
    if (n >= 5) memcpy(c->tail, data + n - 5, 5);
    else {
        memmove(c->tail, c->tail + n, 5 - n);
        memcpy(c->tail + 5 - n, data, n);
    }
}

static void feed(struct conn *c, const char *data, size_t n) {
    while (n && c->state != DEAD) {
        if (c->state == UIDL_LINES || c->state == BODY) {
            /* Nothing is pipelined, so an end can only be the end of what has come. Stuffed lines cannot look
             * like it. */
            keep_tail(c, data, n);
            int end = !memcmp(c->tail, "\r\n.\r\n", 5);
            if (c->state == BODY) {
                c->octets += n;
                if (!end) return;
                if (c->octets != c->expected + 3) return wrong(c, "RETR: %zu octets, %zu announced", c->octets - 3, c->expected);
                done(c, c->octets);
                return next_message(c);
            }
            for (const char *at = data; (at = memchr(at, '\n', data + n - at)); at++) c->lines++;
            if (!end) return;
            if ((size_t)c->lines != c->expected + 1) return wrong(c, "UIDL: %ld lines of %zu", c->lines - 1, c->expected);
            return say(c, QUIT, "QUIT\r\n");
        }
        const char *end = memchr(data, '\n', n);
        size_t take = end ? (size_t)(end - data) + 1 : n;
        if (c->line_length + take >= sizeof c->line) return wrong(c, "an endless line in state %d", c->state);
        memcpy(c->line + c->line_length, data, take);
        c->line_length += take;
        data += take, n -= take;
        if (!end) return;
        c->line[c->line_length] = 0;
        c->line[strcspn(c->line, "\r\n")] = 0;
        c->line_length = 0;
        if (o.mode == LMTP) lmtp_line(c, c->line);
        else pop3_line(c, c->line);
    }
}

static void ended(struct conn *c) {
    if (c->state != AT_END) return wrong(c, "the server hung up in state %d", c->state);
    if (o.mode == POLL) done(c, 0);
    if (c->ssl) SSL_free(c->ssl), c->ssl = NULL;
    close(c->fd);
    if (o.mode == POLL) connect_again(c);
    else c->state = DEAD;
}

static void readable(struct conn *c) {
    for (int turns = 0; turns < 8 && c->state != DEAD; turns++) {
        ssize_t n;
        if (c->ssl) {
            n = SSL_read(c->ssl, buffer, sizeof buffer);
            if (n <= 0) {
                int why = SSL_get_error(c->ssl, (int)n);
                if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) return;
                n = 0;
            }
        } else {
            n = read(c->fd, buffer, o.mode == SLOW ? 65536 : sizeof buffer);
            if (n < 0) {
                if (errno == EAGAIN) return;
                if (errno != ECONNRESET || c->state != AT_END) return wrong(c, "read: %s in state %d", strerror(errno), c->state);
                n = 0;
            }
        }
        if (!n) return ended(c);
        feed(c, buffer, n);
        if (o.mode == SLOW && c->state == BODY && c->octets >= 65536) {
            operations++;
            c->state = AT_REST;
            return watch(c, EPOLLERR);
        }
        if (!c->ssl && n < (ssize_t)sizeof buffer) return;
    }
}

static void serve(struct conn *c, unsigned events) {
    if (c->state == DEAD) return;
    if (c->handshaking) {
        int result = SSL_do_handshake(c->ssl);
        if (result != 1) {
            int why = SSL_get_error(c->ssl, result);
            if (why == SSL_ERROR_WANT_READ) return watch(c, EPOLLIN);
            if (why == SSL_ERROR_WANT_WRITE) return watch(c, EPOLLIN | EPOLLOUT);
            return wrong(c, "TLS handshake failed");
        }
        c->handshaking = 0;
        watch(c, EPOLLIN);
    }
    if (events & EPOLLOUT) push(c);
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) readable(c);
}

static void run_until(int (*finished)(void)) {
    struct epoll_event ready[256];
    while (!finished() && !errors) {
        int n = epoll_wait(epoll, ready, 256, 50);
        for (int i = 0; i < n; i++) serve(ready[i].data.ptr, ready[i].events);
    }
}

static int all_dead(void) {
    if (o.mode == SLOW && now() >= stop_at) return 1;
    if (now() < stop_at && !o.limit) return 0;
    if (now() > stop_at + 20) {
        if (!errors++) snprintf(first_error, sizeof first_error, "no answer for 20 seconds");
        return 1;
    }
    for (int i = 0; i < o.clients; i++)
        if (connections[i].state != DEAD) return 0;
    return 1;
}

static int opening;
static int all_open(void) {
    /* So many at once that no queue overflows: Dovecot as shipped has 100 login processes and lets no more wait. */
    while (opening < o.clients && opening - open_sessions < 50) connect_again(&connections[opening++]);
    return open_sessions == o.clients || now() > stop_at;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile(double p) { return latency_count ? latencies[(size_t)(p * (latency_count - 1))] * 1000 : 0; }

static void make_content(void) {
    /* Usual lines, none of them stuffed, so that what RETR sends can be counted without looking at it. */
    content = malloc(o.size + 200);
    while (content_length < o.size) {
        content_length += snprintf(content + content_length, 100,
                                   "%08zu the quick brown fox jumps over the lazy dog and then some more\r\n", content_length);
    }
    memcpy(content + content_length, ".\r\n", 3);
    content_length += 3;
}

static void options(int argc, char **argv) {
    const char *modes[] = {"poll", "retr", "lmtp", "idle", "slow"};
    int mode = -1;
    for (int i = 0; argc > 1 && i < 5; i++)
        if (!strcmp(argv[1], modes[i])) mode = i;
    if (mode < 0) {
        fprintf(stderr, "usage: load poll|retr|lmtp|idle|slow --port N [...]\n");
        exit(2);
    }
    o.mode = mode;
    for (int i = 2; i < argc; i++) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(name, "--tls")) { o.tls = 1; continue; }
        i++;
        if (!strcmp(name, "--port")) o.port = atoi(value);
        else if (!strcmp(name, "--clients")) o.clients = atoi(value);
        else if (!strcmp(name, "--users")) o.users = atoi(value);
        else if (!strcmp(name, "--first-user")) o.first_user = atoi(value);
        else if (!strcmp(name, "--addresses")) o.addresses = atoi(value);
        else if (!strcmp(name, "--expect")) o.expect = atoi(value);
        else if (!strcmp(name, "--limit")) o.limit = atol(value);
        else if (!strcmp(name, "--seconds")) o.seconds = atof(value);
        else if (!strcmp(name, "--warmup")) o.warmup = atof(value);
        else if (!strcmp(name, "--size")) o.size = strtoul(value, NULL, 10);
        else if (!strcmp(name, "--user")) o.user = value;
        else if (!strcmp(name, "--password")) o.password = value;
        else {
            fprintf(stderr, "load: unknown option %s\n", name);
            exit(2);
        }
    }
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    options(argc, argv);
    if (o.tls) {
        tls = SSL_CTX_new(TLS_client_method()); /* the certificate is the bench's own, so nobody verifies it */
        SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    }
    if (o.mode == LMTP) make_content();
    epoll = epoll_create1(EPOLL_CLOEXEC);
    connections = calloc(o.clients, sizeof *connections);
    double began = now();
    start_counting = began_counting = began + o.warmup;
    stop_at = start_counting + o.seconds;
    for (int i = 0; i < o.clients; i++) connections[i].index = i;
    if (o.mode == IDLE) {
        run_until(all_open);
        if (!errors && open_sessions == o.clients) {
            printf("{\"open\": %d, \"seconds\": %.3f}\n", open_sessions, now() - began);
            fflush(stdout);
            while (read(0, buffer, sizeof buffer) > 0) {}
            for (int i = 0; i < o.clients && !errors; i++) {
                say(&connections[i], NOOP, "NOOP\r\n");
                operations++;
                if (i % 200 == 199 || i == o.clients - 1) {
                    int left = o.clients - 1 - i;
                    struct epoll_event ready[256];
                    double give_up = now() + 20;
                    while (open_sessions > left && !errors && now() < give_up) {
                        int n = epoll_wait(epoll, ready, 256, 50);
                        for (int k = 0; k < n; k++) serve(ready[k].data.ptr, ready[k].events);
                    }
                }
            }
        }
        if (open_sessions && !errors++) snprintf(first_error, sizeof first_error, "%d sessions did not answer", open_sessions);
        ended_counting = now();
    } else {
        for (int i = 0; i < o.clients; i++) connect_again(&connections[i]);
        run_until(all_dead);
    }
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double cpu = used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    double all = now() - began, seconds = o.limit ? ended_counting - began_counting : o.seconds;
    if (latency_count) qsort(latencies, latency_count, sizeof *latencies, compare);
    for (char *at = first_error; *at; at++)
        if (*at == '"' || *at == '\\' || (unsigned char)*at < 32) *at = '?';
    printf("{\"operations\": %ld, \"seconds\": %.4f, \"rate\": %.2f, \"mb_per_s\": %.3f, \"cpu\": %.4f, "
           "\"p50_ms\": %.3f, \"p90_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f, \"errors\": %ld, \"error\": \"%s\"}\n",
           operations, seconds, seconds > 0 ? operations / seconds : 0, seconds > 0 ? octets / seconds / 1e6 : 0, cpu / all,
           percentile(.5), percentile(.9), percentile(.99), percentile(1), errors, first_error);
    return errors != 0;
}
