import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs many command lines of Kafka's tools in one process, because a JVM takes longer to start than most of them to run.
 *
 * <p>{@code Tools BOOTSTRAP COMMANDS INPUTS OUTPUTS} runs each line of the file COMMANDS, with {@code --bootstrap-server BOOTSTRAP} added
 * and {@code @NAME} standing for a file of the directory INPUTS; {@code < NAME} at its end is its standard input. What the command on line
 * n prints, standard error among it, becomes the file n of OUTPUTS, with {@code exit STATUS} as the last line.
 *
 * <p>As in a shell, a line that ends with {@code &} goes on beside those that follow, until the line {@code wait}.
 */
public final class Tools {
    /** For one command, and for a broker to be one that topics may be created on: it listens earlier. */
    private static final long LONGEST_SECONDS = 90;
    /** After a command that changes something, for brokers that answer before the change is seen everywhere. */
    private static final long SETTLE_MILLIS = 200;
    private static final List<String> CHANGES =
        List.of("--create", "--alter", "--delete", "--execute", "console-producer", "delete-records", "wait");

    /** Names as of Kafka's scripts, with the classes of older versions behind those of newer ones. */
    private static final Map<String, List<String>> CLASSES = Map.ofEntries(
        Map.entry("broker-api-versions",
            List.of("org.apache.kafka.tools.BrokerApiVersionsCommand", "kafka.admin.BrokerApiVersionsCommand")),
        Map.entry("configs", List.of("kafka.admin.ConfigCommand")),
        Map.entry("console-consumer", List.of("org.apache.kafka.tools.consumer.ConsoleConsumer")),
        Map.entry("console-producer", List.of("org.apache.kafka.tools.ConsoleProducer", "kafka.tools.ConsoleProducer")),
        Map.entry("consumer-groups", List.of("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand")),
        Map.entry("delete-records", List.of("org.apache.kafka.tools.DeleteRecordsCommand")),
        Map.entry("get-offsets", List.of("org.apache.kafka.tools.GetOffsetShell")),
        Map.entry("group-admin", List.of("GroupAdmin")),
        Map.entry("groups", List.of("org.apache.kafka.tools.GroupsCommand")),
        Map.entry("leader-election", List.of("org.apache.kafka.tools.LeaderElectionCommand")),
        Map.entry("log-dirs", List.of("org.apache.kafka.tools.LogDirsCommand")),
        Map.entry("reassign-partitions", List.of("org.apache.kafka.tools.reassign.ReassignPartitionsCommand")),
        Map.entry("topics", List.of("org.apache.kafka.tools.TopicCommand")));

    /** The command that a thread runs, or that started it. Scala's console takes System.out once and keeps it, so the stream stays. */
    private static final InheritableThreadLocal<Run> RUNNING = new InheritableThreadLocal<>();

    /** Commands that go on beside the others. */
    private static final List<Run> BESIDE = new ArrayList<>();

    /** A command, what it printed, and how it ended. */
    private static final class Run implements Runnable {
        final Method main;
        final String[] arguments;
        final Path output;
        final ByteArrayOutputStream printed = new ByteArrayOutputStream();
        final CountDownLatch ended = new CountDownLatch(1);
        volatile String status = "0";

        Run(Method main, String[] arguments, Path output) {
            this.main = main;
            this.arguments = arguments;
            this.output = output;
        }

        void start(String name) {
            Thread thread = new Thread(this, name);
            thread.setDaemon(true);
            thread.start();
        }

        /** Writes down what it printed. What it prints after its end is nobody's. */
        void await() throws Exception {
            if (!ended.await(LONGEST_SECONDS, TimeUnit.SECONDS)) {
                status = "never: it was still running after " + LONGEST_SECONDS + " s";
            }
            printed.write(("exit " + status + "\n").getBytes());
            Files.write(output, printed.toByteArray());
        }

        @Override
        public void run() {
            RUNNING.set(this);
            try {
                main.invoke(null, (Object) arguments);
            } catch (InvocationTargetException thrown) {
                thrown.getCause().printStackTrace();
                status = "1";
            } catch (IllegalAccessException impossible) {
                throw new AssertionError(impossible);
            }
            ended.countDown();
        }

        /** As System.exit does: what called it never goes on, not even with its finally blocks. */
        void exit(int code, String message) {
            if (message != null) {
                System.err.println(message);
            }
            status = Integer.toString(code);
            ended.countDown();
            try {
                Thread.sleep(Long.MAX_VALUE);
            } catch (InterruptedException ignored) {
                // Nobody interrupts it.
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        String bootstrap = arguments[0];
        Path inputs = Path.of(arguments[2]);
        Path outputs = Path.of(arguments[3]);
        PrintStream stream = new PrintStream(new OutputStream() {
            @Override
            public void write(int value) {
                write(new byte[] {(byte) value}, 0, 1);
            }

            @Override
            public void write(byte[] bytes, int from, int length) {
                if (RUNNING.get() != null) {
                    RUNNING.get().printed.write(bytes, from, length);
                }
            }
        }, true);
        System.setOut(stream);
        System.setErr(stream);
        Exit.setShutdownHookAdder((name, hook) -> { });
        Exit.setExitProcedure((code, message) -> RUNNING.get().exit(code, message));
        Exit.setHaltProcedure((code, message) -> RUNNING.get().exit(code, message));
        awaitBroker(bootstrap);
        int number = 0;
        for (String line : Files.readAllLines(Path.of(arguments[1]))) {
            number++;
            run(line, bootstrap, inputs, outputs.resolve(Integer.toString(number)));
            if (CHANGES.stream().anyMatch(line::contains)) {
                Thread.sleep(SETTLE_MILLIS);
            }
        }
        Runtime.getRuntime().halt(0);
    }

    private static void awaitBroker(String bootstrap) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(LONGEST_SECONDS);
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            while (admin.describeCluster().nodes().get().isEmpty() && System.nanoTime() < deadline) {
                Thread.sleep(SETTLE_MILLIS);
            }
        }
    }

    private static void run(String line, String bootstrap, Path inputs, Path output) throws Exception {
        List<String> words = words(line, inputs);
        if (words.get(0).equals("wait")) {
            for (Run run : BESIDE) {
                run.await();
            }
            BESIDE.clear();
            Files.writeString(output, "");
            return;
        }
        byte[] input = new byte[0];
        boolean beside = words.get(words.size() - 1).equals("&");
        if (beside) {
            words = words.subList(0, words.size() - 1);
        }
        int redirected = words.indexOf("<");
        if (0 <= redirected) {
            input = Files.readAllBytes(inputs.resolve(words.get(redirected + 1)));
            words = words.subList(0, redirected);
        }
        List<String> passed = new ArrayList<>(words.subList(1, words.size()));
        passed.add("--bootstrap-server");
        passed.add(bootstrap);
        Method main = main(words.get(0));
        if (main == null) {
            Files.writeString(output, "not of this version\n");
            return;
        }
        Run run = new Run(main, passed.toArray(new String[0]), output);
        System.setIn(new ByteArrayInputStream(input));
        run.start(words.get(0));
        if (beside) {
            BESIDE.add(run);
        } else {
            run.await();
        }
    }

    /** Nothing where this version has no such tool. */
    private static Method main(String tool) throws NoSuchMethodException {
        for (String name : CLASSES.get(tool)) {
            try {
                return Class.forName(name).getMethod("main", String[].class);
            } catch (ClassNotFoundException older) {
                // The next one.
            }
        }
        return null;
    }

    /** Words between blanks; single quotes keep blanks. */
    private static List<String> words(String line, Path inputs) {
        List<String> words = new ArrayList<>();
        String[] quoted = line.split("'", -1);
        for (int index = 0; index < quoted.length; index++) {
            if (index % 2 == 1) {
                words.add(quoted[index]);
                continue;
            }
            for (String word : quoted[index].trim().split(" +")) {
                if (!word.isEmpty()) {
                    words.add(word.startsWith("@") ? inputs.resolve(word.substring(1)).toString() : word);
                }
            }
        }
        return words;
    }
}
