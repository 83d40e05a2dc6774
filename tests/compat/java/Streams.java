import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;

/** {@code Streams BOOTSTRAP}: a program without state reads one topic and writes another, stops, and goes on where it was. */
public final class Streams {
    private static final long PATIENCE_SECONDS = 60;

    public static void main(String[] arguments) {
        try {
            run(arguments[0]);
        } catch (Exception thrown) {
            System.err.println(thrown);
            System.exit(1);
        }
        System.exit(0);
    }

    private static void run(String bootstrap) throws Exception {
        String application = "streams-" + UUID.randomUUID();
        String from = application + "-in";
        String to = application + "-out";
        Map<String, Object> brokers = Map.of("bootstrap.servers", bootstrap);
        try (Admin admin = Admin.create(brokers);
            KafkaProducer<String, String> producer = new KafkaProducer<>(brokers, new StringSerializer(), new StringSerializer());
            KafkaConsumer<String, String> consumer = new KafkaConsumer<>(
                Map.of("bootstrap.servers", bootstrap, "group.id", "read-" + to, "auto.offset.reset", "earliest"),
                new StringDeserializer(), new StringDeserializer())) {
            admin.createTopics(List.of(new NewTopic(from, 2, (short) 1), new NewTopic(to, 1, (short) 1))).all().get();
            consumer.subscribe(List.of(to));
            List<String> expected = new ArrayList<>();
            List<String> came = new ArrayList<>();
            // The second run begins where the first committed: nothing comes twice.
            for (int last : new int[] {100, 200}) {
                KafkaStreams streams = start(bootstrap, application, from, to);
                for (int number = last - 100; number < last; number++) {
                    producer.send(new ProducerRecord<>(from, "key" + number, "value " + number)).get();
                    if (number % 2 == 0) {
                        expected.add("key" + number + "=VALUE " + number);
                    }
                }
                long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_SECONDS);
                while (came.size() < expected.size() && System.nanoTime() < deadline) {
                    consumer.poll(Duration.ofMillis(200)).forEach(record -> came.add(record.key() + "=" + record.value()));
                }
                if (!streams.close(Duration.ofSeconds(PATIENCE_SECONDS))) {
                    throw new IllegalStateException("the program does not stop");
                }
                List<String> sorted = came.stream().sorted().toList();
                if (!sorted.equals(expected.stream().sorted().toList())) {
                    throw new IllegalStateException(came.size() + " records came of " + expected.size() + ", or other ones");
                }
            }
        }
    }

    private static KafkaStreams start(String bootstrap, String application, String from, String to) {
        StreamsBuilder builder = new StreamsBuilder();
        builder.<String, String>stream(from)
            .filter((key, value) -> Integer.parseInt(key.substring(3)) % 2 == 0)
            .mapValues(value -> value.toUpperCase())
            .to(to);
        Properties properties = new Properties();
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, application);
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        properties.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.String().getClass());
        properties.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.String().getClass());
        properties.put("auto.offset.reset", "earliest");
        KafkaStreams streams = new KafkaStreams(builder.build(), properties);
        streams.start();
        return streams;
    }
}
