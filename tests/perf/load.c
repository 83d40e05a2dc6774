/* Load and yardsticks for tests/perf/run. Each mode runs for so many seconds and prints one line: bytes per second.
 *
 *   load produce BOOTSTRAP TOPIC SECONDS   1 KiB random records in turns to 16 partitions, acks=all; the first 2 s are not counted
 *   load ceiling SECONDS                   the same against librdkafka's own mock broker: what the client can do at all
 *   load first BOOTSTRAP TOPIC             returns once one record is acknowledged
 *   load disk DIRECTORY SECONDS            1 MiB appends to a fresh file, an fdatasync after each
 *   load loopback SECONDS                  64 KiB writes through a TCP connection to this process
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PARTITIONS 16
#define RECORD 1024
/* Every record is a piece of this at a random place, so that no two are alike and none can be compressed. */
#define POOL (64 << 20)
#define WARM_UP 2.0

static volatile uint64_t acknowledged;
static volatile int failed;

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec / 1e9;
}

static void die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t next_random(void)
{
    static uint64_t state = 0x9E3779B97F4A7C15u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void delivered(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
    (void)client, (void)opaque;
    if (message->err) {
        fprintf(stderr, "load: not acknowledged: %s\n", rd_kafka_err2str(message->err));
        failed = 1;
    } else {
        acknowledged += message->len;
    }
}

static rd_kafka_t *producer(const char *const settings[][2])
{
    char error[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    for (; (*settings)[0]; settings++)
        if (rd_kafka_conf_set(conf, (*settings)[0], (*settings)[1], error, sizeof error) != RD_KAFKA_CONF_OK)
            fprintf(stderr, "load: %s\n", error), exit(2);
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    rd_kafka_t *client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof error);
    if (!client)
        fprintf(stderr, "load: %s\n", error), exit(1);
    return client;
}

static void send_record(rd_kafka_t *client, const char *topic, int32_t partition, void *record, size_t size)
{
    for (;;) {
        rd_kafka_resp_err_t error = rd_kafka_producev(client, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition),
                                                      RD_KAFKA_V_VALUE(record, size), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
        if (!error)
            return;
        if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            fprintf(stderr, "load: %s\n", rd_kafka_err2str(error)), exit(1);
        rd_kafka_poll(client, 10);
    }
}

static void produce(rd_kafka_t *client, const char *topic, double seconds)
{
    uint64_t *pool = malloc(POOL);
    for (size_t at = 0; at < POOL / sizeof *pool; at++)
        pool[at] = next_random();
    double begin = now(), counted_from = 0;
    uint64_t before = 0;
    for (uint64_t record = 0; now() - begin < WARM_UP + seconds; record++) {
        send_record(client, topic, record % PARTITIONS, (char *)pool + next_random() % (POOL - RECORD), RECORD);
        if (record % 256 == 0)
            rd_kafka_poll(client, 0);
        if (!counted_from && WARM_UP <= now() - begin)
            counted_from = now(), before = acknowledged;
    }
    double took = now() - counted_from;
    printf("%.0f\n", (acknowledged - before) / took);
    rd_kafka_flush(client, 30000);
    exit(failed);
}

static void disk(const char *directory, double seconds)
{
    char path[4096], *block = malloc(1 << 20);
    for (int at = 0; at < 1 << 20; at += 8)
        *(uint64_t *)(block + at) = next_random();
    snprintf(path, sizeof path, "%s/append", directory);
    int file = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    if (file < 0)
        die(path);
    double begin = now();
    uint64_t bytes = 0;
    for (; now() - begin < seconds; bytes += 1 << 20)
        if (write(file, block, 1 << 20) != 1 << 20 || fdatasync(file))
            die(path);
    printf("%.0f\n", bytes / (now() - begin));
    unlink(path);
    exit(0);
}

static void *drain(void *opaque)
{
    char *buffer = malloc(64 << 10);
    int socket = accept(*(int *)opaque, NULL, NULL);
    while (0 < read(socket, buffer, 64 << 10))
        ;
    return NULL;
}

static void loopback(double seconds)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), out = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (void *)&address, length) || listen(listener, 1) || getsockname(listener, (void *)&address, &length))
        die("listen");
    pthread_t reader;
    pthread_create(&reader, NULL, drain, &listener);
    if (connect(out, (void *)&address, length))
        die("connect");
    char *buffer = calloc(1, 64 << 10);
    double begin = now();
    uint64_t bytes = 0;
    while (now() - begin < seconds) {
        ssize_t written = write(out, buffer, 64 << 10);
        if (written < 0)
            die("write");
        bytes += written;
    }
    printf("%.0f\n", bytes / (now() - begin));
    exit(0);
}

int main(int argc, char **argv)
{
    const char *mode = 1 < argc ? argv[1] : "";
    if (!strcmp(mode, "produce") && argc == 5) {
        const char *const settings[][2] = {{"bootstrap.servers", argv[2]}, {"acks", "all"}, {"linger.ms", "5"}, {"batch.num.messages", "10000"},
                                           {"queue.buffering.max.kbytes", "262144"}, {NULL, NULL}};
        produce(producer(settings), argv[3], atof(argv[4]));
    } else if (!strcmp(mode, "ceiling") && argc == 3) {
        const char *const settings[][2] = {{"test.mock.num.brokers", "1"}, {"log_level", "0"}, {"acks", "all"}, {"linger.ms", "5"}, {"batch.num.messages", "10000"},
                                           {"queue.buffering.max.kbytes", "262144"}, {NULL, NULL}};
        rd_kafka_t *client = producer(settings);
        rd_kafka_mock_topic_create(rd_kafka_handle_mock_cluster(client), "ceiling", PARTITIONS, 1);
        produce(client, "ceiling", atof(argv[2]));
    } else if (!strcmp(mode, "first") && argc == 4) {
        const char *const settings[][2] = {{"bootstrap.servers", argv[2]}, {"acks", "all"}, {"linger.ms", "0"}, {"reconnect.backoff.ms", "5"},
                                           {"reconnect.backoff.max.ms", "5"}, {"retry.backoff.ms", "5"}, {"log_level", "0"},
                                           {"topic.metadata.refresh.fast.interval.ms", "10"}, {NULL, NULL}};
        rd_kafka_t *client = producer(settings);
        send_record(client, argv[3], 0, "first", 5);
        while (!acknowledged && !failed)
            rd_kafka_poll(client, 1);
        return failed;
    } else if (!strcmp(mode, "disk") && argc == 4) {
        disk(argv[2], atof(argv[3]));
    } else if (!strcmp(mode, "loopback") && argc == 3) {
        loopback(atof(argv[2]));
    }
    fprintf(stderr, "usage: see the head of load.c\n");
    return 2;
}
