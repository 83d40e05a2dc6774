import java.io.ByteArrayInputStream;
import java.io.IOException;
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
 */
public final class Tools {
    /** For one command, and for a broker to be one that topics may be created on: it listens earlier. */
    private static final long LONGEST_SECONDS = 90;
    /** After a command that changes something, for brokers that answer before the change is seen everywhere. */
    private static final long SETTLE_MILLIS = 200;
    private static final List<String> CHANGES =
        List.of("--create", "--alter", "--delete", "--execute", "console-producer", "delete-records");

    /** Names as of Kafka's scripts, with the classes of older versions behind those of newer ones. */
    private static final Map<String, List<String>> CLASSES = Map.ofEntries(
        Map.entry("broker-api-versions",
            List.of("org.apache.kafka.tools.BrokerApiVersionsCommand", "kafka.admin.BrokerApiVersionsCommand")),
        Map.entry("configs", List.of("kafka.admin.ConfigCommand")),
        Map.entry("console-consumer", List.of("org.apache.kafka.tools.consumer.ConsoleConsumer")),
        Map.entry("console-producer", List.of("org.apache.kafka.tools.ConsoleProducer", "kafka.tools.ConsoleProducer")),
        Map.entry("delete-records", List.of("org.apache.kafka.tools.DeleteRecordsCommand")),
        Map.entry("get-offsets", List.of("org.apache.kafka.tools.GetOffsetShell")),
        Map.entry("leader-election", List.of("org.apache.kafka.tools.LeaderElectionCommand")),
        Map.entry("log-dirs", List.of("org.apache.kafka.tools.LogDirsCommand")),
        Map.entry("reassign-partitions", List.of("org.apache.kafka.tools.reassign.ReassignPartitionsCommand")),
        Map.entry("topics", List.of("org.apache.kafka.tools.TopicCommand")));

    /** Where the running command prints. Scala's console takes System.out once and keeps it, so the stream stays and its end changes. */
    private static volatile OutputStream printed = OutputStream.nullOutputStream();

    /** The command that runs, and how it ended. */
    private static final class Run implements Runnable {
        final Method main;
        final String[] arguments;
        final CountDownLatch ended = new CountDownLatch(1);
        String status = "0";

        Run(Method main, String[] arguments) {
            this.main = main;
            this.arguments = arguments;
        }

        @Override
        public void run() {
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
            public void write(int value) throws IOException {
                printed.write(value);
            }

            @Override
            public void write(byte[] bytes, int from, int length) throws IOException {
                printed.write(bytes, from, length);
            }
        }, true);
        System.setOut(stream);
        System.setErr(stream);
        Exit.setShutdownHookAdder((name, hook) -> { });
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
        byte[] input = new byte[0];
        int redirected = words.indexOf("<");
        if (0 <= redirected) {
            input = Files.readAllBytes(inputs.resolve(words.get(redirected + 1)));
            words = words.subList(0, redirected);
        }
        List<String> passed = new ArrayList<>(words.subList(1, words.size()));
        passed.add("--bootstrap-server");
        passed.add(bootstrap);
        Run run = new Run(main(words.get(0)), passed.toArray(new String[0]));
        try (OutputStream file = Files.newOutputStream(output)) {
            printed = file;
            System.setIn(new ByteArrayInputStream(input));
            Exit.setExitProcedure(run::exit);
            Exit.setHaltProcedure(run::exit);
            Thread thread = new Thread(run, words.get(0));
            thread.setDaemon(true);
            thread.start();
            if (!run.ended.await(LONGEST_SECONDS, TimeUnit.SECONDS)) {
                run.status = "never: it was still running after " + LONGEST_SECONDS + " s";
            }
            printed = OutputStream.nullOutputStream();
            file.write(("exit " + run.status + "\n").getBytes());
        }
    }

    private static Method main(String tool) throws ClassNotFoundException, NoSuchMethodException {
        for (String name : CLASSES.get(tool)) {
            try {
                return Class.forName(name).getMethod("main", String[].class);
            } catch (ClassNotFoundException older) {
                // The next one.
            }
        }
        throw new ClassNotFoundException(tool);
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
