import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.DescribeConsumerGroupsOptions;
import org.apache.kafka.clients.admin.ListConsumerGroupOffsetsOptions;
import org.apache.kafka.clients.admin.ListConsumerGroupOffsetsSpec;
import org.apache.kafka.clients.admin.MemberToRemove;
import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;

/**
 * What Kafka's administrative client does with groups and none of the tools asks for, as if it were a tool. Partitions are written
 * {@code topic:partition}.
 *
 * <ul>
 *   <li>{@code await GROUP MEMBERS} until the group is stable with so many members, each with something to read; it prints nothing else
 *   <li>{@code offsets GROUP [PARTITION…]} those committed, with their metadata; of all partitions where none is named
 *   <li>{@code stable-offsets GROUP} as offsets, but no transaction may be undecided (KIP-447)
 *   <li>{@code commit GROUP PARTITION OFFSET METADATA}
 *   <li>{@code delete-offsets GROUP PARTITION…}
 *   <li>{@code remove-member GROUP INSTANCE}, a static one; {@code remove-members GROUP}, all
 *   <li>{@code describe GROUP}, but only what the tools leave out
 * </ul>
 */
public final class GroupAdmin {
    private static final long LONGEST_SECONDS = 60;
    private static final long POLL_MILLIS = 50;

    private GroupAdmin() { }

    public static void main(String[] arguments) throws Exception {
        List<String> words = List.of(arguments).subList(0, arguments.length - 2);
        String group = words.get(1);
        List<String> rest = words.subList(2, words.size());
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", arguments[arguments.length - 1]))) {
            switch (words.get(0)) {
                case "await" -> await(admin, group, Integer.parseInt(rest.get(0)));
                case "offsets" -> offsets(admin, group, partitions(rest), false);
                case "stable-offsets" -> offsets(admin, group, partitions(rest), true);
                case "commit" -> {
                    TopicPartition partition = partition(rest.get(0));
                    OffsetAndMetadata offset = new OffsetAndMetadata(Long.parseLong(rest.get(1)), rest.get(2));
                    print(admin.alterConsumerGroupOffsets(group, Map.of(partition, offset)).partitionResult(partition));
                }
                case "delete-offsets" -> {
                    Set<TopicPartition> partitions = new HashSet<>(partitions(rest));
                    var deleted = admin.deleteConsumerGroupOffsets(group, partitions);
                    for (TopicPartition partition : partitions) {
                        print(deleted.partitionResult(partition));
                    }
                }
                case "remove-member" -> {
                    MemberToRemove member = new MemberToRemove(rest.get(0));
                    var options = new RemoveMembersFromConsumerGroupOptions(List.of(member));
                    print(admin.removeMembersFromConsumerGroup(group, options).memberResult(member));
                }
                case "remove-members" ->
                    print(admin.removeMembersFromConsumerGroup(group, new RemoveMembersFromConsumerGroupOptions()).all());
                case "describe" -> print(describe(admin, group, true).thenApply(GroupAdmin::beyondTools));
                default -> throw new IllegalArgumentException(words.get(0));
            }
        }
    }

    @SuppressWarnings("removal") // Clients of Kafka 3 know no other name of a state.
    private static void await(Admin admin, String group, int members) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(LONGEST_SECONDS);
        while (true) {
            try {
                ConsumerGroupDescription found = describe(admin, group, false).get();
                if (found.members().size() == members && found.state().toString().equals("Stable")
                        && found.members().stream().noneMatch(member -> member.assignment().topicPartitions().isEmpty())) {
                    return;
                }
            } catch (ExecutionException notYet) {
                // The group comes with its first member.
            }
            if (deadline < System.nanoTime()) {
                throw new IllegalStateException("group " + group + " did not become stable with " + members + " members");
            }
            Thread.sleep(POLL_MILLIS);
        }
    }

    private static KafkaFuture<ConsumerGroupDescription> describe(Admin admin, String group, boolean operations) {
        var options = new DescribeConsumerGroupsOptions().includeAuthorizedOperations(operations);
        return admin.describeConsumerGroups(List.of(group), options).describedGroups().get(group);
    }

    private static String beyondTools(ConsumerGroupDescription group) {
        return "simple " + group.isSimpleConsumerGroup() + ", assignor '" + group.partitionAssignor() + "', operations "
            + new TreeSet<>(group.authorizedOperations());
    }

    private static void offsets(Admin admin, String group, Collection<TopicPartition> partitions, boolean stable) {
        var spec = new ListConsumerGroupOffsetsSpec().topicPartitions(partitions.isEmpty() ? null : partitions);
        var options = new ListConsumerGroupOffsetsOptions().requireStable(stable);
        print(admin.listConsumerGroupOffsets(new HashMap<>(Map.of(group, spec)), options).partitionsToOffsetAndMetadata(group));
    }

    private static Collection<TopicPartition> partitions(List<String> names) {
        return names.stream().map(GroupAdmin::partition).toList();
    }

    private static TopicPartition partition(String name) {
        String[] parts = name.split(":");
        return new TopicPartition(parts[0], Integer.parseInt(parts[1]));
    }

    /** What came, a map in its keys' order; or the error in one line. */
    private static void print(KafkaFuture<?> future) {
        try {
            Object value = future.get();
            if (value instanceof Map<?, ?> map) {
                Map<String, Object> sorted = new TreeMap<>();
                map.forEach((key, entry) -> sorted.put(key.toString(), entry));
                value = sorted;
            }
            System.out.println(value == null ? "done" : value);
        } catch (ExecutionException | InterruptedException failed) {
            System.out.println(failed.getCause());
        }
    }
}
