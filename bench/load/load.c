/*
 * A WebSocket load generator for one server on the loopback: one thread, one epoll, no library.
 *
 *   load --mode echo|stream|fan|idle --port N --path /x --connections N --message TEXT ... (see read_options)
 *
 * It opens N connections, optionally greets (the SignalR handshake), warms up, measures a window, and prints one JSON object.
 * Server CPU (utime + stime, seconds) and resident memory of the processes in --pids are read from /proc at the edges of the window.
 *
 *   echo  each connection keeps --depth messages in flight; a reply is a record that contains --expect. Each message is a write of its
 *         own, as client libraries do it; with --batch, all that are due on a connection leave in one.
 *   stream  each connection keeps one stream running: after the record that contains --done, --message is sent with the next number. An
 *         item is a record that contains --expect; latency is that of a whole stream.
 *   fan   connection 0 publishes, all connections receive. Without --rate one broadcast is outstanding at a time; with it, broadcasts
 *         leave on a schedule and latency counts from the scheduled time, so a late publisher cannot hide a slow server.
 *         --slow K connections never read after the handshake.
 *   idle  open the connections, wait until the server is quiet, then hold them.
 *
 * With --binary, what follows the greeting is MessagePack: binary frames, each record behind its length as a VarInt.
 *
 * With --classic HUB, connections speak to that hub of an ASP.NET SignalR 2 server, mounted at --path: each negotiates, connects, and starts
 * once the first envelope has come. A frame is then an envelope of any number of messages or the answer to one call: each place of --expect
 * in it counts as a record.
 *
 * Limits: counts and times are checked in read_options; --limit ends the program whatever happens.
 * Not checked: the Sec-WebSocket-Accept hash. It proves a server to a stranger; here we started the server.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNECTIONS 50000
#define MAX_DEPTH 256
#define MAX_PIDS 64
#define MAX_MESSAGE (128 * 1024)
#define MAX_BROADCASTS 1000000
#define CONNECTING_AT_ONCE 128 /* below every server's listen backlog */
#define SCRATCH (1 << 20)      /* one read; also the largest frame understood */
#define MAX_HUB_NAME 128
#define MAX_TARGET 8192        /* of a request: path and query */
#define MAX_ANSWER (64 * 1024) /* to a request, with its header */
#define EVENTS 1024
#define RECORD_SEPARATOR 0x1e
#define MARKER '#' /* followed by eight digits: the number of the broadcast or the stream */
#define MARKER_DIGITS 8
#define STALL_SECONDS 20.0
#define DRAIN_SECONDS 3.0
#define JOIN_TRIES 10
#define JOIN_SECONDS 5.0
#define REQUEST_SECONDS 20.0
#define SETTLE_SECONDS 8.0
#define QUIET_WINDOW 0.5 /* the server is quiet when two windows in a row stay under QUIET_SHARE of a core */
#define QUIET_SHARE 0.03
#define SLOW_RECEIVE_BUFFER 4096
#define SLOW_SEGMENT 536

enum phase { UNUSED, CONNECTING, UPGRADING, GREETING, OPEN, CLOSED };
enum mode { ECHO, STREAM, FAN, IDLE };

struct bytes {
    uint8_t *data;
    size_t length, room;
};

struct link {
    int fd;
    uint8_t phase, never_reads, waits_to_write;
    uint32_t greeting_replies;
    uint32_t oldest;        /* echo: index of the oldest message in flight */
    char *token;            /* classic: the connection token, percent-encoded */
    int64_t last_broadcast; /* fan: the highest number seen */
    struct bytes in;        /* an incomplete frame */
    struct bytes fragments; /* an incomplete message */
    struct bytes out;       /* what the socket has not taken yet */
};

struct options {
    enum mode mode;
    int port, connections, depth, batch, binary, slow, greeting_replies, pid_count;
    int pids[MAX_PIDS];
    double warm, seconds, rate, limit;
    const char *path, *message, *expect, *done, *greeting, *classic;
};

/* Log-linear latency histogram: 64 steps to each doubling of nanoseconds, so a value is off by 1.6 % at most. */
struct histogram {
    uint64_t count[64 * 64], total;
    double largest;
};

struct figures {
    double connect_seconds, connect_cpu, seconds, cpu, rss_before, rss_after, load_share;
    uint64_t messages, broadcasts, expected, delivered;
};

static struct options opt;
static struct link *links;
static double *sent_at; /* echo, stream: [connection][depth]; fan: [broadcast] */
static struct histogram latencies;
static struct figures figures;
static uint8_t scratch[SCRATCH];
static int epoll_fd, ready, closed;
static int64_t current = -1, first_counted = -1, last_counted = INT64_MAX; /* numbers of broadcasts; of streams */
static int awaited;                                                        /* connections the current broadcast has not reached */
static int counting;                                                       /* inside the measured window */
static uint64_t duplicates, out_of_order, unexpected;
static char unexpected_sample[161];
static double give_up_at;

static double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void print_json_text(const char *text)
{
    putchar('"');
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p == '"' || *p == '\\')
            printf("\\%c", *p);
        else if (*p < 0x20 || *p > 0x7e)
            printf("\\u%04x", *p);
        else
            putchar(*p);
    }
    putchar('"');
}

__attribute__((noreturn)) static void fail(const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    printf("{\"error\": ");
    print_json_text(text);
    if (unexpected_sample[0]) {
        printf(", \"unexpected_sample\": ");
        print_json_text(unexpected_sample);
    }
    printf("}\n");
    exit(1);
}

static void check_limit(double now)
{
    if (now > give_up_at)
        fail("the limit of %.0f s is over (%d of %d connections ready, broadcast %ld)", opt.limit, ready, opt.connections, (long)current);
}

static void *allocate(size_t count, size_t size)
{
    void *p = calloc(count, size);
    if (!p)
        fail("out of memory");
    return p;
}

static void append(struct bytes *to, const void *data, size_t length)
{
    if (to->length + length > to->room) {
        to->room = (to->length + length) * 2;
        to->data = realloc(to->data, to->room);
        if (!to->data)
            fail("out of memory");
    }
    memcpy(to->data + to->length, data, length);
    to->length += length;
}

/* ---- figures of the server, from /proc ---- */

/* Sum of utime + stime in seconds, and of resident memory in KiB, over the server's processes. */
static void read_processes(double *cpu, double *rss)
{
    *cpu = *rss = 0;
    for (int i = 0; i < opt.pid_count; i++) {
        char name[64], line[1024];
        snprintf(name, sizeof name, "/proc/%d/stat", opt.pids[i]);
        FILE *file = fopen(name, "r");
        size_t length = file ? fread(line, 1, sizeof line - 1, file) : 0;
        if (file)
            fclose(file);
        line[length] = 0;
        char *fields = strrchr(line, ')'); /* the program's name before it may hold anything */
        unsigned long user, system;
        long pages;
        if (!fields || sscanf(fields + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %*d %*d %*u %*u %ld", &user,
                              &system, &pages) != 3)
            fail("server process %d is gone", opt.pids[i]);
        *cpu += (double)(user + system) / sysconf(_SC_CLK_TCK);
        *rss += (double)pages * sysconf(_SC_PAGESIZE) / 1024;
    }
}

static double own_cpu(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static double window_start, window_cpu, window_own_cpu;

static void open_window(void)
{
    read_processes(&window_cpu, &figures.rss_before);
    window_own_cpu = own_cpu();
    window_start = now_seconds();
    counting = 1;
}

static void close_window(void)
{
    double cpu;
    counting = 0;
    figures.seconds = now_seconds() - window_start;
    figures.load_share = (own_cpu() - window_own_cpu) / figures.seconds;
    read_processes(&cpu, &figures.rss_after);
    figures.cpu = cpu - window_cpu;
}

/* ---- latency ---- */

static void record_latency(double seconds)
{
    uint64_t ns = seconds > 1e-9 ? (uint64_t)(seconds * 1e9) : 1;
    int doubling = 63 - __builtin_clzll(ns);
    int step = doubling >= 6 ? (int)((ns >> (doubling - 6)) & 63) : (int)((ns << (6 - doubling)) & 63);
    latencies.count[doubling * 64 + step]++;
    latencies.total++;
    if (seconds > latencies.largest)
        latencies.largest = seconds;
}

/* The upper edge, in milliseconds, of the step that holds the given share of all latencies. */
static double quantile_ms(double share)
{
    uint64_t rank = (uint64_t)ceil(share * latencies.total), seen = 0;
    for (int i = 0; i < 64 * 64; i++) {
        seen += latencies.count[i];
        if (rank && seen >= rank)
            return ldexp(1 + (i % 64 + 1) / 64.0, i / 64) / 1e6;
    }
    return NAN;
}

/* ---- writing ---- */

static void watch(struct link *link, uint32_t events, int operation)
{
    struct epoll_event event = {.events = events, .data.u32 = (uint32_t)(link - links)};
    if (epoll_ctl(epoll_fd, operation, link->fd, &event) < 0)
        fail("epoll_ctl: %s", strerror(errno));
}

static void drop(struct link *link)
{
    if (link->phase == CLOSED)
        return;
    if (link->phase != OPEN)
        fail("connection %ld was closed before it was ready (%d of %d were)", (long)(link - links), ready, opt.connections);
    link->phase = CLOSED;
    close(link->fd);
    if (!link->never_reads)
        closed++;
}

static void flush(struct link *link)
{
    size_t taken = 0;
    while (taken < link->out.length) {
        ssize_t n = send(link->fd, link->out.data + taken, link->out.length - taken, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN) {
            drop(link);
            return;
        }
        if (n < 0)
            break;
        taken += (size_t)n;
    }
    memmove(link->out.data, link->out.data + taken, link->out.length - taken);
    link->out.length -= taken;
    if (link->waits_to_write != (link->out.length > 0)) {
        link->waits_to_write = link->out.length > 0;
        watch(link, EPOLLIN | (link->waits_to_write ? EPOLLOUT : 0), EPOLL_CTL_MOD);
    }
}

/* RFC 6455, 5.2: a client's frame is masked. The key changes with each frame; it need not be secret here. */
static void append_frame(struct link *link, uint8_t opcode, const void *payload, size_t length)
{
    static uint32_t key_source = 0x9e3779b9;
    uint8_t header[14], *key;
    size_t size = 2;
    header[0] = 0x80 | opcode;
    if (length < 126) {
        header[1] = 0x80 | (uint8_t)length;
    } else if (length < 65536) {
        header[1] = 0x80 | 126;
        header[size++] = (uint8_t)(length >> 8);
        header[size++] = (uint8_t)length;
    } else {
        header[1] = 0x80 | 127;
        for (int shift = 56; shift >= 0; shift -= 8)
            header[size++] = (uint8_t)((uint64_t)length >> shift);
    }
    key_source = key_source * 1664525u + 1013904223u;
    key = header + size;
    memcpy(key, &key_source, 4);
    size += 4;
    append(&link->out, header, size);
    append(&link->out, payload, length);
    uint8_t *masked = link->out.data + link->out.length - length;
    for (size_t i = 0; i < length; i++)
        masked[i] ^= key[i & 3];
}

/* The message with the number in the place behind the marker. It stays valid until the next call. */
static const char *numbered(int64_t number)
{
    static char message[MAX_MESSAGE + 1];
    char digits[32];
    strcpy(message, opt.message);
    snprintf(digits, sizeof digits, "%0*ld", MARKER_DIGITS, (long)number);
    memcpy(strchr(message, MARKER) + 1, digits, MARKER_DIGITS);
    return message;
}

static void start_stream(struct link *link, double now)
{
    sent_at[link - links] = now;
    const char *message = numbered(++current);
    append_frame(link, 1, message, strlen(message));
    flush(link);
}

static void send_echo(struct link *link, double now)
{
    sent_at[(size_t)(link - links) * opt.depth + link->oldest] = now; /* the slot just freed is the newest one's */
    append_frame(link, opt.binary ? 2 : 1, opt.message, strlen(opt.message));
    if (!opt.batch && !link->waits_to_write)
        flush(link);
}

static void publish(double at)
{
    current++;
    if (current >= MAX_BROADCASTS)
        fail("more than %d broadcasts", MAX_BROADCASTS);
    if (links[0].phase != OPEN)
        fail("the publisher's connection was closed");
    const char *message = numbered(current);
    sent_at[current] = at;
    awaited = opt.connections - opt.slow - closed;
    append_frame(&links[0], opt.binary ? 2 : 1, message, strlen(message));
    flush(&links[0]);
}

/* ---- requests of classic connections ---- */

static struct sockaddr_in server_address(void)
{
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)opt.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* The text with all but letters, digits and -._~ as %XX; the caller keeps it. */
static char *percent_encoded(const char *text, size_t length)
{
    char *encoded = allocate(length * 3 + 1, 1), *to = encoded;
    for (size_t i = 0; i < length; i++) {
        uint8_t byte = (uint8_t)text[i];
        if (isalnum(byte) || strchr("-._~", byte))
            *to++ = (char)byte;
        else
            to += sprintf(to, "%%%02X", byte);
    }
    return encoded;
}

/* Path and query of an operation; negotiate has no token yet. It stays valid until the next call. */
static const char *classic_target(const char *operation, const char *token)
{
    static char target[MAX_TARGET];
    static char *data;
    if (!data) {
        char text[MAX_HUB_NAME + 16];
        data = percent_encoded(text, (size_t)snprintf(text, sizeof text, "[{\"name\":\"%s\"}]", opt.classic));
    }
    int length = snprintf(target, sizeof target, "%s/%s?clientProtocol=2.1&connectionData=%s%s%s", opt.path, operation, data,
                          token ? "&transport=webSockets&connectionToken=" : "", token ? token : "");
    if (length >= MAX_TARGET)
        fail("the connection token is too long (%zu bytes)", strlen(token));
    return target;
}

/* Join the chunks of a body in place (RFC 9112, 7.1): each is a size in hexadecimal digits, a line end, the data, a line end. */
static void join_chunks(char *body)
{
    char *from = body, *to = body, *data;
    size_t size;
    while ((size = strtoul(from, &data, 16)) > 0) {
        data = strstr(data, "\r\n"); /* behind extensions, which have no meaning for us */
        if (!data || size > strlen(data + 2))
            fail("a request was answered with half a chunk");
        memmove(to, data + 2, size);
        to += size;
        from = data + 2 + size;
    }
    *to = 0;
}

/*
 * The body that a GET on a socket of its own is answered with. It stays valid until the next call.
 * The socket blocks: a request is part of connecting, which the window of the messages does not contain.
 */
static const char *get(const char *target)
{
    static char answer[MAX_ANSWER];
    char text[MAX_TARGET + 128];
    double now = now_seconds(), seconds = fmin(REQUEST_SECONDS, give_up_at - now);
    check_limit(now);
    struct timeval patience = {.tv_sec = (time_t)seconds, .tv_usec = 1000}; /* not 0, which means for ever */
    struct sockaddr_in address = server_address();
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        fail("socket: %s", strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    int size = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n", target, opt.port);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0 || send(fd, text, (size_t)size, MSG_NOSIGNAL) != size)
        fail("GET %.40s: %s (%d of %d were ready)", target, strerror(errno), ready, opt.connections);
    size_t length = 0;
    ssize_t n;
    while ((n = recv(fd, answer + length, sizeof answer - 1 - length, 0)) > 0) {
        length += (size_t)n;
        check_limit(now_seconds());
    }
    if (n < 0)
        fail("GET %.40s: no answer: %s (%d of %d were ready)", target, strerror(errno), ready, opt.connections);
    close(fd);
    answer[length] = 0;
    char *end = strstr(answer, "\r\n\r\n");
    if (!end || strncmp(answer, "HTTP/1.1 200", 12))
        fail("GET %.40s was refused: %.200s", target, answer);
    *end = 0;
    if (strcasestr(answer, "\r\nTransfer-Encoding: chunked"))
        join_chunks(end + 4);
    return end + 4;
}

static void negotiate(struct link *link)
{
    static const char name[] = "\"ConnectionToken\":\"";
    const char *answer = get(classic_target("negotiate", NULL)), *token = strstr(answer, name);
    if (!token)
        fail("the negotiation gave no connection token: %.200s", answer);
    token += sizeof name - 1;
    size_t length = strcspn(token, "\"");
    if (memchr(token, '\\', length))
        fail("the connection token has escapes, which are not understood: %.200s", token);
    link->token = percent_encoded(token, length);
}

/* ---- reading ---- */

static int contains(const uint8_t *record, size_t length, const char *text)
{
    return memmem(record, length, text, strlen(text)) != NULL;
}

/* What a classic server says besides: a keep-alive, an envelope that only moves the cursor, the answer to the publisher's call. */
static int is_classic_routine(const uint8_t *record, size_t length)
{
    static const char answer[] = "{\"I\":";
    if (length == 2 && !memcmp(record, "{}", 2))
        return 1;
    if (opt.mode == FAN && length >= sizeof answer && !memcmp(record, answer, sizeof answer - 1))
        return !contains(record, length, "\"E\":");
    return contains(record, length, "\"M\":[]");
}

static void note_unexpected(const uint8_t *record, size_t length)
{
    static const char ping[] = "{\"type\":6}", packed_ping[] = "\x91\x06";
    if (opt.classic && is_classic_routine(record, length))
        return;
    if (length >= sizeof ping - 1 && !memcmp(record, ping, sizeof ping - 1))
        return;
    if (opt.binary && length == sizeof packed_ping - 1 && !memcmp(record, packed_ping, length))
        return;
    unexpected++;
    if (!unexpected_sample[0])
        snprintf(unexpected_sample, sizeof unexpected_sample, "%.*s", (int)length, (const char *)record);
}

static void become_ready(struct link *link)
{
    link->phase = OPEN;
    ready++;
    if (link->never_reads && epoll_ctl(epoll_fd, EPOLL_CTL_DEL, link->fd, NULL) < 0)
        fail("epoll_ctl: %s", strerror(errno));
}

static void on_greeting_reply(struct link *link, const uint8_t *record, size_t length)
{
    if (memmem(record, length, "\"error\"", 7))
        fail("the greeting was refused: %.*s", (int)(length < 200 ? length : 200), record);
    if (++link->greeting_replies >= (uint32_t)opt.greeting_replies)
        become_ready(link);
}

/* The first envelope may come behind others. The hub knows the connection once the start is answered. */
static void on_envelope_before_start(struct link *link, const uint8_t *envelope, size_t length)
{
    if (!contains(envelope, length, "\"S\":1"))
        return;
    const char *answer = get(classic_target("start", link->token));
    if (!strstr(answer, "\"started\""))
        fail("the start was refused: %.200s", answer);
    become_ready(link);
}

static void on_echo(struct link *link, double now)
{
    double *slot = &sent_at[(size_t)(link - links) * opt.depth + link->oldest];
    if (counting) {
        record_latency(now - *slot);
        figures.messages++;
    }
    send_echo(link, now);
    link->oldest = (link->oldest + 1) % opt.depth;
}

static void on_stream_record(struct link *link, const uint8_t *record, size_t length, double now)
{
    if (contains(record, length, opt.expect)) {
        figures.messages += counting;
    } else if (contains(record, length, opt.done)) {
        if (contains(record, length, "\"error\""))
            fail("a stream failed: %.*s", (int)(length < 200 ? length : 200), record);
        if (counting)
            record_latency(now - sent_at[link - links]);
        start_stream(link, now);
    } else {
        note_unexpected(record, length);
    }
}

static void on_broadcast(struct link *link, const uint8_t *record, size_t length, double now)
{
    const uint8_t *marker = memchr(record, MARKER, length);
    if (!marker || record + length - marker <= MARKER_DIGITS) {
        note_unexpected(record, length);
        return;
    }
    int64_t number = 0;
    for (int i = 1; i <= MARKER_DIGITS; i++)
        number = number * 10 + (marker[i] - '0');
    if (number < 0 || number > current) {
        note_unexpected(record, length);
        return;
    }
    if (number == link->last_broadcast) {
        duplicates++;
        return;
    }
    if (number < link->last_broadcast)
        out_of_order++;
    else
        link->last_broadcast = number;
    if (number == current)
        awaited--;
    if (counting && number >= first_counted && number <= last_counted) {
        record_latency(now - sent_at[number]);
        figures.messages++;
    }
}

static void on_record(struct link *link, const uint8_t *record, size_t length, double now)
{
    if (link->phase == GREETING && opt.classic)
        on_envelope_before_start(link, record, length);
    else if (link->phase == GREETING)
        on_greeting_reply(link, record, length);
    else if (link->phase != OPEN || link->never_reads)
        return;
    else if (opt.mode == STREAM)
        on_stream_record(link, record, length, now);
    else if (opt.mode == IDLE || !contains(record, length, opt.expect))
        note_unexpected(record, length);
    else if (opt.mode == ECHO)
        on_echo(link, now);
    else
        on_broadcast(link, record, length, now);
}

/* Length of the MessagePack record at the start, without its VarInt (little end first, seven bits a byte), whose size is left in *prefix. */
static size_t read_length(const uint8_t *data, size_t available, size_t *prefix)
{
    size_t length = 0;
    for (*prefix = 0; *prefix < available && *prefix < 5;) {
        uint8_t byte = data[(*prefix)++];
        length |= (size_t)(byte & 127) << 7 * (*prefix - 1);
        if (byte < 128) {
            if (length > available - *prefix)
                break;
            return length;
        }
    }
    fail("a message of %zu bytes does not end with a record", available);
}

/* Each place of --expect begins a record: Microsoft's server puts up to ten messages into one envelope. */
static void on_classic_message(struct link *link, const uint8_t *message, size_t length, double now)
{
    size_t size = strlen(opt.expect);
    const uint8_t *end = message + length, *place = memmem(message, length, opt.expect, size);
    if (!place || link->phase == GREETING)
        on_record(link, message, length, now);
    while (place && link->phase == OPEN) {
        const uint8_t *next = memmem(place + size, (size_t)(end - place) - size, opt.expect, size);
        on_record(link, place, (size_t)((next ? next : end) - place), now);
        place = next;
    }
}

/* A server may put several records in one message (.NET does when its pipe holds more than one). */
static void on_message(struct link *link, const uint8_t *message, size_t length, double now)
{
    if (opt.classic) {
        on_classic_message(link, message, length, now);
        return;
    }
    while (length && link->phase != CLOSED) {
        if (opt.binary && link->phase == OPEN) {
            size_t prefix, size = read_length(message, length, &prefix);
            on_record(link, message + prefix, size, now);
            message += prefix + size;
            length -= prefix + size;
            continue;
        }
        const uint8_t *end = memchr(message, RECORD_SEPARATOR, length);
        size_t record = end ? (size_t)(end - message) : length;
        on_record(link, message, record, now);
        record += end != NULL;
        message += record;
        length -= record;
    }
}

static void on_frame(struct link *link, uint8_t first, const uint8_t *payload, size_t length, double now)
{
    uint8_t opcode = first & 15, final = first & 0x80;
    if (opcode == 8) {
        drop(link);
    } else if (opcode == 9) {
        append_frame(link, 10, payload, length);
    } else if (opcode <= 2 && final && !link->fragments.length) {
        on_message(link, payload, length, now);
    } else if (opcode <= 2) {
        append(&link->fragments, payload, length);
        if (final) {
            on_message(link, link->fragments.data, link->fragments.length, now);
            link->fragments.length = 0;
        }
    }
}

/* Size of the frame's header, its payload in *length, or 0 while the header is incomplete. A server's frame carries no mask. */
static size_t read_frame_header(const uint8_t *data, size_t available, size_t *length)
{
    if (available < 2)
        return 0;
    size_t header = 2;
    *length = data[1];
    if (*length > 127)
        fail("the server sent a masked frame");
    if (*length >= 126) {
        header = *length == 126 ? 4 : 10;
        if (available < header)
            return 0;
        *length = 0;
        for (size_t i = 2; i < header; i++)
            *length = *length << 8 | data[i];
    }
    if (*length > SCRATCH / 2)
        fail("the server sent a frame of %zu bytes", *length);
    return header;
}

static size_t take_frames(struct link *link, const uint8_t *data, size_t available, double now)
{
    size_t used = 0;
    while (link->phase != CLOSED) {
        size_t length, header = read_frame_header(data + used, available - used, &length);
        if (!header || available - used < header + length)
            break;
        on_frame(link, data[used], data + used + header, length, now);
        used += header + length;
    }
    return used;
}

static size_t take_upgrade_reply(struct link *link, const uint8_t *data, size_t available)
{
    const uint8_t *end = memmem(data, available, "\r\n\r\n", 4);
    if (!end)
        return 0;
    if (available < 12 || memcmp(data, "HTTP/1.1 101", 12))
        fail("the upgrade was refused: %.*s", (int)(end - data < 200 ? end - data : 200), data);
    if (opt.classic) {
        link->phase = GREETING;
    } else if (opt.greeting) {
        link->phase = GREETING;
        append_frame(link, 1, opt.greeting, strlen(opt.greeting));
        if (opt.greeting_replies == 0)
            become_ready(link);
    } else {
        become_ready(link);
    }
    return (size_t)(end - data) + 4;
}

static void on_readable(struct link *link)
{
    size_t held = link->in.length;
    if (held)
        memcpy(scratch, link->in.data, held);
    ssize_t n = recv(link->fd, scratch + held, SCRATCH - held, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        drop(link);
        return;
    }
    size_t available = held + (size_t)n, used = 0;
    double now = now_seconds();
    if (link->phase == UPGRADING)
        used = take_upgrade_reply(link, scratch, available);
    if (link->phase != UPGRADING)
        used += take_frames(link, scratch + used, available - used, now);
    if (link->phase == CLOSED)
        return;
    link->in.length = 0;
    if (available > used)
        append(&link->in, scratch + used, available - used);
    if (link->out.length && !link->waits_to_write)
        flush(link);
}

/* ---- connections ---- */

static void start_connection(struct link *link)
{
    struct sockaddr_in address = server_address();
    if (opt.classic)
        negotiate(link);
    int on = 1, buffer = SLOW_RECEIVE_BUFFER, segment = SLOW_SEGMENT;
    link->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (link->fd < 0)
        fail("socket: %s", strerror(errno));
    setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (link->never_reads) {
        /* The kernel sizes the server's send buffer by the segment, and on the loopback that hides megabytes before back-pressure shows. */
        setsockopt(link->fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
        setsockopt(link->fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment);
    }
    if (connect(link->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS)
        fail("connect: %s", strerror(errno));
    link->phase = CONNECTING;
    link->waits_to_write = 1;
    watch(link, EPOLLIN | EPOLLOUT, EPOLL_CTL_ADD);
}

static void send_upgrade(struct link *link)
{
    int error = 0;
    socklen_t size = sizeof error;
    char request[MAX_TARGET + 256];
    getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error)
        fail("connect: %s (%d of %d were ready)", strerror(error), ready, opt.connections);
    int length = snprintf(request, sizeof request,
                          "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                          link->token ? classic_target("connect", link->token) : opt.path, opt.port);
    link->phase = UPGRADING;
    append(&link->out, request, (size_t)length);
}

/* Handle what the kernel has for us, waiting at most until the given time. */
static void pump(double until)
{
    struct epoll_event events[EVENTS];
    double now = now_seconds();
    check_limit(now);
    int wait_ms = until > now ? (int)((until - now) * 1e3) : 0; /* rounded down: the last fraction is spun away, so schedules are kept */
    int count = epoll_wait(epoll_fd, events, EVENTS, wait_ms < 100 ? wait_ms : 100);
    if (count < 0 && errno != EINTR)
        fail("epoll_wait: %s", strerror(errno));
    for (int i = 0; i < count; i++) {
        struct link *link = &links[events[i].data.u32];
        if (link->phase == CONNECTING)
            send_upgrade(link);
        if (link->phase != CLOSED && (events[i].events & EPOLLOUT))
            flush(link);
        if (link->phase != CLOSED && (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
            on_readable(link);
    }
}

static void open_connections(void)
{
    double started = now_seconds(), cpu_before, cpu_after, rss;
    int next = 0;
    read_processes(&cpu_before, &rss);
    figures.rss_before = rss;
    while (ready < opt.connections) {
        while (next < opt.connections && next - ready < CONNECTING_AT_ONCE)
            start_connection(&links[next++]);
        pump(now_seconds() + 0.1);
    }
    figures.connect_seconds = now_seconds() - started;
    read_processes(&cpu_after, &rss);
    figures.connect_cpu = cpu_after - cpu_before;
}

/* ---- the modes ---- */

static void pump_until(double until)
{
    while (now_seconds() < until)
        pump(until);
}

static void run_calls(void)
{
    double now = now_seconds();
    for (int i = 0; i < opt.connections; i++) {
        if (opt.mode == STREAM)
            start_stream(&links[i], now);
        for (int j = 0; opt.mode == ECHO && j < opt.depth; j++) {
            send_echo(&links[i], now);
            links[i].oldest = (links[i].oldest + 1) % (uint32_t)opt.depth;
        }
        flush(&links[i]); /* what --batch holds back */
    }
    pump_until(now_seconds() + opt.warm);
    open_window();
    pump_until(window_start + opt.seconds);
    close_window();
    if (!figures.messages)
        fail("no reply within the window");
}

static int reaches_all_within(double seconds)
{
    double until = now_seconds() + seconds;
    while (awaited > 0 && now_seconds() < until)
        pump(until);
    return awaited <= 0;
}

/* A server may answer the handshake before it adds the connection to the group (.NET does), so publish until a broadcast reaches all. */
static void join_all(void)
{
    for (int i = 0; i < JOIN_TRIES; i++) {
        publish(now_seconds());
        if (reaches_all_within(JOIN_SECONDS))
            return;
    }
    fail("%d of %d connections get no broadcast", awaited, opt.connections - opt.slow);
}

static void run_closed_loop(void)
{
    double until = now_seconds() + opt.warm;
    do {
        publish(now_seconds());
        if (!reaches_all_within(STALL_SECONDS))
            fail("a broadcast did not reach %d connections within %.0f s", awaited, STALL_SECONDS);
    } while (now_seconds() < until);
    open_window();
    first_counted = current + 1;
    do {
        publish(now_seconds());
        figures.expected += (uint64_t)awaited;
        if (!reaches_all_within(STALL_SECONDS))
            fail("a broadcast did not reach %d connections within %.0f s", awaited, STALL_SECONDS);
        figures.broadcasts++;
    } while (now_seconds() < window_start + opt.seconds);
    close_window();
}

static void publish_on_schedule(double start, int count)
{
    for (int i = 0; i < count; i++) {
        double at = start + i / opt.rate;
        pump_until(at);
        publish(at);
    }
    pump_until(start + count / opt.rate);
}

static void run_schedule(void)
{
    int healthy = opt.connections - opt.slow;
    publish_on_schedule(now_seconds(), (int)ceil(opt.warm * opt.rate));
    open_window();
    first_counted = current + 1;
    publish_on_schedule(window_start, (int)ceil(opt.seconds * opt.rate));
    last_counted = current;
    figures.broadcasts = (uint64_t)(last_counted - first_counted + 1);
    figures.expected = figures.broadcasts * (uint64_t)healthy;
    double until = now_seconds() + DRAIN_SECONDS;
    while (figures.messages < figures.expected && now_seconds() < until)
        pump(until);
    close_window();
}

static void run_fan(void)
{
    join_all();
    if (opt.rate > 0)
        run_schedule();
    else
        run_closed_loop();
    figures.delivered = figures.messages;
}

/* After a wave of connections some servers work on for seconds; hold only once they are quiet, or SETTLE_SECONDS later. */
static void settle(void)
{
    double until = now_seconds() + SETTLE_SECONDS, cpu, before, rss;
    int quiet = 0;
    read_processes(&before, &rss);
    while (quiet < 2 && now_seconds() < until) {
        pump_until(now_seconds() + QUIET_WINDOW);
        read_processes(&cpu, &rss);
        quiet = cpu - before < QUIET_SHARE * QUIET_WINDOW ? quiet + 1 : 0;
        before = cpu;
    }
}

static void run_idle(void)
{
    double rss_before = figures.rss_before;
    settle();
    open_window();
    pump_until(window_start + opt.seconds);
    close_window();
    figures.rss_before = rss_before;
}

/* ---- options and the report ---- */

static double bounded(const char *name, const char *text, double low, double high)
{
    char *end;
    double value = strtod(text, &end);
    if (*end || !(value >= low && value <= high))
        fail("--%s must be between %g and %g, not %s", name, low, high, text);
    return value;
}

static void read_pids(char *list)
{
    for (char *item = strtok(list, ","); item; item = strtok(NULL, ",")) {
        if (opt.pid_count == MAX_PIDS)
            fail("more than %d pids", MAX_PIDS);
        opt.pids[opt.pid_count++] = (int)bounded("pids", item, 1, 1e9);
    }
}

static enum mode read_mode(const char *name)
{
    if (!strcmp(name, "echo"))
        return ECHO;
    if (!strcmp(name, "stream"))
        return STREAM;
    if (!strcmp(name, "fan"))
        return FAN;
    if (strcmp(name, "idle"))
        fail("--mode must be echo, stream, fan or idle, not %s", name);
    return IDLE;
}

static void read_options(int argc, char **argv)
{
    static const struct option names[] = {{"mode", 1, 0, 'm'},    {"port", 1, 0, 'p'},     {"path", 1, 0, 'a'},  {"connections", 1, 0, 'n'},
                                          {"depth", 1, 0, 'd'},   {"warm", 1, 0, 'w'},     {"secs", 1, 0, 's'},  {"rate", 1, 0, 'r'},
                                          {"slow", 1, 0, 'k'},    {"message", 1, 0, 't'},  {"expect", 1, 0, 'e'}, {"greeting", 1, 0, 'g'},
                                          {"replies", 1, 0, 'y'}, {"pids", 1, 0, 'i'},     {"limit", 1, 0, 'l'}, {"batch", 0, 0, 'b'},
                                          {"done", 1, 0, 'o'},    {"binary", 0, 0, 'x'},   {"classic", 1, 0, 'c'}, {0, 0, 0, 0}};
    opt = (struct options){.connections = 50, .depth = 1, .warm = 0.5, .seconds = 2, .limit = 120};
    opt.path = "/";
    opt.message = opt.expect = opt.done = "";
    int letter;
    while ((letter = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (letter) {
        case 'm': opt.mode = read_mode(optarg); break;
        case 'p': opt.port = (int)bounded("port", optarg, 1, 65535); break;
        case 'a': opt.path = optarg; break;
        case 'n': opt.connections = (int)bounded("connections", optarg, 1, MAX_CONNECTIONS); break;
        case 'd': opt.depth = (int)bounded("depth", optarg, 1, MAX_DEPTH); break;
        case 'b': opt.batch = 1; break;
        case 'w': opt.warm = bounded("warm", optarg, 0, 120); break;
        case 's': opt.seconds = bounded("secs", optarg, 0.05, 600); break;
        case 'r': opt.rate = bounded("rate", optarg, 0.1, 10000); break;
        case 'k': opt.slow = (int)bounded("slow", optarg, 0, MAX_CONNECTIONS); break;
        case 't': opt.message = optarg; break;
        case 'e': opt.expect = optarg; break;
        case 'o': opt.done = optarg; break;
        case 'x': opt.binary = 1; break;
        case 'c': opt.classic = optarg; break;
        case 'g': opt.greeting = optarg; break;
        case 'y': opt.greeting_replies = (int)bounded("replies", optarg, 0, 100); break;
        case 'i': read_pids(optarg); break;
        case 'l': opt.limit = bounded("limit", optarg, 1, 900); break;
        default: fail("unknown option; see the source");
        }
    }
    if (!opt.port)
        fail("--port is needed");
    if (strlen(opt.path) > 512 || strlen(opt.message) > MAX_MESSAGE)
        fail("--path or --message is too long");
    if (opt.mode != IDLE && !*opt.message)
        fail("--message is needed");
    if ((opt.mode == FAN || opt.mode == STREAM) && (!strchr(opt.message, MARKER) || strlen(strchr(opt.message, MARKER)) <= MARKER_DIGITS))
        fail("the --message of a broadcast or a stream needs %c and %d digits", MARKER, MARKER_DIGITS);
    if (opt.mode == STREAM && (!*opt.expect || !*opt.done || opt.depth != 1 || opt.binary))
        fail("--mode stream needs --expect and --done, and takes neither --depth nor --binary");
    if (opt.classic && (!*opt.expect || opt.greeting || opt.binary || opt.mode == STREAM))
        fail("--classic needs --expect, and takes neither --greeting, --binary nor --mode stream");
    if (opt.classic && (!*opt.classic || strlen(opt.classic) > MAX_HUB_NAME || strpbrk(opt.classic, "\"\\")))
        fail("--classic must be the name of a hub: at most %d characters, without quotation marks and backslashes", MAX_HUB_NAME);
    if (opt.slow && (opt.mode != FAN || opt.slow >= opt.connections))
        fail("--slow needs --mode fan and more --connections");
    if (opt.rate * (opt.warm + opt.seconds) > MAX_BROADCASTS - JOIN_TRIES)
        fail("more than %d broadcasts", MAX_BROADCASTS);
}

static void prepare(void)
{
    links = allocate((size_t)opt.connections, sizeof *links);
    sent_at = allocate(opt.mode == ECHO || opt.mode == STREAM ? (size_t)opt.connections * (size_t)opt.depth : MAX_BROADCASTS, sizeof *sent_at);
    for (int i = 0; i < opt.connections; i++)
        links[i].last_broadcast = -1;
    /* Spread over the order of connecting, never the publisher, so that a server that sends in turn has healthy ones on both sides. */
    for (int i = 0; i < opt.slow; i++)
        links[1 + (int)((i + 0.5) * (opt.connections - 1) / opt.slow)].never_reads = 1;
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        fail("epoll_create1: %s", strerror(errno));
    give_up_at = now_seconds() + opt.limit;
}

static void print_number(const char *name, double value)
{
    if (isfinite(value))
        printf(", \"%s\": %.6g", name, value);
    else
        printf(", \"%s\": null", name);
}

static void print_report(void)
{
    double messages = (double)figures.messages;
    printf("{\"connections\": %d", opt.connections);
    print_number("connect_seconds", figures.connect_seconds);
    print_number("connects_per_second", opt.connections / figures.connect_seconds);
    print_number("connect_cpu_us", figures.connect_cpu / opt.connections * 1e6);
    print_number("seconds", figures.seconds);
    print_number("messages", messages);
    print_number("per_second", messages / figures.seconds);
    print_number("cpu_seconds", figures.cpu);
    print_number("cpu_us", messages > 0 ? figures.cpu / messages * 1e6 : NAN);
    print_number("cpu_percent", figures.cpu / figures.seconds * 100);
    print_number("p50_ms", quantile_ms(0.5));
    print_number("p99_ms", quantile_ms(0.99));
    print_number("max_ms", latencies.total ? latencies.largest * 1e3 : NAN);
    print_number("broadcasts", (double)figures.broadcasts);
    print_number("delivered_percent", figures.expected ? (double)figures.delivered / figures.expected * 100 : NAN);
    print_number("rss_before_kib", figures.rss_before);
    print_number("rss_after_kib", figures.rss_after);
    print_number("kib_per_connection", (figures.rss_after - figures.rss_before) / opt.connections);
    print_number("load_cpu_percent", figures.load_share * 100);
    print_number("closed", closed);
    print_number("duplicates", (double)duplicates);
    print_number("out_of_order", (double)out_of_order);
    print_number("unexpected", (double)unexpected);
    if (unexpected_sample[0]) {
        printf(", \"unexpected_sample\": ");
        print_json_text(unexpected_sample);
    }
    printf("}\n");
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    prepare();
    open_connections();
    if (opt.mode == ECHO || opt.mode == STREAM)
        run_calls();
    else if (opt.mode == FAN)
        run_fan();
    else
        run_idle();
    print_report();
    return 0;
}
