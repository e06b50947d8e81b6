/* Client and server of the echo, in C on librabbitmq.
 *
 *   rpc version
 *   rpc server HOST PORT                        prints "ready", serves until it is killed
 *   rpc client HOST PORT call|send SIZE WINDOW  reads "COUNT SECONDS" lines (0 seconds: no limit); for each does
 *                                               as many calls and writes "done N\n" and N latencies as doubles
 *
 * Everything is durable, persistent and confirmed (pipelined); a request is acknowledged after its reply was
 * confirmed, and replies are acknowledged. JSON is put together and cut apart by hand.
 */
#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_tcp_socket.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define REQUEST "bench_librabbitmq_request"
#define RESPONSE "bench_librabbitmq_response"
#define PREFETCH 100
#define RING 65536 /* more than can ever await a confirm */

static amqp_connection_state_t connection;
static uint64_t published; /* number of the last message published */

static void die(const char *what, const char *why) {
  fprintf(stderr, "%s: %s\n", what, why);
  exit(1);
}

static void check(const char *what, int status) {
  if (status < 0) die(what, amqp_error_string2(status));
}

static void check_reply(const char *what, amqp_rpc_reply_t reply) {
  if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION) die(what, amqp_error_string2(reply.library_error));
  if (reply.reply_type != AMQP_RESPONSE_NORMAL) die(what, "refused by the broker");
}

static void check_rpc(const char *what) { check_reply(what, amqp_get_rpc_reply(connection)); }

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static amqp_bytes_t bytes(const char *text) { return amqp_cstring_bytes(text); }

static void connect_to(const char *host, int port) {
  connection = amqp_new_connection();
  amqp_socket_t *socket = amqp_tcp_socket_new(connection); /* sets TCP_NODELAY */
  check("connecting", amqp_socket_open(socket, host, port));
  check_reply("logging in", amqp_login(connection, "/", 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest"));
  amqp_channel_open(connection, 1);
  check_rpc("opening a channel");
  amqp_exchange_declare(connection, 1, bytes(REQUEST), bytes("direct"), 0, 1, 0, 0, amqp_empty_table);
  check_rpc("declaring the request exchange");
  amqp_exchange_declare(connection, 1, bytes(RESPONSE), bytes("direct"), 0, 1, 0, 0, amqp_empty_table);
  check_rpc("declaring the response exchange");
  amqp_queue_declare(connection, 1, bytes(REQUEST), 0, 1, 0, 0, amqp_empty_table);
  check_rpc("declaring the request queue");
  amqp_queue_bind(connection, 1, bytes(REQUEST), bytes(REQUEST), bytes(""), amqp_empty_table);
  check_rpc("binding the request queue");
  amqp_confirm_select(connection, 1);
  check_rpc("asking for confirms");
}

static void consume(const char *queue) {
  amqp_basic_consume(connection, 1, bytes(queue), amqp_empty_bytes, 0, 0, 0, amqp_empty_table);
  check_rpc("consuming");
}

static void publish(const char *exchange, amqp_bytes_t key, amqp_bytes_t id, amqp_bytes_t reply_to, amqp_bytes_t body) {
  amqp_basic_properties_t properties;
  properties._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_MESSAGE_ID_FLAG |
                      AMQP_BASIC_CORRELATION_ID_FLAG;
  properties.content_type = bytes("application/json");
  properties.delivery_mode = 2;
  properties.message_id = properties.correlation_id = id;
  if (reply_to.len) {
    properties._flags |= AMQP_BASIC_REPLY_TO_FLAG;
    properties.reply_to = reply_to;
  }
  check("publishing", amqp_basic_publish(connection, 1, bytes(exchange), key, 0, 0, &properties, body));
  published++;
}

/* Wait for one method: a confirm (1) or a delivery with its message (2). */
static int next_event(amqp_basic_ack_t *ack, amqp_basic_deliver_t *deliver, amqp_message_t *message) {
  for (;;) {
    amqp_frame_t frame;
    amqp_maybe_release_buffers(connection);
    check("reading", amqp_simple_wait_frame(connection, &frame));
    if (frame.frame_type != AMQP_FRAME_METHOD) continue;
    switch (frame.payload.method.id) {
      case AMQP_BASIC_ACK_METHOD:
        *ack = *(amqp_basic_ack_t *)frame.payload.method.decoded;
        return 1;
      case AMQP_BASIC_DELIVER_METHOD: {
        *deliver = *(amqp_basic_deliver_t *)frame.payload.method.decoded;
        amqp_rpc_reply_t reply = amqp_read_message(connection, 1, message, 0);
        if (reply.reply_type != AMQP_RESPONSE_NORMAL) die("reading a message", "failed");
        return 2;
      }
      default:
        die("reading", amqp_method_name(frame.payload.method.id));
    }
  }
}

static void acknowledge(uint64_t tag) { check("acknowledging", amqp_basic_ack(connection, 1, tag, 0)); }

/* The string between the first '["' and the last '"]', or NULL. */
static char *argument(amqp_bytes_t body, const char *open, const char *close, size_t *length) {
  char *text = body.bytes, *end = text + body.len;
  char *first = memmem(text, body.len, open, strlen(open));
  if (!first) return NULL;
  first += strlen(open);
  char *quote = memchr(first, '"', end - first);
  if (!quote || (size_t)(end - quote) < strlen(close) || memcmp(quote, close, strlen(close))) return NULL;
  *length = quote - first;
  return first;
}

static void serve(void) {
  uint64_t confirmed = 0; /* all up to this one */
  static uint64_t tags[RING]; /* of the requests whose replies await their confirm, by the reply's number */
  amqp_basic_qos(connection, 1, 0, PREFETCH, 0);
  check_rpc("setting the prefetch");
  consume(REQUEST);
  printf("ready\n");
  fflush(stdout);
  char *body = NULL;
  for (;;) {
    amqp_basic_ack_t ack;
    amqp_basic_deliver_t deliver;
    amqp_message_t request;
    if (next_event(&ack, &deliver, &request) == 1) {
      uint64_t first = ack.multiple ? confirmed + 1 : ack.delivery_tag;
      for (uint64_t number = first; number <= ack.delivery_tag; number++)
        if (tags[number % RING]) {
          acknowledge(tags[number % RING]);
          tags[number % RING] = 0;
        }
      while (confirmed < published && !tags[(confirmed + 1) % RING]) confirmed++;
      continue;
    }
    size_t length;
    char *value = argument(request.body, "[\"", "\"]", &length);
    if (!value) die("serving", "a request that is not the echo's");
    body = realloc(body, length + 16);
    memcpy(body, "{\"result\": \"", 12);
    memcpy(body + 12, value, length);
    memcpy(body + 12 + length, "\"}", 2);
    tags[(published + 1) % RING] = deliver.delivery_tag;
    publish(RESPONSE, request.properties.reply_to, request.properties.message_id, amqp_empty_bytes,
            (amqp_bytes_t){length + 14, body});
    amqp_destroy_message(&request);
  }
}

static char *request_body;
static size_t request_length;

static void begin(uint64_t number, const char *reply_to) {
  char id[64];
  snprintf(id, sizeof id, "%s.%llu", reply_to, (unsigned long long)number);
  publish(REQUEST, bytes(""), bytes(id), bytes(reply_to), (amqp_bytes_t){request_length, request_body});
}

/* Number of the call that a reply belongs to. */
static uint64_t number_of(amqp_bytes_t id) {
  uint64_t number = 0;
  char *text = id.bytes, *dot = memchr(text, '.', id.len);
  for (char *digit = dot + 1; digit < text + id.len; digit++) number = number * 10 + (*digit - '0');
  return number;
}

static void run(int sending, size_t size, uint64_t window, const char *reply_to, uint64_t count, double seconds) {
  static uint64_t base;     /* calls of earlier runs */
  static uint64_t base_tag; /* and their publishes */
  uint64_t started = 0, done = 0;
  double *times = calloc(count ? count : 1, sizeof *times);
  char *open = calloc(count ? count : 1, 1); /* sends that await their confirm */
  double deadline = seconds > 0 ? now() + seconds : 0;
  base_tag = published;
  uint64_t unconfirmed_from = 0;
  for (;;) {
    while (started < count && started - done < window && !(deadline && now() > deadline)) {
      times[started] = now();
      open[started] = 1;
      begin(base + started, reply_to);
      started++;
    }
    if (done == started) break;
    amqp_basic_ack_t ack;
    amqp_basic_deliver_t deliver;
    amqp_message_t reply;
    if (next_event(&ack, &deliver, &reply) == 1) {
      if (!sending || ack.delivery_tag <= base_tag) continue;
      uint64_t last = ack.delivery_tag - base_tag - 1;
      for (uint64_t number = ack.multiple ? unconfirmed_from : last; number <= last; number++)
        if (open[number]) {
          open[number] = 0;
          times[number] = now() - times[number];
          done++;
        }
      while (unconfirmed_from < started && !open[unconfirmed_from]) unconfirmed_from++;
      continue;
    }
    uint64_t number = number_of(reply.properties.message_id) - base;
    size_t length;
    char *value = argument(reply.body, "\"result\": \"", "\"}", &length);
    if (number >= started || !open[number] || !value || length != size ||
        memcmp(value, request_body + strlen("{\"func\": \"echo\", \"args\": [\""), size))
      die("calling", "another reply than the payload");
    open[number] = 0;
    times[number] = now() - times[number];
    done++;
    acknowledge(deliver.delivery_tag);
    amqp_destroy_message(&reply);
  }
  base += started;
  printf("done %llu\n", (unsigned long long)done);
  fwrite(times, sizeof *times, done, stdout);
  fflush(stdout);
  free(times);
  free(open);
}

static void work(const char *action, size_t size, uint64_t window) {
  char reply_to[40], queue[80];
  snprintf(reply_to, sizeof reply_to, "%d-%lx", (int)getpid(), (long)time(NULL));
  snprintf(queue, sizeof queue, "bench_librabbitmq_%s_response", reply_to);
  amqp_table_entry_t expires = {bytes("x-expires"), {AMQP_FIELD_KIND_I32, {.i32 = 30 * 60 * 1000}}};
  amqp_queue_declare(connection, 1, bytes(queue), 0, 1, 0, 0, (amqp_table_t){1, &expires});
  check_rpc("declaring the response queue");
  amqp_queue_bind(connection, 1, bytes(queue), bytes(RESPONSE), bytes(reply_to), amqp_empty_table);
  check_rpc("binding the response queue");
  consume(queue);
  const char *before = "{\"func\": \"echo\", \"args\": [\"", *after = "\"], \"kwargs\": {}}";
  request_length = strlen(before) + size + strlen(after);
  request_body = malloc(request_length);
  memcpy(request_body, before, strlen(before));
  memset(request_body + strlen(before), 'x', size);
  memcpy(request_body + strlen(before) + size, after, strlen(after));
  unsigned long long count;
  double seconds;
  while (scanf("%llu %lf", &count, &seconds) == 2)
    run(!strcmp(action, "send"), size, window, reply_to, count, seconds);
  amqp_connection_close(connection, AMQP_REPLY_SUCCESS);
}

int main(int count, char **given) {
  if (count == 2 && !strcmp(given[1], "version")) {
    printf("%s\n", amqp_version());
    return 0;
  }
  if (count == 4 && !strcmp(given[1], "server")) {
    connect_to(given[2], atoi(given[3]));
    serve();
  }
  if (count == 7 && !strcmp(given[1], "client")) {
    connect_to(given[2], atoi(given[3]));
    work(given[4], strtoul(given[5], NULL, 10), strtoull(given[6], NULL, 10));
    return 0;
  }
  fprintf(stderr, "usage: rpc version | server HOST PORT | client HOST PORT call|send SIZE WINDOW\n");
  return 2;
}
