import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * {@code Groups BOOTSTRAP}: two members of a group share partitions, each record goes to one of them, one leaves, and the other takes over
 * where it was; with the classic protocol and its cooperative assignor, and with that of KIP-848.
 */
public final class Groups {
    private static final int PARTITIONS = 4;
    private static final long PATIENCE_SECONDS = 60;

    /** A consumer with a thread that polls it. */
    private static final class Member implements Runnable {
        final KafkaConsumer<String, String> consumer;
        final Set<Integer> owned = new TreeSet<>();
        final List<String> read;
        final Thread thread = new Thread(this);
        volatile Throwable failure;
        volatile boolean ended;

        Member(Map<String, Object> config, String topic, List<String> read) {
            this.read = read;
            consumer = new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer());
            consumer.subscribe(List.of(topic), new ConsumerRebalanceListener() {
                @Override
                public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                    consumer.commitSync();
                    synchronized (owned) {
                        partitions.forEach(partition -> owned.remove(partition.partition()));
                    }
                }

                @Override
                public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                    synchronized (owned) {
                        partitions.forEach(partition -> owned.add(partition.partition()));
                    }
                }
            });
            thread.start();
        }

        @Override
        public void run() {
            try (consumer) {
                while (!ended) {
                    consumer.poll(Duration.ofMillis(200)).forEach(record -> {
                        synchronized (read) {
                            read.add(record.value());
                        }
                    });
                }
                consumer.commitSync();
            } catch (IllegalStateException | KafkaException thrown) {
                failure = thrown;
            }
        }

        Set<Integer> owned() {
            synchronized (owned) {
                return new TreeSet<>(owned);
            }
        }

        void leave() throws InterruptedException {
            ended = true;
            thread.join();
            if (failure != null) {
                throw new IllegalStateException("a member failed: " + failure);
            }
        }
    }

    public static void main(String[] arguments) {
        try {
            check(arguments[0], Map.of("partition.assignment.strategy", CooperativeStickyAssignor.class.getName()));
            check(arguments[0], Map.of("group.protocol", "consumer"));
            check(arguments[0], Map.of("group.protocol", "consumer", "group.remote.assignor", "range"));
        } catch (Exception thrown) {
            System.err.println(thrown.getMessage() == null ? thrown.toString() : thrown.getMessage());
            System.exit(1);
        }
        System.exit(0);
    }

    private static void check(String bootstrap, Map<String, Object> protocol) throws Exception {
        String topic = "groups-" + UUID.randomUUID();
        Map<String, Object> config = new TreeMap<>(protocol);
        config.put("bootstrap.servers", bootstrap);
        config.put("group.id", "group-" + topic);
        config.put("auto.offset.reset", "earliest");
        config.put("enable.auto.commit", "false");
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
            KafkaProducer<String, String> producer =
                new KafkaProducer<>(Map.of("bootstrap.servers", bootstrap), new StringSerializer(), new StringSerializer())) {
            admin.createTopics(List.of(new NewTopic(topic, PARTITIONS, (short) 1))).all().get();
            List<String> read = new ArrayList<>();
            List<String> sent = new ArrayList<>();
            Member first = new Member(config, topic, read);
            await(() -> first.owned().size() == PARTITIONS, "the first member owns all", protocol);
            produce(producer, topic, sent, 100);
            await(() -> same(read, sent), "the first member reads all", protocol);

            Member second = new Member(config, topic, read);
            await(() -> shared(first, second), "two members own two partitions each", protocol);
            produce(producer, topic, sent, 200);
            await(() -> same(read, sent), "two members read all, each record once", protocol);

            first.leave();
            await(() -> second.owned().size() == PARTITIONS, "who stays owns all", protocol);
            produce(producer, topic, sent, 300);
            await(() -> same(read, sent), "who stays reads all, each record once", protocol);
            second.leave();

            Member third = new Member(config, topic, read);
            produce(producer, topic, sent, 400);
            await(() -> same(read, sent), "a new member goes on where the group was", protocol);
            third.leave();
        }
    }

    private static void produce(KafkaProducer<String, String> producer, String topic, List<String> sent, int last) throws Exception {
        while (sent.size() < last) {
            String value = Integer.toString(sent.size());
            producer.send(new ProducerRecord<>(topic, sent.size() % PARTITIONS, null, value)).get();
            sent.add(value);
        }
    }

    /** Every record that was sent was read, and none twice. */
    private static boolean same(List<String> read, List<String> sent) {
        synchronized (read) {
            if (read.size() > sent.size()) {
                throw new IllegalStateException(read.size() + " records were read of " + sent.size());
            }
            return read.size() == sent.size() && new TreeSet<>(read).equals(new TreeSet<>(sent));
        }
    }

    private static boolean shared(Member first, Member second) {
        Set<Integer> all = new TreeSet<>(first.owned());
        all.addAll(second.owned());
        return first.owned().size() == PARTITIONS / 2 && second.owned().size() == PARTITIONS / 2 && all.size() == PARTITIONS;
    }

    private static void await(BooleanSupplier condition, String what, Map<String, Object> protocol) throws InterruptedException {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_SECONDS);
        while (!condition.getAsBoolean()) {
            if (System.nanoTime() > deadline) {
                throw new IllegalStateException(protocol + ": not within " + PATIENCE_SECONDS + " s: " + what);
            }
            Thread.sleep(50);
        }
    }
}
